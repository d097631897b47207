//! Glioma with IDH status: public clinical tables, images in the layouts of BraTS and TCGA, the atlas of regions and tracts that
//! images are brought to, and a generated cohort.

mod atlas;
mod clinical;
mod images;
mod names;
mod phantom;
mod standard;

pub use atlas::{AtlasTract, BrainAtlas};
pub use clinical::{GliomaFeatures, GliomaRecord, GliomaTable, GliomaTableKind};
pub use images::{GliomaFiles, GliomaImages, LabelConvention, TumourLabel};
pub use names::BratsNames;
pub use phantom::{GliomaPhantom, GliomaPhantomConfig, write_glioma_phantom};
pub use standard::{StandardBrain, TractMaps};

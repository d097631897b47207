//! Glioma with IDH status: public clinical tables, images in the layouts of BraTS and TCGA, the atlas of regions and tracts that
//! images are brought to, and a generated cohort.

mod atlas;
mod clinical;
mod connectome_matrix;
mod files;
mod images;
mod labels;
mod names;
mod phantom;
mod rows;
mod scan_name;
mod standard;
mod tract_source;

pub use atlas::{AtlasTract, BrainAtlas};
pub use clinical::{GliomaFeatures, GliomaRecord, GliomaTable, GliomaTableKind};
pub use connectome_matrix::ConnectomeMatrix;
pub use files::{GliomaFiles, GliomaFolder};
pub use images::GliomaImages;
pub use labels::{LabelConvention, LabelFit, LabelLook, TumourLabel, check_convention};
pub use names::BratsNames;
pub use phantom::{GliomaPhantom, GliomaPhantomConfig, write_glioma_phantom};
pub use scan_name::ScanName;
pub use standard::StandardBrain;
pub use tract_source::{ConnectomeFile, StreamlineFile, TractMaps, TractMasks, TractSource};

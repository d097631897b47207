//! Glioma with IDH status: public clinical tables, and images in the layouts of BraTS and TCGA.

mod clinical;
mod images;
mod names;

pub use clinical::{GliomaFeatures, GliomaRecord, GliomaTable, GliomaTableKind};
pub use images::{GliomaFiles, GliomaImages, LabelConvention, TumourLabel};
pub use names::BratsNames;

//! Glioma with IDH status.

mod clinical;

pub use clinical::{GliomaFeatures, GliomaRecord, GliomaTable, GliomaTableKind};

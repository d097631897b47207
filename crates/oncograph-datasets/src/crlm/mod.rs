//! The colorectal liver metastasis (CRLM) cohort: clinical table, images, and a generated stand-in.

mod clinical;
mod clinical_reader;
pub mod columns;

pub use clinical::{ClinicalRecord, ClinicalTable, Endpoint, Outcome, Outcomes};
pub use columns::FeatureSet;

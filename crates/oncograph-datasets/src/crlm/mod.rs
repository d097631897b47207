//! The colorectal liver metastasis (CRLM) cohort: clinical table, images, and a generated stand-in.

mod clinical;
mod clinical_reader;
mod cohort;
pub mod columns;
mod covariates;
mod load;
mod patients;
mod phantom;
mod structure;
mod tcia;
#[cfg(test)]
mod testing;

pub use clinical::{ClinicalRecord, ClinicalTable, Endpoint, Outcomes};
pub use cohort::{CrlmCohort, Layout};
pub use columns::FeatureSet;
pub use covariates::CovariateTable;
pub use load::{CrlmImages, ImageFiles, LoadOptions, SubjectFiles};
pub use patients::CrlmPatients;
pub use phantom::{PatientTruth, PhantomConfig, PhantomSignals, PhantomTruth, write_phantom};
pub use structure::Structure;

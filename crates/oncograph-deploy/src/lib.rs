//! Export of trained models: bundles, the clinical report of a prediction for one patient, and exchange with hospital
//! systems in FHIR R4.
//!
//! - [`Bundle`]: a trained model as a folder of plain data, every file with its hash; predictors are opened from it alone.
//! - [`ClinicalReport`]: the predictions for one patient with the data and the features that they rest on, as JSON
//!   under a schema and as Markdown.
//! - [`fhir`]: reads a patient's values from a FHIR R4 bundle, and writes predictions as a `RiskAssessment`.
//!
//! Tables, charts and pages about a whole study are in `oncograph-report`.

mod bundle;
mod clinical_report;
mod clinical_text;
mod error;
pub mod fhir;

pub use bundle::{Bundle, BundleWriter, BundledFile};
pub use clinical_report::{
    CLINICAL_REPORT_FORMAT, ClinicalReport, Completeness, Direction, FeatureShare, ModalityShare,
    ModelIdentity, Prediction, Probability, SurvivalAt,
};
pub use error::{Error, Result};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

//! How a model leaves a run: its prediction for one patient, and exchange with hospital systems.
//!
//! - [`Bundle`]: a trained model as a folder of plain data, every file with its hash; the only way a model leaves a run.
//! - [`ClinicalReport`]: the predictions for one patient with the data and the features that they rest on, as JSON
//!   under a schema and as Markdown.
//! - [`fhir`]: a patient's values out of a FHIR R4 bundle, and predictions as a `RiskAssessment`.
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

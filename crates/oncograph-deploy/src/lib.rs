//! Clinical reports of oncograph models as one self-contained HTML file.
//!
//! Plain numbers go in; nothing is trained or loaded here. A [`Report`] is built from [`Section`]s of
//! paragraphs, [`Table`]s and [`Figure`]s; a [`ModelCard`] states what a prediction model is for and what is
//! known about it. Statistics come from `oncograph-metrics`.
//!
//! - [`chart`]: learning curves, Kaplan–Meier curves with numbers at risk, scatter, calibration, ROC, bars,
//!   histograms and enrichment curves, as SVG.
//! - [`connectome`]: a network drawn on the brain, flat, or on a page of its own to turn in a browser.
//! - [`fhir`]: a patient's values out of a FHIR R4 bundle, and predictions as a `RiskAssessment`.
//! - [`overlay`]: image slices with masks and heat maps, as PNG.
//!
//! The report carries a content security policy that forbids every request, has no script, and escapes every
//! string that it is given. The file `examples/deploy_report.rs` makes a report with one of everything. Tables also print on a terminal ([`Table::to_text`]) and as Markdown
//! ([`Table::to_markdown`]).

mod atomic;
pub mod chart;
mod clinical_report;
mod clinical_text;
pub mod connectome;
mod error;
pub mod fhir;
mod figure;
mod model_card;
pub mod overlay;
pub mod palette;
mod report;
mod table;
mod text;

pub use clinical_report::{
    CLINICAL_REPORT_FORMAT, ClinicalReport, Completeness, Direction, FeatureShare, ModalityShare,
    ModelIdentity, Prediction, Probability, SurvivalAt,
};
pub use error::{Error, Result};
pub use figure::Figure;
pub use model_card::ModelCard;
pub use report::{Banner, Report, Section};
pub use table::{Cell, Table};

/// Compiles the example of the readme.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

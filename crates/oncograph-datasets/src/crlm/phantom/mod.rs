//! A generated stand-in for the cohort, for tests, examples and benchmarks.
//!
//! Nothing in it was measured on a person. Each patient has a CT with body, liver, vessels and tumours drawn from
//! smooth shapes, the masks of these, and a clinical row with the columns of the released workbook. Outcomes follow
//! a stated model in which the images carry most of the signal, so that a model that sees the images scores
//! better than one that does not. The true factors and linear predictors are written beside the data.

mod anatomy;
mod config;
mod noise;
mod outcome;
mod render;
mod write;

pub use config::{PhantomConfig, PhantomSignals};
pub use write::{PatientTruth, PhantomTruth, write_phantom};

/// The file that marks a folder as generated.
pub(super) const MARKER: &str = "phantom.json";

/// What stands in the notes of every generated patient's row.
pub(super) const GENERATED: &str = "Generated data";

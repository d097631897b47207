//! Cohort readers, phantom cohorts, splits, scalers and the feature cache.

pub mod crlm;
mod error;
pub mod scaler;
pub mod splits;

pub use error::{Error, Result};

//! Statistics for clinical prediction in f64: survival, classification, regression, calibration, bootstrap.

mod check;
mod distribution;
mod error;
mod rank;
pub mod survival;

pub use error::{Error, Result};
pub use survival::*;

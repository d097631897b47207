//! Charts as SVG: each function takes plain numbers and returns a [`Figure`](crate::Figure).
//!
//! Colours are those of [`palette::OKABE_ITO`](crate::palette::OKABE_ITO). Text is set in the reader's
//! sans-serif font; no font file is needed.

mod axis;
mod bars;
mod calibration;
mod canvas;
mod histogram;
mod kaplan_meier;
mod learning_curves;
mod plot;
mod roc;
mod scatter;

pub use bars::{Bar, bars};
pub use calibration::{CalibrationPoint, calibration, survival_calibration};
pub use histogram::histogram;
pub use kaplan_meier::{SurvivalGroup, kaplan_meier, numbers_at_risk};
pub use learning_curves::{Series, learning_curves};
pub use roc::{RocSeries, roc};
pub use scatter::scatter;

//! Two-class and multi-class classification: discrimination, calibration and clinical utility.

mod calibration;
mod confusion;
mod decision_curve;
mod delong;
mod logistic_regression;
mod multiclass;
mod precision_recall;
mod probability;
mod roc;

pub use calibration::{
    Binning, CalibrationBin, CalibrationSlope, calibration_curve, calibration_slope,
    expected_calibration_error,
};
pub use confusion::Confusion;
pub use decision_curve::{NetBenefit, decision_curve};
pub use delong::{DeLongInterval, DeLongTest, delong_interval, delong_test};
pub use logistic_regression::{LogisticRegression, LogisticRegressionConfig};
pub use multiclass::{
    Average, MulticlassConfusion, multiclass_log_loss, roc_auc_one_vs_one, roc_auc_one_vs_one_averaged,
    roc_auc_one_vs_rest,
};
pub use precision_recall::{PrecisionRecallCurve, average_precision};
pub use probability::{brier_loss, log_loss};
pub use roc::{RocCurve, roc_auc};

use crate::{Error, Result, check};

/// Shared checks of labels and scores; both classes must be there.
pub(crate) fn check_binary(operation: &'static str, label: &[bool], score: &[f64]) -> Result<(f64, f64)> {
    check::paired(operation, "score", score, label.len())?;
    let positives = label.iter().filter(|l| **l).count();
    if positives == 0 || positives == label.len() {
        return Err(Error::undefined(operation, "all labels are of one class"));
    }
    Ok((positives as f64, (label.len() - positives) as f64))
}

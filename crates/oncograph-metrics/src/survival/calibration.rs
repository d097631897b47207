use super::{Covariates, CoxConfig, CoxModel, KaplanMeier, Survival};
use crate::{Error, Result, check, rank};
use serde::{Deserialize, Serialize};

/// Predicted against observed survival in one group of subjects.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalibrationGroup {
    /// Subjects in the group.
    pub count: usize,
    /// Mean predicted survival.
    pub predicted: f64,
    /// Kaplan–Meier survival of the group; `None` if its follow-up ends before the horizon.
    pub observed: Option<f64>,
    /// 95 % log(−log) interval of `observed`.
    pub interval: Option<(f64, f64)>,
}

/// Calibration of predicted survival at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SurvivalCalibration {
    /// The time.
    pub horizon: f64,
    /// Groups by ascending predicted survival.
    pub groups: Vec<CalibrationGroup>,
    /// Observed over expected events by the horizon: (1 − KM) / mean (1 − prediction). 1 is ideal; `None` if
    /// the horizon is after the follow-up or no event is expected.
    pub observed_expected: Option<f64>,
    /// Cox coefficient of ln(−ln prediction): 1 is ideal, below 1 the predictions are too extreme. `None` if
    /// it cannot be fitted (equal predictions, perfect separation).
    pub slope: Option<f64>,
    /// Standard error of the slope.
    pub slope_standard_error: Option<f64>,
}

/// Calibration of predicted survival probabilities at `horizon`.
///
/// Subjects are cut into `groups` of about equal size by their prediction (equal predictions stay together,
/// so there may be fewer groups), and each group's mean prediction is set against its Kaplan–Meier estimate.
///
/// # Errors
/// Wrong lengths, predictions outside [0, 1], `horizon` not above 0, no group or more groups than subjects,
/// no event.
///
/// # Example
/// ```
/// use oncograph_metrics::{Survival, survival_calibration};
/// let follow_up = Survival::new(&[1.0, 2.0, 3.0, 4.0], &[true, false, true, true])?;
/// let calibration = survival_calibration(&follow_up, &[0.2, 0.4, 0.7, 0.9], 2.5, 2)?;
/// assert_eq!(calibration.groups[1].observed, Some(1.0));
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Crowson, Atkinson & Therneau 2016; the slope regresses the hazard on the complementary log-log of the
/// prediction (Austin, Harrell & van Klaveren 2020).
pub fn survival_calibration(
    survival: &Survival,
    predicted: &[f64],
    horizon: f64,
    groups: usize,
) -> Result<SurvivalCalibration> {
    let operation = "survival_calibration";
    check::length(operation, "predicted", predicted.len(), survival.len())?;
    check::probabilities(operation, "predicted", predicted)?;
    check::scalar(operation, "horizon", horizon, "a finite time above 0", |t| t.is_finite() && t > 0.0)?;
    survival.require_event(operation)?;
    if groups == 0 || groups > survival.len() {
        let expected = "between 1 and the number of subjects";
        return Err(Error::argument(operation, "groups", expected, groups));
    }
    let order = rank::argsort(predicted);
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); groups];
    for (start, end) in rank::runs(predicted, &order) {
        members[start * groups / order.len()].extend(&order[start..end]);
    }
    let mut rows = Vec::new();
    for group in members.iter().filter(|g| !g.is_empty()) {
        rows.push(group_row(survival, predicted, horizon, group)?);
    }
    let n = predicted.len() as f64;
    let expected = predicted.iter().map(|s| 1.0 - s).sum::<f64>() / n;
    let observed = KaplanMeier::fit(survival, 0.95)?.at(horizon);
    let slope = slope(survival, predicted);
    Ok(SurvivalCalibration {
        horizon,
        groups: rows,
        observed_expected: observed.filter(|_| expected > 0.0).map(|s| (1.0 - s) / expected),
        slope: slope.map(|s| s.0),
        slope_standard_error: slope.map(|s| s.1),
    })
}

fn group_row(
    survival: &Survival,
    predicted: &[f64],
    horizon: f64,
    group: &[usize],
) -> Result<CalibrationGroup> {
    let time: Vec<f64> = group.iter().map(|&i| survival.time()[i]).collect();
    let event: Vec<bool> = group.iter().map(|&i| survival.event()[i]).collect();
    let estimate = KaplanMeier::fit(&Survival::new(&time, &event)?, 0.95)?.interval_at(horizon);
    Ok(CalibrationGroup {
        count: group.len(),
        predicted: group.iter().map(|&i| predicted[i]).sum::<f64>() / group.len() as f64,
        observed: estimate.map(|e| e.0),
        interval: estimate.map(|e| (e.1, e.2)),
    })
}

fn slope(survival: &Survival, predicted: &[f64]) -> Option<(f64, f64)> {
    // Probabilities of exactly 0 or 1 have no finite log-log.
    let log_log = |s: f64| (-s.clamp(1e-12, 1.0 - 1e-12).ln()).ln();
    let x: Vec<f64> = predicted.iter().map(|&s| log_log(s)).collect();
    let model = CoxModel::fit(survival, &Covariates::new(&x, 1).ok()?, &CoxConfig::new()).ok()?;
    Some((model.coefficients[0], model.standard_error[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_ratio_by_hand() {
        let survival =
            Survival::new(&[1., 2., 3., 4., 5., 6.], &[true, true, true, false, true, true]).unwrap();
        let predicted = [0.1, 0.9, 0.2, 0.3, 0.8, 0.7];
        let c = survival_calibration(&survival, &predicted, 3.5, 2).unwrap();
        assert_eq!(c.groups.iter().map(|g| g.count).collect::<Vec<_>>(), vec![3, 3]);
        assert!((c.groups[0].predicted - 0.2).abs() < 1e-12);
        assert!((c.groups[0].observed.unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert!((c.groups[1].observed.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert!((c.observed_expected.unwrap() - 1.0).abs() < 1e-12);
        assert!(c.slope.unwrap() > 0.0);
    }

    #[test]
    fn a_model_is_calibrated_on_its_own_data() {
        let time = [5., 3., 8., 1., 9., 2., 7., 6., 4., 10.];
        let event = [true, true, false, true, true, false, true, true, true, true];
        let survival = Survival::new(&time, &event).unwrap();
        let values = [0.3, 1.2, -0.5, 0.9, 0.1, 0.4, -1.0, 0.8, 0.2, 0.0];
        let x = Covariates::new(&values, 1).unwrap();
        let model = CoxModel::fit(&survival, &x, &CoxConfig::new()).unwrap();
        let predicted = model.survival(&x, &[5.5]).unwrap();
        let c = survival_calibration(&survival, &predicted, 5.5, 3).unwrap();
        assert!((c.slope.unwrap() - 1.0).abs() < 1e-8);
    }

    #[test]
    fn equal_predictions_stay_together_and_have_no_slope() {
        let survival = Survival::new(&[1., 2., 3.], &[true, true, false]).unwrap();
        let c = survival_calibration(&survival, &[0.5; 3], 2.5, 3).unwrap();
        assert_eq!(c.groups.len(), 1);
        assert_eq!(c.slope, None);
        assert!(survival_calibration(&survival, &[0.5; 3], 2.5, 4).is_err());
    }
}

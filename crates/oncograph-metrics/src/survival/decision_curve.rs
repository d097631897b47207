use super::{KaplanMeier, Survival};
use crate::{NetBenefit, Result, check};

/// Decision curve of a predicted probability to have the event by `horizon`, of right-censored follow-up.
///
/// With `x` the share of subjects that are treated, whose probability is at least the threshold p, and `S` their Kaplan–Meier
/// survival at the horizon, the net benefit is `x (1 − S) − x S p / (1 − p)`. Treating no one has 0. It is NaN where it is not
/// known, because the follow-up of the treated ends before the horizon.
///
/// # Errors
/// Wrong lengths, a probability outside [0, 1], a threshold outside [0, 1), `horizon` not above 0.
///
/// # Example
/// ```
/// use oncograph_metrics::{Survival, survival_decision_curve};
/// let follow_up = Survival::new(&[1.0, 2.0, 3.0, 4.0], &[true, true, false, true])?;
/// let curve = survival_decision_curve(&follow_up, &[0.9, 0.8, 0.3, 0.1], 2.5, &[0.5])?;
/// assert_eq!((curve[0].model, curve[0].treat_all), (0.5, 0.0));
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Vickers, Cronin, Elkin & Gonen 2008, *Extensions to decision curve analysis*. Equals `dcurves.dca` with a time.
pub fn survival_decision_curve(
    survival: &Survival,
    probability: &[f64],
    horizon: f64,
    thresholds: &[f64],
) -> Result<Vec<NetBenefit>> {
    let operation = "survival_decision_curve";
    check::length(operation, "probability", probability.len(), survival.len())?;
    check::probabilities(operation, "probability", probability)?;
    check::scalar(operation, "horizon", horizon, "a finite time above 0", |t| t.is_finite() && t > 0.0)?;
    let expected = "a threshold in [0, 1)";
    check::values(operation, "thresholds", thresholds, expected, |t| (0.0..1.0).contains(&t))?;
    let benefit = |treated: &dyn Fn(usize) -> bool, odds: f64| -> Result<f64> {
        let rows: Vec<usize> = (0..survival.len()).filter(|&i| treated(i)).collect();
        if rows.is_empty() {
            return Ok(0.0);
        }
        let time: Vec<f64> = rows.iter().map(|&i| survival.time()[i]).collect();
        let event: Vec<bool> = rows.iter().map(|&i| survival.event()[i]).collect();
        let free = KaplanMeier::fit(&Survival::new(&time, &event)?, 0.95)?.at(horizon);
        let share = rows.len() as f64 / survival.len() as f64;
        Ok(free.map_or(f64::NAN, |s| share * (1.0 - s) - share * s * odds))
    };
    let point = |&threshold: &f64| {
        let odds = threshold / (1.0 - threshold);
        let model = benefit(&|i| probability[i] >= threshold, odds)?;
        Ok(NetBenefit { threshold, model, treat_all: benefit(&|_| true, odds)? })
    };
    thresholds.iter().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    /// Numbers of dcurves 1.1.7 (Python).
    #[test]
    fn net_benefits_are_those_of_dcurves() {
        let n = 24;
        let probability: Vec<f64> = (0..n).map(|i| ((i * 37 % 24) as f64 + 0.5) / 24.0).collect();
        let time: Vec<f64> = (0..n).map(|i| (i * 17 % 23) as f64 / 3.0 + 0.5).collect();
        let event: Vec<bool> = (0..n).map(|i| i % 3 != 0).collect();
        let survival = Survival::new(&time, &event).unwrap();
        let curve =
            survival_decision_curve(&survival, &probability, 3.0, &[0.1, 0.25, 0.4, 0.6, 0.8]).unwrap();
        let model = [
            0.13998538011695905,
            0.032051282051282076,
            -0.10416666666666699,
            -0.29761904761904734,
            -0.20833333333333343,
        ];
        let all = [
            0.13903743315508066,
            -0.033155080213903176,
            -0.29144385026737907,
            -0.9371657754010683,
            -2.874331550802138,
        ];
        for (point, (model, all)) in curve.iter().zip(model.into_iter().zip(all)) {
            assert_relative_eq!(point.model, model, max_relative = 1e-9);
            assert_relative_eq!(point.treat_all, all, max_relative = 1e-9);
        }
    }

    #[test]
    fn without_censoring_it_is_the_curve_of_two_classes() {
        let (time, probability) = ([1.0, 2.0, 5.0, 6.0], [0.9, 0.2, 0.6, 0.1]);
        let survival = Survival::new(&time, &[true; 4]).unwrap();
        let labels = time.map(|t| t <= 3.0);
        let thresholds = [0.0, 0.15, 0.5, 0.95];
        let expected = crate::decision_curve(&labels, &probability, &thresholds).unwrap();
        for (a, b) in
            survival_decision_curve(&survival, &probability, 3.0, &thresholds).unwrap().iter().zip(&expected)
        {
            assert!((a.model - b.model).abs() < 1e-12 && (a.treat_all - b.treat_all).abs() < 1e-12);
        }
    }

    #[test]
    fn an_unknown_survival_is_not_a_number() {
        let survival = Survival::new(&[1.0, 2.0, 9.0], &[true, false, false]).unwrap();
        let curve = survival_decision_curve(&survival, &[0.2, 0.9, 0.1], 5.0, &[0.5, 0.95]).unwrap();
        assert!(curve[0].model.is_nan() && curve[0].treat_all.is_finite());
        assert_eq!(curve[1].model, 0.0);
        assert!(survival_decision_curve(&survival, &[0.2, 0.9, 0.1], 0.0, &[0.5]).is_err());
    }
}

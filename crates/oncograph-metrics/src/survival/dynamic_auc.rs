use super::{CensoringDistribution, KaplanMeier, Survival, check_times};
use crate::{Error, Result, check, rank};
use serde::{Deserialize, Serialize};

/// Cumulative/dynamic AUC at several times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DynamicAuc {
    /// The requested times.
    pub times: Vec<f64>,
    /// AUC at each time.
    pub auc: Vec<f64>,
    /// Mean AUC, weighted by the drop of the test data's Kaplan–Meier curve between the times.
    pub mean: f64,
}

/// Cumulative/dynamic AUC: does the risk separate who has the event by `t` from who survives `t`?
///
/// Cases (`t_i ≤ t`, event) are weighted by `1 / G(t_i)`, with `G` fitted on `train`; controls are all with
/// `t_i > t`.
///
/// # Errors
/// Wrong lengths; `times` not increasing or outside the follow-up of `test`; a time without cases or
/// controls; a case where `G` is zero or unknown.
///
/// # Example
/// ```
/// use oncograph_metrics::{Survival, dynamic_auc};
/// let follow_up = Survival::new(&[1.0, 2.0, 3.0, 4.0], &[true, true, false, true])?;
/// let auc = dynamic_auc(&follow_up, &follow_up, &[0.9, 0.3, 0.4, 0.1], &[1.0, 2.0])?;
/// assert_eq!(auc.auc, [1.0, 0.75]);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Uno et al. 2007; Hung & Chiang 2010. Equals `sksurv.metrics.cumulative_dynamic_auc`.
pub fn dynamic_auc(train: &Survival, test: &Survival, risk: &[f64], times: &[f64]) -> Result<DynamicAuc> {
    check::length("dynamic_auc", "risk", risk.len(), test.len())?;
    let repeated: Vec<f64> = risk.iter().flat_map(|&r| std::iter::repeat_n(r, times.len())).collect();
    dynamic_auc_varying(train, test, &repeated, times)
}

/// [`dynamic_auc`] of a risk that depends on time.
///
/// # Shapes
/// `risk`: [subjects, times], row-major.
///
/// # Errors
/// As [`dynamic_auc`].
pub fn dynamic_auc_varying(
    train: &Survival,
    test: &Survival,
    risk: &[f64],
    times: &[f64],
) -> Result<DynamicAuc> {
    let operation = "dynamic_auc";
    check_times(operation, test, times)?;
    check::paired(operation, "risk", risk, test.len() * times.len())?;
    let censoring = CensoringDistribution::fit(train)?;
    let last = times.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights = test
        .time()
        .iter()
        .zip(test.event())
        .map(
            |(&t, &event)| {
                if event && t <= last { censoring.inverse_probability(operation, t) } else { Ok(0.0) }
            },
        )
        .collect::<Result<Vec<f64>>>()?;
    let mut auc = Vec::with_capacity(times.len());
    for (column, &t) in times.iter().enumerate() {
        let at_t: Vec<f64> = risk.iter().skip(column).step_by(times.len()).copied().collect();
        auc.push(
            auc_at(test, &at_t, &weights, t)
                .ok_or_else(|| Error::undefined(operation, format!("no case or no control at time {t}")))?,
        );
    }
    let mean = mean_over_survival(test, times, &auc)?;
    Ok(DynamicAuc { times: times.to_vec(), auc, mean })
}

/// Area under the weighted ROC curve at one time; neighbours within 1e-8 of each other share one threshold.
fn auc_at(test: &Survival, risk: &[f64], weights: &[f64], t: f64) -> Option<f64> {
    let mut order = rank::argsort(risk);
    order.reverse();
    let (mut cases, mut controls, mut area) = (0.0, 0.0, 0.0);
    let (mut cases_before, mut controls_before) = (0.0, 0.0);
    for (position, &i) in order.iter().enumerate() {
        let observed = test.time()[i];
        if observed > t {
            controls += 1.0;
        } else if test.event()[i] {
            cases += weights[i];
        }
        if order.get(position + 1).is_none_or(|&next| risk[i] - risk[next] > 1e-8) {
            area += (controls - controls_before) * (cases + cases_before) / 2.0;
            (cases_before, controls_before) = (cases, controls);
        }
    }
    (cases > 0.0 && controls > 0.0).then(|| area / (cases * controls))
}

fn mean_over_survival(test: &Survival, times: &[f64], auc: &[f64]) -> Result<f64> {
    if let [only] = auc {
        return Ok(*only);
    }
    let curve = KaplanMeier::fit(test, 0.95)?;
    let (mut before, mut integral) = (1.0, 0.0);
    for (&t, &value) in times.iter().zip(auc) {
        // `check_times` keeps every time inside the curve.
        let now = curve.at(t).unwrap_or(before);
        integral += value * (before - now);
        before = now;
    }
    Ok(integral / (1.0 - before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_one_half() {
        let survival = Survival::new(&[1.0, 2.0, 3.0], &[true, false, false]).unwrap();
        let auc = dynamic_auc(&survival, &survival, &[0.5, 0.5, 0.1], &[1.0]).unwrap();
        assert_eq!(auc.auc, [0.75]);
        assert_eq!(auc.mean, 0.75);
    }

    #[test]
    fn a_varying_risk_uses_its_own_column() {
        let survival = Survival::new(&[1.0, 2.0, 3.0], &[true, true, false]).unwrap();
        let risk = [3.0, 1.0, 2.0, 2.0, 1.0, 3.0];
        let auc = dynamic_auc_varying(&survival, &survival, &risk, &[1.0, 2.0]).unwrap();
        assert_eq!(auc.auc, [1.0, 0.0]);
        assert!((auc.mean - 0.5).abs() < 1e-12);
    }

    #[test]
    fn times_are_checked() {
        let survival = Survival::new(&[1.0, 2.0, 3.0], &[false, true, false]).unwrap();
        let risk = [1.0, 2.0, 3.0];
        assert!(matches!(dynamic_auc(&survival, &survival, &risk, &[3.0]), Err(Error::Value { .. })));
        assert!(matches!(dynamic_auc(&survival, &survival, &risk, &[2.0, 2.0]), Err(Error::Value { .. })));
        let error = dynamic_auc(&survival, &survival, &risk, &[1.0]).unwrap_err().to_string();
        assert_eq!(error, "dynamic_auc is undefined: no case or no control at time 1");
    }
}

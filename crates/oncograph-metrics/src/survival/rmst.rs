use super::{KaplanMeier, Survival};
use crate::{Error, Result, check, distribution};
use serde::{Deserialize, Serialize};

/// Restricted mean survival time up to a horizon.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestrictedMean {
    /// The horizon τ.
    pub horizon: f64,
    /// Area under the Kaplan–Meier curve on [0, τ], in units of time.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Lower end of the normal confidence interval.
    pub lower: f64,
    /// Upper end of the normal confidence interval.
    pub upper: f64,
}

/// Restricted mean survival time: the mean event-free time within `horizon`.
///
/// `∫₀^τ S(t) dt` with variance `Σ_{t_i ≤ τ} A_i² d_i / (n_i (n_i − d_i))`, where `A_i` is the area from `t_i`
/// to τ.
///
/// # Errors
/// `horizon` not above 0 or beyond the known part of the curve; `level` outside (0, 1).
///
/// # Example
/// ```
/// use oncograph_metrics::{Survival, restricted_mean};
/// let follow_up = Survival::new(&[1.0, 2.0, 3.0, 4.0], &[true, true, false, true])?;
/// assert_eq!(restricted_mean(&follow_up, 3.0, 0.95)?.mean, 1.0 + 0.75 + 0.5);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Klein & Moeschberger, section 4.5. The mean equals `lifelines.utils.restricted_mean_survival_time`; mean and
/// standard error equal R `survfit`'s `print(rmean = τ)`.
pub fn restricted_mean(survival: &Survival, horizon: f64, level: f64) -> Result<RestrictedMean> {
    let operation = "restricted_mean";
    check::scalar(operation, "horizon", horizon, "a finite time above 0", |t| t.is_finite() && t > 0.0)?;
    let curve = KaplanMeier::fit(survival, level)?;
    if curve.at(horizon).is_none() {
        let reason = format!("the horizon {horizon} is after the last observation {}", survival.last_time());
        return Err(Error::undefined(operation, reason));
    }
    let steps = curve.time.partition_point(|&t| t <= horizon);
    let (mut end, mut area, mut variance) = (horizon, 0.0, 0.0);
    for i in (0..steps).rev() {
        area += (end - curve.time[i]) * curve.survival[i];
        end = curve.time[i];
        let (n, d) = (curve.at_risk[i] as f64, curve.events[i] as f64);
        if d > 0.0 && n > d {
            variance += area * area * d / (n * (n - d));
        }
    }
    let mean = area + end;
    let standard_error = f64::sqrt(variance);
    let margin = distribution::critical(level) * standard_error;
    Ok(RestrictedMean { horizon, mean, standard_error, lower: mean - margin, upper: mean + margin })
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn without_censoring_it_is_the_mean_of_the_capped_times() {
        let time = [1.0, 2.5, 4.0, 7.0, 9.0];
        let survival = Survival::new(&time, &[true; 5]).unwrap();
        let capped: Vec<f64> = time.iter().map(|t| t.min(5.0)).collect();
        let mean = capped.iter().sum::<f64>() / 5.0;
        let population: f64 = capped.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / 5.0;
        let result = restricted_mean(&survival, 5.0, 0.95).unwrap();
        assert_relative_eq!(result.mean, mean, max_relative = 1e-12);
        // Greenwood's variance without censoring is the population variance over n.
        assert_relative_eq!(result.standard_error, (population / 5.0).sqrt(), max_relative = 1e-12);
    }

    #[test]
    fn an_unknown_tail_is_an_error() {
        let survival = Survival::new(&[1.0, 2.0], &[true, false]).unwrap();
        assert!(matches!(restricted_mean(&survival, 2.5, 0.95), Err(Error::Undefined { .. })));
        let known = Survival::new(&[1.0, 2.0], &[true, true]).unwrap();
        assert_eq!(restricted_mean(&known, 2.5, 0.95).unwrap().mean, 1.5);
    }
}

use super::Survival;
use crate::{Result, check, distribution};
use serde::{Deserialize, Serialize};

/// Nelson–Aalen estimate of the cumulative hazard, at each distinct observed time.
///
/// `H(t) = Σ_{t_i ≤ t} d_i / n_i` with Aalen's variance `Σ d_i / n_i²` and the log-transformed band
/// `H exp(±z σ / H)`.
///
/// # Example
/// ```
/// use oncograph_metrics::{NelsonAalen, Survival};
/// let follow_up = Survival::new(&[1.0, 2.0, 3.0, 4.0], &[true, false, true, false])?;
/// let hazard = NelsonAalen::fit(&follow_up, 0.95)?;
/// assert_eq!(hazard.cumulative_hazard, [0.25, 0.25, 0.75, 0.75]);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Aalen 1978. The hazard equals `sksurv.nonparametric.nelson_aalen_estimator`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NelsonAalen {
    /// Distinct observed times, ascending.
    pub time: Vec<f64>,
    /// Cumulative hazard at each time.
    pub cumulative_hazard: Vec<f64>,
    /// Its variance.
    pub variance: Vec<f64>,
    /// Lower end of the pointwise band.
    pub lower: Vec<f64>,
    /// Upper end of the pointwise band.
    pub upper: Vec<f64>,
}

impl NelsonAalen {
    /// Estimates the cumulative hazard with a band of the given confidence level.
    ///
    /// # Errors
    /// A `level` outside (0, 1).
    pub fn fit(survival: &Survival, level: f64) -> Result<Self> {
        check::level("NelsonAalen::fit", level)?;
        let z = distribution::critical(level);
        let (mut hazard, mut variance) = (0.0, 0.0);
        let mut out = Self {
            time: Vec::new(),
            cumulative_hazard: Vec::new(),
            variance: Vec::new(),
            lower: Vec::new(),
            upper: Vec::new(),
        };
        for row in survival.table() {
            let (n, d) = (row.at_risk as f64, row.events as f64);
            hazard += d / n;
            variance += d / (n * n);
            let factor = if hazard > 0.0 { (z * f64::sqrt(variance) / hazard).exp() } else { 1.0 };
            out.time.push(row.time);
            out.cumulative_hazard.push(hazard);
            out.variance.push(variance);
            out.lower.push(hazard / factor);
            out.upper.push(hazard * factor);
        }
        Ok(out)
    }

    /// `H(t)`; `None` for NaN and after the last observed time.
    pub fn at(&self, t: f64) -> Option<f64> {
        if t.is_nan() || t > *self.time.last()? {
            return None;
        }
        let step = self.time.partition_point(|&x| x <= t).checked_sub(1);
        Some(step.map_or(0.0, |i| self.cumulative_hazard[i]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_ends() {
        let survival = Survival::new(&[1.0, 2.0, 2.0], &[true, true, false]).unwrap();
        let h = NelsonAalen::fit(&survival, 0.9).unwrap();
        assert_eq!(h.at(0.5), Some(0.0));
        assert_eq!(h.at(1.9), Some(1.0 / 3.0));
        assert_eq!(h.at(2.0), Some(1.0 / 3.0 + 0.5));
        assert_eq!(h.at(2.1), None);
        assert!(h.lower[1] < h.cumulative_hazard[1] && h.cumulative_hazard[1] < h.upper[1]);
    }
}

use super::check_binary;
use crate::{Error, Result, check, distribution, rank};
use serde::{Deserialize, Serialize};

/// AUC with DeLong's confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeLongInterval {
    /// Area under the ROC curve.
    pub auc: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Lower end, not below 0.
    pub lower: f64,
    /// Upper end, not above 1.
    pub upper: f64,
}

/// DeLong's test of two correlated AUCs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeLongTest {
    /// AUC of the first score.
    pub auc_a: f64,
    /// AUC of the second score.
    pub auc_b: f64,
    /// Standard error of `auc_a − auc_b`.
    pub standard_error: f64,
    /// Difference over its standard error.
    pub z: f64,
    /// Two-sided p-value.
    pub p_value: f64,
}

/// Share of the other class that each subject beats (positives) or loses to (negatives), by midranks.
struct Placements {
    auc: f64,
    positive: Vec<f64>,
    negative: Vec<f64>,
}

impl Placements {
    fn new(operation: &'static str, label: &[bool], score: &[f64]) -> Result<Self> {
        let (m, n) = check_binary(operation, label, score)?;
        if m < 2.0 || n < 2.0 {
            return Err(Error::undefined(operation, "the variance needs two subjects of each class"));
        }
        let all = rank::midranks(score);
        let within = |class: bool| {
            let own: Vec<f64> = (0..score.len()).filter(|&i| label[i] == class).map(|i| score[i]).collect();
            let all: Vec<f64> = (0..score.len()).filter(|&i| label[i] == class).map(|i| all[i]).collect();
            all.into_iter().zip(rank::midranks(&own)).map(|(a, w)| a - w).collect::<Vec<f64>>()
        };
        let positive: Vec<f64> = within(true).into_iter().map(|v| v / n).collect();
        let negative: Vec<f64> = within(false).into_iter().map(|v| 1.0 - v / m).collect();
        Ok(Self { auc: positive.iter().sum::<f64>() / m, positive, negative })
    }
}

fn covariance(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    a.iter().zip(b).map(|(x, y)| (x - mean_a) * (y - mean_b)).sum::<f64>() / (n - 1.0)
}

fn auc_covariance(a: &Placements, b: &Placements) -> f64 {
    covariance(&a.positive, &b.positive) / a.positive.len() as f64
        + covariance(&a.negative, &b.negative) / a.negative.len() as f64
}

/// AUC with DeLong's interval at confidence `level`, O(n log n).
///
/// # Errors
/// Different lengths, a score that is not finite, fewer than two subjects of a class, `level` outside (0, 1).
///
/// # Example
/// ```
/// let label = [false, false, true, true];
/// let interval = oncograph_metrics::delong_interval(&label, &[0.1, 0.4, 0.35, 0.8], 0.95)?;
/// assert_eq!(interval.auc, 0.75);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// DeLong et al. 1988 with the midranks of Sun & Xu 2014; R `pROC::ci.auc`.
pub fn delong_interval(label: &[bool], score: &[f64], level: f64) -> Result<DeLongInterval> {
    let operation = "delong_interval";
    check::level(operation, level)?;
    let placements = Placements::new(operation, label, score)?;
    let (auc, standard_error) = (placements.auc, auc_covariance(&placements, &placements).max(0.0).sqrt());
    let margin = distribution::critical(level) * standard_error;
    Ok(DeLongInterval { auc, standard_error, lower: (auc - margin).max(0.0), upper: (auc + margin).min(1.0) })
}

/// DeLong's test that two scores of the same subjects have equal AUC.
///
/// # Errors
/// As [`delong_interval`]; a difference whose variance is zero (for instance scores of one order).
///
/// # Reference
/// DeLong et al. 1988; R `pROC::roc.test(paired = TRUE)`.
pub fn delong_test(label: &[bool], score_a: &[f64], score_b: &[f64]) -> Result<DeLongTest> {
    let operation = "delong_test";
    let a = Placements::new(operation, label, score_a)?;
    let b = Placements::new(operation, label, score_b)?;
    let variance = auc_covariance(&a, &a) + auc_covariance(&b, &b) - 2.0 * auc_covariance(&a, &b);
    if variance <= 1e-15 {
        return Err(Error::undefined(operation, "the difference of the two AUCs has no variance"));
    }
    let standard_error = variance.sqrt();
    let z = (a.auc - b.auc) / standard_error;
    Ok(DeLongTest {
        auc_a: a.auc,
        auc_b: b.auc,
        standard_error,
        z,
        p_value: distribution::normal_two_sided(z),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn variance_by_hand() {
        // Positives 0.35, 0.8 beat 1/2 and 2/2 of the negatives; negatives 0.1, 0.4 lose to 2/2 and 1/2.
        let interval = delong_interval(&[false, false, true, true], &[0.1, 0.4, 0.35, 0.8], 0.95).unwrap();
        assert_relative_eq!(
            interval.standard_error,
            (0.125f64 / 2.0 + 0.125 / 2.0).sqrt(),
            max_relative = 1e-12
        );
        assert_eq!((interval.auc, interval.upper), (0.75, 1.0));
    }

    #[test]
    fn the_test_is_antisymmetric_and_refuses_equal_orders() {
        let label = [false, true, false, true, true, false];
        let (a, b) = ([0.1, 0.5, 0.3, 0.9, 0.2, 0.4], [0.6, 0.5, 0.1, 0.2, 0.7, 0.3]);
        let (ab, ba) = (delong_test(&label, &a, &b).unwrap(), delong_test(&label, &b, &a).unwrap());
        assert_relative_eq!(ab.z, -ba.z, max_relative = 1e-12);
        assert!(delong_test(&label, &a, &a.map(|v| v * 2.0)).is_err());
        assert!(delong_interval(&[true, false, false], &[0.1, 0.2, 0.3], 0.95).is_err());
    }
}

use super::check_binary;
use crate::{Result, rank};
use serde::{Deserialize, Serialize};

/// Precision and recall at every distinct score, thresholds ascending, closed by the point (recall 0, precision 1).
///
/// # Example
/// ```
/// use oncograph_metrics::PrecisionRecallCurve;
/// let curve = PrecisionRecallCurve::new(&[false, true, true], &[0.5, 0.4, 0.8])?;
/// assert_eq!(curve.recall, [1.0, 0.5, 0.5, 0.0]);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `sklearn.metrics.precision_recall_curve`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PrecisionRecallCurve {
    /// Distinct scores, ascending.
    pub thresholds: Vec<f64>,
    /// Precision where `score ≥ threshold` is positive; one more than `thresholds`.
    pub precision: Vec<f64>,
    /// Recall (sensitivity); one more than `thresholds`.
    pub recall: Vec<f64>,
}

impl PrecisionRecallCurve {
    /// The curve of scores.
    ///
    /// # Errors
    /// Different lengths, a score that is not finite, labels of one class only.
    pub fn new(label: &[bool], score: &[f64]) -> Result<Self> {
        let (positives, _) = check_binary("PrecisionRecallCurve", label, score)?;
        let mut order = rank::argsort(score);
        order.reverse();
        let mut curve = Self { thresholds: Vec::new(), precision: vec![1.0], recall: vec![0.0] };
        let mut hits = 0.0;
        for (start, end) in rank::runs(score, &order) {
            hits += order[start..end].iter().filter(|&&i| label[i]).count() as f64;
            curve.thresholds.push(score[order[start]]);
            curve.precision.push(hits / end as f64);
            curve.recall.push(hits / positives);
        }
        curve.thresholds.reverse();
        curve.precision.reverse();
        curve.recall.reverse();
        Ok(curve)
    }

    /// Average precision, `Σ (R_k − R_{k−1}) P_k`: no interpolation, so never optimistic.
    pub fn average_precision(&self) -> f64 {
        self.recall.windows(2).zip(&self.precision).map(|(r, p)| (r[0] - r[1]) * p).sum()
    }
}

/// Average precision of scores: [`PrecisionRecallCurve::average_precision`].
///
/// # Errors
/// As [`PrecisionRecallCurve::new`].
///
/// # Reference
/// Equals `sklearn.metrics.average_precision_score`.
pub fn average_precision(label: &[bool], score: &[f64]) -> Result<f64> {
    Ok(PrecisionRecallCurve::new(label, score)?.average_precision())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let ap = average_precision(&[false, false, true, true], &[0.1, 0.4, 0.35, 0.8]).unwrap();
        assert!((ap - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-15);
        assert!(average_precision(&[false], &[0.1]).is_err());
    }
}

use super::check_binary;
use crate::{Error, Result, check, rank};
use serde::{Deserialize, Serialize};

/// Receiver operating characteristic: one point per distinct score, from (0, 0) to (1, 1).
///
/// A subject is called positive when `score ≥ threshold`.
///
/// # Example
/// ```
/// use oncograph_metrics::RocCurve;
/// let roc = RocCurve::new(&[true, false, true], &[0.9, 0.5, 0.5])?;
/// assert_eq!(roc.true_positive_rate, [0.0, 0.5, 1.0]);
/// assert_eq!(roc.auc(), 0.75);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `sklearn.metrics.roc_curve(drop_intermediate=False)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RocCurve {
    /// Threshold of every point after the first, descending; the first point, (0, 0), calls nobody positive.
    pub thresholds: Vec<f64>,
    /// 1 − specificity, one more than `thresholds`.
    pub false_positive_rate: Vec<f64>,
    /// Sensitivity, one more than `thresholds`.
    pub true_positive_rate: Vec<f64>,
}

impl RocCurve {
    /// The curve of unweighted subjects.
    ///
    /// # Errors
    /// Different lengths, a score that is not finite, labels of one class only.
    pub fn new(label: &[bool], score: &[f64]) -> Result<Self> {
        Self::weighted(label, score, &vec![1.0; label.len()])
    }

    /// The curve of weighted subjects.
    ///
    /// # Errors
    /// As [`RocCurve::new`]; a negative weight, or a class whose weights are all zero.
    pub fn weighted(label: &[bool], score: &[f64], weight: &[f64]) -> Result<Self> {
        let operation = "RocCurve";
        check_binary(operation, label, score)?;
        check::length(operation, "weight", weight.len(), label.len())?;
        let expected = "a finite weight of at least 0";
        check::values(operation, "weight", weight, expected, |w| w.is_finite() && w >= 0.0)?;
        let mut order = rank::argsort(score);
        order.reverse();
        let (mut positive, mut negative) = (0.0, 0.0);
        let mut curve =
            Self { thresholds: Vec::new(), false_positive_rate: vec![0.0], true_positive_rate: vec![0.0] };
        for (start, end) in rank::runs(score, &order) {
            for &i in &order[start..end] {
                *(if label[i] { &mut positive } else { &mut negative }) += weight[i];
            }
            curve.thresholds.push(score[order[start]]);
            curve.false_positive_rate.push(negative);
            curve.true_positive_rate.push(positive);
        }
        if positive <= 0.0 || negative <= 0.0 {
            return Err(Error::undefined(operation, "the weights of one class are all zero"));
        }
        curve.false_positive_rate.iter_mut().for_each(|v| *v /= negative);
        curve.true_positive_rate.iter_mut().for_each(|v| *v /= positive);
        Ok(curve)
    }

    /// The weighted mean of several curves at each false positive rate, for example of the folds of a cross-validation.
    ///
    /// Its area is the weighted mean of the curves' areas. No threshold belongs to a point of it: all are NaN.
    ///
    /// # Errors
    /// No curve; other than one weight for each; a negative weight, or none above zero.
    ///
    /// # Reference
    /// Fawcett, *An introduction to ROC analysis*, Pattern Recognition Letters 27, 2006, algorithm 3 (vertical averaging); here
    /// at every rate at which a curve has a point, rather than on a grid.
    pub fn vertical_average(curves: &[RocCurve], weight: &[f64]) -> Result<Self> {
        let operation = "RocCurve::vertical_average";
        check::at_least(operation, "curves.len()", curves.len(), 1)?;
        check::length(operation, "weight", weight.len(), curves.len())?;
        let expected = "a finite weight of at least 0";
        check::values(operation, "weight", weight, expected, |w| w.is_finite() && w >= 0.0)?;
        let total: f64 = weight.iter().sum();
        if total <= 0.0 {
            return Err(Error::undefined(operation, "the weights are all zero"));
        }
        let mut rates: Vec<f64> = curves.iter().flat_map(|c| c.false_positive_rate.iter().copied()).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        let mut mean =
            Self { thresholds: Vec::new(), false_positive_rate: Vec::new(), true_positive_rate: Vec::new() };
        for rate in rates {
            // A curve that rises at this rate has two heights there: the foot and the head of the step.
            for head in [false, true] {
                let heights = curves.iter().zip(weight).map(|(c, w)| w * c.sensitivity_at(rate, head));
                mean.false_positive_rate.push(rate);
                mean.true_positive_rate.push((heights.sum::<f64>() / total).clamp(0.0, 1.0));
            }
        }
        mean.thresholds = vec![f64::NAN; mean.false_positive_rate.len() - 1];
        Ok(mean)
    }

    /// The sensitivity at a false positive rate: at the foot or the head of a step, else on the line between two points.
    fn sensitivity_at(&self, rate: f64, head: bool) -> f64 {
        let (x, y) = (&self.false_positive_rate, &self.true_positive_rate);
        let (first, end) = (x.partition_point(|v| *v < rate), x.partition_point(|v| *v <= rate));
        match (first == end, head) {
            (false, true) => y[end - 1],
            (false, false) => y[first],
            // A curve goes from 0 to 1, so that there is a point on either side.
            (true, _) => {
                let (a, b) = (first - 1, first);
                y[a] + (y[b] - y[a]) * (rate - x[a]) / (x[b] - x[a])
            }
        }
    }

    /// Area under the curve by trapezoids; a tie counts one half.
    pub fn auc(&self) -> f64 {
        let (x, y) = (&self.false_positive_rate, &self.true_positive_rate);
        (1..x.len()).map(|i| (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2.0).sum()
    }

    /// The threshold with the largest sensitivity + specificity − 1, and that value (Youden's J).
    ///
    /// The highest such threshold; `None` if J is nowhere above zero.
    pub fn youden(&self) -> Option<(f64, f64)> {
        let mut best: Option<(f64, f64)> = None;
        for (i, &threshold) in self.thresholds.iter().enumerate() {
            let j = self.true_positive_rate[i + 1] - self.false_positive_rate[i + 1];
            if j > best.map_or(0.0, |b| b.1) {
                best = Some((threshold, j));
            }
        }
        best
    }
}

/// Area under the ROC curve: the chance that a positive scores above a negative, ties counting one half.
///
/// # Errors
/// As [`RocCurve::new`].
///
/// # Example
/// ```
/// let auc = oncograph_metrics::roc_auc(&[false, true, false, true], &[0.1, 0.4, 0.35, 0.8])?;
/// assert_eq!(auc, 1.0);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `sklearn.metrics.roc_auc_score`.
pub fn roc_auc(label: &[bool], score: &[f64]) -> Result<f64> {
    Ok(RocCurve::new(label, score)?.auc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypothesis::mann_whitney;
    use proptest::prelude::*;

    #[test]
    fn the_area_of_the_mean_is_the_mean_of_the_areas() {
        let one = RocCurve::new(&[true, false, true, false, true], &[0.9, 0.5, 0.5, 0.1, 0.3]).unwrap();
        let other = RocCurve::new(&[false, false, true, false], &[0.2, 0.7, 0.6, 0.1]).unwrap();
        let mean = RocCurve::vertical_average(&[one.clone(), other.clone()], &[3.0, 1.0]).unwrap();
        assert!((mean.auc() - 0.75 * one.auc() - 0.25 * other.auc()).abs() < 1e-15);
        let alone = RocCurve::vertical_average(&[one.clone(), other], &[1.0, 0.0]).unwrap();
        assert!((alone.auc() - one.auc()).abs() < 1e-15);
        for weight in [&[1.0, 1.0][..], &[-1.0], &[0.0], &[f64::NAN]] {
            assert!(RocCurve::vertical_average(std::slice::from_ref(&one), weight).is_err(), "{weight:?}");
        }
        assert!(RocCurve::vertical_average(&[], &[]).is_err());
    }

    proptest! {
        #[test]
        fn auc_is_mann_whitney(rows in prop::collection::vec((any::<bool>(), -5i8..5), 2..50)) {
            let label: Vec<bool> = rows.iter().map(|r| r.0).collect();
            let score: Vec<f64> = rows.iter().map(|r| r.1 as f64).collect();
            prop_assume!(label.contains(&true) && label.contains(&false));
            let scores_of = |class: bool| -> Vec<f64> {
                rows.iter().filter(|r| r.0 == class).map(|r| r.1 as f64).collect()
            };
            let (positive, negative) = (scores_of(true), scores_of(false));
            let auc = roc_auc(&label, &score).unwrap();
            if let Ok(test) = mann_whitney(&positive, &negative) {
                let pairs = (positive.len() * negative.len()) as f64;
                prop_assert!((auc - test.statistic / pairs).abs() < 1e-12);
            }
            let negated: Vec<f64> = score.iter().map(|s| -s).collect();
            prop_assert!((auc + roc_auc(&label, &negated).unwrap() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn weights_equal_repeats() {
        let weighted = RocCurve::weighted(&[true, false, true], &[0.2, 0.5, 0.9], &[2.0, 1.0, 1.0]).unwrap();
        let repeated = roc_auc(&[true, true, false, true], &[0.2, 0.2, 0.5, 0.9]).unwrap();
        assert!((weighted.auc() - repeated).abs() < 1e-15);
        assert_eq!(weighted.youden().unwrap().0, 0.9);
    }

    #[test]
    fn one_class_is_an_error() {
        assert!(matches!(roc_auc(&[true, true], &[0.1, 0.2]), Err(Error::Undefined { .. })));
        assert!(matches!(roc_auc(&[true, false], &[0.1, f64::NAN]), Err(Error::Value { index: 1, .. })));
        assert!(RocCurve::weighted(&[true, false], &[0.1, 0.2], &[0.0, 1.0]).is_err());
    }
}

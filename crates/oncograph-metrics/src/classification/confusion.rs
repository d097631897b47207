use crate::{Result, check};
use serde::{Deserialize, Serialize};

/// Two-class confusion counts. A rate whose denominator is zero is `None`, not zero.
///
/// # Example
/// ```
/// use oncograph_metrics::Confusion;
/// let c = Confusion::at(&[true, true, false, false], &[0.9, 0.3, 0.5, 0.1], 0.5)?;
/// assert_eq!((c.tp, c.fp, c.fn_, c.tn), (1, 1, 1, 1));
/// assert_eq!(c.sensitivity(), Some(0.5));
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `sklearn.metrics.confusion_matrix` and its scores where those are defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// True positives.
    pub tp: usize,
    /// False positives.
    pub fp: usize,
    /// True negatives.
    pub tn: usize,
    /// False negatives.
    #[serde(rename = "fn")]
    pub fn_: usize,
}

fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator > 0.0).then(|| numerator / denominator)
}

impl Confusion {
    /// Counts calls against labels.
    ///
    /// # Errors
    /// Different lengths, or no subjects.
    pub fn new(label: &[bool], called: &[bool]) -> Result<Self> {
        check::at_least("Confusion", "label.len()", label.len(), 1)?;
        check::length("Confusion", "called", called.len(), label.len())?;
        let mut counts = Self { tp: 0, fp: 0, tn: 0, fn_: 0 };
        for pair in label.iter().zip(called) {
            match pair {
                (true, true) => counts.tp += 1,
                (false, true) => counts.fp += 1,
                (false, false) => counts.tn += 1,
                (true, false) => counts.fn_ += 1,
            }
        }
        Ok(counts)
    }

    /// Counts with `score ≥ threshold` called positive.
    ///
    /// # Errors
    /// As [`Confusion::new`]; a score that is not finite, a NaN threshold.
    pub fn at(label: &[bool], score: &[f64], threshold: f64) -> Result<Self> {
        check::finite("Confusion", "score", score)?;
        check::scalar("Confusion", "threshold", threshold, "a number", |t| !t.is_nan())?;
        Self::new(label, &score.iter().map(|s| *s >= threshold).collect::<Vec<_>>())
    }

    fn counts(&self) -> (f64, f64, f64, f64) {
        (self.tp as f64, self.fp as f64, self.tn as f64, self.fn_ as f64)
    }

    /// (TP + TN) / all.
    pub fn accuracy(&self) -> Option<f64> {
        let (tp, fp, tn, fn_) = self.counts();
        ratio(tp + tn, tp + fp + tn + fn_)
    }

    /// TP / (TP + FN), also called recall.
    pub fn sensitivity(&self) -> Option<f64> {
        ratio(self.tp as f64, (self.tp + self.fn_) as f64)
    }

    /// TN / (TN + FP).
    pub fn specificity(&self) -> Option<f64> {
        ratio(self.tn as f64, (self.tn + self.fp) as f64)
    }

    /// TP / (TP + FP), the positive predictive value.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.tp as f64, (self.tp + self.fp) as f64)
    }

    /// TN / (TN + FN).
    pub fn negative_predictive_value(&self) -> Option<f64> {
        ratio(self.tn as f64, (self.tn + self.fn_) as f64)
    }

    /// (sensitivity + specificity) / 2.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        Some((self.sensitivity()? + self.specificity()?) / 2.0)
    }

    /// 2 TP / (2 TP + FP + FN).
    pub fn f1(&self) -> Option<f64> {
        let (tp, fp, _, fn_) = self.counts();
        ratio(2.0 * tp, 2.0 * tp + fp + fn_)
    }

    /// Matthews correlation coefficient.
    pub fn mcc(&self) -> Option<f64> {
        let (tp, fp, tn, fn_) = self.counts();
        let norm = ((tp + fp) * (tp + fn_)).sqrt() * ((tn + fp) * (tn + fn_)).sqrt();
        ratio(tp * tn - fp * fn_, norm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let c = Confusion { tp: 6, fp: 2, tn: 3, fn_: 1 };
        assert_eq!(c.accuracy(), Some(0.75));
        assert_eq!(c.precision(), Some(0.75));
        assert_eq!(c.f1(), Some(0.8));
        assert_eq!(c.negative_predictive_value(), Some(0.75));
        assert!((c.mcc().unwrap() - 16.0 / (8.0f64 * 7.0 * 5.0 * 4.0).sqrt()).abs() < 1e-15);
        assert!((c.balanced_accuracy().unwrap() - (6.0 / 7.0 + 0.6) / 2.0).abs() < 1e-15);
    }

    #[test]
    fn empty_denominators_are_none() {
        let c = Confusion::new(&[true, true], &[false, false]).unwrap();
        assert_eq!((c.precision(), c.specificity(), c.mcc()), (None, None, None));
        assert_eq!(c.f1(), Some(0.0));
        assert!(Confusion::new(&[], &[]).is_err());
        assert!(Confusion::at(&[true], &[0.5], f64::NAN).is_err());
    }
}

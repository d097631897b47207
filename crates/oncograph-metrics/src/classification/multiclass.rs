use super::roc_auc;
use crate::{Error, Result, check};
use serde::{Deserialize, Serialize};

/// How scores of single classes become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// The mean over classes.
    #[default]
    Macro,
    /// The score of the pooled counts.
    Micro,
    /// The mean over classes weighted by their true size.
    Weighted,
}

/// Confusion counts of `classes` classes.
///
/// Averages leave out classes that occur neither in the truth nor in the predictions; a score without a
/// denominator makes them `None`.
///
/// # Example
/// ```
/// use oncograph_metrics::{Average, MulticlassConfusion};
/// let c = MulticlassConfusion::new(&[0, 1, 2, 2], &[0, 2, 2, 2], 3)?;
/// assert_eq!(c.accuracy(), 0.75);
/// assert_eq!(c.f1(Average::Macro), Some((1.0 + 0.0 + 0.8) / 3.0));
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `sklearn.metrics` (`confusion_matrix`, `precision_recall_fscore_support`, `balanced_accuracy_score`,
/// `cohen_kappa_score`, `matthews_corrcoef`) where those are defined without `zero_division`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MulticlassConfusion {
    /// Number of classes.
    pub classes: usize,
    /// Counts [truth, prediction], row-major.
    pub counts: Vec<usize>,
}

impl MulticlassConfusion {
    /// Counts predictions against the truth; classes are numbered from 0.
    ///
    /// # Errors
    /// Fewer than two classes, no subjects, different lengths, a label that is not below `classes`.
    pub fn new(truth: &[usize], predicted: &[usize], classes: usize) -> Result<Self> {
        let operation = "MulticlassConfusion";
        check_classes(operation, "truth", truth, classes)?;
        check::length(operation, "predicted", predicted.len(), truth.len())?;
        check_classes(operation, "predicted", predicted, classes)?;
        let mut counts = vec![0; classes * classes];
        truth.iter().zip(predicted).for_each(|(t, p)| counts[t * classes + p] += 1);
        Ok(Self { classes, counts })
    }

    /// Counts the most probable class of each row; the first wins a tie.
    ///
    /// # Shapes
    /// `probability`: [subjects, classes], row-major.
    ///
    /// # Errors
    /// As [`MulticlassConfusion::new`]; a value that is not finite.
    pub fn from_probability(truth: &[usize], probability: &[f64], classes: usize) -> Result<Self> {
        let operation = "MulticlassConfusion";
        check::at_least(operation, "classes", classes, 2)?;
        check::paired(operation, "probability", probability, truth.len() * classes)?;
        let best = |row: &[f64]| (1..classes).fold(0, |b, i| if row[i] > row[b] { i } else { b });
        let predicted: Vec<usize> = probability.chunks_exact(classes).map(best).collect();
        Self::new(truth, &predicted, classes)
    }

    fn row(&self, class: usize) -> f64 {
        self.counts[class * self.classes..(class + 1) * self.classes].iter().sum::<usize>() as f64
    }

    fn column(&self, class: usize) -> f64 {
        self.counts.iter().skip(class).step_by(self.classes).sum::<usize>() as f64
    }

    fn hits(&self, class: usize) -> f64 {
        self.counts[class * (self.classes + 1)] as f64
    }

    fn total(&self) -> f64 {
        self.counts.iter().sum::<usize>() as f64
    }

    fn all_hits(&self) -> f64 {
        (0..self.classes).map(|c| self.hits(c)).sum()
    }

    /// Share of right predictions.
    pub fn accuracy(&self) -> f64 {
        self.all_hits() / self.total()
    }

    /// Mean recall over the classes that occur in the truth.
    pub fn balanced_accuracy(&self) -> f64 {
        let recalls: Vec<f64> = (0..self.classes).filter_map(|c| self.class_recall(c)).collect();
        recalls.iter().sum::<f64>() / recalls.len() as f64
    }

    /// Precision of one class; `None` if it is never predicted (or is no class).
    pub fn class_precision(&self, class: usize) -> Option<f64> {
        (class < self.classes && self.column(class) > 0.0).then(|| self.hits(class) / self.column(class))
    }

    /// Recall of one class; `None` if it does not occur in the truth (or is no class).
    pub fn class_recall(&self, class: usize) -> Option<f64> {
        (class < self.classes && self.row(class) > 0.0).then(|| self.hits(class) / self.row(class))
    }

    /// F1 of one class; `None` if it occurs nowhere (or is no class).
    pub fn class_f1(&self, class: usize) -> Option<f64> {
        let support = if class < self.classes { self.row(class) + self.column(class) } else { 0.0 };
        (support > 0.0).then(|| 2.0 * self.hits(class) / support)
    }

    fn average(&self, average: Average, score: impl Fn(usize) -> Option<f64>) -> Option<f64> {
        let (mut sum, mut weight) = (0.0, 0.0);
        for class in (0..self.classes).filter(|&c| self.row(c) + self.column(c) > 0.0) {
            let w = match average {
                // Every prediction is of one class, so pooled precision, recall and F1 are the accuracy.
                Average::Micro => return Some(self.accuracy()),
                Average::Macro => 1.0,
                Average::Weighted => self.row(class),
            };
            if w > 0.0 {
                sum += w * score(class)?;
                weight += w;
            }
        }
        Some(sum / weight)
    }

    /// Averaged precision.
    pub fn precision(&self, average: Average) -> Option<f64> {
        self.average(average, |c| self.class_precision(c))
    }

    /// Averaged recall.
    pub fn recall(&self, average: Average) -> Option<f64> {
        self.average(average, |c| self.class_recall(c))
    }

    /// Averaged F1.
    pub fn f1(&self, average: Average) -> Option<f64> {
        self.average(average, |c| self.class_f1(c))
    }

    /// Cohen's κ; `None` where agreement by chance is certain.
    pub fn kappa(&self) -> Option<f64> {
        let n = self.total();
        let chance = (0..self.classes).map(|c| self.row(c) * self.column(c)).sum::<f64>() / (n * n);
        (chance < 1.0).then(|| (self.accuracy() - chance) / (1.0 - chance))
    }

    /// Matthews correlation (Gorodkin's R_K); `None` if truth or predictions are of one class.
    pub fn mcc(&self) -> Option<f64> {
        let n = self.total();
        let sum = |f: &dyn Fn(usize) -> f64| (0..self.classes).map(f).sum::<f64>();
        let both = sum(&|c| self.row(c) * self.column(c));
        let truth = n * n - sum(&|c| self.row(c).powi(2));
        let predicted = n * n - sum(&|c| self.column(c).powi(2));
        let norm = truth.sqrt() * predicted.sqrt();
        (norm > 0.0).then(|| (self.all_hits() * n - both) / norm)
    }
}

fn check_classes(
    operation: &'static str,
    argument: &'static str,
    label: &[usize],
    classes: usize,
) -> Result<()> {
    check::at_least(operation, "classes", classes, 2)?;
    check::at_least(operation, "truth.len()", label.len(), 1)?;
    match label.iter().position(|l| *l >= classes) {
        None => Ok(()),
        Some(index) => {
            let expected = "a class below `classes`";
            Err(Error::Value { operation, argument, index, expected, got: label[index] as f64 })
        }
    }
}

fn checked(operation: &'static str, truth: &[usize], probability: &[f64], classes: usize) -> Result<()> {
    check_classes(operation, "truth", truth, classes)?;
    check::length(operation, "probability", probability.len(), truth.len() * classes)?;
    check::probabilities(operation, "probability", probability)
}

/// Mean negative log-probability of the true class; probabilities are kept 2.2e-16 away from 0 and 1.
///
/// # Shapes
/// `probability`: [subjects, classes], row-major, each row summing to 1.
///
/// # Errors
/// Wrong lengths, labels or probabilities; a row that misses 1 by more than 1e-5.
///
/// # Reference
/// Equals `sklearn.metrics.log_loss`.
pub fn multiclass_log_loss(truth: &[usize], probability: &[f64], classes: usize) -> Result<f64> {
    let operation = "multiclass_log_loss";
    checked(operation, truth, probability, classes)?;
    let sums: Vec<f64> = probability.chunks_exact(classes).map(|r| r.iter().sum()).collect();
    check::values(operation, "sum of row", &sums, "1 within 1e-5", |s| (s - 1.0).abs() <= 1e-5)?;
    let of_truth = truth.iter().enumerate().map(|(i, t)| probability[i * classes + t]);
    let loss: f64 = of_truth.map(|p| -p.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()).sum();
    Ok(loss / truth.len() as f64)
}

/// One-vs-rest AUC over classes; [`Average::Micro`] pools all (subject, class) pairs.
///
/// # Shapes
/// `probability`: [subjects, classes], row-major.
///
/// # Errors
/// Wrong lengths, labels or probabilities; a class without subjects.
///
/// # Reference
/// Equals `sklearn.metrics.roc_auc_score(multi_class="ovr")`.
pub fn roc_auc_one_vs_rest(
    truth: &[usize],
    probability: &[f64],
    classes: usize,
    average: Average,
) -> Result<f64> {
    checked("roc_auc_one_vs_rest", truth, probability, classes)?;
    if average == Average::Micro {
        let label: Vec<bool> = truth.iter().flat_map(|&t| (0..classes).map(move |c| c == t)).collect();
        return roc_auc(&label, probability);
    }
    let (mut sum, mut weight) = (0.0, 0.0);
    for class in 0..classes {
        let label: Vec<bool> = truth.iter().map(|t| *t == class).collect();
        let score: Vec<f64> = probability.iter().skip(class).step_by(classes).copied().collect();
        let size = label.iter().filter(|l| **l).count() as f64;
        let w = if average == Average::Weighted { size } else { 1.0 };
        sum += w * roc_auc(&label, &score)?;
        weight += w;
    }
    Ok(sum / weight)
}

/// One-vs-one AUC, the mean over all ordered pairs of classes (Hand & Till): insensitive to class sizes.
///
/// # Shapes
/// `probability`: [subjects, classes], row-major.
///
/// # Errors
/// As [`roc_auc_one_vs_rest`].
///
/// # Reference
/// Equals `sklearn.metrics.roc_auc_score(multi_class="ovo", average="macro")`.
pub fn roc_auc_one_vs_one(truth: &[usize], probability: &[f64], classes: usize) -> Result<f64> {
    roc_auc_one_vs_one_averaged(truth, probability, classes, Average::Macro)
}

/// [`roc_auc_one_vs_one`] whose pairs count equally ([`Average::Macro`]) or by their number of subjects
/// ([`Average::Weighted`]).
///
/// # Errors
/// As [`roc_auc_one_vs_rest`]; [`Average::Micro`], which pairs of classes do not have.
///
/// # Reference
/// Equals `sklearn.metrics.roc_auc_score(multi_class="ovo", average="macro" / "weighted")`.
pub fn roc_auc_one_vs_one_averaged(
    truth: &[usize],
    probability: &[f64],
    classes: usize,
    average: Average,
) -> Result<f64> {
    let operation = "roc_auc_one_vs_one";
    checked(operation, truth, probability, classes)?;
    if average == Average::Micro {
        let expected = "macro or weighted";
        return Err(Error::argument(operation, "average", expected, "micro"));
    }
    let (mut sum, mut weight) = (0.0, 0.0);
    for a in 0..classes {
        for b in (0..classes).filter(|&b| b != a) {
            let pair: Vec<usize> = (0..truth.len()).filter(|&i| truth[i] == a || truth[i] == b).collect();
            let label: Vec<bool> = pair.iter().map(|&i| truth[i] == a).collect();
            let score: Vec<f64> = pair.iter().map(|&i| probability[i * classes + a]).collect();
            let w = if average == Average::Weighted { pair.len() as f64 } else { 1.0 };
            sum += w * roc_auc(&label, &score)?;
            weight += w;
        }
    }
    Ok(sum / weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_classes_agree_with_the_binary_scores() {
        let truth = [1, 1, 1, 0, 0, 0, 0, 1];
        let predicted = [1, 0, 1, 0, 0, 1, 0, 1];
        let multi = MulticlassConfusion::new(&truth, &predicted, 2).unwrap();
        let two = crate::Confusion::new(&truth.map(|t| t == 1), &predicted.map(|t| t == 1)).unwrap();
        assert_eq!(multi.class_f1(1), two.f1());
        assert!((multi.mcc().unwrap() - two.mcc().unwrap()).abs() < 1e-15);
        assert_eq!(Some(multi.balanced_accuracy()), two.balanced_accuracy());
        assert_eq!(multi.f1(Average::Micro), Some(0.75));
    }

    #[test]
    fn a_class_that_occurs_nowhere_is_left_out() {
        let c = MulticlassConfusion::new(&[0, 0, 1], &[0, 1, 1], 3).unwrap();
        assert!((c.f1(Average::Macro).unwrap() - 2.0 / 3.0).abs() < 1e-15);
        assert_eq!(c.class_f1(2), None);
        assert_eq!(MulticlassConfusion::new(&[0, 1], &[0, 0], 2).unwrap().precision(Average::Macro), None);
    }

    #[test]
    fn wrong_input_is_an_error() {
        assert!(MulticlassConfusion::new(&[0, 3], &[0, 1], 3).is_err());
        assert!(multiclass_log_loss(&[0], &[0.5, 0.6], 2).is_err());
        assert!(roc_auc_one_vs_rest(&[0, 0], &[0.5, 0.5, 0.5, 0.5], 2, Average::Macro).is_err());
    }
}

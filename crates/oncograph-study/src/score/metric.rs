use super::pairs::{auroc_within, average_precision_within, by_fold};
use super::times;
use crate::results::Held;
use crate::{Answer, Target};
use oncograph_metrics::{
    Average, Confusion, MulticlassConfusion, brier_loss, calibration_slope, expected_calibration_error,
};
use serde::{Deserialize, Serialize};

/// Bins of the calibration error.
const BINS: usize = 10;

/// A number that a model is judged by. Those that rank compare rows of one fold only. Those that correct for censoring weigh a
/// row by the inverse probability of not being censored, estimated on the rows that its fold did not hold out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// Harrell's C-index: among the pairs of which it is known who had the event first.
    CIndex,
    /// Uno's C-index: the same, corrected for censoring (Uno et al., *On the C-statistics for evaluating overall adequacy of
    /// risk prediction procedures with censored survival data*, Statistics in Medicine 30, 2011).
    IpcwCIndex,
    /// The share predicted within two years, censored rows as if observed.
    Adjacent,
    /// The same of rows with an event.
    AdjacentEvents,
    /// The same, where a censored row may be predicted later.
    AdjacentCensoringAware,
    /// Squared error in years², censored rows as if observed.
    SquaredError,
    /// The same of rows with an event.
    SquaredErrorEvents,
    /// Absolute error in years, censored rows as if observed.
    AbsoluteError,
    /// The same of rows with an event.
    AbsoluteErrorEvents,
    /// Cumulative/dynamic AUC at 1 year, corrected for censoring: who has the event by then against who is followed longer.
    AucAt1Year,
    /// The same at 3 years.
    AucAt3Years,
    /// The same at 5 years.
    AucAt5Years,
    /// The Brier score of the survival at 3 years, corrected for censoring (Graf et al., *Assessment and comparison of
    /// prognostic classification schemes for survival data*, Statistics in Medicine 18, 1999).
    BrierAt3Years,
    /// The mean of that score over the years 1 to 5, by trapezoids.
    IntegratedBrier,
    /// The Cox coefficient of the predicted log-log survival at 3 years: 1 is right, below 1 predictions are too extreme
    /// (Austin, Harrell and van Klaveren, *Graphical calibration curves and the integrated calibration index (ICI) for
    /// survival models*, Statistics in Medicine 39, 2020).
    CalibrationSlopeAt3Years,
    /// Area under the ROC curve; the mean over classes against the rest, or over labels, where there are several.
    Auroc,
    /// Average precision of the second class, or its mean over labels.
    Auprc,
    /// The mean of the classes' recalls.
    BalancedAccuracy,
    /// The share called right.
    Accuracy,
    /// The mean of the classes' F1.
    MacroF1,
    /// The recall of the second class.
    Sensitivity,
    /// The recall of the first class.
    Specificity,
    /// The mean squared error of a probability, of labels their mean.
    Brier,
    /// Expected calibration error in ten bins.
    CalibrationError,
    /// The slope of a logistic recalibration; 1 is right.
    CalibrationSlope,
}

impl Metric {
    /// What it is called in tables.
    pub fn name(self) -> String {
        match self {
            Metric::CIndex => "C-index",
            Metric::IpcwCIndex => "C-index, Uno",
            Metric::Adjacent => "TAA",
            Metric::AdjacentEvents => "TAA, events",
            Metric::AdjacentCensoringAware => "TAA, censoring-aware",
            Metric::SquaredError => "MSE (years²)",
            Metric::SquaredErrorEvents => "MSE, events (years²)",
            Metric::AbsoluteError => "MAE (years)",
            Metric::AbsoluteErrorEvents => "MAE, events (years)",
            Metric::AucAt1Year => "AUC at 1 year",
            Metric::AucAt3Years => "AUC at 3 years",
            Metric::AucAt5Years => "AUC at 5 years",
            Metric::BrierAt3Years => "Brier score at 3 years",
            Metric::IntegratedBrier => "integrated Brier score",
            Metric::CalibrationSlopeAt3Years => "calibration slope at 3 years",
            Metric::Auroc => "AUROC",
            Metric::Auprc => "AUPRC",
            Metric::BalancedAccuracy => "balanced accuracy",
            Metric::Accuracy => "accuracy",
            Metric::MacroF1 => "macro F1",
            Metric::Sensitivity => "sensitivity",
            Metric::Specificity => "specificity",
            Metric::Brier => "Brier score",
            Metric::CalibrationError => "calibration error",
            Metric::CalibrationSlope => "calibration slope",
        }
        .to_string()
    }

    /// The metrics of a target, the main one first; those of times and of survival only where a model gives them.
    pub fn of(target: &Target, held: &[Vec<Option<Held>>]) -> Vec<Metric> {
        use Metric::*;
        match target {
            Target::Survival(_) => {
                let answers = || held.iter().flatten().flatten().map(|h| &h.answer);
                let mut all = vec![CIndex, IpcwCIndex, AucAt1Year, AucAt3Years, AucAt5Years];
                if answers().any(|a| times::years(a, Adjacent).is_some()) {
                    all.extend([Adjacent, AdjacentEvents, AdjacentCensoringAware]);
                    all.extend([SquaredError, SquaredErrorEvents, AbsoluteError, AbsoluteErrorEvents]);
                }
                if answers().any(|a| times::survival_at(a, 1).is_some()) {
                    all.extend([BrierAt3Years, IntegratedBrier, CalibrationSlopeAt3Years]);
                }
                all
            }
            Target::Classes { names, .. } if names.len() == 2 => {
                let first = vec![Auroc, Auprc, BalancedAccuracy, Accuracy, Sensitivity, Specificity];
                [first, vec![MacroF1, Brier, CalibrationError, CalibrationSlope]].concat()
            }
            Target::Classes { .. } => vec![Auroc, BalancedAccuracy, Accuracy, MacroF1],
            Target::Labels { .. } => vec![Auroc, Auprc, Brier],
        }
    }

    /// A metric of classes or labels on some rows of one repetition; `None` where it is not defined.
    pub(super) fn of_probabilities_of(
        self,
        target: &Target,
        held: &[Option<Held>],
        rows: &[usize],
        threshold: f64,
    ) -> Option<f64> {
        let answered = || rows.iter().filter_map(|&r| Some((r, held[r].as_ref()?)));
        match target {
            Target::Survival(_) => None,
            Target::Classes { names, classes } => {
                let known: Vec<(usize, &Held)> =
                    answered().filter_map(|(r, h)| Some((classes[r]?, h))).collect();
                self.of_classes(&known, names.len(), threshold)
            }
            Target::Labels { names, labels } => {
                let one = |l: usize| {
                    let known =
                        answered().filter_map(|(r, h)| Some((h.fold, (labels[r][l]?, probability(h, l)?))));
                    self.of_label(&by_fold(known))
                };
                let all: Option<Vec<f64>> = (0..names.len()).map(one).collect();
                all.map(|a| a.iter().sum::<f64>() / names.len() as f64)
            }
        }
    }

    fn of_classes(self, known: &[(usize, &Held)], n: usize, threshold: f64) -> Option<f64> {
        let against_rest = |c: usize| {
            let row = |(truth, h): &(usize, &Held)| Some((h.fold, (*truth == c, probability(h, c)?)));
            known.iter().map(row).collect::<Option<Vec<_>>>().map(|rows| by_fold(rows.into_iter()))
        };
        let binary = || {
            let row = |(truth, h): &(usize, &Held)| Some((*truth == 1, probability(h, 1)?));
            known.iter().map(row).collect::<Option<Vec<_>>>().map(|rows| rows.into_iter().unzip())
        };
        match self {
            Metric::Auroc if n == 2 => return auroc_within(&against_rest(1)?),
            Metric::Auroc => {
                // A class that nobody has, or everybody, has no ranking.
                let all: Vec<f64> = (0..n).filter_map(|c| auroc_within(&against_rest(c)?)).collect();
                return (all.len() == n).then(|| all.iter().sum::<f64>() / n as f64);
            }
            Metric::Auprc if n == 2 => return average_precision_within(&against_rest(1)?),
            Metric::Brier | Metric::CalibrationError | Metric::CalibrationSlope if n == 2 => {
                let (label, p): (Vec<bool>, Vec<f64>) = binary()?;
                return self.of_probabilities(&label, &p);
            }
            Metric::Sensitivity | Metric::Specificity if n == 2 => {
                let (label, p): (Vec<bool>, Vec<f64>) = binary()?;
                let confusion = Confusion::at(&label, &p, threshold).ok()?;
                let sensitive = self == Metric::Sensitivity;
                return if sensitive { confusion.sensitivity() } else { confusion.specificity() };
            }
            _ => {}
        }
        let called = |h: &Held| -> Option<usize> {
            if n == 2 {
                return Some(usize::from(probability(h, 1)? >= threshold));
            }
            let Answer::Probabilities(p) = &h.answer else { return None };
            // The first of equals.
            (0..n).rev().max_by(|&a, &b| p[a].total_cmp(&p[b]))
        };
        let calls: Vec<usize> = known.iter().map(|(_, h)| called(h)).collect::<Option<_>>()?;
        let truth: Vec<usize> = known.iter().map(|k| k.0).collect();
        let confusion = MulticlassConfusion::new(&truth, &calls, n).ok()?;
        match self {
            Metric::BalancedAccuracy => Some(confusion.balanced_accuracy()),
            Metric::Accuracy => Some(confusion.accuracy()),
            Metric::MacroF1 => confusion.f1(Average::Macro),
            _ => None,
        }
    }

    fn of_label(self, folds: &[Vec<(bool, f64)>]) -> Option<f64> {
        match self {
            Metric::Auroc => auroc_within(folds),
            Metric::Auprc => average_precision_within(folds),
            _ => {
                let (label, p): (Vec<bool>, Vec<f64>) = folds.iter().flatten().copied().unzip();
                self.of_probabilities(&label, &p)
            }
        }
    }

    /// Metrics of probabilities as such, which models of all folds share a scale for.
    fn of_probabilities(self, label: &[bool], p: &[f64]) -> Option<f64> {
        match self {
            Metric::Brier => brier_loss(label, p).ok(),
            Metric::CalibrationError => expected_calibration_error(label, p, BINS).ok(),
            Metric::CalibrationSlope => {
                // A logit needs probabilities strictly between 0 and 1.
                let inside: Vec<f64> = p.iter().map(|p| p.clamp(1e-9, 1.0 - 1e-9)).collect();
                calibration_slope(label, &inside).ok().map(|c| c.slope)
            }
            _ => None,
        }
    }
}

fn probability(held: &Held, class: usize) -> Option<f64> {
    match &held.answer {
        Answer::Probabilities(p) => p.get(class).copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(fold: usize, answer: Answer) -> Option<Held> {
        Some(Held { fold, answer })
    }

    #[test]
    fn classes_by_hand() {
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let target = Target::Classes { names, classes: vec![Some(0), Some(1), Some(2), None] };
        let p = |a: f64, b: f64| Answer::Probabilities(vec![a, b, 1.0 - a - b]);
        let all =
            vec![held(0, p(0.6, 0.3)), held(0, p(0.5, 0.4)), held(0, p(0.1, 0.2)), held(0, p(0.9, 0.0))];
        let value = |m: Metric| m.of_probabilities_of(&target, &all, &[0, 1, 2, 3], 0.5);
        assert!((value(Metric::Accuracy).unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(value(Metric::Auroc), Some(1.0));
        assert_eq!(value(Metric::Sensitivity), None);
        assert_eq!(value(Metric::CIndex), None);
    }

    #[test]
    fn the_threshold_calls_the_second_class() {
        let names = ["no", "yes"].map(String::from).to_vec();
        let target = Target::Classes { names, classes: vec![Some(0), Some(1), Some(1)] };
        let p = |yes: f64| held(0, Answer::Probabilities(vec![1.0 - yes, yes]));
        let all = vec![p(0.2), p(0.4), p(0.8)];
        let at = |m: Metric, threshold| m.of_probabilities_of(&target, &all, &[0, 1, 2], threshold).unwrap();
        assert_eq!((at(Metric::Sensitivity, 0.5), at(Metric::Sensitivity, 0.3)), (0.5, 1.0));
        assert!((at(Metric::Accuracy, 0.5) - 2.0 / 3.0).abs() < 1e-12);
        assert!((at(Metric::Brier, 0.5) - (0.04 + 0.36 + 0.04) / 3.0).abs() < 1e-12);
    }
}

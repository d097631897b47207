use super::pairs::{auroc_within, average_precision_within, by_fold, concordance_within, dynamic_auc_within};
use crate::results::Held;
use crate::{Answer, Target};
use oncograph_core::FollowUp;
use oncograph_metrics::{
    Average, Confusion, MulticlassConfusion, Survival, TaaMode, brier_loss, calibration_slope,
    expected_calibration_error, mean_absolute_error, mean_squared_error, time_adjacent_accuracy,
};
use serde::{Deserialize, Serialize};

/// The tolerance of time-adjacent accuracy, in years.
const ADJACENT: f64 = 2.0;
/// When the time-dependent AUC is read, in years.
const AUC_AT: f64 = 3.0;
/// Bins of the calibration error.
const BINS: usize = 10;

/// A number that a model is judged by. Those that rank compare rows of one fold only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// Harrell's C-index.
    CIndex,
    /// The share predicted within two years, censored rows as if observed.
    Adjacent,
    /// The same of rows with an event.
    AdjacentEvents,
    /// The same, where a censored row may be predicted later.
    AdjacentCensoringAware,
    /// Squared error in years².
    SquaredError,
    /// Absolute error in years.
    AbsoluteError,
    /// Cumulative/dynamic AUC at 3 years.
    AucAt3Years,
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
            Metric::Adjacent => "TAA",
            Metric::AdjacentEvents => "TAA, events",
            Metric::AdjacentCensoringAware => "TAA, censoring-aware",
            Metric::SquaredError => "MSE (years²)",
            Metric::AbsoluteError => "MAE (years)",
            Metric::AucAt3Years => "AUC at 3 years",
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

    /// The metrics of a target, the main one first; those of times only where a model gives times.
    pub fn of(target: &Target, held: &[Vec<Option<Held>>]) -> Vec<Metric> {
        use Metric::*;
        match target {
            Target::Survival(_) => {
                let answers = || held.iter().flatten().flatten().map(|h| &h.answer);
                let times = answers().any(|a| years(a, Adjacent).is_some());
                let mut all = vec![CIndex, AucAt3Years];
                if times {
                    all.extend([
                        Adjacent,
                        AdjacentEvents,
                        AdjacentCensoringAware,
                        SquaredError,
                        AbsoluteError,
                    ]);
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

    /// Its value on some rows of one repetition; `None` where it is not defined.
    pub(super) fn value(
        self,
        target: &Target,
        held: &[Option<Held>],
        rows: &[usize],
        threshold: f64,
    ) -> Option<f64> {
        let answered = || rows.iter().filter_map(|&r| Some((r, held[r].as_ref()?)));
        match target {
            Target::Survival(times) => {
                let known: Vec<(FollowUp, &Held)> =
                    answered().filter_map(|(r, h)| Some((times[r]?, h))).collect();
                self.of_times(&known)
            }
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

    fn of_times(self, known: &[(FollowUp, &Held)]) -> Option<f64> {
        let ranked = || {
            let row = |(f, h): &(FollowUp, &Held)| match h.answer {
                Answer::Survival { risk, .. } => Some((h.fold, (f.in_years(), f.event(), risk))),
                // Constants tie everybody.
                Answer::ConstantTime { .. } => Some((h.fold, (f.in_years(), f.event(), 0.0))),
                Answer::Probabilities(_) => None,
            };
            known.iter().map(row).collect::<Option<Vec<_>>>().map(|rows| by_fold(rows.into_iter()))
        };
        match self {
            Metric::CIndex => return concordance_within(&ranked()?),
            Metric::AucAt3Years => return dynamic_auc_within(&ranked()?, AUC_AT),
            _ => {}
        }
        let predicted: Vec<f64> = known.iter().map(|(_, h)| years(&h.answer, self)).collect::<Option<_>>()?;
        let time: Vec<f64> = known.iter().map(|(f, _)| f.in_years()).collect();
        let event: Vec<bool> = known.iter().map(|(f, _)| f.event()).collect();
        let adjacent = |mode| {
            let survival = Survival::new(&time, &event).ok()?;
            time_adjacent_accuracy(&survival, &predicted, ADJACENT, mode).ok()
        };
        match self {
            Metric::Adjacent => adjacent(TaaMode::All),
            Metric::AdjacentEvents => adjacent(TaaMode::EventsOnly),
            Metric::AdjacentCensoringAware => adjacent(TaaMode::CensorAware),
            Metric::SquaredError => mean_squared_error(&time, &predicted).ok(),
            Metric::AbsoluteError => mean_absolute_error(&time, &predicted).ok(),
            _ => None,
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

/// The time that a metric compares with the truth.
fn years(answer: &Answer, metric: Metric) -> Option<f64> {
    match answer {
        Answer::Survival { years, .. } => *years,
        Answer::ConstantTime { mean, median, adjacent } => Some(match metric {
            Metric::SquaredError => *mean,
            Metric::AbsoluteError => *median,
            _ => *adjacent,
        }),
        Answer::Probabilities(_) => None,
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
    fn constants_are_judged_by_the_best_of_each_metric() {
        let time = |years, event| Some(FollowUp::years(years, event).unwrap());
        let target = Target::Survival(vec![time(1.0, true), time(2.0, true), time(9.0, false)]);
        let constant = Answer::ConstantTime { mean: 4.0, median: 2.0, adjacent: 1.5 };
        let all = vec![held(0, constant.clone()), held(0, constant.clone()), held(0, constant)];
        let value = |m: Metric| m.value(&target, &all, &[0, 1, 2], 0.5).unwrap();
        assert_eq!(value(Metric::CIndex), 0.5);
        assert!((value(Metric::SquaredError) - (9.0 + 4.0 + 25.0) / 3.0).abs() < 1e-12);
        assert!((value(Metric::AbsoluteError) - (1.0 + 0.0 + 7.0) / 3.0).abs() < 1e-12);
        assert!((value(Metric::Adjacent) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(value(Metric::AdjacentEvents), 1.0);
    }

    #[test]
    fn classes_by_hand() {
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let target = Target::Classes { names, classes: vec![Some(0), Some(1), Some(2), None] };
        let p = |a: f64, b: f64| Answer::Probabilities(vec![a, b, 1.0 - a - b]);
        let all =
            vec![held(0, p(0.6, 0.3)), held(0, p(0.5, 0.4)), held(0, p(0.1, 0.2)), held(0, p(0.9, 0.0))];
        let value = |m: Metric| m.value(&target, &all, &[0, 1, 2, 3], 0.5);
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
        let at = |m: Metric, threshold| m.value(&target, &all, &[0, 1, 2], threshold).unwrap();
        assert_eq!((at(Metric::Sensitivity, 0.5), at(Metric::Sensitivity, 0.3)), (0.5, 1.0));
        assert!((at(Metric::Accuracy, 0.5) - 2.0 / 3.0).abs() < 1e-12);
        assert!((at(Metric::Brier, 0.5) - (0.04 + 0.36 + 0.04) / 3.0).abs() < 1e-12);
    }
}

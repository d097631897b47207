//! Metrics of right-censored times, made ready for resampling.

use super::Metric;
use super::ready::{Draw, PairShare, Ready, RowMean};
use crate::results::Held;
use crate::{Answer, StudyResults, Target, Task};
use oncograph_core::FollowUp;
use oncograph_metrics::{
    CensoringDistribution, Covariates, CoxConfig, CoxModel, Survival, TaaMode, time_adjacent_accuracy,
};
use std::collections::BTreeMap;

/// The tolerance of time-adjacent accuracy, in years.
const ADJACENT: f64 = 2.0;
/// Risks closer than this are tied, as in scikit-survival.
const TIED: f64 = 1e-8;
/// The year at which Brier score and calibration are read.
pub(crate) const CALIBRATED_AT: usize = 3;
/// The integrated Brier score is over the years 1 to this one.
const INTEGRATED_TO: usize = 5;

/// By repetition and fold, who of those that a fold did not hold out was still followed when: the weights of metrics that
/// correct for censoring.
pub(super) struct Censoring(Vec<BTreeMap<usize, CensoringDistribution>>);

impl Censoring {
    /// Estimated on the training and validation rows of each fold, never on rows that are scored.
    pub(super) fn new(results: &StudyResults, task: &Task) -> Self {
        let mut all = vec![BTreeMap::new(); results.repeats];
        let Target::Survival(times) = &task.target else { return Censoring(all) };
        for fold in &results.splits {
            let learnt = fold.split.train.iter().chain(&fold.split.validation);
            let (time, event): (Vec<f64>, Vec<bool>) =
                learnt.filter_map(|&r| times[r]).map(|f| (f.in_years(), f.event())).unzip();
            let followed = Survival::new(&time, &event).and_then(|s| CensoringDistribution::fit(&s));
            if let (Ok(followed), Some(of_repeat)) = (followed, all.get_mut(fold.repeat)) {
                of_repeat.insert(fold.fold, followed);
            }
        }
        Censoring(all)
    }

    pub(super) fn of_repeat(&self, repeat: usize) -> Option<&BTreeMap<usize, CensoringDistribution>> {
        self.0.get(repeat)
    }
}

/// One answered row with a known time.
struct Row<'a> {
    row: usize,
    fold: usize,
    time: f64,
    event: bool,
    answer: &'a Answer,
    censoring: Option<&'a CensoringDistribution>,
}

impl Row<'_> {
    /// `1 / G(years)`; 0 where nobody of the training rows was followed as long, as in scikit-survival.
    fn weight(&self, years: f64) -> Option<f64> {
        Some(self.censoring?.at(years).filter(|g| *g > 0.0).map_or(0.0, |g| 1.0 / g))
    }

    fn risk(&self) -> Option<f64> {
        match self.answer {
            Answer::Survival { risk, .. } => Some(*risk),
            // Constants tie everybody.
            Answer::ConstantTime { .. } => Some(0.0),
            Answer::Probabilities(_) => None,
        }
    }

    /// The term of the Brier score at the end of a year, from 1.
    fn brier(&self, year: usize) -> Option<f64> {
        let (survival, at) = (survival_at(self.answer, year)?, year as f64);
        Some(match self.time > at {
            true => (1.0 - survival).powi(2) * self.weight(at)?,
            false if self.event => survival.powi(2) * self.weight(self.time)?,
            false => 0.0,
        })
    }

    /// The trapezoid integral of the Brier terms over the years, divided by their range.
    fn integrated_brier(&self) -> Option<f64> {
        let terms: Option<Vec<f64>> = (1..=INTEGRATED_TO).map(|year| self.brier(year)).collect();
        let terms = terms?;
        let area: f64 = terms.windows(2).map(|w| 0.5 * (w[0] + w[1])).sum();
        Some(area / (terms.len() - 1) as f64)
    }

    /// 1 or 0 for right or wrong, if this row counts.
    fn adjacent(&self, mode: TaaMode, predicted: f64) -> Option<f64> {
        let alone = ([self.time], [self.event]);
        let survival = Survival::new(&alone.0, &alone.1).ok()?;
        time_adjacent_accuracy(&survival, &[predicted], ADJACENT, mode).ok()
    }
}

/// `metric` of the answers of one repetition; `None` if the model does not give what it needs.
pub(super) fn prepare<'a>(
    metric: Metric,
    times: &[Option<FollowUp>],
    held: &[Option<Held>],
    censoring: Option<&BTreeMap<usize, CensoringDistribution>>,
) -> Option<Ready<'a>> {
    let rows: Vec<Row<'_>> = held
        .iter()
        .zip(times)
        .enumerate()
        .filter_map(|(row, (held, time))| {
            let (held, time) = (held.as_ref()?, time.as_ref()?);
            Some(Row {
                row,
                fold: held.fold,
                time: time.in_years(),
                event: time.event(),
                answer: &held.answer,
                censoring: censoring.and_then(|c| c.get(&held.fold)),
            })
        })
        .collect();
    match metric {
        Metric::CIndex => concordant(&rows, |_| Some(1.0)).map(Ready::Pairs),
        Metric::IpcwCIndex => concordant(&rows, |r| r.weight(r.time).map(|w| w * w)).map(Ready::Pairs),
        Metric::AucAt1Year => apart(&rows, 1.0).map(Ready::Pairs),
        Metric::AucAt3Years => apart(&rows, 3.0).map(Ready::Pairs),
        Metric::AucAt5Years => apart(&rows, 5.0).map(Ready::Pairs),
        Metric::CalibrationSlopeAt3Years => slope_rows(&rows).map(Ready::Slope),
        _ => mean(metric, &rows).map(Ready::Mean),
    }
}

/// A row of a regression of the hazard on the predicted one.
#[derive(Debug)]
pub(super) struct SlopeRow {
    row: usize,
    log_log: f64,
    time: f64,
    event: bool,
}

impl SlopeRow {
    /// The coefficient of a Cox model on the predicted log-log survival.
    pub(super) fn slope(rows: &[SlopeRow], draw: &Draw<'_>) -> Option<f64> {
        let drawn = || rows.iter().flat_map(|r| std::iter::repeat_n(r, draw.counts[r.row] as usize));
        let x: Vec<f64> = drawn().map(|r| r.log_log).collect();
        let (time, event): (Vec<f64>, Vec<bool>) = drawn().map(|r| (r.time, r.event)).unzip();
        let survival = Survival::new(&time, &event).ok()?;
        let model = CoxModel::fit(&survival, &Covariates::new(&x, 1).ok()?, &CoxConfig::new()).ok()?;
        model.coefficients.first().copied()
    }
}

/// 1, one half or 0 as the first of two risks is higher, tied or lower.
fn order(first: f64, second: f64) -> f64 {
    match first - second {
        d if d > TIED => 1.0,
        d if d >= -TIED => 0.5,
        _ => 0.0,
    }
}

/// Pairs of an event and a row of the same fold that outlived it, each weighted by that of the event.
fn concordant(rows: &[Row<'_>], weight: impl Fn(&Row<'_>) -> Option<f64>) -> Option<PairShare> {
    let outlives = |later: &Row<'_>, event: &Row<'_>| {
        later.time > event.time || (later.time == event.time && !later.event)
    };
    pairs(rows, |row| row.event, outlives, weight)
}

/// Pairs of an event up to `years` and a row of the same fold that is followed for longer: the cumulative/dynamic AUC.
fn apart(rows: &[Row<'_>], years: f64) -> Option<PairShare> {
    pairs(rows, |row| row.event && row.time <= years, |later, _| later.time > years, |r| r.weight(r.time))
}

fn pairs(
    rows: &[Row<'_>],
    case: impl Fn(&Row<'_>) -> bool,
    control: impl Fn(&Row<'_>, &Row<'_>) -> bool,
    weight: impl Fn(&Row<'_>) -> Option<f64>,
) -> Option<PairShare> {
    let risks: Vec<f64> = rows.iter().map(Row::risk).collect::<Option<_>>()?;
    let mut share = PairShare::default();
    for (one, risk) in rows.iter().zip(&risks).filter(|(row, _)| case(row)) {
        let others = rows.iter().zip(&risks).filter(|(row, _)| row.fold == one.fold && control(row, one));
        share.add(one.row, weight(one)?, others.map(|(row, other)| (row.row, order(*risk, *other))));
    }
    Some(share)
}

/// Metrics that are means over rows.
fn mean(metric: Metric, rows: &[Row<'_>]) -> Option<RowMean> {
    let adjacent =
        |mode| rows.iter().map(|row| Some((row, row.adjacent(mode, years(row.answer, metric)?)))).collect();
    let error = |power: i32, events: bool| {
        let term = |row| -> Option<(&Row<'_>, Option<f64>)> {
            let row: &Row<'_> = row;
            let apart = (row.time - years(row.answer, metric)?).abs().powi(power);
            Some((row, (row.event || !events).then_some(apart)))
        };
        rows.iter().map(term).collect()
    };
    let terms: Option<Vec<(&Row<'_>, Option<f64>)>> = match metric {
        Metric::Adjacent => adjacent(TaaMode::All),
        Metric::AdjacentEvents => adjacent(TaaMode::EventsOnly),
        Metric::AdjacentCensoringAware => adjacent(TaaMode::CensorAware),
        Metric::SquaredError => error(2, false),
        Metric::SquaredErrorEvents => error(2, true),
        Metric::AbsoluteError => error(1, false),
        Metric::AbsoluteErrorEvents => error(1, true),
        Metric::BrierAt3Years => rows.iter().map(|r| Some((r, Some(r.brier(CALIBRATED_AT)?)))).collect(),
        Metric::IntegratedBrier => rows.iter().map(|r| Some((r, Some(r.integrated_brier()?)))).collect(),
        _ => None,
    };
    let counted = terms?.into_iter().filter_map(|(row, value)| Some((row.row, value?)));
    Some(RowMean(counted.collect()))
}

fn slope_rows(rows: &[Row<'_>]) -> Option<Vec<SlopeRow>> {
    let one = |row: &Row<'_>| {
        // A constant has no slope: the curves of the folds differ by chance.
        let Answer::Survival { .. } = row.answer else { return None };
        // Probabilities of exactly 0 or 1 have no finite log-log.
        let survival = survival_at(row.answer, CALIBRATED_AT)?.clamp(1e-12, 1.0 - 1e-12);
        Some(SlopeRow { row: row.row, log_log: (-survival.ln()).ln(), time: row.time, event: row.event })
    };
    rows.iter().map(one).collect()
}

/// The time that a metric compares with the truth.
pub(super) fn years(answer: &Answer, metric: Metric) -> Option<f64> {
    match answer {
        Answer::Survival { years, .. } => *years,
        Answer::ConstantTime { mean, median, adjacent, .. } => Some(match metric {
            Metric::SquaredError | Metric::SquaredErrorEvents => *mean,
            Metric::AbsoluteError | Metric::AbsoluteErrorEvents => *median,
            _ => *adjacent,
        }),
        Answer::Probabilities(_) => None,
    }
}

/// The probability to be free of the event at the end of a year, from 1, where the answer has it.
pub(crate) fn survival_at(answer: &Answer, year: usize) -> Option<f64> {
    match answer {
        Answer::Survival { survival, .. } | Answer::ConstantTime { survival, .. } => {
            survival.as_ref()?.get(year - 1).copied()
        }
        Answer::Probabilities(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ready::Draw;
    use super::*;
    use crate::{FoldSplit, JobResult};
    use oncograph_core::{Seed, Split};
    use oncograph_metrics::{brier_score, concordance, concordance_ipcw, dynamic_auc, survival_calibration};

    /// Years, event, risk, predicted years and survival at the ends of five years of 40 patients; the last 20 are held out.
    fn patients() -> Vec<(f64, bool, f64, f64, Vec<f64>)> {
        let one = |i: u32| {
            let noise = f64::from(i * 37 % 40) / 40.0;
            let rate = 0.1 + 0.3 * f64::from(i * 23 % 17) / 17.0;
            let survival = (1..=5).map(|y| (-rate * f64::from(y)).exp()).collect();
            (0.3 + 8.0 * noise, !(i * 7).is_multiple_of(5), (rate * 5.0).round() / 5.0, 0.7 / rate, survival)
        };
        (0..40).map(one).collect()
    }

    fn results(fold_of: impl Fn(usize) -> usize) -> (StudyResults, Task) {
        let all = patients();
        let times = all.iter().map(|p| FollowUp::years(p.0, p.1).ok()).collect();
        let answer = |p: &(f64, bool, f64, f64, Vec<f64>)| Answer::Survival {
            risk: p.2,
            years: Some(p.3),
            survival: Some(p.4.clone()),
        };
        let folds = (20..40).map(&fold_of).max().unwrap_or(0) + 1;
        let (mut splits, mut jobs) = (vec![], vec![]);
        for fold in 0..folds {
            let test: Vec<usize> = (20..40).filter(|&r| fold_of(r) == fold).collect();
            let split = Split::new((0..12).collect(), (12..20).collect(), test.clone());
            splits.push(FoldSplit { repeat: 0, fold, split });
            let answers = test.iter().map(|&r| answer(&all[r])).collect();
            jobs.push(JobResult {
                model: "m".into(),
                repeat: 0,
                fold,
                test,
                answers: [("t".to_string(), answers)].into(),
                unfitted: Default::default(),
                extras: serde_json::Value::Null,
                history: vec![],
                best_epoch: 0,
                parameters: 0,
            });
        }
        (
            StudyResults { repeats: 1, splits, jobs, seed: Seed::new(1) },
            Task::new("t", Target::Survival(times)),
        )
    }

    fn value(metric: Metric, (results, task): &(StudyResults, Task), rows: &[usize]) -> Option<f64> {
        let (held, censoring) = (results.held("m", task), Censoring::new(results, task));
        let Target::Survival(times) = &task.target else { return None };
        let ready = prepare(metric, times, &held[0], censoring.of_repeat(0))?;
        ready.of(&Draw::new(rows, times.len()))
    }

    /// On one fold every metric is the function of `oncograph-metrics`, with weights from the rows that were not held out; also
    /// on rows that were drawn several times.
    #[test]
    fn one_fold_is_the_metric_itself() {
        let (all, made) = (patients(), results(|_| 0));
        let column =
            |rows: &[usize]| -> (Vec<f64>, Vec<bool>) { rows.iter().map(|&r| (all[r].0, all[r].1)).unzip() };
        let learnt = column(&(0..20).collect::<Vec<_>>());
        let train = Survival::new(&learnt.0, &learnt.1).unwrap();
        let twice: Vec<usize> = (20..40).chain([21, 21, 25, 38]).collect();
        for rows in [&twice[..20], &twice[..]] {
            let held = column(rows);
            let test = Survival::new(&held.0, &held.1).unwrap();
            let risk: Vec<f64> = rows.iter().map(|&r| all[r].2).collect();
            let curves: Vec<f64> = rows.iter().flat_map(|&r| all[r].4.clone()).collect();
            let years: Vec<f64> = rows.iter().map(|&r| all[r].3).collect();
            let at_three: Vec<f64> = rows.iter().map(|&r| all[r].4[2]).collect();
            let brier = brier_score(&train, &test, &curves, &[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
            let auc = |t| dynamic_auc(&train, &test, &risk, &[t]).unwrap().auc[0];
            let errors = |events: bool| {
                let apart = held.0.iter().zip(&years).zip(&held.1).filter(|(_, e)| **e || !events);
                let all: Vec<f64> = apart.map(|((t, p), _)| (t - p).abs()).collect();
                all.iter().sum::<f64>() / all.len() as f64
            };
            let expected = [
                (Metric::CIndex, concordance(&test, &risk).unwrap().index),
                (
                    Metric::IpcwCIndex,
                    concordance_ipcw(&train, &test, &risk, Some(train.last_time())).unwrap().index,
                ),
                (Metric::AucAt1Year, auc(1.0)),
                (Metric::AucAt3Years, auc(3.0)),
                (Metric::AucAt5Years, auc(5.0)),
                (Metric::BrierAt3Years, brier.score[2]),
                (Metric::IntegratedBrier, brier.integrated.unwrap()),
                (
                    Metric::CalibrationSlopeAt3Years,
                    survival_calibration(&test, &at_three, 3.0, 1).unwrap().slope.unwrap(),
                ),
                (Metric::AbsoluteError, errors(false)),
                (Metric::AbsoluteErrorEvents, errors(true)),
            ];
            for (metric, expected) in expected {
                let found = value(metric, &made, rows).unwrap();
                assert!((found - expected).abs() < 1e-12, "{metric:?}: {found} and {expected}");
            }
        }
    }

    #[test]
    fn rows_of_two_folds_are_not_compared() {
        let made = results(|r| r % 2);
        let (even, odd): (Vec<usize>, Vec<usize>) = (20..40).partition(|r| r % 2 == 0);
        let both: Vec<usize> = (20..40).collect();
        let mut shifted = made.clone();
        for answer in shifted.0.jobs[1].answers.get_mut("t").unwrap() {
            let Answer::Survival { risk, .. } = answer else { panic!() };
            *risk += 100.0;
        }
        for metric in [Metric::CIndex, Metric::IpcwCIndex, Metric::AucAt3Years] {
            let value = |results, rows: &[usize]| value(metric, results, rows).unwrap();
            let (low, high) = (value(&made, &even), value(&made, &odd));
            let together = value(&made, &both);
            assert!(together >= low.min(high) && together <= low.max(high), "{metric:?}");
            assert_eq!(value(&shifted, &both), together, "{metric:?}");
        }
        assert_eq!(value(Metric::CIndex, &made, &[20, 21]), None);
    }

    #[test]
    fn what_a_model_does_not_give_has_no_value() {
        let mut made = results(|_| 0);
        let rows: Vec<usize> = (20..40).collect();
        let Answer::Survival { survival, .. } = &mut made.0.jobs[0].answers.get_mut("t").unwrap()[4] else {
            panic!()
        };
        survival.as_mut().unwrap().truncate(2);
        assert_eq!(value(Metric::BrierAt3Years, &made, &rows), None);
        assert_eq!(value(Metric::CalibrationSlopeAt3Years, &made, &rows), None);
        assert!(value(Metric::CIndex, &made, &rows).is_some());
    }

    #[test]
    fn constants_are_judged_by_the_best_of_each_metric() {
        let (mut made, rows) = (results(|_| 0), [20, 21, 22]);
        let times = [(1.0, true), (2.0, true), (9.0, false)].map(|(t, e)| FollowUp::years(t, e).ok());
        let Target::Survival(all) = &mut made.1.target else { panic!() };
        all[20..23].copy_from_slice(&times);
        let survival = Some(vec![0.5; 5]);
        made.0.jobs[0].answers.get_mut("t").unwrap()[..3].fill(Answer::ConstantTime {
            mean: 4.0,
            median: 2.0,
            adjacent: 1.5,
            survival,
        });
        let value = |metric| value(metric, &made, &rows);
        assert_eq!(value(Metric::CIndex), Some(0.5));
        assert_eq!(value(Metric::CalibrationSlopeAt3Years), None);
        let close = |metric, expected: f64| {
            assert!((value(metric).unwrap() - expected).abs() < 1e-12, "{metric:?}");
        };
        close(Metric::SquaredError, (9.0 + 4.0 + 25.0) / 3.0);
        close(Metric::SquaredErrorEvents, 6.5);
        close(Metric::AbsoluteError, (1.0 + 0.0 + 7.0) / 3.0);
        close(Metric::Adjacent, 2.0 / 3.0);
        close(Metric::AdjacentEvents, 1.0);
    }
}

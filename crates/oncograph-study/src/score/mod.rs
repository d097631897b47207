//! The one rule of scoring.

mod estimate;
mod metric;
mod pairs;
mod ready;
mod subgroups;
mod times;

pub use estimate::Estimate;
pub use metric::Metric;
pub(crate) use pairs::by_fold;
pub use subgroups::{Grouping, SubgroupScore, subgroup_table};
pub(crate) use times::{CALIBRATED_AT, survival_at};

use crate::csv_file::write_csv;
use crate::results::Held;
use crate::{Cohort, Result, StudyResults, Target, Task};
use oncograph_datasets::patients::PatientGroups;
use oncograph_metrics::{BootstrapConfig, BootstrapInterval, IntervalMethod, bootstrap};
use ready::{Draw, Ready};
use serde::{Deserialize, Serialize};
use std::path::Path;
use times::Censoring;

/// How scores are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScoreOptions {
    /// The model whose lead over each other is estimated; by default the first of the study.
    pub reference: Option<String>,
    /// Resamples of an interval (default 1000).
    pub replicates: usize,
    /// Level of the intervals (default 0.95).
    pub level: f64,
    /// The probability from which the second of two classes is called (default 0.5).
    pub threshold: f64,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        ScoreOptions { reference: None, replicates: 1000, level: 0.95, threshold: 0.5 }
    }
}

impl ScoreOptions {
    /// Sets the model whose lead over each other is estimated.
    pub fn reference(mut self, model: impl Into<String>) -> Self {
        self.reference = Some(model.into());
        self
    }

    /// Sets the number of resamples.
    pub fn replicates(mut self, replicates: usize) -> Self {
        self.replicates = replicates;
        self
    }

    /// Sets the probability from which the second of two classes is called.
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }

    fn bootstrap(&self, rows: usize, repeats: usize) -> BootstrapConfig {
        let config = BootstrapConfig::new()
            .replicates(self.replicates)
            .level(self.level)
            .method(IntervalMethod::Percentile);
        match repeats {
            0 | 1 => config,
            // Repetitions are drawn as well as rows: the interval contains the noise of training.
            _ => config.strata([vec![0; rows], vec![1; repeats]].concat()),
        }
    }
}

/// The numbers of one model on one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreRow {
    /// The model.
    pub model: String,
    /// The task.
    pub task: String,
    /// Rows that are scored: those with a known outcome and an answer in every repetition.
    pub rows: usize,
    /// Those of them whose event was seen; `None` for a task without times.
    #[serde(default)]
    pub events: Option<usize>,
    /// Trained parameters of the model of one fold.
    pub parameters: usize,
    /// The metrics of the task, the main one first; `None` where a metric has no value.
    pub metrics: Vec<(Metric, Option<Estimate>)>,
    /// How far the reference model's first metric is above this model's, on the same resamples; `None` for the reference.
    pub behind: Option<Estimate>,
    /// The first metric in each repetition.
    pub over_repeats: Vec<f64>,
    /// By repetition and fold the metrics of that fold alone.
    pub folds: Vec<FoldScore>,
}

/// The metrics of one model on one task in one fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldScore {
    /// The repetition, from 0.
    pub repeat: usize,
    /// The fold, from 0.
    pub fold: usize,
    /// Rows that are scored.
    pub rows: usize,
    /// The metrics, in the order of [`ScoreRow::metrics`].
    pub metrics: Vec<Option<f64>>,
}

impl ScoreRow {
    /// The main metric.
    pub fn first(&self) -> Option<Estimate> {
        self.metrics.first().and_then(|m| m.1)
    }

    /// A metric; `None` if the task does not have it or it has no value.
    pub fn metric(&self, metric: Metric) -> Option<Estimate> {
        self.metrics.iter().find(|m| m.0 == metric).and_then(|m| m.1)
    }
}

/// The scores of all models of a study, by the one rule:
///
/// - each repetition of the cross-validation is scored by itself, and a score is the mean over repetitions; scoring the mean
///   of several repetitions' predictions would score an ensemble;
/// - a metric that ranks rows compares rows of one fold only, since the models of two folds have no common scale;
/// - a metric that corrects for censoring takes its weights from the training and validation rows of each fold; an event that
///   is later than their follow-up has no weight;
/// - an interval is that of the same number over resampled patients, each with all rows, and, where there are several, resampled
///   repetitions; all models see the same resamples, so that differences are paired; where fewer than two patients, or all
///   resamples, give one number, there is no interval;
/// - rows whose outcome is unknown, or that a model did not answer in every repetition, are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// One row per task and model.
    pub rows: Vec<ScoreRow>,
    /// The model that the others are compared with.
    pub reference: String,
}

impl Scores {
    /// The row of a model and a task.
    pub fn row(&self, model: &str, task: &str) -> Option<&ScoreRow> {
        self.rows.iter().find(|r| r.model == model && r.task == task)
    }

    /// The rows of a task.
    pub fn of_task<'a>(&'a self, task: &'a str) -> impl Iterator<Item = &'a ScoreRow> {
        self.rows.iter().filter(move |r| r.task == task)
    }

    /// Writes one line per model, task and metric as CSV, over all folds (without a repetition and a fold) and for each.
    ///
    /// # Errors
    /// [`crate::Error::AtFile`] with the path.
    pub fn write_metrics(&self, path: &Path) -> Result<()> {
        let mut writer = csv::Writer::from_writer(vec![]);
        for row in &self.rows {
            for (k, (metric, estimate)) in row.metrics.iter().enumerate() {
                let line = Line { behind: row.behind.filter(|_| k == 0), ..Line::new(row, *metric) };
                line.write(&mut writer, *estimate)?;
            }
        }
        for row in &self.rows {
            for fold in &row.folds {
                for ((metric, _), value) in row.metrics.iter().zip(&fold.metrics) {
                    let place = Some((fold.repeat, fold.fold));
                    let line = Line { place, rows: fold.rows, ..Line::new(row, *metric) };
                    line.write(
                        &mut writer,
                        value.map(|value| Estimate { value, low: f64::NAN, high: f64::NAN }),
                    )?;
                }
            }
        }
        write_csv(writer, path)
    }
}

impl StudyResults {
    /// Scores every model by the one rule: see [`Scores`].
    ///
    /// # Errors
    /// An option outside its range.
    pub fn score(&self, data: &(impl Cohort + ?Sized), options: &ScoreOptions) -> Result<Scores> {
        score(self, (data.tasks(), data.groups().as_deref()), options)
    }

    /// The main metric of a model on a task by the one rule, without an interval; `None` if it has no value.
    pub fn main_metric(&self, model: &str, task: &Task) -> Option<f64> {
        let (held, censoring) = (self.held(model, task), Censoring::new(self, task));
        let metric = *Metric::of(&task.target, &held).first()?;
        let options = ScoreOptions::default();
        let (held, censoring, options) = (&held, &censoring, &options);
        let scorer = Scorer { task, groups: None, held, censoring, options, seed: self.seed };
        let rows = scorer.rows();
        mean(&scorer.ready(metric), &scorer.draw(&rows), None)
    }
}

/// One line of `metrics.csv`.
struct Line<'a> {
    row: &'a ScoreRow,
    metric: Metric,
    place: Option<(usize, usize)>,
    rows: usize,
    behind: Option<Estimate>,
}

impl<'a> Line<'a> {
    fn new(row: &'a ScoreRow, metric: Metric) -> Self {
        Line { row, metric, place: None, rows: row.rows, behind: None }
    }

    fn write(&self, writer: &mut csv::Writer<Vec<u8>>, estimate: Option<Estimate>) -> Result<()> {
        #[derive(Serialize)]
        struct Columns<'a> {
            model: &'a str,
            task: &'a str,
            repetition: Option<usize>,
            fold: Option<usize>,
            patients: usize,
            parameters: usize,
            metric: String,
            value: Option<f64>,
            low: Option<f64>,
            high: Option<f64>,
            behind: Option<f64>,
            behind_low: Option<f64>,
            behind_high: Option<f64>,
        }
        let ends = |e: Option<Estimate>| e.and_then(|e| e.interval());
        let (own, behind) = (ends(estimate), ends(self.behind));
        let columns = Columns {
            model: &self.row.model,
            task: &self.row.task,
            repetition: self.place.map(|p| p.0),
            fold: self.place.map(|p| p.1),
            patients: self.rows,
            parameters: self.row.parameters,
            metric: self.metric.name(),
            value: estimate.map(|e| e.value),
            low: own.map(|e| e.0),
            high: own.map(|e| e.1),
            behind: self.behind.map(|e| e.value),
            behind_low: behind.map(|e| e.0),
            behind_high: behind.map(|e| e.1),
        };
        writer.serialize(columns).map_err(crate::Error::system)
    }
}

fn score(
    results: &StudyResults,
    (tasks, groups): (&[Task], Option<&[usize]>),
    options: &ScoreOptions,
) -> Result<Scores> {
    let models = results.models();
    let reference = options.reference.clone().or_else(|| models.first().map(|m| m.to_string()));
    let mut rows = vec![];
    for task in tasks {
        let held: Vec<Held2> = models.iter().map(|m| results.held(m, task)).collect();
        let censoring = Censoring::new(results, task);
        let scorer = |held| Scorer { task, groups, held, censoring: &censoring, options, seed: results.seed };
        let of_reference = models.iter().position(|m| Some(*m) == reference.as_deref()).map(|k| &held[k]);
        for (model, own) in models.iter().zip(&held) {
            let other = of_reference.filter(|r| !std::ptr::eq(*r, own)).map(scorer);
            rows.extend(scorer(own).row(results, model, other.as_ref())?);
        }
    }
    Ok(Scores { rows, reference: reference.unwrap_or_default() })
}

/// Answers by repetition and row.
type Held2 = Vec<Vec<Option<Held>>>;

struct Scorer<'a> {
    task: &'a Task,
    /// A number for each row that rows of one patient share.
    groups: Option<&'a [usize]>,
    held: &'a Held2,
    censoring: &'a Censoring,
    options: &'a ScoreOptions,
    seed: oncograph_core::Seed,
}

/// A number of some of the patients and, where models were trained several times, of some of the repetitions.
type Statistic<'a> = dyn Fn(&Draw<'_>, Option<&[usize]>) -> Option<f64> + Sync + 'a;

/// The mean over repetitions of a metric; `None` if one of them has no value. `repeats`: those that were drawn.
fn mean(ready: &[Option<Ready<'_>>], draw: &Draw<'_>, repeats: Option<&[usize]>) -> Option<f64> {
    let one = |r: usize| ready[r].as_ref()?.of(draw);
    let all: Option<Vec<f64>> = match repeats {
        Some(drawn) => drawn.iter().map(|&r| one(r)).collect(),
        None => (0..ready.len()).map(one).collect(),
    };
    all.filter(|a| !a.is_empty()).map(|a| a.iter().sum::<f64>() / a.len() as f64)
}

impl<'a> Scorer<'a> {
    /// Rows with a known outcome and an answer in every repetition.
    fn rows(&self) -> Vec<usize> {
        let answered = |row: &usize| self.held.iter().all(|r| r[*row].is_some());
        (0..self.task.target.len()).filter(|&r| self.task.target.known(r)).filter(answered).collect()
    }

    fn events(&self, rows: &[usize]) -> Option<usize> {
        let Target::Survival(times) = &self.task.target else { return None };
        Some(rows.iter().filter(|&&r| times[r].is_some_and(|f| f.event())).count())
    }

    /// The rows of each patient who has any among some.
    fn patients(&self, rows: &[usize]) -> Vec<Vec<usize>> {
        match self.groups {
            Some(groups) => PatientGroups::by(groups).among(rows).members().to_vec(),
            None => rows.iter().map(|&row| vec![row]).collect(),
        }
    }

    fn draw<'d>(&self, rows: &'d [usize]) -> Draw<'d> {
        Draw::new(rows, self.task.target.len())
    }

    /// A metric in each repetition.
    fn ready(&self, metric: Metric) -> Vec<Option<Ready<'a>>> {
        let one = |(repeat, held): (usize, &'a Vec<Option<Held>>)| match &self.task.target {
            Target::Survival(all) => times::prepare(metric, all, held, self.censoring.of_repeat(repeat)),
            target => Some(Ready::Anew { metric, target, held, threshold: self.options.threshold }),
        };
        self.held.iter().enumerate().map(one).collect()
    }

    /// Patients are drawn, each with all rows, since rows of one patient say little more than one.
    fn interval(&self, known: &[usize], statistic: &Statistic<'_>) -> Option<Estimate> {
        let patients = self.patients(known);
        let config = self.options.bootstrap(patients.len(), self.held.len());
        // One stream for all models: they see the same resamples.
        let seed = self.seed.stream("bootstrap").stream(&self.task.name);
        let n = patients.len() + if self.held.len() > 1 { self.held.len() } else { 0 };
        let drawn = |drawn: &[usize]| {
            let rows: Vec<usize> = drawn.iter().filter_map(|&i| patients.get(i)).flatten().copied().collect();
            let repeats: Vec<usize> =
                drawn.iter().filter(|&&i| i >= patients.len()).map(|i| i - patients.len()).collect();
            statistic(&self.draw(&rows), Some(repeats.as_slice()).filter(|r| !r.is_empty()))
        };
        let BootstrapInterval { estimate, lower, upper, .. } =
            bootstrap(n, &config, &mut seed.rng(), drawn).ok()?;
        Some(Estimate { value: estimate, low: lower, high: upper })
    }

    fn row(
        &self,
        results: &StudyResults,
        model: &str,
        reference: Option<&Scorer<'_>>,
    ) -> Result<Option<ScoreRow>> {
        let known = self.rows();
        if known.is_empty() {
            return Ok(None);
        }
        self.options.bootstrap(self.patients(&known).len(), self.held.len()).validate()?;
        let metrics: Vec<(Metric, Vec<Option<Ready<'_>>>)> =
            Metric::of(&self.task.target, self.held).into_iter().map(|m| (m, self.ready(m))).collect();
        let estimate = |ready: &Vec<Option<Ready<'_>>>| {
            self.interval(&known, &|draw, repeats| mean(ready, draw, repeats))
        };
        let first = metrics.first().map(|m| &m.1);
        let behind = reference.zip(metrics.first()).and_then(|(other, (metric, own))| {
            let other = other.ready(*metric);
            self.interval(&known, &|draw, repeats| {
                Some(mean(&other, draw, repeats)? - mean(own, draw, repeats)?)
            })
        });
        let all = self.draw(&known);
        let first_fold = results.of_model(model).find(|j| j.answers.contains_key(&self.task.name));
        Ok(Some(ScoreRow {
            model: model.to_string(),
            task: self.task.name.clone(),
            rows: known.len(),
            events: self.events(&known),
            parameters: first_fold.map_or(0, |j| j.parameters),
            behind,
            over_repeats: first.into_iter().flatten().filter_map(|r| r.as_ref()?.of(&all)).collect(),
            folds: self.folds(&metrics, &known),
            metrics: metrics.iter().map(|(m, ready)| (*m, estimate(ready))).collect(),
        }))
    }

    fn folds(&self, metrics: &[(Metric, Vec<Option<Ready<'_>>>)], known: &[usize]) -> Vec<FoldScore> {
        let mut scores = vec![];
        for (repeat, held) in self.held.iter().enumerate() {
            let fold_of = |row: &usize| held[*row].as_ref().map(|h| h.fold);
            let mut folds: Vec<usize> = known.iter().filter_map(fold_of).collect();
            folds.sort_unstable();
            folds.dedup();
            for fold in folds {
                let rows: Vec<usize> = known.iter().copied().filter(|r| fold_of(r) == Some(fold)).collect();
                let draw = self.draw(&rows);
                let metrics = metrics.iter().map(|(_, ready)| ready[repeat].as_ref()?.of(&draw)).collect();
                scores.push(FoldScore { repeat, fold, rows: rows.len(), metrics });
            }
        }
        scores
    }
}

#[cfg(test)]
mod tests;

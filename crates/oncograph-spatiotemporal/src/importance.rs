//! What the attributions of a finished study's jobs are together.

use crate::attribution::{Attributions, InputKind};
use crate::missing::extras;
use crate::{Error, Result, STG_TASKS};
use oncograph_core::{AtFile, write_file};
use oncograph_explain::{RankStability, rank_stability};
use oncograph_study::{JobResult, StudyResults};
use std::path::Path;

/// Ranks that two models' lists of inputs are compared over.
const TOP: usize = 5;

/// How much the risk of a task depends on one input.
#[derive(Debug, Clone, PartialEq)]
pub struct InputImportance {
    /// The column of a covariate, or the name of a node.
    pub input: String,
    /// What it is.
    pub kind: InputKind,
    /// The mean absolute attribution over a job's held-out patients, 0 for a patient without the node; the mean over jobs, in the
    /// unit of the risk.
    pub value: f64,
    /// The least and the largest of the jobs.
    pub range: [f64; 2],
    /// The part of `value` in its sum over all inputs.
    pub share: f64,
}

/// The share of one kind of input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KindShare {
    /// Which inputs.
    pub kind: InputKind,
    /// The sum of their shares.
    pub share: f64,
    /// The least and the largest of the jobs by themselves.
    pub range: [f64; 2],
}

/// The attributions of all folds and repetitions for one task.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributionSummary {
    /// The inputs, the most important first.
    pub inputs: Vec<InputImportance>,
    /// What images, mask numbers and covariates have of the whole, where there are such.
    pub kinds: Vec<KindShare>,
    /// Jobs that were averaged.
    pub jobs: usize,
    /// How alike the rankings of two jobs are; `None` for one job, or where a ranking has no order.
    pub stability: Option<RankStability>,
    /// What the integrals are wrong by: the mean absolute error of a patient's sum, as a part of the mean absolute difference of
    /// the risk from that of the average patient.
    pub error: f64,
}

/// What the risk of `task` by a model of a finished study depends on; `None` where the study has no attributions of it.
///
/// # Errors
/// Results that are not those of an [`crate::StgSystem`]; a task that is none of [`STG_TASKS`].
pub fn attribution_summary(
    results: &StudyResults,
    model: &str,
    task: &str,
) -> Result<Option<AttributionSummary>> {
    let task = place(task)?;
    let all = results.of_model(model).map(of_job).collect::<Result<Vec<_>>>()?;
    let all: Vec<&Attributions> = all.iter().flatten().collect();
    let mut names: Vec<&(String, InputKind)> = vec![];
    for input in all.iter().flat_map(|a| &a.inputs) {
        if !names.contains(&input) {
            names.push(input);
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    // By job and input; folds differ in their inputs where a structure is rare or configurations are chosen.
    let values: Vec<Vec<f64>> =
        all.iter().map(|a| names.iter().map(|n| mean(a, task, n)).collect()).collect();
    let totals: Vec<f64> = values.iter().map(|v| v.iter().sum::<f64>().max(f64::MIN_POSITIVE)).collect();
    let jobs = all.len();
    let average = |of: &dyn Fn(usize) -> f64| (0..jobs).map(of).sum::<f64>() / jobs as f64;
    let total = average(&|job| totals[job]);
    let range = |of: &dyn Fn(usize) -> f64| {
        [(0..jobs).map(of).fold(f64::INFINITY, f64::min), (0..jobs).map(of).fold(f64::NEG_INFINITY, f64::max)]
    };
    let input = |(at, (name, kind)): (usize, &&(String, InputKind))| InputImportance {
        input: name.clone(),
        kind: *kind,
        value: average(&|job| values[job][at]),
        range: range(&|job| values[job][at]),
        share: average(&|job| values[job][at]) / total,
    };
    let mut inputs: Vec<InputImportance> = names.iter().enumerate().map(input).collect();
    inputs.sort_by(|a, b| b.value.total_cmp(&a.value));
    let kinds =
        [InputKind::Covariate, InputKind::MaskNumber, InputKind::Intensity, InputKind::Image].into_iter();
    let kinds = kinds.filter(|kind| names.iter().any(|(_, own)| own == kind)).map(|kind| {
        let sum = |job: usize| {
            let own = names.iter().zip(&values[job]).filter(|((_, own), _)| *own == kind);
            own.map(|(_, v)| v).sum::<f64>()
        };
        KindShare { kind, share: average(&sum) / total, range: range(&|job| sum(job) / totals[job]) }
    });
    Ok(Some(AttributionSummary {
        kinds: kinds.collect(),
        stability: rank_stability(&values, TOP.min(names.len())).ok(),
        error: error(&all, task),
        inputs,
        jobs,
    }))
}

/// The mean absolute attribution of an input over a job's patients.
fn mean(found: &Attributions, task: usize, input: &(String, InputKind)) -> f64 {
    let Some(at) = found.inputs.iter().position(|own| own == input) else { return 0.0 };
    let rows = &found.values[task];
    rows.iter().map(|row| row[at].unwrap_or(0.0).abs()).sum::<f64>() / rows.len().max(1) as f64
}

fn error(all: &[&Attributions], task: usize) -> f64 {
    let (mut wrong, mut moved) = (0.0, 0.0);
    for found in all {
        for (row, remainder) in found.values[task].iter().zip(&found.remainder[task]) {
            wrong += remainder.abs();
            moved += (row.iter().flatten().sum::<f64>() - remainder).abs();
        }
    }
    if moved > 0.0 { wrong / moved } else { 0.0 }
}

fn place(task: &str) -> Result<usize> {
    let found = STG_TASKS.iter().position(|name| *name == task);
    found.ok_or_else(|| Error::config("attribution_summary", "task", STG_TASKS.join(" or "), task))
}

/// `None` for a job that left none.
fn of_job(job: &JobResult) -> Result<Option<Attributions>> {
    Ok(Some(extras(job)?.attributions).filter(|found| !found.inputs.is_empty()))
}

/// Writes one line per repetition, fold, held-out patient, task and input as CSV; a node that a patient lacks has none. `ids` are
/// those of the cohort.
///
/// # Errors
/// Results that are not those of an [`crate::StgSystem`]; [`AtFile`] with the path.
pub fn write_attributions(results: &StudyResults, ids: &[String], model: &str, path: &Path) -> Result<()> {
    let mut writer = csv::Writer::from_writer(vec![]);
    let at = |e: csv::Error| Error::from(AtFile::new(path, e));
    writer.write_record(["patient", "repetition", "fold", "task", "input", "attribution"]).map_err(at)?;
    for job in results.of_model(model) {
        let Some(found) = of_job(job)? else { continue };
        let place = [job.repeat.to_string(), job.fold.to_string()];
        for (task, values) in STG_TASKS.iter().zip(&found.values) {
            for (&row, values) in job.test.iter().zip(values) {
                for ((input, _), value) in found.inputs.iter().zip(values) {
                    let Some(value) = value else { continue };
                    let [repetition, fold] = &place;
                    let line = [ids[row].as_str(), repetition, fold, task, input, &value.to_string()];
                    writer.write_record(line).map_err(at)?;
                }
            }
        }
    }
    let bytes = writer.into_inner().map_err(|e| AtFile::new(path, e.into_error()))?;
    Ok(write_file(path, &bytes)?)
}

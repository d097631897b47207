//! The numbers of a run: every metric with its interval, and the constant predictor beside it.

use crate::cohort::Cohort;
use crate::config::RunConfig;
use crate::folds::FoldResult;
use crate::score::{Held, metrics};
use crate::variants::FULL;
use oncograph::metrics::{BootstrapConfig, IntervalMethod, bootstrap, bootstrap_difference};
use oncograph::nn::Seed;
use oncograph::omics::TaskConfig;
use std::collections::BTreeMap;

/// An estimate and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// One model's numbers on one task, over all patients whose outcome is known.
///
/// Each repetition of the cross-validation is scored by itself, never the mean of its predictions: that would be the
/// score of an ensemble. A value is the mean of these scores, its interval that of the same mean over resampled patients.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub model: String,
    pub task: String,
    pub patients: usize,
    pub parameters: usize,
    /// Name and estimate; `None` where the metric has no value.
    pub metrics: Vec<(&'static str, Option<Estimate>)>,
    /// The graph network's first metric minus this model's, on the same resamples.
    pub behind: Option<Estimate>,
    /// The first metric in each repetition.
    pub over_repeats: Vec<f64>,
}

/// Out-of-fold predictions of one model by task, repetition and patient; a patient may have none.
#[derive(Debug, Clone, PartialEq)]
pub struct OutOfFold {
    pub model: String,
    pub outputs: BTreeMap<String, Vec<Vec<Option<Held>>>>,
    pub parameters: usize,
}

/// The modalities that are there and, by task, the first metric.
pub type GridRow = (Vec<String>, Vec<(String, Option<f64>)>);

pub struct Evaluation {
    pub rows: Vec<Row>,
    pub models: Vec<OutOfFold>,
    pub grid: Vec<GridRow>,
}

impl Evaluation {
    pub fn model(&self, name: &str) -> Option<&OutOfFold> {
        self.models.iter().find(|m| m.model == name)
    }
}

fn collect(cohort: &Cohort, name: &str, repeats: usize, results: &[&FoldResult]) -> OutOfFold {
    let mut outputs = BTreeMap::new();
    for task in &cohort.tasks {
        let mut all: Vec<Vec<Option<Held>>> = vec![vec![None; cohort.len()]; repeats];
        for r in results {
            let Some(rows) = r.outputs.get(&task.name) else { continue };
            for (&p, row) in r.test.iter().zip(rows) {
                all[r.repeat][p] = Some(Held { fold: r.fold, output: row.clone() });
            }
        }
        outputs.insert(task.name.clone(), all);
    }
    // Models of single tasks make up one variant: their parameters add up.
    let first = results.iter().filter(|r| r.repeat == 0 && r.fold == 0);
    OutOfFold { model: name.into(), outputs, parameters: first.map(|r| r.parameters).sum() }
}

/// The mean over repetitions of the metric at position `k`; none if one of them has no value.
fn mean(
    cohort: &Cohort,
    task: &TaskConfig,
    repeats: &[Vec<Option<Held>>],
    k: usize,
    patients: &[usize],
) -> Option<f64> {
    let target = &cohort.targets[&task.name];
    let of = |held: &Vec<Option<Held>>| metrics(task.kind, target, held, patients).get(k)?.1;
    let all: Option<Vec<f64>> = repeats.iter().map(of).collect();
    all.map(|a| a.iter().sum::<f64>() / a.len() as f64)
}

pub fn evaluate(config: &RunConfig, cohort: &Cohort, results: &[FoldResult]) -> anyhow::Result<Evaluation> {
    let mut names: Vec<&str> = vec![];
    for r in results {
        if !names.contains(&r.model.as_str()) {
            names.push(&r.model);
        }
    }
    let model = |name: &&str| {
        let of: Vec<&FoldResult> = results.iter().filter(|r| r.model == *name).collect();
        collect(cohort, name, config.repeats, &of)
    };
    let models: Vec<OutOfFold> = names.iter().map(model).collect();
    let full = models.iter().find(|m| m.model == FULL);
    let mut rows = vec![];
    for task in &cohort.tasks {
        rows.extend(models.iter().filter_map(|m| row(config, cohort, task, m, full)));
    }
    Ok(Evaluation { grid: grid(cohort, results), rows, models })
}

fn row(
    config: &RunConfig,
    cohort: &Cohort,
    task: &TaskConfig,
    model: &OutOfFold,
    full: Option<&OutOfFold>,
) -> Option<Row> {
    let target = &cohort.targets[&task.name];
    let repeats = &model.outputs[&task.name];
    let held = |p: usize| repeats.iter().all(|r| r[p].is_some());
    let known: Vec<usize> = (0..cohort.len()).filter(|&p| target.known(p) && held(p)).collect();
    if known.is_empty() {
        return None;
    }
    // One stream for all models: their intervals are of the same resamples.
    let seed = Seed::new(config.seed).stream("bootstrap").stream(&task.name);
    let options = BootstrapConfig::new().replicates(500).method(IntervalMethod::Percentile);
    let picked = |rows: &[usize]| rows.iter().map(|&r| known[r]).collect::<Vec<usize>>();
    let estimate = |i: oncograph::metrics::BootstrapInterval| Estimate {
        value: i.estimate,
        low: i.lower,
        high: i.upper,
    };
    let interval = |k: usize| {
        let score = |rows: &[usize]| mean(cohort, task, repeats, k, &picked(rows));
        bootstrap(known.len(), &options, &mut seed.rng(), score).ok().map(estimate)
    };
    let names = metrics(task.kind, target, &repeats[0], &known);
    let behind = full.filter(|f| f.model != model.model).and_then(|full| {
        let network = |rows: &[usize]| mean(cohort, task, &full.outputs[&task.name], 0, &picked(rows));
        let own = |rows: &[usize]| mean(cohort, task, repeats, 0, &picked(rows));
        let found = bootstrap_difference(known.len(), &options, &mut seed.rng(), network, own);
        found.ok().map(|d| estimate(d.difference))
    });
    Some(Row {
        model: model.model.clone(),
        task: task.name.clone(),
        patients: known.len(),
        parameters: model.parameters,
        metrics: names.iter().enumerate().map(|(k, (name, _))| (*name, interval(k))).collect(),
        behind,
        over_repeats: repeats.iter().filter_map(|r| metrics(task.kind, target, r, &known)[0].1).collect(),
    })
}

fn grid(cohort: &Cohort, results: &[FoldResult]) -> Vec<GridRow> {
    let full: Vec<&FoldResult> = results.iter().filter(|r| r.model == FULL && !r.grid.is_empty()).collect();
    let Some(first) = full.first() else { return vec![] };
    let everyone: Vec<usize> = (0..cohort.len()).collect();
    let mut grid = vec![];
    for (k, (names, _)) in first.grid.iter().enumerate() {
        let parts: Vec<FoldResult> =
            full.iter().map(|r| FoldResult { outputs: r.grid[k].1.clone(), ..(*r).clone() }).collect();
        let model = collect(cohort, "", 1, &parts.iter().collect::<Vec<_>>());
        let of = |t: &TaskConfig| (t.name.clone(), mean(cohort, t, &model.outputs[&t.name], 0, &everyone));
        grid.push((names.clone(), cohort.tasks.iter().map(of).collect()));
    }
    grid
}

/// `metrics.csv`: one line per model, task and metric; `behind` is the graph network's first metric minus the model's.
pub fn metrics_csv(evaluation: &Evaluation) -> String {
    let cells = |e: &Option<Estimate>| {
        e.map_or_else(|| ",,".to_string(), |e| format!("{},{},{}", e.value, e.low, e.high))
    };
    let mut csv = String::from(
        "model,task,patients,parameters,metric,value,low,high,behind,behind_low,behind_high,least_repeat,most_repeat\n",
    );
    for r in &evaluation.rows {
        let least = r.over_repeats.iter().copied().fold(f64::INFINITY, f64::min);
        let most = r.over_repeats.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for (k, (name, e)) in r.metrics.iter().enumerate() {
            let (model, task) = (&r.model, &r.task);
            let rest = match k {
                0 => format!("{},{least},{most}", cells(&r.behind)),
                _ => ",,,,".into(),
            };
            let (n, parameters) = (r.patients, r.parameters);
            csv += &format!("\"{model}\",{task},{n},{parameters},{name},{},{rest}\n", cells(e));
        }
    }
    csv
}

/// `predictions.csv`: one line per patient, model, task, repetition and output.
pub fn predictions_csv(cohort: &Cohort, evaluation: &Evaluation) -> String {
    let mut csv = String::from("patient,model,task,repetition,fold,output,value\n");
    for model in &evaluation.models {
        for (task, repeats) in &model.outputs {
            for (repeat, rows) in repeats.iter().enumerate() {
                for (id, held) in cohort.data.ids().iter().zip(rows) {
                    let Some(held) = held else { continue };
                    let (id, model) = (id.replace('"', "'"), &model.model);
                    for (k, v) in held.output.iter().enumerate() {
                        let fold = held.fold;
                        csv += &format!("\"{id}\",\"{model}\",{task},{repeat},{fold},{k},{v}\n");
                    }
                }
            }
        }
    }
    csv
}

//! The numbers of a run: every metric with its interval, and the constant predictor beside it.

use crate::cohort::Cohort;
use crate::config::RunConfig;
use crate::folds::{FULL, FoldResult};
use oncograph::metrics::{
    Average, BootstrapConfig, IntervalMethod, MulticlassConfusion, Survival, average_precision, bootstrap,
    concordance, roc_auc, roc_auc_one_vs_rest,
};
use oncograph::nn::Seed;
use oncograph::omics::{Target, TaskKind};
use std::collections::BTreeMap;

/// An estimate and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// One model's numbers on one task, over the out-of-fold predictions of all patients whose outcome is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub model: String,
    pub task: String,
    pub patients: usize,
    pub parameters: usize,
    /// Name and estimate; `None` where the metric has no value.
    pub metrics: Vec<(&'static str, Option<Estimate>)>,
    /// The spread of the first metric over repetitions, where there are several.
    pub over_repeats: Vec<f64>,
}

/// Out-of-fold predictions of one model, averaged over repetitions; a patient may have none.
#[derive(Debug, Clone, PartialEq)]
pub struct OutOfFold {
    pub model: String,
    pub outputs: BTreeMap<String, Vec<Option<Vec<f64>>>>,
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

fn collect(cohort: &Cohort, name: &str, results: &[&FoldResult]) -> OutOfFold {
    let mut outputs = BTreeMap::new();
    for task in &cohort.tasks {
        let mut sums: Vec<Option<Vec<f64>>> = vec![None; cohort.len()];
        let mut counts = vec![0f64; cohort.len()];
        for r in results {
            let Some(rows) = r.outputs.get(&task.name) else { continue };
            for (&p, row) in r.test.iter().zip(rows) {
                counts[p] += 1.0;
                match &mut sums[p] {
                    Some(sum) => sum.iter_mut().zip(row).for_each(|(s, v)| *s += v),
                    none => *none = Some(row.clone()),
                }
            }
        }
        for (sum, n) in sums.iter_mut().zip(counts) {
            if let Some(sum) = sum {
                sum.iter_mut().for_each(|s| *s /= n);
            }
        }
        outputs.insert(task.name.clone(), sums);
    }
    // Models of single tasks make up one variant: their parameters add up.
    let first = results.iter().filter(|r| r.repeat == 0 && r.fold == 0);
    OutOfFold { model: name.into(), outputs, parameters: first.map(|r| r.parameters).sum() }
}

/// The metrics of a task on some patients; names are the same for every model.
pub fn metrics(
    kind: TaskKind,
    target: &Target,
    outputs: &[Option<Vec<f64>>],
    patients: &[usize],
) -> Vec<(&'static str, Option<f64>)> {
    let known = patients.iter().copied().filter_map(|p| Some((p, outputs[p].as_ref()?)));
    match (kind, target) {
        (_, Target::Survival(v)) => {
            let (mut time, mut event, mut risk) = (vec![], vec![], vec![]);
            for (p, out) in known {
                if let Some((t, e)) = v[p] {
                    time.push(t);
                    event.push(e);
                    risk.push(out[0]);
                }
            }
            let c = Survival::new(&time, &event).and_then(|s| concordance(&s, &risk)).ok().map(|c| c.index);
            vec![("C-index", c)]
        }
        (TaskKind::Classes(n), Target::Class(v)) => {
            let (mut truth, mut probability) = (vec![], vec![]);
            for (p, out) in known {
                if let Some(c) = v[p] {
                    truth.push(c);
                    let sum: f64 = out.iter().sum();
                    probability.extend(out.iter().map(|o| o / sum));
                }
            }
            let confusion = MulticlassConfusion::from_probability(&truth, &probability, n).ok();
            let auc = if n == 2 {
                let (label, score): (Vec<bool>, Vec<f64>) =
                    truth.iter().enumerate().map(|(i, c)| (*c == 1, probability[2 * i + 1])).unzip();
                roc_auc(&label, &score).ok()
            } else {
                roc_auc_one_vs_rest(&truth, &probability, n, Average::Macro).ok()
            };
            vec![
                ("AUROC", auc),
                ("balanced accuracy", confusion.as_ref().map(MulticlassConfusion::balanced_accuracy)),
                ("accuracy", confusion.as_ref().map(MulticlassConfusion::accuracy)),
                ("macro F1", confusion.as_ref().and_then(|c| c.f1(Average::Macro))),
            ]
        }
        (TaskKind::Labels(n), Target::Labels(v)) => {
            let rows: Vec<(usize, &Vec<f64>)> = known.collect();
            let mean = |f: fn(&[bool], &[f64]) -> Option<f64>| {
                let of = |l: usize| {
                    let pairs = rows.iter().filter_map(|(p, out)| Some((v[*p][l]?, out[l])));
                    let (label, score): (Vec<bool>, Vec<f64>) = pairs.unzip();
                    f(&label, &score)
                };
                let all: Option<Vec<f64>> = (0..n).map(of).collect();
                all.map(|a| a.iter().sum::<f64>() / n as f64)
            };
            vec![
                ("macro AUROC", mean(|l, s| roc_auc(l, s).ok())),
                ("macro AUPRC", mean(|l, s| average_precision(l, s).ok())),
            ]
        }
        _ => vec![],
    }
}

pub fn evaluate(config: &RunConfig, cohort: &Cohort, results: &[FoldResult]) -> anyhow::Result<Evaluation> {
    let mut names: Vec<&str> = vec![];
    for r in results {
        if !names.contains(&r.model.as_str()) {
            names.push(&r.model);
        }
    }
    let mut models = vec![];
    let mut rows = vec![];
    for name in names {
        let of: Vec<&FoldResult> = results.iter().filter(|r| r.model == name).collect();
        let model = collect(cohort, name, &of);
        for task in &cohort.tasks {
            let target = &cohort.targets[&task.name];
            let outputs = &model.outputs[&task.name];
            let known: Vec<usize> =
                (0..cohort.len()).filter(|&p| target.known(p) && outputs[p].is_some()).collect();
            if known.is_empty() {
                continue;
            }
            let point = metrics(task.kind, target, outputs, &known);
            let mut estimates = vec![];
            for (k, (metric, value)) in point.iter().enumerate() {
                // One stream for all models: their intervals are of the same resamples.
                let seed = Seed::new(config.seed).stream("bootstrap").stream(&task.name);
                let options = BootstrapConfig::new().replicates(500).method(IntervalMethod::Percentile);
                let interval = bootstrap(known.len(), &options, &mut seed.rng(), |rows| {
                    let picked: Vec<usize> = rows.iter().map(|&r| known[r]).collect();
                    metrics(task.kind, target, outputs, &picked)[k].1
                });
                let estimate = value.and(interval.ok());
                let estimate = estimate.map(|i| Estimate { value: i.estimate, low: i.lower, high: i.upper });
                estimates.push((*metric, estimate));
            }
            let mut over_repeats = vec![];
            for repeat in 0..config.repeats {
                let one: Vec<&FoldResult> = of.iter().copied().filter(|r| r.repeat == repeat).collect();
                let one = collect(cohort, name, &one);
                over_repeats.extend(metrics(task.kind, target, &one.outputs[&task.name], &known)[0].1);
            }
            rows.push(Row {
                model: name.into(),
                task: task.name.clone(),
                patients: known.len(),
                parameters: model.parameters,
                metrics: estimates,
                over_repeats,
            });
        }
        models.push(model);
    }
    rows.sort_by_key(|r| cohort.tasks.iter().position(|t| t.name == r.task));
    Ok(Evaluation { grid: grid(cohort, results), rows, models })
}

fn grid(cohort: &Cohort, results: &[FoldResult]) -> Vec<GridRow> {
    let full: Vec<&FoldResult> = results.iter().filter(|r| r.model == FULL && !r.grid.is_empty()).collect();
    let Some(first) = full.first() else { return vec![] };
    let mut grid = vec![];
    for (k, (names, _)) in first.grid.iter().enumerate() {
        let parts: Vec<FoldResult> =
            full.iter().map(|r| FoldResult { outputs: r.grid[k].1.clone(), ..(*r).clone() }).collect();
        let model = collect(cohort, "", &parts.iter().collect::<Vec<_>>());
        let everyone: Vec<usize> = (0..cohort.len()).collect();
        let of = |t: &oncograph::omics::TaskConfig| {
            let value = metrics(t.kind, &cohort.targets[&t.name], &model.outputs[&t.name], &everyone)[0].1;
            (t.name.clone(), value)
        };
        grid.push((names.clone(), cohort.tasks.iter().map(of).collect()));
    }
    grid
}

/// `metrics.csv`: one line per model, task and metric.
pub fn metrics_csv(evaluation: &Evaluation) -> String {
    let mut csv = String::from("model,task,patients,parameters,metric,value,low,high\n");
    for r in &evaluation.rows {
        for (name, e) in &r.metrics {
            let cells = e.map_or_else(|| ",,".to_string(), |e| format!("{},{},{}", e.value, e.low, e.high));
            csv += &format!("\"{}\",{},{},{},{name},{cells}\n", r.model, r.task, r.patients, r.parameters);
        }
    }
    csv
}

/// `predictions.csv`: one line per patient, model, task and output.
pub fn predictions_csv(cohort: &Cohort, evaluation: &Evaluation) -> String {
    let mut csv = String::from("patient,model,task,output,value\n");
    for model in &evaluation.models {
        for (task, rows) in &model.outputs {
            for (id, row) in cohort.data.ids.iter().zip(rows) {
                for (k, v) in row.iter().flatten().enumerate() {
                    csv += &format!("\"{}\",\"{}\",{task},{k},{v}\n", id.replace('"', "'"), model.model);
                }
            }
        }
    }
    csv
}

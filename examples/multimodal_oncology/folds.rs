//! Training and out-of-fold prediction.

use crate::attribute::mean_shares;
use crate::cohort::Cohort;
use crate::config::RunConfig;
use crate::federation::{self, of_centre};
use crate::network::Network;
use crate::variants::{LATE, Variant, modality_names, pooled_type};
use candle_core::{DType, Tensor};
use indicatif::ProgressBar;
use oncograph::datasets::splits::{Fold, merge_small_strata, repeated_stratified_k_fold, stratified_split};
use oncograph::nn::Seed;
use oncograph::omics::{OmicsOutput, TaskConfig, TaskKind, predict, risk};
use oncograph::train::{EpochRecord, RunDir, StopFlag, fit_each};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Outputs by task and held-out patient: a risk, probabilities of classes, or of labels.
pub type Outputs = BTreeMap<String, Vec<Vec<f64>>>;

/// Outputs by which modalities are there.
pub type Grid = Vec<(Vec<String>, Outputs)>;

/// What one trained model says of its fold's held-out patients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldResult {
    pub model: String,
    pub repeat: usize,
    pub fold: usize,
    pub test: Vec<usize>,
    pub outputs: Outputs,
    /// Per held-out patient and modality.
    pub importance: Vec<Vec<f64>>,
    /// Outputs where only some modalities are there, by which.
    pub grid: Grid,
    /// By node type and name, how much of the first task's output it accounts for, on average over held-out patients.
    pub shares: BTreeMap<String, Vec<(String, f64)>>,
    pub history: Vec<EpochRecord>,
    pub best_epoch: usize,
    pub parameters: usize,
    /// Bytes that a federation sent.
    pub sent: usize,
}

impl FoldResult {
    /// Of a model that has said nothing yet.
    pub fn empty(model: &str, fold: &Fold) -> Self {
        FoldResult {
            model: model.into(),
            repeat: fold.repeat,
            fold: fold.fold,
            test: fold.test.clone(),
            outputs: Outputs::new(),
            importance: vec![],
            grid: vec![],
            shares: BTreeMap::new(),
            history: vec![],
            best_epoch: 0,
            parameters: 0,
            sent: 0,
        }
    }
}

/// The folds of all repetitions, or one per centre.
pub fn folds(config: &RunConfig, cohort: &Cohort) -> anyhow::Result<Vec<Fold>> {
    if config.leave_centre_out {
        let (names, of) = federation::centres(cohort)?;
        let fold = |c: usize| {
            let (test, train) = (0..cohort.len()).partition(|p| of[*p] == c);
            Fold { repeat: 0, fold: c, train, test }
        };
        return Ok((0..names.len()).map(fold).collect());
    }
    let strata = merge_small_strata(&cohort.strata, config.folds);
    Ok(repeated_stratified_k_fold(
        &strata,
        config.folds,
        config.repeats,
        Seed::new(config.seed).stream("folds"),
    )?)
}

/// The patients that a fold trains on, and those on which training is stopped.
pub fn inner_split(
    config: &RunConfig,
    cohort: &Cohort,
    fold: &Fold,
) -> anyhow::Result<(Vec<usize>, Vec<usize>)> {
    let strata: Vec<usize> = fold.train.iter().map(|&i| cohort.strata[i]).collect();
    let seed = Seed::new(config.seed).stream("inner").at(fold.repeat as u64).at(fold.fold as u64);
    let fractions = [1.0 - config.validation, config.validation, 0.0];
    let split = stratified_split(&merge_small_strata(&strata, 5), fractions, seed)?;
    let pick = |rows: Vec<usize>| rows.into_iter().map(|r| fold.train[r]).collect();
    Ok((pick(split.train), pick(split.validation)))
}

/// Trains one variant on one fold, or takes its result from an earlier, interrupted run.
pub fn run_fold(
    config: &RunConfig,
    cohort: &Cohort,
    fold: &Fold,
    variant: &Variant,
    run: &RunDir,
    stop: &StopFlag,
    bar: &ProgressBar,
) -> anyhow::Result<FoldResult> {
    let name = fold_name(variant, fold);
    let folder = RunDir::open(&run.folder("folds")?)?;
    let done = format!("{name}.result.json");
    if let Some(result) = folder.read_json(&done)? {
        bar.inc(config.fit.epochs as u64);
        return Ok(result);
    }
    let (mut train, mut validation) = inner_split(config, cohort, fold)?;
    if let Variant::Alone(centre) = variant {
        (train, validation) = (of_centre(cohort, centre, &train)?, of_centre(cohort, centre, &validation)?);
    }
    let network = Network::new(config, cohort, variant, &train, &name)?;
    let split = (&train[..], &validation[..]);
    let mut epochs = 0;
    let told = |record: &EpochRecord| {
        bar.set_message(format!("{} fold {} loss {:.4}", variant.name(), fold.fold + 1, record.score));
        bar.inc(1);
        epochs += 1;
    };
    let checkpoint = folder.file(&format!("{name}.checkpoint.safetensors"));
    let sites = folder.file(&format!("{name}.sites"));
    let mut result = FoldResult::empty(&variant.name(), fold);
    let mut learner = network.learner(config, cohort, split)?;
    let (outcome, best) = if let Some(mu) = variant.federated() {
        let (outcome, sent) = federation::train(config, cohort, &network, split, mu, (&sites, stop), told)?;
        result.sent = sent;
        (outcome, BTreeMap::new())
    } else {
        fit_each(&mut learner, &network.store, &config.fit, Some(&checkpoint), stop, told)?
    };
    // Epochs that early stopping left out.
    bar.inc((config.fit.epochs as u64).saturating_sub(epochs));
    (result.history, result.best_epoch) = (outcome.history, outcome.best_epoch);
    result.parameters = network.store.parameter_count();
    for (k, task) in network.shape.tasks.iter().enumerate() {
        // Each task is answered with the parameters of its own best epoch.
        if let Some(parameters) = best.get(&task.name) {
            network.store.restore(parameters)?;
        }
        let explained = *variant == Variant::Full && fold.repeat == 0;
        answer(config, cohort, fold, &network, (k, task), explained, &mut result)?;
        network.store.save(folder.file(&parameter_file(&name, &task.name)))?;
    }
    folder.write_json(&format!("{name}.scalers.json"), &(&network.shape, &network.prepared.scalers))?;
    // The result is the last thing written: until it is there, the fold is not done.
    let result = folder.once(&done, || Ok(result))?;
    std::fs::remove_file(&checkpoint).ok();
    std::fs::remove_dir_all(&sites).ok();
    Ok(result)
}

/// What a fold's files of a variant begin with.
pub fn fold_name(variant: &Variant, fold: &Fold) -> String {
    let task = if let Variant::Single(task) = variant { format!("-{task}") } else { String::new() };
    format!("{}{task}-{}-{}", variant.name().replace([' ', ','], "_"), fold.repeat, fold.fold)
}

/// The file of the parameters that answer a task.
pub fn parameter_file(name: &str, task: &str) -> String {
    format!("{name}-{task}.safetensors")
}

/// Adds what a trained network says of one task, and if asked what it goes by.
fn answer(
    config: &RunConfig,
    cohort: &Cohort,
    fold: &Fold,
    network: &Network,
    (k, task): (usize, &TaskConfig),
    explained: bool,
    result: &mut FoldResult,
) -> anyhow::Result<()> {
    let (tasks, batch) = (std::slice::from_ref(task), config.batch);
    let (model, graphs, source) = (network.model.as_ref(), &network.graphs, &network.prepared.source);
    let output = predict(model, source, graphs, &fold.test, batch)?;
    result.outputs.extend(outputs(tasks, &output)?);
    if let (0, Some(i)) = (k, &output.importance) {
        result.importance = i.to_dtype(DType::F64)?.to_vec2()?;
    }
    if !explained {
        return Ok(());
    }
    if k == 0 {
        result.shares = mean_shares(network, &fold.test, batch)?;
    }
    join(&mut result.grid, grid(config, cohort, network, tasks, &fold.test)?);
    Ok(())
}

/// Tensors of a model as risks and probabilities.
pub fn outputs(tasks: &[TaskConfig], output: &OmicsOutput) -> anyhow::Result<Outputs> {
    let mut all = BTreeMap::new();
    for task in tasks {
        let Some(x) = output.tasks.get(&task.name) else { continue };
        let rows = |t: Tensor| -> anyhow::Result<Vec<Vec<f64>>> { Ok(t.to_dtype(DType::F64)?.to_vec2()?) };
        let of = match task.kind {
            TaskKind::Classes(_) => rows(oncograph::nn::softmax(x, 1)?)?,
            TaskKind::Labels(_) => rows(candle_nn::ops::sigmoid(x)?)?,
            kind => risk(kind, x)?.into_iter().map(|r| vec![r]).collect(),
        };
        all.insert(task.name.clone(), of);
    }
    Ok(all)
}

/// The network's outputs for all 2^M - 1 subsets of modalities.
fn grid(
    config: &RunConfig,
    cohort: &Cohort,
    network: &Network,
    tasks: &[TaskConfig],
    patients: &[usize],
) -> anyhow::Result<Grid> {
    let names = modality_names(cohort);
    if names.len() < 2 {
        return Ok(vec![]);
    }
    let mut grid = vec![];
    for subset in 1..1usize << names.len() {
        let kept: Vec<String> =
            names.iter().enumerate().filter(|(i, _)| subset >> i & 1 == 1).map(|(_, n)| n.clone()).collect();
        let gone: Vec<&str> = names.iter().filter(|n| !kept.contains(n)).map(|n| pooled_type(n)).collect();
        let source = network.prepared.source.clone().without(&gone);
        let output = predict(network.model.as_ref(), &source, &network.graphs, patients, config.batch)?;
        grid.push((kept, outputs(tasks, &output)?));
    }
    Ok(grid)
}

/// Adds one task's outputs to those of the others, subset by subset.
fn join(all: &mut Grid, of_task: Grid) {
    if all.is_empty() {
        *all = of_task;
        return;
    }
    all.iter_mut().zip(of_task).for_each(|(a, t)| a.1.extend(t.1));
}

/// The average of the unimodal models' outputs, fold by fold; risks in units of their spread, since log risks of two
/// models have no common scale.
pub fn late_fusion(
    cohort: &Cohort,
    folds: &[Fold],
    results: &[FoldResult],
) -> anyhow::Result<Vec<FoldResult>> {
    let names: Vec<String> = modality_names(cohort).iter().map(|m| format!("{m} only")).collect();
    if names.len() < 2 {
        return Ok(vec![]);
    }
    let mut fused = vec![];
    for fold in folds {
        let of_fold =
            |r: &&FoldResult| r.repeat == fold.repeat && r.fold == fold.fold && names.contains(&r.model);
        let parts: Vec<&FoldResult> = results.iter().filter(of_fold).collect();
        if parts.len() < names.len() {
            return Ok(vec![]);
        }
        let mut outputs = BTreeMap::new();
        for task in &cohort.tasks {
            let flat: Vec<Vec<f64>> = parts
                .iter()
                .filter_map(|r| r.outputs.get(&task.name))
                .map(|rows| if task.kind.is_survival() { spread(rows) } else { rows.concat() })
                .collect();
            let mean = oncograph::omics::late_fusion(&flat.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
            let width = (mean.len() / fold.test.len()).max(1);
            outputs.insert(task.name.clone(), mean.chunks(width).map(<[f64]>::to_vec).collect());
        }
        let parameters = parts.iter().map(|r| r.parameters).sum();
        fused.push(FoldResult { outputs, parameters, ..FoldResult::empty(LATE, fold) });
    }
    Ok(fused)
}

fn spread(rows: &[Vec<f64>]) -> Vec<f64> {
    let v = rows.concat();
    let mean = v.iter().sum::<f64>() / v.len() as f64;
    let sd = (v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / v.len() as f64).sqrt().max(1e-9);
    v.iter().map(|x| (x - mean) / sd).collect()
}

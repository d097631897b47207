//! Training and out-of-fold prediction.

use crate::cohort::{Cohort, Prepared};
use crate::config::RunConfig;
use candle_core::{DType, Device, Tensor, Var};
use indicatif::ProgressBar;
use oncograph::datasets::splits::{Fold, merge_small_strata, repeated_stratified_k_fold, stratified_split};
use oncograph::nn::{Mode, ParamStore, Seed};
use oncograph::omics::{
    Ablate, BatchSource, Contrast, FlatNet, MultiTaskLoss, Nodes, OmicsLearner, OmicsModel, OmicsOutput,
    SharedGraphs, TaskConfig, TaskKind, predict, risk,
};
use oncograph::train::{EpochRecord, RunDir, StopFlag, fit_each};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The name of the network in tables.
pub const FULL: &str = "graph network";
/// The control whose edges are at random.
pub const SHUFFLED: &str = "graph network, shuffled edges";
/// Attention over modality vectors without a graph.
pub const ATTENTION: &str = "attention fusion";
/// The average of the unimodal models.
pub const LATE: &str = "late fusion";

/// What is trained.
#[derive(Debug, Clone, PartialEq)]
pub enum Variant {
    Full,
    Shuffled,
    Attention,
    Unimodal(String),
    NoIntra,
    NoInter,
    NoContrast,
    /// One model for one task.
    Single(String),
}

impl Variant {
    pub fn name(&self) -> String {
        match self {
            Variant::Full => FULL.into(),
            Variant::Shuffled => SHUFFLED.into(),
            Variant::Attention => ATTENTION.into(),
            Variant::Unimodal(m) => format!("{m} only"),
            Variant::NoIntra => "- intra-modality graphs".into(),
            Variant::NoInter => "- inter-modality fusion".into(),
            Variant::NoContrast => "- contrastive".into(),
            Variant::Single(_) => "- multi-task".into(),
        }
    }
}

/// What the run trains.
///
/// # Errors
/// A model of `config` that the cohort does not have, with those that it has.
pub fn variants(config: &RunConfig, cohort: &Cohort) -> anyhow::Result<Vec<Variant>> {
    let mut all = vec![Variant::Full, Variant::Shuffled];
    let modalities = modality_names(cohort);
    if modalities.len() > 1 {
        all.push(Variant::Attention);
    }
    all.extend(modalities.into_iter().map(Variant::Unimodal));
    if config.ablate {
        all.extend([Variant::NoIntra, Variant::NoInter, Variant::NoContrast]);
        all.extend(cohort.tasks.iter().map(|t| Variant::Single(t.name.clone())));
    }
    for name in &config.models {
        let names: Vec<String> = all.iter().map(Variant::name).collect();
        anyhow::ensure!(names.contains(name), "--model {name}: expected some of {}", names.join(", "));
    }
    all.retain(|v| *v == Variant::Full || config.models.is_empty() || config.models.contains(&v.name()));
    Ok(all)
}

/// The modalities of a cohort, by the order of importances.
pub fn modality_names(cohort: &Cohort) -> Vec<String> {
    let names = [("gene", "genomics"), ("mirna", "mirna"), ("protein", "proteomics"), ("lab", "clinical")];
    names
        .into_iter()
        .filter(|(t, _)| cohort.data.tables.contains_key(*t))
        .map(|(_, m)| m.to_string())
        .collect()
}

/// The node type that a modality is pooled from.
pub fn pooled_type(modality: &str) -> &'static str {
    match modality {
        "genomics" => "gene",
        "mirna" => "mirna",
        "proteomics" => "protein",
        _ => "lab",
    }
}

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
    /// By node type and name, the mean magnitude of the gradient of the first task's output over held-out patients.
    pub gradients: BTreeMap<String, Vec<(String, f64)>>,
    pub history: Vec<EpochRecord>,
    pub best_epoch: usize,
    pub parameters: usize,
}

/// The folds of all repetitions.
pub fn folds(config: &RunConfig, cohort: &Cohort) -> anyhow::Result<Vec<Fold>> {
    let strata = merge_small_strata(&cohort.strata, config.folds);
    Ok(repeated_stratified_k_fold(
        &strata,
        config.folds,
        config.repeats,
        Seed::new(config.seed).stream("folds"),
    )?)
}

fn inner_split(config: &RunConfig, cohort: &Cohort, fold: &Fold) -> anyhow::Result<(Vec<usize>, Vec<usize>)> {
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
    let task = if let Variant::Single(task) = variant { format!("-{task}") } else { String::new() };
    let name = format!("{}{task}-{}-{}", variant.name().replace([' ', ','], "_"), fold.repeat, fold.fold);
    let folder = RunDir::open(&run.folder("folds")?)?;
    let done = format!("{name}.result.json");
    if let Some(result) = folder.read_json(&done)? {
        bar.inc(config.fit.epochs as u64);
        return Ok(result);
    }
    let (train, validation) = inner_split(config, cohort, fold)?;
    let prepared = Prepared::fit(config, cohort, &train)?;
    let seed = Seed::new(config.seed).stream(&name);
    let store = ParamStore::new(seed.stream("network"));
    let vb = store.var_builder(DType::F32, &Device::Cpu);
    let mut shape = prepared.model.clone();
    let mut graphs = prepared.graphs.clone();
    match variant {
        Variant::Shuffled => graphs = prepared.shuffled(seed.stream("edges")),
        Variant::Unimodal(m) => shape = shape.only(&[m])?,
        Variant::NoIntra => shape = shape.ablate(Ablate { intra: true, inter: false }),
        Variant::NoInter => shape = shape.ablate(Ablate { intra: false, inter: true }),
        Variant::Single(task) => shape.tasks.retain(|t| t.name == *task),
        Variant::Full | Variant::Attention | Variant::NoContrast => {}
    }
    let flat = matches!(variant, Variant::Attention | Variant::Unimodal(_));
    let model: Box<dyn OmicsModel> =
        if flat { Box::new(FlatNet::new(&shape, vb.clone())?) } else { Box::new(shape.build(vb.clone())?) };
    let weights = MultiTaskLoss::new(config.weighting.clone(), &shape, vb.clone())?;
    let contrast = match &config.contrast {
        Some(c) if !flat && *variant != Variant::NoContrast => Some(Contrast::new(c, shape.hidden, vb)?),
        _ => None,
    };
    let mut learner = OmicsLearner::new(
        model.as_ref(),
        &prepared.source,
        &graphs,
        &cohort.targets,
        &weights,
        contrast.as_ref(),
        (&train, &validation),
        config.batch,
        seed,
    )?;
    let checkpoint = folder.file(&format!("{name}.checkpoint.safetensors"));
    let start = bar.position();
    let (outcome, best) = fit_each(&mut learner, &store, &config.fit, Some(&checkpoint), stop, |record| {
        bar.set_message(format!("{} fold {} loss {:.4}", variant.name(), fold.fold + 1, record.score));
        bar.inc(1);
    })?;
    bar.set_position(start + config.fit.epochs as u64);
    let (mut all, mut importance, mut of_subsets) = (Outputs::new(), vec![], vec![]);
    let mut attributed = BTreeMap::new();
    for (k, task) in shape.tasks.iter().enumerate() {
        // Each task is answered with the parameters of its own best epoch.
        if let Some(parameters) = best.get(&task.name) {
            store.restore(parameters)?;
        }
        let tasks = std::slice::from_ref(task);
        let output = learner.output(&fold.test)?;
        all.extend(outputs(tasks, &output)?);
        if let (0, Some(i)) = (k, &output.importance) {
            importance = i.to_dtype(DType::F64)?.to_vec2()?;
        }
        if *variant == Variant::Full {
            if k == 0 {
                attributed = gradients(&prepared, model.as_ref(), &graphs, &fold.test, config.batch)?;
            }
            let of_task = grid(config, cohort, &prepared, (model.as_ref(), tasks), &graphs, fold)?;
            join(&mut of_subsets, of_task);
        }
        store.save(folder.file(&format!("{name}-{}.safetensors", task.name)))?;
    }
    folder.write_json(&format!("{name}.scalers.json"), &(&shape, &prepared.scalers))?;
    let result = FoldResult {
        model: variant.name(),
        repeat: fold.repeat,
        fold: fold.fold,
        test: fold.test.clone(),
        outputs: all,
        importance,
        grid: of_subsets,
        gradients: attributed,
        history: outcome.history,
        best_epoch: outcome.best_epoch,
        parameters: store.parameter_count(),
    };
    // The result is the last thing written: until it is there, the fold is not done.
    let result = folder.once(&done, || Ok(result))?;
    std::fs::remove_file(&checkpoint).ok();
    Ok(result)
}

/// Tensors of a model as risks and probabilities.
fn outputs(tasks: &[TaskConfig], output: &OmicsOutput) -> anyhow::Result<Outputs> {
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
    prepared: &Prepared,
    (model, tasks): (&dyn OmicsModel, &[TaskConfig]),
    graphs: &SharedGraphs,
    fold: &Fold,
) -> anyhow::Result<Grid> {
    let names = modality_names(cohort);
    if fold.repeat > 0 || names.len() < 2 {
        return Ok(vec![]);
    }
    let mut grid = vec![];
    for subset in 1..1usize << names.len() {
        let kept: Vec<String> =
            names.iter().enumerate().filter(|(i, _)| subset >> i & 1 == 1).map(|(_, n)| n.clone()).collect();
        let gone: Vec<&str> = names.iter().filter(|n| !kept.contains(n)).map(|n| pooled_type(n)).collect();
        let source = prepared.source.clone().without(&gone);
        let output = predict(model, &source, graphs, &fold.test, config.batch)?;
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

/// The mean magnitude of the gradient of the first task's output with respect to each node's value (defect 10: asked of
/// the tensor of values). For classes, of the predicted one.
fn gradients(
    prepared: &Prepared,
    model: &dyn OmicsModel,
    graphs: &SharedGraphs,
    patients: &[usize],
    batch: usize,
) -> anyhow::Result<BTreeMap<String, Vec<(String, f64)>>> {
    let mut sums: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for chunk in patients.chunks(batch) {
        let mut inputs = prepared.source.batch(chunk)?;
        let mut vars = vec![];
        for (name, nodes) in inputs.nodes.iter_mut() {
            if let Nodes::Values { values, .. } = nodes {
                let var = Var::from_tensor(values)?;
                *values = var.as_tensor().clone();
                vars.push((name.clone(), var));
            }
        }
        let out = model.forward(&inputs, graphs, Mode::Eval)?;
        let task = &model.config().tasks[0];
        let Some(x) = out.tasks.get(&task.name) else { continue };
        let scalar = if task.kind.is_survival() { x.sum_all()? } else { x.max(1)?.sum_all()? };
        let all = scalar.backward()?;
        for (name, var) in vars {
            let Some(g) = all.get(&var) else { continue };
            let g = g.abs()?.sum(0)?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            let sum = sums.entry(name).or_insert_with(|| vec![0.0; g.len()]);
            sum.iter_mut().zip(g).for_each(|(s, g)| *s += g / patients.len() as f64);
        }
    }
    let named = |(t, sums): (String, Vec<f64>)| {
        let names = prepared.scalers.get(&t).map(|s| s.features.clone()).unwrap_or_default();
        (t, names.into_iter().zip(sums).collect())
    };
    Ok(sums.into_iter().map(named).collect())
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
        fused.push(FoldResult {
            model: LATE.into(),
            repeat: fold.repeat,
            fold: fold.fold,
            test: fold.test.clone(),
            outputs,
            importance: vec![],
            grid: vec![],
            gradients: BTreeMap::new(),
            history: vec![],
            best_epoch: 0,
            parameters: parts.iter().map(|r| r.parameters).sum(),
        });
    }
    Ok(fused)
}

fn spread(rows: &[Vec<f64>]) -> Vec<f64> {
    let v = rows.concat();
    let mean = v.iter().sum::<f64>() / v.len() as f64;
    let sd = (v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / v.len() as f64).sqrt().max(1e-9);
    v.iter().map(|x| (x - mean) / sd).collect()
}

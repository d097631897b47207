//! Training and out-of-fold prediction.

use crate::cohort::Patients;
use crate::config::RunConfig;
use crate::model::{Fitted, Inputs, build, save, sized};
use candle_core::{Device, Tensor};
use indicatif::ProgressBar;
use oncograph::core::{FollowUp, TimeUnit};
use oncograph::datasets::scaler::{PipelineConfig, ScalerKind, TabularPipeline};
use oncograph::datasets::splits::{Fold, merge_small_strata, repeated_stratified_k_fold, stratified_split};
use oncograph::graph::HeteroGraph;
use oncograph::losses::predicted_time;
use oncograph::metrics::{Covariates, CoxConfig, CoxModel, Survival, TaaMode, time_adjacent_accuracy};
use oncograph::nn::Seed;
use oncograph::spatiotemporal::{
    AugmentConfig, ImageScaler, Prediction, StgLearner, StgOutput, SurvivalLoss, TimeScale, predict,
};
use oncograph::train::{EpochRecord, RunDir, StopFlag, fit};
use serde::{Deserialize, Serialize};

/// Years that every constant predictor is tried at.
const HORIZON: usize = 12;

/// The model with all nodes.
pub const STG: &str = "stg";
/// The model whose image nodes are removed.
pub const WITHOUT_IMAGES: &str = "stg_without_images";

/// What one trained model says of its fold's held-out patients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldResult {
    pub model: String,
    pub repeat: usize,
    pub fold: usize,
    pub test: Vec<usize>,
    /// Per task (recurrence, survival), the prediction for each of `test`.
    pub predictions: [Vec<Prediction>; 2],
    pub history: Vec<EpochRecord>,
    pub best_epoch: usize,
    /// Survival risks of `test` with a share of anatomical nodes removed.
    pub node_drop: Vec<(f64, Vec<f64>)>,
}

/// The shares of anatomical nodes that are removed for the robustness curve.
const DROP: [f64; 5] = [0.1, 0.2, 0.3, 0.4, 0.5];

/// The folds of all repetitions.
pub fn folds(config: &RunConfig, patients: &Patients) -> anyhow::Result<Vec<Fold>> {
    let strata = merge_small_strata(&patients.strata, config.folds);
    let seed = Seed::new(config.seed).stream("folds");
    Ok(repeated_stratified_k_fold(&strata, config.folds, config.repeats, seed)?)
}

/// The training patients of a fold, split again: those that are fitted on, and those that say when to stop.
fn inner_split(
    config: &RunConfig,
    patients: &Patients,
    fold: &Fold,
) -> anyhow::Result<(Vec<usize>, Vec<usize>)> {
    let strata: Vec<usize> = fold.train.iter().map(|&i| patients.strata[i]).collect();
    let seed = Seed::new(config.seed).stream("inner").at(fold.repeat as u64).at(fold.fold as u64);
    let fractions = [1.0 - config.validation, config.validation, 0.0];
    let split = stratified_split(&merge_small_strata(&strata, 5), fractions, seed)?;
    let pick = |rows: Vec<usize>| rows.into_iter().map(|r| fold.train[r]).collect();
    Ok((pick(split.train), pick(split.validation)))
}

/// Trains one model on one fold, or takes its result from an earlier, interrupted run.
#[allow(clippy::too_many_arguments)] // each is a thing of its own, given once
pub fn run_fold(
    config: &RunConfig,
    patients: &Patients,
    fold: &Fold,
    model: &str,
    run: &RunDir,
    device: &Device,
    stop: &StopFlag,
    bar: &ProgressBar,
) -> anyhow::Result<FoldResult> {
    let name = format!("{model}-{}-{}", fold.repeat, fold.fold);
    let folder = RunDir::open(&run.folder("folds")?)?;
    let done = format!("{name}.result.json");
    if let Some(result) = folder.read_json(&done)? {
        bar.inc(config.fit.epochs as u64);
        return Ok(result);
    }
    let images = patients.images.as_deref().filter(|_| model == STG);
    let (train, validation) = inner_split(config, patients, fold)?;
    let inputs = Inputs::fit(&patients.clinical, images, &train, config.image_scaling, device)?;
    let features = inputs.scaler.as_ref().map_or(64, ImageScaler::features);
    let sized = sized(config, &inputs, features);
    let seed = Seed::new(config.seed).stream(&name);
    let (store, network) = build(&sized, seed, device)?;
    let training = config.training.clone();
    let (graphs, outcomes) = (&inputs.graphs, &patients.outcomes);
    let mut learner =
        StgLearner::new(&network, &inputs.table, graphs, outcomes, &train, &validation, training, seed)?;
    let checkpoint = folder.file(&format!("{name}.checkpoint.safetensors"));
    let start = bar.position();
    let outcome = fit(&mut learner, &store, &config.fit, Some(&checkpoint), stop, |record| {
        bar.set_message(format!("{model} fold {} loss {:.4}", fold.fold + 1, record.score));
        bar.inc(1);
    })?;
    bar.set_position(start + config.fit.epochs as u64);
    let scales = learner.scales();
    let fitted_on = learner.output(&train)?;
    let of = |output: &StgOutput| -> anyhow::Result<[Vec<Prediction>; 2]> {
        predictions(config.model.survival_loss, output, &scales, &fitted_on, &train, outcomes)
    };
    let test = of(&learner.output(&fold.test)?)?;
    let node_drop = if images.is_some() { dropped(&learner, graphs, fold, seed, of)? } else { vec![] };
    let flat = |t: &Tensor| -> anyhow::Result<Vec<f64>> {
        Ok(t.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1()?)
    };
    let fitted = Fitted {
        model: sized,
        pipeline: inputs.pipeline.clone(),
        scales,
        training: train.iter().map(|&i| outcomes[i]).collect(),
        training_outputs: [flat(&fitted_on.recurrence)?, flat(&fitted_on.survival)?],
    };
    save(&folder, &name, &store, inputs.scaler.as_ref(), &fitted)?;
    let result = FoldResult {
        model: model.into(),
        repeat: fold.repeat,
        fold: fold.fold,
        test: fold.test.clone(),
        predictions: test,
        history: outcome.history,
        best_epoch: outcome.best_epoch,
        node_drop,
    };
    // The result is the last thing written: until it is there, the fold is not done.
    let result = folder.once(&done, || Ok(result))?;
    std::fs::remove_file(&checkpoint).ok();
    Ok(result)
}

fn predictions(
    kind: SurvivalLoss,
    output: &StgOutput,
    scales: &[TimeScale; 2],
    fitted_on: &StgOutput,
    train: &[usize],
    outcomes: &[[FollowUp; 2]],
) -> anyhow::Result<[Vec<Prediction>; 2]> {
    let of = |task: usize, head: &Tensor, training: &Tensor| {
        let seen: Vec<FollowUp> = train.iter().map(|&i| outcomes[i][task]).collect();
        predict(kind, head, &scales[task], HORIZON, Some((training, &seen)))
    };
    Ok([of(0, &output.recurrence, &fitted_on.recurrence)?, of(1, &output.survival, &fitted_on.survival)?])
}

/// Survival risks of the held-out patients when anatomical nodes are lost.
fn dropped(
    learner: &StgLearner,
    graphs: &[HeteroGraph],
    fold: &Fold,
    seed: Seed,
    of: impl Fn(&StgOutput) -> anyhow::Result<[Vec<Prediction>; 2]>,
) -> anyhow::Result<Vec<(f64, Vec<f64>)>> {
    let mut curve = vec![];
    for share in DROP {
        let augment = AugmentConfig::default().strength(share, 0.0);
        let seed = seed.stream("node drop").at((share * 100.0) as u64);
        let views = fold.test.iter().map(|&i| augment.remove_nodes(&graphs[i], seed.at(i as u64)));
        let views = views.collect::<Result<Vec<_>, _>>()?;
        let [_, survival] = of(&learner.output_of(&views.iter().collect::<Vec<_>>())?)?;
        curve.push((share, survival.into_iter().map(|p| p.risk).collect()));
    }
    Ok(curve)
}

/// The best constants of the training patients: what a model has to beat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constants {
    /// With the smallest squared error.
    pub mean: f64,
    /// With the smallest absolute error.
    pub median: f64,
    /// With the highest time-adjacent accuracy.
    pub taa: f64,
}

impl Constants {
    pub fn fit(follow_up: &[FollowUp]) -> anyhow::Result<Self> {
        let survival = Survival::of(follow_up, TimeUnit::Years)?;
        let mut years = survival.time().to_vec();
        years.sort_by(f64::total_cmp);
        let n = years.len();
        let mut best = (f64::NEG_INFINITY, 0.0);
        for tenth in 0..=HORIZON * 10 {
            let constant = tenth as f64 / 10.0;
            let taa = time_adjacent_accuracy(&survival, &vec![constant; n], 2.0, TaaMode::All)?;
            if taa > best.0 {
                best = (taa, constant);
            }
        }
        let median = 0.5 * (years[(n - 1) / 2] + years[n / 2]);
        Ok(Constants { mean: years.iter().sum::<f64>() / n as f64, median, taa: best.1 })
    }
}

/// A Cox model on the clinical covariates of a fold's training patients.
pub fn cox_fold(patients: &Patients, fold: &Fold, task: usize) -> anyhow::Result<Vec<Prediction>> {
    let pipeline = TabularPipeline::fit(
        &patients.clinical,
        &fold.train,
        &PipelineConfig::new().scaler(ScalerKind::ZScore),
    )?;
    let rows = pipeline.transform(&patients.clinical)?.rows;
    let columns = pipeline.output_names().len();
    let take = |which: &[usize]| which.iter().flat_map(|&i| rows[i].clone()).collect::<Vec<f64>>();
    let (train, test) = (take(&fold.train), take(&fold.test));
    let survival = Survival::of(&patients.follow_up(task, &fold.train), TimeUnit::Years)?;
    // Ridge, since covariates are many, correlated and some of them rare.
    let config = CoxConfig::new().ridge(10.0);
    let model = CoxModel::fit(&survival, &Covariates::new(&train, columns)?, &config)?;
    let test = Covariates::new(&test, columns)?;
    let risks = model.linear_predictor(&test)?;
    // A baseline is known only as long as its patients were followed.
    let followed = model.baseline_time.last().copied().unwrap_or(0.0);
    let years: Vec<f64> = (1..=HORIZON).map(|y| y as f64).filter(|y| *y <= followed).collect();
    let curves = model.survival(&test, &years)?;
    let of = |(risk, curve): (f64, &[f64])| Prediction {
        years: predicted_time(curve),
        risk,
        survival: Some(curve.to_vec()),
    };
    Ok(risks.into_iter().zip(curves.chunks(years.len().max(1))).map(of).collect())
}

use crate::checkpoint::{Progress, TrainingCheckpoint};
use crate::{EpochRecord, Error, FitConfig, Keep, Result, StopFlag, precision};
use candle_core::{DType, Tensor};
use oncograph_core::AtFile;
use oncograph_nn::optim::Optimizer;
use oncograph_nn::scheduler::ReduceLrOnPlateau;
use oncograph_nn::{Gradients, ParamStore, with_precision};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The loss of one training step and the parts that it is made of.
#[derive(Debug)]
pub struct StepLoss {
    /// The scalar whose gradient is followed.
    pub loss: Tensor,
    /// Named scalars for the record, for example each task's loss. They are read when the epoch is over: within a step
    /// a device is not waited for.
    pub parts: Vec<(&'static str, Tensor)>,
}

/// The gradients of one training step, for a learner that does not keep the graph of a whole batch.
#[derive(Debug)]
pub struct StepGradients {
    /// The value of the loss.
    pub loss: f64,
    /// Its gradients.
    pub gradients: Gradients,
    /// As [`StepLoss::parts`], without the graphs that they come from.
    pub parts: Vec<(&'static str, Tensor)>,
}

/// How good the model is on data that it is not trained on.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// The number that early stopping and the schedule watch; smaller is better.
    pub score: f64,
    /// Named values for the record.
    pub parts: Vec<(&'static str, f64)>,
}

/// What is trained: the owner of the model and the data.
///
/// Every random draw must come from a stream named after epoch and step, so that a resumed run makes the same. In a reduced
/// precision the first step is computed in f32 as well, before it is taken.
pub trait Learner {
    /// How many steps an epoch has.
    fn steps(&self, epoch: usize) -> usize;

    /// The loss of one step; `fit` follows its gradient.
    ///
    /// # Errors
    /// Any error of the model; training ends.
    fn train_step(&mut self, epoch: usize, step: usize) -> Result<StepLoss>;

    /// The gradients of one step: by default those of [`Learner::train_step`]'s loss. A learner whose batch does not fit
    /// into memory at once overrides it.
    ///
    /// # Errors
    /// Any error of the model; training ends.
    fn step_gradients(&mut self, store: &ParamStore, epoch: usize, step: usize) -> Result<StepGradients> {
        let StepLoss { loss, parts } = self.train_step(epoch, step)?;
        let value = scalar(&loss)?;
        if !value.is_finite() {
            return Err(Error::Diverged { epoch, step, value });
        }
        let parts = parts.into_iter().map(|(name, part)| (name, part.detach())).collect();
        // The graph is freed with the loss, before the update makes its own temporaries.
        Ok(StepGradients { loss: value, gradients: store.backward(&loss)?, parts })
    }

    /// The score after an epoch.
    ///
    /// # Errors
    /// Any error of the model; training ends.
    fn validate(&mut self, epoch: usize) -> Result<Validation>;

    /// What the last [`Learner::validate`] found for each of several tasks, by name; smaller is better. By default there
    /// is one score for all.
    fn scores(&self) -> Vec<(String, f64)> {
        vec![]
    }
}

/// What a training run came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitOutcome {
    /// Every epoch.
    pub history: Vec<EpochRecord>,
    /// The position in `history` of the epoch whose parameters the store now holds.
    pub best_epoch: usize,
    /// With [`Keep::BestOfEach`], by name of a score the position of its best epoch.
    #[serde(default)]
    pub best_of: BTreeMap<String, usize>,
}

/// Parameters by name, as [`ParamStore::snapshot`] gives them.
pub type Parameters = HashMap<String, Tensor>;

/// Trains the parameters of `store` until the epochs are over or the score stalls, and leaves the best in it.
///
/// With a `checkpoint` path, training goes on from that file if it exists and writes it after every few epochs. A
/// run that is killed at any moment and started again ends with the same bits as one that was not. Stopped through
/// `stop`, it returns [`Error::Stopped`]; the unfinished epoch is done again by the next run.
///
/// Steps and validation are computed within [`with_precision`] of the configuration.
///
/// # Errors
/// [`Error::Diverged`] for a loss that is not finite, [`Error::Stopped`], errors of files and of the learner. In a reduced
/// precision, before the first epoch, if the device does not have it, and [`Error::Imprecise`] at the first step; an error
/// that names the checkpoint if it is of another precision.
pub fn fit(
    learner: &mut dyn Learner,
    store: &ParamStore,
    config: &FitConfig,
    checkpoint: Option<&Path>,
    stop: &StopFlag,
    on_epoch: impl FnMut(&EpochRecord),
) -> Result<FitOutcome> {
    Ok(fit_each(learner, store, config, checkpoint, stop, on_epoch)?.0)
}

/// As [`fit`], and with [`Keep::BestOfEach`] also by name of a score the parameters of its best epoch, for
/// [`ParamStore::restore`].
///
/// # Errors
/// As [`fit`].
pub fn fit_each(
    learner: &mut dyn Learner,
    store: &ParamStore,
    config: &FitConfig,
    checkpoint: Option<&Path>,
    stop: &StopFlag,
    on_epoch: impl FnMut(&EpochRecord),
) -> Result<(FitOutcome, BTreeMap<String, Parameters>)> {
    config.validate()?;
    precision::check_device(store, config.precision)?;
    with_precision(config.precision, || train(learner, store, config, checkpoint, stop, on_epoch))
}

fn train(
    learner: &mut dyn Learner,
    store: &ParamStore,
    config: &FitConfig,
    checkpoint: Option<&Path>,
    stop: &StopFlag,
    mut on_epoch: impl FnMut(&EpochRecord),
) -> Result<(FitOutcome, BTreeMap<String, Parameters>)> {
    let mut optimizer = config.optimizer.build()?;
    let rate = optimizer.learning_rate();
    let plateau = match &config.plateau {
        Some(plateau) => Some(ReduceLrOnPlateau::new(optimizer.learning_rate(), plateau.clone())?),
        None => None,
    };
    let mut progress = Progress { plateau, precision: config.precision, ..Progress::default() };
    let mut best = store.snapshot()?;
    let mut best_of = BTreeMap::new();
    if let Some(path) = checkpoint
        && let Some(saved) = TrainingCheckpoint::load(path)?
    {
        if saved.progress.precision != config.precision {
            let cause = format!("begun in {}, not in {}", saved.progress.precision, config.precision);
            return Err(AtFile::new(path, cause).into());
        }
        store.restore(&saved.parameters)?;
        optimizer.load_state(&saved.optimizer)?;
        (best, best_of, progress) = (saved.best, saved.best_of, saved.progress);
        progress.history.iter().for_each(&mut on_epoch);
    }
    while !finished(&progress, config) {
        let epoch = progress.history.len();
        if let Some(decay) = &config.step_decay {
            optimizer.set_learning_rate(rate * decay.factor.powi((epoch / decay.every) as i32));
        }
        if let Some(&rate) = config.rates.as_ref().and_then(|rates| rates.get(epoch).or(rates.last())) {
            optimizer.set_learning_rate(rate);
        }
        let record = run_epoch(learner, store, (optimizer.as_mut(), rate), config, epoch, stop)?;
        let is_best = config.keep == Keep::Last
            || progress.best_epoch.is_none_or(|b| record.score < progress.history[b].score);
        if is_best {
            progress.best_epoch = Some(epoch);
            best = store.snapshot()?;
        }
        if config.keep == Keep::BestOfEach {
            keep_each(learner, store, &mut progress, &mut best_of)?;
        }
        if let Some(plateau) = &mut progress.plateau {
            optimizer.set_learning_rate(plateau.step(record.score));
        }
        on_epoch(&record);
        progress.history.push(record);
        if let Some(path) = checkpoint
            && (epoch + 1).is_multiple_of(config.checkpoint_every)
        {
            TrainingCheckpoint::collect(store, &best, &best_of, optimizer.as_ref(), &progress)?.save(path)?;
        }
    }
    store.restore(&best)?;
    let Progress { history, best_epoch, best_of: epochs, .. } = progress;
    Ok((FitOutcome { best_epoch: best_epoch.unwrap_or(0), best_of: epochs, history }, best_of))
}

/// Keeps the parameters of the epoch that is just over for every score that it is the best epoch of.
fn keep_each(
    learner: &dyn Learner,
    store: &ParamStore,
    progress: &mut Progress,
    best_of: &mut BTreeMap<String, Parameters>,
) -> Result<()> {
    let epoch = progress.history.len();
    for (name, score) in learner.scores() {
        if !score.is_finite() {
            return Err(Error::Diverged { epoch, step: 0, value: score });
        }
        let before = progress.best_of.get(&name).and_then(|&b| progress.history[b].scores.get(&name));
        if before.is_none_or(|b| score < *b) {
            best_of.insert(name.clone(), store.snapshot()?);
            progress.best_of.insert(name, epoch);
        }
    }
    Ok(())
}

fn finished(progress: &Progress, config: &FitConfig) -> bool {
    let done = progress.history.len();
    let latest = progress.best_of.values().copied().max().max(progress.best_epoch);
    let stalled = match (latest, config.early_stop) {
        (Some(best), Some(patience)) => done >= config.at_least && done > best + patience,
        _ => false,
    };
    done >= config.epochs || stalled
}

/// The value of a scalar on any device.
pub(crate) fn scalar(value: &Tensor) -> Result<f64> {
    Ok(value.to_dtype(DType::F64)?.to_scalar()?)
}

fn run_epoch(
    learner: &mut dyn Learner,
    store: &ParamStore,
    (optimizer, rate): (&mut dyn Optimizer, f64),
    config: &FitConfig,
    epoch: usize,
    stop: &StopFlag,
) -> Result<EpochRecord> {
    let steps = learner.steps(epoch);
    let scheduled = |step: usize| {
        config.warmup_cosine.map(|c| rate * c.factor(epoch * steps + step, config.epochs * steps))
    };
    let learning_rate = scheduled(0).unwrap_or(optimizer.learning_rate());
    let mut parts = vec![];
    let mut total = 0.0;
    for step in 0..steps {
        if stop.is_requested() {
            return Err(Error::Stopped);
        }
        #[cfg(feature = "cuda")]
        let _step = oncograph_nn::cuda::ProfiledStep::begin();
        let exact = match (epoch, step) {
            (0, 0) => precision::loss_in_f32(learner, store, config, (epoch, step))?,
            _ => None,
        };
        let StepGradients { loss: value, mut gradients, parts: of_step } =
            learner.step_gradients(store, epoch, step)?;
        if !value.is_finite() {
            return Err(Error::Diverged { epoch, step, value });
        }
        if let Some(exact) = exact {
            precision::compare(config, exact, value)?;
        }
        if let Some(norm) = config.clip_norm {
            gradients.clip_norm(norm)?;
        }
        if let Some(rate) = scheduled(step) {
            optimizer.set_learning_rate(rate);
        }
        optimizer.step(store, &gradients)?;
        total += value;
        parts.extend(of_step);
    }
    let mut sums = BTreeMap::new();
    for (name, part) in parts {
        *sums.entry(name.to_string()).or_insert(0.0) += scalar(&part)?;
    }
    let count = steps.max(1) as f64;
    let validation = learner.validate(epoch)?;
    if !validation.score.is_finite() {
        return Err(Error::Diverged { epoch, step: steps, value: validation.score });
    }
    Ok(EpochRecord {
        epoch,
        train_loss: total / count,
        train_parts: sums.into_iter().map(|(name, sum)| (name, sum / count)).collect(),
        score: validation.score,
        validation_parts: validation.parts.into_iter().map(|(n, v)| (n.to_string(), v)).collect(),
        scores: learner.scores().into_iter().collect(),
        learning_rate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OptimizerConfig;
    use candle_core::Device;
    use oncograph_nn::optim::AdamWConfig;
    use oncograph_nn::scheduler::PlateauConfig;
    use oncograph_nn::{Linear, Module, Seed};
    use rand::Rng;

    /// Least squares with noisy inputs whose noise depends on epoch and step.
    struct Regression {
        model: Linear,
        seed: Seed,
        calls: usize,
        /// Asks for a stop before this many steps in all.
        stop_after: Option<(usize, StopFlag)>,
    }

    impl Regression {
        fn loss(&self, noise: Option<Seed>) -> Tensor {
            let mut rng = noise.unwrap_or(Seed::new(9)).rng();
            let x: Vec<f32> = (0..12).map(|i| i as f32 / 6.0 - 1.0 + 0.1 * rng.random::<f32>()).collect();
            let x = Tensor::from_vec(x, (6, 2), &Device::Cpu).unwrap();
            let y = (x.sum_keepdim(1).unwrap() * 2.0).unwrap();
            (self.model.forward(&x).unwrap() - y).unwrap().sqr().unwrap().mean_all().unwrap()
        }
    }

    impl Learner for Regression {
        fn steps(&self, _: usize) -> usize {
            3
        }

        fn train_step(&mut self, epoch: usize, step: usize) -> Result<StepLoss> {
            self.calls += 1;
            if let Some((after, stop)) = &self.stop_after
                && self.calls > *after
            {
                stop.request();
            }
            let seed = self.seed.at(epoch as u64).at(step as u64);
            Ok(StepLoss {
                loss: self.loss(Some(seed)),
                parts: vec![("noise", Tensor::new(1f64, &Device::Cpu)?)],
            })
        }

        fn validate(&mut self, _: usize) -> Result<Validation> {
            Ok(Validation { score: f64::from(self.loss(None).to_scalar::<f32>()?), parts: vec![] })
        }
    }

    fn setup(stop_after: Option<(usize, StopFlag)>) -> (ParamStore, Regression) {
        let store = ParamStore::new(Seed::new(5));
        let model = oncograph_nn::linear(2, 1, store.var_builder(DType::F32, &Device::Cpu)).unwrap();
        (store, Regression { model, seed: Seed::new(8), calls: 0, stop_after })
    }

    fn config() -> FitConfig {
        FitConfig::new(9, OptimizerConfig::AdamW(AdamWConfig::new(0.05)))
            .plateau(PlateauConfig::new().patience(1))
            .checkpoint_every(2)
            .clip_norm(1.0)
    }

    fn bits(store: &ParamStore) -> Vec<u32> {
        let values = |v: &candle_core::Var| v.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        store.trainable().iter().flat_map(|(_, v)| values(v)).map(f32::to_bits).collect()
    }

    #[test]
    fn a_run_that_is_stopped_anywhere_ends_with_the_same_bits() {
        let (store, mut learner) = setup(None);
        let whole = fit(&mut learner, &store, &config(), None, &StopFlag::new(), |_| ()).unwrap();
        assert!(whole.history[8].score < whole.history[0].score);
        let expected = bits(&store);
        for stop_after in 0..27 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("checkpoint.safetensors");
            let stop = StopFlag::new();
            let (store, mut learner) = setup(Some((stop_after, stop.clone())));
            let first = fit(&mut learner, &store, &config(), Some(&path), &stop, |_| ());
            assert!(matches!(first, Err(Error::Stopped)) || stop_after == 26);
            let (store, mut learner) = setup(None);
            let mut seen = 0;
            let second =
                fit(&mut learner, &store, &config(), Some(&path), &StopFlag::new(), |_| seen += 1).unwrap();
            assert_eq!(second, whole, "stopped after step {stop_after}");
            assert_eq!(bits(&store), expected);
            assert_eq!(seen, 9);
        }
    }

    #[test]
    fn early_stopping_keeps_the_best_parameters() {
        let (store, mut learner) = setup(None);
        let far = FitConfig::new(50, OptimizerConfig::AdamW(AdamWConfig::new(3.0))).early_stop(2);
        let outcome = fit(&mut learner, &store, &far, None, &StopFlag::new(), |_| ()).unwrap();
        assert_eq!(outcome.history.len(), outcome.best_epoch + 3);
        let score = learner.validate(0).unwrap().score;
        assert_eq!(score, outcome.history[outcome.best_epoch].score);
    }

    #[test]
    fn training_does_not_end_before_its_least_epochs() {
        let (store, mut learner) = setup(None);
        let far =
            FitConfig::new(50, OptimizerConfig::AdamW(AdamWConfig::new(3.0))).early_stop(2).at_least(30);
        let outcome = fit(&mut learner, &store, &far, None, &StopFlag::new(), |_| ()).unwrap();
        assert_eq!(outcome.history.len(), 30.max(outcome.best_epoch + 3));
        assert!(outcome.best_epoch + 3 < 30, "the test is of nothing");
    }

    #[test]
    fn a_replay_has_the_rates_and_parameters_of_the_training() {
        let (store, mut learner) = setup(None);
        let config = FitConfig::new(9, OptimizerConfig::AdamW(AdamWConfig::new(0.05))).step_decay(2, 0.5);
        let outcome = fit(&mut learner, &store, &config, None, &StopFlag::new(), |_| ()).unwrap();
        let kept = &outcome.history[..=outcome.best_epoch];
        let (expected, rates) = (bits(&store), kept.iter().map(|e| e.learning_rate).collect::<Vec<_>>());
        assert!(rates[0] > rates[rates.len() - 1], "the test is of nothing");
        let (store, mut learner) = setup(None);
        let again = config.replay(rates);
        let replayed = fit(&mut learner, &store, &again, None, &StopFlag::new(), |_| ()).unwrap();
        assert_eq!((replayed.history.len(), bits(&store)), (kept.len(), expected));
    }

    #[test]
    fn the_schedule_is_that_of_the_configuration_after_a_stop_too() {
        let config = FitConfig::new(6, OptimizerConfig::AdamW(AdamWConfig::new(0.8)))
            .step_decay(2, 0.5)
            .keep(Keep::Last);
        let rates = [0.8, 0.8, 0.4, 0.4, 0.2, 0.2];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        let stop = StopFlag::new();
        let (store, mut learner) = setup(Some((10, stop.clone())));
        fit(&mut learner, &store, &config, Some(&path), &stop, |_| ()).unwrap_err();
        let (store, mut learner) = setup(None);
        let outcome = fit(&mut learner, &store, &config, Some(&path), &StopFlag::new(), |_| ()).unwrap();
        assert_eq!(outcome.history.iter().map(|e| e.learning_rate).collect::<Vec<_>>(), rates);
        assert_eq!(outcome.best_epoch, 5);
        // The last parameters, not the best.
        assert_eq!(learner.validate(0).unwrap().score, outcome.history[5].score);
        let both = config.plateau(PlateauConfig::new());
        assert_eq!(
            both.validate().unwrap_err().to_string(),
            "FitConfig: plateau must be the only schedule, got step_decay as well"
        );
    }

    /// Two tasks pull one parameter apart: the first is best early, the second late.
    struct Rivals(ParamStore, f64);

    impl Learner for Rivals {
        fn steps(&self, _: usize) -> usize {
            1
        }

        fn train_step(&mut self, _: usize, _: usize) -> Result<StepLoss> {
            let w = self.0.get("w").unwrap();
            Ok(StepLoss { loss: (w.as_tensor() - 1.0)?.sqr()?.sum_all()?, parts: vec![] })
        }

        fn validate(&mut self, _: usize) -> Result<Validation> {
            self.1 = f64::from(self.0.get("w").unwrap().to_vec1::<f32>()?[0]);
            Ok(Validation { score: self.scores().iter().map(|s| s.1).sum(), parts: vec![] })
        }

        fn scores(&self) -> Vec<(String, f64)> {
            vec![("early".into(), (self.1 - 0.2).abs()), ("late/x".into(), (self.1 - 0.9).abs())]
        }
    }

    #[test]
    fn each_score_keeps_the_parameters_of_its_own_best_epoch_after_a_stop_too() {
        let learner = || {
            let store = ParamStore::new(Seed::new(1));
            let vb = store.var_builder(DType::F32, &Device::Cpu);
            vb.get_with_hints(1, "w", candle_nn::Init::Const(0.0)).unwrap();
            Rivals(store, 0.0)
        };
        let sgd = OptimizerConfig::Sgd(oncograph_nn::optim::SgdConfig::new(0.05));
        let config = FitConfig::new(60, sgd).early_stop(4).keep(Keep::BestOfEach);
        let mut whole = learner();
        let store = whole.0.clone();
        let (outcome, best) = fit_each(&mut whole, &store, &config, None, &StopFlag::new(), |_| ()).unwrap();
        let near = |name: &str, v: f32| {
            let w = best[name]["w"].to_vec1::<f32>().unwrap()[0];
            assert!((w - v).abs() < 0.05, "{name}: {w}");
        };
        near("early", 0.2);
        near("late/x", 0.9);
        assert!(outcome.best_of["early"] + 10 < outcome.best_of["late/x"], "{:?}", outcome.best_of);
        // The early task does not end the training of the late one.
        assert_eq!(outcome.history.len(), outcome.best_of["late/x"] + 5);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        let mut first = learner();
        let store = first.0.clone();
        let short = FitConfig { epochs: 7, ..config.clone() };
        fit_each(&mut first, &store, &short, Some(&path), &StopFlag::new(), |_| ()).unwrap();
        let mut second = learner();
        let store = second.0.clone();
        let (again, kept) =
            fit_each(&mut second, &store, &config, Some(&path), &StopFlag::new(), |_| ()).unwrap();
        assert_eq!(again, outcome);
        for (name, parameters) in &kept {
            assert_eq!(
                parameters["w"].to_vec1::<f32>().unwrap(),
                best[name]["w"].to_vec1::<f32>().unwrap(),
                "{name}"
            );
        }
    }

    #[test]
    fn the_rate_rises_over_the_first_steps_and_falls_along_a_cosine() {
        let schedule = crate::WarmupCosine { warmup: 0.25 };
        let factors: Vec<f64> = (0..8).map(|s| schedule.factor(s, 8)).collect();
        assert_eq!(factors[..2], [0.5, 1.0]);
        // Half way between the summit at step 1 and the end, which is one step behind the last.
        assert!(
            (schedule.factor(3, 6) - 0.5 * (1.0 + (std::f64::consts::PI * 2.5 / 5.5).cos())).abs() < 1e-12
        );
        assert!(factors[1..].windows(2).all(|w| w[0] > w[1]) && factors[7] > 0.0);
        let (store, mut learner) = setup(None);
        let config = FitConfig::new(4, OptimizerConfig::AdamW(AdamWConfig::new(0.8))).warmup_cosine(0.25);
        let outcome = fit(&mut learner, &store, &config, None, &StopFlag::new(), |_| ()).unwrap();
        for (e, record) in outcome.history.iter().enumerate() {
            assert_eq!(record.learning_rate, 0.8 * crate::WarmupCosine { warmup: 0.25 }.factor(3 * e, 12));
        }
        let both = config.clone().step_decay(2, 0.5).validate().unwrap_err().to_string();
        assert_eq!(both, "FitConfig: warmup_cosine must be the only schedule, got another as well");
        assert!(config.warmup_cosine(1.0).validate().is_err());
    }

    #[test]
    fn a_damaged_checkpoint_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        std::fs::write(&path, b"not a checkpoint").unwrap();
        let (store, mut learner) = setup(None);
        let error = fit(&mut learner, &store, &config(), Some(&path), &StopFlag::new(), |_| ()).unwrap_err();
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    }
}

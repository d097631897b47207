use crate::{Answers, Result};
use candle_core::Device;
use oncograph_core::{AtFile, Seed};
use oncograph_nn::ParamStore;
use oncograph_train::{EpochRecord, FitConfig, FitOutcome, Learner, Parameters, RunDir, StopFlag, fit_each};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a running job reports after every epoch.
#[derive(Debug, Clone)]
pub struct JobProgress<'a> {
    /// The name of the model.
    pub model: &'a str,
    /// The repetition and the fold, from 0.
    pub place: (usize, usize),
    /// The epoch that is over; `None` when the job is done.
    pub epoch: Option<&'a EpochRecord>,
}

/// One model on one fold: its random stream, its checkpoint and the receiver of its progress.
#[derive(Clone)]
pub struct Job<'a> {
    name: String,
    model: &'a str,
    place: (usize, usize),
    seed: Seed,
    root: Seed,
    device: &'a Device,
    folder: &'a RunDir,
    stop: &'a StopFlag,
    progress: &'a (dyn Fn(&JobProgress<'_>) + Sync),
    history: Vec<EpochRecord>,
    best_epoch: usize,
}

/// What all jobs of a study share.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    pub seed: Seed,
    pub device: &'a Device,
    pub folder: &'a RunDir,
    pub stop: &'a StopFlag,
    pub progress: &'a (dyn Fn(&JobProgress<'_>) + Sync),
}

/// The name of a job, from which its files and its stream of random numbers are named.
pub(crate) fn job_name(model: &str, (repeat, fold): (usize, usize)) -> String {
    format!("{}-{repeat}-{fold}", model.replace([' ', ',', '/'], "_"))
}

impl<'a> Job<'a> {
    pub(crate) fn new(model: &'a str, place: (usize, usize), shared: Shared<'a>) -> Self {
        let name = job_name(model, place);
        Job {
            seed: shared.seed.stream(&name),
            root: shared.seed,
            name,
            model,
            place,
            device: shared.device,
            folder: shared.folder,
            stop: shared.stop,
            progress: shared.progress,
            history: vec![],
            best_epoch: 0,
        }
    }

    /// A job inside this one, for example of a candidate in nested cross-validation or of one task: its own name, seed and
    /// checkpoint. Whoever makes it removes its checkpoint (`file("checkpoint.safetensors")`) when all is done.
    pub fn inner(&self, suffix: &str) -> Job<'a> {
        let name = format!("{}.{suffix}", self.name);
        Job { seed: self.seed.stream(suffix), name, history: vec![], best_epoch: 0, ..self.clone() }
    }

    /// Model, repetition and fold, as its files are called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The repetition and the fold, from 0.
    pub fn place(&self) -> (usize, usize) {
        self.place
    }

    /// The stream of random numbers of this job: it depends on the seed of the study and the name of the job alone.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// The stream that baselines of this repetition and fold draw from.
    pub(crate) fn fold_seed(&self) -> Seed {
        self.root.stream("forest").at(self.place.0 as u64).at(self.place.1 as u64)
    }

    /// Where tensors live.
    pub fn device(&self) -> &Device {
        self.device
    }

    /// The flag that is set when the run shall stop.
    pub fn stop(&self) -> &StopFlag {
        self.stop
    }

    /// A file of this job in the folder of all jobs.
    pub fn file(&self, suffix: &str) -> PathBuf {
        self.folder.file(&format!("{}.{suffix}", self.name))
    }

    /// What this job left in the file `suffix` before it was interrupted, else what `compute` gives, which is kept there. It has been
    /// through JSON either way.
    pub(crate) fn once<T: Serialize + DeserializeOwned>(
        &self,
        suffix: &str,
        compute: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let name = format!("{}.{suffix}", self.name);
        if self.folder.read_json::<T>(&name)?.is_none() {
            self.folder.write_json(&name, &compute()?)?;
        }
        let gone = || AtFile::new(self.folder.file(&name), "deleted while it was in use");
        Ok(self.folder.read_json(&name)?.ok_or_else(gone)?)
    }

    /// Trains `store` by [`oncograph_train::fit_each`] with a checkpoint of this job, so that a run that was killed goes on
    /// to the same bits; the learning curve is kept with the result.
    ///
    /// # Errors
    /// As [`oncograph_train::fit`].
    pub fn train(
        &mut self,
        learner: &mut dyn Learner,
        store: &ParamStore,
        config: &FitConfig,
    ) -> Result<(FitOutcome, BTreeMap<String, Parameters>)> {
        let checkpoint = self.file("checkpoint.safetensors");
        let this = &*self;
        let trained =
            fit_each(learner, store, config, Some(&checkpoint), self.stop, |record| this.report(record))?;
        self.record(&trained.0);
        Ok(trained)
    }

    /// Passes an epoch on to whoever watches the study, for training that does not go through [`Job::train`].
    pub fn report(&self, record: &EpochRecord) {
        (self.progress)(&JobProgress { model: self.model, place: self.place, epoch: Some(record) });
    }

    /// Keeps a learning curve with the result, for training that does not go through [`Job::train`].
    pub fn record(&mut self, outcome: &FitOutcome) {
        self.history.clone_from(&outcome.history);
        self.best_epoch = outcome.best_epoch;
    }

    pub(crate) fn done(&self) {
        (self.progress)(&JobProgress { model: self.model, place: self.place, epoch: None });
        std::fs::remove_file(self.file("checkpoint.safetensors")).ok();
    }

    pub(crate) fn curve(self) -> (Vec<EpochRecord>, usize) {
        (self.history, self.best_epoch)
    }
}

/// The result of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    /// The name of the model.
    pub model: String,
    /// The repetition, from 0.
    pub repeat: usize,
    /// The fold, from 0.
    pub fold: usize,
    /// The rows that were held out.
    pub test: Vec<usize>,
    /// The model's answers for them.
    pub answers: Answers,
    /// By task why there are no answers: a baseline whose fit has no value on the rows of this fold.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unfitted: BTreeMap<String, String>,
    /// What else the model leaves for the report.
    pub extras: serde_json::Value,
    /// Its learning curve; empty for a model that is not trained in epochs.
    pub history: Vec<EpochRecord>,
    /// The position in `history` of the epoch that was kept.
    pub best_epoch: usize,
    /// How many trained parameters it has.
    pub parameters: usize,
}

impl JobResult {
    /// Model, repetition and fold, as the files of the job are called.
    pub fn name(&self) -> String {
        job_name(&self.model, (self.repeat, self.fold))
    }
}

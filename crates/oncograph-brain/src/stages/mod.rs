//! The four stages, each of which writes its own artefact: autoencoder of regions, encoder of tracts, multi-modal network,
//! and what the heads stand on. An artefact's name holds the hash of everything that it depends on, so that a later run takes
//! it from the cache and a changed setting, label or split makes another.

mod attributes;
mod embeddings;
mod key;
mod networks;

pub(crate) use attributes::{matrix, scaled_rows};
pub use embeddings::GliomaEmbeddings;
pub use networks::{AttributeScalers, GliomaNetworks};

use crate::pipeline::{GliomaCohort, Prepared, StageProgress, StageWatch, prepare};
use crate::presets::GliomaConfig;
use crate::{GliomaNet, GliomaNetConfig, GliomaNetData, GliomaNetLearner, Result};
use candle_core::{DType, Device};
use key::Keys;
use oncograph_core::{AtFile, Split};
use oncograph_nn::{ParamStore, Seed};
use oncograph_train::{EpochRecord, FitConfig, Keep, Learner, RunDir, StopFlag, fit};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Time and memory of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageCost {
    /// The stage.
    pub stage: String,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// The most memory that the process has held so far, in MB; `None` where the operating system does not report it.
    pub peak_mb: Option<f64>,
    /// Whether the stage was taken from the cache.
    pub cached: bool,
}

impl StageCost {
    /// The cost of a stage that began at `start` and ends now.
    pub fn since(stage: impl Into<String>, start: Instant, cached: bool) -> Self {
        StageCost { stage: stage.into(), seconds: start.elapsed().as_secs_f64(), peak_mb: peak_mb(), cached }
    }
}

fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kb| kb / 1024.0)
}

/// The learning curve of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageCurve {
    /// The stage.
    pub stage: String,
    /// Its epochs.
    pub history: Vec<EpochRecord>,
}

/// A multi-modal network that was trained on half A, and every patient's embeddings.
#[derive(Debug)]
pub struct TrainedGliomaNet {
    /// The network.
    pub net: GliomaNet,
    /// The name of its artefact.
    pub name: String,
    /// u^T and u^B of every patient.
    pub embeddings: GliomaEmbeddings,
}

/// The shared stages of the system: computed once for a cohort and split, kept on disk, and used by every head.
pub struct GliomaStages<'a> {
    config: GliomaConfig,
    cache: RunDir,
    device: Device,
    pub(crate) stop: StopFlag,
    watch: Box<StageWatch<'a>>,
    prepared: Mutex<HashMap<String, Arc<Vec<Prepared>>>>,
    networks: Mutex<HashMap<String, Arc<GliomaNetworks>>>,
    nets: Mutex<HashMap<String, Arc<TrainedGliomaNet>>>,
    spent: Mutex<(Vec<StageCost>, Vec<StageCurve>)>,
}

/// Each value is written whole, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> GliomaStages<'a> {
    /// Stages with these settings whose artefacts are kept in the folder `cache`.
    ///
    /// # Errors
    /// As [`GliomaConfig::validate`]; a folder that cannot be made.
    pub fn new(config: &GliomaConfig, cache: &Path, device: &Device, stop: &StopFlag) -> Result<Self> {
        config.validate()?;
        std::fs::create_dir_all(cache).map_err(|e| AtFile::new(cache, e).during("create"))?;
        Ok(GliomaStages {
            config: config.clone(),
            cache: RunDir::open(cache)?,
            device: device.clone(),
            stop: stop.clone(),
            watch: Box::new(|_| ()),
            prepared: Mutex::default(),
            networks: Mutex::default(),
            nets: Mutex::default(),
            spent: Mutex::default(),
        })
    }

    /// Sets what is called as a stage goes on.
    pub fn on_progress(mut self, watch: impl Fn(&StageProgress<'_>) + Sync + 'a) -> Self {
        self.watch = Box::new(watch);
        self
    }

    /// The settings.
    pub fn config(&self) -> &GliomaConfig {
        &self.config
    }

    /// Where tensors live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The folder of the artefacts.
    pub fn cache(&self) -> &Path {
        self.cache.path()
    }

    /// Time and memory of the stages so far.
    pub fn costs(&self) -> Vec<StageCost> {
        lock(&self.spent).0.clone()
    }

    /// The learning curves of the stages so far.
    pub fn curves(&self) -> Vec<StageCurve> {
        lock(&self.spent).1.clone()
    }

    /// Keeps the cost of a stage that began at `start` and ends now.
    pub fn spend(&self, stage: &str, start: Instant, cached: bool) {
        lock(&self.spent).0.push(StageCost::since(stage, start, cached));
    }

    pub(crate) fn seed(&self) -> Seed {
        Seed::new(self.config.seed)
    }

    pub(crate) fn report(&self, stage: &str, done: usize, total: usize, epoch: Option<&EpochRecord>) {
        (self.watch)(&StageProgress { stage, done, of: total, epoch });
    }

    /// What the encoders take of every patient.
    pub(crate) fn prepared(&self, cohort: &GliomaCohort) -> Result<Arc<Vec<Prepared>>> {
        let key = Keys::new(&self.config, cohort)?.data();
        let mut known = lock(&self.prepared);
        if let Some(found) = known.get(&key) {
            return Ok(found.clone());
        }
        let start = Instant::now();
        let seed = self.seed().stream("prepare");
        let done = AtomicUsize::new(0);
        let total = cohort.subjects.len();
        let one = |i: usize| {
            let subject = &cohort.subjects[i];
            let prepared = prepare(subject, &cohort.atlas, &self.config.prepare, seed.stream(&subject.id));
            self.report("preparing", done.fetch_add(1, Ordering::Relaxed) + 1, total, None);
            prepared
        };
        let all: Vec<Result<Prepared>> = (0..total).into_par_iter().map(one).collect();
        let prepared = Arc::new(all.into_iter().collect::<Result<Vec<_>>>()?);
        self.spend("preparation", start, false);
        known.insert(key, prepared.clone());
        Ok(prepared)
    }

    /// Trains `store` through its learner, or takes the artefact `name` from the cache.
    fn train(
        &self,
        stage: &str,
        name: &str,
        learner: &mut dyn Learner,
        store: &ParamStore,
        config: &FitConfig,
    ) -> Result<()> {
        let start = Instant::now();
        let (weights, curve) =
            (self.cache.file(&format!("{name}.safetensors")), format!("{name}.curve.json"));
        let keep = |history, cached| {
            lock(&self.spent).1.push(StageCurve { stage: stage.into(), history });
            self.spend(stage, start, cached);
        };
        if let Some(history) = self.cache.read_json(&curve)? {
            store.load(&weights).map_err(|e| AtFile::new(&weights, e))?;
            keep(history, true);
            return Ok(());
        }
        let checkpoint = self.cache.file(&format!("{name}.checkpoint.safetensors"));
        let outcome = fit(learner, store, config, Some(&checkpoint), &self.stop, |record| {
            self.report(stage, record.epoch + 1, config.epochs, Some(record));
        })?;
        store.save(&weights)?;
        // The curve is the last thing written: until it is there, the stage is not done.
        self.cache.write_json(&curve, &outcome.history)?;
        std::fs::remove_file(&checkpoint).ok();
        keep(outcome.history, false);
        Ok(())
    }

    /// The scans of some of a stage's training patients, drawn, to decide which epoch is kept.
    fn held_out(&self, cohort: &GliomaCohort, rows: &[usize], seed: Seed) -> Vec<usize> {
        let patients = cohort.patients(rows);
        let count = (self.config.validation * patients.members().len() as f64).round() as usize;
        let [held, _] = patients.draw(count, seed.stream("validation"));
        held
    }

    /// Stage 3: a multi-modal network, trained on half A, that is `split.train`.
    ///
    /// # Errors
    /// An error of a stage; a request to stop.
    pub fn net(
        &self,
        cohort: &GliomaCohort,
        split: &Split,
        config: &GliomaNetConfig,
    ) -> Result<Arc<TrainedGliomaNet>> {
        let networks = self.networks(cohort, split)?;
        let name = Keys::new(&self.config, cohort)?.net(config, split, &networks.key)?;
        let mut known = lock(&self.nets);
        if let Some(found) = known.get(&name) {
            return Ok(found.clone());
        }
        let seed = self.seed().stream("multi-modal");
        let store = ParamStore::new(seed);
        let net = config.build(store.var_builder(DType::F32, &self.device))?;
        let half = &split.train;
        let held: Vec<usize> = match self.config.model_fit.keep {
            Keep::Best => self.held_out(cohort, half, seed),
            _ => vec![],
        };
        let train = half.iter().copied().filter(|i| !held.contains(i)).collect();
        let labels = cohort.mutants(&(0..cohort.subjects.len()).collect::<Vec<_>>());
        let training = self.config.model_training.clone();
        let tumours = &networks.tumours;
        let data = GliomaNetData { tumours, mutants: &labels };
        let inner = Split::new(train, held, vec![]);
        let mut learner = GliomaNetLearner::new(&net, data, &inner, training, seed, &self.device)?;
        self.train("3 multi-modal", &name, &mut learner, &store, &self.config.model_fit)?;
        drop(learner);
        let start = Instant::now();
        let embeddings = GliomaEmbeddings::new(&net, tumours, &self.device)?;
        self.spend("embeddings", start, false);
        let trained = Arc::new(TrainedGliomaNet { net, name: name.clone(), embeddings });
        known.insert(name, trained.clone());
        Ok(trained)
    }
}

impl std::fmt::Debug for GliomaStages<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GliomaStages").field("cache", &self.cache.path()).finish_non_exhaustive()
    }
}

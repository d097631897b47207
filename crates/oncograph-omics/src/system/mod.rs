//! The network and the models that it is compared with, as systems of a study.

mod extras;
mod federation;
mod network;

pub use extras::{GridRow, OmicsExtras, modality_grid};

use crate::predictor::{FoldFile, SurvivalCalibration, temperature};
use crate::trained::{TaskModel, TrainedOmics};
use crate::{MemoryCohort, OmicsStudyCohort, OmicsSystemConfig, OmicsVariant, Result};
use network::Network;
use oncograph_core::{Seed, Split};
use oncograph_study::{Answers, Cohort, Fitted, Job, System, Target};
use oncograph_train::Parameters;
use std::collections::BTreeMap;

/// The multi-modal network, or a model that it is compared with, from tables to answers.
///
/// # Example
/// See the README of this crate.
#[derive(Debug, Clone, PartialEq)]
pub struct OmicsSystem {
    config: OmicsSystemConfig,
    variant: OmicsVariant,
}

impl OmicsSystem {
    /// The network.
    pub fn new(config: OmicsSystemConfig) -> Self {
        OmicsSystem { config, variant: OmicsVariant::Full }
    }

    /// Sets what is trained.
    pub fn variant(mut self, variant: OmicsVariant) -> Self {
        self.variant = variant;
        self
    }

    /// The network on edges at random: does the graph help?
    pub fn shuffled_edges(self) -> Self {
        self.variant(OmicsVariant::ShuffledEdges)
    }

    /// One modality without a graph.
    pub fn unimodal(self, modality: impl Into<String>) -> Self {
        self.variant(OmicsVariant::Unimodal(modality.into()))
    }

    /// Attention over modality vectors without a graph.
    pub fn attention_fusion(self) -> Self {
        self.variant(OmicsVariant::AttentionFusion)
    }

    /// The name in tables and files, from which the stream of random numbers is named too.
    pub fn name(&self) -> String {
        self.variant.name()
    }

    /// The configuration.
    pub fn config(&self) -> &OmicsSystemConfig {
        &self.config
    }

    /// Whether this is the network itself, whose models a bundle holds.
    pub(crate) fn is_full(&self) -> bool {
        self.variant == OmicsVariant::Full
    }

    fn train(&self, data: &OmicsStudyCohort, split: &Split, job: &mut Job<'_>) -> Result<OmicsFitted> {
        self.config.validate()?;
        if self.variant == OmicsVariant::SingleTasks {
            return self.train_single_tasks(data, split, job);
        }
        let mut split = split.clone();
        if let OmicsVariant::CentreAlone(centre) = &self.variant {
            split.train = federation::of_centre(data, centre, &split.train)?;
            split.validation = federation::of_centre(data, centre, &split.validation)?;
        }
        let network = self.network(data, &split, None, job)?;
        let (best, sent) = match self.variant.federated() {
            Some(mu) => {
                let sent = federation::train(&network, data, &split, &self.config.fit, mu, job)?;
                (BTreeMap::new(), sent)
            }
            None => (train_one(&network, &split, &self.config, job)?, 0),
        };
        let parameters = network.store.parameter_count();
        let trained = TrainedOmics {
            models: network.answering(&best, job.device())?,
            pipeline: network.pipeline,
            batch: self.config.batch,
        };
        let mut fitted = OmicsFitted {
            parameters,
            flops: trained.flops(),
            trained,
            calibration: BTreeMap::new(),
            temperature: BTreeMap::new(),
            full: self.is_full(),
            // Integrated gradients take as long as some epochs: once is enough.
            attributed: self.is_full() && job.place().0 == 0,
            sent,
            device: job.device().clone(),
        };
        if fitted.full {
            fitted.calibrate(data, &split.validation, job.seed().stream("calibration"))?;
        }
        Ok(fitted)
    }

    /// One network for each task, one after the other.
    fn train_single_tasks(
        &self,
        data: &OmicsStudyCohort,
        split: &Split,
        job: &mut Job<'_>,
    ) -> Result<OmicsFitted> {
        let (mut models, mut parameters, mut flops, mut pipeline) = (vec![], 0, 0, None);
        for task in data.tasks() {
            let mut inner = job.inner(&task.name);
            let network = self.network(data, split, Some(&task.name), &inner)?;
            let best = train_one(&network, split, &self.config, &mut inner)?;
            let own = network.answering(&best, job.device())?;
            flops += own.first().map_or(0, TaskModel::flops);
            models.extend(own);
            parameters += network.store.parameter_count();
            pipeline = Some(network.pipeline);
        }
        let none = || crate::Error::input("tasks", "at least one", 0);
        let pipeline = pipeline.ok_or_else(none)?;
        for task in data.tasks() {
            std::fs::remove_file(job.inner(&task.name).file("checkpoint.safetensors")).ok();
        }
        Ok(OmicsFitted {
            trained: TrainedOmics { models, pipeline, batch: self.config.batch },
            flops,
            calibration: BTreeMap::new(),
            temperature: BTreeMap::new(),
            full: false,
            attributed: false,
            sent: 0,
            parameters,
            device: job.device().clone(),
        })
    }

    fn network(
        &self,
        data: &OmicsStudyCohort,
        split: &Split,
        only: Option<&str>,
        job: &Job<'_>,
    ) -> Result<Network> {
        Network::new((&self.config, &self.variant), data, &split.train, only, (job.seed(), job.device()))
    }
}

fn train_one(
    network: &Network,
    split: &Split,
    config: &OmicsSystemConfig,
    job: &mut Job<'_>,
) -> Result<BTreeMap<String, Parameters>> {
    let mut learner = network.learner(split)?;
    Ok(job.train(&mut learner, &network.store, &config.fit)?.1)
}

impl System for OmicsSystem {
    type Data = OmicsStudyCohort;
    type Fitted = OmicsFitted;

    fn fit(
        &self,
        data: &OmicsStudyCohort,
        split: &Split,
        job: &mut Job<'_>,
    ) -> oncograph_study::Result<OmicsFitted> {
        Ok(self.train(data, split, job)?)
    }
}

/// A trained model of an [`OmicsSystem`].
pub struct OmicsFitted {
    trained: TrainedOmics,
    calibration: BTreeMap<String, SurvivalCalibration>,
    temperature: BTreeMap<String, f64>,
    flops: u64,
    full: bool,
    attributed: bool,
    sent: usize,
    parameters: usize,
    device: candle_core::Device,
}

impl OmicsFitted {
    fn source(&self, data: &OmicsStudyCohort) -> Result<MemoryCohort> {
        self.trained.pipeline.cohort(&data.dataset().cohort, &self.device)
    }

    /// Cox models of the predicted risk and temperatures of probabilities, on patients that the network was not trained on.
    fn calibrate(&mut self, data: &OmicsStudyCohort, patients: &[usize], seed: Seed) -> Result<()> {
        let answers = self.trained.answers(&self.source(data)?, patients)?;
        for task in self.trained.models.iter().map(|m| &m.task.name) {
            let (Some(known), Some(own)) = (data.task(task), answers.get(task)) else { continue };
            if let Target::Survival(times) = &known.target {
                let known = patients.iter().zip(own).filter_map(|(p, answer)| Some((times[*p]?, answer)));
                let fit = SurvivalCalibration::fit(known, seed.stream(task));
                self.calibration.extend(fit.map(|fit| (task.clone(), fit)));
            } else {
                let fit = temperature(&known.target, patients, own);
                self.temperature.extend(fit.map(|t| (task.clone(), t)));
            }
        }
        Ok(())
    }
}

impl Fitted<OmicsStudyCohort> for OmicsFitted {
    fn answer(&self, data: &OmicsStudyCohort, rows: &[usize]) -> oncograph_study::Result<Answers> {
        Ok(self.trained.answers(&self.source(data)?, rows)?)
    }

    fn extras(&self, data: &OmicsStudyCohort, rows: &[usize]) -> oncograph_study::Result<serde_json::Value> {
        let source = self.source(data)?;
        let mut extras = OmicsExtras {
            importance: self.trained.importance(&source, rows, None)?,
            flops: self.flops,
            sent: self.sent,
            ..OmicsExtras::default()
        };
        if self.full {
            extras.grid = self.trained.grid(&source, rows)?;
        }
        if self.attributed {
            extras.shares = self.trained.shares(&source, rows)?;
        }
        serde_json::to_value(extras).map_err(oncograph_study::Error::system)
    }

    /// Of the network, what a bundle takes over: `pipeline.json` and `TASK.safetensors`.
    fn files(&self) -> oncograph_study::Result<Vec<(String, Vec<u8>)>> {
        if !self.full {
            return Ok(vec![]);
        }
        let file = FoldFile {
            pipeline: self.trained.pipeline.clone(),
            calibration: self.calibration.clone(),
            temperature: self.temperature.clone(),
        };
        let json = serde_json::to_vec(&file).map_err(oncograph_study::Error::system)?;
        let mut files = vec![("pipeline.json".to_string(), json)];
        for model in &self.trained.models {
            let bytes = safetensors::serialize(&model.parameters, None);
            let bytes = bytes.map_err(oncograph_study::Error::system)?;
            files.push((format!("{}.safetensors", model.task.name), bytes));
        }
        Ok(files)
    }

    fn parameters(&self) -> usize {
        self.parameters
    }
}

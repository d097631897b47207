//! The network and the models that it is compared with, as systems of a study.

mod extras;
mod federation;
mod network;

pub use extras::{GridRow, OmicsExtras, modality_grid};

use crate::predictor::{FoldFile, SurvivalCalibration};
use crate::trained::TrainedOmics;
use crate::{MemoryCohort, OmicsStudyCohort, OmicsSystemConfig, OmicsVariant, Result, TaskConfig};
use network::Network;
use oncograph_core::Split;
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
        let mut fitted = OmicsFitted {
            parameters: network.store.parameter_count(),
            trained: TrainedOmics {
                models: network.answering(&best, job.device())?,
                pipeline: network.pipeline,
                batch: self.config.batch,
            },
            calibration: BTreeMap::new(),
            full: self.is_full(),
            // Integrated gradients take as long as some epochs: once is enough.
            attributed: self.is_full() && job.place().0 == 0,
            sent,
            device: job.device().clone(),
        };
        if fitted.full {
            fitted.calibration = fitted.calibrated(data, &split.validation)?;
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
        let (mut models, mut parameters, mut pipeline) = (vec![], 0, None);
        for task in data.tasks() {
            let mut inner = job.inner(&task.name);
            let network = self.network(data, split, Some(&task.name), &inner)?;
            let best = train_one(&network, split, &self.config, &mut inner)?;
            models.extend(network.answering(&best, job.device())?);
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
            calibration: BTreeMap::new(),
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

    /// Cox models of the predicted risk on patients that the network was not trained on.
    fn calibrated(
        &self,
        data: &OmicsStudyCohort,
        patients: &[usize],
    ) -> Result<BTreeMap<String, SurvivalCalibration>> {
        let answers = self.trained.answers(&self.source(data)?, patients)?;
        let one = |task: &TaskConfig| {
            let Target::Survival(times) = &data.task(&task.name)?.target else { return None };
            let own = answers.get(&task.name)?;
            let known = patients.iter().zip(own).filter_map(|(p, answer)| Some((times[*p]?, answer)));
            Some((task.name.clone(), SurvivalCalibration::fit(known)?))
        };
        Ok(self.trained.models.iter().filter_map(|m| one(&m.task)).collect())
    }
}

impl Fitted<OmicsStudyCohort> for OmicsFitted {
    fn answer(&self, data: &OmicsStudyCohort, rows: &[usize]) -> oncograph_study::Result<Answers> {
        Ok(self.trained.answers(&self.source(data)?, rows)?)
    }

    fn extras(&self, data: &OmicsStudyCohort, rows: &[usize]) -> oncograph_study::Result<serde_json::Value> {
        let source = self.source(data)?;
        let mut extras = OmicsExtras {
            importance: self.trained.importance(&source, rows)?,
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
        let file =
            FoldFile { pipeline: self.trained.pipeline.clone(), calibration: self.calibration.clone() };
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

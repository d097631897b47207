use crate::pipeline::GliomaCohort;
use crate::presets::GliomaConfig;
use crate::{GliomaNetConfig, Result};
use oncograph_core::Split;
use oncograph_datasets::cache::CacheKey;
use oncograph_study::Cohort;
use serde::Serialize;
use std::path::Path;

/// The names of artefacts: stage, and a hash of its settings, of the patients and labels that it is trained on, and of the
/// artefact that it is built on.
pub(super) struct Keys<'a> {
    config: &'a GliomaConfig,
    cohort: &'a GliomaCohort,
    data: String,
}

/// Hexadecimal digits of a hash in a name.
const DIGITS: usize = 16;

fn key(stage: &str, settings: &impl Serialize, upstream: &str) -> Result<String> {
    let none: [&Path; 0] = [];
    let key = CacheKey::new(&none, &(settings, upstream), stage)?;
    Ok(format!("{stage}-{}", &key.hex()[..DIGITS]))
}

impl<'a> Keys<'a> {
    pub fn new(config: &'a GliomaConfig, cohort: &'a GliomaCohort) -> Result<Self> {
        // Seeds are drawn from identifiers: they are part of what a patient's values depend on.
        let data = key("data", &(&config.prepare, config.seed, cohort.ids()), cohort.images())?;
        Ok(Keys { config, cohort, data })
    }

    pub fn data(self) -> String {
        self.data
    }

    /// Stage 1, trained on the patients `rows`.
    pub fn autoencoder(&self, rows: &[usize]) -> Result<String> {
        let c = self.config;
        let who = self.cohort.ids_of(rows);
        key("autoencoder", &(&c.autoencoder, &c.autoencoder_fit, c.validation, who), &self.data)
    }

    /// Stage 2, trained on the same patients.
    pub fn tracts(&self, autoencoder: &str) -> Result<String> {
        key("tracts", &(&self.config.tracts, &self.config.tracts_fit), autoencoder)
    }

    /// Every patient's network; the scalers are fitted on half A.
    pub fn networks(&self, split: &Split, tracts: &str) -> Result<String> {
        key("networks", &(self.config.scale_attributes, self.cohort.ids_of(&split.train)), tracts)
    }

    /// Stage 3, trained on the labels of half A.
    pub fn net(&self, model: &GliomaNetConfig, split: &Split, networks: &str) -> Result<String> {
        let c = self.config;
        let half: Vec<(&str, Option<bool>)> =
            split.train.iter().map(|&i| (self.cohort.ids()[i].as_str(), self.cohort.idh(i))).collect();
        key("multimodal", &(model, &c.model_training, &c.model_fit, c.validation, half), networks)
    }
}

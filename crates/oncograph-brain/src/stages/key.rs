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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GliomaPreset, GliomaSource};
    use oncograph_datasets::glioma::GliomaPhantomConfig;
    use oncograph_train::StopFlag;

    fn config() -> GliomaConfig {
        let mut phantom = GliomaPhantomConfig::new(9, 1);
        (phantom.unlabelled, phantom.shape, phantom.regions, phantom.tracts) = (1, [16, 18, 16], 10, 12);
        GliomaConfig::preset(GliomaPreset::Quick, GliomaSource::Phantom(phantom), 1)
    }

    /// The names of stages 1, 2 and 3.
    fn names(config: &GliomaConfig, cohort: &GliomaCohort, split: &Split) -> [String; 3] {
        let keys = Keys::new(config, cohort).unwrap();
        let autoencoder = keys.autoencoder(&cohort.unlabelled()).unwrap();
        let tracts = keys.tracts(&autoencoder).unwrap();
        let networks = keys.networks(split, &tracts).unwrap();
        let net = keys.net(&config.model, split, &networks).unwrap();
        [autoencoder, tracts, net]
    }

    #[test]
    fn names_change_with_settings_images_labels_and_split() {
        let folder = tempfile::tempdir().unwrap();
        let config = config();
        let opened = config.source.open(folder.path(), &StopFlag::new(), &|_| ()).unwrap();
        let idh =
            [None, Some(true), Some(false), Some(true), Some(false), Some(true), Some(false), Some(true)];
        let idh = [&idh[..], &[Some(false), Some(true)]].concat();
        let with = |idh: &[Option<bool>], images: &str| {
            GliomaCohort::new(opened.atlas.clone(), opened.subjects.clone(), idh, images).unwrap()
        };
        let (cohort, split) = (with(&idh, "a"), Split::new(vec![1, 2, 3, 4], vec![5, 6], vec![7, 8]));
        let base = names(&config, &cohort, &split);
        assert_eq!(base, names(&config, &with(&idh, "a"), &split));
        let changed = |other: [String; 3]| [0, 1, 2].map(|k| other[k] != base[k]);

        // Images, the settings that prepare them, and the seed: everything.
        assert_eq!(changed(names(&config, &with(&idh, "b"), &split)), [true; 3]);
        let mut other = config.clone();
        other.prepare.values += 1;
        assert_eq!(changed(names(&other, &cohort, &split)), [true; 3]);
        let other = GliomaConfig { seed: 2, ..config.clone() };
        assert_eq!(changed(names(&other, &cohort, &split)), [true; 3]);
        // Settings of a stage: that stage and those above it.
        let mut other = config.clone();
        other.tracts_fit.fit.epochs += 1;
        assert_eq!(changed(names(&other, &cohort, &split)), [false, true, true]);
        let mut other = config.clone();
        other.model = other.model.attention(false, true);
        assert_eq!(changed(names(&other, &cohort, &split)), [false, false, true]);
        // Labels, as another table or another mapping of names gives them.
        let mut swapped = idh.clone();
        swapped.swap(1, 2);
        assert_eq!(changed(names(&config, &with(&swapped, "a"), &split)), [false, false, true]);
        let mut untested = idh.clone();
        untested[9] = None;
        assert_eq!(changed(names(&config, &with(&untested, "a"), &split)), [true; 3]);
        // Who is in half A; half B and the test patients are in no stage.
        let moved = Split::new(vec![1, 2, 3, 6], vec![5, 4], vec![7, 8]);
        assert_eq!(changed(names(&config, &cohort, &moved)), [false, false, true]);
        let later = Split::new(vec![1, 2, 3, 4], vec![5, 8], vec![7, 6]);
        assert_eq!(changed(names(&config, &cohort, &later)), [false; 3]);
    }
}

use crate::pipeline::GliomaCohort;
use crate::presets::GliomaConfig;
use crate::{GliomaNetConfig, Result};
use oncograph_core::Split;
use oncograph_datasets::cache::CacheKey;
use oncograph_study::Cohort;
use serde::Serialize;

/// The names of artefacts: stage, and a hash of its settings, of the patients and labels that it is trained on, of the
/// artefact that it is built on, and of the version of the code.
pub(super) struct Keys<'a> {
    config: &'a GliomaConfig,
    cohort: &'a GliomaCohort,
    data: String,
}

/// Hexadecimal digits of a hash in a name.
const DIGITS: usize = 16;

/// Changes with every change to what a stage computes from the same inputs.
const VERSION: u32 = 2;

fn key(stage: &str, settings: &impl Serialize, upstream: &str) -> Result<String> {
    let key = CacheKey::of(&(settings, upstream), &format!("{stage} {VERSION}"))?;
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
    use crate::{GliomaPreset, GliomaSource, GliomaStages, GliomaSubject};
    use candle_core::Device;
    use oncograph_datasets::glioma::{BrainAtlas, GliomaPhantomConfig};
    use oncograph_train::StopFlag;

    fn config() -> GliomaConfig {
        let mut phantom = GliomaPhantomConfig::new(9, 1);
        (phantom.unlabelled, phantom.shape, phantom.regions, phantom.tracts) = (1, [16, 18, 16], 10, 12);
        GliomaConfig::preset(GliomaPreset::Quick, GliomaSource::Phantom(phantom), 1)
    }

    type Edit = fn(&mut BrainAtlas, &mut Vec<GliomaSubject>);

    /// One change of an input each.
    const EDITS: [Edit; 7] = [
        |_, s| s[8].volumes[2] = s[8].volumes[2].map(|v| v + 1e-3),
        |_, s| s[8].tumour = s[7].tumour.clone(),
        |_, s| s[0].anisotropy = s[0].anisotropy.as_ref().map(|fa| fa.map(|v| v + 1e-3)),
        |_, s| s[8].anisotropy = s[0].anisotropy.clone(),
        |a, _| a.tracts[0].voxels.truncate(1),
        |_, s| s[8].id = "another".into(),
        |_, s| {
            let volumes = s[8].volumes.clone();
            s[8].volumes = s[7].volumes.clone();
            s[7].volumes = volumes;
        },
    ];

    /// The names of stages 1, 2 and 3.
    fn names(config: &GliomaConfig, cohort: &GliomaCohort, split: &Split) -> [String; 3] {
        let keys = Keys::new(config, cohort).unwrap();
        let stages =
            GliomaStages::new(config, &std::env::temp_dir(), &Device::Cpu, &StopFlag::new()).unwrap();
        let autoencoder = keys.autoencoder(&stages.network_rows(cohort, split).unwrap()).unwrap();
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
        let with = |idh: &[Option<bool>]| {
            GliomaCohort::new(opened.atlas.clone(), opened.subjects.clone(), idh).unwrap()
        };
        let (cohort, split) = (with(&idh), Split::new(vec![1, 2, 3, 4], vec![5, 6], vec![7, 8]));
        let base = names(&config, &cohort, &split);
        assert_eq!(base, names(&config, &with(&idh), &split));
        let changed = |other: [String; 3]| [0, 1, 2].map(|k| other[k] != base[k]);

        // A voxel of any image, the mask, the atlas, who an image is of, the settings that prepare them, and the seed: everything.
        for edit in EDITS {
            let (mut atlas, mut subjects) = (opened.atlas.clone(), opened.subjects.clone());
            edit(&mut atlas, &mut subjects);
            let other = GliomaCohort::new(atlas, subjects, &idh).unwrap();
            assert_eq!(changed(names(&config, &other, &split)), [true; 3]);
        }
        let mut other = config.clone();
        other.prepare.points += 1;
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
        assert_eq!(changed(names(&config, &with(&swapped), &split)), [false, false, true]);
        let mut untested = idh.clone();
        untested[9] = None;
        assert_eq!(changed(names(&config, &with(&untested), &split)), [true; 3]);
        // Who is in half A; half B and the test patients are in no stage.
        let moved = Split::new(vec![1, 2, 3, 6], vec![5, 4], vec![7, 8]);
        assert_eq!(changed(names(&config, &cohort, &moved)), [false, false, true]);
        let later = Split::new(vec![1, 2, 3, 4], vec![5, 8], vec![7, 6]);
        assert_eq!(changed(names(&config, &cohort, &later)), [false; 3]);
    }
}

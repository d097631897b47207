use super::attributes::{Attributes, matrix, scale};
use super::key::Keys;
use super::{GliomaStages, lock};
use crate::pipeline::{GliomaCohort, Voxels, voxels};
use crate::presets::{NetworkPatients, StageFit};
use crate::{
    Autoencoder, AutoencoderLearner, BrainNetwork, Error, Result, StoredNetwork, TractData, TractEncoder,
    TractLearner, Tumour,
};
use candle_core::DType;
use oncograph_core::{AtFile, Split};
use oncograph_datasets::scaler::ZScore;
use oncograph_nn::ParamStore;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The scalers of the attributes of regions and tracts, fitted on half A.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttributeScalers {
    /// Of regions.
    pub regions: ZScore,
    /// Of tracts.
    pub tracts: ZScore,
}

/// Every patient as the multi-modal network takes it: image, surface, incidence and brain network.
#[derive(Debug)]
pub struct GliomaNetworks {
    /// The patients.
    pub tumours: Vec<Tumour>,
    /// The name of the autoencoder's artefact.
    pub autoencoder: String,
    /// The name of the tract encoder's artefact.
    pub tracts: String,
    /// The scalers of the attributes, if they are scaled.
    pub scalers: Option<AttributeScalers>,
    /// The hash of all that the networks depend on.
    pub(super) key: String,
}

impl GliomaNetworks {
    /// Writes the network and the surface points of every patient of the cohort to `folder`, a file each ([`StoredNetwork`]) that has the
    /// hash of what the networks depend on.
    ///
    /// # Errors
    /// A cohort of other patients; a folder or a file that cannot be written.
    pub fn write(&self, cohort: &GliomaCohort, folder: &Path) -> Result<()> {
        if cohort.subjects.len() != self.tumours.len() {
            return Err(Error::input(
                "GliomaNetworks",
                format!("{} patients", self.tumours.len()),
                cohort.subjects.len(),
            ));
        }
        std::fs::create_dir_all(folder).map_err(|e| AtFile::new(folder, e).during("create"))?;
        for (subject, tumour) in cohort.subjects.iter().zip(&self.tumours) {
            let stored = StoredNetwork::new(&subject.id, &cohort.atlas, tumour, &self.key);
            stored.write(folder.join(format!("{}.safetensors", subject.id)))?;
        }
        Ok(())
    }

    /// The hash of all that the networks depend on: images, settings, atlas and the encoders that were trained.
    pub fn content(&self) -> &str {
        &self.key
    }
}

/// The rows of some patients in a table with `each` rows for each.
fn rows_of(patient: usize, each: usize) -> impl Iterator<Item = u32> {
    (patient * each..(patient + 1) * each).map(|r| r as u32)
}

impl GliomaStages<'_> {
    /// The scans that train the encoders of regions and tracts, by [`GliomaConfig::network_patients`](crate::GliomaConfig): never one
    /// of a patient who has another scan in half B or among the test patients.
    ///
    /// # Errors
    /// No such scan, or none of them with fractional anisotropy.
    pub fn network_rows(&self, cohort: &GliomaCohort, split: &Split) -> Result<Vec<usize>> {
        let (setting, unlabelled) = (self.config.network_patients, cohort.unlabelled());
        let unlabelled = || unlabelled.iter().copied();
        let rows: Vec<usize> = match setting {
            NetworkPatients::Unlabelled => unlabelled().collect(),
            NetworkPatients::HalfA => split.train.clone(),
            NetworkPatients::UnlabelledAndHalfA => unlabelled().chain(split.train.iter().copied()).collect(),
        };
        let held = [&split.validation[..], &split.test].concat();
        let mut rows = cohort.apart_from(&rows, &held);
        rows.sort_unstable();
        let argument = |expected: &str, got: &str| {
            let op = "GliomaConfig";
            Error::config(
                op,
                "network_patients (--network-patients)",
                expected,
                format!("{setting:?}: {got}"),
            )
        };
        if rows.is_empty() {
            return Err(argument("a choice that somebody of the cohort belongs to", "nobody"));
        }
        if rows.iter().all(|&i| cohort.subjects[i].anisotropy.is_none()) {
            let expected = "a choice with somebody who has a map of fractional anisotropy, for stage 2";
            return Err(argument(expected, "nobody of them has one"));
        }
        Ok(rows)
    }

    /// Stages 1 and 2: the brain network of every patient, with tumour image and surface.
    ///
    /// # Errors
    /// As [`GliomaStages::network_rows`]; an error of a stage; a request to stop.
    pub fn networks(&self, cohort: &GliomaCohort, split: &Split) -> Result<Arc<GliomaNetworks>> {
        let rows = self.network_rows(cohort, split)?;
        let prepared = self.prepared(cohort)?;
        let keys = Keys::new(&self.config, cohort)?;
        let autoencoder = keys.autoencoder(&rows)?;
        let tracts = keys.tracts(&autoencoder)?;
        let key = keys.networks(split, &tracts)?;
        let mut known = lock(&self.networks);
        if let Some(found) = known.get(&key) {
            return Ok(found.clone());
        }
        let seen = rows.par_iter().map(|&i| self.voxels(cohort, i)).collect::<Result<Vec<_>>>()?;
        let held = self.held_out(cohort, &rows, self.seed().stream("networks"));
        let place = |row: &usize| rows.iter().position(|r| r == row);
        let held: Vec<usize> = held.iter().filter_map(place).collect();
        let regions_encoder = self.train_autoencoder(&autoencoder, &seen, &held, cohort)?;
        let tract_encoder = self.train_tracts(&tracts, &seen, &held, cohort)?;
        drop(seen);
        let start = Instant::now();
        let mut attributes = vec![];
        for i in 0..cohort.subjects.len() {
            attributes.push(self.attributes(&self.voxels(cohort, i)?, &regions_encoder, &tract_encoder)?);
        }
        let scalers = match self.config.scale_attributes {
            true => Some(scale(&mut attributes, &split.train)?),
            false => None,
        };
        let pairs: Vec<[u32; 2]> = cohort.atlas.tracts.iter().map(|t| t.pair).collect();
        let width = self.config.network_width();
        let tumour = |((regions, tracts), p): (Attributes, &crate::pipeline::Prepared)| {
            let network = BrainNetwork::new(pairs.clone(), width, regions.concat(), tracts.concat())?;
            Tumour::new(p.image.clone(), p.points.clone(), p.incidence.clone(), network)
        };
        let tumours = attributes.into_iter().zip(prepared.iter()).map(tumour).collect::<Result<Vec<_>>>()?;
        self.spend("networks", start, false);
        let built = Arc::new(GliomaNetworks { tumours, autoencoder, tracts, scalers, key: key.clone() });
        known.insert(key, built.clone());
        Ok(built)
    }

    fn voxels(&self, cohort: &GliomaCohort, patient: usize) -> Result<Voxels> {
        let subject = &cohort.subjects[patient];
        let seed = self.seed().stream("prepare").stream(&subject.id);
        voxels(subject, &cohort.atlas, &self.config.prepare, seed)
    }

    /// The attributes of one patient's regions and tracts, not scaled.
    fn attributes(
        &self,
        patient: &Voxels,
        autoencoder: &Autoencoder,
        encoder: &TractEncoder,
    ) -> Result<Attributes> {
        let regions = autoencoder.encode(&matrix(patient.regions.iter(), &self.device)?)?.to_vec2::<f32>()?;
        let tracts = encoder.encode(&matrix(patient.tracts.iter(), &self.device)?)?.to_vec2::<f32>()?;
        Ok((regions, tracts))
    }

    /// Stage 1.
    fn train_autoencoder(
        &self,
        name: &str,
        seen: &[Voxels],
        held: &[usize],
        cohort: &GliomaCohort,
    ) -> Result<Autoencoder> {
        let StageFit { batch, fit } = &self.config.autoencoder_fit;
        let seed = self.seed().stream("autoencoder");
        let store = ParamStore::new(seed);
        let autoencoder = self.config.autoencoder.build(store.var_builder(DType::F32, &self.device))?;
        let regions = matrix(seen.iter().flat_map(|v| &v.regions), &self.device)?;
        let count = cohort.atlas.regions.len();
        let held: Vec<u32> = held.iter().flat_map(|&p| rows_of(p, count)).collect();
        let mut learner = AutoencoderLearner::new(&autoencoder, regions, &held, *batch, seed)?;
        self.train("1 autoencoder", name, &mut learner, &store, fit)?;
        drop(learner);
        Ok(autoencoder)
    }

    /// Stage 2, on those patients who have diffusion MRI.
    fn train_tracts(
        &self,
        name: &str,
        seen: &[Voxels],
        held: &[usize],
        cohort: &GliomaCohort,
    ) -> Result<TractEncoder> {
        let StageFit { batch, fit } = &self.config.tracts_fit;
        let seed = self.seed().stream("tracts");
        let store = ParamStore::new(seed);
        let encoder = self.config.tracts.build(store.var_builder(DType::F32, &self.device))?;
        let with_fa: Vec<usize> = (0..seen.len()).filter(|&p| seen[p].fa.is_some()).collect();
        let mri = matrix(with_fa.iter().flat_map(|&p| &seen[p].tracts), &self.device)?;
        let fa = matrix(with_fa.iter().flat_map(|&p| &seen[p].fa).flatten(), &self.device)?;
        let count = cohort.atlas.tracts.len();
        let tract: Vec<usize> = with_fa.iter().flat_map(|_| 0..count).collect();
        let place = |p: &usize| with_fa.iter().position(|w| w == p);
        let held: Vec<u32> = held.iter().filter_map(place).flat_map(|p| rows_of(p, count)).collect();
        let mut learner = TractLearner::new(&encoder, TractData { mri, fa, tract }, &held, *batch, seed)?;
        self.train("2 tracts", name, &mut learner, &store, fit)?;
        drop(learner);
        Ok(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GliomaConfig, GliomaPreset, GliomaSource};
    use candle_core::Device;
    use oncograph_datasets::glioma::GliomaPhantomConfig;
    use oncograph_train::StopFlag;

    #[test]
    fn who_trains_the_encoders_is_a_setting_and_nobody_who_is_predicted() {
        let folder = tempfile::tempdir().unwrap();
        let mut phantom = GliomaPhantomConfig::new(24, 1);
        (phantom.unlabelled, phantom.shape, phantom.regions, phantom.tracts) = (2, [16, 18, 16], 10, 12);
        let source = GliomaSource::Phantom(phantom);
        let opened = source.open(folder.path(), &StopFlag::new(), &|_| ()).unwrap();
        let mut subjects = opened.subjects.clone();
        let fa = subjects[0].anisotropy.clone();
        subjects.iter_mut().for_each(|s| s.anisotropy = fa.clone());
        let idh: Vec<_> = (0..26).map(|i| opened.idh(i)).collect();
        let with = |subjects: &[crate::GliomaSubject]| {
            GliomaCohort::new(opened.atlas.clone(), subjects.to_vec(), &idh).unwrap()
        };
        let cohort = with(&subjects);
        let split = cohort.halves([0.35, 0.35, 0.3], 1).unwrap();
        let rows = |who: NetworkPatients, cohort: &GliomaCohort| {
            let config = GliomaConfig::preset(GliomaPreset::Quick, source.clone(), 1);
            let config = GliomaConfig { network_patients: who, ..config };
            let stages = GliomaStages::new(&config, folder.path(), &Device::Cpu, &StopFlag::new()).unwrap();
            stages.network_rows(cohort, &split)
        };
        use NetworkPatients::{HalfA, Unlabelled, UnlabelledAndHalfA};
        assert_eq!(rows(Unlabelled, &cohort).unwrap(), [0, 1]);
        // One scan without a label does not take half A's place.
        assert_eq!(rows(HalfA, &cohort).unwrap(), split.train);
        assert_eq!(rows(UnlabelledAndHalfA, &cohort).unwrap(), [&[0, 1][..], &split.train].concat());
        // Another scan of a test patient, without a label.
        subjects[1].id = format!("{}_FU001d", subjects[split.test[0]].id);
        let followed = with(&subjects);
        assert_eq!(rows(Unlabelled, &followed).unwrap(), [0]);
        assert_eq!(rows(UnlabelledAndHalfA, &followed).unwrap(), [&[0][..], &split.train].concat());
        // Without maps of anisotropy stage 2 has nothing to learn from: said before stage 1 is trained.
        subjects.iter_mut().for_each(|s| s.anisotropy = None);
        let error = rows(HalfA, &with(&subjects)).unwrap_err().to_string();
        assert!(error.contains("--network-patients") && error.contains("fractional anisotropy"), "{error}");
    }
}

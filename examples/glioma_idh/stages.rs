//! The four stages, each with its own artefact: autoencoder of regions, encoder of tracts, multi-modal model, population
//! graph. An artefact's name holds the hash of everything that it depends on, so that a later run takes it from the cache
//! and a changed setting makes a new one.

use crate::cohort::Cohort;
use crate::images_config::{ImagesConfig, StageFit, Vector};
use crate::prepare::{PrepareConfig, Prepared, Voxels, prepare, voxels};
use anyhow::Context;
use candle_core::{DType, Device, Tensor};
use oncograph::brain::{
    AutoencoderLearner, BrainNetwork, GliomaNet, GliomaNetConfig, GliomaNetLearner, TractLearner, Tumour,
    TumourBatch,
};
use oncograph::datasets::cache::CacheKey;
use oncograph::datasets::scaler::ZScore;
use oncograph::datasets::splits::stratified_split;
use oncograph::nn::{ParamStore, Seed};
use oncograph::train::{EpochRecord, FitConfig, Keep, Learner, RunDir, StopFlag, fit};
use oncograph_examples::progress;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Time and memory of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageCost {
    pub stage: String,
    pub seconds: f64,
    /// The most memory that the process has held so far, in MB; `None` where the system does not tell.
    pub peak_mb: Option<f64>,
    pub cached: bool,
}

/// The learning curve of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    pub stage: String,
    pub history: Vec<EpochRecord>,
}

/// Which patients do what; positions in the cohort.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Roles {
    /// The encoders of regions and tracts: those without a label, or half A where all have one.
    pub networks: Vec<usize>,
    /// Half A: the multi-modal model.
    pub encoders: Vec<usize>,
    /// Half B: the classifier.
    pub classifier: Vec<usize>,
    pub test: Vec<usize>,
}

pub fn roles(cohort: &Cohort, config: &ImagesConfig) -> anyhow::Result<Roles> {
    let labelled: Vec<usize> =
        (0..cohort.subjects.len()).filter(|&i| cohort.subjects[i].idh.is_some()).collect();
    let strata: Vec<usize> =
        labelled.iter().map(|&i| usize::from(cohort.subjects[i].idh == Some(true))).collect();
    let split = stratified_split(&strata, config.split, Seed::new(config.seed).stream("split"))?;
    let pick = |rows: Vec<usize>| rows.into_iter().map(|r| labelled[r]).collect::<Vec<_>>();
    let unlabelled: Vec<usize> =
        (0..cohort.subjects.len()).filter(|&i| cohort.subjects[i].idh.is_none()).collect();
    let encoders = pick(split.train);
    Ok(Roles {
        networks: if unlabelled.is_empty() { encoders.clone() } else { unlabelled },
        encoders,
        classifier: pick(split.validation),
        test: pick(split.test),
    })
}

/// What runs stages: where artefacts lie, and what was spent.
pub struct Stages<'a> {
    pub config: &'a ImagesConfig,
    pub cohort: &'a Cohort,
    pub device: Device,
    pub stop: &'a StopFlag,
    pub cache: RunDir,
    pub costs: Vec<StageCost>,
    pub curves: Vec<Curve>,
}

/// The brain networks of all patients, and what a new one's is made with.
pub struct Networks {
    pub networks: Vec<BrainNetwork>,
    /// The hash of all that they depend on.
    pub key: String,
    pub autoencoder: String,
    pub tracts: String,
    pub scalers: Option<(ZScore, ZScore)>,
}

/// The hash of a stage's settings and of the artefact that it is built on.
fn key(stage: &str, settings: &impl Serialize, upstream: &str) -> anyhow::Result<String> {
    let none: [&std::path::Path; 0] = [];
    let key = CacheKey::new(&none, &(settings, upstream), stage)?;
    Ok(format!("{stage}-{}", &key.hex()[..16]))
}

pub fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kb| kb / 1024.0)
}

impl Stages<'_> {
    fn seed(&self) -> Seed {
        Seed::new(self.config.seed)
    }

    pub fn spent(&mut self, stage: &str, start: Instant, cached: bool) {
        let seconds = start.elapsed().as_secs_f64();
        self.costs.push(StageCost { stage: stage.into(), seconds, peak_mb: peak_mb(), cached });
    }

    /// What the encoders take of every patient.
    pub fn prepare(&mut self) -> anyhow::Result<Vec<Prepared>> {
        let start = Instant::now();
        let bar = progress(self.cohort.subjects.len() as u64, "preparing");
        let seed = self.seed().stream("prepare");
        let one = |i: usize| {
            let subject = &self.cohort.subjects[i];
            let config: &PrepareConfig = &self.config.prepare;
            let prepared = prepare(subject, &self.cohort.atlas, config, seed.stream(&subject.id));
            bar.inc(1);
            prepared
        };
        let all: Vec<anyhow::Result<Prepared>> =
            (0..self.cohort.subjects.len()).into_par_iter().map(one).collect();
        let prepared = all.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        bar.finish();
        self.spent("preparation", start, false);
        Ok(prepared)
    }

    fn voxels(&self, patient: usize) -> anyhow::Result<Voxels> {
        let subject = &self.cohort.subjects[patient];
        let seed = self.seed().stream("prepare").stream(&subject.id);
        voxels(subject, &self.cohort.atlas, &self.config.prepare, seed)
    }

    /// Trains `store` through its learner, or takes the artefact `name` from the cache.
    fn train(
        &mut self,
        stage: &str,
        name: &str,
        learner: &mut dyn Learner,
        store: &ParamStore,
        config: &FitConfig,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        let (weights, curve) = (format!("{name}.safetensors"), format!("{name}.curve.json"));
        if let Some(history) = self.cache.read_json(&curve)? {
            let path = self.cache.file(&weights);
            store.load(&path).with_context(|| path.display().to_string())?;
            self.curves.push(Curve { stage: stage.into(), history });
            self.spent(stage, start, true);
            return Ok(());
        }
        let bar = progress(config.epochs as u64, stage);
        let checkpoint = self.cache.file(&format!("{name}.checkpoint.safetensors"));
        let outcome = fit(learner, store, config, Some(&checkpoint), self.stop, |record| {
            bar.set_message(format!("loss {:.4}", record.score));
            bar.inc(1);
        })?;
        bar.finish_with_message("");
        store.save(self.cache.file(&weights))?;
        // The curve is the last thing written: until it is there, the stage is not done.
        self.cache.write_json(&curve, &outcome.history)?;
        std::fs::remove_file(&checkpoint).ok();
        self.curves.push(Curve { stage: stage.into(), history: outcome.history });
        self.spent(stage, start, false);
        Ok(())
    }

    /// Some rows of a stage's training patients, to decide which epoch is kept.
    fn held_out(&self, patients: usize, seed: Seed) -> Vec<usize> {
        use rand::seq::SliceRandom;
        let count = (self.config.validation * patients as f64).round() as usize;
        let mut all: Vec<usize> = (0..patients).collect();
        all.shuffle(&mut seed.stream("validation").rng());
        all.truncate(count);
        all
    }

    /// Stages 1 and 2: the brain network of every patient.
    pub fn networks(&mut self, roles: &Roles) -> anyhow::Result<Networks> {
        let config = self.config;
        let upstream =
            key("data", &(&config.source, &config.prepare, config.seed), &self.cohort.fingerprint)?;
        let device = self.device.clone();
        let some = &roles.networks;
        if some.is_empty() {
            anyhow::bail!("there is no patient to train the encoders of regions and tracts");
        }
        let held = self.held_out(some.len(), self.seed().stream("networks"));
        let seen = some.par_iter().map(|&i| self.voxels(i)).collect::<anyhow::Result<Vec<_>>>()?;
        let rows_of = |p: usize, each: usize| (p * each..(p + 1) * each).map(|r| r as u32);
        // 1: regions.
        let StageFit { batch, fit } = &config.autoencoder_fit;
        let name = key(
            "autoencoder",
            &(&config.autoencoder, &config.autoencoder_fit, config.validation),
            &upstream,
        )?;
        let seed = self.seed().stream("autoencoder");
        let store = ParamStore::new(seed);
        let autoencoder = config.autoencoder.build(store.var_builder(DType::F32, &device))?;
        let regions = matrix(seen.iter().flat_map(|v| &v.regions), &device)?;
        let count = self.cohort.atlas.regions.len();
        let held_rows: Vec<u32> = held.iter().flat_map(|&p| rows_of(p, count)).collect();
        let mut learner = AutoencoderLearner::new(&autoencoder, regions, &held_rows, *batch, seed)?;
        self.train("1 autoencoder", &name, &mut learner, &store, fit)?;
        // 2: tracts.
        let StageFit { batch, fit } = &config.tracts_fit;
        let autoencoder_name = name;
        let name = key("tracts", &(&config.tracts, &config.tracts_fit), &autoencoder_name)?;
        let seed = self.seed().stream("tracts");
        let store = ParamStore::new(seed);
        let encoder = config.tracts.build(store.var_builder(DType::F32, &device))?;
        // Those with diffusion MRI.
        let with_fa: Vec<usize> = (0..seen.len()).filter(|&p| seen[p].fa.is_some()).collect();
        if with_fa.is_empty() {
            anyhow::bail!("no patient who trains the encoder of tracts has a map of fractional anisotropy");
        }
        let mri = matrix(with_fa.iter().flat_map(|&p| &seen[p].tracts), &device)?;
        let fa = matrix(with_fa.iter().flat_map(|&p| &seen[p].fa).flatten(), &device)?;
        let count = self.cohort.atlas.tracts.len();
        let number: Vec<usize> = with_fa.iter().flat_map(|_| 0..count).collect();
        let place = |p: &usize| with_fa.iter().position(|w| w == p);
        let held_rows: Vec<u32> = held.iter().filter_map(place).flat_map(|p| rows_of(p, count)).collect();
        let mut learner = TractLearner::new(&encoder, mri, fa, number, &held_rows, *batch, seed)?;
        self.train("2 tracts", &name, &mut learner, &store, fit)?;
        // Every patient's attributes.
        let start = Instant::now();
        let pairs: Vec<[u32; 2]> = self.cohort.atlas.tracts.iter().map(|t| t.pair).collect();
        let mut attributes = vec![];
        drop(seen);
        for i in 0..self.cohort.subjects.len() {
            let patient = self.voxels(i)?;
            let regions = autoencoder.encode(&matrix(patient.regions.iter(), &device)?)?.to_vec2::<f32>()?;
            let tracts = encoder.encode(&matrix(patient.tracts.iter(), &device)?)?.to_vec2::<f32>()?;
            attributes.push((regions, tracts));
        }
        let scalers =
            if config.scale_attributes { Some(scale(&mut attributes, &roles.encoders)?) } else { None };
        let width = config.network_width();
        let networks = attributes.into_iter().map(|(regions, tracts)| {
            BrainNetwork::new(pairs.clone(), width, regions.concat(), tracts.concat())
        });
        let networks = networks.collect::<Result<Vec<_>, _>>()?;
        self.spent("networks", start, false);
        Ok(Networks {
            networks,
            key: key("networks", &config.scale_attributes, &name)?,
            autoencoder: autoencoder_name,
            tracts: name,
            scalers,
        })
    }

    /// Stage 3: a multi-modal model, trained on half A.
    pub fn multi_modal(
        &mut self,
        model: &GliomaNetConfig,
        tumours: &[Tumour],
        roles: &Roles,
        upstream: &str,
    ) -> anyhow::Result<(GliomaNet, String)> {
        let config = self.config;
        let settings = (model, &config.model_training, &config.model_fit, config.validation, config.split);
        let name = key("multimodal", &settings, upstream)?;
        let seed = self.seed().stream("multi-modal");
        let store = ParamStore::new(seed);
        let network = model.build(store.var_builder(DType::F32, &self.device))?;
        let half: Vec<u32> = roles.encoders.iter().map(|i| *i as u32).collect();
        let held = self.held_out(half.len(), seed);
        let held: Vec<u32> = if config.model_fit.keep == Keep::Best {
            held.iter().map(|&i| half[i]).collect()
        } else {
            vec![]
        };
        let train: Vec<u32> = half.into_iter().filter(|i| !held.contains(i)).collect();
        let labels: Vec<bool> = self.cohort.subjects.iter().map(|s| s.idh == Some(true)).collect();
        let training = config.model_training.clone();
        let mut learner =
            GliomaNetLearner::new(&network, tumours, &labels, &train, &held, training, seed, &self.device)?;
        self.train("3 multi-modal", &name, &mut learner, &store, &config.model_fit)?;
        Ok((network, name))
    }
}

impl ImagesConfig {
    /// Attributes of a region or tract.
    pub fn network_width(&self) -> usize {
        self.autoencoder.widths.last().copied().unwrap_or(0)
    }
}

/// Rows as a tensor \[rows, columns\].
pub fn matrix<'a>(rows: impl Iterator<Item = &'a Vec<f32>>, device: &Device) -> anyhow::Result<Tensor> {
    let rows: Vec<&Vec<f32>> = rows.collect();
    let width = rows.first().map_or(0, |r| r.len());
    let values: Vec<f32> = rows.iter().flat_map(|r| r.iter().copied()).collect();
    Ok(Tensor::from_vec(values, (rows.len(), width), device)?)
}

/// Attributes of regions and of tracts.
type Attributes = (Vec<Vec<f32>>, Vec<Vec<f32>>);

/// Brings every attribute to standard deviations over the given patients; the scalers of regions and tracts.
fn scale(attributes: &mut [Attributes], fitted_on: &[usize]) -> anyhow::Result<(ZScore, ZScore)> {
    let fit = |of: fn(&Attributes) -> &Vec<Vec<f32>>| -> anyhow::Result<ZScore> {
        let seen: Vec<Vec<f64>> = fitted_on.iter().flat_map(|&i| wide(of(&attributes[i]))).collect();
        let all: Vec<usize> = (0..seen.len()).collect();
        Ok(ZScore::fit(&seen, &all)?)
    };
    let (regions, tracts) = (fit(|a| &a.0)?, fit(|a| &a.1)?);
    for patient in attributes.iter_mut() {
        patient.0 = scaled_rows(&regions, std::mem::take(&mut patient.0))?;
        patient.1 = scaled_rows(&tracts, std::mem::take(&mut patient.1))?;
    }
    Ok((regions, tracts))
}

fn wide(rows: &[Vec<f32>]) -> Vec<Vec<f64>> {
    rows.iter().map(|r| r.iter().map(|v| f64::from(*v)).collect()).collect()
}

/// Rows of attributes in the units of a scaler.
pub fn scaled_rows(scaler: &ZScore, rows: Vec<Vec<f32>>) -> anyhow::Result<Vec<Vec<f32>>> {
    let scaled = scaler.transform(&wide(&rows))?;
    Ok(scaled.into_iter().map(|r| r.into_iter().map(|v| v as f32).collect()).collect())
}

/// The embeddings of every patient: u^I, u^P and u^B, where there are such encoders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embeddings {
    pub tumour: Vec<Vec<f64>>,
    pub network: Vec<Vec<f64>>,
    /// The logit of the model's own classifier.
    pub logit: Vec<Option<f64>>,
}

impl Embeddings {
    pub fn of(model: &GliomaNet, tumours: &[Tumour], device: &Device) -> anyhow::Result<Self> {
        let mut all = Embeddings { tumour: vec![], network: vec![], logit: vec![] };
        for tumour in tumours {
            let said = model.forward(&TumourBatch::new(&[tumour], None, device)?, false)?;
            let row = |t: Option<Tensor>| -> anyhow::Result<Vec<f64>> {
                Ok(match t {
                    Some(t) => t.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?,
                    None => vec![],
                })
            };
            all.tumour.push(row(said.tumour()?)?);
            all.network.push(row(said.network.clone())?);
            all.logit.push(row(said.logit)?.first().copied());
        }
        Ok(all)
    }

    /// The rows of one vector.
    pub fn rows(&self, vector: Vector) -> Vec<Vec<f64>> {
        match vector {
            Vector::Tumour => self.tumour.clone(),
            Vector::Network => self.network.clone(),
            Vector::Both => {
                self.tumour.iter().zip(&self.network).map(|(t, b)| [t.clone(), b.clone()].concat()).collect()
            }
        }
    }
}

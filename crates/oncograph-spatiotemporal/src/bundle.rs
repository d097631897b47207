use crate::pipeline::{CtEncoder, read_weights, weight_tensors};
use crate::trained::to_safetensors;
use crate::{Error, Result, StgCohort, StgSystemConfig, TrainedStg};
use candle_core::Device;
use oncograph_core::{AtFile, Seed};
use oncograph_deploy::{Bundle, BundleWriter};
use oncograph_encoder::Checkpoint;
use oncograph_report::ModelCard;
use oncograph_study::{Answer, Cohort, JOBS, StudyResults};
use oncograph_train::RunDir;
use serde::{Deserialize, Serialize};

/// The system that a bundle names.
pub const STG_SYSTEM: &str = "stg";
/// The folder of a finished run that is its bundle.
pub const STG_BUNDLE: &str = "bundle";

const CONFIG: &str = "config.json";
const REFERENCE: &str = "reference.json";
const ENCODER: &str = "encoder.safetensors";
const CARD: &str = "model_card.json";

/// What a bundle is made of.
#[derive(Debug, Clone, Copy)]
pub struct StgBundleParts<'a> {
    /// The configuration of the system.
    pub config: &'a StgSystemConfig,
    /// The root of all random draws of the study.
    pub seed: Seed,
    /// The patients that were learned from.
    pub cohort: &'a StgCohort,
    /// The results of the study.
    pub results: &'a StudyResults,
    /// The model of the study whose networks are bundled.
    pub model: &'a str,
    /// What a reader must know to judge it.
    pub card: &'a ModelCard,
}

/// What a bundle is predicted with, beside its networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub seed: Seed,
    /// Whether the networks have image nodes.
    pub images: bool,
    /// The names of the networks' files, without their ends.
    pub models: Vec<String>,
    pub system: StgSystemConfig,
}

/// What each network gave the patients who were held out from it: the risks per task and network, ascending. Risks of two
/// networks have no common zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub risks: [Vec<Vec<f64>>; 2],
}

/// Writes the bundle of a finished study into its run as the folder `bundle`, or opens the one that is there: everything
/// that [`crate::StgPredictor`] needs.
///
/// # Errors
/// A model of the study that left no file, or an error of reading or writing one.
pub fn write_stg_bundle(run: &RunDir, parts: StgBundleParts<'_>) -> Result<Bundle> {
    let path = run.file(STG_BUNDLE);
    if path.exists() {
        return Ok(Bundle::open(&path)?.of_system(STG_SYSTEM)?);
    }
    let mut writer = BundleWriter::create(&path, STG_SYSTEM)?.phantom(parts.cohort.phantom());
    let folder = RunDir::open(&run.file(JOBS))?;
    let mut models = vec![];
    for job in parts.results.of_model(parts.model) {
        let name = format!("models/{}-{}", job.repeat, job.fold);
        for end in ["json", "safetensors"] {
            let from = folder.file(&format!("{}-{}-{}.{end}", parts.model, job.repeat, job.fold));
            writer.copy(&format!("{name}.{end}"), &from)?;
        }
        models.push(name);
    }
    let images = parts.cohort.has_images();
    let encoder = &parts.config.encoder;
    if let Some(weights) = encoder.weights.as_ref().filter(|_| images) {
        writer.bytes(ENCODER, &to_safetensors(&weight_tensors(&read_weights(encoder, weights)?))?)?;
    }
    let mut system = parts.config.clone();
    // The weights are in the bundle; where they came from is of one machine.
    system.encoder.weights = None;
    writer.json(CONFIG, &Settings { seed: parts.seed, images, models, system })?;
    writer.json(REFERENCE, &reference(&parts))?;
    writer.json(CARD, parts.card)?;
    Ok(writer.finish()?)
}

/// The held-out risks of every network that [`write_stg_bundle`] stores, in the same order.
fn reference(parts: &StgBundleParts<'_>) -> Reference {
    let of_task = |task: &oncograph_study::Task| {
        let of_job = |job: &oncograph_study::JobResult| {
            let answers = job.answers.get(&task.name).into_iter().flatten();
            let risk = |answer: &Answer| match answer {
                Answer::Survival { risk, .. } => Some(*risk),
                _ => None,
            };
            let mut risks: Vec<f64> = answers.filter_map(risk).collect();
            risks.sort_by(f64::total_cmp);
            risks
        };
        parts.results.of_model(parts.model).map(of_job).collect::<Vec<_>>()
    };
    let tasks = parts.cohort.tasks();
    Reference { risks: std::array::from_fn(|at| tasks.get(at).map(of_task).unwrap_or_default()) }
}

/// What was read from a bundle.
pub(crate) struct Opened {
    pub settings: Settings,
    pub reference: Reference,
    pub models: Vec<TrainedStg>,
    pub encoder: Option<CtEncoder>,
    pub card: ModelCard,
}

pub(crate) fn open(bundle: &Bundle, device: &Device) -> Result<Opened> {
    let bundle = bundle.clone().of_system(STG_SYSTEM)?;
    let settings: Settings = bundle.json(CONFIG)?;
    let load = |name: &String| {
        let (json, tensors) =
            (bundle.bytes(&format!("{name}.json"))?, bundle.bytes(&format!("{name}.safetensors"))?);
        TrainedStg::from_bytes(&json, &tensors, &bundle.path().join(name), device)
    };
    let models = settings.models.iter().map(load).collect::<Result<Vec<_>>>()?;
    if models.is_empty() {
        return Err(AtFile::new(bundle.path().join(CONFIG), "it lists no model").into());
    }
    let reference: Reference = bundle.json(REFERENCE)?;
    if reference.risks.iter().any(|of_task| of_task.len() != models.len()) {
        let detail = format!("it has not one list of risks for each of the {} models", models.len());
        return Err(AtFile::new(bundle.path().join(REFERENCE), detail).into());
    }
    let encoder = if settings.images { Some(encoder(&bundle, &settings, device)?) } else { None };
    Ok(Opened { reference, card: bundle.json(CARD)?, settings, models, encoder })
}

fn encoder(bundle: &Bundle, settings: &Settings, device: &Device) -> Result<CtEncoder> {
    let weights = match bundle.files().iter().any(|f| f.name == ENCODER) {
        false => None,
        true => {
            let broken = |e: candle_core::Error| Error::from(AtFile::new(bundle.path().join(ENCODER), e));
            let tensors = candle_core::safetensors::load_buffer(&bundle.bytes(ENCODER)?, &Device::Cpu);
            Some(Checkpoint::from_tensors(tensors.map_err(broken)?))
        }
    };
    CtEncoder::with_weights(&settings.system, weights.as_ref(), settings.seed, device)
}

//! One trained network with everything that it needs to be applied: the unit of cross-validation and of prediction.

use crate::config::{ImageScaling, RunConfig};
use crate::encode::PatientFeatures;
use anyhow::Context;
use candle_core::{DType, Device, Tensor};
use oncograph::core::{FollowUp, Table};
use oncograph::datasets::scaler::{PipelineConfig, TabularPipeline};
use oncograph::graph::HeteroGraph;
use oncograph::nn::{ParamStore, Seed, save_tensors};
use oncograph::spatiotemporal::{ImageScaler, NodeTable, Stg, StgConfig, TimeScale};
use oncograph::train::RunDir;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What is fitted on the training patients besides the network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fitted {
    pub model: StgConfig,
    pub pipeline: TabularPipeline,
    pub scales: [TimeScale; 2],
    /// Outcomes of the training patients, and the network's outputs for them (recurrence, survival), from which a Cox
    /// model's baseline comes.
    pub training: Vec<[FollowUp; 2]>,
    pub training_outputs: [Vec<f64>; 2],
}

/// The inputs of all patients as one network sees them: scaled by what its training patients say.
pub struct Inputs {
    pub table: NodeTable,
    pub graphs: Vec<HeteroGraph>,
    pub pipeline: TabularPipeline,
    pub scaler: Option<ImageScaler>,
    pub covariates: usize,
}

impl Inputs {
    /// Fits pipeline and scaler on `train` and applies them to everyone.
    pub fn fit(
        clinical: &Table,
        images: Option<&[PatientFeatures]>,
        train: &[usize],
        scaling: ImageScaling,
        device: &Device,
    ) -> anyhow::Result<Self> {
        let pipeline = TabularPipeline::fit(clinical, train, &PipelineConfig::new())?;
        let scaler = match images {
            None => None,
            Some(images) => {
                let width = images.first().map_or(0, |p| p.values.len());
                let values: Vec<f32> = images.iter().flat_map(|p| p.values.iter().copied()).collect();
                let scaler = ImageScaler::fit(&values, width, train, scaling.norm)?;
                Some(match scaling.components {
                    Some(count) => scaler.with_components(&values, train, count)?,
                    None => scaler,
                })
            }
        };
        Self::apply(pipeline, scaler, clinical, images, device)
    }

    /// Applies what was fitted elsewhere.
    pub fn apply(
        pipeline: TabularPipeline,
        scaler: Option<ImageScaler>,
        clinical: &Table,
        images: Option<&[PatientFeatures]>,
        device: &Device,
    ) -> anyhow::Result<Self> {
        let covariates = pipeline.output_names().len();
        let rows = pipeline.transform(clinical)?.to_f32();
        let (values, features) = match (&scaler, images) {
            (Some(scaler), Some(images)) => {
                let all: Vec<f32> = images.iter().flat_map(|p| p.values.iter().copied()).collect();
                (Some(scaler.transform(&all)?), scaler.features())
            }
            _ => (None, 0),
        };
        let table = NodeTable::new(values, features, rows, covariates, device)?;
        let centroids = |p: usize| images.map_or([[0.5; 3]; 5], |images| images[p].centroids);
        let graphs = (0..table.patients()).map(|p| table.graph(p, centroids(p))).collect::<Result<_, _>>()?;
        Ok(Inputs { table, graphs, pipeline, scaler, covariates })
    }
}

/// The widths of the network that fit the data.
pub fn sized(config: &RunConfig, inputs: &Inputs, features: usize) -> StgConfig {
    let mut model = config.model.clone();
    model.clinical = inputs.covariates;
    model.features = features;
    model
}

/// A network with parameters drawn from a stream of its own.
pub fn build(model: &StgConfig, seed: Seed, device: &Device) -> anyhow::Result<(ParamStore, Stg)> {
    let store = ParamStore::new(seed.stream("network"));
    let network = Stg::new(model, store.var_builder(DType::F32, device))?;
    Ok((store, network))
}

/// The parts of the image scaler in a model's file.
const SCALER: [&str; 4] = ["scaler/unit", "scaler/mean", "scaler/inverse", "scaler/axes"];

/// Writes a trained network as `{name}.json` and `{name}.safetensors`.
pub fn save(
    run: &RunDir,
    name: &str,
    store: &ParamStore,
    scaler: Option<&ImageScaler>,
    fitted: &Fitted,
) -> anyhow::Result<()> {
    let mut tensors: HashMap<String, Tensor> =
        store.snapshot()?.into_iter().map(|(n, t)| (format!("network/{n}"), t)).collect();
    if let Some(scaler) = scaler {
        for (name, part) in SCALER.into_iter().zip(scaler.parts()) {
            tensors.insert(name.into(), Tensor::new(part, &Device::Cpu)?);
        }
    }
    save_tensors(&tensors, run.file(&format!("{name}.safetensors")))?;
    Ok(run.write_json(&format!("{name}.json"), fitted)?)
}

/// Reads what [`save`] wrote.
pub fn load(run: &RunDir, name: &str, device: &Device) -> anyhow::Result<(Stg, Option<ImageScaler>, Fitted)> {
    let missing = || format!("{}: no such model in this run", run.file(&format!("{name}.json")).display());
    let fitted: Fitted = run.read_json(&format!("{name}.json"))?.with_context(missing)?;
    let path = run.file(&format!("{name}.safetensors"));
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu)
        .with_context(|| format!("{}: not a whole model", path.display()))?;
    let mut vector = |name: &str| tensors.remove(name).map(|t| t.to_vec1::<f32>()).transpose();
    let scaler = match SCALER.map(|name| vector(name).transpose()) {
        [Some(unit), Some(mean), Some(inverse), Some(axes)] => {
            Some(ImageScaler::from_parts([unit?, mean?, inverse?, axes?])?)
        }
        _ => None,
    };
    let (store, network) = build(&fitted.model, Seed::new(0), device)?;
    let of_network =
        tensors.into_iter().filter_map(|(n, t)| Some((n.strip_prefix("network/")?.to_string(), t)));
    store.restore(&of_network.collect()).with_context(|| path.display().to_string())?;
    Ok((network, scaler, fitted))
}

use crate::{
    CtFeatures, ImageScaler, NodeSubset, Result, Stg, StgConfig, StgInputs, StgOutput, StgPipeline,
    TimePrediction, TimeScale, predict,
};
use candle_core::{DType, Device, Tensor};
use oncograph_core::{AtFile, FollowUp, Seed, Table};
use oncograph_datasets::scaler::TabularPipeline;
use oncograph_graph::HeteroGraph;
use oncograph_nn::ParamStore;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// The parts of the image scaler in a model's file.
const SCALER: [&str; 4] = ["scaler/unit", "scaler/mean", "scaler/inverse", "scaler/axes"];

/// One trained network with everything that it needs to be applied: the unit of cross-validation and of prediction.
#[derive(Debug)]
pub struct TrainedStg {
    pub(crate) pipeline: StgPipeline,
    pub(crate) network: Stg,
    pub(crate) store: ParamStore,
    pub(crate) scales: [TimeScale; 2],
    /// Outcomes of the training patients, and the network's outputs for them (recurrence, survival), from which a Cox
    /// model's baseline comes.
    pub(crate) training: Vec<[FollowUp; 2]>,
    pub(crate) training_outputs: [Vec<f64>; 2],
    pub(crate) device: Device,
}

/// What a model's JSON file holds; its tensors are beside it.
#[derive(Serialize, Deserialize)]
struct Description {
    model: StgConfig,
    pipeline: TabularPipeline,
    scales: [TimeScale; 2],
    training: Vec<[FollowUp; 2]>,
    training_outputs: [Vec<f64>; 2],
}

impl TrainedStg {
    /// The predictions for patients, task by task ([`crate::STG_TASKS`]), with times between 0 and the configured horizon (S-30).
    ///
    /// # Errors
    /// As [`StgPipeline::apply`], or an error of the network.
    pub fn predict(
        &self,
        clinical: &Table,
        images: Option<&[&CtFeatures]>,
    ) -> Result<[Vec<TimePrediction>; 2]> {
        let inputs = self.pipeline.apply(clinical, images, &self.device)?;
        self.predict_graphs(&inputs, &inputs.graphs.iter().collect::<Vec<_>>())
    }

    /// The predictions for given graphs over prepared inputs, for example with nodes removed.
    ///
    /// # Errors
    /// An error of the network.
    pub fn predict_graphs(
        &self,
        inputs: &StgInputs,
        graphs: &[&HeteroGraph],
    ) -> Result<[Vec<TimePrediction>; 2]> {
        let output = inputs.table.output(&self.network, graphs)?;
        Ok([self.task(0, &output.recurrence)?, self.task(1, &output.survival)?])
    }

    fn task(&self, task: usize, head: &Tensor) -> Result<Vec<TimePrediction>> {
        let outcomes: Vec<FollowUp> = self.training.iter().map(|o| o[task]).collect();
        let training = (self.training_outputs[task].as_slice(), outcomes.as_slice());
        times(self.network.config(), head, &self.scales[task], training)
    }

    /// What was fitted before the network.
    pub fn pipeline(&self) -> &StgPipeline {
        &self.pipeline
    }

    /// The network.
    pub fn network(&self) -> &Stg {
        &self.network
    }

    /// How many numbers were trained.
    pub fn parameter_count(&self) -> usize {
        self.store.parameter_count()
    }

    /// The model as two files: its description in JSON, and its tensors in safetensors.
    ///
    /// # Errors
    /// An error of candle, or numbers that JSON cannot hold.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let (tabular, scaler) = self.pipeline.parts();
        let mut tensors: HashMap<String, Tensor> =
            self.store.snapshot()?.into_iter().map(|(n, t)| (format!("network/{n}"), t)).collect();
        if let Some(scaler) = scaler {
            for (name, part) in SCALER.into_iter().zip(scaler.parts()) {
                tensors.insert(name.into(), Tensor::new(part, &Device::Cpu)?);
            }
        }
        let description = Description {
            model: self.network.config().clone(),
            pipeline: tabular.clone(),
            scales: self.scales,
            training: self.training.clone(),
            training_outputs: self.training_outputs.clone(),
        };
        let json = serde_json::to_vec_pretty(&description).map_err(candle_core::Error::wrap)?;
        Ok((json, to_safetensors(&tensors)?))
    }

    /// From what [`TrainedStg::to_bytes`] gave; `path` is named where it does not fit.
    ///
    /// # Errors
    /// [`AtFile`] for a file that is not whole.
    pub fn from_bytes(json: &[u8], tensors: &[u8], path: &Path, device: &Device) -> Result<Self> {
        let description: Description = serde_json::from_slice(json).map_err(|e| AtFile::new(path, e))?;
        let broken = |e: candle_core::Error| AtFile::new(path, e);
        let mut tensors = candle_core::safetensors::load_buffer(tensors, &Device::Cpu).map_err(broken)?;
        let mut vector = |name: &str| tensors.remove(name).map(|t| t.to_vec1::<f32>()).transpose();
        let scaler = match SCALER.map(|name| vector(name).transpose()) {
            [Some(unit), Some(mean), Some(inverse), Some(axes)] => {
                Some(ImageScaler::from_parts([unit?, mean?, inverse?, axes?], description.model.levels)?)
            }
            _ => None,
        };
        let nodes = if scaler.is_some() { description.model.nodes } else { NodeSubset::All };
        let (store, network) = build(&description.model, Seed::new(0), device)?;
        let own = tensors.into_iter().filter_map(|(n, t)| Some((n.strip_prefix("network/")?.to_string(), t)));
        store.restore(&own.collect()).map_err(|e| AtFile::new(path, e))?;
        Ok(TrainedStg {
            pipeline: StgPipeline::from_parts(description.pipeline, scaler, nodes),
            network,
            store,
            scales: description.scales,
            training: description.training,
            training_outputs: description.training_outputs,
            device: device.clone(),
        })
    }
}

/// A network whose parameters are drawn from a separate random stream.
pub(crate) fn build(model: &StgConfig, seed: Seed, device: &Device) -> Result<(ParamStore, Stg)> {
    let store = ParamStore::new(seed.stream("network"));
    let network = Stg::new(model, store.var_builder(DType::F32, device))?;
    Ok((store, network))
}

/// The predictions of one head, with times between 0 and the horizon (S-30); `training` are its outputs for the training
/// patients and their outcomes.
pub(crate) fn times(
    config: &StgConfig,
    head: &Tensor,
    scale: &TimeScale,
    (outputs, outcomes): (&[f64], &[FollowUp]),
) -> Result<Vec<TimePrediction>> {
    let shape = (outcomes.len(), outputs.len() / outcomes.len().max(1));
    let outputs = Tensor::from_slice(outputs, shape, head.device())?;
    let mut all = predict(config.survival_loss, head, scale, config.horizon, Some((&outputs, outcomes)))?;
    all.iter_mut().for_each(|p| p.years = p.years.clamp(0.0, config.horizon as f64));
    Ok(all)
}

/// The numbers of both heads, as a model's file keeps them.
pub(crate) fn head_values(output: &StgOutput) -> Result<[Vec<f64>; 2]> {
    let flat = |t: &Tensor| -> Result<Vec<f64>> { Ok(t.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?) };
    Ok([flat(&output.recurrence)?, flat(&output.survival)?])
}

/// Named tensors as a safetensors file.
pub(crate) fn to_safetensors(tensors: &HashMap<String, Tensor>) -> Result<Vec<u8>> {
    Ok(safetensors::serialize(tensors, None).map_err(candle_core::Error::wrap)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StgPreset, StgSystemConfig};

    /// Clamped to the horizon in predictions, while risks rank as before (S-30).
    #[test]
    fn times_are_clamped_to_the_horizon() {
        let rows = (0..4).map(|p| vec![Some(p as f64)]).collect();
        let table = Table::numbered(vec!["age".to_string()], rows).unwrap();
        let pipeline =
            StgPipeline::fit(&table, None, &[0, 1, 2], &StgSystemConfig::new(StgPreset::Paper)).unwrap();
        let config = StgConfig::decoupled(pipeline.covariates()).features(4).hidden(3).lstm_hidden(2);
        let device = Device::Cpu;
        for horizon in [12, 3] {
            let (store, network) = build(&config.clone().horizon(horizon), Seed::new(1), &device).unwrap();
            for (name, years) in [("rec.bias", 50f32), ("surv.bias", -900.0)] {
                store.get(name).unwrap().set(&Tensor::new(&[years], &device).unwrap()).unwrap();
            }
            let model = TrainedStg {
                pipeline: pipeline.clone(),
                network,
                store,
                scales: [TimeScale::in_years(); 2],
                training: vec![],
                training_outputs: [vec![], vec![]],
                device: device.clone(),
            };
            let [recurrence, survival] = model.predict(&table, None).unwrap();
            assert!(recurrence.iter().all(|p| p.years == horizon as f64 && p.risk < -40.0));
            assert!(survival.iter().all(|p| p.years == 0.0));
        }
    }
}

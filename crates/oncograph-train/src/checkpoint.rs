use crate::{EpochRecord, Error, Result};
use candle_core::{Device, Tensor};
use oncograph_core::AtFile;
use oncograph_nn::optim::Optimizer;
use oncograph_nn::scheduler::ReduceLrOnPlateau;
use oncograph_nn::{ParamStore, Precision, save_tensors};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Everything that the rest of a training run depends on, in one file.
///
/// Random draws come from streams named after epoch and step, so that no generator state has to be saved.
#[derive(Debug, Clone)]
pub struct TrainingCheckpoint {
    /// The parameters after the last finished epoch.
    pub parameters: HashMap<String, Tensor>,
    /// The parameters of the best epoch so far.
    pub best: HashMap<String, Tensor>,
    /// By name of a score, the parameters of its best epoch so far.
    pub best_of: BTreeMap<String, HashMap<String, Tensor>>,
    /// The optimizer's state.
    pub optimizer: HashMap<String, Tensor>,
    /// What is not a tensor.
    pub progress: Progress,
}

/// The part of a [`TrainingCheckpoint`] that is not tensors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Every finished epoch.
    pub history: Vec<EpochRecord>,
    /// The position in `history` of the best epoch.
    pub best_epoch: Option<usize>,
    /// By name of a score, the position of its best epoch.
    #[serde(default)]
    pub best_of: BTreeMap<String, usize>,
    /// The learning-rate schedule.
    pub plateau: Option<ReduceLrOnPlateau>,
    /// What products are computed in.
    #[serde(default)]
    pub precision: Precision,
}

/// Where the JSON of [`Progress`] lies among the tensors: one file can be renamed into place as a whole.
const PROGRESS: &str = "progress";

impl TrainingCheckpoint {
    /// Collects the state of a run.
    pub(crate) fn collect(
        store: &ParamStore,
        best: &HashMap<String, Tensor>,
        best_of: &BTreeMap<String, HashMap<String, Tensor>>,
        optimizer: &dyn Optimizer,
        progress: &Progress,
    ) -> Result<Self> {
        Ok(TrainingCheckpoint {
            parameters: store.snapshot()?,
            best: best.clone(),
            best_of: best_of.clone(),
            optimizer: optimizer.state()?,
            progress: progress.clone(),
        })
    }

    /// Writes the checkpoint, the file whole or not at all.
    ///
    /// # Errors
    /// An error that names the file; an older checkpoint is untouched then.
    pub fn save(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_vec(&self.progress).map_err(|e| damaged(path, e))?;
        let length = json.len();
        let mut all = HashMap::from([(PROGRESS.to_string(), Tensor::from_vec(json, length, &Device::Cpu)?)]);
        for (kind, tensors) in
            [("parameters", &self.parameters), ("best", &self.best), ("optimizer", &self.optimizer)]
        {
            all.extend(tensors.iter().map(|(name, tensor)| (format!("{kind}/{name}"), tensor.clone())));
        }
        // Scores by position: their names need not be fit for the name of a tensor.
        for (i, tensors) in self.best_of.values().enumerate() {
            all.extend(tensors.iter().map(|(name, tensor)| (format!("best_of_{i}/{name}"), tensor.clone())));
        }
        Ok(save_tensors(&all, path)?)
    }

    /// Reads a checkpoint; `None` if there is no such file.
    ///
    /// # Errors
    /// [`Error::AtFile`] if the file is there but not whole.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let mut all = candle_core::safetensors::load(path, &Device::Cpu).map_err(|e| damaged(path, e))?;
        let json = all.remove(PROGRESS).ok_or_else(|| damaged(path, "no progress in it"))?;
        let json = json.to_vec1::<u8>()?;
        let progress: Progress = serde_json::from_slice(&json).map_err(|e| damaged(path, e))?;
        let take = |kind: &str| -> HashMap<String, Tensor> {
            let of_kind = |(name, tensor): (&String, &Tensor)| {
                name.strip_prefix(kind)?.strip_prefix('/').map(|rest| (rest.to_string(), tensor.clone()))
            };
            all.iter().filter_map(of_kind).collect()
        };
        let (parameters, best, optimizer) = (take("parameters"), take("best"), take("optimizer"));
        let named_best = |(i, name): (usize, &String)| (name.clone(), take(&format!("best_of_{i}")));
        let best_of = progress.best_of.keys().enumerate().map(named_best).collect();
        Ok(Some(TrainingCheckpoint { parameters, best, best_of, optimizer, progress }))
    }
}

fn damaged(path: &Path, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    AtFile::new(path, cause).into()
}

//! Checkpoints.

use super::flag;
use anyhow::Result;
use candle_core::{DType, Device};
use oncograph_encoder::{Checkpoint, VideoResNetConfig};
use oncograph_nn::{ParamStore, Seed};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The names, shapes and sums of the tensors; with the option `load`, a trunk of r3d_18 with two channels must take them.
pub fn checkpoint(path: &Path, options: &Value) -> Result<Value> {
    let checkpoint = Checkpoint::read(path)?;
    if flag(options, "load") {
        let store = ParamStore::new(Seed::new(1));
        VideoResNetConfig::r3d_18(3).base_width(2).build(store.var_builder(DType::F32, &Device::Cpu))?;
        checkpoint.clone().without("fc.").load_strict(&store)?;
    }
    let mut tensors = Map::new();
    for name in checkpoint.names() {
        let Some(tensor) = checkpoint.get(name) else { continue };
        let sum = tensor.to_dtype(DType::F64)?.flatten_all()?.sum_all()?.to_scalar::<f64>()?;
        tensors.insert(name.to_string(), json!({"shape": tensor.dims(), "sum": sum}));
    }
    let weights = checkpoint.names().iter().filter(|n| !n.ends_with("num_batches_tracked")).count();
    Ok(json!({"count": tensors.len(), "weights": weights, "tensors": tensors}))
}

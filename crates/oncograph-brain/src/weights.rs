//! Parameters in memory, as bundles hold them.

use crate::Result;
use candle_core::Device;
use oncograph_nn::ParamStore;

/// All values of a store as safetensors.
pub(crate) fn to_bytes(store: &ParamStore) -> Result<Vec<u8>> {
    let bytes = safetensors::serialize(store.snapshot()?, None);
    Ok(bytes.map_err(candle_core::Error::wrap)?)
}

/// Puts back what [`to_bytes`] made.
pub(crate) fn restore(store: &ParamStore, bytes: &[u8]) -> Result<()> {
    Ok(store.restore(&candle_core::safetensors::load_buffer(bytes, &Device::Cpu)?)?)
}

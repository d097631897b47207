//! Normalisation layers whose gradients flow, with PyTorch's names and buffers.

mod batch_norm;
mod group_norm;
mod instance_norm;
mod layer_norm;
#[cfg(feature = "cuda")]
mod on_device;
mod standardize;

pub use batch_norm::{BatchNorm, BatchNormConfig};
pub use group_norm::{GroupNorm, GroupNormConfig};
pub use instance_norm::{InstanceNorm, InstanceNormConfig};
pub use layer_norm::{LayerNorm, LayerNormConfig};
pub(crate) use standardize::{Moments, for_each_row};

use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};

fn check_eps(op: &'static str, eps: f64) -> Result<()> {
    if eps.is_finite() && eps >= 0.0 {
        return Ok(());
    }
    Err(Error::config(op, "eps", "finite and at least 0", eps))
}

fn check_channels(op: &'static str, x: &Tensor, channels: usize) -> Result<()> {
    if x.rank() >= 2 && x.dims()[1] == channels {
        return Ok(());
    }
    Err(Error::shape(op, format!("[batch, {channels}, ..]"), x.dims()))
}

/// `weight` of ones and `bias` of zeros, if the layer has them.
fn affine(size: usize, wanted: bool, vb: &VarBuilder) -> Result<Option<(Tensor, Tensor)>> {
    if !wanted {
        return Ok(None);
    }
    let weight = vb.get_with_hints(size, "weight", Init::Const(1.0))?;
    Ok(Some((weight, vb.get_with_hints(size, "bias", Init::Const(0.0))?)))
}

/// `x * weight + bias` with both along dimension 1 of `x`.
fn scale_channels(x: &Tensor, affine: &Option<(Tensor, Tensor)>) -> Result<Tensor> {
    let Some((weight, bias)) = affine else { return Ok(x.clone()) };
    let mut dims = vec![1; x.rank()];
    dims[1] = weight.elem_count();
    Ok(x.broadcast_mul(&weight.reshape(dims.as_slice())?)?.broadcast_add(&bias.reshape(dims)?)?)
}

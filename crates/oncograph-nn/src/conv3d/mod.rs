//! 3D convolution, which candle lacks: differentiable, with stride, padding, dilation and groups.

mod config;
mod im2col;
mod layer;
mod op;
mod pad;
mod plain;
mod transpose;

pub use config::Conv3dConfig;
pub use layer::{Conv3d, Conv3dLayerConfig};
pub use pad::{PaddingMode, pad3d};
pub use transpose::{ConvTranspose3d, ConvTranspose3dConfig, ConvTranspose3dLayerConfig, conv_transpose3d};

use crate::element::require_cpu;
use crate::{Error, Result};
use candle_core::Tensor;
use config::Geometry;
use op::Convolution;

/// The kernel that computes a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// The fastest one for the sizes and the device.
    #[default]
    Auto,
    /// The definition, loop by loop, summed in f64: slow, for checks.
    Plain,
    /// Matrix products over tiles of patches.
    Im2col,
}

/// The 3D convolution (cross-correlation, as everywhere in the field) of `x` with `weight`.
///
/// `y[n, o, p] = bias[o] + sum_{c, k} weight[o, c, k] x[n, c, stride p + dilation k - padding]`
///
/// # Shapes
/// `x` \[batch, in, D, H, W\], `weight` \[out, in / groups, kD, kH, kW\], `bias` \[out\] give
/// \[batch, out, D', H', W'\] with `D' = floor((D + 2 padding - dilation (kD - 1) - 1) / stride) + 1`.
///
/// # Errors
/// [`Error::Shape`] for shapes that do not fit together or a kernel larger than the padded volume,
/// [`Error::Config`] for a zero stride, dilation or group count or a type other than f32 and f64,
/// [`Error::NoKernel`] off the CPU.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::conv3d::{Conv3dConfig, conv3d};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let x = Tensor::ones((1, 1, 3, 3, 3), DType::F32, &Device::Cpu)?;
/// let w = Tensor::ones((1, 1, 3, 3, 3), DType::F32, &Device::Cpu)?;
/// let y = conv3d(&x, &w, None, &Conv3dConfig::new().padding([1; 3]))?;
/// // The centre sees all 27 voxels, a corner 8 of them.
/// let y = y.flatten_all()?.to_vec1::<f32>()?;
/// assert_eq!((y[13], y[0]), (27.0, 8.0));
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.functional.conv3d`.
pub fn conv3d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, config: &Conv3dConfig) -> Result<Tensor> {
    conv3d_with(x, weight, bias, config, Algorithm::Auto)
}

/// [`conv3d`] with a chosen kernel.
///
/// # Errors
/// As [`conv3d`].
pub fn conv3d_with(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    config: &Conv3dConfig,
    algorithm: Algorithm,
) -> Result<Tensor> {
    Geometry::new(x.dims(), weight.dims(), config)?;
    require_cpu("conv3d", x.device())?;
    let op = Convolution { config: *config, algorithm };
    let Some(bias) = bias else { return Ok(x.apply_op2(weight, op)?) };
    if bias.dims() != &weight.dims()[..1] {
        return Err(Error::shape("conv3d bias", format!("[{}]", weight.dims()[0]), bias.dims()));
    }
    Ok(x.apply_op3(weight, bias, op)?)
}

#[cfg(test)]
mod tests;

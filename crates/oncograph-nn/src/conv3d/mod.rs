//! 3D convolution, which candle lacks: differentiable, with stride, padding, dilation and groups.

mod config;
mod conv_norm;
mod im2col;
mod layer;
mod op;
mod pad;
mod plain;
mod transpose;
mod winograd;

pub use config::Conv3dConfig;
pub use layer::{Conv3d, Conv3dLayerConfig};
pub use pad::{PaddingMode, pad3d};
pub use transpose::{ConvTranspose3d, ConvTranspose3dConfig, ConvTranspose3dLayerConfig, conv_transpose3d};
pub use winograd::{BlockedConv3d, BlockedVolume, SpareVolumes};

use crate::{Error, Precision, Result};
use candle_core::{DType, Tensor};
pub(crate) use config::Geometry;
use op::Convolution;

/// The kernel that computes a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// The fastest one for the sizes and the type: in f32 with at least sixteen channels on both sides and enough
    /// volume Winograd's, else matrix products. The error against exact arithmetic stays below 3e-5 of the largest
    /// output (measured: see the module of the kernels).
    #[default]
    Auto,
    /// The definition, loop by loop, summed in f64: slow, for checks.
    Plain,
    /// Matrix products over tiles of patches.
    Im2col,
    /// Winograd's `F(2x2, 3x3)` in each plane: 2.25 times fewer multiplications for a 3x3x3 kernel with stride 1,
    /// padding 0 or 1, no dilation and one group, in f32. Rounding errors like those of matrix products.
    Winograd2,
    /// Winograd's `F(4x4, 3x3)`: 4 times fewer multiplications; rounding errors about twenty times those of
    /// matrix products, 1.2e-5 of the largest output.
    Winograd4,
}

impl Algorithm {
    /// The tile size of Winograd's kernel, if it is to be used for `g` in a pass of type `dtype`.
    fn tile(self, g: &Geometry, dtype: DType) -> Option<usize> {
        match self {
            Algorithm::Auto if dtype == DType::F32 => winograd::fastest_among_tensors(g),
            Algorithm::Winograd2 => Some(2),
            Algorithm::Winograd4 => Some(4),
            _ => None,
        }
    }
}

fn does_not_fit(g: &Geometry) -> Error {
    let expected =
        "a 3x3x3 or 1x3x3 kernel, stride 1, padding 0 or 1, no dilation, one group, f32 for Winograd";
    Error::config("conv3d", "algorithm", expected, format!("{g:?}"))
}

/// The 3D convolution (cross-correlation, as everywhere in the field) of `x` with `weight`.
///
/// `y[n, o, p] = bias[o] + sum_{c, k} weight[o, c, k] x[n, c, stride p + dilation k - padding]`
///
/// Products are in the precision of [`with_precision`](crate::with_precision), those of the gradients, too.
///
/// # Shapes
/// `x` \[batch, in, D, H, W\], `weight` \[out, in / groups, kD, kH, kW\], `bias` \[out\] give
/// \[batch, out, D', H', W'\] with `D' = floor((D + 2 padding - dilation (kD - 1) - 1) / stride) + 1`.
///
/// # Errors
/// [`Error::Shape`] for shapes that do not fit together or a kernel larger than the padded volume,
/// [`Error::Argument`] for a zero stride, dilation or group count or a type other than f32 and f64.
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

/// [`conv3d`] with a chosen kernel, also for the gradients.
///
/// # Errors
/// As [`conv3d`]; [`Error::Argument`] for a kernel of Winograd's where it does not apply.
pub fn conv3d_with(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    config: &Conv3dConfig,
    algorithm: Algorithm,
) -> Result<Tensor> {
    let g = Geometry::new(x.dims(), weight.dims(), config)?;
    let winograd = matches!(algorithm, Algorithm::Winograd2 | Algorithm::Winograd4);
    if winograd && !(winograd::winograd_fits(&g) && x.dtype() == DType::F32) {
        return Err(does_not_fit(&g));
    }
    let op = Convolution { config: *config, algorithm, precision: Precision::current() };
    let Some(bias) = bias else { return Ok(x.apply_op2(weight, op)?) };
    if bias.dims() != &weight.dims()[..1] {
        return Err(Error::shape("conv3d bias", format!("[{}]", weight.dims()[0]), bias.dims()));
    }
    Ok(x.apply_op3(weight, bias, op)?)
}

#[cfg(test)]
mod tests;

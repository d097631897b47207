//! The transposed 3D convolution.

mod layer;
mod op;

pub use layer::{ConvTranspose3d, ConvTranspose3dLayerConfig};

use super::config::Geometry;
use super::{Algorithm, Conv3dConfig};
use crate::{Error, Precision, Result};
use candle_core::Tensor;
use op::Transposed;
use serde::{Deserialize, Serialize};

const OP: &str = "conv_transpose3d";

/// How a transposed convolution spreads its input, with PyTorch's names and defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct ConvTranspose3dConfig {
    /// The distance in the output of neighbouring input elements; 1.
    pub stride: [usize; 3],
    /// What is cut off the output on each side; 0.
    pub padding: [usize; 3],
    /// What is added to the output at its far side, below the stride or the dilation; 0.
    pub output_padding: [usize; 3],
    /// The distance of neighbouring kernel elements; 1.
    pub dilation: [usize; 3],
    /// Into how many groups the channels are split that do not see each other; 1.
    pub groups: usize,
}

impl Default for ConvTranspose3dConfig {
    fn default() -> Self {
        let one = [1; 3];
        ConvTranspose3dConfig {
            stride: one,
            padding: [0; 3],
            output_padding: [0; 3],
            dilation: one,
            groups: 1,
        }
    }
}

impl ConvTranspose3dConfig {
    /// Stride 1, no padding, no dilation, one group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the distance in the output of neighbouring input elements.
    pub fn stride(mut self, stride: [usize; 3]) -> Self {
        self.stride = stride;
        self
    }

    /// Sets what is cut off the output on each side.
    pub fn padding(mut self, padding: [usize; 3]) -> Self {
        self.padding = padding;
        self
    }

    /// Sets what is added to the output at its far side.
    pub fn output_padding(mut self, output_padding: [usize; 3]) -> Self {
        self.output_padding = output_padding;
        self
    }

    /// Sets the distance of neighbouring kernel elements.
    pub fn dilation(mut self, dilation: [usize; 3]) -> Self {
        self.dilation = dilation;
        self
    }

    /// Sets the number of groups.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        self.forward_config().validate()?;
        if (0..3).any(|a| self.output_padding[a] >= self.stride[a].max(self.dilation[a])) {
            let got = format!("{:?}", self.output_padding);
            return Err(Error::config(OP, "output_padding", "below the stride or the dilation", got));
        }
        Ok(())
    }

    /// The convolution that this one is the transpose of.
    fn forward_config(&self) -> Conv3dConfig {
        let Self { stride, padding, dilation, groups, .. } = *self;
        Conv3dConfig { stride, padding, dilation, groups }
    }

    /// The output padding with which an input of `input` elements per axis gives an output of `output`.
    fn reaching(&self, input: [usize; 3], kernel: [usize; 3], output: [usize; 3]) -> Result<Self> {
        let least = Self { output_padding: [0; 3], ..*self }.sizes(input, kernel)?;
        let mut extra = [0; 3];
        for a in 0..3 {
            let largest = least[a] + self.stride[a].max(self.dilation[a]) - 1;
            extra[a] = match output[a].checked_sub(least[a]) {
                Some(extra) if output[a] <= largest => extra,
                _ => {
                    let expected = format!("a size from {} to {largest} along dimension {}", least[a], a + 2);
                    return Err(Error::shape(OP, expected, output));
                }
            };
        }
        Ok(Self { output_padding: extra, ..*self })
    }

    /// The output's sizes.
    fn sizes(&self, input: [usize; 3], kernel: [usize; 3]) -> Result<[usize; 3]> {
        let mut sizes = [0; 3];
        for a in 0..3 {
            let full = input[a].saturating_sub(1) * self.stride[a]
                + self.dilation[a] * (kernel[a] - 1)
                + self.output_padding[a]
                + 1;
            sizes[a] = full.saturating_sub(2 * self.padding[a]);
            if input[a] == 0 || sizes[a] == 0 {
                let expected = format!("an output along dimension {} behind the padding", a + 2);
                return Err(Error::shape(OP, expected, input));
            }
        }
        Ok(sizes)
    }

    /// The sizes of the convolution whose output is `x` \[batch, in, D, H, W\], for `weight`
    /// \[in, out / groups, kD, kH, kW\].
    fn geometry(&self, x: &[usize], weight: &[usize]) -> Result<Geometry> {
        self.validate()?;
        let (&[batch, channels, d, h, w], &[input, out, kd, kh, kw]) = (x, weight) else {
            return Err(Error::shape(OP, "input and weight of rank 5", (x, weight)));
        };
        if channels != input || !input.is_multiple_of(self.groups) || weight.contains(&0) {
            let expected =
                format!("input [batch, {input}, D, H, W] with channels that {} groups divide", self.groups);
            return Err(Error::shape(OP, expected, (x, weight)));
        }
        let (kernel, output) = ([kd, kh, kw], [d, h, w]);
        let Self { stride, padding, dilation, groups, .. } = *self;
        let (ci, co, input) = (out, input / groups, self.sizes(output, kernel)?);
        Ok(Geometry { batch, groups, ci, co, input, kernel, output, stride, padding, dilation })
    }
}

/// The transposed 3D convolution: every input element adds the kernel, times its value, to the output. It is the
/// gradient of [`super::conv3d`] with respect to its input. Products are in the precision of
/// [`with_precision`](crate::with_precision), as there.
///
/// # Shapes
/// `x` \[batch, in, D, H, W\], `weight` \[in, out / groups, kD, kH, kW\], `bias` \[out\] give \[batch, out, D', H', W'\]
/// with `D' = (D - 1) stride - 2 padding + dilation (kD - 1) + output_padding + 1`.
///
/// # Errors
/// [`Error::Shape`] for shapes that do not fit together or an empty output, [`Error::Argument`] for a value out of its
/// range or a type other than f32 and f64.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::conv3d::{ConvTranspose3dConfig, conv_transpose3d};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let x = Tensor::ones((1, 1, 2, 2, 2), DType::F32, &Device::Cpu)?;
/// let w = Tensor::ones((1, 1, 2, 2, 2), DType::F32, &Device::Cpu)?;
/// let y = conv_transpose3d(&x, &w, None, &ConvTranspose3dConfig::new().stride([2; 3]))?;
/// assert_eq!(y.dims(), [1, 1, 4, 4, 4]);
/// assert_eq!(y.sum_all()?.to_scalar::<f32>()?, 64.0);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.functional.conv_transpose3d`.
pub fn conv_transpose3d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    config: &ConvTranspose3dConfig,
) -> Result<Tensor> {
    transposed_with(x, weight, bias, config, Algorithm::Auto)
}

pub(super) fn transposed_with(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    config: &ConvTranspose3dConfig,
    algorithm: Algorithm,
) -> Result<Tensor> {
    let g = config.geometry(x.dims(), weight.dims())?;
    let op = Transposed { config: *config, algorithm, precision: Precision::current() };
    let Some(bias) = bias else { return Ok(x.apply_op2(weight, op)?) };
    if bias.dims() != [g.groups * g.ci] {
        return Err(Error::shape("conv_transpose3d bias", format!("[{}]", g.groups * g.ci), bias.dims()));
    }
    Ok(x.apply_op3(weight, bias, op)?)
}

#[cfg(test)]
mod tests;

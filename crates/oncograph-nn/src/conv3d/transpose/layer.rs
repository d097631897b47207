use super::{ConvTranspose3dConfig, OP, conv_transpose3d};
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use serde::{Deserialize, Serialize};

/// Configuration of [`ConvTranspose3d`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConvTranspose3dLayerConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Depth, height and width of the kernel.
    pub kernel: [usize; 3],
    /// Stride, padding, output padding, dilation and groups.
    #[serde(default)]
    pub conv: ConvTranspose3dConfig,
    /// Whether the layer has a bias; true.
    pub bias: bool,
}

impl ConvTranspose3dLayerConfig {
    /// A layer with PyTorch's defaults.
    pub fn new(in_channels: usize, out_channels: usize, kernel: [usize; 3]) -> Self {
        let conv = ConvTranspose3dConfig::new();
        ConvTranspose3dLayerConfig { in_channels, out_channels, kernel, conv, bias: true }
    }

    /// Sets stride, padding, output padding, dilation and groups.
    pub fn conv(mut self, conv: ConvTranspose3dConfig) -> Self {
        self.conv = conv;
        self
    }

    /// Sets whether the layer has a bias.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        self.conv.validate()?;
        for (field, channels) in [("in_channels", self.in_channels), ("out_channels", self.out_channels)] {
            if channels == 0 || !channels.is_multiple_of(self.conv.groups) {
                let expected = format!("a multiple of {} groups", self.conv.groups);
                return Err(Error::config("ConvTranspose3d", field, expected, channels));
            }
        }
        if self.kernel.contains(&0) {
            let got = format!("{:?}", self.kernel);
            return Err(Error::config("ConvTranspose3d", "kernel", "at least 1", got));
        }
        Ok(())
    }

    /// Makes the layer; weight and bias are drawn from `U(-1/sqrt(n), 1/sqrt(n))`, `n = out / groups * kernel`.
    ///
    /// # Errors
    /// As [`ConvTranspose3dLayerConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<ConvTranspose3d> {
        self.validate()?;
        let [d, h, w] = self.kernel;
        let out = self.out_channels / self.conv.groups;
        let bound = 1.0 / ((out * d * h * w) as f64).sqrt();
        let init = Init::Uniform { lo: -bound, up: bound };
        let weight = vb.get_with_hints((self.in_channels, out, d, h, w), "weight", init)?;
        let bias = self.bias.then(|| vb.get_with_hints(self.out_channels, "bias", init)).transpose()?;
        Ok(ConvTranspose3d { weight, bias, config: self.clone() })
    }
}

/// A transposed 3D convolution with parameters `weight` \[in, out / groups, kD, kH, kW\] and `bias` \[out\].
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::conv3d::{ConvTranspose3dConfig, ConvTranspose3dLayerConfig};
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let conv = ConvTranspose3dConfig::new().stride([2; 3]).padding([1; 3]);
/// let layer = ConvTranspose3dLayerConfig::new(4, 2, [3; 3]).conv(conv);
/// let layer = layer.build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let x = Tensor::ones((1, 4, 3, 3, 3), DType::F32, &Device::Cpu)?;
/// assert_eq!(layer.forward(&x)?.dims(), [1, 2, 5, 5, 5]);
/// assert_eq!(layer.forward_to_size(&x, [6; 3])?.dims(), [1, 2, 6, 6, 6]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.ConvTranspose3d`.
#[derive(Debug, Clone)]
pub struct ConvTranspose3d {
    weight: Tensor,
    bias: Option<Tensor>,
    config: ConvTranspose3dLayerConfig,
}

impl ConvTranspose3d {
    /// The configuration that the layer was built from.
    pub fn config(&self) -> &ConvTranspose3dLayerConfig {
        &self.config
    }

    /// Applies the layer.
    ///
    /// # Shapes
    /// As [`conv_transpose3d`].
    ///
    /// # Errors
    /// As [`conv_transpose3d`].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        conv_transpose3d(x, &self.weight, self.bias.as_ref(), &self.config.conv)
    }

    /// Applies the layer with the output padding that gives an output of `size`.
    ///
    /// # Errors
    /// As [`conv_transpose3d`], and [`Error::Shape`] for a size that no output padding gives.
    pub fn forward_to_size(&self, x: &Tensor, size: [usize; 3]) -> Result<Tensor> {
        let &[_, _, d, h, w] = x.dims() else {
            return Err(Error::shape(OP, "[batch, in, D, H, W]", x.dims()));
        };
        let conv = self.config.conv.reaching([d, h, w], self.config.kernel, size)?;
        conv_transpose3d(x, &self.weight, self.bias.as_ref(), &conv)
    }
}

impl candle_nn::Module for ConvTranspose3d {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(ConvTranspose3d::forward(self, x)?)
    }
}

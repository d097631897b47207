use super::{Conv3dConfig, PaddingMode, conv3d, pad3d};
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use serde::{Deserialize, Serialize};

/// Configuration of [`Conv3d`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Conv3dLayerConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Depth, height and width of the kernel.
    pub kernel: [usize; 3],
    /// Stride, padding, dilation and groups.
    #[serde(default)]
    pub conv: Conv3dConfig,
    /// What the padding is filled with; zeros.
    #[serde(default)]
    pub padding_mode: PaddingMode,
    /// Whether the padding is chosen so that the output has the size of the input (`padding="same"` in PyTorch), in
    /// place of that in `conv`; false.
    #[serde(default)]
    pub same_padding: bool,
    /// Whether the layer has a bias; true.
    pub bias: bool,
}

impl Conv3dLayerConfig {
    /// A layer with PyTorch's defaults.
    pub fn new(in_channels: usize, out_channels: usize, kernel: [usize; 3]) -> Self {
        Conv3dLayerConfig {
            in_channels,
            out_channels,
            kernel,
            conv: Conv3dConfig::new(),
            padding_mode: PaddingMode::Zeros,
            same_padding: false,
            bias: true,
        }
    }

    /// Sets stride, padding, dilation and groups.
    pub fn conv(mut self, conv: Conv3dConfig) -> Self {
        self.conv = conv;
        self
    }

    /// Sets what the padding is filled with.
    pub fn padding_mode(mut self, padding_mode: PaddingMode) -> Self {
        self.padding_mode = padding_mode;
        self
    }

    /// Sets whether the output has the size of the input; an odd voxel of padding lies at the far side.
    pub fn same_padding(mut self, same_padding: bool) -> Self {
        self.same_padding = same_padding;
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
        let groups = self.conv.groups;
        for (field, channels) in [("in_channels", self.in_channels), ("out_channels", self.out_channels)] {
            if channels == 0 || !channels.is_multiple_of(groups) {
                return Err(Error::config(
                    "Conv3d",
                    field,
                    format!("a multiple of {groups} groups"),
                    channels,
                ));
            }
        }
        if self.kernel.contains(&0) {
            return Err(Error::config("Conv3d", "kernel", "at least 1", format!("{:?}", self.kernel)));
        }
        if self.same_padding && self.conv.stride != [1; 3] {
            let got = format!("{:?}", self.conv.stride);
            return Err(Error::config("Conv3d", "stride", "1 with same_padding", got));
        }
        Ok(())
    }

    /// What is added before and behind each axis.
    fn margins(&self) -> [(usize, usize); 3] {
        std::array::from_fn(|a| match self.same_padding {
            true => {
                let total = self.conv.dilation[a] * self.kernel[a].saturating_sub(1);
                (total / 2, total - total / 2)
            }
            false => (self.conv.padding[a], self.conv.padding[a]),
        })
    }

    /// Makes the layer; weight and bias are drawn from `U(-1/sqrt(n), 1/sqrt(n))`, n the inputs of one output.
    ///
    /// # Errors
    /// As [`Conv3dLayerConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<Conv3d> {
        self.build_with_init(self.default_init(), vb)
    }

    /// Makes the layer with another distribution of the weight.
    ///
    /// # Errors
    /// As [`Conv3dLayerConfig::build`].
    pub fn build_with_init(&self, init: Init, vb: VarBuilder) -> Result<Conv3d> {
        self.validate()?;
        let [d, h, w] = self.kernel;
        let shape = (self.out_channels, self.in_channels / self.conv.groups, d, h, w);
        let weight = vb.get_with_hints(shape, "weight", init)?;
        let bias = match self.bias {
            true => Some(vb.get_with_hints(self.out_channels, "bias", self.default_init())?),
            false => None,
        };
        let margins = self.margins();
        let mut layer = Conv3d { weight, bias, conv: self.conv, margins: None };
        // Zeros that are alike on both sides are left to the convolution.
        if self.padding_mode == PaddingMode::Zeros && margins.iter().all(|(before, behind)| before == behind)
        {
            layer.conv = self.conv.padding(margins.map(|(before, _)| before));
        } else {
            layer.conv = self.conv.padding([0; 3]);
            layer.margins = Some((margins, self.padding_mode));
        }
        Ok(layer)
    }

    fn default_init(&self) -> Init {
        let inputs = self.kernel.iter().product::<usize>() * self.in_channels / self.conv.groups.max(1);
        let bound = 1.0 / (inputs.max(1) as f64).sqrt();
        Init::Uniform { lo: -bound, up: bound }
    }
}

/// A 3D convolution with parameters `weight` \[out, in / groups, kD, kH, kW\] and `bias` \[out\].
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::conv3d::{Conv3dConfig, Conv3dLayerConfig};
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let conv = Conv3dConfig::new().stride([1, 2, 2]).padding([1; 3]);
/// let layer = Conv3dLayerConfig::new(1, 4, [3; 3]).conv(conv);
/// let layer = layer.build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let y = layer.forward(&Tensor::ones((1, 1, 5, 8, 8), DType::F32, &Device::Cpu)?)?;
/// assert_eq!(y.dims(), [1, 4, 5, 4, 4]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.Conv3d`.
#[derive(Debug, Clone)]
pub struct Conv3d {
    pub(super) weight: Tensor,
    pub(super) bias: Option<Tensor>,
    pub(super) conv: Conv3dConfig,
    /// Padding that is made before the convolution.
    pub(super) margins: Option<([(usize, usize); 3], PaddingMode)>,
}

impl Conv3d {
    /// A layer from tensors that exist already.
    ///
    /// # Errors
    /// [`Error::Shape`] for a weight that is not of rank 5 or a bias that does not fit it.
    pub fn from_tensors(weight: Tensor, bias: Option<Tensor>, conv: Conv3dConfig) -> Result<Self> {
        conv.validate()?;
        let fits = weight.rank() == 5 && bias.as_ref().is_none_or(|b| b.dims() == &weight.dims()[..1]);
        if !fits {
            let got = (weight.dims(), bias.as_ref().map(|b| b.dims().to_vec()));
            return Err(Error::shape("Conv3d", "weight [out, in, kD, kH, kW] and bias [out]", got));
        }
        Ok(Conv3d { weight, bias, conv, margins: None })
    }

    /// The weight \[out, in / groups, kD, kH, kW\].
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias \[out\], if the layer has one.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Stride, padding, dilation and groups; padding that is not zeros is no part of it.
    pub fn config(&self) -> &Conv3dConfig {
        &self.conv
    }

    /// Convolves `x`.
    ///
    /// # Shapes
    /// `x` \[batch, in, D, H, W\] gives \[batch, out, D', H', W'\].
    ///
    /// # Errors
    /// As [`conv3d`].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self.margins {
            None => conv3d(x, &self.weight, self.bias.as_ref(), &self.conv),
            Some((margins, mode)) => {
                conv3d(&pad3d(x, margins, mode)?, &self.weight, self.bias.as_ref(), &self.conv)
            }
        }
    }
}

impl candle_nn::Module for Conv3d {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(Conv3d::forward(self, x)?)
    }
}

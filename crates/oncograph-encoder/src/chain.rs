//! Convolutions with batch norm, the building block of the residual encoders.

use crate::Result;
use candle_core::Tensor;
use candle_nn::init::{FanInOut, NonLinearity, NormalOrUniform};
use candle_nn::{Init, VarBuilder};
use oncograph_nn::conv3d::{Conv3d, Conv3dConfig, Conv3dLayerConfig};
use oncograph_nn::norm::{BatchNorm, BatchNormConfig};
use oncograph_nn::relu;

/// torchvision's start for a convolution that feeds a ReLU.
pub(crate) const KAIMING_FAN_OUT: Init =
    Init::Kaiming { dist: NormalOrUniform::Normal, fan: FanInOut::FanOut, non_linearity: NonLinearity::ReLU };

/// A convolution and the batch norm behind it; after folding the convolution alone.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    conv: Conv3d,
    norm: Option<BatchNorm>,
}

/// What a [`Step`] is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepConfig {
    pub channels: (usize, usize),
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub padding: [usize; 3],
    /// The same along every axis.
    pub dilation: usize,
}

impl Step {
    /// Without a bias in the convolution; `conv` and `norm` are the places of the parameters.
    pub(crate) fn new(c: StepConfig, conv: VarBuilder, norm: VarBuilder) -> Result<Self> {
        Self::with_bias(c, false, conv, norm)
    }

    /// [`Step::new`] whose convolution may have a bias.
    pub(crate) fn with_bias(c: StepConfig, bias: bool, conv: VarBuilder, norm: VarBuilder) -> Result<Self> {
        let config = Conv3dConfig::new().stride(c.stride).padding(c.padding).dilation([c.dilation; 3]);
        let layer = Conv3dLayerConfig::new(c.channels.0, c.channels.1, c.kernel).conv(config).bias(bias);
        let conv = layer.build_with_init(KAIMING_FAN_OUT, conv)?;
        Ok(Step { conv, norm: Some(BatchNormConfig::new(c.channels.1).build(norm)?) })
    }

    /// Every `stride`-th voxel, then channels of zeros up to `channels`, as a convolution for inputs like those of
    /// the weight `like`.
    pub(crate) fn picking(stride: usize, channels: usize, like: &Tensor) -> Result<Self> {
        let inputs = like.dim(1)?;
        let unit = Tensor::eye(inputs, like.dtype(), like.device())?;
        let weight = unit.pad_with_zeros(0, 0, channels.saturating_sub(inputs))?;
        let weight = weight.reshape((channels.max(inputs), inputs, 1, 1, 1))?;
        let config = Conv3dConfig::new().stride([stride; 3]);
        Ok(Step { conv: Conv3d::from_tensors(weight, None, config)?, norm: None })
    }

    /// The convolution alone.
    pub(crate) fn conv(&self) -> &Conv3d {
        &self.conv
    }

    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.run(x, false, train)
    }

    /// The positive part of [`Step::forward`].
    pub(crate) fn forward_relu(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.run(x, true, train)
    }

    fn run(&self, x: &Tensor, positive: bool, train: bool) -> Result<Tensor> {
        match &self.norm {
            Some(norm) => Ok(self.conv.forward_norm(x, norm, positive, train)?),
            None if positive => Ok(relu(&self.conv.forward(x)?)?),
            None => Ok(self.conv.forward(x)?),
        }
    }

    /// The same function in evaluation as one convolution with a bias: weight and bias of an output channel are
    /// multiplied by the norm's factor, its offset is added to the bias.
    pub(crate) fn folded(&self) -> Result<Self> {
        let Some(norm) = &self.norm else { return Ok(self.clone()) };
        let (factor, mut offset) = norm.factor_and_offset()?;
        if let Some(bias) = self.conv.bias() {
            let bias = bias.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>()?;
            offset.iter_mut().zip(&bias).zip(&factor).for_each(|((o, b), f)| *o += b * f);
        }
        let weight = self.conv.weight().detach();
        let (n, dtype, device) = (factor.len(), weight.dtype(), weight.device());
        let factor = Tensor::from_vec(factor, (n, 1, 1, 1, 1), device)?;
        let weight = weight.to_dtype(factor.dtype())?.broadcast_mul(&factor)?.to_dtype(dtype)?;
        let bias = Tensor::from_vec(offset, n, device)?.to_dtype(dtype)?;
        Ok(Step { conv: Conv3d::from_tensors(weight, Some(bias), *self.conv.config())?, norm: None })
    }
}

/// Steps with a ReLU behind each.
pub(crate) fn through(steps: &[Step], x: &Tensor, train: bool) -> Result<Tensor> {
    steps.iter().try_fold(x.clone(), |x, step| step.forward_relu(&x, train))
}

/// Steps with a ReLU between them.
#[derive(Debug, Clone)]
pub(crate) struct Chain(pub(crate) Vec<Step>);

impl Chain {
    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let Some((last, before)) = self.0.split_last() else { return Ok(x.clone()) };
        last.forward(&through(before, x, train)?, train)
    }

    /// The positive part of [`Chain::forward`].
    pub(crate) fn forward_relu(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        through(&self.0, x, train)
    }

    pub(crate) fn folded(&self) -> Result<Self> {
        Ok(Chain(self.0.iter().map(Step::folded).collect::<Result<_>>()?))
    }
}

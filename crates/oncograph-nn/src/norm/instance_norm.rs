use super::{GroupNorm, GroupNormConfig};
use crate::Result;
use candle_core::Tensor;
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

/// Configuration of [`InstanceNorm`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InstanceNormConfig {
    /// How many channels.
    pub channels: usize,
    /// Added to the variance; 1e-5.
    pub eps: f64,
    /// Whether the layer has `weight` and `bias` per channel; false, as in PyTorch.
    pub affine: bool,
}

impl InstanceNormConfig {
    /// A layer for this number of channels.
    pub fn new(channels: usize) -> Self {
        InstanceNormConfig { channels, eps: 1e-5, affine: false }
    }

    /// Sets the term that is added to the variance.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Sets whether the layer has `weight` and `bias`.
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        self.as_groups().validate()
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// As [`InstanceNormConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<InstanceNorm> {
        Ok(InstanceNorm(self.as_groups().build(vb)?))
    }

    fn as_groups(&self) -> GroupNormConfig {
        GroupNormConfig::new(self.channels, self.channels).eps(self.eps).affine(self.affine)
    }
}

/// Normalises each channel of each sample by its own mean and variance.
///
/// # Reference
/// Ulyanov et al. 2016; `torch.nn.InstanceNorm3d` without running statistics (its default).
#[derive(Debug, Clone)]
pub struct InstanceNorm(GroupNorm);

impl InstanceNorm {
    /// Normalises each channel.
    ///
    /// # Shapes
    /// `x` \[batch, channels, ..\] gives the same shape.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for another number of channels, or an error of candle.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(x)
    }
}

impl candle_nn::Module for InstanceNorm {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(InstanceNorm::forward(self, x)?)
    }
}

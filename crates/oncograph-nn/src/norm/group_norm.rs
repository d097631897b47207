use super::standardize::{Moments, standardize};
use super::{affine, check_channels, check_eps, scale_channels};
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

/// Configuration of [`GroupNorm`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GroupNormConfig {
    /// How many groups the channels are split into.
    pub groups: usize,
    /// How many channels; a multiple of `groups`.
    pub channels: usize,
    /// Added to the variance; 1e-5.
    pub eps: f64,
    /// Whether the layer has `weight` and `bias` per channel; true.
    pub affine: bool,
}

impl GroupNormConfig {
    /// `channels` in `groups` groups.
    pub fn new(groups: usize, channels: usize) -> Self {
        GroupNormConfig { groups, channels, eps: 1e-5, affine: true }
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
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        if self.groups == 0 || self.channels == 0 || !self.channels.is_multiple_of(self.groups) {
            let expected = format!("a divisor of the {} channels", self.channels);
            return Err(Error::config("GroupNorm", "groups", expected, self.groups));
        }
        check_eps("GroupNorm", self.eps)
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// As [`GroupNormConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<GroupNorm> {
        self.validate()?;
        Ok(GroupNorm { affine: affine(self.channels, self.affine, &vb)?, config: self.clone() })
    }
}

/// Normalises each sample's groups of channels by their own mean and variance.
///
/// # Reference
/// Wu and He 2018; `torch.nn.GroupNorm`.
#[derive(Debug, Clone)]
pub struct GroupNorm {
    config: GroupNormConfig,
    affine: Option<(Tensor, Tensor)>,
}

impl GroupNorm {
    /// Normalises each group.
    ///
    /// # Shapes
    /// `x` \[batch, channels, ..\] gives the same shape.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of channels, or an error of candle.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        check_channels("GroupNorm", x, self.config.channels)?;
        #[cfg(feature = "cuda")]
        if let Some(y) = self.on_device(x)? {
            return Ok(y);
        }
        let rows = x.dims()[0] * self.config.groups;
        let flat = x.reshape((1, rows, x.elem_count() / rows.max(1)))?;
        let moments = Moments::of(&flat)?;
        let y = standardize(&flat, None, moments, self.config.eps, true)?;
        scale_channels(&y.reshape(x.shape())?, &self.affine)
    }

    /// By the kernels of a CUDA device; none where they do not take `x`.
    #[cfg(feature = "cuda")]
    fn on_device(&self, x: &Tensor) -> Result<Option<Tensor>> {
        use super::on_device::{Grouping, Layer, Source, takes};
        let affine = self.affine.as_ref().map(|(w, b)| (w, b));
        if !takes(x, affine.into_iter().flat_map(|(w, b)| [w, b])) {
            return Ok(None);
        }
        let GroupNormConfig { groups, channels, eps, .. } = self.config;
        let (batch, count) = (x.dims()[0], x.elem_count());
        let per_channel = count / (batch * channels).max(1);
        let layer = Layer {
            groups: Grouping { outer: 1, groups: batch * groups, inner: per_channel * (channels / groups) },
            weights: Grouping { outer: batch, groups: channels, inner: per_channel },
            affine,
            eps,
            relu: false,
        };
        Ok(Some(layer.forward(x, Source::Input)?))
    }
}

impl candle_nn::Module for GroupNorm {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(GroupNorm::forward(self, x)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, device, pattern};
    use crate::{ParamStore, Seed};
    use candle_core::DType;

    #[test]
    fn each_group_has_mean_zero_and_the_right_gradient() {
        let store = ParamStore::new(Seed::new(1));
        let norm = GroupNormConfig::new(2, 4).build(store.var_builder(DType::F64, &device())).unwrap();
        let x = pattern(&[2, 4, 3], 1).unwrap();
        let y = norm.forward(&x).unwrap().reshape((4, 6)).unwrap().mean(1).unwrap().to_vec1::<f64>().unwrap();
        assert!(y.iter().all(|m| m.abs() < 1e-12));
        check_gradients(|x| norm.forward(&x[0]), &[x], 1e-6, 1e-7).unwrap();
        assert!(GroupNormConfig::new(3, 4).validate().is_err());
    }
}

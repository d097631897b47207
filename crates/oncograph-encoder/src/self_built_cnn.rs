use crate::chain::KAIMING_FAN_OUT;
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use oncograph_nn::conv3d::{Conv3d, Conv3dConfig, Conv3dLayerConfig};
use oncograph_nn::pool::{Pool3dConfig, adaptive_max_pool3d, max_pool3d};
use oncograph_nn::relu;
use serde::{Deserialize, Serialize};

/// Configuration of [`SelfBuiltCnn`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SelfBuiltCnnConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels behind the first and the second convolution; 16 and 32.
    pub widths: [usize; 2],
    /// The cells per axis of each pyramid level; 1, 2 and 4.
    pub levels: Vec<usize>,
}

impl SelfBuiltCnnConfig {
    /// 16 and 32 channels, pyramid levels 1, 2 and 4.
    pub fn new(in_channels: usize) -> Self {
        SelfBuiltCnnConfig { in_channels, widths: [16, 32], levels: vec![1, 2, 4] }
    }

    /// Sets the channels behind the two convolutions.
    pub fn widths(mut self, widths: [usize; 2]) -> Self {
        self.widths = widths;
        self
    }

    /// Sets the cells per axis of each pyramid level.
    pub fn levels(mut self, levels: Vec<usize>) -> Self {
        self.levels = levels;
        self
    }

    /// The length of a feature: channels times the cells of all levels; 32 (1 + 8 + 64) = 2336 by default.
    pub fn feature_len(&self) -> usize {
        self.widths[1] * self.levels.iter().map(|l| l * l * l).sum::<usize>()
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        let mut values = vec![("in_channels", self.in_channels), ("levels", self.levels.len())];
        values.extend(self.widths.map(|w| ("widths", w)));
        values.extend(self.levels.iter().map(|l| ("levels", *l)));
        match values.into_iter().find(|(_, v)| *v == 0) {
            Some((field, got)) => {
                let (expected, got) = ("at least 1".to_string(), got.to_string());
                Err(Error::config("SelfBuiltCnn", field, expected, got))
            }
            None => Ok(()),
        }
    }

    /// Makes the model.
    ///
    /// # Errors
    /// As [`SelfBuiltCnnConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<SelfBuiltCnn> {
        self.validate()?;
        let conv = |input, out, vb| {
            let conv = Conv3dConfig::new().padding([1; 3]);
            Conv3dLayerConfig::new(input, out, [3; 3]).conv(conv).build_with_init(KAIMING_FAN_OUT, vb)
        };
        let [first, second] = self.widths;
        let (conv1, conv2) =
            (conv(self.in_channels, first, vb.pp("conv1"))?, conv(first, second, vb.pp("conv2"))?);
        Ok(SelfBuiltCnn { config: self.clone(), conv1, conv2 })
    }
}

/// A shallow encoder: two 3x3x3 convolutions with ReLU and a 2x2x2 max-pool between, then max-pooling in pyramid
/// cells, so that volumes of any size give features of one length.
///
/// # Reference
/// The "self-built CNN" row of the spatio-temporal graph study, which states two convolutions and pyramid pooling but
/// neither widths nor levels: those are ours. The pooling is He et al. 2015, "Spatial pyramid pooling", in 3D.
#[derive(Debug, Clone)]
pub struct SelfBuiltCnn {
    config: SelfBuiltCnnConfig,
    conv1: Conv3d,
    conv2: Conv3d,
}

impl SelfBuiltCnn {
    /// The map behind the second convolution, before the pyramid.
    ///
    /// # Shapes
    /// `x` \[batch, in_channels, D, H, W\] gives \[batch, widths\[1\], D / 2, H / 2, W / 2\].
    ///
    /// # Errors
    /// As [`SelfBuiltCnn::forward`].
    pub fn forward_features(&self, x: &Tensor) -> Result<Tensor> {
        self.check_input(x)?;
        let x = max_pool3d(&relu(&self.conv1.forward(x)?)?, &Pool3dConfig::new([2; 3]))?;
        Ok(relu(&self.conv2.forward(&x)?)?)
    }

    /// The feature of each volume.
    ///
    /// # Shapes
    /// `x` \[batch, in_channels, D, H, W\], each dimension at least 2, gives \[batch, feature_len\].
    ///
    /// # Errors
    /// [`Error::Shape`] for another rank, number of channels or a smaller volume, or an error of the layers.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.forward_features(x)?;
        let level = |cells: &usize| Ok(adaptive_max_pool3d(&x, [*cells; 3])?.flatten_from(1)?);
        let levels = self.config.levels.iter().map(level).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&levels, 1)?)
    }

    fn check_input(&self, x: &Tensor) -> Result<()> {
        let fits =
            x.rank() == 5 && x.dims()[1] == self.config.in_channels && x.dims()[2..].iter().all(|d| *d >= 2);
        if !fits {
            let expected =
                format!("[batch, {}, D, H, W] with dimensions of at least 2", self.config.in_channels);
            return Err(Error::Shape { op: "SelfBuiltCnn", expected, got: x.dims().to_vec() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use oncograph_nn::testing::{assert_gradient_coverage, device, pattern};
    use oncograph_nn::{ParamStore, Seed};

    #[test]
    fn any_size_gives_one_length_and_every_parameter_a_gradient() {
        let store = ParamStore::new(Seed::new(1));
        let config = SelfBuiltCnnConfig::new(2).widths([3, 4]);
        let model = config.build(store.var_builder(DType::F64, &device())).unwrap();
        for size in [[2, 2, 2], [5, 9, 7], [8, 8, 8]] {
            let x = pattern(&[2, 2, size[0], size[1], size[2]], 1).unwrap();
            let y = model.forward(&x).unwrap();
            assert_eq!(y.dims(), [2, config.feature_len()]);
            assert_eq!(model.forward_features(&x).unwrap().dims()[2..], size.map(|s| s / 2));
            assert_gradient_coverage(&store, &y.sqr().unwrap().sum_all().unwrap()).unwrap();
        }
        assert_eq!(SelfBuiltCnnConfig::new(1).feature_len(), 2336);
        assert!(model.forward(&pattern(&[1, 2, 1, 4, 4], 1).unwrap()).is_err());
        assert!(SelfBuiltCnnConfig::new(1).levels(vec![]).validate().is_err());
    }
}

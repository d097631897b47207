use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::init::{FanInOut, NonLinearity, NormalOrUniform};
use candle_nn::{Init, Linear, Module, VarBuilder};
use oncograph_nn::conv3d::{Conv3d, Conv3dConfig, Conv3dLayerConfig};
use oncograph_nn::norm::{BatchNorm, BatchNormConfig};
use oncograph_nn::pool::{Pool3dConfig, adaptive_avg_pool3d, avg_pool3d, max_pool3d};
use oncograph_nn::relu;
use serde::{Deserialize, Serialize};

const OP: &str = "DenseNet";

/// MONAI's start of a convolution here: Kaiming's by fan-in.
const KAIMING_FAN_IN: Init =
    Init::Kaiming { dist: NormalOrUniform::Normal, fan: FanInOut::FanIn, non_linearity: NonLinearity::ReLU };

/// Configuration of [`DenseNet`], with MONAI's names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DenseNetConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Classes.
    pub out_channels: usize,
    /// Channels of the first convolution; 64.
    pub init_features: usize,
    /// Channels that every layer adds; 32.
    pub growth_rate: usize,
    /// Layers of each block.
    pub block_config: Vec<usize>,
    /// Channels of a layer's bottleneck, in growth rates; 4.
    pub bn_size: usize,
}

impl DenseNetConfig {
    /// MONAI's `DenseNet121`.
    pub fn densenet121(in_channels: usize, out_channels: usize) -> Self {
        DenseNetConfig {
            in_channels,
            out_channels,
            init_features: 64,
            growth_rate: 32,
            block_config: vec![6, 12, 24, 16],
            bn_size: 4,
        }
    }

    /// Sets the channels of the first convolution.
    pub fn init_features(mut self, init_features: usize) -> Self {
        self.init_features = init_features;
        self
    }

    /// Sets the channels that every layer adds.
    pub fn growth_rate(mut self, growth_rate: usize) -> Self {
        self.growth_rate = growth_rate;
        self
    }

    /// Sets the layers of each block.
    pub fn block_config(mut self, block_config: impl Into<Vec<usize>>) -> Self {
        self.block_config = block_config.into();
        self
    }

    /// Sets the channels of a layer's bottleneck, in growth rates.
    pub fn bn_size(mut self, bn_size: usize) -> Self {
        self.bn_size = bn_size;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        let config = |field, expected: &str, got: String| Error::config(OP, field, expected, got);
        for (field, value) in [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("init_features", self.init_features),
            ("growth_rate", self.growth_rate),
            ("bn_size", self.bn_size),
        ] {
            if value == 0 {
                return Err(config(field, "at least 1", "0".into()));
            }
        }
        if self.block_config.is_empty() || self.block_config.contains(&0) {
            let got = format!("{:?}", self.block_config);
            return Err(config("block_config", "one or more numbers above 0", got));
        }
        Ok(())
    }

    /// Makes the model.
    ///
    /// # Errors
    /// As [`DenseNetConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<DenseNet> {
        self.validate()?;
        let features = vb.pp("features");
        let conv0 = Conv3dConfig::new().stride([2; 3]).padding([3; 3]);
        let conv0 =
            Conv3dLayerConfig::new(self.in_channels, self.init_features, [7; 3]).conv(conv0).bias(false);
        let conv0 = conv0.build_with_init(KAIMING_FAN_IN, features.pp("conv0"))?;
        let norm0 = BatchNormConfig::new(self.init_features).build(features.pp("norm0"))?;
        let mut channels = self.init_features;
        let mut blocks = vec![];
        for (i, &count) in self.block_config.iter().enumerate() {
            let block = features.pp(format!("denseblock{}", i + 1));
            let mut layers = vec![];
            for j in 0..count {
                let at = block.pp(format!("denselayer{}", j + 1)).pp("layers");
                let middle = self.bn_size * self.growth_rate;
                layers.push([
                    Part::new(channels, middle, 1, at.pp("norm1"), at.pp("conv1"))?,
                    Part::new(middle, self.growth_rate, 3, at.pp("norm2"), at.pp("conv2"))?,
                ]);
                channels += self.growth_rate;
            }
            let last = i + 1 == self.block_config.len();
            let transition = if last {
                None
            } else {
                let at = features.pp(format!("transition{}", i + 1));
                let transition = Part::new(channels, channels / 2, 1, at.pp("norm"), at.pp("conv"))?;
                channels /= 2;
                Some(transition)
            };
            blocks.push(Block { layers, transition });
        }
        let norm5 = BatchNormConfig::new(channels).build(features.pp("norm5"))?;
        let out = vb.pp("class_layers").pp("out");
        let bound = 1.0 / (channels as f64).sqrt();
        let uniform = Init::Uniform { lo: -bound, up: bound };
        let weight = out.get_with_hints((self.out_channels, channels), "weight", uniform)?;
        let bias = out.get_with_hints(self.out_channels, "bias", Init::Const(0.0))?;
        let out = Linear::new(weight, Some(bias));
        Ok(DenseNet { in_channels: self.in_channels, conv0, norm0, blocks, norm5, out })
    }
}

/// Norm, ReLU and convolution.
#[derive(Debug, Clone)]
struct Part {
    norm: BatchNorm,
    conv: Conv3d,
}

impl Part {
    fn new(input: usize, output: usize, kernel: usize, norm: VarBuilder, conv: VarBuilder) -> Result<Self> {
        let config = Conv3dConfig::new().padding([kernel / 2; 3]);
        let layer = Conv3dLayerConfig::new(input, output, [kernel; 3]).conv(config).bias(false);
        let conv = layer.build_with_init(KAIMING_FAN_IN, conv)?;
        Ok(Part { norm: BatchNormConfig::new(input).build(norm)?, conv })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        Ok(self.conv.forward(&relu(&self.norm.forward(x, train)?)?)?)
    }
}

#[derive(Debug, Clone)]
struct Block {
    layers: Vec<[Part; 2]>,
    transition: Option<Part>,
}

/// MONAI's 3D DenseNet: in a block every layer sees the outputs of all layers before it.
///
/// Parameters have MONAI's names: `features.denseblock1.denselayer1.layers.conv1.weight`, `class_layers.out.weight`.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_encoder::DenseNetConfig;
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let config = DenseNetConfig::densenet121(4, 1).init_features(8).growth_rate(4).block_config([2, 2]);
/// let model = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let scan = Tensor::ones((1, 4, 16, 16, 16), DType::F32, &Device::Cpu)?;
/// assert_eq!(model.forward(&scan, false)?.dims(), [1, 1]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// Huang et al. 2017; `monai.networks.nets.DenseNet` with three spatial dimensions, without its dropout.
#[derive(Debug, Clone)]
pub struct DenseNet {
    in_channels: usize,
    conv0: Conv3d,
    norm0: BatchNorm,
    blocks: Vec<Block>,
    norm5: BatchNorm,
    out: Linear,
}

impl DenseNet {
    /// The last feature map, behind its norm; `train` chooses the batch's statistics in the norms.
    ///
    /// # Shapes
    /// `x` \[batch, in_channels, D, H, W\] -> \[batch, channels, D', H', W'\]
    ///
    /// # Errors
    /// [`Error::Shape`] for another rank or number of channels, or an error of the layers.
    pub fn forward_features(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        if x.rank() != 5 || x.dim(1)? != self.in_channels {
            let expected = format!("[batch, {}, D, H, W]", self.in_channels);
            return Err(Error::Shape { op: OP, expected, got: x.dims().to_vec() });
        }
        let mut x = relu(&self.norm0.forward(&self.conv0.forward(x)?, train)?)?;
        x = max_pool3d(&x, &Pool3dConfig::new([3; 3]).stride([2; 3]).padding([1; 3]))?;
        for block in &self.blocks {
            for [narrow, wide] in &block.layers {
                let new = wide.forward(&narrow.forward(&x, train)?, train)?;
                x = Tensor::cat(&[&x, &new], 1)?;
            }
            if let Some(transition) = &block.transition {
                x = avg_pool3d(&transition.forward(&x, train)?, &Pool3dConfig::new([2; 3]))?;
            }
        }
        Ok(self.norm5.forward(&x, train)?)
    }

    /// The outputs \[batch, out_channels\].
    ///
    /// # Errors
    /// As [`DenseNet::forward_features`].
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let map = relu(&self.forward_features(x, train)?)?;
        Ok(self.out.forward(&adaptive_avg_pool3d(&map, [1; 3])?.flatten_from(1)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use oncograph_nn::testing::device;
    use oncograph_nn::{ParamStore, Seed, testing};

    /// `sum(p.numel() for p in monai.networks.nets.DenseNet121(3, 1, 2).parameters())`, worked out from its layers.
    #[test]
    fn parameter_count_equals_monai() {
        let store = ParamStore::new(Seed::new(0));
        DenseNetConfig::densenet121(1, 2).build(store.var_builder(DType::F32, &device())).unwrap();
        let (mut expected, mut channels) = (343 * 64 + 2 * 64, 64);
        for (i, layers) in [6, 12, 24, 16].into_iter().enumerate() {
            for _ in 0..layers {
                expected += 2 * channels + 128 * channels + 2 * 128 + 27 * 128 * 32;
                channels += 32;
            }
            if i < 3 {
                expected += 2 * channels + channels * channels / 2;
                channels /= 2;
            }
        }
        expected += 2 * channels + 2 * channels + 2;
        assert_eq!((channels, store.parameter_count()), (1024, expected));
        assert!(store.get("features.denseblock4.denselayer16.layers.conv2.weight").is_some());
        assert!(store.get("features.transition3.norm.running_mean").is_some());
    }

    #[test]
    fn every_parameter_receives_a_gradient() {
        let store = ParamStore::new(Seed::new(2));
        let config = DenseNetConfig::densenet121(2, 3).init_features(4).growth_rate(3).block_config([2, 1]);
        let model = config.build(store.var_builder(DType::F64, &device())).unwrap();
        let x = testing::pattern(&[2, 2, 16, 17, 18], 1).unwrap();
        let y = model.forward(&x, true).unwrap();
        assert_eq!(y.dims(), [2, 3]);
        testing::assert_gradient_coverage(&store, &y.sqr().unwrap().sum_all().unwrap()).unwrap();
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = DenseNetConfig::densenet121(4, 1).block_config([]).validate().unwrap_err().to_string();
        assert_eq!(error, "DenseNet: block_config must be one or more numbers above 0, got []");
        let store = ParamStore::new(Seed::new(2));
        let config = DenseNetConfig::densenet121(2, 3).init_features(4).growth_rate(3).block_config([1]);
        let model = config.build(store.var_builder(DType::F32, &device())).unwrap();
        let x = Tensor::zeros((1, 3, 16, 16, 16), DType::F32, &device()).unwrap();
        assert!(model.forward(&x, false).unwrap_err().to_string().contains("[batch, 2, D, H, W]"));
    }
}

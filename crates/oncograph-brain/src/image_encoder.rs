use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use oncograph_nn::conv3d::{Conv3d, Conv3dConfig, Conv3dLayerConfig};
use oncograph_nn::norm::{BatchNorm, BatchNormConfig};
use oncograph_nn::pool::{Pool3dConfig, max_pool3d};
use oncograph_nn::{Linear, Module, linear, relu};
use serde::{Deserialize, Serialize};

/// How the last feature map becomes a vector (G-05).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageHead {
    /// All its values side by side.
    #[default]
    Flatten,
    /// The mean of each channel.
    Gap,
}

/// Configuration of [`ImageEncoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImageEncoderConfig {
    /// Channels of the input; 4, one per MRI sequence.
    pub in_channels: usize,
    /// Depth, height and width of the input in voxels; 120 each.
    pub size: [usize; 3],
    /// Channels of the blocks.
    pub channels: Vec<usize>,
    /// Widths of the dense layers.
    pub dense: Vec<usize>,
    /// Stride of the first convolution; 2 needs an eighth of the memory (G-04).
    pub stem_stride: usize,
    /// How the last feature map becomes a vector (G-05).
    pub head: ImageHead,
}

impl Default for ImageEncoderConfig {
    /// The published network: 4 x 120 x 120 x 120 to 32 features.
    fn default() -> Self {
        ImageEncoderConfig {
            in_channels: 4,
            size: [120; 3],
            channels: vec![64, 128, 128, 256, 256],
            dense: vec![512, 256, 32],
            stem_stride: 1,
            head: ImageHead::Flatten,
        }
    }
}

impl ImageEncoderConfig {
    /// Sets channels and size of the input.
    pub fn input(mut self, channels: usize, size: [usize; 3]) -> Self {
        (self.in_channels, self.size) = (channels, size);
        self
    }

    /// Sets the channels of the blocks.
    pub fn channels(mut self, channels: impl Into<Vec<usize>>) -> Self {
        self.channels = channels.into();
        self
    }

    /// Sets the widths of the dense layers.
    pub fn dense(mut self, dense: impl Into<Vec<usize>>) -> Self {
        self.dense = dense.into();
        self
    }

    /// Sets the stride of the first convolution.
    pub fn stem_stride(mut self, stride: usize) -> Self {
        self.stem_stride = stride;
        self
    }

    /// Sets how the last feature map becomes a vector.
    pub fn head(mut self, head: ImageHead) -> Self {
        self.head = head;
        self
    }

    /// The size of the last feature map: halved, rounded down, by every block.
    pub fn last_size(&self) -> [usize; 3] {
        self.size.map(|n| self.channels.iter().fold(n.div_ceil(self.stem_stride.max(1)), |n, _| n / 2))
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        const NAME: &str = "ImageEncoder";
        let positive = |field, widths: &[usize]| match widths.is_empty() || widths.contains(&0) {
            true => Err(Error::config(NAME, field, "one or more numbers above 0", format!("{widths:?}"))),
            false => Ok(()),
        };
        positive("in_channels", &[self.in_channels])?;
        positive("channels", &self.channels)?;
        positive("dense", &self.dense)?;
        positive("stem_stride", &[self.stem_stride])?;
        if self.last_size().contains(&0) {
            let least = self.stem_stride << self.channels.len();
            return Err(Error::config(NAME, "size", format!("at least {least}"), format!("{:?}", self.size)));
        }
        Ok(())
    }

    /// Makes the encoder.
    ///
    /// # Errors
    /// As [`ImageEncoderConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<ImageEncoder> {
        self.validate()?;
        let mut blocks = Vec::with_capacity(self.channels.len());
        let mut input = self.in_channels;
        for (i, &out) in self.channels.iter().enumerate() {
            let stride = if i == 0 { self.stem_stride } else { 1 };
            let conv = Conv3dConfig::new().padding([1; 3]).stride([stride; 3]);
            // Four places per block, as in a sequence of convolution, norm, ReLU and pooling.
            let at = |offset: usize| vb.pp("features").pp(4 * i + offset);
            let conv = Conv3dLayerConfig::new(input, out, [3; 3]).conv(conv).build(at(0))?;
            blocks.push(Block { conv, norm: BatchNormConfig::new(out).build(at(1))? });
            input = out;
        }
        let cells = match self.head {
            ImageHead::Flatten => self.last_size().iter().product(),
            ImageHead::Gap => 1,
        };
        let widths: Vec<usize> = std::iter::once(input * cells).chain(self.dense.iter().copied()).collect();
        let layer = |(i, w): (usize, &[usize])| Ok(linear(w[0], w[1], vb.pp("fc").pp(2 * i))?);
        let dense = widths.windows(2).enumerate().map(layer).collect::<Result<_>>()?;
        Ok(ImageEncoder { blocks, dense, head: self.head })
    }
}

#[derive(Debug, Clone)]
struct Block {
    conv: Conv3d,
    norm: BatchNorm,
}

/// The encoder of the tumour image, f^I: blocks of convolution, batch norm, ReLU and pooling, then dense layers with
/// ReLU between.
///
/// Parameters are those of a PyTorch `Sequential`: `features.{4i}` the convolutions, `features.{4i+1}` the norms,
/// `fc.{2j}` the dense layers.
///
/// # Reference
/// Wei et al., *Multi-modal learning for predicting the genotype of glioma*, IEEE Transactions on Medical Imaging
/// 42(11), 2023, arXiv 2203.10852.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_brain::ImageEncoderConfig;
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let config = ImageEncoderConfig::default().input(4, [16; 3]).channels([8, 16]).dense([32]);
/// let encoder = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let x = Tensor::ones((2, 4, 16, 16, 16), DType::F32, &Device::Cpu)?;
/// assert_eq!(encoder.forward(&x, false)?.dims(), [2, 32]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ImageEncoder {
    blocks: Vec<Block>,
    dense: Vec<Linear>,
    head: ImageHead,
}

impl ImageEncoder {
    /// The last feature map before pooling: what a class activation map weighs.
    ///
    /// # Shapes
    /// `x` \[batch, channels, D, H, W\] -> \[batch, last channels, D', H', W'\]
    ///
    /// # Errors
    /// An error if the shape is another than the configured one.
    pub fn feature_map(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, block) in self.blocks.iter().enumerate() {
            if i > 0 {
                x = max_pool3d(&x, &Pool3dConfig::new([2; 3]))?;
            }
            x = block.conv.forward_norm(&x, &block.norm, true, train)?;
        }
        Ok(x)
    }

    /// The vector of a feature map that [`ImageEncoder::feature_map`] gave.
    ///
    /// # Errors
    /// An error if the shape does not fit.
    pub fn head(&self, map: &Tensor) -> Result<Tensor> {
        let pooled = max_pool3d(map, &Pool3dConfig::new([2; 3]))?;
        let mut x = match self.head {
            ImageHead::Flatten => pooled.flatten_from(1)?,
            ImageHead::Gap => pooled.flatten_from(2)?.mean(2)?,
        };
        for (i, layer) in self.dense.iter().enumerate() {
            x = layer.forward(&x)?;
            if i + 1 < self.dense.len() {
                x = relu(&x)?;
            }
        }
        Ok(x)
    }

    /// u^I; with `train`, batch norm uses the batch and updates its running values.
    ///
    /// # Shapes
    /// `x` \[batch, channels, D, H, W\] -> \[batch, last dense width\]
    ///
    /// # Errors
    /// An error if the shape is another than the configured one.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.head(&self.feature_map(x, train)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use oncograph_nn::testing::device;
    use oncograph_nn::{ParamStore, Seed};

    fn count(config: &ImageEncoderConfig, prefix: &str) -> usize {
        let store = ParamStore::new(Seed::new(0));
        config.build(store.var_builder(DType::F32, &device())).unwrap();
        store.trainable().iter().filter(|(n, _)| n.starts_with(prefix)).map(|(_, v)| v.elem_count()).sum()
    }

    /// Section 4 and G-05.
    #[test]
    fn parameter_counts_equal_the_specification() {
        let config = ImageEncoderConfig::default();
        assert_eq!(config.last_size(), [3; 3]);
        assert_eq!(count(&config, "features."), 3_327_168);
        assert_eq!(count(&config, "fc."), 3_679_008);
        assert_eq!(count(&config.head(ImageHead::Gap), "fc."), 271_136);
    }

    #[test]
    fn an_input_that_vanishes_is_refused() {
        let error =
            ImageEncoderConfig::default().input(4, [120, 31, 120]).validate().unwrap_err().to_string();
        assert_eq!(error, "ImageEncoder: size must be at least 32, got [120, 31, 120]");
        assert!(ImageEncoderConfig::default().input(4, [64; 3]).stem_stride(2).validate().is_ok());
        assert!(ImageEncoderConfig::default().dense([]).validate().is_err());
    }

    #[test]
    fn odd_sizes_and_strides_give_the_configured_width() {
        for (head, stride) in [(ImageHead::Flatten, 1), (ImageHead::Gap, 2)] {
            let store = ParamStore::new(Seed::new(3));
            let config = ImageEncoderConfig::default().input(2, [9, 13, 10]).channels([3, 4]).dense([5, 2]);
            let config = config.stem_stride(stride).head(head);
            let encoder = config.build(store.var_builder(DType::F64, &device())).unwrap();
            let x = oncograph_nn::testing::pattern(&[2, 2, 9, 13, 10], 1).unwrap();
            let y = encoder.forward(&x, true).unwrap();
            assert_eq!(y.dims(), [2, 2]);
            oncograph_nn::testing::assert_gradient_coverage(&store, &y.sqr().unwrap().sum_all().unwrap())
                .unwrap();
        }
    }
}

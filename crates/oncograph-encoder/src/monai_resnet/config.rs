use super::OP;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The kind of residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ResNetBlock {
    /// Two 3x3x3 convolutions: 10, 18 and 34 layers.
    #[default]
    Basic,
    /// 1x1x1, 3x3x3 and 1x1x1 convolutions; the last one widens four times: 50 layers and more.
    Bottleneck,
}

impl ResNetBlock {
    pub(super) fn expansion(self) -> usize {
        match self {
            ResNetBlock::Basic => 1,
            ResNetBlock::Bottleneck => 4,
        }
    }
}

/// What the shortcut does where the size or the number of channels changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ShortcutType {
    /// Takes every n-th voxel and adds channels of zeros; no parameters.
    A,
    /// A 1x1x1 convolution and a norm.
    #[default]
    B,
}

/// Configuration of [`super::MonaiResNet`], with MONAI's names and defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MonaiResNetConfig {
    /// The kind of residual block.
    pub block: ResNetBlock,
    /// Blocks per stage.
    pub layers: [usize; 4],
    /// Channels per stage, before the block's widening; 64, 128, 256, 512.
    pub block_inplanes: [usize; 4],
    /// Channels of the input.
    pub n_input_channels: usize,
    /// The kernel of the first convolution; 7.
    pub conv1_t_size: [usize; 3],
    /// The stride of the first convolution; 1 (MedicalNet: 2).
    pub conv1_t_stride: [usize; 3],
    /// Whether the max pool behind the first convolution is left out; false.
    pub no_max_pool: bool,
    /// What the shortcut does where sizes change; B.
    pub shortcut_type: ShortcutType,
    /// Multiplies the channels of every stage; 1.
    pub widen_factor: f64,
    /// The outputs of `fc`; `None` leaves it out (`feed_forward=False`).
    pub num_classes: Option<usize>,
    /// Whether the shortcut's convolution has a bias; true.
    pub bias_downsample: bool,
    /// Whether `layer3` and `layer4` have dilations of 2 and 4 in place of strides; false.
    #[serde(default)]
    pub dilated_stages: bool,
}

impl MonaiResNetConfig {
    /// MONAI's `resnet10`, `18`, `34`, `50`, `101`, `152` or `200`, without `fc`.
    ///
    /// # Errors
    /// [`Error::Argument`] for another depth.
    pub fn resnet(depth: usize, n_input_channels: usize) -> Result<Self> {
        use ResNetBlock::*;
        let (block, layers) = match depth {
            10 => (Basic, [1, 1, 1, 1]),
            18 => (Basic, [2, 2, 2, 2]),
            34 => (Basic, [3, 4, 6, 3]),
            50 => (Bottleneck, [3, 4, 6, 3]),
            101 => (Bottleneck, [3, 4, 23, 3]),
            152 => (Bottleneck, [3, 8, 36, 3]),
            200 => (Bottleneck, [3, 24, 36, 3]),
            other => return Err(config("depth", "10, 18, 34, 50, 101, 152 or 200", other)),
        };
        Ok(MonaiResNetConfig {
            block,
            layers,
            block_inplanes: [64, 128, 256, 512],
            n_input_channels,
            conv1_t_size: [7; 3],
            conv1_t_stride: [1; 3],
            no_max_pool: false,
            shortcut_type: ShortcutType::B,
            widen_factor: 1.0,
            num_classes: None,
            bias_downsample: true,
            dilated_stages: false,
        })
    }

    /// MedicalNet's trunk of this depth: one input channel, stem of stride 2, no bias in shortcuts, which have no
    /// parameters in 18 and 34 layers.
    ///
    /// MedicalNet's segmentation network replaces the strides of `layer3` and `layer4` by dilation; this one keeps
    /// them, as MONAI does with the same weights; [`MonaiResNetConfig::dilated_stages`] is the former.
    ///
    /// # Errors
    /// As [`MonaiResNetConfig::resnet`].
    pub fn medicalnet(depth: usize) -> Result<Self> {
        let shortcut = if matches!(depth, 18 | 34) { ShortcutType::A } else { ShortcutType::B };
        let config = Self::resnet(depth, 1)?.conv1_t_stride([2; 3]);
        Ok(config.shortcut_type(shortcut).bias_downsample(false))
    }

    /// Sets the channels per stage.
    pub fn block_inplanes(mut self, block_inplanes: [usize; 4]) -> Self {
        self.block_inplanes = block_inplanes;
        self
    }

    /// Sets the blocks per stage.
    pub fn layers(mut self, layers: [usize; 4]) -> Self {
        self.layers = layers;
        self
    }

    /// Sets the kernel of the first convolution.
    pub fn conv1_t_size(mut self, conv1_t_size: [usize; 3]) -> Self {
        self.conv1_t_size = conv1_t_size;
        self
    }

    /// Sets the stride of the first convolution.
    pub fn conv1_t_stride(mut self, conv1_t_stride: [usize; 3]) -> Self {
        self.conv1_t_stride = conv1_t_stride;
        self
    }

    /// Sets whether the max pool is left out.
    pub fn no_max_pool(mut self, no_max_pool: bool) -> Self {
        self.no_max_pool = no_max_pool;
        self
    }

    /// Sets what the shortcut does where sizes change.
    pub fn shortcut_type(mut self, shortcut_type: ShortcutType) -> Self {
        self.shortcut_type = shortcut_type;
        self
    }

    /// Sets the factor of all channels.
    pub fn widen_factor(mut self, widen_factor: f64) -> Self {
        self.widen_factor = widen_factor;
        self
    }

    /// Sets the outputs of `fc`; `None` leaves it out.
    pub fn num_classes(mut self, num_classes: Option<usize>) -> Self {
        self.num_classes = num_classes;
        self
    }

    /// Sets whether the shortcut's convolution has a bias.
    pub fn bias_downsample(mut self, bias_downsample: bool) -> Self {
        self.bias_downsample = bias_downsample;
        self
    }

    /// Sets whether the last two stages are dilated in place of strided.
    pub fn dilated_stages(mut self, dilated_stages: bool) -> Self {
        self.dilated_stages = dilated_stages;
        self
    }

    /// Channels of the last stage: the length of a globally pooled feature.
    pub fn feature_channels(&self) -> usize {
        self.planes()[3] * self.block.expansion()
    }

    pub(super) fn planes(&self) -> [usize; 4] {
        self.block_inplanes.map(|planes| (planes as f64 * self.widen_factor) as usize)
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        let mut sizes = vec![("n_input_channels", self.n_input_channels)];
        sizes.extend(self.layers.map(|n| ("layers", n)));
        sizes.extend(self.planes().map(|n| ("block_inplanes", n)));
        sizes.extend(self.conv1_t_size.map(|n| ("conv1_t_size", n)));
        sizes.extend(self.conv1_t_stride.map(|n| ("conv1_t_stride", n)));
        sizes.extend(self.num_classes.map(|n| ("num_classes", n)));
        match sizes.into_iter().find(|(_, size)| *size == 0) {
            Some((field, got)) => Err(config(field, "at least 1", got)),
            None => Ok(()),
        }
    }
}

pub(super) fn config(field: &'static str, expected: &str, got: impl ToString) -> Error {
    Error::config(OP, field, expected, got)
}

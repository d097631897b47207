use crate::features::PYRAMID_LEVELS;
use crate::{Error, Result};
use oncograph_encoder::{MonaiResNetConfig, VideoResNetConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The network that turns an image into a feature map (section 9), all frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backbone {
    /// torchvision's `r3d_18`: 8 times the first stage's channels, 512 as published.
    #[default]
    R3d18,
    /// torchvision's `r2plus1d_18`, of the same width.
    R2plus1d18,
    /// Two convolutions, of a quarter and half the configured channels: 32 with 64. Its pre-training on photographs, which the paper
    /// claims, cannot be had: kernels of images have no depth.
    SelfBuilt,
    /// MedicalNet's 18 layers: one channel, a stem of stride 2 and the last two stages dilated; 8 times the first stage's channels.
    Medicalnet18,
}

/// How an image of one channel enters a network that was trained on three (S-02).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// Through one kernel, the sum of those of the three channels; scaled by the mean of the channels' means and deviations.
    #[default]
    Sum,
    /// In all three channels, each scaled by its own mean and deviation.
    Replicate,
}

/// How values in \[0, 1\] are scaled before the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputScaling {
    /// Not at all, as runs without this setting were made.
    #[default]
    Unscaled,
    /// As the weights were trained, where there are any: those of the video networks with the mean and the deviation of Kinetics,
    /// those of MedicalNet with the mean and the deviation of the voxels above 0 of each volume, while 0 stays 0. Random weights
    /// were trained with nothing.
    AsTrained,
}

/// How a feature map becomes the features of a node (S-01).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapPooling {
    /// The means of 1, 8 and 64 cells, each brought to 8 cells; the network learns three weights to mix them.
    #[default]
    Grid2Weighted,
    /// The means of 8 cells alone.
    Pool2,
    /// The means of 1, 8 and 64 cells side by side, 73 per channel, and a learned linear map of them in the network
    /// ([`StgConfig::image_projection`](crate::StgConfig::image_projection)): of 512 channels to 4096 features 153 million weights,
    /// which take 2.4 GB with gradient and moments.
    ConcatProject,
    /// The same 73, mapped to 8 per channel by a sparse random projection that the seed draws and nobody trains.
    ConcatRp,
}

impl MapPooling {
    /// The vectors of a node that the network mixes.
    pub fn levels(self) -> usize {
        if self == MapPooling::Grid2Weighted { PYRAMID_LEVELS } else { 1 }
    }

    /// Numbers of each vector, from the channels of the map.
    pub fn features(self, channels: usize) -> usize {
        if self == MapPooling::ConcatProject { 73 * channels } else { 8 * channels }
    }
}

/// The cells that each channel of an image node is averaged in (S-01).
pub(crate) const CELLS: usize = 8;

/// How the CT node's map becomes its features (S-04).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CtNode {
    /// As those of the other image nodes.
    #[default]
    SamePooling,
    /// The mean of each channel over the volume, and a learned linear map of them: of 512 channels to 4096 features two million
    /// weights.
    Gap,
}

/// How a structure is cut out of the CT (S-03).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Roi {
    /// The CT within each mask goes through the network: one pass per structure.
    #[default]
    MaskInput,
    /// The whole CT goes through the network once; the cells of its map are averaged with the share of each that a mask fills.
    MaskPool,
}

/// The encoder that turns images into features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CtEncoderConfig {
    /// The network.
    #[serde(default)]
    pub backbone: Backbone,
    /// Channels of the first stage; 64 in the published networks.
    pub base_width: usize,
    /// A checkpoint of the backbone: torchvision's or MedicalNet's; none means random weights, drawn from the seed (S-02).
    pub weights: Option<PathBuf>,
    /// How an image of one channel enters a network of three (S-02).
    #[serde(default)]
    pub stem: Stem,
    /// How values are scaled before the network.
    #[serde(default)]
    pub input_scaling: InputScaling,
    /// How a feature map becomes the features of a node (S-01).
    #[serde(default)]
    pub pooling: MapPooling,
    /// How a structure is cut out (S-03).
    #[serde(default)]
    pub roi: Roi,
}

impl CtEncoderConfig {
    /// `r3d_18` of this width with random weights, as published in everything else.
    pub fn new(base_width: usize) -> Self {
        CtEncoderConfig {
            backbone: Backbone::R3d18,
            base_width,
            weights: None,
            stem: Stem::Sum,
            input_scaling: InputScaling::AsTrained,
            pooling: MapPooling::Grid2Weighted,
            roi: Roi::MaskInput,
        }
    }

    /// Sets the network.
    pub fn backbone(mut self, backbone: Backbone) -> Self {
        self.backbone = backbone;
        self
    }

    /// Sets how an image enters a network of three channels.
    pub fn stem(mut self, stem: Stem) -> Self {
        self.stem = stem;
        self
    }

    /// Sets how values are scaled before the network.
    pub fn input_scaling(mut self, scaling: InputScaling) -> Self {
        self.input_scaling = scaling;
        self
    }

    /// Sets how a structure is cut out.
    pub fn roi(mut self, roi: Roi) -> Self {
        self.roi = roi;
        self
    }

    /// Channels of the feature map.
    pub fn channels(&self) -> usize {
        match self.backbone {
            Backbone::SelfBuilt => self.base_width / 2,
            _ => 8 * self.base_width,
        }
    }

    /// Channels of the network's input.
    pub(crate) fn in_channels(&self) -> usize {
        if self.stem == Stem::Replicate { 3 } else { 1 }
    }

    pub(crate) fn video(&self) -> VideoResNetConfig {
        let network = match self.backbone {
            Backbone::R2plus1d18 => VideoResNetConfig::r2plus1d_18(self.in_channels()),
            _ => VideoResNetConfig::r3d_18(self.in_channels()),
        };
        network.base_width(self.base_width)
    }

    pub(crate) fn medicalnet(&self) -> Result<MonaiResNetConfig> {
        let planes = [0, 1, 2, 3].map(|stage| self.base_width << stage);
        Ok(MonaiResNetConfig::medicalnet(18)?.block_inplanes(planes).dilated_stages(true))
    }

    /// Checks the ranges, and that the weights and the stem are of this backbone.
    ///
    /// # Errors
    /// [`Error::Argument`] with the field.
    pub fn validate(&self) -> Result<()> {
        const OP: &str = "CtEncoderConfig";
        let least = if self.backbone == Backbone::SelfBuilt { 4 } else { 1 };
        if self.base_width < least {
            return Err(Error::config(OP, "base_width", format!("at least {least}"), self.base_width));
        }
        if self.backbone == Backbone::SelfBuilt && self.weights.is_some() {
            let expected = "none for self_built: nobody published any";
            return Err(Error::config(OP, "weights", expected, "a checkpoint"));
        }
        if self.backbone == Backbone::Medicalnet18 && self.stem == Stem::Replicate {
            let expected = "sum for medicalnet18, which has one channel";
            return Err(Error::config(OP, "stem", expected, "replicate"));
        }
        Ok(())
    }
}

/// What a report says of the encoder.
impl std::fmt::Display for CtEncoderConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let network = match self.backbone {
            Backbone::R3d18 => "r3d_18",
            Backbone::R2plus1d18 => "r2plus1d_18",
            Backbone::SelfBuilt => "two convolutions",
            Backbone::Medicalnet18 => "MedicalNet's ResNet-18",
        };
        write!(f, "{network}, {} channels, ", self.channels())?;
        match &self.weights {
            Some(path) => write!(f, "weights of {}, frozen", path.display()),
            None => write!(f, "random weights drawn from the seed, frozen"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_network_and_its_weights() {
        let encoder = CtEncoderConfig::new(64).backbone(Backbone::R2plus1d18);
        let text = "r2plus1d_18, 512 channels, random weights drawn from the seed, frozen";
        assert_eq!(encoder.to_string(), text);
        let mut trained = CtEncoderConfig::new(64).backbone(Backbone::Medicalnet18);
        trained.weights = Some("resnet_18.pth".into());
        assert_eq!(
            trained.to_string(),
            "MedicalNet's ResNet-18, 512 channels, weights of resnet_18.pth, frozen"
        );
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let error = |c: CtEncoderConfig| c.validate().unwrap_err().to_string();
        assert!(error(CtEncoderConfig::new(0)).contains("base_width must be at least 1"));
        let built = CtEncoderConfig::new(3).backbone(Backbone::SelfBuilt);
        assert!(error(built).contains("base_width must be at least 4"));
        let mut built = CtEncoderConfig::new(64).backbone(Backbone::SelfBuilt);
        built.weights = Some("w.pth".into());
        assert!(error(built).contains("nobody published any"));
        let medicalnet = CtEncoderConfig::new(64).backbone(Backbone::Medicalnet18);
        assert!(error(medicalnet.stem(Stem::Replicate)).contains("one channel"));
    }

    #[test]
    fn settings_without_an_option_are_what_they_were() {
        let read: CtEncoderConfig = serde_json::from_str(r#"{"base_width":64,"weights":"w.pth"}"#).unwrap();
        let mut old = CtEncoderConfig::new(64).input_scaling(InputScaling::Unscaled);
        old.weights = Some("w.pth".into());
        assert_eq!(read, old);
    }
}

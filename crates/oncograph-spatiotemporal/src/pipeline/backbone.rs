use crate::encoder_config::{Backbone as Kind, CtEncoderConfig, InputScaling, Stem};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use oncograph_core::{AtFile, Seed};
use oncograph_encoder::{Checkpoint, FoldedMonaiResNet, FoldedVideoResNet, SelfBuiltCnn, SelfBuiltCnnConfig};
use oncograph_nn::ParamStore;
use std::path::Path;

/// The mean and the deviation of each channel that torchvision's video networks were trained with, on values in \[0, 1\]
/// (`torchvision.models.video`, weights `KINETICS400_V1`).
const KINETICS: ([f32; 3], [f32; 3]) = ([0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989]);

/// One frozen backbone, with the scaling of its inputs.
#[derive(Debug, Clone)]
pub(super) struct Backbone {
    trunk: Trunk,
    stem: Stem,
    scaling: Option<Scaling>,
    device: Device,
}

#[derive(Debug, Clone)]
enum Trunk {
    Video(FoldedVideoResNet),
    Monai(FoldedMonaiResNet),
    SelfBuilt(SelfBuiltCnn),
}

/// What the weights were trained with.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scaling {
    Kinetics,
    /// The mean and the deviation of each volume's voxels above 0.
    Volume,
}

impl Backbone {
    /// With the weights of a checkpoint, else with such that `seed` draws.
    pub(super) fn new(
        config: &CtEncoderConfig,
        weights: Option<&Checkpoint>,
        seed: Seed,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let store = ParamStore::new(seed);
        let vb = store.var_builder(DType::F32, device);
        // Weights come before norms are folded into them.
        let load = || match weights {
            Some(weights) => weights.load_strict(&store).map_err(|e| match &config.weights {
                Some(path) => Error::from(AtFile::new(path, e)),
                None => e.into(),
            }),
            None => Ok(()),
        };
        let trunk = match config.backbone {
            Kind::R3d18 | Kind::R2plus1d18 => {
                let network = config.video().build(vb)?;
                load()?;
                Trunk::Video(network.folded()?)
            }
            Kind::Medicalnet18 => {
                let network = config.medicalnet()?.build(vb)?;
                load()?;
                Trunk::Monai(network.folded()?)
            }
            Kind::SelfBuilt => {
                let widths = [config.base_width / 4, config.base_width / 2];
                Trunk::SelfBuilt(SelfBuiltCnnConfig::new(config.in_channels()).widths(widths).build(vb)?)
            }
        };
        let trained = weights.is_some() && config.input_scaling == InputScaling::AsTrained;
        let scaling = trained.then_some(match config.backbone {
            Kind::Medicalnet18 => Scaling::Volume,
            _ => Scaling::Kinetics,
        });
        Ok(Backbone { trunk, stem: config.stem, scaling, device: device.clone() })
    }

    /// The feature map of an image \[1, 1, D, H, W\] of values in \[0, 1\] on the CPU.
    pub(super) fn map(&self, image: &Tensor) -> Result<Tensor> {
        let x = scaled(image, self.stem, self.scaling)?.to_device(&self.device)?;
        Ok(match &self.trunk {
            Trunk::Video(network) => network.forward_features(&x)?,
            Trunk::Monai(network) => network.forward_features(&x)?,
            Trunk::SelfBuilt(network) => network.forward_features(&x)?,
        })
    }
}

/// An image as the network's input \[1, 1 or 3, D, H, W\].
fn scaled(image: &Tensor, stem: Stem, scaling: Option<Scaling>) -> Result<Tensor> {
    let channels = if stem == Stem::Replicate { 3 } else { 1 };
    let x = if channels == 1 { image.clone() } else { image.repeat((1, channels, 1, 1, 1))? };
    match scaling {
        None => Ok(x),
        Some(Scaling::Kinetics) => {
            let (mean, deviation) = match stem {
                Stem::Replicate => (KINETICS.0.to_vec(), KINETICS.1.to_vec()),
                Stem::Sum => {
                    (vec![KINETICS.0.iter().sum::<f32>() / 3.0], vec![KINETICS.1.iter().sum::<f32>() / 3.0])
                }
            };
            let each = |v: Vec<f32>| Tensor::from_vec(v, (1, channels, 1, 1, 1), image.device());
            Ok(x.broadcast_sub(&each(mean)?)?.broadcast_div(&each(deviation)?)?)
        }
        Some(Scaling::Volume) => {
            let values = x.flatten_all()?.to_vec1::<f32>()?;
            let inside = || values.iter().filter(|v| **v > 0.0).map(|v| f64::from(*v));
            let n = inside().count().max(1) as f64;
            let mean = inside().sum::<f64>() / n;
            let deviation = (inside().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            // A volume of one value has no deviation: it becomes 0.
            let scale = if deviation > 1e-6 { 1.0 / deviation } else { 0.0 };
            let z = |v: &f32| if *v > 0.0 { ((f64::from(*v) - mean) * scale) as f32 } else { 0.0 };
            Ok(Tensor::from_vec(values.iter().map(z).collect(), x.shape(), image.device())?)
        }
    }
}

/// The weights of a backbone from a checkpoint, as its stem takes them.
pub(crate) fn read_weights(config: &CtEncoderConfig, path: &Path) -> Result<Checkpoint> {
    // What follows the trunk: torchvision's classes, MedicalNet's segmentation.
    let (first, rest) = match config.backbone {
        Kind::Medicalnet18 => ("conv1.weight", "conv_seg."),
        _ => ("stem.0.weight", "fc."),
    };
    let read = || Checkpoint::read(path)?.without(rest).fold_stem(first, config.in_channels());
    read().map_err(|e| match e {
        e @ oncograph_encoder::Error::AtFile(_) => e.into(),
        e => AtFile::new(path, e).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Tensor {
        Tensor::new(&[0f32, 0.2, 0.5, 0.9], &Device::Cpu).unwrap().reshape((1, 1, 1, 2, 2)).unwrap()
    }

    fn values(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn inputs_get_what_the_weights_were_trained_with() {
        assert_eq!(values(&scaled(&image(), Stem::Sum, None).unwrap()), values(&image()));
        let three = scaled(&image(), Stem::Replicate, Some(Scaling::Kinetics)).unwrap();
        assert_eq!(three.dims(), [1, 3, 1, 2, 2]);
        for (channel, got) in values(&three).chunks(4).enumerate() {
            for (got, x) in got.iter().zip(values(&image())) {
                approx::assert_relative_eq!(
                    *got,
                    (x - KINETICS.0[channel]) / KINETICS.1[channel],
                    epsilon = 1e-6
                );
            }
        }
        let one = values(&scaled(&image(), Stem::Sum, Some(Scaling::Kinetics)).unwrap());
        approx::assert_relative_eq!(one[2], (0.5 - 0.401092) / 0.222156, epsilon = 1e-5);
        // Three voxels above 0, of mean 0.533 and deviation 0.287; 0 stays.
        let z = values(&scaled(&image(), Stem::Sum, Some(Scaling::Volume)).unwrap());
        let (mean, deviation) = (1.6 / 3.0, ((0.04 + 0.25 + 0.81) / 3.0 - (1.6f32 / 3.0).powi(2)).sqrt());
        for (got, x) in z[1..].iter().zip([0.2, 0.5, 0.9]) {
            approx::assert_relative_eq!(*got, (x - mean) / deviation, epsilon = 1e-5);
        }
        assert_eq!(z[0], 0.0);
        let black = (image() * 0.0).unwrap();
        assert_eq!(values(&scaled(&black, Stem::Sum, Some(Scaling::Volume)).unwrap()), [0.0; 4]);
    }

    /// With weights the map is that of the scaled image; with random ones that of the image.
    #[test]
    fn only_given_weights_scale_their_inputs() {
        for kind in [Kind::R3d18, Kind::R2plus1d18, Kind::Medicalnet18] {
            let config = CtEncoderConfig::new(2).backbone(kind);
            let x = oncograph_nn::testing::pattern(&[1, 1, 6, 20, 20], 1).unwrap();
            let x = x.abs().unwrap().to_dtype(DType::F32).unwrap().to_device(&Device::Cpu).unwrap();
            let drawn = Backbone::new(&config, None, Seed::new(1), &Device::Cpu).unwrap();
            assert_eq!(drawn.scaling, None);
            let store = ParamStore::new(Seed::new(1));
            let vb = store.var_builder(DType::F32, &Device::Cpu);
            match kind {
                Kind::Medicalnet18 => drop(config.medicalnet().unwrap().build(vb).unwrap()),
                _ => drop(config.video().build(vb).unwrap()),
            }
            let weights = Checkpoint::from_tensors(store.snapshot().unwrap());
            let build = |config: &CtEncoderConfig| {
                Backbone::new(config, Some(&weights), Seed::new(2), &Device::Cpu).unwrap()
            };
            let loaded = build(&config);
            let by_hand = scaled(&x, Stem::Sum, loaded.scaling).unwrap();
            assert_eq!(values(&loaded.map(&x).unwrap()), values(&drawn.map(&by_hand).unwrap()));
            assert_ne!(values(&loaded.map(&x).unwrap()), values(&drawn.map(&x).unwrap()));
            let unscaled = build(&config.clone().input_scaling(InputScaling::Unscaled));
            assert_eq!(values(&unscaled.map(&x).unwrap()), values(&drawn.map(&x).unwrap()));
        }
    }

    /// The sum of the kernels and the same image in every channel are one function where nothing is scaled.
    #[test]
    fn a_replicated_image_passes_as_through_summed_kernels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r3d_18.safetensors");
        let rgb = CtEncoderConfig::new(2).stem(Stem::Replicate).input_scaling(InputScaling::Unscaled);
        let store = ParamStore::new(Seed::new(1));
        rgb.video().build(store.var_builder(DType::F32, &Device::Cpu)).unwrap();
        store.save(&path).unwrap();
        let map = |config: &CtEncoderConfig| {
            let weights = read_weights(config, &path).unwrap();
            let backbone = Backbone::new(config, Some(&weights), Seed::new(2), &Device::Cpu).unwrap();
            let x = oncograph_nn::testing::pattern(&[1, 1, 6, 20, 20], 1).unwrap();
            values(&backbone.map(&x.to_dtype(DType::F32).unwrap().to_device(&Device::Cpu).unwrap()).unwrap())
        };
        let (three, one) = (map(&rgb), map(&rgb.clone().stem(Stem::Sum)));
        let most = three.iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(most > 0.0 && three.iter().zip(&one).all(|(a, b)| (a - b).abs() < 1e-4 * most));
        // Channels have other means and deviations.
        let scaled = rgb.clone().input_scaling(InputScaling::AsTrained);
        let (three, one) = (map(&scaled), map(&scaled.clone().stem(Stem::Sum)));
        assert!(three.iter().zip(&one).any(|(a, b)| (a - b).abs() > 1e-4 * most));
    }
}

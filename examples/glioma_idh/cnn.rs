//! The image networks of table 3: a 3D ResNet-34 and a 3D DenseNet-121 on the tumour image.

use crate::cli::Preset;
use crate::stages::{Roles, Stages};
use candle_core::{DType, Tensor};
use oncograph::brain::{BinaryLearner, BinaryTraining, Error, Tumour, TumourBatch};
use oncograph::encoder::{DenseNetConfig, MonaiResNetConfig};
use oncograph::nn::optim::AdamConfig;
use oncograph::nn::{Mode, ParamStore, Seed};
use oncograph::train::{FitConfig, OptimizerConfig, fit};
use oncograph_examples::progress;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    ResNet34,
    DenseNet121,
}

pub const NETWORKS: [Network; 2] = [Network::ResNet34, Network::DenseNet121];

impl Network {
    /// What the preset makes of it.
    pub fn name(self, preset: Preset) -> &'static str {
        match (self, preset) {
            (Network::ResNet34, Preset::Quick) => "3D ResNet-34, narrow",
            (Network::ResNet34, _) => "3D ResNet-34",
            (Network::DenseNet121, Preset::Quick) => "3D DenseNet, two narrow blocks",
            (Network::DenseNet121, _) => "3D DenseNet-121",
        }
    }
}

/// From images to logits, in training or not.
type Forward = Box<dyn Fn(&Tensor, bool) -> oncograph::encoder::Result<Tensor>>;

/// Patients of a step.
const BATCH: usize = 8;

/// Trains on both halves of the training patients; the logits of the test patients.
pub fn run(stages: &Stages, tumours: &[Tumour], roles: &Roles, network: Network) -> anyhow::Result<Vec<f64>> {
    let config = stages.config;
    let device = stages.device.clone();
    let seed = Seed::new(config.seed).stream("image networks").at(network as u64);
    let store = ParamStore::new(seed);
    let vb = store.var_builder(DType::F32, &device);
    let quick = config.preset == Preset::Quick;
    let forward: Forward = match network {
        Network::ResNet34 => {
            let mut net = MonaiResNetConfig::resnet(34, 4)?.num_classes(Some(1));
            if quick {
                net = net.block_inplanes([8, 16, 32, 64]).conv1_t_size([3; 3]);
            }
            let net = net.build(vb)?;
            Box::new(move |x, train| net.forward(x, train))
        }
        Network::DenseNet121 => {
            let mut net = DenseNetConfig::densenet121(4, 1);
            if quick {
                // Twelve voxels are halved three times: by the stem, its pooling and the one transition.
                net = net.init_features(8).growth_rate(4).block_config([6, 12]);
            }
            let net = net.build(vb)?;
            Box::new(move |x, train| net.forward(x, train))
        }
    };
    let logits = |patients: &[u32], mode: Mode| -> oncograph::brain::Result<Tensor> {
        let of: Vec<&Tumour> = patients.iter().map(|i| &tumours[*i as usize]).collect();
        let rotation = match mode {
            Mode::Train(seed) => Some((config.model_training.rotation, seed)),
            Mode::Eval => None,
        };
        let train = rotation.is_some();
        let parts = of.chunks(if train { of.len() } else { BATCH }).map(|some| {
            let batch = TumourBatch::new(some, rotation, &device)?;
            let y = forward(&batch.image, train).map_err(candle_core::Error::wrap)?.squeeze(1)?;
            Ok::<_, Error>(if train { y } else { y.detach() })
        });
        Ok(Tensor::cat(&parts.collect::<Result<Vec<_>, _>>()?, 0)?)
    };
    let both: Vec<u32> = roles.encoders.iter().chain(&roles.classifier).map(|i| *i as u32).collect();
    let held = (0.15 * both.len() as f64) as usize;
    // Half B's last patients: the split is random already.
    let (train, validation) = both.split_at(both.len() - held);
    let hidden = |i: usize| !roles.test.contains(&i);
    let labels: Vec<Option<bool>> =
        (0..tumours.len()).map(|i| stages.cohort.subjects[i].idh.filter(|_| hidden(i))).collect();
    let training = BinaryTraining::new().batch(Some(BATCH));
    let mut learner = BinaryLearner::new(logits, &labels, train, validation, &training, seed)?;
    let epochs = if quick { 8 } else { 100 };
    let optimizer = OptimizerConfig::Adam(AdamConfig::new(1e-3).weight_decay(5e-4));
    let bar = progress(epochs as u64, "image network");
    fit(&mut learner, &store, &FitConfig::new(epochs, optimizer), None, stages.stop, |_| bar.inc(1))?;
    bar.finish();
    Ok(learner.logits(&roles.test.iter().map(|i| *i as u32).collect::<Vec<_>>())?)
}

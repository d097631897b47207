use super::{Fixed, sigmoid};
use crate::pipeline::GliomaCohort;
use crate::presets::GliomaPreset;
use crate::stages::GliomaStages;
use crate::{BinaryLearner, BinaryTraining, Error, Result, Tumour, TumourBatch};
use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use oncograph_core::Split;
use oncograph_encoder::{DenseNetConfig, MonaiResNetConfig};
use oncograph_nn::optim::AdamConfig;
use oncograph_nn::{Mode, ParamStore};
use oncograph_study::{Answers, Fitted, Job, System};
use oncograph_train::{FitConfig, OptimizerConfig};

/// The image networks of table 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageNetworkKind {
    /// A 3D ResNet-34.
    ResNet34,
    /// A 3D DenseNet-121.
    DenseNet121,
}

impl ImageNetworkKind {
    /// All of them.
    pub const ALL: [ImageNetworkKind; 2] = [ImageNetworkKind::ResNet34, ImageNetworkKind::DenseNet121];

    /// What tables call it under a preset.
    pub fn name(self, preset: GliomaPreset) -> &'static str {
        match (self, preset) {
            (ImageNetworkKind::ResNet34, GliomaPreset::Quick) => "3D ResNet-34, narrow",
            (ImageNetworkKind::ResNet34, _) => "3D ResNet-34",
            (ImageNetworkKind::DenseNet121, GliomaPreset::Quick) => "3D DenseNet, two narrow blocks",
            (ImageNetworkKind::DenseNet121, _) => "3D DenseNet-121",
        }
    }

    fn build(self, quick: bool, vb: VarBuilder) -> Result<Forward> {
        Ok(match self {
            ImageNetworkKind::ResNet34 => {
                let mut net = MonaiResNetConfig::resnet(34, 4)?.num_classes(Some(1));
                if quick {
                    net = net.block_inplanes([8, 16, 32, 64]).conv1_t_size([3; 3]);
                }
                let net = net.build(vb)?;
                Box::new(move |x, train| net.forward(x, train))
            }
            ImageNetworkKind::DenseNet121 => {
                let mut net = DenseNetConfig::densenet121(4, 1);
                if quick {
                    // Twelve voxels are halved three times: by the stem, its pooling and the one transition.
                    net = net.init_features(8).growth_rate(4).block_config([6, 12]);
                }
                let net = net.build(vb)?;
                Box::new(move |x, train| net.forward(x, train))
            }
        })
    }
}

/// From images to logits, in training or not.
type Forward = Box<dyn Fn(&Tensor, bool) -> oncograph_encoder::Result<Tensor>>;

/// Patients of a step.
const BATCH: usize = 8;
/// The share of the training patients that decides which epoch is kept.
const HELD: f64 = 0.15;

/// An image network on the tumour image, trained on both halves.
#[derive(Debug, Clone)]
pub struct ImageNetwork<'s> {
    stages: &'s GliomaStages<'s>,
    kind: ImageNetworkKind,
}

impl<'s> ImageNetwork<'s> {
    /// A network on the images of the shared stages.
    pub fn new(stages: &'s GliomaStages<'s>, kind: ImageNetworkKind) -> Self {
        ImageNetwork { stages, kind }
    }

    fn train(&self, data: &GliomaCohort, split: &Split, job: &mut Job<'_>) -> Result<ImageNetworkFitted> {
        let (config, device) = (self.stages.config(), self.stages.device());
        let networks = self.stages.networks(data, split)?;
        let tumours = &networks.tumours;
        let seed = self.stages.seed().stream("image networks").at(self.kind as u64);
        let store = ParamStore::new(seed);
        let quick = config.preset == GliomaPreset::Quick;
        let network = self.kind.build(quick, store.var_builder(DType::F32, device))?;
        let logits = |patients: &[u32], mode: Mode| -> Result<Tensor> {
            let some: Vec<&Tumour> = patients.iter().map(|i| &tumours[*i as usize]).collect();
            let rotation = match mode {
                Mode::Train(seed) => Some((config.model_training.rotation, seed)),
                Mode::Eval => None,
            };
            let train = rotation.is_some();
            let parts = some.chunks(if train { some.len() } else { BATCH }).map(|some| {
                let batch = TumourBatch::new(some, rotation, device)?;
                let y = network(&batch.image, train)?.squeeze(1)?;
                Ok::<_, Error>(if train { y } else { y.detach() })
            });
            Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?)
        };
        let both = [&split.train[..], &split.validation].concat();
        let patients = data.patients(&both);
        let n = patients.members().len();
        let [train, held] = patients.draw(n - (HELD * n as f64) as usize, seed.stream("validation"));
        let inner = Split::new(train, held, vec![]);
        let labels: Vec<Option<bool>> =
            (0..tumours.len()).map(|i| data.idh(i).filter(|_| !split.test.contains(&i))).collect();
        let training = BinaryTraining::new().batch(Some(BATCH));
        let mut learner = BinaryLearner::new(logits, &labels, &inner, &training, seed)?;
        let optimizer = OptimizerConfig::Adam(AdamConfig::new(1e-3).weight_decay(5e-4));
        let epochs = if quick { 8 } else { 100 };
        let fit = FitConfig::new(epochs, optimizer).precision(config.model_fit.precision);
        job.train(&mut learner, &store, &fit)?;
        let test: Vec<u32> = split.test.iter().map(|i| *i as u32).collect();
        let answers = Fixed::new(&split.test, learner.logits(&test)?.into_iter().map(sigmoid));
        Ok(ImageNetworkFitted { answers, parameters: store.parameter_count() })
    }
}

impl System for ImageNetwork<'_> {
    type Data = GliomaCohort;
    type Fitted = ImageNetworkFitted;

    fn fit(
        &self,
        data: &GliomaCohort,
        split: &Split,
        job: &mut Job<'_>,
    ) -> oncograph_study::Result<ImageNetworkFitted> {
        Ok(self.train(data, split, job)?)
    }
}

/// The answers of a trained [`ImageNetwork`] for the held-out patients.
pub struct ImageNetworkFitted {
    answers: Fixed,
    parameters: usize,
}

impl Fitted<GliomaCohort> for ImageNetworkFitted {
    fn answer(&self, _data: &GliomaCohort, rows: &[usize]) -> oncograph_study::Result<Answers> {
        self.answers.answer(rows)
    }

    fn parameters(&self) -> usize {
        self.parameters
    }
}

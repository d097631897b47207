//! Every setting of a run on images.

use crate::cli::{Args, Preset};
use crate::cohort::{Source, TractMaps};
use crate::files::FilesConfig;
use crate::patient::Space;
use crate::phantom::PhantomConfig;
use crate::prepare::{MaskMode, PrepareConfig};
use oncograph::brain::{
    AutoencoderConfig, BinaryTraining, GeometryEncoderConfig, GliomaNetConfig, GliomaNetTraining,
    ImageEncoderConfig, NetworkEncoderConfig, NodeAttention, NodeHead, PopulationClassifierConfig,
    PopulationGraphConfig, SvmHeadConfig, TractChannels, TractEncoderConfig, VoxelSampling,
};
use oncograph::datasets::glioma::TumourLabel;
use oncograph::losses::BiLevelConfig;
use oncograph::nn::optim::{AdamConfig, SgdConfig};
use oncograph::train::{FitConfig, Keep, OptimizerConfig};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A vector of a patient in the population graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vector {
    /// u^T (G-26).
    Tumour,
    /// u^B.
    Network,
    /// ⟨u^T, u^B⟩.
    Both,
}

/// Training of one stage in batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageFit {
    pub batch: usize,
    pub fit: FitConfig,
}

/// Which answers are explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainConfig {
    /// Test patients.
    pub patients: usize,
    /// Steps of GNNExplainer; 100.
    pub steps: usize,
}

/// Every setting of a run on images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImagesConfig {
    pub version: String,
    pub preset: Preset,
    pub source: Source,
    pub seed: u64,
    pub device: String,
    /// The shares of labelled patients that train the encoders (half A), train the classifier (half B) and test.
    pub split: [f64; 3],
    /// G-24: the share of each stage's training patients that decides which epoch is kept; 0: the last one is.
    pub validation: f64,
    pub prepare: PrepareConfig,
    pub autoencoder: AutoencoderConfig,
    pub autoencoder_fit: StageFit,
    pub tracts: TractEncoderConfig,
    pub tracts_fit: StageFit,
    /// Whether attributes of regions and tracts are brought to standard deviations of half A.
    pub scale_attributes: bool,
    pub model: GliomaNetConfig,
    pub model_training: GliomaNetTraining,
    pub model_fit: FitConfig,
    /// Whether embeddings are brought to standard deviations of half B before the classifier.
    pub scale_embeddings: bool,
    /// Node and edge vectors of the population graph.
    pub population: (Vector, Vector),
    pub graph: PopulationGraphConfig,
    pub classifier: PopulationClassifierConfig,
    pub classifier_training: BinaryTraining,
    pub classifier_fit: FitConfig,
    /// Hidden width of the MLP head; 32.
    pub mlp: usize,
    pub mlp_fit: FitConfig,
    pub svm: SvmHeadConfig,
    /// G-32: the probability from which a patient is called mutant.
    pub threshold: f64,
    pub explain: ExplainConfig,
}

impl ImagesConfig {
    pub fn from_args(args: &Args) -> anyhow::Result<Self> {
        let preset = args.preset.unwrap_or(Preset::Quick);
        let seed = args.seed.unwrap_or(1);
        let source = match &args.data {
            Some(folder) => Source::Files(files(args, folder, preset)?),
            None => {
                let mut phantom = PhantomConfig::new(args.patients.unwrap_or(240), seed);
                phantom.templates.clone_from(&args.templates);
                phantom.tract_maps = tract_maps(args);
                Source::Phantom(phantom)
            }
        };
        let mut config = match preset {
            Preset::Paper => paper(source, seed),
            Preset::Robust => robust(source, seed),
            Preset::Quick => quick(source, seed),
        };
        config.device.clone_from(&args.device);
        if let Some(epochs) = args.epochs {
            config.autoencoder_fit.fit.epochs = epochs;
            config.tracts_fit.fit.epochs = epochs;
            config.model_fit.epochs = epochs;
            config.classifier_fit.epochs = epochs;
            config.mlp_fit.epochs = epochs;
            // The explainer's steps are its epochs.
            config.explain.steps = config.explain.steps.min(10 * epochs);
        }
        Ok(config)
    }
}

/// The cohort that `--data` and the options beside it name.
fn files(args: &Args, folder: &Path, preset: Preset) -> anyhow::Result<FilesConfig> {
    let (Some(labels), Some(idh), Some(templates)) = (args.labels, &args.idh, &args.templates) else {
        anyhow::bail!("--data needs --labels, --idh and --templates");
    };
    // The published sizes are those of the standard brain at 2 mm.
    let (spacing, tracts) = if preset == Preset::Quick { (5.0, 240) } else { (2.0, 2309) };
    Ok(FilesConfig {
        folder: folder.into(),
        labels: labels.into(),
        tumour: TumourLabel::Core,
        segmentation: args.segmentation.clone(),
        idh: idh.clone(),
        templates: templates.clone(),
        space: if args.registered { Space::Standard } else { Space::Native },
        spacing,
        tracts,
        tract_maps: tract_maps(args),
    })
}

/// The atlas that `--tracts` and `--tract-ends` name.
fn tract_maps(args: &Args) -> Option<TractMaps> {
    let (maps, ends) = (args.tracts.clone()?, args.tract_ends.clone()?);
    Some(TractMaps { maps, ends, threshold: 0.1 })
}

/// Section 8: rate 1e-3, times 0.9 every 50 epochs, decay 5e-4; the last epoch is kept (G-24).
fn adam(epochs: usize) -> FitConfig {
    let optimizer = OptimizerConfig::Adam(AdamConfig::new(1e-3).weight_decay(5e-4));
    FitConfig::new(epochs, optimizer).step_decay(50, 0.9).keep(Keep::Last)
}

fn sgd(epochs: usize, momentum: f64) -> FitConfig {
    let optimizer = OptimizerConfig::Sgd(SgdConfig::new(1e-3).weight_decay(5e-4).momentum(momentum));
    FitConfig::new(epochs, optimizer).step_decay(50, 0.9).keep(Keep::Last)
}

/// The literal reading at the published sizes.
fn paper(source: Source, seed: u64) -> ImagesConfig {
    ImagesConfig {
        version: env!("CARGO_PKG_VERSION").into(),
        preset: Preset::Paper,
        source,
        seed,
        device: "cpu".into(),
        split: [0.35, 0.35, 0.3],
        validation: 0.0,
        prepare: PrepareConfig {
            values: 1000,
            sampling: VoxelSampling::Even,
            tract_channels: TractChannels::All,
            crop: 120,
            mask_mode: MaskMode::Multiply,
            points: 1024,
            incidence_threshold: 0.1,
            incidence_dilate: false,
        },
        autoencoder: AutoencoderConfig::default(),
        autoencoder_fit: StageFit { batch: 50, fit: adam(1000) },
        tracts: TractEncoderConfig::default(),
        tracts_fit: StageFit { batch: 50, fit: sgd(1000, 0.0) },
        scale_attributes: false,
        model: GliomaNetConfig::default(),
        model_training: GliomaNetTraining::default(),
        model_fit: sgd(1000, 0.0),
        scale_embeddings: false,
        population: (Vector::Both, Vector::Network),
        graph: PopulationGraphConfig::default(),
        classifier: PopulationClassifierConfig::new(96),
        classifier_training: BinaryTraining::new(),
        classifier_fit: adam(200),
        mlp: 32,
        mlp_fit: adam(200),
        svm: SvmHeadConfig::default(),
        threshold: 0.5,
        explain: ExplainConfig { patients: 40, steps: 100 },
    }
}

/// The published sizes with what we would change: momentum, an inner split, scaled attributes and embeddings.
fn robust(source: Source, seed: u64) -> ImagesConfig {
    let mut config = paper(source, seed);
    config.preset = Preset::Robust;
    config.validation = 0.1;
    config.scale_attributes = true;
    config.scale_embeddings = true;
    config.tracts = config.tracts.mask_same_tract(true);
    config.tracts_fit.fit = sgd(1000, 0.9);
    config.model = config.model.node_weight(NodeHead::Mlp, true, NodeAttention::Shifted);
    config.model.network = config.model.network.pool_tracts(true);
    config.model_fit = sgd(1000, 0.9);
    config.classifier = config.classifier.residual(true);
    config.graph = config.graph.fallback(Some(5));
    for fit in [
        &mut config.autoencoder_fit.fit,
        &mut config.tracts_fit.fit,
        &mut config.model_fit,
        &mut config.classifier_fit,
        &mut config.mlp_fit,
    ] {
        fit.keep = Keep::Best;
    }
    config
}

/// `robust`, small and short, with Adam in every stage: few epochs are enough for it.
fn quick(source: Source, seed: u64) -> ImagesConfig {
    let mut config = robust(source, seed);
    config.preset = Preset::Quick;
    config.prepare.values = 32;
    config.prepare.crop = 12;
    config.prepare.points = 96;
    config.prepare.incidence_dilate = true;
    config.autoencoder = AutoencoderConfig::default().widths([128, 64, 16]);
    config.autoencoder_fit = StageFit { batch: 50, fit: adam(30) };
    config.tracts = config.tracts.widths([128, 64, 16], [32, 64, 16], [16, 32, 32]);
    config.tracts_fit = StageFit { batch: 50, fit: adam(12) };
    config.model = config
        .model
        .parts(
            ImageEncoderConfig::default().input(4, [12; 3]).channels([12, 24]).dense([48, 16]),
            GeometryEncoderConfig::default().channels([12, 16]).dense([24, 16]).radius(0.4, 2.0, 12),
            NetworkEncoderConfig::default().channels([16, 24]).pool_tracts(true).dense([32, 16]),
        )
        .projections([32, 32], [32])
        .classifier([16])
        .losses(Some(BiLevelConfig::default()), 4.0);
    config.model_training = GliomaNetTraining::default().batch(20, Some(10));
    config.model_fit = adam(30);
    config.classifier = PopulationClassifierConfig::new(48).channels([24, 24]).residual(true).dropout(0.2);
    config.classifier_fit = adam(150);
    config.mlp = 16;
    config.mlp_fit = adam(150);
    for fit in [&mut config.classifier_fit, &mut config.mlp_fit, &mut config.model_fit] {
        fit.keep = Keep::Best;
        fit.optimizer = OptimizerConfig::Adam(AdamConfig::new(3e-3).weight_decay(5e-4));
    }
    config.validation = 0.2;
    config.explain = ExplainConfig { patients: 20, steps: 60 };
    config
}

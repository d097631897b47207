//! Every setting of a run, as it is written into the run's folder.

use crate::cli::{ArchitectureArg, Args, FeaturesArg, GnnArg, Preset};
use anyhow::Context;
use oncograph::datasets::crlm::{Endpoint, FeatureSet, LoadOptions, PhantomConfig};
use oncograph::losses::{LinearSchedule, TaskWeights, TemporalKind};
use oncograph::nn::optim::AdamWConfig;
use oncograph::nn::scheduler::PlateauConfig;
use oncograph::spatiotemporal::{
    Architecture, FeatureNorm, GnnKind, LossConfig, NodeType, PreprocessConfig, StgConfig, SurvivalLoss,
    TemporalInput, TrainingConfig,
};
use oncograph::train::{FitConfig, OptimizerConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where the images and the table come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A folder of the user's.
    Folder { root: PathBuf, clinical: Option<PathBuf> },
    /// Generated into the output folder.
    Phantom(PhantomConfig),
}

/// The backbone that turns images into features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderSettings {
    /// Channels of the first stage; 64 in the published network.
    pub base_width: usize,
    /// A checkpoint; none means random weights (S-02).
    pub weights: Option<PathBuf>,
}

/// What is fitted on the image features of the training patients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ImageScaling {
    /// S-10.
    pub norm: FeatureNorm,
    /// Principal components that are kept of each image node; none keeps all features, as published.
    pub components: Option<usize>,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    pub version: String,
    pub preset: Preset,
    pub source: Source,
    pub seed: u64,
    pub device: String,
    pub folds: usize,
    pub repeats: usize,
    /// The share of training patients on which training is stopped.
    pub validation: f64,
    pub features: FeatureSet,
    pub endpoint: Endpoint,
    pub images: bool,
    pub load: LoadOptions,
    pub preprocess: PreprocessConfig,
    pub encoder: EncoderSettings,
    pub image_scaling: ImageScaling,
    /// Widths and switches; `clinical` and `features` are set from the data.
    pub model: StgConfig,
    pub training: TrainingConfig,
    pub fit: FitConfig,
}

impl RunConfig {
    /// The settings that the command line asks for.
    pub fn from_args(args: &Args) -> anyhow::Result<Self> {
        if let Some(path) = &args.config {
            let text = std::fs::read(path).with_context(|| path.display().to_string())?;
            return serde_json::from_slice(&text).with_context(|| path.display().to_string());
        }
        let preset =
            args.preset.unwrap_or(if args.data.is_some() { Preset::Clinical } else { Preset::Quick });
        let seed = args.seed.unwrap_or(1);
        let source = match &args.data {
            Some(root) => Source::Folder { root: root.clone(), clinical: args.clinical.clone() },
            None => Source::Phantom(
                PhantomConfig::new(args.patients.unwrap_or(200), seed)
                    .matrix(128)
                    .slice_spacing(2.5, 7.5)
                    .strength(2.0),
            ),
        };
        let (epochs, rate, decay, patience, repeats) = match preset {
            Preset::Paper => (500, 5e-6, 0.01, 30, 1),
            Preset::Clinical => (500, 1e-4, 0.01, 30, 5),
            Preset::Quick => (40, 1e-3, 0.01, 8, 1),
        };
        let epochs = args.epochs.unwrap_or(epochs);
        let optimizer = AdamWConfig::new(args.learning_rate.unwrap_or(rate)).weight_decay(decay);
        let preprocess = match preset {
            Preset::Paper => PreprocessConfig::default(),
            Preset::Clinical => PreprocessConfig::default().slice_spacing(Some(5.0)),
            Preset::Quick => {
                PreprocessConfig::default().size(12, 40).slice_spacing(Some(16.0)).field_of_view(Some(260.0))
            }
        };
        let preprocess = match args.size.as_deref() {
            Some([slices, voxels]) => preprocess.size(*slices, *voxels),
            _ => preprocess,
        };
        Ok(RunConfig {
            version: env!("CARGO_PKG_VERSION").into(),
            preset,
            source,
            seed,
            device: args.device.clone(),
            folds: args.folds.unwrap_or(5),
            repeats: args.repeats.unwrap_or(repeats),
            validation: 0.2,
            features: match args.features {
                None | Some(FeaturesArg::PreopOnly) => FeatureSet::PreopOnly,
                Some(FeaturesArg::All) => FeatureSet::All,
                Some(FeaturesArg::Curated) => FeatureSet::Curated,
            },
            endpoint: Endpoint::Recurrence,
            images: !args.no_images,
            load: LoadOptions::new().empty_as_missing(args.empty_as_missing),
            preprocess,
            // Random weights lose little by being fewer; a checkpoint has the published width.
            encoder: EncoderSettings {
                base_width: if preset == Preset::Quick && args.weights.is_none() { 32 } else { 64 },
                weights: args.weights.clone(),
            },
            image_scaling: match preset {
                Preset::Paper => ImageScaling { norm: FeatureNorm::ZScore, components: None },
                Preset::Clinical | Preset::Quick => {
                    ImageScaling { norm: FeatureNorm::LogZScore, components: Some(2) }
                }
            },
            model: model(args, preset),
            training: TrainingConfig::new(epochs).loss(loss(preset)),
            fit: FitConfig::new(epochs, OptimizerConfig::AdamW(optimizer))
                .early_stop(patience)
                .plateau(PlateauConfig::new().factor(0.5).patience(5)),
        })
    }
}

/// The network; its input widths are known only with the data.
fn model(args: &Args, preset: Preset) -> StgConfig {
    let base = match args.architecture {
        Some(ArchitectureArg::Full) => StgConfig::full(1),
        None | Some(ArchitectureArg::Decoupled) => StgConfig::decoupled(1),
    };
    let base = match preset {
        Preset::Paper => base,
        Preset::Clinical => base.survival_loss(SurvivalLoss::DiscreteHazard).node_type(NodeType::OneHot),
        Preset::Quick if base.architecture == Architecture::Full => {
            base.hidden(64).node_type(NodeType::OneHot)
        }
        // Nodes are averaged before the BiLSTM: a seventh of the sequences.
        Preset::Quick => {
            base.hidden(64).lstm_hidden(32).node_type(NodeType::OneHot).temporal(TemporalInput::Timecat, true)
        }
    };
    base.gnn(match args.gnn {
        None | Some(GnnArg::Sage) => GnnKind::Sage,
        Some(GnnArg::SageClosed) => GnnKind::SageClosed,
        Some(GnnArg::Gcn) => GnnKind::Gcn,
        Some(GnnArg::Gat) => GnnKind::Gat,
    })
}

fn loss(preset: Preset) -> LossConfig {
    match preset {
        Preset::Paper => LossConfig::default(),
        Preset::Clinical | Preset::Quick => {
            // A contrastive loss starts at ln(batch), forty times the squared errors: at the published weight it
            // leads the training.
            let weights = TaskWeights { gamma: LinearSchedule::constant(0.01), ..TaskWeights::default() };
            LossConfig::default().temporal(TemporalKind::L2).weights(weights)
        }
    }
}

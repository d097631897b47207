use crate::{
    Architecture, AugmentConfig, CtEncoderConfig, CtNode, Error, FeatureNorm, HeldOut, LossConfig,
    MASK_NUMBERS, MapPooling, NodeIdentity, NodeSubset, PreprocessConfig, Result, StgConfig, SurvivalLoss,
    TemporalInput, TimeLoss, TrainingConfig,
};
use oncograph_datasets::crlm::{Endpoint, FeatureSet, LoadOptions};
use oncograph_datasets::scaler::{PipelineConfig, ScalerKind};
use oncograph_losses::{LinearSchedule, TaskWeights};
use oncograph_nn::Precision;
use oncograph_nn::optim::AdamWConfig;
use oncograph_nn::scheduler::PlateauConfig;
use oncograph_train::{FitConfig, OptimizerConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The decisions S-01 to S-30 at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StgPreset {
    /// The literal reading of the paper.
    Paper,
    /// What a clinical user should run.
    Clinical,
    /// `Clinical` with small images, narrow layers, few epochs of two copies of each graph, and without a contrastive loss, for the
    /// phantom.
    Quick,
}

/// What is fitted on the image features of the training patients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImageScalerConfig {
    /// How image features are scaled (S-10).
    pub norm: FeatureNorm,
    /// Principal components that are kept of each image node; none keeps all features, as published.
    pub components: Option<usize>,
}

/// Epochs over which loss weights move, where more are trained (S-21): with early stopping most runs end soon after.
const MOVING: usize = 50;

/// The whole system, from the files of a cohort to its training.
///
/// # Example
/// ```
/// use oncograph_spatiotemporal::{StgPreset, StgSystemConfig};
///
/// let config = StgSystemConfig::new(StgPreset::Quick).epochs(10).learning_rate(1e-3);
/// config.validate()?;
/// # Ok::<(), oncograph_spatiotemporal::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StgSystemConfig {
    /// The preset that the other fields come from, before any of them was changed.
    pub preset: StgPreset,
    /// Who is held out (S-26); [`StgSystemConfig::plan`] is the plan of a study.
    #[serde(default)]
    pub held_out: HeldOut,
    /// Folds of the cross-validation (S-26).
    pub folds: usize,
    /// Repetitions of the cross-validation (S-26).
    pub repeats: usize,
    /// The share of training patients on which training is stopped (S-26).
    pub validation: f64,
    /// Whether the [`MASK_NUMBERS`](crate::MASK_NUMBERS) join the covariates of the network, where images are used.
    #[serde(default)]
    pub mask_numbers: bool,
    /// Whether the mean and the deviation of each structure's voxels in HU, as they were scanned, join them, too.
    #[serde(default)]
    pub intensities: bool,
    /// Whether the network is trained once more, on the patients of training and validation together, for the epochs and at
    /// the learning rates that validation chose: on all patients that a baseline is fitted on.
    #[serde(default)]
    pub refit: bool,
    /// Clinical covariates (S-15).
    pub features: FeatureSet,
    /// What is fitted on the clinical covariates of the training patients, for the network and every baseline beside it;
    /// logarithms are of the columns that are there.
    #[serde(default)]
    pub clinical_scaling: PipelineConfig,
    /// The first endpoint (S-18); the second is survival.
    pub endpoint: Endpoint,
    /// Whether image nodes are used where there are images.
    pub images: bool,
    /// What to let pass when images are loaded.
    pub load: LoadOptions,
    /// Whether a patient whose images cannot be used is left out, and listed, instead of ending the run.
    #[serde(default)]
    pub leave_out_faulty: bool,
    /// From a CT to the encoder's input.
    pub preprocess: PreprocessConfig,
    /// The image encoder.
    pub encoder: CtEncoderConfig,
    /// The scaling of image features.
    pub image_scaling: ImageScalerConfig,
    /// The network; its fields `clinical` and `features` are set from the data.
    pub model: StgConfig,
    /// The losses and the augmentation.
    pub training: TrainingConfig,
    /// Epochs, optimizer, schedule and stopping (S-27).
    pub fit: FitConfig,
}

impl StgSystemConfig {
    /// A preset with the architecture that the headline numbers belong to (S-12).
    pub fn new(preset: StgPreset) -> Self {
        StgSystemConfig::with_architecture(preset, Architecture::Decoupled)
    }

    /// A preset with an architecture.
    pub fn with_architecture(preset: StgPreset, architecture: Architecture) -> Self {
        let (epochs, rate, patience, repeats) = match preset {
            StgPreset::Paper => (500, 5e-6, 30, 1),
            StgPreset::Clinical => (500, 1e-4, 30, 5),
            StgPreset::Quick => (40, 1e-3, 8, 1),
        };
        let optimizer = AdamWConfig::new(rate).weight_decay(0.01);
        StgSystemConfig {
            preset,
            held_out: HeldOut::CrossValidation,
            folds: 5,
            repeats,
            validation: 0.2,
            mask_numbers: preset != StgPreset::Paper,
            intensities: preset != StgPreset::Paper,
            refit: preset != StgPreset::Paper,
            features: FeatureSet::PreopOnly,
            clinical_scaling: match preset {
                StgPreset::Paper => PipelineConfig::new(),
                // These span orders of magnitude: by its range the middle half of all antigen values would differ by 0.013.
                StgPreset::Clinical | StgPreset::Quick => {
                    PipelineConfig::new().scaler(ScalerKind::ZScore).log1p(
                        ["carcinoembryonic_antigen", "max_tumor_size"]
                            .iter()
                            .chain(&MASK_NUMBERS[..3])
                            .copied(),
                    )
                }
            },
            endpoint: Endpoint::Recurrence,
            images: true,
            load: LoadOptions::new(),
            leave_out_faulty: false,
            preprocess: preprocess(preset),
            // Random weights lose nothing by being fewer: the phantom of three seeds ranks alike with 32, 16 and 8.
            encoder: CtEncoderConfig::new(if preset == StgPreset::Quick { 16 } else { 64 }),
            image_scaling: match preset {
                StgPreset::Paper => ImageScalerConfig { norm: FeatureNorm::ZScore, components: None },
                StgPreset::Clinical | StgPreset::Quick => {
                    ImageScalerConfig { norm: FeatureNorm::LogZScore, components: Some(2) }
                }
            },
            model: model(preset, architecture),
            training: training(preset, epochs.min(MOVING)),
            fit: FitConfig::new(epochs, OptimizerConfig::AdamW(optimizer))
                .early_stop(patience)
                .at_least(epochs.min(MOVING))
                .plateau(PlateauConfig::new().factor(0.5).patience(5)),
        }
    }

    /// Sets who is held out.
    pub fn held_out(mut self, held_out: HeldOut) -> Self {
        self.held_out = held_out;
        self
    }

    /// Sets folds and repetitions of the cross-validation.
    pub fn cross_validation(mut self, folds: usize, repeats: usize) -> Self {
        (self.folds, self.repeats) = (folds, repeats);
        self
    }

    /// Sets the clinical covariates.
    pub fn features(mut self, features: FeatureSet) -> Self {
        self.features = features;
        self
    }

    /// Sets the scaling of clinical covariates.
    pub fn clinical_scaling(mut self, scaling: PipelineConfig) -> Self {
        self.clinical_scaling = scaling;
        self
    }

    /// Sets whether image nodes are used where there are images.
    pub fn images(mut self, images: bool) -> Self {
        self.images = images;
        self
    }

    /// Sets what to let pass when images are loaded.
    pub fn load(mut self, load: LoadOptions) -> Self {
        self.load = load;
        self
    }

    /// Sets whether patients whose images cannot be used are left out.
    pub fn leave_out_faulty(mut self, leave_out: bool) -> Self {
        self.leave_out_faulty = leave_out;
        self
    }

    /// Sets slices and in-plane voxels of the encoder's input.
    pub fn size(mut self, slices: usize, voxels: usize) -> Self {
        self.preprocess = self.preprocess.size(slices, voxels);
        self
    }

    /// Sets the channels of the encoder's first stage.
    pub fn encoder_width(mut self, base_width: usize) -> Self {
        self.encoder.base_width = base_width;
        self
    }

    /// Sets a checkpoint of the encoder, which has the published width.
    pub fn encoder_weights(mut self, weights: impl Into<PathBuf>) -> Self {
        (self.encoder.base_width, self.encoder.weights) = (64, Some(weights.into()));
        self
    }

    /// Sets the encoder, but for its pooling.
    pub fn encoder(mut self, encoder: CtEncoderConfig) -> Self {
        self.encoder = CtEncoderConfig { pooling: self.encoder.pooling, ..encoder };
        self
    }

    /// Sets how a feature map becomes the features of a node, in the encoder and in the network (S-01).
    pub fn pooling(mut self, pooling: MapPooling) -> Self {
        let projection = (pooling == MapPooling::ConcatProject).then(|| 8 * self.encoder.channels());
        self.encoder.pooling = pooling;
        self.model = self.model.image_nodes(pooling.levels(), projection);
        self
    }

    /// Sets the network.
    pub fn model(mut self, model: StgConfig) -> Self {
        self.model = model;
        self
    }

    /// Sets the epochs at most.
    pub fn epochs(mut self, epochs: usize) -> Self {
        let moving = epochs.min(MOVING);
        (self.fit.epochs, self.fit.at_least, self.training.epochs) = (epochs, moving, moving);
        self
    }

    /// Sets the learning rate.
    pub fn learning_rate(mut self, rate: f64) -> Self {
        self.fit = self.fit.learning_rate(rate);
        self
    }

    /// Sets what products of training are computed in.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.fit.precision = precision;
        self
    }

    /// Whether a number of the images, by its column, is given to the network as a covariate.
    pub(crate) fn is_covariate(&self, column: &str) -> bool {
        if MASK_NUMBERS.contains(&column) { self.mask_numbers } else { self.intensities }
    }

    /// Checks the ranges of every part.
    ///
    /// # Errors
    /// [`Error::Argument`] with the field.
    pub fn validate(&self) -> Result<()> {
        const OP: &str = "StgSystemConfig";
        if self.folds < 2 || self.repeats == 0 {
            let got = format!("{} x {}", self.folds, self.repeats);
            return Err(Error::config(OP, "folds", "at least 2, and 1 repetition", got));
        }
        if !(self.validation > 0.0 && self.validation < 1.0) {
            return Err(Error::config(OP, "validation", "between 0 and 1", self.validation));
        }
        self.encoder.validate()?;
        self.image_nodes_fit()?;
        if self.image_scaling.components == Some(0) {
            return Err(Error::config(OP, "image_scaling.components", "at least 1", 0));
        }
        if let (FeatureNorm::None, Some(count)) = (self.image_scaling.norm, self.image_scaling.components) {
            let expected =
                "null where image features are not scaled: components are those of centred features";
            return Err(Error::config(OP, "image_scaling.components", expected, count));
        }
        let (moving, fit) = (self.training.epochs, &self.fit);
        if moving > fit.epochs || (fit.early_stop.is_some() && moving > fit.at_least) {
            let expected = "at most `fit.epochs` and, with early stopping, `fit.at_least`: else the loss weights never arrive";
            return Err(Error::config(OP, "training.epochs", expected, moving));
        }
        self.load.series.validate()?;
        self.preprocess.validate()?;
        self.model.validate()?;
        self.training.augment.validate()?;
        self.training.loss.fits(&self.model)?;
        Ok(self.fit.validate()?)
    }
}

impl StgSystemConfig {
    /// Checks that the network takes what the encoder and the scaling make of images.
    fn image_nodes_fit(&self) -> Result<()> {
        const OP: &str = "StgSystemConfig";
        let (pooling, model) = (self.encoder.pooling, &self.model);
        if model.levels != pooling.levels() {
            let expected = format!("{} with this encoder.pooling", pooling.levels());
            return Err(Error::config(OP, "model.levels", expected, model.levels));
        }
        if pooling == MapPooling::ConcatProject && model.image_projection.is_none() {
            let expected = "a number of features with encoder.pooling = concat_project";
            return Err(Error::config(OP, "model.image_projection", expected, "null"));
        }
        if model.ct_node == CtNode::Gap {
            if pooling != MapPooling::Grid2Weighted && pooling != MapPooling::Pool2 {
                let expected = "grid2_weighted or pool2 where model.ct_node is gap";
                return Err(Error::config(OP, "encoder.pooling", expected, format!("{pooling:?}")));
            }
            if let Some(count) = self.image_scaling.components {
                let expected = "null where model.ct_node is gap: components are no channels";
                return Err(Error::config(OP, "image_scaling.components", expected, count));
            }
        }
        Ok(())
    }
}

fn preprocess(preset: StgPreset) -> PreprocessConfig {
    let paper = PreprocessConfig::default();
    match preset {
        StgPreset::Paper => paper,
        StgPreset::Clinical => paper.slice_spacing(Some(5.0)),
        StgPreset::Quick => paper.size(12, 40).slice_spacing(Some(16.0)).field_of_view(Some(260.0)),
    }
}

/// The network; its input widths are known only with the data.
fn model(preset: StgPreset, architecture: Architecture) -> StgConfig {
    let base = match architecture {
        Architecture::Full => StgConfig::full(1),
        Architecture::Decoupled => StgConfig::decoupled(1),
        Architecture::Static => StgConfig::decoupled(1).architecture(architecture),
        Architecture::Flat => {
            StgConfig::decoupled(1).architecture(architecture).nodes(NodeSubset::CtAndClinical)
        }
    };
    match (preset, architecture) {
        (StgPreset::Paper, _) => base,
        (StgPreset::Clinical, _) => {
            base.survival_loss(SurvivalLoss::DiscreteHazard).node_type(NodeIdentity::OneHot)
        }
        (StgPreset::Quick, Architecture::Full | Architecture::Static | Architecture::Flat) => {
            base.hidden(64).survival_loss(SurvivalLoss::DiscreteHazard).node_type(NodeIdentity::OneHot)
        }
        // Nodes are averaged before the BiLSTM: a seventh of the sequences.
        (StgPreset::Quick, Architecture::Decoupled) => base
            .hidden(64)
            .lstm_hidden(32)
            .survival_loss(SurvivalLoss::DiscreteHazard)
            .node_type(NodeIdentity::OneHot)
            .temporal(TemporalInput::Timecat, true),
    }
}

fn training(preset: StgPreset, epochs: usize) -> TrainingConfig {
    let paper = TrainingConfig::new(epochs);
    if preset == StgPreset::Paper {
        return paper;
    }
    // A contrastive loss starts at ln(batch), forty times the squared errors: at the published weight it leads the training.
    let weights = TaskWeights { gamma: LinearSchedule::constant(0.01), ..TaskWeights::default() };
    let loss = LossConfig::default().temporal(TimeLoss::L2).weights(weights);
    match preset {
        // Views double the work, and on the phantom they change nothing.
        StgPreset::Quick => paper.loss(loss.contrast(None)).augment(AugmentConfig::default().expansion(2)),
        _ => paper.loss(loss),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InputScaling, RiskSet, Unify};

    #[test]
    fn every_preset_is_valid_and_survives_its_file() {
        for preset in [StgPreset::Paper, StgPreset::Clinical, StgPreset::Quick] {
            for architecture in [Architecture::Full, Architecture::Decoupled] {
                let config = StgSystemConfig::with_architecture(preset, architecture);
                config.validate().unwrap();
                let text = serde_json::to_string(&config).unwrap();
                assert_eq!(serde_json::from_str::<StgSystemConfig>(&text).unwrap(), config);
            }
        }
    }

    #[test]
    fn a_wrong_field_is_named() {
        let quick = || StgSystemConfig::new(StgPreset::Quick);
        let error = |config: StgSystemConfig| config.validate().unwrap_err().to_string();
        assert!(error(quick().cross_validation(1, 1)).contains("folds"));
        assert!(error(quick().size(12, 8)).contains("size"));
        assert!(error(quick().encoder_width(0)).contains("base_width"));
        let mut unscaled = quick();
        unscaled.image_scaling.norm = FeatureNorm::None;
        assert!(error(unscaled).contains("image_scaling.components"));
        let mut no_risk = quick();
        no_risk.training.loss.risk_set = RiskSet::Training;
        assert!(error(no_risk).contains("risk_set"));
        let mut no_steps = StgSystemConfig::with_architecture(StgPreset::Quick, Architecture::Full);
        no_steps.model.unify = Unify::Concat;
        no_steps.training.loss.temporal = TimeLoss::MonotoneRisk;
        assert!(error(no_steps).contains("loss.temporal"));
        let mut never = quick();
        never.training.epochs = never.fit.epochs + 1;
        assert!(error(never).contains("training.epochs"));
        assert_eq!(StgSystemConfig::new(StgPreset::Clinical).epochs(7).training.epochs, 7);
        assert!(error(StgSystemConfig { validation: 1.0, ..quick() }).contains("validation"));
        assert_eq!(quick().encoder_weights("r3d_18.pth").encoder.base_width, 64);
    }

    #[test]
    fn poolings_set_encoder_and_network_alike() {
        let paper = || StgSystemConfig::new(StgPreset::Paper);
        for pooling in [MapPooling::Grid2Weighted, MapPooling::Pool2, MapPooling::ConcatRp] {
            let config = paper().pooling(pooling);
            config.validate().unwrap();
            assert_eq!(config.model.node_width(), 4096);
        }
        let project = paper().pooling(MapPooling::ConcatProject);
        project.validate().unwrap();
        assert_eq!((project.model.image_projection, project.encoder.channels()), (Some(4096), 512));
        let error = |config: StgSystemConfig| config.validate().unwrap_err().to_string();
        let mut apart = paper();
        apart.encoder.pooling = MapPooling::Pool2;
        assert!(error(apart).contains("model.levels must be 1"));
        let mut unmapped = project.clone();
        unmapped.model.image_projection = None;
        assert!(error(unmapped).contains("model.image_projection"));
        let gap = |mut config: StgSystemConfig| {
            config.model.ct_node = CtNode::Gap;
            config
        };
        gap(paper()).validate().unwrap();
        assert!(error(gap(project)).contains("encoder.pooling"));
        assert!(error(gap(StgSystemConfig::new(StgPreset::Clinical))).contains("image_scaling.components"));
    }

    #[test]
    fn a_config_of_before_reads_as_what_it_was() {
        let config = StgSystemConfig::new(StgPreset::Paper);
        let mut json = serde_json::to_value(&config).unwrap();
        let drop = |json: &mut serde_json::Value, part: &str, fields: &[&str]| {
            let part = json.pointer_mut(part).unwrap().as_object_mut().unwrap();
            fields.iter().for_each(|field| assert!(part.remove(*field).is_some(), "{field}"));
        };
        let new = ["levels", "image_projection", "ct_node", "edges", "dropout", "weighting", "horizon"];
        drop(&mut json, "/model", &new);
        drop(&mut json, "/encoder", &["backbone", "stem", "input_scaling", "pooling", "roi"]);
        drop(&mut json, "", &["held_out"]);
        drop(&mut json, "/training", &["time_unit"]);
        drop(&mut json, "/training/loss", &["risk_set"]);
        drop(&mut json, "/training/augment", &["removal", "original"]);
        let mut expected = config;
        expected.encoder.input_scaling = InputScaling::Unscaled;
        assert_eq!(serde_json::from_value::<StgSystemConfig>(json).unwrap(), expected);
    }
}

//! Every setting of the system, and the presets.

use crate::pipeline::{GliomaCohort, GliomaPrepareOptions, GliomaSource, MaskMode};
use crate::{
    AutoencoderConfig, BinaryTraining, Encoders, GeometryEncoderConfig, GliomaNetConfig, GliomaNetTraining,
    ImageEncoderConfig, NetworkEncoderConfig, NodeAttention, NodeHead, PopulationClassifierConfig,
    PopulationGraphConfig, Result, SvmHeadConfig, TractChannels, TractEncoderConfig, VoxelSampling,
};
use oncograph_core::Split;
use oncograph_losses::BiLevelConfig;
use oncograph_nn::Precision;
use oncograph_nn::optim::{AdamConfig, SgdConfig};
use oncograph_train::{FitConfig, Keep, OptimizerConfig};
use serde::{Deserialize, Serialize};

/// All of G-01 to G-37 at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GliomaPreset {
    /// The literal reading of the paper, at its sizes.
    Paper,
    /// What we would run: momentum, shifted node attention, a loss on each embedding alone.
    Robust,
    /// `Robust`, small and short.
    Quick,
}

/// A vector of a patient in the population graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingVector {
    /// u^T (G-26).
    Tumour,
    /// u^B.
    Network,
    /// ⟨u^T, u^B⟩.
    Both,
}

impl EmbeddingVector {
    /// Whether a network with these encoders has the vector; [`EmbeddingVector::Both`] is all that it has.
    pub fn is_of(self, encoders: &Encoders) -> bool {
        match self {
            EmbeddingVector::Tumour => encoders.image || encoders.surface,
            EmbeddingVector::Network => encoders.network,
            EmbeddingVector::Both => true,
        }
    }
}

/// Who trains the encoders of regions and tracts, which need no label. Never a patient of half B or of the test, by any scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkPatients {
    /// Those whose IDH status is not known: a set of their own, as published.
    Unlabelled,
    /// Half A.
    HalfA,
    /// Both.
    UnlabelledAndHalfA,
}

impl NetworkPatients {
    /// As published for `paper`, and for generated cohorts that have such patients; else all who may.
    fn of(preset: GliomaPreset, source: &GliomaSource) -> Self {
        let generated = matches!(source, GliomaSource::Phantom(phantom) if phantom.unlabelled > 0);
        match preset {
            GliomaPreset::Robust | GliomaPreset::Quick if !generated => NetworkPatients::UnlabelledAndHalfA,
            _ => NetworkPatients::Unlabelled,
        }
    }
}

/// Training of one stage in batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageFit {
    /// Rows of a step.
    pub batch: usize,
    /// Epochs, optimizer and stopping.
    pub fit: FitConfig,
}

/// Which answers are explained, and how.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GliomaExplainOptions {
    /// Test patients.
    pub patients: usize,
    /// Steps of GNNExplainer; 100.
    pub steps: usize,
    /// Its learning rate; 0.01, as published.
    pub rate: f64,
    /// The weight of the size of the tract mask; 0.005, as published.
    pub size: f64,
    /// The weight of the entropy of the tract mask; 1, as published.
    pub entropy: f64,
    /// Starting points from which the first patients are explained, to see how far the answers depend on them.
    pub starts: usize,
}

/// As PyTorch Geometric's explainer. `robust` takes ten times the rate and a tenth of the entropy: the published entropy holds
/// masks where they are before the answer has moved them.
impl Default for GliomaExplainOptions {
    fn default() -> Self {
        GliomaExplainOptions { patients: 40, steps: 100, rate: 0.01, size: 0.005, entropy: 1.0, starts: 3 }
    }
}

/// Configuration of the glioma system: where patients come from, how they are prepared, and how the four stages and the heads
/// are built and trained.
///
/// # Example
/// ```
/// use oncograph_brain::{GliomaConfig, GliomaPreset, GliomaSource};
/// use oncograph_datasets::glioma::GliomaPhantomConfig;
///
/// let source = GliomaSource::Phantom(GliomaPhantomConfig::new(240, 1));
/// let config = GliomaConfig::preset(GliomaPreset::Quick, source, 1).epochs(2);
/// assert_eq!((config.model_fit.epochs, config.split), (2, [0.35, 0.35, 0.3]));
/// config.validate()?;
/// # Ok::<(), oncograph_brain::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GliomaConfig {
    /// The version of the code.
    pub version: String,
    /// The preset that it began as.
    pub preset: GliomaPreset,
    /// Where the patients come from.
    pub source: GliomaSource,
    /// The root of all random draws.
    pub seed: u64,
    /// Where tensors live: `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// The shares of labelled patients that train the encoders (half A), train the classifier (half B) and test.
    pub split: [f64; 3],
    /// The site whose patients are the test patients, in place of drawn ones; the others are half A and half B.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_site: Option<String>,
    /// The share of each stage's training patients that decides which epoch is kept (G-24); 0: the last one is.
    pub validation: f64,
    /// How a patient is prepared.
    pub prepare: GliomaPrepareOptions,
    /// Who trains stages 1 and 2.
    pub network_patients: NetworkPatients,
    /// Stage 1.
    pub autoencoder: AutoencoderConfig,
    /// Training of stage 1.
    pub autoencoder_fit: StageFit,
    /// Stage 2.
    pub tracts: TractEncoderConfig,
    /// Training of stage 2.
    pub tracts_fit: StageFit,
    /// Whether attributes of regions and tracts are brought to standard deviations of half A.
    pub scale_attributes: bool,
    /// Stage 3.
    pub model: GliomaNetConfig,
    /// Batches of stage 3.
    pub model_training: GliomaNetTraining,
    /// Training of stage 3.
    pub model_fit: FitConfig,
    /// Whether embeddings are brought to standard deviations of half B before the classifier.
    pub scale_embeddings: bool,
    /// Node and edge vectors of the population graph.
    pub population: (EmbeddingVector, EmbeddingVector),
    /// Which patients the population graph joins.
    pub graph: PopulationGraphConfig,
    /// Stage 4.
    pub classifier: PopulationClassifierConfig,
    /// Batches of stage 4.
    pub classifier_training: BinaryTraining,
    /// Training of stage 4.
    pub classifier_fit: FitConfig,
    /// The hidden width of the MLP head; 32.
    pub mlp: usize,
    /// Training of the MLP head.
    pub mlp_fit: FitConfig,
    /// The SVM head.
    pub svm: SvmHeadConfig,
    /// The probability from which a patient is called mutant (G-32).
    pub threshold: f64,
    /// Which answers are explained.
    pub explain: GliomaExplainOptions,
}

impl GliomaConfig {
    /// The values of a preset.
    pub fn preset(preset: GliomaPreset, source: GliomaSource, seed: u64) -> Self {
        let network_patients = NetworkPatients::of(preset, &source);
        let config = match preset {
            GliomaPreset::Paper => paper(source, seed),
            GliomaPreset::Robust => robust(source, seed),
            GliomaPreset::Quick => quick(source, seed),
        };
        GliomaConfig { network_patients, ..config }
    }

    /// Sets the epochs of every stage and bounds the explainer's steps by ten times as many.
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.autoencoder_fit.fit.epochs = epochs;
        self.tracts_fit.fit.epochs = epochs;
        self.model_fit.epochs = epochs;
        self.classifier_fit.epochs = epochs;
        self.mlp_fit.epochs = epochs;
        self.explain.steps = self.explain.steps.min(10 * epochs);
        self
    }

    /// Sets where tensors live.
    pub fn device(mut self, device: impl Into<String>) -> Self {
        self.device = device.into();
        self
    }

    /// Sets what products of every stage are computed in.
    pub fn precision(mut self, precision: Precision) -> Self {
        for fit in [
            &mut self.autoencoder_fit.fit,
            &mut self.tracts_fit.fit,
            &mut self.model_fit,
            &mut self.classifier_fit,
            &mut self.mlp_fit,
        ] {
            fit.precision = precision;
        }
        self
    }

    /// Who of a cohort is half A, half B and tested.
    ///
    /// # Errors
    /// As [`GliomaCohort::halves`] and [`GliomaCohort::halves_beside`].
    pub fn split_of(&self, cohort: &GliomaCohort) -> Result<Split> {
        match &self.test_site {
            Some(site) => cohort.halves_beside(site, self.split, self.seed),
            None => cohort.halves(self.split, self.seed),
        }
    }

    /// Attributes of a region or tract.
    pub fn network_width(&self) -> usize {
        self.autoencoder.widths.last().copied().unwrap_or(0)
    }
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
fn paper(source: GliomaSource, seed: u64) -> GliomaConfig {
    GliomaConfig {
        version: env!("CARGO_PKG_VERSION").into(),
        preset: GliomaPreset::Paper,
        source,
        seed,
        device: "cpu".into(),
        split: [0.35, 0.35, 0.3],
        test_site: None,
        validation: 0.0,
        prepare: GliomaPrepareOptions {
            values: 1000,
            sampling: VoxelSampling::Even,
            tract_channels: TractChannels::All,
            crop: 120,
            mask_mode: MaskMode::Multiply,
            points: 1024,
            incidence_threshold: 0.1,
            incidence_dilate: false,
        },
        network_patients: NetworkPatients::Unlabelled,
        autoencoder: AutoencoderConfig::default(),
        autoencoder_fit: StageFit { batch: 50, fit: adam(1000) },
        tracts: TractEncoderConfig::default(),
        tracts_fit: StageFit { batch: 50, fit: sgd(1000, 0.0) },
        scale_attributes: false,
        model: GliomaNetConfig::default(),
        model_training: GliomaNetTraining::default(),
        model_fit: sgd(1000, 0.0),
        scale_embeddings: false,
        population: (EmbeddingVector::Both, EmbeddingVector::Network),
        graph: PopulationGraphConfig::default(),
        classifier: PopulationClassifierConfig::new(96),
        classifier_training: BinaryTraining::new(),
        classifier_fit: adam(200),
        mlp: 32,
        mlp_fit: adam(200),
        svm: SvmHeadConfig::default(),
        threshold: 0.5,
        explain: GliomaExplainOptions::default(),
    }
}

/// The published sizes with what we would change: momentum, scaled attributes and embeddings, a loss on each embedding alone. As
/// published, the last epoch is kept: a part of half A that could choose one has a dozen patients, and chooses by chance.
fn robust(source: GliomaSource, seed: u64) -> GliomaConfig {
    let mut config = paper(source, seed);
    config.preset = GliomaPreset::Robust;
    config.scale_attributes = true;
    config.scale_embeddings = true;
    config.tracts = config.tracts.mask_same_tract(true);
    config.tracts_fit.fit = sgd(1000, 0.9);
    config.model = config.model.node_weight(NodeHead::Mlp, true, NodeAttention::Shifted).unimodal(1.0);
    config.model.network = config.model.network.pool_tracts(true);
    config.model_fit = sgd(1000, 0.9);
    config.classifier = config.classifier.residual(true);
    config.graph = config.graph.fallback(Some(5));
    (config.explain.rate, config.explain.entropy) = (0.1, 0.1);
    config
}

/// `robust`, small and short, with Adam in every stage: few epochs are enough for it.
fn quick(source: GliomaSource, seed: u64) -> GliomaConfig {
    let mut config = robust(source, seed);
    config.preset = GliomaPreset::Quick;
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
        fit.optimizer = OptimizerConfig::Adam(AdamConfig::new(3e-3).weight_decay(5e-4));
    }
    config.explain.patients = 20;
    config
}

//! Every setting of a run, as it is written into the run's folder.

use crate::cli::{Args, CohortArg, NodeInputArg, Preset};
use anyhow::Context;
use oncograph::datasets::omics::OmicsPhantomConfig;
use oncograph::nn::optim::AdamWConfig;
use oncograph::omics::{
    Ablate, ContrastConfig, FusionTokens, HeadKind, HeteroEdges, ModalityConfig, MultimodalConfig, NodeInput,
    NodeTypeConfig, Pooling, TaskConfig, TaskKind, TokenNorm, Weighting,
};
use oncograph::train::{FitConfig, Keep, OptimizerConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where the tables come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A folder of the user's.
    Folder { root: PathBuf, cohort: CohortArg, idh: Option<PathBuf> },
    /// Generated in memory.
    Phantom(OmicsPhantomConfig),
}

/// Widths and switches of the network; its node types and tasks come from the cohort.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetSettings {
    pub hidden: usize,
    pub heads: usize,
    pub layers: usize,
    pub attention_dropout: f64,
    pub fusion_layers: usize,
    pub feed_forward: usize,
    pub fusion_dropout: f64,
    pub trunk: usize,
    pub trunk_dropout: f64,
    /// M-01.
    #[serde(default = "diag")]
    pub node_input: NodeInput,
    /// M-05.
    pub hetero_edges: HeteroEdges,
    /// M-08.
    pub pooling: Pooling,
    /// M-10.
    pub fusion_tokens: FusionTokens,
    /// M-11.
    pub patient_residual: bool,
    /// M-12.
    pub head: HeadKind,
    /// M-27.
    #[serde(default)]
    pub token_norm: TokenNorm,
    /// M-06: whether proteins join the genes' graph with `codes_for`; else their only edges there are self loops.
    pub union: bool,
}

/// What runs had before they wrote it down.
fn diag() -> NodeInput {
    NodeInput::Diag
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    pub version: String,
    pub preset: Preset,
    pub source: Source,
    pub seed: u64,
    pub folds: usize,
    pub repeats: usize,
    /// The share of training patients on which training is stopped.
    pub validation: f64,
    pub batch: usize,
    /// M-02: columns that are kept per table, by variance in the training rows.
    pub select: usize,
    /// M-13.
    pub survival: TaskKind,
    /// M-14.
    pub weighting: Weighting,
    /// M-16 to M-19; none trains without contrast.
    pub contrast: Option<ContrastConfig>,
    pub net: NetSettings,
    pub fit: FitConfig,
    pub ablate: bool,
    /// Also train across centres.
    #[serde(default)]
    pub federate: bool,
    /// Folds are centres (M-23).
    #[serde(default)]
    pub leave_centre_out: bool,
    /// Whose clinical report is written; none: the first patient's.
    #[serde(default)]
    pub patient: Option<String>,
    /// Names of the models that are trained besides the graph network; empty: all.
    #[serde(default)]
    pub models: Vec<String>,
}

impl RunConfig {
    /// The settings that the command line asks for.
    pub fn from_args(args: &Args) -> anyhow::Result<Self> {
        if let Some(path) = &args.config {
            let text = std::fs::read(path).with_context(|| path.display().to_string())?;
            return serde_json::from_slice(&text).with_context(|| path.display().to_string());
        }
        let seed = args.seed.unwrap_or(1);
        let source = match &args.data {
            None => Source::Phantom(phantom(args.patients.unwrap_or(800), seed)),
            Some(root) => {
                let beside = root.join("../glioma/tcga_lgg_gbm_subtype_ceccarelli2016.csv");
                let idh = args.idh.clone().or_else(|| beside.is_file().then_some(beside));
                Source::Folder { root: root.clone(), cohort: args.cohort, idh }
            }
        };
        let preset = args.preset.unwrap_or(Preset::Quick);
        let literal = preset == Preset::Literal;
        let generated = args.data.is_none();
        let net = match preset {
            Preset::Literal => MultimodalConfig::literal(),
            Preset::Fixed => MultimodalConfig::fixed(),
            Preset::Quick if generated => MultimodalConfig::fixed().quick().layers(1).hidden(16),
            Preset::Quick => MultimodalConfig::fixed().quick().layers(1),
        };
        let quick = preset == Preset::Quick;
        let epochs = args.epochs.unwrap_or(if quick { 50 } else { 100 });
        let rate = args.learning_rate.unwrap_or(if quick { 3e-3 } else { 1e-4 });
        Ok(RunConfig {
            version: env!("CARGO_PKG_VERSION").into(),
            preset,
            source,
            seed,
            folds: args.folds.unwrap_or(5),
            repeats: if args.leave_centre_out { 1 } else { args.repeats.unwrap_or(1) },
            validation: 0.2,
            batch: args.batch.unwrap_or(if quick { 64 } else { 32 }),
            select: if quick { 300 } else { 1000 },
            survival: if literal { TaskKind::SurvivalMse } else { TaskKind::SurvivalCox },
            weighting: if literal { Weighting::Softmax } else { Weighting::Uncertainty },
            // A second pass over every batch, which the short preset does without.
            contrast: (!quick).then(ContrastConfig::default),
            net: NetSettings {
                hidden: net.hidden,
                heads: net.heads,
                layers: net.layers,
                attention_dropout: net.attention_dropout,
                fusion_layers: net.fusion_layers,
                feed_forward: net.feed_forward,
                fusion_dropout: net.fusion_dropout,
                trunk: net.trunk,
                trunk_dropout: net.trunk_dropout,
                node_input: match args.node_input {
                    Some(NodeInputArg::Named) => NodeInput::Named,
                    None if generated && !literal => NodeInput::Named,
                    _ => NodeInput::Diag,
                },
                hetero_edges: net.hetero_edges,
                pooling: net.pooling,
                fusion_tokens: net.fusion_tokens,
                patient_residual: net.patient_residual,
                head: net.head,
                token_norm: net.token_norm,
                union: !literal,
            },
            fit: FitConfig::new(epochs, OptimizerConfig::AdamW(AdamWConfig::new(rate).weight_decay(0.01)))
                .early_stop(args.patience.unwrap_or(if quick { 20 } else { 15 }))
                .keep(Keep::BestOfEach)
                .clip_norm(1.0),
            ablate: args.ablate,
            federate: args.federate,
            leave_centre_out: args.leave_centre_out,
            patient: args.patient.clone(),
            models: args.models.clone(),
        })
    }

    /// The network for given node types, modalities and tasks.
    pub fn model(
        &self,
        patient: usize,
        node_types: Vec<NodeTypeConfig>,
        modalities: Vec<ModalityConfig>,
        tasks: Vec<TaskConfig>,
    ) -> MultimodalConfig {
        let n = &self.net;
        let mut model = MultimodalConfig::new(patient, node_types, modalities, tasks)
            .hidden(n.hidden)
            .heads(n.heads)
            .layers(n.layers)
            .attention_dropout(n.attention_dropout)
            .fusion(n.fusion_layers, n.feed_forward)
            .dropout(n.fusion_dropout, n.trunk_dropout)
            .trunk(n.trunk)
            .hetero_edges(n.hetero_edges)
            .pooling(n.pooling)
            .fusion_tokens(n.fusion_tokens)
            .token_norm(n.token_norm)
            .ablate(Ablate::default());
        model.patient_residual = n.patient_residual;
        model.head = n.head;
        model
    }
}

/// A cohort that trains in minutes; the interaction of two modalities is strong enough to be found in it.
fn phantom(patients: usize, seed: u64) -> OmicsPhantomConfig {
    OmicsPhantomConfig::new(patients, seed).sizes(45, 45, 6).strength(2.0).missing(0.1)
}

//! A hierarchical graph network on the omics, laboratory values and images of one patient: survival, response and
//! toxicity out, with the share of every modality.
//!
//! - [`MultimodalConfig`]: node types, modalities, tasks, and every choice that the article leaves open; presets
//!   [`literal`](MultimodalConfig::literal), [`fixed`](MultimodalConfig::fixed) and
//!   [`quick`](MultimodalConfig::quick).
//! - [`MultimodalNet`]: the network; [`FlatNet`] and [`late_fusion`]: its baselines without a graph.
//! - [`SharedGraphs`]: the genes' and proteins' graph, stored once for all patients.
//! - [`OmicsBatch`], [`BatchSource`]: what the network sees, from memory ([`MemoryCohort`]) or from files.
//! - [`OmicsLearner`]: losses of several tasks ([`MultiTaskLoss`]) and the contrast of views ([`Contrast`]), for
//!   [`oncograph_train::fit`].
//! - [`federate`]: training across sites, FedAvg or FedProx; [`fed_avg`]: the weighted average of their parameters.
//!
//! # Reference
//! The multimodal-GNN article, whose listing does not run as printed. Decisions M-01 to M-27 stand in
//! `docs/decisions-multimodal.md` of the repository.

mod batch;
mod config;
mod contrast;
mod embed;
mod error;
mod federated;
mod flat;
mod graph;
mod heads;
mod inter;
mod intra;
mod learner;
mod loss;
mod memory;
mod model;

pub use batch::{Nodes, OmicsBatch, complete_edges, consecutive_edges};
pub use config::{
    Ablate, FusionTokens, HeadKind, HeteroEdges, ModalityConfig, MultimodalConfig, NodeInput, NodeTypeConfig,
    Pooling, TaskConfig, TaskKind, TokenNorm,
};
pub use contrast::{Contrast, ContrastConfig};
pub use embed::NodeEmbedding;
pub use error::{Error, Result};
pub use federated::{FederationConfig, Site, fed_avg, federate, traffic};
pub use flat::{FlatNet, late_fusion};
pub use graph::{SharedGraphs, TypedEdges};
pub use heads::Heads;
pub use inter::{Fused, InterModality};
pub use intra::IntraModality;
pub use learner::{BatchSource, OmicsLearner, predict};
pub use loss::{MultiTaskLoss, Target, Weighting, risk, task_loss};
pub use memory::MemoryCohort;
pub use model::{MultimodalNet, OmicsModel, OmicsOutput};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

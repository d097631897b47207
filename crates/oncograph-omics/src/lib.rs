//! A hierarchical graph network that predicts survival, treatment response and toxicity from the omics, laboratory values
//! and images of a patient, with the share of every modality.
//!
//! From tables to a prediction:
//! - [`OmicsSystemConfig`], [`OmicsPreset`]: every choice that the article leaves open.
//! - [`OmicsStudyCohort`]: patients, tasks and networks as an [`oncograph_study::Study`] takes them.
//! - [`OmicsPipeline`]: selection, imputation, scaling and edges, fitted on training patients, applied to any patient.
//! - [`OmicsSystem`]: the network and, by [`OmicsVariant`], the models that it is compared with.
//! - [`OmicsFindings`], [`modality_grid`], [`late_fusion_jobs`]: what is derived from a study's results.
//! - [`write_bundle`], [`OmicsPredictor`]: from a run to one new patient; of a task that was not learnt ([`TaskSkill`]) nothing is
//!   predicted.
//!
//! Its parts:
//! - [`OmicsNetConfig`]: node types, modalities, tasks; presets [`literal`](OmicsNetConfig::literal),
//!   [`fixed`](OmicsNetConfig::fixed) and [`quick`](OmicsNetConfig::quick).
//! - [`OmicsNet`]: the network; [`FlatNet`] and [`late_fusion`]: its baselines without a graph.
//! - [`SharedGraphs`]: the genes' and proteins' graph, stored once for all patients.
//! - [`OmicsBatch`], [`BatchSource`]: what the network sees, from memory ([`MemoryCohort`]) or from files.
//! - [`OmicsLearner`]: losses of several tasks ([`MultiTaskLoss`]) and the contrast of views ([`Contrast`]), for
//!   [`oncograph_train::fit`].
//! - [`federate`]: training across sites, FedAvg or FedProx; [`fed_avg`]: the weighted average of their parameters.
//!
//! # Reference
//! Linh Duong Tuan, *Graph Neural Networks for Multi-Modal Medical Data Integration*, an article on the author's scientific
//! blog, whose listing does not run as printed. Decisions M-01 to M-28 are in [`decisions`].

#[doc = include_str!("../decisions.md")]
pub mod decisions {}

mod attribute;
mod batch;
mod cohort;
mod config;
mod contrast;
mod embed;
mod error;
mod federated;
mod findings;
mod flat;
mod flops;
mod graph;
mod heads;
mod inter;
mod intra;
mod late_fusion;
mod learner;
mod loss;
mod memory;
mod model;
mod pipeline;
mod predictor;
mod presets;
mod spatial;
mod system;
mod trained;
mod variant;

pub use batch::{Nodes, OmicsBatch, complete_edges, consecutive_edges};
pub use cohort::OmicsStudyCohort;
pub use config::{
    Ablate, FusionTokens, HeadKind, HeteroEdges, ModalityConfig, NodeInput, NodeTypeConfig, OmicsNetConfig,
    Pooling, TaskConfig, TaskKind, TokenNorm,
};
pub use contrast::{Contrast, ContrastConfig};
pub use embed::NodeEmbedding;
pub use error::{Error, Result};
pub use federated::{FederationConfig, Site, fed_avg, federate, traffic};
pub use findings::{ModalityImportance, OmicsFindings};
pub use flat::{FlatNet, late_fusion};
pub use graph::SharedGraphs;
pub use heads::Heads;
pub use inter::{Fused, InterModality};
pub use intra::IntraModality;
pub use late_fusion::late_fusion_jobs;
pub use learner::{BatchSource, OmicsData, OmicsLearner, predict};
pub use loss::{MultiTaskLoss, Weighting, risk, task_loss};
pub use memory::MemoryCohort;
pub use model::{OmicsModel, OmicsNet, OmicsOutput};
pub use oncograph_graph::TypedEdges;
pub use pipeline::OmicsPipeline;
pub use predictor::{
    OMICS_RULES, OmicsPatient, OmicsPrediction, OmicsPredictor, PatientImage, TaskSkill, write_bundle,
};
pub use presets::{OmicsNetSettings, OmicsPreset, OmicsSystemConfig};
pub use spatial::SpatialEdges;
pub use system::{GridRow, OmicsExtras, OmicsFitted, OmicsSystem, modality_grid};
pub use variant::{LEAST_OF_CENTRE, OmicsVariant};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

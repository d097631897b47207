//! The IDH genotype of a glioma from MRI: a network trained jointly on tumour image, tumour surface and brain network, and a
//! classifier on a graph of patients.
//!
//! | stage | from | to |
//! |---|---|---|
//! | 1 [`Autoencoder`] | voxels of a region ([`sample_voxels`]) | its attributes v^N |
//! | 2 [`TractEncoder`] | voxels of a tract | its attributes v^E |
//! | 3 [`GliomaNet`] | [`TumourBatch`]: image, surface points with their [`Incidence`], [`BrainNetwork`] | embeddings u^I, u^P, u^B |
//! | 4 [`PopulationClassifier`] | embeddings of patients, joined by [`PopulationGraphConfig`] | a logit per patient |
//!
//! Stage 3 has [`ImageEncoder`], [`GeometryEncoder`] and [`NetworkEncoder`]. Each stage is trained by `oncograph_train::fit`
//! through its learner: [`AutoencoderLearner`], [`TractLearner`], [`GliomaNetLearner`], [`BinaryLearner`].
//!
//! The system whole, from files to a prediction:
//!
//! - [`GliomaConfig`] and [`GliomaPreset`]: every choice as a value; [`GliomaSource`] opens a [`GliomaCohort`].
//! - [`GliomaStages`]: stages 1 to 3, computed once for a cohort and split, and used by every head.
//! - [`PopulationHead`], [`MlpHead`], [`SvmSystem`], [`ImageNetwork`], [`OnHalfB`]: the heads and what they are compared with, as
//!   systems of an [`oncograph_study::Study`]; [`TablePopulation`]: the population graph on clinical tables.
//! - [`StoredNetwork`]: a patient's brain network and tumour surface as a file.
//! - [`write_glioma_bundle`] and [`GliomaPredictor`]: a finished run as a folder that predicts new patients by itself.
//! - [`GliomaExplanations`], [`glioma_connectome`], [`population_figure`], [`slices_figure`]: what a page shows.
//!
//! # Reference
//! Wei et al., *Multi-modal learning for predicting the genotype of glioma*, IEEE Transactions on Medical Imaging
//! 42(11), 2023, arXiv 2203.10852. What it leaves open is a field of a configuration with the decision's number (G-01
//! to G-37) in its documentation; [`decisions`] lists them.

#[doc = include_str!("../decisions.md")]
pub mod decisions {}

mod attention;
mod autoencoder;
mod batches;
mod binary_learner;
mod brain_network;
mod bundle;
mod error;
mod explanation;
mod figures;
mod geometry_encoder;
mod glioma_net;
mod image_encoder;
mod incidence;
mod missing;
mod network_encoder;
mod pipeline;
mod population;
mod predictor;
mod presets;
mod published;
mod report_tables;
mod stages;
mod stored_network;
mod svm_head;
mod systems;
mod tables;
mod tract_encoder;
mod tumour;
mod validate;
mod voxel_sampling;
mod weights;

pub use attention::TractAttention;
pub use autoencoder::{Autoencoder, AutoencoderConfig, AutoencoderLearner};
pub use binary_learner::{BinaryLearner, BinaryTraining, feature_matrix};
pub use brain_network::{BatchNetwork, BrainNetwork, brain_schema};
pub use bundle::write_glioma_bundle;
pub use error::{Error, Result};
pub use explanation::{GliomaExplanation, GliomaExplanations};
pub use figures::{glioma_connectome, population_figure, slices_figure};
pub use geometry_encoder::{EdgeInput, GeometryEncoder, GeometryEncoderConfig, GeometryOutput};
pub use glioma_net::{
    EdgeGate, Encoders, GliomaNet, GliomaNetConfig, GliomaNetData, GliomaNetLearner, GliomaNetOutput,
    GliomaNetTraining, NodeAttention, NodeHead,
};
pub use image_encoder::{ImageEncoder, ImageEncoderConfig, ImageHead};
pub use incidence::{BatchIncidence, Incidence, NoCross};
pub use missing::{missing_rows, missing_sequences};
pub use network_encoder::{NetworkEncoder, NetworkEncoderConfig};
pub use pipeline::{
    BrainOverlap, GliomaCohort, GliomaFilesConfig, GliomaGroups, GliomaPrepareOptions, GliomaSource,
    GliomaSubject, IntensityConfig, IntensityReference, MaskMode, PatientSpace, Placement,
    RegistrationConfig, RegistrationTool, SEQUENCES, StageProgress, StageWatch, SusanConfig, crop_grid,
    place_on_atlas, surface_points,
};
pub use population::{
    Neighbour, PopulationBank, PopulationClassifier, PopulationClassifierConfig, PopulationData,
    PopulationEdges, PopulationGraphConfig, PopulationMode, Similarity,
};
pub use predictor::{CrossedTract, GLIOMA_SYSTEM, GliomaPrediction, GliomaPredictor, PHANTOM_MODELS};
pub use presets::{
    EmbeddingVector, GliomaConfig, GliomaExplainOptions, GliomaPreset, NetworkPatients, StageFit,
};
pub use published::{PUBLISHED, PublishedCounts, PublishedRow, published_class_sizes, published_counts};
pub use report_tables::{glioma_model_card, stage_costs};
pub use stages::{
    AttributeScalers, GliomaEmbeddings, GliomaNetworks, GliomaStages, StageCost, StageCurve, TrainedGliomaNet,
};
pub use stored_network::{NetworkOrigin, StoredNetwork};
pub use svm_head::{SvmHead, SvmHeadConfig};
pub use systems::names;
pub use systems::{
    ImageNetwork, ImageNetworkKind, MlpHead, OnHalfB, PopulationHead, PopulationModel, PopulationReport,
    Prevalence, RidgeLogistic, SvmSystem, published_variants, switched_variants,
};
pub use tables::{GliomaTablesConfig, TableCohort, TablePopulation, TableVariant};
pub use tract_encoder::{TractData, TractEncoder, TractEncoderConfig, TractLearner};
pub use tumour::{Tumour, TumourBatch, TumourImage, random_rotation};
pub use voxel_sampling::{TractChannels, VoxelSampling, sample_positions, sample_voxels, z_score_within};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

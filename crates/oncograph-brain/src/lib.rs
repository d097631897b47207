//! Glioma: tumour image, tumour surface and brain network learned together, and a graph of patients that is asked for the IDH
//! genotype.
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
//! # Reference
//! *Multi-modal contrastive learning with a population graph for IDH genotype*, arXiv 2203.10852. What it leaves open
//! is a field of a configuration with the decision's number (G-01 to G-37) in its documentation.

mod autoencoder;
mod batches;
mod binary_learner;
mod brain_network;
mod error;
mod geometry_encoder;
mod glioma_net;
mod image_encoder;
mod incidence;
mod network_encoder;
mod population;
mod svm_head;
mod tract_encoder;
mod tumour;
mod voxel_sampling;

pub use autoencoder::{Autoencoder, AutoencoderConfig, AutoencoderLearner};
pub use binary_learner::{BinaryLearner, BinaryTraining, feature_matrix};
pub use brain_network::{BatchNetwork, BrainNetwork};
pub use error::{Error, Result};
pub use geometry_encoder::{EdgeInput, GeometryEncoder, GeometryEncoderConfig, GeometryOutput};
pub use glioma_net::{
    EdgeGate, Encoders, GliomaNet, GliomaNetConfig, GliomaNetLearner, GliomaNetOutput, GliomaNetTraining,
    NodeAttention, NodeHead,
};
pub use image_encoder::{ImageEncoder, ImageEncoderConfig, ImageHead};
pub use incidence::{BatchIncidence, Incidence, NoCross};
pub use network_encoder::{NetworkEncoder, NetworkEncoderConfig};
pub use population::{
    Neighbour, PopulationBank, PopulationClassifier, PopulationClassifierConfig, PopulationEdges,
    PopulationGraphConfig, PopulationMode, Similarity,
};
pub use svm_head::{SvmHead, SvmHeadConfig};
pub use tract_encoder::{TractEncoder, TractEncoderConfig, TractLearner};
pub use tumour::{Tumour, TumourBatch, TumourImage, random_rotation};
pub use voxel_sampling::{TractChannels, VoxelSampling, sample_positions, sample_voxels, z_score_within};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

//! STG: the spatio-temporal graph network for the prognosis of colorectal liver metastases.
//!
//! One pre-operative CT with its segmentation and one clinical row become a graph of seven nodes; a network over
//! that graph and twelve yearly steps gives the time to recurrence and the survival, in years.
//!
//! - [`preprocess`]: CT and masks to the encoder's inputs.
//! - [`patient_graph`]: the seven nodes and twenty directed edges.
//! - [`image_features`]: from a tumour's or organ's masked CT to the vectors of an image node.
//! - [`Stg`]: both architectures (`full`, `decoupled`) under one [`StgConfig`].
//! - [`StgLearner`]: the four losses, augmentation and the contrastive views, for [`oncograph_train::fit`].
//!
//! # Reference
//! *The STG paper*, arXiv 2505.03123v1. It leaves many choices open; each is a field of [`StgConfig`] or
//! [`TrainingConfig`] with the decision's number (S-01 to S-30) in its documentation, and two presets: `paper`, the
//! literal reading, and `clinical`, what we would run.

mod assemble;
mod augment;
mod components;
mod config;
mod error;
mod features;
mod learner;
mod model;
mod nodes;
mod patient;
mod prediction;
mod preprocess;
mod scaler;
mod time_scale;

pub use augment::AugmentConfig;
pub use config::{
    Architecture, Contrast, EdgeMode, GnnKind, LossConfig, NodeType, StgConfig, SurvivalLoss, TemporalInput,
    TrainingConfig, Unify,
};
pub use error::{Error, Result};
pub use features::{PYRAMID_LEVELS, image_features};
pub use learner::{NodeTable, StgLearner};
pub use model::{Stg, StgOutput};
pub use nodes::NodeFeatures;
pub use patient::{ANATOMY, PatientNodes, patient_graph, patient_schema};
pub use prediction::{Prediction, predict};
pub use preprocess::{CropCentre, PatientMasks, PreparedImages, PreprocessConfig, preprocess};
pub use scaler::{FeatureNorm, ImageScaler};
pub use time_scale::TimeScale;

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

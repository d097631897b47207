//! STG: the spatio-temporal graph network for the prognosis of colorectal liver metastases.
//!
//! One pre-operative CT with its segmentation and one clinical row become a graph of seven nodes; a network over
//! that graph and twelve yearly steps gives the time to recurrence and the survival, in years.
//!
//! - [`StgSystemConfig`] and [`StgPreset`]: the configuration and its presets: `paper`, the literal reading, `clinical`, the
//!   recommended one for real patients, `quick`, for the phantom.
//! - [`CrlmSource`], [`StgCohort`], [`CtEncoder`], [`StgPipeline`]: from files to what the network takes, the same code
//!   for a cohort and for one new patient.
//! - [`Stg`]: every architecture (`full`, `decoupled`, and the parts of the ablation) under one [`StgConfig`]; [`StgLearner`]: its losses, augmentation and
//!   contrastive views, for [`oncograph_train::fit`].
//! - [`StgSystem`]: all of this for [`oncograph_study::Study`]; [`nested_stg`]: with its configuration chosen within each fold.
//! - [`PaperTable`]: the rows of the paper's tables as configurations, beside the published numbers; [`audit_tables`]: what those
//!   numbers allow; [`EarlyFusion`]: the one row that is no graph network.
//! - [`missing_nodes`], [`occlusions`]: results of a finished study with a part of the inputs missing; [`attribution_summary`]: what
//!   its risks depend on; [`risk_by_step`]: how they go over the steps.
//! - [`write_stg_bundle`] and [`StgPredictor`]: a finished study as a folder that predicts new patients by itself.
//!
//! The single steps, for use in other programs: [`preprocess`] (CT and masks to the encoder's inputs), [`image_features`] (from
//! a feature map to the vectors of an image node), [`patient_graph`] (seven nodes, twenty directed edges).
//!
//! # Reference
//! Zhu et al., *STG: Spatiotemporal Graph Neural Network with Fusion and Spatiotemporal Decoupling Learning for
//! Prognostic Prediction of Colorectal Cancer Liver Metastasis*, 2025, arXiv 2505.03123. It leaves many choices open;
//! each is a field of a configuration with the decision's number (S-01 to S-30) in its documentation; [`decisions`]
//! lists them.

#[doc = include_str!("../decisions.md")]
pub mod decisions {}

mod assemble;
mod attribution;
mod augment;
mod batch_nodes;
mod bundle;
mod card;
mod components;
mod config;
mod encoder_config;
mod error;
mod features;
mod figures;
mod image_numbers;
mod importance;
mod intensities;
mod learner;
mod mask_numbers;
mod missing;
mod model;
mod node_subset;
mod node_table;
mod nodes;
mod paper;
mod patient;
mod pipeline;
mod prediction;
mod predictor;
mod preprocess;
mod presets;
mod random_projection;
mod scaler;
mod selection;
mod split;
mod stack;
mod step_losses;
mod system;
mod time_scale;
mod trained;
mod training;
mod trajectory;

pub use attribution::{Attributions, InputKind};
pub use augment::{AugmentConfig, Removal};
pub use bundle::{STG_BUNDLE, STG_SYSTEM, StgBundleParts, write_stg_bundle};
pub use card::stg_model_card;
pub use config::{
    Architecture, EdgeDirection, EdgeMode, GnnKind, NodeIdentity, StgConfig, SurvivalLoss, TaskWeighting,
    TemporalInput, Unify,
};
pub use encoder_config::{Backbone, CtEncoderConfig, CtNode, InputScaling, MapPooling, Roi, Stem};
pub use error::{Error, Result};
pub use features::{PYRAMID_LEVELS, image_features};
pub use figures::{missing_structures, parameter_table, slices_with_masks};
pub use importance::{
    AttributionSummary, InputImportance, KindShare, attribution_summary, write_attributions,
};
pub use learner::{StgData, StgLearner};
pub use mask_numbers::{MASK_NUMBERS, mask_numbers};
pub use missing::{MissingInput, missing_nodes, occlusions};
pub use model::{Stg, StgOutput};
pub use node_subset::NodeSubset;
pub use node_table::NodeTable;
pub use nodes::NodeInputs;
pub use paper::{
    EarlyFusion, FittedEarlyFusion, PUBLISHED_STG, PaperRow, PaperTable, ParameterRatio, Published,
    PublishedScores, RowModel, audit_tables, constant_rows, parameter_ratios,
};
pub use patient::{ANATOMY, PatientNodes, patient_graph, patient_schema};
pub use pipeline::{
    CrlmSource, CtEncoder, CtFeatures, STG_TASKS, StgCohort, StgInputs, StgPipeline, prepare_images,
};
pub use prediction::{TimePrediction, predict};
pub use predictor::{StgPatient, StgPrediction, StgPredictor, StgTaskPrediction};
pub use preprocess::{CropCentre, PatientMasks, PreparedImages, PreprocessConfig, Sampling, preprocess};
pub use presets::{ImageScalerConfig, StgPreset, StgSystemConfig};
pub use scaler::{FeatureNorm, ImageScaler};
pub use selection::{AS_CONFIGURED, nested_stg};
pub use split::HeldOut;
pub use system::{FittedStg, StgExtras, StgSystem};
pub use time_scale::TimeScale;
pub use trained::TrainedStg;
pub use training::{LossConfig, RiskSet, TargetUnit, TimeLoss, TrainingConfig, ViewContrast};
pub use trajectory::risk_by_step;

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

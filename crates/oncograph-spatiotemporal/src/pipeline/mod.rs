//! From the files of patients to what the network takes; the same code for a cohort and for one new patient.

mod backbone;
mod cohort;
mod encoder;
mod encoder_settings;
mod feature_file;
mod inputs;
mod source;

pub(crate) use backbone::read_weights;
pub use cohort::StgCohort;
pub(crate) use encoder::weight_tensors;
pub use encoder::{CtEncoder, CtFeatures, prepare_images};
pub use inputs::{StgInputs, StgPipeline};
pub use source::CrlmSource;

/// The tasks, in the order of every pair of this crate: time to recurrence and overall survival.
pub const STG_TASKS: [&str; 2] = ["recurrence", "survival"];

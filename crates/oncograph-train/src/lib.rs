//! Training on candle: a loop with early stopping and checkpoints that resume bit for bit, cross-validation whose
//! finished parts survive a kill, and the run directory that holds all of it.
//!
//! - [`Learner`]: what is trained; [`fit`] runs it.
//! - [`cached_gradients`]: a loss over a batch that does not fit into memory at once.
//! - [`RunDir`]: one folder per run, every file written whole or not at all.
//! - [`StopFlag`]: makes a running [`fit`] stop after the current step, for example on Ctrl-C.

mod checkpoint;
mod config;
mod epoch;
mod error;
mod fit;
mod gradient_cache;
mod precision;
mod run_dir;
mod stop;

pub use checkpoint::{Progress, TrainingCheckpoint};
pub use config::{FitConfig, Keep, OptimizerConfig, StepDecay, WarmupCosine};
pub use epoch::EpochRecord;
pub use error::{Error, Result};
pub use fit::{FitOutcome, Learner, Parameters, StepGradients, StepLoss, Validation, fit, fit_each};
pub use gradient_cache::{BatchLoss, cached_gradients};
pub use run_dir::RunDir;
pub use stop::StopFlag;

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

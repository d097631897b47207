//! Survival, contrastive, temporal and multi-task losses on candle, each differentiable and each a mean over what
//! it scores, so that a loss does not change with the size of a batch.
//!
//! | loss | for |
//! |---|---|
//! | [`mse`], [`censored_hinge`] | times, observed or censored |
//! | [`cox`] | log risks under proportional hazards |
//! | [`discrete_hazard`] | hazards per time bin |
//! | [`cosine_alignment`], [`info_nce`], [`nt_xent`] | pairs of views |
//! | [`temporal_consistency`] | sequences of states |
//! | [`LinearSchedule`], [`TaskWeights`] | the weights of several losses over training |

mod contrastive;
mod cox;
mod discrete_hazard;
mod error;
mod temporal;
mod time;
mod weights;

pub use contrastive::{cosine_alignment, info_nce, nt_xent};
pub use cox::{Ties, cox};
pub use discrete_hazard::{discrete_hazard, predicted_time, survival_curve};
pub use error::{Error, Result};
pub use temporal::{TemporalKind, temporal_consistency};
pub use time::{censored_hinge, mse};
pub use weights::{LinearSchedule, TaskWeights};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

//! Survival, contrastive, temporal and multi-task losses on candle, each differentiable and each a mean over what
//! it scores, so that a loss does not change with the size of a batch.
//!
//! | loss | for |
//! |---|---|
//! | [`cross_entropy`], [`binary_cross_entropy`] | classes |
//! | [`squared_error`], [`absolute_error`], [`huber`], [`smooth_l1`] | values |
//! | [`mse`], [`censored_hinge`] | times, observed or censored |
//! | [`cox`], [`cox_in_cohort`] | log risks under proportional hazards |
//! | [`discrete_hazard`] | hazards per time bin |
//! | [`cosine_alignment`], [`info_nce`], [`info_nce_symmetric`], [`nt_xent`], [`cross_view`] | pairs of views |
//! | [`bi_level`] | image, surface and network of a tumour |
//! | [`temporal_consistency`] | sequences of states |
//! | [`LinearSchedule`], [`TaskWeights`], [`uncertainty_weighted`] | the weights of several losses over training |

mod binary_cross_entropy;
mod contrastive;
mod cox;
mod cox_in_cohort;
mod cross_entropy;
mod discrete_hazard;
mod error;
mod reduction;
mod regression;
mod temporal;
mod time;
mod weights;

pub use binary_cross_entropy::{BinaryCrossEntropyOptions, binary_cross_entropy};
pub use contrastive::{
    BiLevelConfig, BiLevelViews, Denominator, bi_level, cosine_alignment, cross_view, info_nce,
    info_nce_symmetric, nt_xent,
};
pub use cox::{RiskSets, cox};
pub use cox_in_cohort::{CoxCohort, cox_in_cohort};
pub use cross_entropy::{CrossEntropyOptions, cross_entropy};
pub use discrete_hazard::{discrete_hazard, predicted_time, survival_curve};
pub use error::{Error, Result};
pub use oncograph_core::Ties;
pub use reduction::Reduction;
pub use regression::{absolute_error, huber, smooth_l1, squared_error};
pub use temporal::{TemporalKind, temporal_consistency};
pub use time::{censored_hinge, mse};
pub use weights::{LinearSchedule, TaskWeights, uncertainty_weighted};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

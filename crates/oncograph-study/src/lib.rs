//! Evaluates prediction models: cross-validates a model and its baselines on the same folds, in parallel and resumably, and
//! scores all of them by one rule with intervals.
//!
//! - [`Cohort`]: rows, outcomes ([`Task`], [`Target`]) and the covariates that baselines are given.
//! - [`System`]: trains a model on a fold; [`Fitted`]: predicts its held-out rows.
//! - [`Study`]: repeated cross-validation, leave-one-centre-out, permutation controls; [`Nested`] chooses among
//!   configurations by inner folds.
//! - [`Scores`]: the rule of scoring; [`SubgroupScore`]: the same in subgroups.
//! - [`LeakageAudit`]: what a program checks on its own run.
//! - [`Constant`], [`CoxRidge`], [`CoxLasso`], [`SurvivalForest`], [`RidgeTime`], [`Logistic`], [`Linear`], [`RandomForest`],
//!   [`RiskScore`]: the baselines.
//! - [`cli`]: the command line that programs share (feature `cli`).

mod answer;
mod audit;
mod baseline;
#[cfg(feature = "cli")]
pub mod cli;
mod csv_file;
mod error;
mod figure;
mod job;
mod model;
mod nested;
mod permutation;
mod plan;
mod predicted_survival;
mod results;
mod score;
mod seeds;
mod study;
mod system;
mod table;
mod task;
pub mod testing;
mod wide;
mod workers;

pub use answer::{Answer, Answers};
pub use audit::{AuditCheck, DisturbInputs, LeakageAudit};
pub use baseline::{
    Baseline, Constant, CoxLasso, CoxRidge, Inputs, Linear, Logistic, Penalty, RandomForest, RidgeTime,
    RiskScore, SurvivalForest,
};
pub use error::{Error, Result};
pub use figure::{
    calibration_plot, decision_curves, learning_curve, risk_tertiles, roc_curves, survival_calibration_plot,
};
pub use job::{Job, JobProgress, JobResult};
pub use nested::{CandidateScore, InnerSelection, Nested, Selected};
pub use permutation::PermuteOutcomes;
pub use plan::{Centres, FoldSplit, Plan};
pub use predicted_survival::predicted_survival;
pub use results::{Held, StudyResults};
pub use score::{
    Estimate, FoldScore, Grouping, Metric, ScoreOptions, ScoreRow, Scores, SubgroupScore, subgroup_table,
};
pub use seeds::{SeedSpread, seed_table};
pub use study::{JOBS, Study};
pub use system::{Fitted, System};
pub use table::ScoreTable;
pub use task::{Cohort, Target, Task};
pub use workers::{Unavailable, side_by_side};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

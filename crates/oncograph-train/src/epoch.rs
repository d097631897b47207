use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One finished epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 0.
    pub epoch: usize,
    /// The mean loss over the steps.
    pub train_loss: f64,
    /// The mean of each part over the steps.
    pub train_parts: BTreeMap<String, f64>,
    /// The validation score.
    pub score: f64,
    /// The parts of the validation.
    pub validation_parts: BTreeMap<String, f64>,
    /// [`Learner::scores`](crate::Learner::scores), by name.
    #[serde(default)]
    pub scores: BTreeMap<String, f64>,
    /// The learning rate of the epoch's first step.
    pub learning_rate: f64,
}

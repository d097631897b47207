//! The three encoders together: hierarchical attention, the bi-level contrastive loss and their training.

mod config;
mod learner;
mod model;
#[cfg(test)]
mod tests;

pub use config::{EdgeGate, Encoders, GliomaNetConfig, NodeAttention, NodeHead};
pub use learner::{GliomaNetData, GliomaNetLearner, GliomaNetTraining};
pub use model::{GliomaNet, GliomaNetOutput};

//! The graph of patients: which patients are joined, the classifier on them, and how a new patient is attached.

mod bank;
mod classifier;
mod graph;
mod learner;

pub use bank::{Neighbour, PopulationBank, PopulationMode};
pub use classifier::{PopulationClassifier, PopulationClassifierConfig};
pub use graph::{PopulationEdges, PopulationGraphConfig, Similarity};
pub use learner::PopulationData;

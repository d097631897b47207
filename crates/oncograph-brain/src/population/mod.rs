//! The graph of patients: who is joined, what a classifier says of each, and how a new patient is attached.

mod bank;
mod classifier;
mod graph;
mod learner;

pub use bank::{Neighbour, PopulationBank, PopulationMode};
pub use classifier::{PopulationClassifier, PopulationClassifierConfig};
pub use graph::{PopulationEdges, PopulationGraphConfig, Similarity};
pub use learner::PopulationData;

use crate::Result;
use oncograph_graph::HeteroGraph;
use oncograph_nn::Seed;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// How a patient's graph is varied (S-23).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AugmentConfig {
    /// The probability that an anatomical node is removed, with its edges.
    pub remove: f64,
    /// The standard deviation of Gaussian noise on the features that remain: image features are z-scores, and a clinical
    /// covariate's noise is in units of its own deviation, however it was scaled.
    pub noise: f64,
    /// Graphs per patient and epoch: the original and augmented ones.
    pub expansion: usize,
}

impl Default for AugmentConfig {
    /// The preset `paper`: 5 %, 0.1, one original and four augmented graphs.
    fn default() -> Self {
        AugmentConfig { remove: 0.05, noise: 0.1, expansion: 5 }
    }
}

impl AugmentConfig {
    /// Sets the graphs per patient and epoch.
    pub fn expansion(mut self, expansion: usize) -> Self {
        self.expansion = expansion;
        self
    }

    /// Sets the probability of removal and the noise.
    pub fn strength(mut self, remove: f64, noise: f64) -> Self {
        (self.remove, self.noise) = (remove, noise);
        self
    }

    /// A copy of `graph` without the anatomical nodes that the draw removes.
    ///
    /// # Errors
    /// An error of the graph.
    pub fn remove_nodes(&self, graph: &HeteroGraph, seed: Seed) -> Result<HeteroGraph> {
        let mut rng = seed.rng();
        let keep: Vec<bool> =
            (0..graph.nodes("anatomy")?.count).map(|_| rng.random::<f64>() >= self.remove).collect();
        if keep.iter().all(|k| *k) {
            return Ok(graph.clone());
        }
        Ok(graph.retain_nodes("anatomy", &keep)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PatientNodes, patient_graph, patient_schema};
    use std::sync::Arc;

    #[test]
    fn removal_takes_the_incident_edges_and_the_stated_share() {
        let nodes =
            PatientNodes { images: Some(vec![0.0; 6]), centroids: [[0.0; 3]; 5], clinical: vec![0.0] };
        let graph = patient_graph(&Arc::new(patient_schema(1, 1)), &nodes).unwrap();
        let config = AugmentConfig::default().strength(0.2, 0.0);
        let mut removed = 0;
        for i in 0..2000 {
            let view = config.remove_nodes(&graph, Seed::new(1).at(i)).unwrap();
            let left = view.nodes("anatomy").unwrap().count;
            assert_eq!(view.edge_count(), 4 * left);
            removed += 5 - left;
        }
        let share = removed as f64 / 10_000.0;
        // Four standard errors.
        assert!((share - 0.2).abs() < 4.0 * (0.16f64 / 10_000.0).sqrt(), "{share}");
    }
}

use crate::features::NODES;
use crate::{Error, Result};
use oncograph_graph::{HeteroGraph, NodeStore};
use oncograph_nn::Seed;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// What happens to an anatomical node that augmentation takes (S-23).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    /// It is removed, with its edges.
    #[default]
    Remove,
    /// It stays, with zeros in place of its features, which is their mean where they are z-scores.
    Zero,
}

/// How a patient's graph is varied (S-23).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AugmentConfig {
    /// The probability that an anatomical node is taken.
    pub remove: f64,
    /// What happens to it.
    #[serde(default)]
    pub removal: Removal,
    /// The standard deviation of Gaussian noise on the features that remain: image features are z-scores, and a clinical
    /// covariate's noise is in units of its own deviation, however it was scaled.
    pub noise: f64,
    /// Graphs per patient and epoch.
    pub expansion: usize,
    /// Whether the first of them is the original; else all are augmented.
    #[serde(default = "with_original")]
    pub original: bool,
}

/// How runs without this setting were made.
fn with_original() -> bool {
    true
}

impl Default for AugmentConfig {
    /// The preset `paper`: 5 %, 0.1, one original and four augmented graphs.
    fn default() -> Self {
        AugmentConfig { remove: 0.05, removal: Removal::Remove, noise: 0.1, expansion: 5, original: true }
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

    /// Sets what happens to a node that is taken.
    pub fn removal(mut self, removal: Removal) -> Self {
        self.removal = removal;
        self
    }

    /// Sets whether the first graph of a patient is the original.
    pub fn original(mut self, original: bool) -> Self {
        self.original = original;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        const OP: &str = "AugmentConfig";
        if !(0.0..1.0).contains(&self.remove) {
            return Err(Error::config(OP, "remove", "at least 0 and below 1", self.remove));
        }
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            return Err(Error::config(OP, "noise", "at least 0", self.noise));
        }
        if self.expansion == 0 {
            return Err(Error::config(OP, "expansion", "at least 1", 0));
        }
        Ok(())
    }

    /// Whether each anatomical node of `graph` stays.
    fn kept(&self, graph: &HeteroGraph, seed: Seed) -> Result<Vec<bool>> {
        let mut rng = seed.rng();
        Ok((0..graph.nodes("anatomy")?.count).map(|_| rng.random::<f64>() >= self.remove).collect())
    }

    /// A copy of `graph` over a table of nodes, varied as configured but for the noise.
    ///
    /// # Errors
    /// An error of the graph.
    pub(crate) fn draw(&self, graph: &HeteroGraph, seed: Seed) -> Result<Drawn> {
        if self.removal == Removal::Remove {
            return Ok(Drawn::unchanged(&self.remove_nodes(graph, seed)?));
        }
        let mut drawn = Drawn::unchanged(graph);
        if let NodeStore::Rows(rows) = &graph.nodes("anatomy")?.store {
            for (row, kept) in rows.iter().zip(self.kept(graph, seed)?) {
                drawn.zeroed[*row as usize % NODES] = !kept;
            }
        }
        Ok(drawn)
    }

    /// A copy of `graph` without the anatomical nodes that the draw removes.
    ///
    /// # Errors
    /// An error of the graph.
    pub fn remove_nodes(&self, graph: &HeteroGraph, seed: Seed) -> Result<HeteroGraph> {
        let keep = self.kept(graph, seed)?;
        if keep.iter().all(|k| *k) {
            return Ok(graph.clone());
        }
        Ok(graph.retain_nodes("anatomy", &keep)?)
    }
}

/// A graph of a training step.
#[derive(Debug, Clone)]
pub(crate) struct Drawn {
    pub graph: HeteroGraph,
    /// Which anatomical nodes have zeros in place of their features.
    pub zeroed: [bool; 5],
}

impl Drawn {
    pub(crate) fn unchanged(graph: &HeteroGraph) -> Self {
        Drawn { graph: graph.clone(), zeroed: [false; 5] }
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

    #[test]
    fn what_is_out_of_range_is_named() {
        let error = |c: AugmentConfig| c.validate().unwrap_err().to_string();
        let config = AugmentConfig::default();
        config.validate().unwrap();
        assert!(error(config.clone().strength(1.0, 0.1)).contains("remove must be at least 0 and below 1"));
        assert!(error(config.clone().strength(-0.1, 0.1)).contains("remove"));
        assert!(error(config.clone().strength(0.1, f64::NAN)).contains("noise must be at least 0"));
        assert!(error(config.expansion(0)).contains("expansion"));
    }

    #[test]
    fn a_node_can_be_zeroed_in_place_of_removed() {
        let table = crate::NodeTable::new(Some(vec![1.0; 18]), 1, vec![0.0], 1, &candle_core::Device::Cpu);
        let graph = table.unwrap().graph(0, [[0.5; 3]; 5]).unwrap();
        let few = graph.retain_nodes("anatomy", &[true, false, true, true, false]).unwrap();
        let config = AugmentConfig::default().strength(0.5, 0.0).removal(Removal::Zero);
        let removing = config.clone().removal(Removal::Remove);
        for i in 0..50 {
            let drawn = config.draw(&few, Seed::new(1).at(i)).unwrap();
            assert_eq!(drawn.graph, few);
            // The same draw takes the same nodes; those that are not there are not taken.
            let removed = removing.draw(&few, Seed::new(1).at(i)).unwrap();
            assert_eq!(removed.zeroed, [false; 5]);
            let left = removed.graph.nodes("anatomy").unwrap().count;
            assert_eq!(drawn.zeroed.iter().filter(|z| **z).count(), 3 - left);
            assert!(!drawn.zeroed[1] && !drawn.zeroed[4]);
        }
        let old: AugmentConfig =
            serde_json::from_str(r#"{"remove":0.05,"noise":0.1,"expansion":5}"#).unwrap();
        assert_eq!(old, AugmentConfig::default());
    }
}

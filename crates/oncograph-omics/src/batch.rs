use crate::{Error, NodeInput, OmicsNetConfig, Result};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;

/// The nodes of one type, of all patients of a batch.
#[derive(Debug, Clone)]
pub enum Nodes {
    /// One value per named node, \[patients, nodes\]; rows of patients that lack the type are not read.
    Values {
        /// \[patients, nodes\]
        values: Tensor,
        /// Which patients have the type.
        present: Vec<bool>,
    },
    /// Nodes with a vector each; a patient without a node lacks the type.
    Rows {
        /// \[nodes of all patients, width\]
        features: Tensor,
        /// The patient of each node, ascending.
        patient: Vec<u32>,
        /// (source, target) among the nodes of all patients.
        edges: Vec<(u32, u32)>,
    },
}

/// What the network sees of several patients.
#[derive(Debug, Clone)]
pub struct OmicsBatch {
    /// \[patients, features\]
    pub patient: Tensor,
    /// By node type; a type that no patient has may be left out.
    pub nodes: BTreeMap<String, Nodes>,
}

impl OmicsBatch {
    /// A batch of patients without nodes yet.
    pub fn new(patient: Tensor) -> Self {
        OmicsBatch { patient, nodes: BTreeMap::new() }
    }

    /// Adds the values of a type of named nodes.
    pub fn with_values(mut self, node_type: impl Into<String>, values: Tensor, present: Vec<bool>) -> Self {
        self.nodes.insert(node_type.into(), Nodes::Values { values, present });
        self
    }

    /// Adds nodes with a vector each.
    pub fn with_rows(
        mut self,
        node_type: impl Into<String>,
        features: Tensor,
        patient: Vec<u32>,
        edges: Vec<(u32, u32)>,
    ) -> Self {
        self.nodes.insert(node_type.into(), Nodes::Rows { features, patient, edges });
        self
    }

    /// Patients in the batch.
    pub fn len(&self) -> usize {
        self.patient.dims().first().copied().unwrap_or(0)
    }

    /// Whether there is no patient.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which patients have nodes of a type.
    pub fn present(&self, node_type: &str) -> Vec<bool> {
        let mut here = vec![false; self.len()];
        match self.nodes.get(node_type) {
            None => {}
            Some(Nodes::Values { present, .. }) => here.clone_from(present),
            Some(Nodes::Rows { patient, .. }) => patient.iter().for_each(|p| here[*p as usize] = true),
        }
        here
    }

    /// The batch as if no patient had a modality's own node types (M-17, and the availability grid).
    pub fn without(mut self, node_types: &[&str]) -> Self {
        self.nodes.retain(|name, _| !node_types.contains(&name.as_str()));
        self
    }

    /// Checks the batch against what a network was built for.
    ///
    /// # Errors
    /// [`Error::Input`] names the node type and what is wrong with it.
    pub fn validate(&self, config: &OmicsNetConfig) -> Result<()> {
        let b = self.len();
        if self.patient.dims() != [b, config.patient] {
            let expected = format!("[patients, {}]", config.patient);
            return Err(Error::input("patient features", expected, format!("{:?}", self.patient.dims())));
        }
        for (name, nodes) in &self.nodes {
            // Node types of modalities that were left out are not read.
            let Some(t) = config.node_type(name) else { continue };
            let what = format!("nodes of type {name}");
            let fits = match (nodes, t.input) {
                (Nodes::Values { values, present }, NodeInput::Diag | NodeInput::Named) => {
                    values.dims() == [b, t.features] && present.len() == b
                }
                (Nodes::Rows { features, patient, edges }, NodeInput::Rows) => {
                    let n = patient.len();
                    if edges.iter().any(|&(s, t)| s as usize >= n || t as usize >= n) {
                        return Err(Error::input(what, format!("edges among {n} nodes"), "one beyond them"));
                    }
                    features.dims() == [n, t.features]
                        && patient.is_sorted()
                        && patient.last().is_none_or(|p| (*p as usize) < b)
                }
                _ => false,
            };
            if !fits {
                let expected = format!("{:?} of {} for {b} patients", t.input, t.features);
                let got = match nodes {
                    Nodes::Values { values, present } => {
                        format!("values {:?}, {} flags", values.dims(), present.len())
                    }
                    Nodes::Rows { features, patient, .. } => {
                        format!(
                            "rows {:?} of {} nodes up to patient {:?}",
                            features.dims(),
                            patient.len(),
                            patient.last()
                        )
                    }
                };
                return Err(Error::input(what, expected, got));
            }
        }
        Ok(())
    }
}

/// Edges between consecutive slices of each patient: `spatial_adjacent` without coordinates of two dimensions.
pub fn consecutive_edges(patient: &[u32]) -> Vec<(u32, u32)> {
    let next = |w: usize| {
        (patient[w] == patient[w + 1]).then_some([(w as u32, w as u32 + 1), (w as u32 + 1, w as u32)])
    };
    (0..patient.len().saturating_sub(1)).filter_map(next).flatten().collect()
}

/// Edges between all nodes of each patient: `spatial_adjacent` where nothing is known of places (M-04).
pub fn complete_edges(patient: &[u32]) -> Vec<(u32, u32)> {
    let mut edges = vec![];
    for (s, p) in patient.iter().enumerate() {
        for (t, q) in patient.iter().enumerate() {
            if s != t && p == q {
                edges.push((s as u32, t as u32));
            }
        }
    }
    edges
}

/// A tensor of `index` for [`Tensor::index_select`].
pub(crate) fn index(index: &[u32], device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_slice(index, index.len(), device)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use oncograph_nn::testing::device;

    #[test]
    fn defect_1_spatial_edges_stay_within_a_patient() {
        assert_eq!(consecutive_edges(&[0, 0, 1, 1]), [(0, 1), (1, 0), (2, 3), (3, 2)]);
        assert_eq!(complete_edges(&[0, 1, 1]), [(1, 2), (2, 1)]);
        assert!(consecutive_edges(&[]).is_empty());
    }

    #[test]
    fn a_wrong_width_is_named() {
        let zeros = |r: usize, c: usize| Tensor::zeros((r, c), DType::F32, &device()).unwrap();
        let config = OmicsNetConfig::fixed();
        let batch = OmicsBatch::new(zeros(2, 50)).with_values("gene", zeros(2, 999), vec![true; 2]);
        let error = batch.validate(&config).unwrap_err().to_string();
        assert_eq!(
            error,
            "nodes of type gene: expected Diag of 1000 for 2 patients, got values [2, 999], 2 flags"
        );
        let batch =
            OmicsBatch::new(zeros(2, 50)).with_rows("imaging_feature", zeros(1, 2048), vec![2], vec![]);
        assert!(batch.validate(&config).is_err());
    }
}

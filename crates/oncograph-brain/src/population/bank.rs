use super::{PopulationClassifier, PopulationEdges, PopulationGraphConfig};
use crate::{Error, Result, feature_matrix};
use candle_core::Device;
use oncograph_nn::Mode;
use serde::{Deserialize, Serialize};

/// What the classifier of a patient sees of the others (G-28).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PopulationMode {
    /// The graph has the training patients alone; a new one is joined to them by edges that lead to it.
    #[default]
    Inductive,
    /// One graph with the test patients in it, whose labels are masked: for parity with the paper.
    Transductive,
}

/// The patients that a population graph was trained with: their features and what they are joined by. Saved with a
/// model, it is all that one new patient needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PopulationBank {
    /// Identifier of each patient.
    pub ids: Vec<String>,
    /// IDH mutation of each patient.
    pub labels: Vec<bool>,
    /// Node features w_i, patient by patient.
    pub nodes: Vec<Vec<f64>>,
    /// The vectors that r compares.
    pub links: Vec<Vec<f64>>,
    /// How patients are joined.
    pub graph: PopulationGraphConfig,
}

/// A patient of the bank that a new one is joined to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Identifier.
    pub id: String,
    /// IDH mutation.
    pub mutant: bool,
    /// r.
    pub similarity: f64,
}

impl PopulationBank {
    /// The edges among the bank's patients.
    ///
    /// # Errors
    /// As [`PopulationGraphConfig::edges`].
    pub fn edges(&self) -> Result<PopulationEdges> {
        self.graph.edges(&self.links)
    }

    /// The logits of new patients, each as if it were the only one.
    ///
    /// # Errors
    /// [`Error::Input`] if nodes and links are not equally many or not as wide as the bank's.
    pub fn predict(
        &self,
        classifier: &PopulationClassifier,
        nodes: &[Vec<f64>],
        links: &[Vec<f64>],
        device: &Device,
    ) -> Result<Vec<f64>> {
        if nodes.len() != links.len() {
            return Err(Error::input("PopulationBank", format!("{} rows", nodes.len()), links.len()));
        }
        let edges = self.edges()?.and(&self.graph.attach(&self.links, links)?);
        let count = self.nodes.len() + nodes.len();
        let x = feature_matrix(self.nodes.iter().chain(nodes), device)?;
        let logits = classifier.forward(&x, &edges.graph(count, device)?, Mode::Eval)?;
        let logits = logits.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>()?;
        Ok(logits[self.nodes.len()..].to_vec())
    }

    /// The bank's patients most like a new one, the most similar first, joined to it or not.
    pub fn nearest(&self, link: &[f64], count: usize) -> Vec<Neighbour> {
        let similarity = |i: usize| self.graph.similarity.of(&self.links[i], link);
        let mut all: Vec<(usize, f64)> = (0..self.links.len()).map(|i| (i, similarity(i))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let neighbour = |(i, similarity): (usize, f64)| Neighbour {
            id: self.ids[i].clone(),
            mutant: self.labels[i],
            similarity,
        };
        all.into_iter().take(count).map(neighbour).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PopulationClassifierConfig;
    use candle_core::DType;
    use oncograph_nn::testing::device;
    use oncograph_nn::{ParamStore, Seed};

    fn rows(from: usize, count: usize) -> Vec<Vec<f64>> {
        (from..from + count).map(|i| vec![(i as f64).sin(), (1.3 * i as f64).cos(), 0.2]).collect()
    }

    /// Section 13: the prediction for one test patient does not change, to the bit, when others are removed.
    #[test]
    fn a_prediction_does_not_depend_on_other_new_patients() {
        let bank = PopulationBank {
            ids: (0..12).map(|i| format!("P{i}")).collect(),
            labels: vec![false; 12],
            nodes: rows(0, 12),
            links: rows(0, 12),
            graph: PopulationGraphConfig::default(),
        };
        let store = ParamStore::new(Seed::new(2));
        let config = PopulationClassifierConfig::new(3).channels([8, 8]);
        let model = config.build(store.var_builder(DType::F32, &device())).unwrap();
        let new = rows(20, 5);
        let together = bank.predict(&model, &new, &new, &device()).unwrap();
        for (i, row) in new.iter().enumerate() {
            let row = std::slice::from_ref(row);
            let alone = bank.predict(&model, row, row, &device()).unwrap();
            assert_eq!(alone[0].to_bits(), together[i].to_bits());
        }
        // Not because nobody is joined to anybody.
        assert!(bank.graph.attach(&bank.links, &new).unwrap().len() > 5);
        let near = bank.nearest(&bank.links[3], 2);
        assert_eq!(near[0].id, "P3");
        assert!(near[0].similarity > near[1].similarity);
    }
}

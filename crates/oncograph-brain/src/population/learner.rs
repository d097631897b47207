use super::{PopulationClassifier, PopulationEdges};
use crate::{BinaryLearner, BinaryTraining, Result, feature_matrix};
use candle_core::{Device, Tensor};
use oncograph_core::Split;
use oncograph_nn::{Mode, Seed};

/// What a population classifier learns from: patients in one order, as the nodes of one graph.
#[derive(Debug, Clone, Copy)]
pub struct PopulationData<'a> {
    /// The features of each patient.
    pub x: &'a [Vec<f64>],
    /// The patients who are joined.
    pub edges: &'a PopulationEdges,
    /// The label of each patient; `None` where it is not known.
    pub labels: &'a [Option<bool>],
}

impl PopulationClassifier {
    /// The training of this classifier on one graph. Only the labels of the training and validation patients of `split`
    /// are read; the nodes of all others pass their messages on.
    ///
    /// # Errors
    /// As [`BinaryLearner::new`]; an error for edges to patients that are not there.
    pub fn learner(
        &self,
        data: PopulationData<'_>,
        split: &Split,
        training: &BinaryTraining,
        seed: Seed,
        device: &Device,
    ) -> Result<BinaryLearner<'_>> {
        let graph = data.edges.graph(data.x.len(), device)?;
        let x = feature_matrix(data.x, device)?;
        let forward = move |patients: &[u32], mode: Mode| -> Result<Tensor> {
            let index = Tensor::from_slice(patients, patients.len(), x.device())?;
            Ok(self.forward(&x, &graph, mode)?.index_select(&index, 0)?)
        };
        BinaryLearner::new(forward, data.labels, split, training, seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PopulationClassifierConfig, PopulationGraphConfig};
    use candle_core::DType;
    use oncograph_nn::ParamStore;
    use oncograph_nn::optim::AdamConfig;
    use oncograph_nn::testing::device;
    use oncograph_train::{FitConfig, OptimizerConfig, StopFlag, fit};

    #[test]
    fn a_label_of_the_neighbourhood_is_learned() {
        let rows: Vec<Vec<f64>> = (0..40)
            .map(|i| vec![if i % 2 == 0 { 1.0 } else { -1.0 }, ((i * 7) % 11) as f64 / 11.0])
            .collect();
        let edges = PopulationGraphConfig::default().edges(&rows).unwrap();
        let store = ParamStore::new(Seed::new(3));
        let config = PopulationClassifierConfig::new(2).channels([6]);
        let model = config.build(store.var_builder(DType::F32, &device())).unwrap();
        let labels: Vec<Option<bool>> = (0..40).map(|i| (i < 20).then_some(i % 2 == 0)).collect();
        let split = Split::new((0..20).collect(), vec![], vec![]);
        let training = BinaryTraining::new().batch(Some(6));
        let data = PopulationData { x: &rows, edges: &edges, labels: &labels };
        let learner = model.learner(data, &split, &training, Seed::new(1), &device());
        let mut learner = learner.unwrap();
        let config = FitConfig::new(30, OptimizerConfig::Adam(AdamConfig::new(0.05)));
        fit(&mut learner, &store, &config, None, &StopFlag::new(), |_| ()).unwrap();
        let logits = learner.logits(&(0..40).collect::<Vec<_>>()).unwrap();
        assert!(logits.iter().enumerate().all(|(i, z)| (*z > 0.0) == (i % 2 == 0)), "{logits:?}");
    }
}

use super::bank::matrix;
use super::{PopulationClassifier, PopulationEdges};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use oncograph_graph::Graph;
use oncograph_losses::{BinaryOptions, binary_cross_entropy};
use oncograph_nn::{Mode, Seed};
use oncograph_train::{Learner, StepLoss, Validation};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// How a [`PopulationLearner`] weighs and batches patients.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PopulationTraining {
    /// G-29: labels per step, each with its whole neighbourhood; `None` takes all at once.
    pub batch: Option<usize>,
    /// G-33: whether mutants weigh as much as all others together.
    pub balance: bool,
}

impl PopulationTraining {
    /// All labels at once, unweighted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the labels per step.
    pub fn batch(mut self, batch: Option<usize>) -> Self {
        self.batch = batch;
        self
    }

    /// Sets whether the classes weigh the same.
    pub fn balance(mut self, balance: bool) -> Self {
        self.balance = balance;
        self
    }
}

/// The training of a [`PopulationClassifier`] on one graph: cross entropy of the training patients, scored on the
/// validation patients, or on the training patients where there are none (G-24).
#[derive(Debug)]
pub struct PopulationLearner<'a> {
    model: &'a PopulationClassifier,
    x: Tensor,
    graph: Graph,
    labels: Vec<f32>,
    train: Vec<usize>,
    validation: Vec<usize>,
    config: PopulationTraining,
    pos_weight: Option<Tensor>,
    seed: Seed,
}

impl<'a> PopulationLearner<'a> {
    /// A learner over the nodes `x`, joined by `edges`; only the labels of `train` and `validation` are read.
    ///
    /// # Errors
    /// [`Error::Input`] if a split is empty, names a patient that is not there or one without a label.
    #[allow(clippy::too_many_arguments)] // each is a thing of its own, given once
    pub fn new(
        model: &'a PopulationClassifier,
        x: &[Vec<f64>],
        edges: &PopulationEdges,
        labels: &[Option<bool>],
        train: &[usize],
        validation: &[usize],
        config: PopulationTraining,
        seed: Seed,
        device: &Device,
    ) -> Result<Self> {
        const OP: &str = "PopulationLearner";
        let known = |i: &usize| labels.get(*i).is_some_and(Option::is_some) && *i < x.len();
        if train.is_empty() || !train.iter().chain(validation).all(known) {
            return Err(Error::input(OP, "patients of the graph with a label", format!("{train:?}")));
        }
        if config.batch == Some(0) {
            return Err(Error::config(OP, "batch", "at least 1, or none", 0));
        }
        let positive = train.iter().filter(|&&i| labels[i] == Some(true)).count();
        let pos_weight = match config.balance && positive > 0 {
            true => {
                let weight = (train.len() - positive) as f32 / positive as f32;
                Some(Tensor::new(&[weight], device)?)
            }
            false => None,
        };
        Ok(PopulationLearner {
            model,
            x: matrix(x, device)?,
            graph: edges.graph(x.len(), device)?,
            labels: labels.iter().map(|l| f32::from(u8::from(*l == Some(true)))).collect(),
            train: train.to_vec(),
            validation: validation.to_vec(),
            config,
            pos_weight,
            seed,
        })
    }

    /// The logits of all patients of the graph.
    ///
    /// # Errors
    /// An error of the model.
    pub fn logits(&self) -> Result<Vec<f64>> {
        let logits = self.model.forward(&self.x, &self.graph, Mode::Eval)?;
        Ok(logits.to_dtype(DType::F64)?.to_vec1()?)
    }

    fn loss(&self, patients: &[usize], mode: Mode) -> Result<Tensor> {
        let logits = self.model.forward(&self.x, &self.graph, mode)?;
        let index: Vec<u32> = patients.iter().map(|i| *i as u32).collect();
        let labels: Vec<f32> = patients.iter().map(|i| self.labels[*i]).collect();
        let n = patients.len();
        let logits = logits.index_select(&Tensor::from_vec(index, n, logits.device())?, 0)?;
        let labels = Tensor::from_vec(labels, n, logits.device())?;
        let mut options = BinaryOptions::new();
        if let Some(weight) = &self.pos_weight {
            options = options.pos_weight(weight.clone());
        }
        Ok(binary_cross_entropy(&logits, &labels, &options)?)
    }

    fn batch(&self) -> usize {
        self.config.batch.unwrap_or(self.train.len())
    }
}

impl Learner for PopulationLearner<'_> {
    fn steps(&self, _epoch: usize) -> usize {
        self.train.len().div_ceil(self.batch())
    }

    fn train_step(&mut self, epoch: usize, step: usize) -> oncograph_train::Result<StepLoss> {
        let mut order = self.train.clone();
        let seed = self.seed.at(epoch as u64);
        order.shuffle(&mut seed.stream("order").rng());
        let batch = self.batch();
        let mut patients = order[step * batch..order.len().min((step + 1) * batch)].to_vec();
        // A sum does not depend on the order of the patients, but its last bits do.
        patients.sort_unstable();
        let mode = Mode::Train(seed.stream("dropout").at(step as u64));
        Ok(StepLoss { loss: self.loss(&patients, mode)?, parts: vec![] })
    }

    fn validate(&mut self, _epoch: usize) -> oncograph_train::Result<Validation> {
        let patients = if self.validation.is_empty() { &self.train } else { &self.validation };
        let loss = self.loss(patients, Mode::Eval)?;
        Ok(Validation { score: loss.to_dtype(DType::F64)?.to_scalar()?, parts: vec![] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PopulationClassifierConfig, PopulationGraphConfig};
    use oncograph_nn::ParamStore;
    use oncograph_nn::optim::AdamConfig;
    use oncograph_train::{FitConfig, OptimizerConfig, StopFlag, fit};

    /// A label that lies in the neighbourhood: learned, in batches or at once, and only from the training labels.
    #[test]
    fn learns_from_the_training_labels_only() {
        let rows: Vec<Vec<f64>> = (0..40)
            .map(|i| vec![if i % 2 == 0 { 1.0 } else { -1.0 }, ((i * 7) % 11) as f64 / 11.0])
            .collect();
        let train: Vec<usize> = (0..20).collect();
        let edges = PopulationGraphConfig::default().edges(&rows).unwrap();
        for batch in [None, Some(6)] {
            let run = |labels: &[Option<bool>]| {
                let store = ParamStore::new(Seed::new(3));
                let config = PopulationClassifierConfig::new(2).channels([6]);
                let model = config.build(store.var_builder(DType::F32, &Device::Cpu)).unwrap();
                let training = PopulationTraining::new().batch(batch).balance(true);
                let mut learner = PopulationLearner::new(
                    &model,
                    &rows,
                    &edges,
                    labels,
                    &train,
                    &[],
                    training,
                    Seed::new(1),
                    &Device::Cpu,
                )
                .unwrap();
                let config = FitConfig::new(30, OptimizerConfig::Adam(AdamConfig::new(0.05)));
                fit(&mut learner, &store, &config, None, &StopFlag::new(), |_| ()).unwrap();
                learner.logits().unwrap()
            };
            let labels: Vec<Option<bool>> = (0..40).map(|i| Some(i % 2 == 0)).collect();
            let logits = run(&labels);
            assert!(logits.iter().enumerate().all(|(i, z)| (*z > 0.0) == (i % 2 == 0)), "{logits:?}");
            let hidden: Vec<Option<bool>> = (0..40).map(|i| (i < 20).then_some(i % 2 == 0)).collect();
            assert_eq!(run(&hidden), logits);
        }
    }

    #[test]
    fn patients_without_labels_cannot_train() {
        let store = ParamStore::new(Seed::new(3));
        let config = PopulationClassifierConfig::new(1).channels([2]);
        let model = config.build(store.var_builder(DType::F32, &Device::Cpu)).unwrap();
        let error = PopulationLearner::new(
            &model,
            &[vec![1.0]],
            &PopulationEdges::default(),
            &[None],
            &[0],
            &[],
            PopulationTraining::new(),
            Seed::new(1),
            &Device::Cpu,
        );
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "PopulationLearner: expected patients of the graph with a label, got [0]");
    }
}

use crate::batches::{Batches, row_numbers};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use oncograph_core::Split;
use oncograph_losses::{BinaryCrossEntropyOptions, binary_cross_entropy};
use oncograph_nn::{Mode, Seed};
use oncograph_train::{Learner, StepLoss, Validation};
use serde::{Deserialize, Serialize};

/// How a [`BinaryLearner`] weighs and batches patients.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BinaryTraining {
    /// Labels per step; `None` takes all at once. In a population graph (G-29) each has its whole neighbourhood.
    pub batch: Option<usize>,
    /// Whether mutants weigh as much as all others together (G-33).
    pub balance: bool,
}

impl BinaryTraining {
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

/// What gives one logit for each of some patients.
type Logits<'a> = Box<dyn Fn(&[u32], Mode) -> Result<Tensor> + 'a>;

/// The training of any model with one logit per patient: cross entropy of the training patients, scored on the validation
/// patients, or on the training patients where there are none (G-24).
pub struct BinaryLearner<'a> {
    forward: Logits<'a>,
    labels: Vec<f32>,
    train: Batches,
    train_rows: Vec<u32>,
    validation: Vec<u32>,
    pos_weight: Option<f32>,
    seed: Seed,
}

impl std::fmt::Debug for BinaryLearner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BinaryLearner").field("train", &self.train_rows).finish_non_exhaustive()
    }
}

impl<'a> BinaryLearner<'a> {
    /// A learner; `forward` gives the logits \[patients\] of the patients that are passed to it. Only the labels of
    /// the training and validation patients of `split` are read.
    ///
    /// # Errors
    /// [`Error::Input`] if a split is empty, or names a patient without a label; [`Error::Argument`] for a batch of 0.
    pub fn new(
        forward: impl Fn(&[u32], Mode) -> Result<Tensor> + 'a,
        labels: &[Option<bool>],
        split: &Split,
        training: &BinaryTraining,
        seed: Seed,
    ) -> Result<Self> {
        const OP: &str = "BinaryLearner";
        let (train, validation) = (&split.train, &split.validation);
        let known = |i: &usize| labels.get(*i).is_some_and(Option::is_some);
        if train.is_empty() || !train.iter().chain(validation).all(known) {
            return Err(Error::input(OP, "patients with a label", format!("{train:?}")));
        }
        let mutants = train.iter().filter(|i| labels[**i] == Some(true)).count();
        let weight = (train.len() - mutants) as f32 / mutants.max(1) as f32;
        let batch = training.batch.unwrap_or(train.len());
        Ok(BinaryLearner {
            forward: Box::new(forward),
            labels: labels.iter().map(|l| f32::from(u8::from(*l == Some(true)))).collect(),
            train: Batches::new(OP, row_numbers(train), batch, 1, seed)?,
            train_rows: row_numbers(train),
            validation: row_numbers(validation),
            pos_weight: (training.balance && mutants > 0).then_some(weight),
            seed,
        })
    }

    /// The logits of some patients.
    ///
    /// # Errors
    /// An error of the model.
    pub fn logits(&self, patients: &[u32]) -> Result<Vec<f64>> {
        Ok((self.forward)(patients, Mode::Eval)?.to_dtype(DType::F64)?.to_vec1()?)
    }

    fn loss(&self, patients: &[u32], mode: Mode) -> Result<Tensor> {
        let logits = (self.forward)(patients, mode)?;
        let labels: Vec<f32> = patients.iter().map(|i| self.labels[*i as usize]).collect();
        let labels = Tensor::from_vec(labels, patients.len(), logits.device())?;
        let mut options = BinaryCrossEntropyOptions::new();
        if let Some(weight) = self.pos_weight {
            options = options.pos_weight(Tensor::new(&[weight], logits.device())?);
        }
        Ok(binary_cross_entropy(&logits, &labels, &options)?)
    }
}

impl Learner for BinaryLearner<'_> {
    fn steps(&self, _epoch: usize) -> usize {
        self.train.steps()
    }

    fn train_step(&mut self, epoch: usize, step: usize) -> oncograph_train::Result<StepLoss> {
        let mut patients = self.train.at(epoch, step);
        // A sum does not depend on the order of the patients, but its last bits do.
        patients.sort_unstable();
        let mode = Mode::Train(self.seed.stream("dropout").at(epoch as u64).at(step as u64));
        Ok(StepLoss { loss: self.loss(&patients, mode)?, parts: vec![] })
    }

    fn validate(&mut self, _epoch: usize) -> oncograph_train::Result<Validation> {
        let patients = if self.validation.is_empty() { &self.train_rows } else { &self.validation };
        let loss = self.loss(patients, Mode::Eval)?;
        Ok(Validation { score: loss.to_dtype(DType::F64)?.to_scalar()?, parts: vec![] })
    }
}

/// Rows of one length as a tensor \[rows, columns\].
///
/// # Errors
/// [`Error::Input`] for rows of several lengths, or none.
pub fn feature_matrix<'a>(rows: impl IntoIterator<Item = &'a Vec<f64>>, device: &Device) -> Result<Tensor> {
    let rows: Vec<&Vec<f64>> = rows.into_iter().collect();
    let width = rows.first().map_or(0, |r| r.len());
    if width == 0 || rows.iter().any(|r| r.len() != width) {
        let got = rows.iter().map(|r| r.len()).collect::<Vec<_>>();
        return Err(Error::input("features", "rows of one length", format!("lengths {got:?}")));
    }
    let values: Vec<f32> = rows.iter().flat_map(|r| r.iter().map(|v| *v as f32)).collect();
    Ok(Tensor::from_vec(values, (rows.len(), width), device)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::optim::AdamConfig;
    use oncograph_nn::{MlpConfig, ParamStore};
    use oncograph_train::{FitConfig, OptimizerConfig, StopFlag, fit};

    /// A hidden label is never read, and batches learn the same rule as the whole.
    #[test]
    fn learns_from_the_training_labels_only() {
        let rows: Vec<Vec<f64>> = (0..30).map(|i| vec![(i as f64).sin(), (i as f64 * 0.7).cos()]).collect();
        let x = feature_matrix(&rows, &Device::Cpu).unwrap();
        let truth = |i: usize| rows[i][0] + rows[i][1] > 0.2;
        let split = Split::new((0..20).collect(), vec![], vec![]);
        for batch in [None, Some(6)] {
            let run = |labels: &[Option<bool>]| {
                let store = ParamStore::new(Seed::new(3));
                let mlp =
                    MlpConfig::new([2, 8, 1]).build(store.var_builder(DType::F32, &Device::Cpu)).unwrap();
                let forward = |patients: &[u32], mode: Mode| -> Result<Tensor> {
                    let index = Tensor::from_slice(patients, patients.len(), &Device::Cpu)?;
                    Ok(mlp.forward(&x.index_select(&index, 0)?, mode)?.squeeze(1)?)
                };
                let training = BinaryTraining::new().batch(batch).balance(true);
                let learner = BinaryLearner::new(forward, labels, &split, &training, Seed::new(1));
                let mut learner = learner.unwrap();
                let config = FitConfig::new(60, OptimizerConfig::Adam(AdamConfig::new(0.05)));
                fit(&mut learner, &store, &config, None, &StopFlag::new(), |_| ()).unwrap();
                learner.logits(&(0..30).collect::<Vec<_>>()).unwrap()
            };
            let all: Vec<Option<bool>> = (0..30).map(|i| Some(truth(i))).collect();
            let logits = run(&all);
            assert!((0..20).all(|i| (logits[i] > 0.0) == truth(i)), "{logits:?}");
            let hidden: Vec<Option<bool>> = (0..30).map(|i| (i < 20).then_some(truth(i))).collect();
            assert_eq!(run(&hidden), logits);
        }
    }

    #[test]
    fn patients_without_labels_cannot_train() {
        let forward = |_: &[u32], _: Mode| Ok(Tensor::zeros(1, DType::F32, &Device::Cpu)?);
        let split = Split::new(vec![0], vec![], vec![]);
        let error = BinaryLearner::new(forward, &[None], &split, &BinaryTraining::new(), Seed::new(1));
        assert_eq!(error.unwrap_err().to_string(), "BinaryLearner: expected patients with a label, got [0]");
        assert!(feature_matrix(&[vec![1.0], vec![]], &Device::Cpu).is_err());
    }
}

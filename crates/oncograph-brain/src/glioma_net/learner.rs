use super::{GliomaNet, GliomaNetOutput};
use crate::batches::{Batches, row_numbers};
use crate::{Error, Result, Tumour, TumourBatch};
use candle_core::{DType, Device, Tensor};
use oncograph_core::Split;
use oncograph_losses::{BiLevelViews, BinaryCrossEntropyOptions, bi_level, binary_cross_entropy};
use oncograph_nn::{ParamStore, Seed};
use oncograph_train::{BatchLoss, Learner, StepGradients, StepLoss, Validation, cached_gradients};
use serde::{Deserialize, Serialize};

/// How a [`GliomaNetLearner`] batches and augments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GliomaNetTraining {
    /// Patients of a step, all of whom are each other's negatives; 20.
    pub batch: usize,
    /// Patients whose activations are in memory at once; `None` keeps all (G-04). Batch norm has the statistics of
    /// those.
    pub micro_batch: Option<usize>,
    /// Degrees of the random rotation about each axis; 15 (G-34).
    pub rotation: f64,
    /// Whether mutants weigh as much as all others together in the cross entropy (G-33).
    pub balance: bool,
}

impl Default for GliomaNetTraining {
    fn default() -> Self {
        GliomaNetTraining { batch: 20, micro_batch: Some(1), rotation: 15.0, balance: false }
    }
}

impl GliomaNetTraining {
    /// Sets the patients of a step and of a micro-batch.
    pub fn batch(mut self, batch: usize, micro_batch: Option<usize>) -> Self {
        (self.batch, self.micro_batch) = (batch, micro_batch);
        self
    }

    /// Sets the degrees of the random rotation.
    pub fn rotation(mut self, degrees: f64) -> Self {
        self.rotation = degrees;
        self
    }

    /// Sets whether the classes weigh the same.
    pub fn balance(mut self, balance: bool) -> Self {
        self.balance = balance;
        self
    }
}

/// What a [`GliomaNetLearner`] learns from: patients in one order.
#[derive(Debug, Clone, Copy)]
pub struct GliomaNetData<'a> {
    /// The tumour of each patient.
    pub tumours: &'a [Tumour],
    /// Whether the tumour of each patient is mutated.
    pub mutants: &'a [bool],
}

/// The training of a [`GliomaNet`] model: the bi-level contrastive loss over the patients of a step and the cross
/// entropy of its classifier.
#[derive(Debug)]
pub struct GliomaNetLearner<'a> {
    model: &'a GliomaNet,
    patients: &'a [Tumour],
    labels: Vec<f32>,
    train: Batches,
    validation: Vec<u32>,
    training: GliomaNetTraining,
    pos_weight: Option<f32>,
    seed: Seed,
    device: Device,
    seen: (f64, usize),
}

impl<'a> GliomaNetLearner<'a> {
    /// A learner over the training patients of `split`, scored on its validation patients as they are, in the batches of
    /// training; without any the score is the mean training loss of the epoch (G-24). Its test patients are not read.
    ///
    /// # Errors
    /// [`Error::Input`] if lengths differ, a split names a patient that is not there, or fewer than two patients train;
    /// [`Error::Argument`] for a batch below 2 or a micro-batch of 0.
    pub fn new(
        model: &'a GliomaNet,
        data: GliomaNetData<'a>,
        split: &Split,
        training: GliomaNetTraining,
        seed: Seed,
        device: &Device,
    ) -> Result<Self> {
        const OP: &str = "GliomaNetLearner";
        let GliomaNetData { tumours: patients, mutants: labels } = data;
        if labels.len() != patients.len() {
            return Err(Error::input(OP, format!("{} labels", patients.len()), labels.len()));
        }
        let (train, validation) = (&split.train, &split.validation);
        if let Some(other) = train.iter().chain(validation).find(|i| **i >= patients.len()) {
            return Err(Error::input(OP, format!("patients below {}", patients.len()), other));
        }
        if training.micro_batch == Some(0) {
            return Err(Error::config(OP, "micro_batch", "at least 1, or none", 0));
        }
        let mutants = train.iter().filter(|i| labels[**i]).count();
        let weight = (train.len() - mutants) as f32 / mutants.max(1) as f32;
        Ok(GliomaNetLearner {
            model,
            patients,
            labels: labels.iter().map(|l| f32::from(u8::from(*l))).collect(),
            train: Batches::new(OP, row_numbers(train), training.batch, 2, seed)?,
            validation: row_numbers(validation),
            pos_weight: (training.balance && mutants > 0).then_some(weight),
            training,
            seed,
            device: device.clone(),
            seen: (0.0, 0),
        })
    }

    /// The model's outputs for some patients, without augmentation, a few patients at a time.
    ///
    /// # Errors
    /// An error of the model.
    pub fn rows(&self, patients: &[u32]) -> Result<Tensor> {
        let few = self.training.micro_batch.unwrap_or(patients.len()).max(1);
        let rows = patients.chunks(few).map(|some| {
            let batch = self.batch(some, None)?;
            Ok(loss_rows(&self.model.forward(&batch, false)?)?.detach())
        });
        Ok(Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)?)
    }

    fn batch(&self, patients: &[u32], rotation: Option<Seed>) -> Result<TumourBatch> {
        let tumours: Vec<&Tumour> = patients.iter().map(|i| &self.patients[*i as usize]).collect();
        let turn = self.training.rotation > 0.0;
        TumourBatch::new(
            &tumours,
            rotation.filter(|_| turn).map(|s| (self.training.rotation, s)),
            &self.device,
        )
    }

    /// The losses of rows that [`loss_rows`] made.
    fn loss(&self, rows: &Tensor, patients: &[u32]) -> Result<BatchLoss> {
        let c = self.model.config();
        let mut start = 0;
        let mut next = |on: bool, width: usize| -> Result<Option<Tensor>> {
            if !on {
                return Ok(None);
            }
            start += width;
            Ok(Some(rows.narrow(1, start - width, width)?.contiguous()?))
        };
        let width = c.projection.last().copied().unwrap_or(0);
        let contrast = c.contrastive.is_some();
        let e = &c.encoders;
        let image = next(contrast && e.image, width)?;
        let surface = next(contrast && e.surface, width)?;
        let network = next(contrast && e.network, width)?;
        let tumour = next(contrast && e.count() == 3, width)?;
        let logit = next(c.classification > 0.0, 1)?;
        let unimodal: Vec<Tensor> = [e.image, e.surface, e.network]
            .into_iter()
            .filter_map(|on| next(on && c.unimodal > 0.0, 1).transpose())
            .collect::<Result<_>>()?;
        let mut parts = vec![];
        let mut total: Option<Tensor> = None;
        let mut add = |name, term: Tensor, weight: f64| -> Result<()> {
            parts.push((name, term.clone()));
            let term = (term * weight)?;
            total = Some(match total.take() {
                Some(sum) => (sum + term)?,
                None => term,
            });
            Ok(())
        };
        if let Some(config) = &c.contrastive {
            let views = BiLevelViews {
                image: image.as_ref(),
                surface: surface.as_ref(),
                network: network.as_ref(),
                tumour: tumour.as_ref(),
            };
            add("contrastive", bi_level(&views, config)?, 1.0)?;
        }
        let cross_entropy = |logit: &Tensor| -> Result<Tensor> {
            let labels: Vec<f32> = patients.iter().map(|i| self.labels[*i as usize]).collect();
            let labels =
                Tensor::from_vec(labels, (patients.len(), 1), rows.device())?.to_dtype(rows.dtype())?;
            let mut options = BinaryCrossEntropyOptions::new();
            if let Some(weight) = self.pos_weight {
                options = options.pos_weight(Tensor::new(&[weight], rows.device())?.to_dtype(rows.dtype())?);
            }
            Ok(binary_cross_entropy(logit, &labels, &options)?)
        };
        if let Some(logit) = logit {
            add("classification", cross_entropy(&logit)?, c.classification)?;
        }
        for logit in unimodal {
            add("unimodal", cross_entropy(&logit)?, c.classification * c.unimodal)?;
        }
        let nothing =
            || Error::config("GliomaNet", "classification", "above 0 without a contrastive loss", 0);
        Ok((total.ok_or_else(nothing)?, parts))
    }

    fn step(&self, store: &ParamStore, epoch: usize, step: usize) -> oncograph_train::Result<StepGradients> {
        let patients = self.train.at(epoch, step);
        let few = self.training.micro_batch.unwrap_or(patients.len());
        let micro: Vec<&[u32]> = patients.chunks(few).collect();
        let seed = self.seed.stream("rotation").at(epoch as u64).at(step as u64);
        let forward = |m: usize| {
            let batch = self.batch(micro[m], Some(seed.at(m as u64)))?;
            Ok(loss_rows(&self.model.forward(&batch, true)?)?)
        };
        cached_gradients(store, micro.len(), forward, |rows| Ok(self.loss(rows, &patients)?))
    }
}

/// What the losses need of each patient, side by side: projections and logits.
fn loss_rows(output: &GliomaNetOutput) -> Result<Tensor> {
    let logits = output.logit.iter().chain(output.unimodal.iter().flatten());
    let logits: Vec<Tensor> = logits.map(|l| l.unsqueeze(1)).collect::<candle_core::Result<_>>()?;
    let parts: Vec<&Tensor> = output.projections.iter().flatten().chain(&logits).collect();
    Ok(Tensor::cat(&parts, 1)?)
}

impl Learner for GliomaNetLearner<'_> {
    fn steps(&self, _epoch: usize) -> usize {
        self.train.steps()
    }

    /// The loss with the graph of all patients of the step; training uses [`Learner::step_gradients`].
    fn train_step(&mut self, epoch: usize, step: usize) -> oncograph_train::Result<StepLoss> {
        let patients = self.train.at(epoch, step);
        let seed = self.seed.stream("rotation").at(epoch as u64).at(step as u64);
        let batch = self.batch(&patients, Some(seed.at(0)))?;
        let (loss, parts) = self.loss(&loss_rows(&self.model.forward(&batch, true)?)?, &patients)?;
        Ok(StepLoss { loss, parts })
    }

    fn step_gradients(
        &mut self,
        store: &ParamStore,
        epoch: usize,
        step: usize,
    ) -> oncograph_train::Result<StepGradients> {
        if step == 0 {
            self.seen = (0.0, 0);
        }
        let gradients = self.step(store, epoch, step)?;
        self.seen = (self.seen.0 + gradients.loss, self.seen.1 + 1);
        Ok(gradients)
    }

    fn validate(&mut self, _epoch: usize) -> oncograph_train::Result<Validation> {
        if self.validation.len() < 2 {
            return Ok(Validation { score: self.seen.0 / self.seen.1.max(1) as f64, parts: vec![] });
        }
        let (loss, parts) = self.loss(&self.rows(&self.validation)?, &self.validation)?;
        let value = |part: &Tensor| part.to_dtype(DType::F64)?.to_scalar::<f64>();
        let parts = parts.iter().map(|(name, part)| Ok((*name, value(part)?)));
        Ok(Validation { score: value(&loss)?, parts: parts.collect::<Result<_>>()? })
    }
}

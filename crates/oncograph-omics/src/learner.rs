use crate::{
    Contrast, Error, MultiTaskLoss, OmicsBatch, OmicsModel, OmicsOutput, Result, SharedGraphs, task_loss,
};
use candle_core::{Device, Tensor};
use oncograph_core::Split;
use oncograph_nn::{Mode, Seed};
use oncograph_study::Target;
use oncograph_train::{Learner, StepLoss, Validation};
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

/// Where batches come from: memory, or files that are read on demand.
pub trait BatchSource {
    /// The batch of some patients, in this order.
    ///
    /// # Errors
    /// [`Error::Source`] for one of the source's own.
    fn batch(&self, patients: &[usize]) -> Result<OmicsBatch>;
}

/// What an [`OmicsLearner`] learns from: patients in one order.
#[derive(Clone, Copy)]
pub struct OmicsData<'a> {
    /// The source of the batches.
    pub source: &'a dyn BatchSource,
    /// The graphs that all patients share.
    pub graphs: &'a SharedGraphs,
    /// What is known of each patient, by task.
    pub targets: &'a BTreeMap<String, Target>,
}

/// The training of one model on one split: the losses of its tasks and, optionally, the contrast.
pub struct OmicsLearner<'a> {
    model: &'a dyn OmicsModel,
    source: &'a dyn BatchSource,
    graphs: &'a SharedGraphs,
    targets: &'a BTreeMap<String, Target>,
    weights: &'a MultiTaskLoss,
    contrast: Option<&'a Contrast>,
    train: Vec<usize>,
    validation: Vec<usize>,
    /// One group per patient of `train`: groups take turns in an epoch's order.
    groups: Option<Vec<usize>>,
    batch: usize,
    seed: Seed,
    /// Of the last validation, by task.
    scores: Vec<(String, f64)>,
}

impl<'a> OmicsLearner<'a> {
    /// A learner on the training patients of `split`, scored on its validation patients, in batches of `batch` patients;
    /// its test patients are not read. Patients without any label serve the contrast alone.
    ///
    /// # Errors
    /// [`Error::Input`] for an empty split, a patient without a place in `targets`, or a task without a target;
    /// [`Error::Argument`] for a batch of 0.
    pub fn new(
        model: &'a dyn OmicsModel,
        data: OmicsData<'a>,
        weights: &'a MultiTaskLoss,
        split: &Split,
        batch: usize,
        seed: Seed,
    ) -> Result<Self> {
        let OmicsData { source, graphs, targets } = data;
        if batch == 0 {
            return Err(Error::config("OmicsLearner", "batch", "at least 1", 0));
        }
        for task in &model.config().tasks {
            let Some(target) = targets.get(&task.name) else {
                return Err(Error::input("targets", format!("one for task {}", task.name), "none"));
            };
            for rows in [&split.train, &split.validation] {
                match rows.iter().max() {
                    None => return Err(Error::input("split", "at least one patient", 0)),
                    Some(p) if *p >= target.len() => {
                        return Err(Error::input("split", format!("patients below {}", target.len()), p));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(OmicsLearner {
            model,
            source,
            graphs,
            targets,
            weights,
            contrast: None,
            train: split.train.clone(),
            validation: split.validation.clone(),
            groups: None,
            batch,
            seed,
            scores: vec![],
        })
    }

    /// Adds the contrast of two views of each batch.
    pub fn contrast(mut self, contrast: &'a Contrast) -> Self {
        self.contrast = Some(contrast);
        self
    }

    /// Balances the batches over groups of patients, for example types of cancer: an epoch's order takes from each group
    /// in proportion to its size, evenly over the epoch. One label per patient of the training split.
    ///
    /// # Errors
    /// [`Error::Input`] for another number of labels.
    pub fn groups(mut self, groups: Vec<usize>) -> Result<Self> {
        if groups.len() != self.train.len() {
            return Err(Error::input("groups", self.train.len(), groups.len()));
        }
        self.groups = Some(groups);
        Ok(self)
    }

    /// The model's outputs for some patients, batch by batch.
    ///
    /// # Errors
    /// An error of the source or the model.
    pub fn output(&self, patients: &[usize]) -> Result<OmicsOutput> {
        predict(self.model, self.source, self.graphs, patients, self.batch)
    }

    fn order(&self, epoch: usize) -> Vec<usize> {
        let mut rng = self.seed.stream("order").at(epoch as u64).rng();
        let mut order: Vec<usize> = (0..self.train.len()).collect();
        order.shuffle(&mut rng);
        if let Some(groups) = &self.groups {
            let mut sizes = BTreeMap::new();
            groups.iter().for_each(|g| *sizes.entry(*g).or_insert(0usize) += 1);
            let mut seen = BTreeMap::new();
            let mut placed: Vec<(f64, usize)> = vec![];
            for i in order {
                let k = seen.entry(groups[i]).or_insert(0usize);
                placed.push(((*k as f64 + 0.5) / sizes[&groups[i]] as f64, i));
                *k += 1;
            }
            placed.sort_by(|a, b| a.0.total_cmp(&b.0));
            order = placed.into_iter().map(|p| p.1).collect();
        }
        order.into_iter().map(|i| self.train[i]).collect()
    }

    fn losses(&self, output: &OmicsOutput, patients: &[usize]) -> Result<Vec<(&'a str, Tensor)>> {
        let mut losses = vec![];
        for task in &self.model.config().tasks {
            let (Some(x), Some(target)) = (output.tasks.get(&task.name), self.targets.get(&task.name)) else {
                continue;
            };
            if let Some(loss) = task_loss(task.kind, x, target, patients)? {
                losses.push((task.name.as_str(), loss));
            }
        }
        Ok(losses)
    }

    fn step(&self, epoch: usize, step: usize) -> Result<StepLoss> {
        let order = self.order(epoch);
        let patients = &order[step * self.batch..order.len().min((step + 1) * self.batch)];
        let seed = self.seed.stream("step").at(epoch as u64).at(step as u64);
        let batch = self.source.batch(patients)?;
        let output = self.model.forward(&batch, self.graphs, Mode::Train(seed.stream("model")))?;
        let pretraining = self.contrast.is_some_and(|c| epoch < c.config().pretrain);
        let losses = if pretraining { vec![] } else { self.losses(&output, patients)? };
        let mut terms = vec![];
        let zero = Tensor::new(0f32, &Device::Cpu)?;
        let (mut tasks, mut contrasted) = (zero.clone(), zero);
        if !losses.is_empty() {
            let loss = self.weights.combine(&losses)?;
            tasks = loss.clone();
            terms.push(loss);
        }
        if let Some(contrast) = self.contrast.filter(|_| patients.len() > 1) {
            let (view, graphs) = contrast.config().view(&batch, self.graphs, seed.stream("view"))?;
            let other = self.model.forward(&view, &graphs, Mode::Train(seed.stream("model of view")))?;
            let loss = contrast.loss(&output.z, &other.z)?;
            contrasted = loss.clone();
            terms.push((loss * contrast.config().weight)?);
        }
        let total = match terms.split_first() {
            Some((first, rest)) => rest.iter().try_fold(first.clone(), |sum, t| sum + t)?,
            // Nothing is known of these patients: a loss without a gradient.
            None => (output.z.sum_all()? * 0.0)?,
        };
        Ok(StepLoss { loss: total, parts: vec![("tasks", tasks), ("contrast", contrasted)] })
    }

    /// The loss of each task on the validation patients.
    fn validation_losses(&self) -> Result<Vec<(String, f64)>> {
        let output = self.output(&self.validation)?;
        let value = |(name, loss): (&str, Tensor)| {
            Ok((name.to_string(), loss.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?))
        };
        self.losses(&output, &self.validation)?.into_iter().map(value).collect()
    }
}

/// A model's outputs for some patients, `batch` at a time, without gradients.
///
/// # Errors
/// An error of the source or the model.
pub fn predict(
    model: &dyn OmicsModel,
    source: &dyn BatchSource,
    graphs: &SharedGraphs,
    patients: &[usize],
    batch: usize,
) -> Result<OmicsOutput> {
    let mut parts = vec![];
    for chunk in patients.chunks(batch.max(1)) {
        let out = model.forward(&source.batch(chunk)?, graphs, Mode::Eval)?;
        let tasks = out.tasks.into_iter().map(|(n, t)| (n, t.detach())).collect::<BTreeMap<_, _>>();
        parts.push(OmicsOutput { z: out.z.detach(), tasks, importance: out.importance.map(|i| i.detach()) });
    }
    let Some(first) = parts.first() else { return Err(Error::input("patients", "at least one", 0)) };
    let join = |part: &dyn Fn(&OmicsOutput) -> Option<Tensor>| -> Result<Option<Tensor>> {
        let all: Vec<Tensor> = parts.iter().filter_map(part).collect();
        Ok(if all.len() == parts.len() { Some(Tensor::cat(&all, 0)?) } else { None })
    };
    let mut tasks = BTreeMap::new();
    for name in first.tasks.keys() {
        if let Some(all) = join(&|p| p.tasks.get(name).cloned())? {
            tasks.insert(name.clone(), all);
        }
    }
    let z = join(&|p| Some(p.z.clone()))?.ok_or_else(|| Error::input("patients", "at least one", 0))?;
    Ok(OmicsOutput { z, tasks, importance: join(&|p| p.importance.clone())? })
}

impl Learner for OmicsLearner<'_> {
    fn steps(&self, _: usize) -> usize {
        self.train.len().div_ceil(self.batch)
    }

    fn train_step(&mut self, epoch: usize, step: usize) -> oncograph_train::Result<StepLoss> {
        Ok(self.step(epoch, step)?)
    }

    fn validate(&mut self, _: usize) -> oncograph_train::Result<Validation> {
        self.scores = self.validation_losses()?;
        Ok(Validation { score: self.scores.iter().map(|s| s.1).sum(), parts: vec![] })
    }

    fn scores(&self) -> Vec<(String, f64)> {
        self.scores.clone()
    }
}

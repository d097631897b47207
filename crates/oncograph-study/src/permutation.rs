use crate::model::{Model, Outcome};
use crate::{Cohort, Job, Result};
use oncograph_core::Split;
use rand::seq::SliceRandom;

/// A cohort whose outcomes can be given to other rows.
pub trait PermuteOutcomes: Cohort + Sized {
    /// The same cohort in which row `i` has the outcomes of row `order[i]`, in every task, and keeps its inputs.
    fn permuted(&self, order: &[usize]) -> Self;
}

/// A model that learns from outcomes of other rows; those of held-out rows stay, and are not looked at.
pub(crate) struct Permuted<M>(pub M);

impl<D: PermuteOutcomes, M: Model<D>> Model<D> for Permuted<M> {
    fn run(&self, data: &D, split: &Split, job: &mut Job<'_>) -> Result<Outcome> {
        let mut order: Vec<usize> = (0..data.ids().len()).collect();
        let learnt = [split.train.clone(), split.validation.clone()].concat();
        let mut from = learnt.clone();
        from.shuffle(&mut job.seed().stream("permuted outcomes").rng());
        learnt.iter().zip(from).for_each(|(&to, from)| order[to] = from);
        self.0.run(&data.permuted(&order), split, job)
    }
}

use crate::{Answers, Job, Result};
use oncograph_core::Split;

/// A way to make a model of a cohort: its configuration, pipeline, network and training.
pub trait System: Sync {
    /// The cohort that it learns from.
    type Data: ?Sized + Sync;
    /// What comes out.
    type Fitted: Fitted<Self::Data>;

    /// Fits everything (imputation, scaling, selection, network) on `split.train`, and chooses the epoch or anything else
    /// on `split.validation`. What is known of `split.test` has no influence.
    ///
    /// # Errors
    /// Any error of the pipeline, the network or the training; a request to stop.
    fn fit(&self, data: &Self::Data, split: &Split, job: &mut Job<'_>) -> Result<Self::Fitted>;
}

/// A model that was fitted.
pub trait Fitted<D: ?Sized> {
    /// The predictions for some rows of a cohort, task by task.
    ///
    /// # Errors
    /// Any error of the pipeline or the network.
    fn answer(&self, data: &D, rows: &[usize]) -> Result<Answers>;

    /// What else the report of a study needs of this model on its held-out rows, for example attributions; kept with the
    /// result of its job.
    ///
    /// # Errors
    /// As [`Fitted::answer`].
    fn extras(&self, data: &D, rows: &[usize]) -> Result<serde_json::Value> {
        let _ = (data, rows);
        Ok(serde_json::Value::Null)
    }

    /// The files that hold the model, by name: written into the folder of the jobs before the result is.
    ///
    /// # Errors
    /// An error of writing them to memory.
    fn files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        Ok(vec![])
    }

    /// How many trained parameters it has.
    fn parameters(&self) -> usize {
        0
    }
}

use crate::job::Job;
use crate::{Answers, Cohort, Fitted, Result, System};
use oncograph_core::{Split, write_file};
use std::collections::BTreeMap;

/// What a study needs of a model: answers for held-out rows, and what else its result keeps.
pub(crate) trait Model<D>: Sync {
    fn run(&self, data: &D, split: &Split, job: &mut Job<'_>) -> Result<Outcome>;
}

/// The result of a job.
pub(crate) struct Outcome {
    pub answers: Answers,
    pub unfitted: BTreeMap<String, String>,
    pub extras: serde_json::Value,
    pub parameters: usize,
}

/// A system, trained and asked within one job.
pub(crate) struct Trained<'a, S>(pub &'a S);

impl<D: Cohort, S: System<Data = D>> Model<D> for Trained<'_, S> {
    fn run(&self, data: &D, split: &Split, job: &mut Job<'_>) -> Result<Outcome> {
        let fitted = self.0.fit(data, split, job)?;
        for (name, bytes) in fitted.files()? {
            write_file(job.file(&name), &bytes)?;
        }
        Ok(Outcome {
            answers: fitted.answer(data, &split.test)?,
            unfitted: BTreeMap::new(),
            extras: fitted.extras(data, &split.test)?,
            parameters: fitted.parameters(),
        })
    }
}

use crate::{Cohort, Fitted, FoldSplit, Job, JobResult, Plan, Result, StudyResults, System};
use oncograph_core::{Argument, Split};

/// Nested cross-validation: of several configurations of a system the one is taken that scores best on folds of the
/// training rows, and it is then fitted on all of them. Held-out rows have no part in the choice.
///
/// # Reference
/// Varma and Simon, *Bias in error estimation when using cross-validation for model selection*, BMC Bioinformatics 7, 2006.
#[derive(Debug, Clone)]
pub struct Nested<S> {
    candidates: Vec<(String, S)>,
    folds: usize,
    inner: f64,
}

impl<S: System> Nested<S>
where
    S::Data: Cohort + Sized,
{
    /// A choice among named configurations by `folds` inner folds.
    ///
    /// # Errors
    /// No candidate, or fewer than two folds.
    pub fn new(candidates: Vec<(String, S)>, folds: usize) -> Result<Self> {
        if candidates.is_empty() {
            return Err(Argument::new("Nested", "candidates", "at least one", "none").into());
        }
        if folds < 2 {
            return Err(Argument::new("Nested", "folds", "at least 2", folds).into());
        }
        Ok(Nested { candidates, folds, inner: 0.2 })
    }

    /// Sets the share of inner training rows that choose the epoch.
    pub fn inner(mut self, share: f64) -> Self {
        self.inner = share;
        self
    }

    /// The mean over tasks of the first metric on the inner folds.
    fn score(
        &self,
        (name, system): &(String, S),
        data: &S::Data,
        splits: &[FoldSplit],
        job: &Job<'_>,
    ) -> Result<f64> {
        let mut jobs = vec![];
        for s in splits {
            let mut inner = job.inner(&format!("{name}-{}", s.fold));
            let fitted = system.fit(data, &s.split, &mut inner)?;
            let answers = fitted.answer(data, &s.split.test)?;
            std::fs::remove_file(inner.file("checkpoint.safetensors")).ok();
            jobs.push(JobResult {
                model: name.clone(),
                repeat: 0,
                fold: s.fold,
                test: s.split.test.clone(),
                answers,
                extras: serde_json::Value::Null,
                history: vec![],
                best_epoch: 0,
                parameters: 0,
            });
        }
        let results = StudyResults { repeats: 1, splits: splits.to_vec(), jobs, seed: job.seed() };
        let values: Vec<f64> =
            data.tasks().iter().filter_map(|task| results.main_metric(name, task)).collect();
        match values.is_empty() {
            true => Err(Argument::new("Nested", "inner folds", "rows that can be ranked", "none").into()),
            false => Ok(values.iter().sum::<f64>() / values.len() as f64),
        }
    }
}

impl<S: System> System for Nested<S>
where
    S::Data: Cohort + Sized,
{
    type Data = S::Data;
    type Fitted = S::Fitted;

    fn fit(&self, data: &S::Data, split: &Split, job: &mut Job<'_>) -> Result<S::Fitted> {
        let mut learnt = [split.train.clone(), split.validation.clone()].concat();
        learnt.sort_unstable();
        let plan = Plan::CrossValidation { folds: self.folds, repeats: 1 };
        let splits = plan.splits_of(data, &learnt, self.inner, job.seed().stream("nested"))?;
        let mut best: Option<(f64, &S)> = None;
        for candidate in &self.candidates {
            let score = self.score(candidate, data, &splits, job)?;
            // The first of equals: candidates are listed in the order of preference.
            if best.is_none_or(|(b, _)| score > b) {
                best = Some((score, &candidate.1));
            }
        }
        match best {
            Some((_, system)) => system.fit(data, split, job),
            None => Err(Argument::new("Nested", "candidates", "one with a score", "none").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Signed, Toy};
    use crate::{ScoreOptions, Study};
    use oncograph_train::RunDir;

    #[test]
    fn the_better_candidate_is_taken_without_the_held_out_rows() {
        let (cohort, folder) = (Toy::new(150), tempfile::tempdir().unwrap());
        let run = RunDir::create(folder.path()).unwrap();
        let candidates = vec![("wrong".to_string(), Signed(-1.0)), ("right".to_string(), Signed(1.0))];
        let nested = Nested::new(candidates, 3).unwrap();
        let results = Study::new(&cohort, &run).model("nested", &nested).run().unwrap();
        let scores = results.score(&cohort, &ScoreOptions::default()).unwrap();
        assert!(scores.row("nested", "survival").unwrap().first().unwrap().value > 0.6);
        assert!(Nested::<Signed>::new(vec![], 3).is_err());
    }
}

use crate::{Answers, Cohort, Error, Fitted, FoldSplit, Job, JobResult, Plan, Result, StudyResults, System};
use oncograph_core::{Argument, Split};
use oncograph_report::{Cell, ReportTable};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};

/// The key of a model's extras that its [`InnerSelection`] is kept under.
const EXTRAS: &str = "selection";

/// Nested cross-validation: of several configurations of a system the one is taken that scores best on folds of the
/// training rows, and it is then fitted on all of them. Held-out rows have no part in the choice.
///
/// Inner folds are stratified, and keep the rows of a patient together, as those of a study do. A candidate's score is the mean over
/// tasks of the main metric ([`StudyResults::main_metric`]) on them. One candidate alone is fitted as it is.
///
/// Answers of inner folds are kept while the choice is being made, and the choice is kept with the job (`selection.json`): a run that
/// was killed goes on to the same bits.
///
/// # Reference
/// Varma and Simon, *Bias in error estimation when using cross-validation for model selection*, BMC Bioinformatics 7, 2006.
#[derive(Debug, Clone)]
pub struct Nested<S> {
    candidates: Vec<(String, S)>,
    folds: usize,
    inner: f64,
}

/// What [`Nested`] chose in one fold, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InnerSelection {
    /// The name of the candidate that was fitted.
    pub chosen: String,
    /// All candidates.
    pub candidates: Vec<CandidateScore>,
}

/// The score of a candidate on the inner folds of one fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateScore {
    /// Its name.
    pub name: String,
    /// The mean over the tasks.
    pub score: f64,
    /// The main metric of each task that has one.
    pub tasks: BTreeMap<String, f64>,
}

/// The model of the chosen candidate.
#[derive(Debug)]
pub struct Selected<F> {
    fitted: F,
    selection: Option<InnerSelection>,
}

impl<S> Nested<S> {
    /// A choice among named configurations by `folds` inner folds; of equal scores the first is taken.
    ///
    /// # Errors
    /// No candidate, two of one name, or fewer than two folds.
    pub fn new(candidates: Vec<(String, S)>, folds: usize) -> Result<Self> {
        if candidates.is_empty() {
            return Err(Argument::new("Nested", "candidates", "at least one", "none").into());
        }
        let mut seen = HashSet::new();
        if let Some((name, _)) = candidates.iter().find(|(name, _)| !seen.insert(in_files(name))) {
            return Err(Argument::new("Nested", "candidates", "names that differ", name).into());
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

    /// The same choice among systems that are made of these, for example without one of their inputs.
    pub fn map<T>(&self, system: impl Fn(&S) -> T) -> Nested<T> {
        let candidates = self.candidates.iter().map(|(name, own)| (name.clone(), system(own))).collect();
        Nested { candidates, folds: self.folds, inner: self.inner }
    }

    /// The names of the candidates.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.candidates.iter().map(|(name, _)| name.as_str())
    }
}

impl<S: System> Nested<S>
where
    S::Data: Cohort + Sized,
{
    /// Scores all candidates on folds of the training and validation rows of `split`.
    fn select(&self, data: &S::Data, split: &Split, job: &Job<'_>) -> Result<InnerSelection> {
        let mut learnt = [split.train.clone(), split.validation.clone()].concat();
        learnt.sort_unstable();
        let plan = Plan::CrossValidation { folds: self.folds, repeats: 1 };
        let splits = plan.splits_of(data, &learnt, self.inner, job.seed().stream("nested"))?;
        let scored = self.candidates.iter().map(|candidate| self.score(candidate, data, &splits, job));
        let candidates = scored.collect::<Result<Vec<CandidateScore>>>()?;
        // The first of equals: candidates are listed in the order of preference.
        let best = candidates.iter().reduce(|best, next| if next.score > best.score { next } else { best });
        match best {
            Some(best) => Ok(InnerSelection { chosen: best.name.clone(), candidates }),
            None => Err(Argument::new("Nested", "candidates", "one with a score", "none").into()),
        }
    }

    fn score(
        &self,
        (name, system): &(String, S),
        data: &S::Data,
        splits: &[FoldSplit],
        job: &Job<'_>,
    ) -> Result<CandidateScore> {
        let mut jobs = vec![];
        for s in splits {
            let mut inner = self.job_of(name, s.fold, job);
            let answers: Answers = inner
                .clone()
                .once(ANSWERS, || system.fit(data, &s.split, &mut inner)?.answer(data, &s.split.test))?;
            std::fs::remove_file(inner.file("checkpoint.safetensors")).ok();
            jobs.push(JobResult {
                model: name.clone(),
                repeat: 0,
                fold: s.fold,
                test: s.split.test.clone(),
                answers,
                unfitted: BTreeMap::new(),
                extras: Value::Null,
                history: vec![],
                best_epoch: 0,
                parameters: 0,
            });
        }
        let results = StudyResults { repeats: 1, splits: splits.to_vec(), jobs, seed: job.seed() };
        let metric = |task: &crate::Task| Some((task.name.clone(), results.main_metric(name, task)?));
        let tasks: BTreeMap<String, f64> = data.tasks().iter().filter_map(metric).collect();
        match tasks.is_empty() {
            true => Err(Argument::new("Nested", "inner folds", "rows that can be ranked", "none").into()),
            false => {
                let score = tasks.values().sum::<f64>() / tasks.len() as f64;
                Ok(CandidateScore { name: name.clone(), score, tasks })
            }
        }
    }

    fn job_of<'j>(&self, candidate: &str, fold: usize, job: &Job<'j>) -> Job<'j> {
        job.inner(&format!("{}-{fold}", in_files(candidate)))
    }
}

/// A candidate as files are named by it.
fn in_files(name: &str) -> String {
    name.replace([' ', ',', '/'], "_")
}

/// The file of an inner fold.
const ANSWERS: &str = "answers.json";

impl<S: System> System for Nested<S>
where
    S::Data: Cohort + Sized,
{
    type Data = S::Data;
    type Fitted = Selected<S::Fitted>;

    fn fit(&self, data: &S::Data, split: &Split, job: &mut Job<'_>) -> Result<Self::Fitted> {
        if let [(_, only)] = self.candidates.as_slice() {
            return Ok(Selected { fitted: only.fit(data, split, job)?, selection: None });
        }
        let selection = job.once("selection.json", || self.select(data, split, job))?;
        for (name, _) in &self.candidates {
            for fold in 0..self.folds {
                std::fs::remove_file(self.job_of(name, fold, job).file(ANSWERS)).ok();
            }
        }
        let chosen = self.candidates.iter().find(|(name, _)| *name == selection.chosen);
        let (_, system) = chosen.ok_or_else(|| {
            Argument::new("Nested", "candidates", "those that the run was begun with", &selection.chosen)
        })?;
        Ok(Selected { fitted: system.fit(data, split, job)?, selection: Some(selection) })
    }
}

impl<D: ?Sized, F: Fitted<D>> Fitted<D> for Selected<F> {
    fn answer(&self, data: &D, rows: &[usize]) -> Result<Answers> {
        self.fitted.answer(data, rows)
    }

    /// Those of the model, an object or nothing, with the [`InnerSelection`] among them.
    fn extras(&self, data: &D, rows: &[usize]) -> Result<Value> {
        let extras = self.fitted.extras(data, rows)?;
        let Some(selection) = &self.selection else { return Ok(extras) };
        let mut all = match extras {
            Value::Null => Map::new(),
            Value::Object(all) => all,
            _ => return Err(Argument::new("Nested", "extras", "an object", "another value").into()),
        };
        all.insert(EXTRAS.into(), serde_json::to_value(selection).map_err(Error::system)?);
        Ok(Value::Object(all))
    }

    fn files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        self.fitted.files()
    }

    fn parameters(&self) -> usize {
        self.fitted.parameters()
    }
}

impl StudyResults {
    /// What [`Nested`] chose for a model, fold by fold; empty where there was nothing to choose.
    ///
    /// # Errors
    /// A result that is not whole.
    pub fn selections(&self, model: &str) -> Result<Vec<InnerSelection>> {
        let found = self.of_model(model).filter_map(|job| job.extras.get(EXTRAS));
        found.map(|value| InnerSelection::deserialize(value).map_err(Error::system)).collect()
    }

    /// The candidates of a model with how often each was chosen and its scores on the inner folds; `None` where there was nothing
    /// to choose.
    ///
    /// # Errors
    /// As [`StudyResults::selections`].
    pub fn selection_table(&self, model: &str, caption: impl Into<String>) -> Result<Option<ReportTable>> {
        let all = self.selections(model)?;
        let Some(first) = all.first() else { return Ok(None) };
        let table = ReportTable::new(caption, ["Configuration", "Chosen", "Score on inner folds"]);
        let table = first.candidates.iter().fold(table, |table, candidate| {
            let chosen = all.iter().filter(|s| s.chosen == candidate.name).count();
            let own =
                |s: &InnerSelection| s.candidates.iter().find(|c| c.name == candidate.name).map(|c| c.score);
            let scores: Vec<f64> = all.iter().filter_map(own).collect();
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            table.row([
                Cell::text(candidate.name.clone()),
                Cell::text(format!("in {chosen} of {} folds", all.len())),
                Cell::interval(mean, least, most, 3),
            ])
        });
        Ok(Some(table.note(
            "The mean over tasks of the main metric on inner folds of a fold's training patients, with the least and the largest \
             of the folds. The best is trained on all of them; held-out patients have no part in the choice.",
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::DisturbInputs;
    use crate::permutation::PermuteOutcomes;
    use crate::testing::{Nearest, Signed, Toy};
    use crate::{ScoreOptions, Study};
    use oncograph_train::RunDir;
    use rand::Rng;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn named<S>(candidates: impl IntoIterator<Item = (&'static str, S)>) -> Vec<(String, S)> {
        candidates.into_iter().map(|(name, system)| (name.to_string(), system)).collect()
    }

    fn run_in(folder: &tempfile::TempDir) -> RunDir {
        RunDir::create(folder.path()).unwrap()
    }

    #[test]
    fn the_better_candidate_is_taken_and_the_choice_is_shown() {
        let (cohort, folder) = (Toy::new(150), tempfile::tempdir().unwrap());
        let run = run_in(&folder);
        let nested = Nested::new(named([("wrong", Signed(-1.0)), ("right", Signed(1.0))]), 3).unwrap();
        let results = Study::new(&cohort, &run).model("nested", &nested).run().unwrap();
        let scores = results.score(&cohort, &ScoreOptions::default()).unwrap();
        assert!(scores.row("nested", "survival").unwrap().first().unwrap().value > 0.6);
        let all = results.selections("nested").unwrap();
        assert_eq!(all.len(), 5);
        for one in &all {
            let [wrong, right] = [0, 1].map(|at| one.candidates[at].score);
            assert!(one.chosen == "right" && right > 0.5 && (wrong + right - 1.0).abs() < 1e-12);
        }
        let table = results.selection_table("nested", "choice").unwrap().unwrap().to_text();
        assert!(table.contains("in 5 of 5 folds") && table.contains("in 0 of 5 folds"), "{table}");
        assert!(Nested::<Signed>::new(vec![], 3).is_err());
        assert!(Nested::new(named([("a", Signed(1.0)), ("a", Signed(2.0))]), 3).is_err());
        assert!(Nested::new(named([("a", Signed(1.0))]), 1).is_err());
    }

    #[test]
    fn one_candidate_is_the_system_itself() {
        let cohort = Toy::new(60);
        let of = |nested: bool| {
            let folder = tempfile::tempdir().unwrap();
            let run = run_in(&folder);
            let alone = Nested::new(named([("only", Nearest)]), 3).unwrap();
            let study = Study::new(&cohort, &run);
            let study = if nested { study.model("m", &alone) } else { study.model("m", &Nearest) };
            study.run().unwrap()
        };
        assert_eq!(of(true), of(false));
        assert_eq!(of(true).selection_table("m", "choice").unwrap(), None);
    }

    /// Neither their inputs nor their outcomes.
    #[test]
    fn held_out_rows_have_no_part_in_the_choice() {
        let toy = Toy::new(90);
        let rows = |keep: fn(usize) -> bool| (0..90).filter(|r| keep(*r)).collect::<Vec<_>>();
        let (held, validation) = (rows(|r| r % 3 == 0), rows(|r| r % 3 == 1 && r % 4 == 0));
        let train: Vec<usize> =
            (0..90).filter(|row| !held.contains(row) && !validation.contains(row)).collect();
        let split = Split::new(train.clone(), validation, held.clone());
        let of = |cohort: &Toy| {
            let folder = tempfile::tempdir().unwrap();
            let run = run_in(&folder);
            let nested = Nested::new(named([("a", Nearest), ("b", Nearest)]), 3).unwrap();
            let plan = Plan::Given(vec![FoldSplit { repeat: 0, fold: 0, split: split.clone() }]);
            let results = Study::new(cohort, &run).plan(plan).model("nested", &nested).run().unwrap();
            (results.selections("nested").unwrap(), results.jobs()[0].answers.clone())
        };
        let mut order: Vec<usize> = (0..90).collect();
        held.iter().zip(held.iter().rev()).for_each(|(&to, &from)| order[to] = from);
        let other = toy.disturbed(&held).unwrap().permuted(&order);
        let (own, other) = (of(&toy), of(&other));
        assert_eq!(own.0, other.0);
        assert_ne!(own.1, other.1);
        assert_ne!(of(&toy.disturbed(&train[..1]).unwrap()).0, own.0);
    }

    /// A risk that its random stream draws; the fit at `stop` is stopped.
    struct Drawn<'a> {
        fits: &'a AtomicUsize,
        stop: usize,
    }

    impl System for Drawn<'_> {
        type Data = Toy;
        type Fitted = Signed;

        fn fit(&self, _: &Toy, _: &Split, job: &mut Job<'_>) -> Result<Signed> {
            if self.fits.fetch_add(1, Ordering::Relaxed) == self.stop {
                return Err(oncograph_train::Error::Stopped.into());
            }
            Ok(Signed(job.seed().rng().random_range(-1.0..1.0)))
        }
    }

    #[test]
    fn a_run_that_was_stopped_goes_on_to_the_same_bits() {
        let cohort = Toy::new(90);
        let once = |run: &RunDir, stop: usize| {
            let fits = AtomicUsize::new(0);
            let drawn = || Drawn { fits: &fits, stop };
            let nested = Nested::new(named([("a", drawn()), ("b, c", drawn())]), 3).unwrap();
            let study = Study::new(&cohort, run).cross_validation(2, 1);
            let results = study.model("nested", &nested).run();
            (results, fits.load(Ordering::Relaxed))
        };
        let whole = tempfile::tempdir().unwrap();
        let (expected, all) = once(&run_in(&whole), usize::MAX);
        let expected = expected.unwrap();
        // Two outer folds of two candidates on three inner folds, and one last fit each.
        assert_eq!(all, 14);
        for stop in [4, 6, 8] {
            let folder = tempfile::tempdir().unwrap();
            let run = run_in(&folder);
            let (stopped, _) = once(&run, stop);
            assert!(stopped.unwrap_err().is_stopped());
            let (again, rest) = once(&run, usize::MAX);
            assert_eq!((again.unwrap(), rest), (expected.clone(), all - stop), "stopped at {stop}");
            let left = std::fs::read_dir(run.file(crate::JOBS)).unwrap();
            let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            assert_eq!(left.filter(|name| name.contains("answers")).count(), 0);
        }
    }
}

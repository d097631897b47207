use crate::baseline::Baseline;
use crate::job::{Job, JobProgress, JobResult, Shared, job_name};
use crate::model::{Model, Trained};
use crate::permutation::{PermuteOutcomes, Permuted};
use crate::workers::side_by_side;
use crate::{Answers, Cohort, Error, FoldSplit, Plan, Result, StudyResults, System};
use candle_core::Device;
use oncograph_core::{Argument, AtFile, Seed};
use oncograph_train::{RunDir, StopFlag};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The folder of a run that jobs keep their files in.
pub const JOBS: &str = "folds";

/// Models and baselines on one cohort, each trained and scored on the same splits.
///
/// Every pair of a model and a fold is a job. Jobs run side by side, each once: its result is written whole, and a run that
/// was killed goes on with the jobs that are missing. Results do not depend on the number of workers.
///
/// # Example
/// ```
/// use oncograph_study::{Constant, CoxRidge, ScoreOptions, Study, testing::Toy};
/// use oncograph_train::RunDir;
///
/// # let folder = tempfile::tempdir()?;
/// let cohort = Toy::new(120); // implements `Cohort`
/// let run = RunDir::create(folder.path())?;
/// let results = Study::new(&cohort, &run)
///     .cross_validation(5, 2)
///     .baseline(CoxRidge::new(10.0))
///     .baseline(Constant)
///     .run()?;
/// let scores = results.score(&cohort, &ScoreOptions::default())?;
/// assert!(scores.row("Cox, ridge", "survival").unwrap().first().unwrap().value > 0.6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Study<'a, D: Cohort> {
    data: &'a D,
    run: &'a RunDir,
    plan: Plan,
    inner: f64,
    seed: Seed,
    device: Device,
    stop: StopFlag,
    workers: usize,
    /// A hash of what the models are made by.
    settings: Option<String>,
    models: Vec<(String, Box<dyn Model<D> + 'a>)>,
    progress: Box<dyn Fn(&JobProgress<'_>) + Sync + 'a>,
}

impl<'a, D: Cohort> Study<'a, D> {
    /// A study of `data` whose results are kept in `run`: by default five folds once, a fifth of the training rows to choose
    /// the model on, seed 1, on the CPU, one worker.
    pub fn new(data: &'a D, run: &'a RunDir) -> Self {
        Study {
            data,
            run,
            plan: Plan::CrossValidation { folds: 5, repeats: 1 },
            inner: 0.2,
            seed: Seed::new(1),
            device: Device::Cpu,
            stop: StopFlag::new(),
            workers: 1,
            settings: None,
            models: vec![],
            progress: Box::new(|_| ()),
        }
    }

    /// Stratified folds, several times over.
    pub fn cross_validation(self, folds: usize, repeats: usize) -> Self {
        self.plan(Plan::CrossValidation { folds, repeats })
    }

    /// Holds out one centre at a time; those with fewer than `least` patients are held out together.
    pub fn leave_one_centre_out(self, least: usize) -> Self {
        self.plan(Plan::LeaveOneCentreOut { least })
    }

    /// Sets which rows are held out.
    pub fn plan(mut self, plan: Plan) -> Self {
        self.plan = plan;
        self
    }

    /// Sets the share of training rows that choose the model.
    pub fn inner(mut self, share: f64) -> Self {
        self.inner = share;
        self
    }

    /// Sets the root of all random draws.
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Sets where tensors live.
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Sets the flag that stops the study.
    pub fn stop(mut self, stop: &StopFlag) -> Self {
        self.stop = stop.clone();
        self
    }

    /// Sets how many jobs run at once, one thread each; with one, a job has all threads.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets what the models are made by: a run is not gone on with under other settings than it was begun with.
    ///
    /// # Errors
    /// Settings that JSON cannot hold.
    pub fn settings(mut self, settings: &impl Serialize) -> Result<Self> {
        // Through a value, whose keys are in order.
        let settings = serde_json::to_value(settings).map_err(Error::system)?;
        self.settings = Some(blake3::hash(settings.to_string().as_bytes()).to_hex().to_string());
        Ok(self)
    }

    /// Sets what is called after every epoch and every finished job.
    pub fn on_progress(mut self, progress: impl Fn(&JobProgress<'_>) + Sync + 'a) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Adds a system under a name that tables and files call it by.
    pub fn model<S: System<Data = D>>(mut self, name: impl Into<String>, system: &'a S) -> Self {
        self.models.push((name.into(), Box::new(Trained(system))));
        self
    }

    /// Adds a system that is trained on outcomes that were given to other patients: what it scores, it scores by chance.
    pub fn permutation_control<S>(mut self, name: impl Into<String>, system: &'a S) -> Self
    where
        S: System<Data = D>,
        D: PermuteOutcomes,
    {
        self.models.push((name.into(), Box::new(Permuted(Trained(system)))));
        self
    }

    /// Adds a baseline under its own name.
    pub fn baseline(mut self, baseline: impl Baseline + 'a) -> Self {
        let name = baseline.name();
        self.models.push((name, Box::new(crate::baseline::Adapter(baseline))));
        self
    }

    /// The splits of this study.
    ///
    /// # Errors
    /// As [`Plan::splits`].
    pub fn splits(&self) -> Result<Vec<FoldSplit>> {
        self.plan.splits(self.data, self.inner, self.seed)
    }

    /// Runs every job that has no result yet, and returns the results of all.
    ///
    /// # Errors
    /// Two models of one name; a run that was begun on other data or with other settings; the first error of a job, with its
    /// name; a request to stop.
    pub fn run(&self) -> Result<StudyResults> {
        let mut seen = HashSet::new();
        for (name, _) in &self.models {
            if !seen.insert(job_name(name, (0, 0))) {
                return Err(Argument::new("Study", "model", "a name that no other has", name).into());
            }
        }
        let splits = self.splits()?;
        let folder = RunDir::open(&self.run.folder(JOBS)?)?;
        self.hold_to_its_data(&folder, &splits)?;
        let jobs: Vec<_> = self
            .models
            .iter()
            .flat_map(|(name, model)| splits.iter().map(move |s| (name, model, s)))
            .collect();
        let shared = Shared {
            seed: self.seed,
            device: &self.device,
            folder: &folder,
            stop: &self.stop,
            progress: &*self.progress,
        };
        let results = side_by_side(&jobs, self.workers, |(name, model, split)| {
            self.once(name, model.as_ref(), split, shared)
        })?;
        // The last job is done, and what comes after it was not asked for any more.
        self.stop.check()?;
        Ok(StudyResults { repeats: self.plan.repeats(), splits, jobs: results, seed: self.seed })
    }

    /// The result of a job from an earlier run of this folder, or from the model.
    fn once(
        &self,
        name: &str,
        model: &dyn Model<D>,
        fold: &FoldSplit,
        shared: Shared<'_>,
    ) -> Result<JobResult> {
        let mut job = Job::new(name, (fold.repeat, fold.fold), shared);
        let file = format!("{}.result.json", job.name());
        if let Some(done) = shared.folder.read_json(&file)? {
            job.done();
            return Ok(done);
        }
        self.stop.check()?;
        let outcome = model.run(self.data, &fold.split, &mut job).map_err(|e| match e.is_stopped() {
            true => e,
            false => Error::Job { job: job.name().to_string(), source: Box::new(e) },
        })?;
        self.check(&outcome.answers, &fold.split.test, job.name())?;
        let (history, best_epoch) = job.clone().curve();
        let result = JobResult {
            model: name.to_string(),
            repeat: fold.repeat,
            fold: fold.fold,
            test: fold.split.test.clone(),
            answers: outcome.answers,
            unfitted: outcome.unfitted,
            extras: outcome.extras,
            history,
            best_epoch,
            parameters: outcome.parameters,
        };
        // The result is the last thing written: until it is there, the job is not done.
        let result = shared.folder.once(&file, || Ok(result))?;
        job.done();
        Ok(result)
    }

    /// One answer for each held-out row, and no task that the cohort does not have.
    fn check(&self, answers: &Answers, test: &[usize], job: &str) -> Result<()> {
        for (task, rows) in answers {
            let known = self.data.tasks().iter().any(|t| t.name == *task);
            if !known || rows.len() != test.len() {
                let got = format!("{} for task {task} from {job}", rows.len());
                let expected = format!("{} answers for tasks of the cohort", test.len());
                return Err(Argument::new("Fitted::answer", "answers", expected, got).into());
            }
        }
        Ok(())
    }

    /// A run is resumed on the data and splits that it was begun on, or not at all.
    fn hold_to_its_data(&self, folder: &RunDir, splits: &[FoldSplit]) -> Result<()> {
        const FILE: &str = "study.json";
        let inputs = (self.data.ids(), self.data.tasks(), self.data.fingerprint(), splits, self.seed);
        let bytes = serde_json::to_vec(&inputs).map_err(Error::system)?;
        let now = Identity {
            version: env!("CARGO_PKG_VERSION").into(),
            inputs: blake3::hash(&bytes).to_hex().to_string(),
            settings: self.settings.clone(),
        };
        match folder.read_json::<Identity>(FILE)? {
            None => Ok(folder.write_json(FILE, &now)?),
            // A run that was begun without settings has none to differ from.
            Some(Identity { settings: None, ref version, ref inputs })
                if *version == now.version && *inputs == now.inputs =>
            {
                Ok(())
            }
            Some(then) if then == now => Ok(()),
            Some(then) => {
                let what = if then.inputs != now.inputs {
                    "the run was begun on other patients, images, outcomes, splits or seed".into()
                } else if then.version != now.version {
                    format!("the run was begun by version {}, this is {}", then.version, now.version)
                } else {
                    "the run was begun with other settings".into()
                };
                Err(AtFile::new(folder.file(FILE), format!("{what}; start a new run")).into())
            }
        }
    }
}

/// What a run was begun with.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Identity {
    version: String,
    inputs: String,
    #[serde(default)]
    settings: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Nearest, Toy};
    use crate::{Constant, ScoreOptions};
    use std::sync::Mutex;

    fn run(workers: usize, seed: u64) -> (tempfile::TempDir, StudyResults) {
        let (cohort, folder) = (Toy::new(90), tempfile::tempdir().unwrap());
        let run = RunDir::create(folder.path()).unwrap();
        let study = Study::new(&cohort, &run).cross_validation(3, 2).workers(workers).seed(Seed::new(seed));
        let results = study.model("nearest", &Nearest).baseline(Constant).run().unwrap();
        (folder, results)
    }

    #[test]
    fn workers_do_not_change_results() {
        assert_eq!(run(1, 5).1, run(3, 5).1);
        assert_ne!(run(1, 5).1, run(1, 6).1);
    }

    #[test]
    fn each_job_is_done_once() {
        let (cohort, folder) = (Toy::new(60), tempfile::tempdir().unwrap());
        let run = RunDir::create(folder.path()).unwrap();
        let first = Study::new(&cohort, &run).baseline(Constant).run().unwrap();
        let broken = crate::testing::Broken;
        // Every job is on disk but the ones of the broken model.
        let error = Study::new(&cohort, &run).baseline(Constant).model("broken", &broken).run().unwrap_err();
        assert!(error.to_string().starts_with("broken-0-0: "), "{error}");
        let done = Mutex::new(vec![]);
        let again = Study::new(&cohort, &run)
            .baseline(Constant)
            .on_progress(|p| done.lock().unwrap().push(p.epoch.is_none()))
            .run()
            .unwrap();
        assert_eq!((again, done.into_inner().unwrap()), (first, vec![true; 5]));
    }

    /// Without an event there is no Cox model; the constant and the other tasks have nothing to do with that.
    #[test]
    fn a_baseline_that_cannot_be_fitted_is_left_out_and_said() {
        let (mut cohort, folder) = (Toy::new(60), tempfile::tempdir().unwrap());
        cohort.keep_events(1);
        let run = RunDir::create(folder.path()).unwrap();
        let linear = crate::Linear::new(crate::Penalty::Fixed(1.0));
        let results = Study::new(&cohort, &run).baseline(linear).baseline(Constant).run().unwrap();
        let scores = results.score(&cohort, &ScoreOptions::default()).unwrap();
        let name = "Cox / logistic regression, ridge";
        assert!(scores.row(name, "survival").is_none() && scores.row(name, "response").is_some());
        assert!(scores.row("constant", "survival").is_some());
        let told = results.unfitted();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with(&format!(
                "{name} is not scored for survival, as it could not be fitted in repetition 1, fold"
            )) && told[0].contains("no subject has the event"),
            "{told:?}"
        );
    }

    #[test]
    fn another_cohort_or_seed_does_not_resume_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path()).unwrap();
        Study::new(&Toy::new(60), &run).baseline(Constant).run().unwrap();
        let mut other = Toy::new(60);
        other.x[7] += 1.0;
        for error in [
            Study::new(&other, &run).baseline(Constant).run().unwrap_err(),
            Study::new(&Toy::new(60), &run).seed(Seed::new(2)).baseline(Constant).run().unwrap_err(),
        ] {
            assert!(error.to_string().contains("start a new run"), "{error}");
        }
    }

    #[test]
    fn other_settings_do_not_resume_a_run() {
        let (cohort, folder) = (Toy::new(60), tempfile::tempdir().unwrap());
        let run = RunDir::create(folder.path()).unwrap();
        let study = |epochs: usize| {
            Study::new(&cohort, &run).settings(&("epochs", epochs)).unwrap().baseline(Constant).run()
        };
        let first = study(10).unwrap();
        assert_eq!(study(10).unwrap(), first);
        let error = study(20).unwrap_err().to_string();
        assert!(error.contains("begun with other settings; start a new run"), "{error}");
    }

    #[test]
    fn a_stop_is_no_failure_and_names_repeat_no_model() {
        let (cohort, folder) = (Toy::new(60), tempfile::tempdir().unwrap());
        let run = RunDir::create(folder.path()).unwrap();
        let stop = StopFlag::new();
        stop.request();
        let stopped = Study::new(&cohort, &run).stop(&stop).baseline(Constant).run().unwrap_err();
        assert!(stopped.is_stopped());
        // Within the last job: what it gave is kept, and nothing comes after it.
        let stop = StopFlag::new();
        let ask = |p: &JobProgress<'_>| {
            if p.place == (0, 4) {
                stop.request()
            }
        };
        let late = Study::new(&cohort, &run).stop(&stop).baseline(Constant).on_progress(ask).run();
        assert!(late.unwrap_err().is_stopped());
        assert!(run.file(JOBS).join("constant-0-4.result.json").exists());
        let twice = Study::new(&cohort, &run).baseline(Constant).baseline(Constant).run().unwrap_err();
        assert!(twice.to_string().contains("a name that no other has"), "{twice}");
    }

    #[test]
    fn outcomes_of_other_patients_teach_nothing() {
        let (cohort, folder) = (Toy::new(300), tempfile::tempdir().unwrap());
        let run = RunDir::create(folder.path()).unwrap();
        let results = Study::new(&cohort, &run)
            .model("nearest", &Nearest)
            .permutation_control("nearest, outcomes permuted", &Nearest)
            .run()
            .unwrap();
        let scores = results.score(&cohort, &ScoreOptions::default()).unwrap();
        let c = |model: &str| scores.row(model, "survival").unwrap().first().unwrap().value;
        assert_eq!(results.main_metric("nearest", &cohort.tasks()[0]), Some(c("nearest")));
        assert!(c("nearest") > 0.65, "{}", c("nearest"));
        assert!((c("nearest, outcomes permuted") - 0.5).abs() < 0.1, "{}", c("nearest, outcomes permuted"));
    }
}

use crate::csv_file::write_csv;
use crate::{Answer, Cohort, FoldSplit, JobResult, Result, Task};
use oncograph_core::Seed;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The results of all jobs of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyResults {
    pub(crate) repeats: usize,
    pub(crate) splits: Vec<FoldSplit>,
    pub(crate) jobs: Vec<JobResult>,
    pub(crate) seed: Seed,
}

impl StudyResults {
    /// The results of all jobs, model by model in the order in which they were added.
    pub fn jobs(&self) -> &[JobResult] {
        &self.jobs
    }

    /// The results of one model.
    pub fn of_model<'a>(&'a self, model: &'a str) -> impl Iterator<Item = &'a JobResult> {
        self.jobs.iter().filter(move |j| j.model == model)
    }

    /// The names of the models, in the order in which they were added.
    pub fn models(&self) -> Vec<&str> {
        let mut names: Vec<&str> = vec![];
        for job in &self.jobs {
            if !names.contains(&job.model.as_str()) {
                names.push(&job.model);
            }
        }
        names
    }

    /// The splits that all models had.
    pub fn splits(&self) -> &[FoldSplit] {
        &self.splits
    }

    /// How many repetitions there are.
    pub fn repeats(&self) -> usize {
        self.repeats
    }

    /// Adds results that were made from those of others, for example the mean of several models.
    pub fn extend(&mut self, derived: impl IntoIterator<Item = JobResult>) {
        self.jobs.extend(derived);
    }

    /// Results of other models on the same splits, for example those of one model on other inputs.
    pub fn with_only(&self, jobs: Vec<JobResult>) -> Self {
        StudyResults { splits: self.splits.clone(), jobs, ..*self }
    }

    /// Results of jobs that were each done `draws` times with other random draws: draw `d` of repetition `r`, on the splits of
    /// `r`, is repetition `r * draws + d`, so that an interval holds the noise of both.
    pub fn redrawn(&self, draws: usize, jobs: Vec<JobResult>) -> Self {
        let of = |s: &FoldSplit| {
            let s = s.clone();
            (0..draws).map(move |draw| FoldSplit { repeat: s.repeat * draws + draw, ..s.clone() })
        };
        let splits = self.splits.iter().flat_map(of).collect();
        StudyResults { repeats: self.repeats * draws, splits, jobs, seed: self.seed }
    }

    /// Which models have no answers for a task because their fit has no value in a fold, and why: one sentence for each model and task.
    pub fn unfitted(&self) -> Vec<String> {
        let mut told: BTreeMap<(&str, &str), (String, usize)> = BTreeMap::new();
        for job in &self.jobs {
            for (task, why) in &job.unfitted {
                let place = format!("repetition {}, fold {}: {why}", job.repeat + 1, job.fold + 1);
                told.entry((&job.model, task)).or_insert((place, 0)).1 += 1;
            }
        }
        let sentence = |((model, task), (first, folds)): ((&str, &str), (String, usize))| {
            let others = if folds > 1 { format!(" ({folds} folds in all)") } else { String::new() };
            format!("{model} is not scored for {task}, as it could not be fitted in {first}{others}.")
        };
        told.into_iter().map(sentence).collect()
    }

    /// The answers of a model for a task by repetition and row; `None` for a row that no fold held out. A model that could not
    /// be fitted in one fold has none: its score on the others would be of other patients than those of the models beside it.
    pub fn held(&self, model: &str, task: &Task) -> Vec<Vec<Option<Held>>> {
        let mut all = vec![vec![None; task.target.len()]; self.repeats];
        if self.of_model(model).any(|job| job.unfitted.contains_key(&task.name)) {
            return all;
        }
        for job in self.of_model(model) {
            let Some(answers) = job.answers.get(&task.name) else { continue };
            for (&row, answer) in job.test.iter().zip(answers) {
                all[job.repeat][row] = Some(Held { fold: job.fold, answer: answer.clone() });
            }
        }
        all
    }

    /// Writes one line per row, model, task, repetition and output as CSV.
    ///
    /// # Errors
    /// [`crate::Error::AtFile`] with the path.
    pub fn write_predictions(&self, data: &(impl Cohort + ?Sized), path: &Path) -> Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            patient: &'a str,
            model: &'a str,
            task: &'a str,
            repetition: usize,
            fold: usize,
            output: &'a str,
            value: f64,
        }
        let mut writer = csv::Writer::from_writer(vec![]);
        for model in self.models() {
            for task in data.tasks() {
                let names = task.target.output_names();
                for (repetition, rows) in self.held(model, task).iter().enumerate() {
                    for (patient, held) in data.ids().iter().zip(rows) {
                        let Some(Held { fold, answer }) = held else { continue };
                        for (output, value) in answer.named(names) {
                            let (task, fold) = (task.name.as_str(), *fold);
                            let output = output.as_str();
                            let line = Line { patient, model, task, repetition, fold, output, value };
                            writer.serialize(line).map_err(crate::Error::system)?;
                        }
                    }
                }
            }
        }
        write_csv(writer, path)
    }
}

/// An answer for a row, and the fold that held the row out.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The fold, from 0.
    pub fold: usize,
    /// The answer of that fold's model.
    pub answer: Answer,
}

use super::patient::OmicsColumns;
use super::survival::{SurvivalCalibration, risk_of};
use crate::{OmicsPipeline, OmicsStudyCohort, OmicsSystem, OmicsSystemConfig, Result};
use oncograph_core::Argument;
use oncograph_deploy::{Bundle, BundleWriter};
use oncograph_report::ModelCard;
use oncograph_study::{Cohort, Estimate, JOBS, JobResult, Scores, StudyResults, Target};
use oncograph_train::RunDir;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The system of a bundle.
pub(super) const SYSTEM: &str = "omics";
/// The folder of a run that its bundle is in.
pub(super) const BUNDLE: &str = "bundle";

/// `pipeline.json` of a fold: what is fitted besides parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FoldFile {
    pub pipeline: OmicsPipeline,
    /// By task of times.
    pub calibration: BTreeMap<String, SurvivalCalibration>,
    /// By task of classes or events, what logits are divided by (M-24).
    #[serde(default)]
    pub temperature: BTreeMap<String, f64>,
}

/// How well a task was learnt: the network's main metric on the held-out patients of the study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSkill {
    /// The name of the metric, of which 0.5 is chance.
    pub metric: String,
    /// The metric with its interval; `None` where it could not be computed.
    pub estimate: Option<Estimate>,
}

impl TaskSkill {
    /// The scores of the network in each task.
    pub(super) fn of(scores: &Scores, model: &str) -> BTreeMap<String, TaskSkill> {
        let rows = scores.rows.iter().filter(|row| row.model == model);
        let skill = |row: &oncograph_study::ScoreRow| {
            let (metric, estimate) = row.metrics.first()?;
            Some((row.task.clone(), TaskSkill { metric: metric.name(), estimate: *estimate }))
        };
        rows.filter_map(skill).collect()
    }

    /// Why the task counts as not learnt: its interval contains chance or is below it, or there is none. `None` where it was learnt.
    pub fn not_learnt(&self) -> Option<String> {
        let metric = &self.metric;
        match self.estimate {
            Some(e) if e.side_of(CHANCE) == Some(Ordering::Greater) => None,
            Some(e) => Some(format!(
                "Not learnt: on held-out patients of the study the {metric} is {e}, which is not above chance ({CHANCE}). There is no \
                 prediction for a patient."
            )),
            None => Some(format!(
                "Not learnt: on held-out patients of the study the {metric} could not be computed. There is no prediction for a \
                 patient."
            )),
        }
    }
}

/// The value of a C-index or an AUROC by chance.
const CHANCE: f64 = 0.5;

/// `model.json` of a bundle: what all folds share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ModelFile {
    pub config: OmicsSystemConfig,
    pub columns: OmicsColumns,
    /// Tasks and the names of their outputs; a task of times has none.
    pub tasks: Vec<(String, Vec<String>)>,
    /// Repetition and fold of each model.
    pub folds: Vec<(usize, usize)>,
    /// By task how well it was learnt; one that is not there was not scored.
    #[serde(default)]
    pub skill: BTreeMap<String, TaskSkill>,
}

/// The folder of a fold's files in a bundle.
pub(super) fn fold_folder((repeat, fold): (usize, usize)) -> String {
    format!("models/{repeat}-{fold}")
}

/// Writes `bundle` into the folder of a finished run: the models of all folds of `system` with everything that a prediction
/// needs. A run that has a bundle keeps it. By `scores`, tasks that were not learnt are those of which nothing is predicted.
///
/// # Errors
/// Another variant than the network itself, a run without its files, or an error of writing.
pub fn write_bundle(
    run: &RunDir,
    results: &StudyResults,
    cohort: &OmicsStudyCohort,
    system: &OmicsSystem,
    (card, scores): (&ModelCard, &Scores),
) -> Result<Bundle> {
    if !system.is_full() {
        return Err(Argument::new("write_bundle", "system", "the network itself", system.name()).into());
    }
    let path = run.file(BUNDLE);
    if path.exists() {
        return Ok(Bundle::open(path)?.of_system(SYSTEM)?);
    }
    let name = system.name();
    let jobs: Vec<&JobResult> = results.of_model(&name).collect();
    let mut writer = BundleWriter::create(path, SYSTEM)?.phantom(cohort.dataset().phantom);
    let outputs = |target: &Target| match target {
        Target::Survival(_) => vec![],
        Target::Classes { names, .. } | Target::Labels { names, .. } => names.clone(),
    };
    let file = ModelFile {
        config: system.config().clone(),
        columns: OmicsColumns::of(&cohort.dataset().cohort),
        tasks: cohort.tasks().iter().map(|t| (t.name.clone(), outputs(&t.target))).collect(),
        folds: jobs.iter().map(|j| (j.repeat, j.fold)).collect(),
        skill: TaskSkill::of(scores, &name),
    };
    writer.json("model.json", &file)?;
    writer.json("model_card.json", card)?;
    writer.bytes("model_card.md", card.to_table().to_markdown().as_bytes())?;
    for job in jobs {
        let folder = fold_folder((job.repeat, job.fold));
        let from = |suffix: &str| run.file(JOBS).join(format!("{}.{suffix}", job.name()));
        writer.copy(&format!("{folder}/pipeline.json"), &from("pipeline.json"))?;
        writer.json(&format!("{folder}/reference.json"), &reference(job))?;
        for task in cohort.tasks() {
            let weights = format!("{}.safetensors", task.name);
            writer.copy(&format!("{folder}/{weights}"), &from(&weights))?;
        }
    }
    Ok(writer.finish()?)
}

/// The risks of a fold's held-out patients by task, ascending: what a new patient's risk is compared with.
fn reference(job: &JobResult) -> BTreeMap<&str, Vec<f64>> {
    let sorted = |answers: &Vec<oncograph_study::Answer>| {
        let mut risks: Vec<f64> = answers.iter().filter_map(risk_of).collect();
        risks.sort_by(f64::total_cmp);
        risks
    };
    let of_task = job.answers.iter().map(|(task, answers)| (task.as_str(), sorted(answers)));
    of_task.filter(|(_, risks)| !risks.is_empty()).collect()
}

use super::patient::OmicsColumns;
use super::survival::{SurvivalCalibration, risk_of};
use crate::{OmicsPipeline, OmicsStudyCohort, OmicsSystem, OmicsSystemConfig, Result};
use oncograph_core::Argument;
use oncograph_deploy::{Bundle, BundleWriter};
use oncograph_report::ModelCard;
use oncograph_study::{Cohort, JOBS, JobResult, StudyResults, Target};
use oncograph_train::RunDir;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The system of a bundle.
pub(super) const SYSTEM: &str = "omics";
/// The folder of a run that its bundle is in.
pub(super) const BUNDLE: &str = "bundle";

/// `pipeline.json` of a fold: what is fitted besides parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FoldFile {
    pub pipeline: OmicsPipeline,
    /// By task.
    pub calibration: BTreeMap<String, SurvivalCalibration>,
}

/// `model.json` of a bundle: what all folds share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ModelFile {
    pub config: OmicsSystemConfig,
    pub columns: OmicsColumns,
    /// Tasks and the names of their outputs; a task of times has none.
    pub tasks: Vec<(String, Vec<String>)>,
    /// Repetition and fold of each model.
    pub folds: Vec<(usize, usize)>,
}

/// The folder of a fold's files in a bundle.
pub(super) fn fold_folder((repeat, fold): (usize, usize)) -> String {
    format!("models/{repeat}-{fold}")
}

/// Writes `bundle` into the folder of a finished run: the models of all folds of `system` with everything that a prediction
/// needs. A run that has a bundle keeps it.
///
/// # Errors
/// Another variant than the network itself, a run without its files, or an error of writing.
pub fn write_bundle(
    run: &RunDir,
    results: &StudyResults,
    cohort: &OmicsStudyCohort,
    system: &OmicsSystem,
    card: &ModelCard,
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

use crate::{OmicsStudyCohort, OmicsVariant, Result};
use oncograph_core::AtFile;
use oncograph_study::{Answers, Cohort, JobResult, StudyResults};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the report needs of a trained model besides its answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OmicsExtras {
    /// The share of each modality in the first task's answer, a row per held-out patient; 0 of one that the patient lacks,
    /// no rows for a model without attention.
    pub importance: Vec<Vec<f64>>,
    /// Answers where only some modalities are there, by which; of the network alone.
    pub grid: Vec<(Vec<String>, Answers)>,
    /// By table and column, with the covariates under `patient`, how much of the first task's output it accounts for on average over
    /// held-out patients; of the network in the first repetition alone.
    pub shares: BTreeMap<String, Vec<(String, f64)>>,
    /// Bytes that a federation sent.
    pub sent: usize,
    /// Operations of the forward pass of one patient, as [`crate::OmicsModel::flops`].
    #[serde(default)]
    pub flops: u64,
}

impl OmicsExtras {
    /// The extras of a job of an [`crate::OmicsSystem`]; empty for another model.
    ///
    /// # Errors
    /// A result that holds something else.
    pub fn of(job: &JobResult) -> Result<Self> {
        if job.extras.is_null() {
            return Ok(Self::default());
        }
        let at = |e| AtFile::new(format!("result of {}", job.model), e);
        Ok(serde_json::from_value(job.extras.clone()).map_err(at)?)
    }
}

/// How well the one network does when modalities are missing.
#[derive(Debug, Clone, PartialEq)]
pub struct GridRow {
    /// The modalities that are there.
    pub present: Vec<String>,
    /// By task the main metric; `None` where it is not defined.
    pub scores: Vec<(String, Option<f64>)>,
}

/// The network's main metrics for all subsets of modalities.
///
/// # Errors
/// As [`OmicsExtras::of`].
pub fn modality_grid(results: &StudyResults, cohort: &OmicsStudyCohort) -> Result<Vec<GridRow>> {
    let full = OmicsVariant::Full.name();
    let mut subsets: Vec<Vec<String>> = vec![];
    let mut derived = vec![];
    for job in results.of_model(&full) {
        for (present, answers) in OmicsExtras::of(job)?.grid {
            let model = present.join(" + ");
            if !subsets.contains(&present) {
                subsets.push(present);
            }
            let extras = serde_json::Value::Null;
            derived.push(JobResult { model, answers, extras, history: vec![], ..job.clone() });
        }
    }
    let scored = results.with_only(derived);
    let row = |present: Vec<String>| {
        let model = present.join(" + ");
        let scores = cohort.tasks().iter().map(|t| (t.name.clone(), scored.main_metric(&model, t)));
        GridRow { scores: scores.collect(), present }
    };
    Ok(subsets.into_iter().map(row).collect())
}

//! The clinical report: means over the models of the ensemble.

use super::survival::risk_of;
use super::{FoldReading, OmicsPatient, OmicsPredictor};
use crate::pipeline::OmicsRows;
use oncograph_deploy::{ClinicalReport, Prediction, Probability, SurvivalAt};
use oncograph_study::Answer;
use std::collections::{BTreeMap, BTreeSet};

/// Features that are named.
const TOP: usize = 15;

impl OmicsPredictor {
    pub(super) fn report(
        &self,
        patient: &OmicsPatient,
        rows: &OmicsRows<'_>,
        read: &[FoldReading<'_>],
        held_out: bool,
    ) -> ClinicalReport {
        let mut report = ClinicalReport::new(&patient.id, self.identity.clone()).phantom(self.phantom);
        report = self.completeness(report, patient, read);
        for (task, names) in &self.file.tasks {
            if let Some(prediction) = prediction(task, names, read) {
                report = report.prediction(prediction);
            }
        }
        for (modality, share) in importance(rows, read) {
            report = report.modality(modality, share);
        }
        report = report.features(self.explained(), features(read));
        report.note(origin(read.len(), held_out)).note(NOT_CALIBRATED)
    }

    /// What of each table is there, and in words what was filled in or left out.
    fn completeness(
        &self,
        mut report: ClinicalReport,
        patient: &OmicsPatient,
        read: &[FoldReading<'_>],
    ) -> ClinicalReport {
        let (mut imputed, mut absent) = (vec![], vec![]);
        let mut count = |table: &str, columns: usize, observed: usize| {
            if observed > 0 && observed < columns {
                imputed.push(format!("{} of {columns} values of {table}", columns - observed));
            }
        };
        let covariates = &self.file.columns.covariates;
        count("patient", covariates.len(), patient.covariates.len());
        report = report.data("patient", covariates.len(), patient.covariates.len());
        for table in self.file.columns.tables.keys() {
            let columns: BTreeSet<&String> =
                read.iter().flat_map(|r| r.fold.trained.pipeline.features(table)).collect();
            let values = patient.tables.get(table).filter(|v| !v.is_empty());
            let observed = values.map_or(0, |v| columns.iter().filter(|c| v.contains_key(**c)).count());
            match values {
                None => absent.push(table.as_str()),
                Some(_) => count(table, columns.len(), observed),
            }
            report = report.data(table, columns.len(), observed);
        }
        if !absent.is_empty() {
            report = report.note(format!("Without data, and left out: {}.", absent.join(", ")));
        }
        if !imputed.is_empty() {
            report =
                report.note(format!("Missing, and imputed by medians of training: {}.", imputed.join(", ")));
        }
        report
    }

    fn explained(&self) -> String {
        let Some((task, names)) = self.file.tasks.first() else { return String::new() };
        let what = if names.is_empty() { "risk" } else { "logit of the likeliest answer" };
        format!("{task}: {what}, against a patient with average values")
    }
}

const NOT_CALIBRATED: &str = "Calibrated is the survival alone, by a Cox model of the risk on the patients of the study that \
                              chose the epoch. Probabilities of classes and events are the network's own and not \
                              calibrated; no number has an interval.";

fn origin(models: usize, held_out: bool) -> String {
    if held_out {
        return "The model was trained without this patient, in one fold of a cross-validation; the percentile is among \
                the patients that the fold held out."
            .into();
    }
    format!(
        "Means over {models} models of a cross-validation. A risk has no common zero in two models: read the percentile, \
         which is among the patients that each model's fold held out."
    )
}

/// The mean over models of a task's answers.
fn prediction(task: &str, names: &[String], read: &[FoldReading<'_>]) -> Option<Prediction> {
    let answers: Vec<(&FoldReading<'_>, &Answer)> =
        read.iter().filter_map(|r| Some((r, r.answers.get(task)?.first()?))).collect();
    let n = answers.len() as f64;
    match answers.first()?.1 {
        Answer::Probabilities(first) => {
            let mean = |k: usize| {
                let probability = |a: &Answer| if let Answer::Probabilities(p) = a { p[k] } else { 0.0 };
                answers.iter().map(|(_, a)| probability(a)).sum::<f64>() / n
            };
            let chance =
                |(k, name): (usize, &String)| Probability { name: name.clone(), probability: mean(k) };
            let chances = names.iter().take(first.len()).enumerate().map(chance).collect();
            let task = task.to_string();
            let exclusive = is_exclusive(&task, read);
            Some(match exclusive {
                true => Prediction::Classes { task, classes: chances },
                false => Prediction::Events { task, events: chances },
            })
        }
        _ => {
            let risks: Vec<(&FoldReading<'_>, f64)> =
                answers.iter().filter_map(|(r, a)| Some((*r, risk_of(a)?))).collect();
            let below = |(r, risk): &(&FoldReading<'_>, f64)| {
                let reference = r.fold.reference.get(task).map_or(&[][..], Vec::as_slice);
                let below = reference.iter().filter(|other| *other < risk).count();
                below as f64 / reference.len().max(1) as f64
            };
            Some(Prediction::Survival {
                task: task.to_string(),
                risk: risks.iter().map(|r| r.1).sum::<f64>() / n,
                percentile: risks.iter().map(below).sum::<f64>() / n,
                survival: survival(task, &risks),
            })
        }
    }
}

/// Whether a task's outputs are classes of which one is true.
fn is_exclusive(task: &str, read: &[FoldReading<'_>]) -> bool {
    let tasks = read.iter().flat_map(|r| &r.fold.trained.pipeline.net().tasks);
    tasks.filter(|t| t.name == task).all(|t| matches!(t.kind, crate::TaskKind::Classes(_)))
}

/// The mean of the calibrated survivals, for the years that all models reach.
fn survival(task: &str, risks: &[(&FoldReading<'_>, f64)]) -> Vec<SurvivalAt> {
    let curve = |(r, risk): &(&FoldReading<'_>, f64)| {
        r.fold.calibration.get(task).map_or(vec![], |calibration| calibration.at(*risk))
    };
    let curves: Vec<Vec<SurvivalAt>> = risks.iter().map(curve).collect();
    let years = curves.iter().map(Vec::len).min().unwrap_or(0);
    let mean = |k: usize| SurvivalAt {
        years: curves[0][k].years,
        probability: curves.iter().map(|c| c[k].probability).sum::<f64>() / curves.len() as f64,
    };
    (0..years).map(mean).collect()
}

/// The mean share of each modality; `None` for those that the patient lacks.
fn importance(rows: &OmicsRows<'_>, read: &[FoldReading<'_>]) -> Vec<(String, Option<f64>)> {
    let Some(first) = read.first() else { return vec![] };
    let mean = |k: usize| {
        let shares: Option<Vec<f64>> = read.iter().map(|r| r.importance.get(k).copied()).collect();
        shares.map(|s| s.iter().sum::<f64>() / s.len() as f64)
    };
    let modalities = first.fold.trained.pipeline.net().active().enumerate();
    let one = |(k, m): (usize, &crate::ModalityConfig)| {
        let here = m.pooled.iter().any(|t| rows.tables.contains_key(t));
        (m.name.clone(), mean(k).filter(|_| here))
    };
    modalities.map(one).collect()
}

/// The columns that add most to the first task's output: a column that a model did not select adds nothing in it.
fn features(read: &[FoldReading<'_>]) -> Vec<(String, String, f64, f64)> {
    let mut sums: BTreeMap<(&str, &str), (f64, f64, f64)> = BTreeMap::new();
    for (table, name, z, share) in read.iter().flat_map(|r| &r.attributions) {
        let sum = sums.entry((table, name)).or_default();
        *sum = (sum.0 + z, sum.1 + share, sum.2 + 1.0);
    }
    let mean = |((table, name), (z, share, models)): ((&str, &str), (f64, f64, f64))| {
        (table.to_string(), name.to_string(), z / models, share / read.len() as f64)
    };
    let mut all: Vec<_> = sums.into_iter().map(mean).collect();
    all.sort_by(|a, b| b.3.abs().total_cmp(&a.3.abs()).then_with(|| a.1.cmp(&b.1)));
    all.truncate(TOP);
    all
}

//! The clinical report: means over the models of the ensemble.

use super::rules;
use super::survival::risk_of;
use super::temperature::{tempered_classes, tempered_labels};
use super::{FoldReading, OmicsPatient, OmicsPredictor};
use crate::cohort::IMAGES;
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
            let prediction = match self.not_learnt(task) {
                Some(reason) => Some(Prediction::NotLearnt { task: task.clone(), reason }),
                None => prediction(task, names, read),
            };
            report = prediction.into_iter().fold(report, ClinicalReport::prediction);
        }
        if let Some(explained) = self.explained() {
            for (modality, share) in importance(rows, read) {
                report = report.modality(modality, share);
            }
            report = report.features(explained, features(read));
        }
        let rules = rules::apply(&report);
        report = report.note(origin(read.len(), held_out)).note(self.calibrated(read)).note(INTERVALS);
        rules.into_iter().fold(report, ClinicalReport::note)
    }

    /// Which predictions are calibrated.
    fn calibrated(&self, read: &[FoldReading<'_>]) -> String {
        let by = |fold: &super::FoldModel, task: &String| {
            fold.calibration.contains_key(task) || fold.temperature.contains_key(task)
        };
        let all = |task: &&String| read.iter().all(|r| by(r.fold, task));
        let (done, not): (Vec<&String>, Vec<&String>) =
            self.file.tasks.iter().map(|(task, _)| task).partition(all);
        let list = |tasks: &[&String]| tasks.iter().map(|t| t.as_str()).collect::<Vec<_>>().join(", ");
        let mut text = String::new();
        if !done.is_empty() {
            text = format!("Calibrated on the patients of the study that chose the epoch: {}. ", list(&done));
        }
        if !not.is_empty() {
            text += &format!("Not calibrated: {}.", list(&not));
        }
        text.trim_end().into()
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
        if !self.file.columns.images.is_empty() {
            let columns = self.file.columns.images.len();
            if patient.images.is_empty() {
                absent.push(IMAGES);
            }
            report = report.data(IMAGES, columns, if patient.images.is_empty() { 0 } else { columns });
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

    /// What the features explain; `None` where no task was learnt.
    fn explained(&self) -> Option<String> {
        let task = self.explained_task()?;
        let (_, names) = self.file.tasks.iter().find(|(name, _)| name == task)?;
        let what = if names.is_empty() { "risk" } else { "logit of the likeliest answer" };
        Some(format!(
            "{task}: {what}, against a patient with the training patients' mean in every covariate and every value"
        ))
    }
}

const INTERVALS: &str = "Intervals of survival hold 95 % of what the calibrations of all models give on resamples of the patients \
                         that they were fitted on; they do not hold what another network or another cohort would give.";

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
            let exclusive = is_exclusive(task, read);
            let tempered = |(r, a): &(&FoldReading<'_>, &Answer)| {
                let Answer::Probabilities(p) = a else { return vec![0.0; first.len()] };
                let temperature = r.fold.temperature.get(task).copied().unwrap_or(1.0);
                match exclusive {
                    true => tempered_classes(p, temperature),
                    false => tempered_labels(p, temperature),
                }
            };
            let tempered: Vec<Vec<f64>> = answers.iter().map(tempered).collect();
            let mean = |k: usize| tempered.iter().map(|p| p[k]).sum::<f64>() / n;
            let chance =
                |(k, name): (usize, &String)| Probability { name: name.clone(), probability: mean(k) };
            let chances = names.iter().take(first.len()).enumerate().map(chance).collect();
            let task = task.to_string();
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

/// The mean of the calibrated survivals, for the years that all models reach, with the interval over the resamples of all.
fn survival(task: &str, risks: &[(&FoldReading<'_>, f64)]) -> Vec<SurvivalAt> {
    let calibrated = risks.iter().map(|(r, risk)| Some((r.fold.calibration.get(task)?, *risk)));
    let Some(calibrated) = calibrated.collect::<Option<Vec<_>>>() else { return vec![] };
    let curves: Vec<Vec<(f64, f64)>> = calibrated.iter().map(|(fit, risk)| fit.at(*risk)).collect();
    let years = curves.iter().map(Vec::len).min().unwrap_or(0);
    let one = |k: usize| {
        let probability = curves.iter().map(|c| c[k].1).sum::<f64>() / curves.len() as f64;
        let mut all: Vec<f64> = calibrated.iter().flat_map(|(fit, risk)| fit.resampled(*risk, k)).collect();
        all.sort_by(f64::total_cmp);
        let quantile = |q: f64| all[((all.len() - 1) as f64 * q).round() as usize];
        // The mean lies within, whatever the resamples are.
        let interval = || [quantile(0.025).min(probability), quantile(0.975).max(probability)];
        SurvivalAt { years: curves[0][k].0, probability, interval: (!all.is_empty()).then(interval) }
    };
    (0..years).map(one).collect()
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
        let images = rows.images.as_ref().is_some_and(|own| own.iter().any(|own| !own.is_empty()));
        let here = m.pooled.iter().any(|t| rows.tables.contains_key(t) || (t == IMAGES && images));
        (m.name.clone(), mean(k).filter(|_| here))
    };
    modalities.map(one).collect()
}

/// The covariates and columns that add most to the explained task's output: a column that a model did not select adds nothing in it.
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

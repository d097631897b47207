use crate::bundle::{self, Reference};
use crate::intensities::implausible_liver;
use crate::{
    ANATOMY, CtEncoder, CtFeatures, PreparedImages, Result, STG_TASKS, StgSystemConfig, TimePrediction,
    TrainedStg,
};
use candle_core::Device;
use oncograph_core::{Argument, Table};
use oncograph_datasets::crlm::{CovariateTable, ImageFiles, LoadOptions, SubjectFiles};
use oncograph_deploy::{Bundle, ClinicalReport, ModelIdentity, Prediction, SurvivalAt};
use oncograph_report::{ModelCard, RESEARCH_ONLY};
use serde::Serialize;

/// Predicts new patients with the networks of a bundle, and with nothing else.
#[derive(Debug)]
pub struct StgPredictor {
    config: StgSystemConfig,
    models: Vec<TrainedStg>,
    encoder: Option<CtEncoder>,
    reference: Reference,
    card: ModelCard,
    identity: ModelIdentity,
    phantom: bool,
}

/// One new patient.
#[derive(Debug, Clone)]
pub struct StgPatient {
    id: String,
    images: Option<ImageFiles>,
    clinical: Option<CovariateTable>,
}

impl StgPatient {
    /// A patient of whom nothing is known but an identifier.
    pub fn new(id: impl Into<String>) -> Self {
        StgPatient { id: id.into(), images: None, clinical: None }
    }

    /// Sets the files of the CT and of its segmentation.
    pub fn images(mut self, images: ImageFiles) -> Self {
        self.images = Some(images);
        self
    }

    /// Sets a table with a row of this patient, with or without outcomes; without one all covariates count as missing.
    pub fn clinical(mut self, table: impl Into<CovariateTable>) -> Self {
        self.clinical = Some(table.into());
        self
    }
}

/// The answer for one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StgTaskPrediction {
    /// The task, one of [`STG_TASKS`].
    pub task: &'static str,
    /// The mean over the models, in years.
    pub years: f64,
    /// The smallest and largest of the models, in years: their disagreement, not a confidence interval.
    pub models_years: [f64; 2],
    /// The third of the run's own patients that `percentile` falls into.
    pub risk_group: &'static str,
    /// The mean risk.
    pub risk: f64,
    /// The share of the run's own patients with a smaller risk: of each model those who were held out from it, since risks
    /// of two models have no common zero, and the mean over the models.
    pub percentile: f64,
    /// The mean probability to be free of the event at the end of each year; empty where the models give none.
    pub survival: Vec<f64>,
}

/// The answer for one patient.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StgPrediction {
    /// The patient's identifier.
    pub patient: String,
    /// That this is for research only.
    pub notice: String,
    /// Whether the models were trained on generated patients: then the answer means nothing.
    pub trained_on_phantom: bool,
    /// How many models answered.
    pub models: usize,
    /// How well they ranked patients whom they had not seen, as their model card states it.
    pub performance: Option<String>,
    /// The answers.
    pub tasks: Vec<StgTaskPrediction>,
    /// Structures that were not segmented or lie outside of the network's grid: they are left out.
    pub missing_structures: Vec<&'static str>,
    /// Covariates that were taken from the training median.
    pub missing_covariates: Vec<String>,
    /// The answer as it goes to people and hospital systems.
    #[serde(skip)]
    pub report: ClinicalReport,
    /// The images as the models took them; `None` where they have no image nodes.
    #[serde(skip)]
    pub prepared: Option<PreparedImages>,
}

impl StgPredictor {
    /// Opens a bundle.
    ///
    /// # Errors
    /// A bundle of another system, or one whose files do not fit together.
    pub fn open(bundle: &Bundle, device: &Device) -> Result<Self> {
        let opened = bundle::open(bundle, device)?;
        // What the segmentation of one patient lacks is reported, not refused: a patient without tumour still has a liver.
        let load = opened.settings.system.load.clone().empty_as_missing(true).skip_unknown_labels(true);
        Ok(StgPredictor {
            config: opened.settings.system,
            models: opened.models,
            encoder: opened.encoder.map(|e| e.load_options(load)),
            reference: opened.reference,
            card: opened.card,
            identity: bundle.identity(),
            phantom: bundle.phantom(),
        })
    }

    /// What is needed to judge the models: their model card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Whether the models have image nodes: then they need the images of every patient, else they take none.
    pub fn has_images(&self) -> bool {
        self.encoder.is_some()
    }

    /// Predicts one patient.
    ///
    /// # Errors
    /// No images, images that cannot be loaded or whose liver lies outside of the network's grid, where the models have image
    /// nodes; nobody of whom neither images nor a covariate is known; a table without the patient or without a covariate.
    pub fn predict(&self, patient: &StgPatient) -> Result<StgPrediction> {
        let seen = self.encode(patient)?;
        let (prepared, features) = seen.unzip();
        let clinical = self.covariates(patient)?;
        if features.is_none() && clinical.row(0).iter().all(Option::is_none) {
            let expected = "some covariate: these models have nothing else to go by";
            return Err(Argument::new("StgPredictor", "patient", expected, "none").into());
        }
        let gaps = clinical.columns().iter().zip(clinical.row(0)).filter(|(_, value)| value.is_none());
        let missing_covariates: Vec<String> = gaps.map(|(name, _)| name.clone()).collect();
        let empty = features.as_ref().map_or([false; 5], |f| f.empty);
        let missing = ANATOMY.iter().zip(empty).filter(|(_, empty)| *empty).map(|(name, _)| *name);
        let mut prediction = StgPrediction {
            patient: patient.id.clone(),
            notice: RESEARCH_ONLY.into(),
            trained_on_phantom: self.phantom,
            models: self.models.len(),
            performance: self.card.stated_performance().map(str::to_owned),
            tasks: self.tasks(&clinical, features.as_ref())?,
            missing_structures: missing.collect(),
            missing_covariates,
            report: ClinicalReport::new(&patient.id, self.identity.clone()),
            prepared,
        };
        prediction.report = self.report(&prediction, clinical.width());
        prediction.report.validate()?;
        Ok(prediction)
    }

    /// Sets how images are read, in place of the run's own options: those of a new patient may have other flaws. Structures
    /// without a mask are missing and unknown labels passed over, as ever.
    pub fn load_options(mut self, load: LoadOptions) -> Self {
        let load = load.empty_as_missing(true).skip_unknown_labels(true);
        self.encoder = self.encoder.map(|encoder| encoder.load_options(load));
        self
    }

    fn encode(&self, patient: &StgPatient) -> Result<Option<(PreparedImages, CtFeatures)>> {
        let Some(encoder) = &self.encoder else { return Ok(None) };
        let Some(images) = &patient.images else {
            let expected = "the CT and its segmentation: these models have image nodes";
            return Err(Argument::new("StgPredictor", "images", expected, "none").into());
        };
        let prepared = encoder.prepare(&SubjectFiles::new(&patient.id, Some(images.clone())))?;
        let features = encoder.images(&prepared)?;
        Ok(Some((prepared, features)))
    }

    /// The patient's row, or one in which everything is missing.
    fn covariates(&self, patient: &StgPatient) -> Result<Table> {
        match &patient.clinical {
            Some(table) => Ok(table.of_patient(&patient.id)?.features(self.config.features)?),
            None => {
                let names: Vec<String> =
                    self.config.features.columns().into_iter().map(String::from).collect();
                let row = vec![None; names.len()];
                Ok(Table::numbered(names, vec![row])?)
            }
        }
    }

    fn tasks(&self, clinical: &Table, features: Option<&CtFeatures>) -> Result<Vec<StgTaskPrediction>> {
        let features = features.map(|f| [f]);
        let mut answers: [Vec<TimePrediction>; 2] = Default::default();
        for model in &self.models {
            let predicted = model.predict(clinical, features.as_ref().map(|f| &f[..]))?;
            answers.iter_mut().zip(predicted).for_each(|(all, one)| all.extend(one));
        }
        let tasks = STG_TASKS.into_iter().zip(&answers).zip(&self.reference.risks);
        Ok(tasks.map(|((task, answers), reference)| combined(task, answers, reference)).collect())
    }

    fn report(&self, answer: &StgPrediction, columns: usize) -> ClinicalReport {
        let observed = columns - answer.missing_covariates.len();
        let report = ClinicalReport::new(&answer.patient, self.identity.clone());
        let mut report = answer.cautions().into_iter().fold(report, ClinicalReport::note).data(
            "clinical covariates",
            columns,
            observed,
        );
        if answer.prepared.is_some() {
            let segmented = ANATOMY.len() - answer.missing_structures.len();
            report = report.data("segmented structures", ANATOMY.len(), segmented);
        }
        for task in &answer.tasks {
            let years = |(k, &probability)| SurvivalAt { years: (k + 1) as f64, probability, interval: None };
            report = report.prediction(Prediction::Survival {
                task: task.task.into(),
                risk: task.risk,
                percentile: task.percentile,
                survival: task.survival.iter().enumerate().map(years).collect(),
            });
            let [low, high] = task.models_years;
            report = report.note(format!(
                "{}: {:.1} years, {low:.1} to {high:.1} among {} models; {} third of the run's own patients.",
                task.task, task.years, answer.models, task.risk_group
            ));
        }
        report
    }
}

impl StgPrediction {
    /// Remarks that have to be shown with the prediction, a sentence each.
    pub fn cautions(&self) -> Vec<String> {
        let mut lines = vec![];
        if self.trained_on_phantom {
            lines.push(
                "The models were trained on a PHANTOM cohort: the answer means nothing for this patient."
                    .into(),
            );
        }
        if let Some(performance) = &self.performance {
            lines.push(format!(
                "Risk groups are thirds of the run's own patients. How well the models ranked those whom they had not seen: \
                 {performance}."
            ));
        }
        if !self.missing_structures.is_empty() {
            lines.push(format!(
                "Not segmented or outside of the network's grid, left out: {}.",
                self.missing_structures.join(", ")
            ));
        }
        lines.extend(self.prepared.iter().flat_map(|p| &p.notes).map(|note| format!("{note}.")));
        let of_liver = self.prepared.as_ref().and_then(|p| implausible_liver(p.intensities[0]));
        lines.extend(of_liver);
        if !self.missing_covariates.is_empty() {
            let names = self.missing_covariates.join(", ");
            lines.push(format!("Covariates taken from the training median: {names}."));
        }
        lines
    }
}

/// The answers of all models as one; `reference` are the held-out risks of each model, ascending.
fn combined(task: &'static str, answers: &[TimePrediction], reference: &[Vec<f64>]) -> StgTaskPrediction {
    let n = answers.len() as f64;
    let years = || answers.iter().map(|a| a.years);
    let risk = answers.iter().map(|a| a.risk).sum::<f64>() / n;
    let place = |(answer, held): (&TimePrediction, &Vec<f64>)| {
        // Between those below and those not above: who ties with all is in the middle.
        let below = held.partition_point(|&r| r < answer.risk);
        let tied = held.partition_point(|&r| r <= answer.risk) - below;
        (!held.is_empty()).then(|| (below as f64 + 0.5 * tied as f64) / held.len() as f64)
    };
    let places: Vec<f64> = answers.iter().zip(reference).filter_map(place).collect();
    let percentile = places.iter().sum::<f64>() / places.len().max(1) as f64;
    let curves: Option<Vec<&Vec<f64>>> = answers.iter().map(|a| a.survival.as_ref()).collect();
    let length = curves.iter().flatten().map(|c| c.len()).min().unwrap_or(0);
    let mean = |year: usize| curves.iter().flatten().map(|c| c[year]).sum::<f64>() / n;
    StgTaskPrediction {
        task,
        years: years().sum::<f64>() / n,
        models_years: [years().fold(f64::INFINITY, f64::min), years().fold(f64::NEG_INFINITY, f64::max)],
        risk_group: ["low", "middle", "high"][((3.0 * percentile) as usize).min(2)],
        risk,
        percentile,
        survival: (0..length).map(mean).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_averaged_and_placed_among_the_runs_own_patients() {
        let answer =
            |years, risk, curve: [f64; 2]| TimePrediction { years, risk, survival: Some(curve.to_vec()) };
        let answers = [answer(2.0, 0.5, [0.9, 0.5]), answer(4.0, 1.5, [0.7, 0.3])];
        // The second model gives everybody more: among its own patients this one is low.
        let reference = [vec![0.0, 0.4, 0.9, 2.0], vec![1.6, 1.7, 1.8, 1.9]];
        let all = combined("survival", &answers, &reference);
        assert_eq!((all.years, all.models_years, all.risk), (3.0, [2.0, 4.0], 1.0));
        assert_eq!((all.percentile, all.risk_group), (0.25, "low"));
        let tied = combined("survival", &answers[..1], &[vec![0.5; 3]]);
        assert_eq!((tied.percentile, tied.risk_group), (0.5, "middle"));
        assert_eq!(all.survival.len(), 2);
        assert!((all.survival[0] - 0.8).abs() < 1e-12 && (all.survival[1] - 0.4).abs() < 1e-12);
        let without = TimePrediction { survival: None, ..answers[0].clone() };
        assert!(combined("survival", &[answers[1].clone(), without], &[]).survival.is_empty());
    }
}

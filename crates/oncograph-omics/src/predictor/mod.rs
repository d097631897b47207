//! From a run to a bundle, and from a bundle to one patient's prediction.

mod bundle;
mod patient;
mod report;
mod rules;
mod survival;
mod temperature;

pub(crate) use bundle::FoldFile;
pub use bundle::{TaskSkill, write_bundle};
pub use patient::{OmicsPatient, PatientImage};
pub use rules::OMICS_RULES;
pub(crate) use survival::SurvivalCalibration;
pub(crate) use temperature::temperature;

use crate::pipeline::OmicsRows;
use crate::trained::{TaskModel, TrainedOmics};
use crate::{Error, Result};
use bundle::{ModelFile, SYSTEM, fold_folder};
use candle_core::Device;
use oncograph_core::Argument;
use oncograph_deploy::{Bundle, ClinicalReport, ModelIdentity};
use oncograph_study::Answers;
use std::collections::BTreeMap;

/// The prediction for one patient.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OmicsPrediction {
    /// The predictions of each model of the ensemble, by repetition and fold.
    pub answers: Vec<((usize, usize), Answers)>,
    /// The report, with the means over the models.
    pub report: ClinicalReport,
}

/// The model of one fold.
struct FoldModel {
    place: (usize, usize),
    device: Device,
    trained: TrainedOmics,
    calibration: BTreeMap<String, SurvivalCalibration>,
    temperature: BTreeMap<String, f64>,
    /// Risks of the fold's held-out patients by task.
    reference: BTreeMap<String, Vec<f64>>,
}

/// Predicts for one patient from a bundle alone.
///
/// # Example
/// See the README of this crate.
pub struct OmicsPredictor {
    file: ModelFile,
    folds: Vec<FoldModel>,
    identity: ModelIdentity,
    phantom: bool,
}

impl OmicsPredictor {
    /// Opens a bundle that [`write_bundle`] wrote, for predictions on a device.
    ///
    /// # Errors
    /// A bundle of another system, or one whose files do not fit each other.
    pub fn open(bundle: &Bundle, device: &Device) -> Result<Self> {
        let bundle = bundle.clone().of_system(SYSTEM)?;
        let file: ModelFile = bundle.json("model.json")?;
        if file.folds.is_empty() {
            return Err(Error::input("model.json", "the model of a fold", "none"));
        }
        file.config.validate()?;
        let folds = file
            .folds
            .iter()
            .map(|place| fold_model(&bundle, &file, *place, device))
            .collect::<Result<_>>()?;
        Ok(OmicsPredictor { folds, identity: bundle.identity(), phantom: bundle.phantom(), file })
    }

    /// The tables and columns whose values are read, with the covariates under `patient`.
    pub fn columns(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let tables = self.file.columns.tables.iter();
        let tables = tables.map(|(name, all)| (name.as_str(), all.iter().map(String::as_str).collect()));
        let covariates = self.file.columns.covariates.iter().map(|c| c.name.as_str()).collect();
        std::iter::once(("patient", covariates)).chain(tables)
    }

    /// How well a task was learnt; `None` for one that was not scored.
    pub fn skill(&self, task: &str) -> Option<&TaskSkill> {
        self.file.skill.get(task)
    }

    /// Why nothing is predicted of a task; `None` where it was learnt.
    fn not_learnt(&self, task: &str) -> Option<String> {
        match self.skill(task) {
            Some(skill) => skill.not_learnt(),
            None => {
                Some("Not learnt: the study did not score it. There is no prediction for a patient.".into())
            }
        }
    }

    /// The first task that was learnt, whose prediction is explained.
    fn explained_task(&self) -> Option<&str> {
        self.file.tasks.iter().map(|(task, _)| task.as_str()).find(|task| self.not_learnt(task).is_none())
    }

    /// The prediction for a patient that no model was trained on: the mean over the models of all folds.
    ///
    /// # Errors
    /// [`Error::Argument`] for a table or a name that the model was not trained with; an error of the network.
    pub fn predict(&self, patient: &OmicsPatient) -> Result<OmicsPrediction> {
        self.predict_by(patient, &self.folds.iter().collect::<Vec<_>>(), false)
    }

    /// The prediction for a patient of the study itself, by the model of the repetition and fold that held the patient out.
    ///
    /// # Errors
    /// As [`OmicsPredictor::predict`], and [`Error::Argument`] for a fold that the bundle does not have.
    pub fn predict_held_out(&self, patient: &OmicsPatient, place: (usize, usize)) -> Result<OmicsPrediction> {
        let Some(fold) = self.folds.iter().find(|f| f.place == place) else {
            let expected = format!("one of {:?}", self.file.folds);
            return Err(Argument::new("OmicsPredictor", "fold", expected, format!("{place:?}")).into());
        };
        self.predict_by(patient, &[fold], true)
    }

    fn predict_by(
        &self,
        patient: &OmicsPatient,
        folds: &[&FoldModel],
        held_out: bool,
    ) -> Result<OmicsPrediction> {
        let rows = self.file.columns.rows(patient)?;
        let task = self.explained_task();
        let read = folds.iter().map(|fold| fold.read(&rows, task)).collect::<Result<Vec<_>>>()?;
        let report = self.report(patient, &rows, &read, held_out);
        report.validate()?;
        let answers = read.into_iter().map(|r| (r.fold.place, r.answers)).collect();
        Ok(OmicsPrediction { answers, report })
    }
}

/// What the model of one fold returns for a patient.
struct FoldReading<'a> {
    fold: &'a FoldModel,
    answers: Answers,
    /// Per modality of the network; empty for a patient without any.
    importance: Vec<f64>,
    /// Table, column, z-score and what the value adds to the explained task's output.
    attributions: Vec<(String, String, f64, f64)>,
}

impl FoldModel {
    fn read(&self, rows: &OmicsRows<'_>, task: Option<&str>) -> Result<FoldReading<'_>> {
        let source = self.trained.pipeline.source(rows, &self.device)?;
        let (mut attributions, mut importance) = (vec![], vec![]);
        if task.is_some() {
            importance = self.trained.importance(&source, &[0], task)?.concat();
        }
        if let (Some(_), Some(found)) = (task, self.trained.attributed(&source, &[0], task)?) {
            let names = found.layout.iter().flat_map(|(table, width)| {
                let features = self.trained.pipeline.features(table).iter().take(*width);
                features.map(move |f| (table.clone(), f.clone()))
            });
            let numbers = found.values[0].iter().zip(&found.shares[0]);
            attributions = names.zip(numbers).map(|((t, f), (z, share))| (t, f, *z, *share)).collect();
        }
        Ok(FoldReading {
            fold: self,
            answers: self.trained.answers(&source, &[0])?,
            importance,
            attributions,
        })
    }
}

fn fold_model(
    bundle: &Bundle,
    file: &ModelFile,
    place: (usize, usize),
    device: &Device,
) -> Result<FoldModel> {
    let folder = fold_folder(place);
    let FoldFile { pipeline, calibration, temperature } = bundle.json(&format!("{folder}/pipeline.json"))?;
    pipeline.check(file.columns.width(), &file.columns.tables, file.columns.images.len())?;
    if let Some((task, t)) = temperature.iter().find(|(_, t)| !(t.is_finite() && **t > 0.0)) {
        return Err(Error::input(format!("temperature of {task}"), "above 0", t));
    }
    let graphs = pipeline.graphs()?;
    let net = pipeline.net().clone();
    let mut models = vec![];
    for task in &net.tasks {
        let bytes = bundle.bytes(&format!("{folder}/{}.safetensors", task.name))?;
        let parameters = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)?;
        models.push(TaskModel::new(task.clone(), (&net, false), graphs.clone(), parameters, device)?);
    }
    Ok(FoldModel {
        place,
        device: device.clone(),
        trained: TrainedOmics { pipeline, models, batch: file.config.batch },
        calibration,
        temperature,
        reference: bundle.json(&format!("{folder}/reference.json"))?,
    })
}

use super::FhirPatient;
use crate::clinical_report::{ClinicalReport, Prediction};
use crate::error::{Error, Result};
use oncograph_core::{AtFile, write_file};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A text that a code may stand beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeableConcept {
    /// In words.
    pub text: String,
}

/// Another resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// For example `Patient/p1`.
    pub reference: String,
}

/// A remark for the reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// In words.
    pub text: String,
}

/// An amount in UCUM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantity {
    /// How much.
    pub value: f64,
    /// The unit in words.
    pub unit: String,
    /// `http://unitsofmeasure.org`.
    pub system: String,
    /// The unit in UCUM.
    pub code: String,
}

/// From when to when, counted from the occurrence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhenRange {
    /// The start.
    pub low: Quantity,
    /// The end.
    pub high: Quantity,
}

/// One outcome and its chance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RiskPrediction {
    /// The outcome.
    pub outcome: CodeableConcept,
    /// In \[0, 1\].
    pub probability_decimal: f64,
    /// When, where the outcome has a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_range: Option<WhenRange>,
}

/// A model's predictions for a patient, as a FHIR R4 resource of that name. Its status is `preliminary`: it is for research
/// only.
///
/// # Example
/// ```
/// use oncograph_deploy::fhir::{FhirPatient, RiskAssessment};
/// use oncograph_deploy::{ClinicalReport, ModelIdentity, Prediction, Probability};
///
/// let hash = format!("blake3:{}", "0".repeat(64));
/// let model = ModelIdentity { name: "OmicsNet".into(), version: "oncograph 0.1.0".into(), hash };
/// let events = vec![Probability { name: "neutropenia".into(), probability: 0.2 }];
/// let report = ClinicalReport::new("p1", model).prediction(Prediction::Events { task: "toxicity".into(), events });
/// let patient = FhirPatient { id: "p1".into(), ..Default::default() };
/// let assessment = RiskAssessment::new(&report, &patient, "2026-03-02T10:00:00Z")?;
/// assert_eq!(assessment.prediction[0].outcome.text, "toxicity: neutropenia");
/// assert_eq!(RiskAssessment::from_json(&assessment.to_json()?)?, assessment);
/// # Ok::<(), oncograph_deploy::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RiskAssessment {
    /// `RiskAssessment`.
    pub resource_type: String,
    /// `preliminary`.
    pub status: String,
    /// The model, its version and the hash of its parameters.
    pub method: CodeableConcept,
    /// The patient.
    pub subject: Reference,
    /// When it was made, in ISO 8601.
    pub occurrence_date_time: String,
    /// The resources that the values came from.
    pub basis: Vec<Reference>,
    /// The outcomes.
    pub prediction: Vec<RiskPrediction>,
    /// That it is for research only, and further remarks for the reader.
    pub note: Vec<Note>,
}

const DOCUMENT: &str = "RiskAssessment";

impl RiskAssessment {
    /// From a report and the patient that it is of. Survival becomes the chance of death within its years.
    ///
    /// # Errors
    /// [`Error::Document`] if the report is of another patient or has no probabilities, and as [`ClinicalReport::validate`].
    pub fn new(report: &ClinicalReport, patient: &FhirPatient, when: &str) -> Result<Self> {
        report.validate()?;
        if report.patient != patient.id {
            let detail =
                format!("the report is of {}, the bundle's patient is {}", report.patient, patient.id);
            return Err(Error::document(DOCUMENT, "subject", detail));
        }
        let prediction: Vec<RiskPrediction> = report.predictions.iter().flat_map(outcomes).collect();
        if prediction.is_empty() {
            return Err(Error::document(DOCUMENT, "prediction", "the report has no probabilities"));
        }
        let model = &report.model;
        let phantom = report.phantom.then(|| "PHANTOM DATA: the patient was generated.".to_owned());
        let texts = std::iter::once(report.notice.clone()).chain(phantom).chain(report.notes.iter().cloned());
        // A resource without an identifier cannot be referred to.
        let sources = patient.values.values().map(|v| v.source.clone());
        let mut basis: Vec<String> = sources.filter(|source| source.contains('/')).collect();
        basis.sort();
        basis.dedup();
        Ok(RiskAssessment {
            resource_type: DOCUMENT.into(),
            status: "preliminary".into(),
            method: CodeableConcept { text: format!("{} ({}, {})", model.name, model.version, model.hash) },
            subject: Reference { reference: format!("Patient/{}", patient.id) },
            occurrence_date_time: when.into(),
            basis: basis.into_iter().map(|reference| Reference { reference }).collect(),
            prediction,
            note: texts.map(|text| Note { text }).collect(),
        })
    }

    /// As JSON.
    ///
    /// # Errors
    /// [`Error::Document`] if a number has no JSON form.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::document(DOCUMENT, "JSON", e))?;
        Ok(text + "\n")
    }

    /// Reads what [`RiskAssessment::to_json`] wrote.
    ///
    /// # Errors
    /// [`Error::Document`] for other text, or a probability outside \[0, 1\].
    pub fn from_json(text: &str) -> Result<Self> {
        let read: Self = serde_json::from_str(text).map_err(|e| Error::document(DOCUMENT, "JSON", e))?;
        if read.resource_type != DOCUMENT {
            return Err(Error::document(DOCUMENT, "resourceType", format!("got {}", read.resource_type)));
        }
        if let Some(bad) = read.prediction.iter().find(|p| !(0.0..=1.0).contains(&p.probability_decimal)) {
            let detail = format!("expected a value in [0, 1], got {}", bad.probability_decimal);
            return Err(Error::document(DOCUMENT, format!("prediction.{}", bad.outcome.text), detail));
        }
        Ok(read)
    }

    /// Writes `RiskAssessment-ID.json` into a folder, whole or not at all; gives the file.
    ///
    /// # Errors
    /// As [`RiskAssessment::to_json`]; [`Error::Document`] for a patient whose identifier is no file name; [`Error::AtFile`].
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<PathBuf> {
        let id = self.subject.reference.trim_start_matches("Patient/");
        // FHIR's own rule for identifiers, which also keeps a path from leaving the folder.
        if id.is_empty()
            || !id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
            || id.contains("..")
        {
            return Err(Error::document(DOCUMENT, "subject", format!("{id:?} is no FHIR identifier")));
        }
        let path = folder.as_ref().join(format!("RiskAssessment-{id}.json"));
        write_file(&path, self.to_json()?.as_bytes())?;
        Ok(path)
    }
}

fn outcomes(prediction: &Prediction) -> Vec<RiskPrediction> {
    let years = |value: f64| Quantity {
        value,
        unit: "year".into(),
        system: "http://unitsofmeasure.org".into(),
        code: "a".into(),
    };
    let plain = |task: &str, name: &str, p: f64| RiskPrediction {
        outcome: CodeableConcept { text: format!("{task}: {name}") },
        probability_decimal: p,
        when_range: None,
    };
    match prediction {
        Prediction::Survival { task, survival, .. } => {
            let death = |s: &crate::SurvivalAt| RiskPrediction {
                when_range: Some(WhenRange { low: years(0.0), high: years(s.years) }),
                ..plain(task, "death", 1.0 - s.probability)
            };
            survival.iter().map(death).collect()
        }
        Prediction::Classes { task, classes: named } | Prediction::Events { task, events: named } => {
            named.iter().map(|n| plain(task, &n.name, n.probability)).collect()
        }
        // A resource has no place for a prediction that is not made.
        Prediction::NotLearnt { .. } => vec![],
    }
}

/// Appends a line to the audit log of a folder, `audit.jsonl`: who was predicted, when, by what and from which resources, never
/// the values themselves.
///
/// # Errors
/// [`Error::AtFile`] if the line cannot be written.
pub fn append_audit(folder: impl AsRef<Path>, assessment: &RiskAssessment) -> Result<()> {
    let path = folder.as_ref().join("audit.jsonl");
    let line = serde_json::json!({
        "when": assessment.occurrence_date_time,
        "subject": assessment.subject.reference,
        "method": assessment.method.text,
        "basis": assessment.basis.iter().map(|b| &b.reference).collect::<Vec<_>>(),
    });
    let write = || {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
        // One call, so that lines of two processes do not mix.
        file.write_all(format!("{line}\n").as_bytes())
    };
    Ok(write().map_err(|e| AtFile::new(&path, e).during("write"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::Measured;
    use crate::{ModelIdentity, Probability, SurvivalAt};

    fn report() -> ClinicalReport {
        let model = ModelIdentity {
            name: "OmicsNet".into(),
            version: "oncograph 0.1.0".into(),
            hash: format!("blake3:{}", "a".repeat(64)),
        };
        let survival = [(1.0, 0.9), (3.0, 0.6)];
        let survival =
            survival.map(|(years, probability)| SurvivalAt { years, probability, interval: None }).to_vec();
        let classes = [("complete", 0.25), ("none", 0.75)];
        let classes = classes.map(|(n, p)| Probability { name: n.into(), probability: p }).to_vec();
        ClinicalReport::new("p1", model)
            .phantom(true)
            .prediction(Prediction::Survival {
                task: "survival".into(),
                risk: 0.3,
                percentile: 0.6,
                survival,
            })
            .prediction(Prediction::Classes { task: "response".into(), classes })
    }

    fn patient() -> FhirPatient {
        let mut patient = FhirPatient { id: "p1".into(), ..Default::default() };
        for (feature, source) in [("albumin", "Observation/2"), ("haemoglobin", "Observation/1")] {
            patient.values.insert(
                feature.into(),
                Measured { value: 1.0, comparator: None, when: None, source: source.into() },
            );
        }
        patient
    }

    #[test]
    fn a_report_becomes_a_resource_and_comes_back_from_its_file() {
        let said = RiskAssessment::new(&report(), &patient(), "2026-03-02T10:00:00Z").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = said.write(folder.path()).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(RiskAssessment::from_json(&text).unwrap(), said);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["resourceType"], "RiskAssessment");
        assert_eq!(json["subject"]["reference"], "Patient/p1");
        assert_eq!(json["basis"][0]["reference"], "Observation/1");
        let death = &json["prediction"][1];
        assert_eq!(death["outcome"]["text"], "survival: death");
        approx_eq(death["probabilityDecimal"].as_f64(), 0.4);
        assert_eq!(death["whenRange"]["high"]["value"], 3.0);
        assert_eq!(json["prediction"][2].get("whenRange"), None);
        assert!(text.contains("PHANTOM") && json["note"].as_array().is_some_and(|n| n.len() == 2));
        append_audit(folder.path(), &said).unwrap();
        append_audit(folder.path(), &said).unwrap();
        let log = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
        assert_eq!(log.lines().count(), 2);
        assert!(log.contains("Observation/2") && !log.contains("albumin"));
    }

    fn approx_eq(got: Option<f64>, expected: f64) {
        assert!(got.is_some_and(|v| (v - expected).abs() < 1e-12), "{got:?}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let other = FhirPatient { id: "p2".into(), ..Default::default() };
        let error = RiskAssessment::new(&report(), &other, "").unwrap_err().to_string();
        assert!(error.contains("of p1") && error.contains("p2"), "{error}");
        let silent = ClinicalReport { predictions: vec![], ..report() };
        assert!(RiskAssessment::new(&silent, &patient(), "").is_err());
        let mut outside = RiskAssessment::new(&report(), &patient(), "").unwrap();
        outside.subject.reference = "Patient/../../etc".into();
        assert!(outside.write(tempfile::tempdir().unwrap().path()).is_err());
        outside.prediction[0].probability_decimal = 1.5;
        assert!(RiskAssessment::from_json(&outside.to_json().unwrap()).is_err());
        assert!(RiskAssessment::from_json("{}").is_err());
    }
}

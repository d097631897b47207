use crate::error::{Error, Result};
use oncograph_core::write_file;
use oncograph_report::RESEARCH_ONLY;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The name and version of the format of a [`ClinicalReport`]; `schema/clinical_report.schema.json` describes it.
pub const CLINICAL_REPORT_FORMAT: &str = "oncograph-clinical-report/1";

/// The model behind a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelIdentity {
    /// Its name.
    pub name: String,
    /// The version of the code that trained it.
    pub version: String,
    /// `blake3:` and the hash of its parameters, 64 hexadecimal digits.
    pub hash: String,
}

/// Whether a part of the patient's data is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Completeness {
    /// The table.
    pub table: String,
    /// Columns that the model reads.
    pub columns: usize,
    /// Of these, those that the patient has a value of; the others were imputed, or, if there is none, left out.
    pub observed: usize,
}

/// The chance of one outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probability {
    /// The class or event.
    pub name: String,
    /// In [0, 1].
    pub probability: f64,
}

/// The chance to be without the event, for survival: to be alive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SurvivalAt {
    /// Years from the start.
    pub years: f64,
    /// In [0, 1].
    pub probability: f64,
    /// The ends of an interval around it; `None` where the model gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
}

/// What the model predicts of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Prediction {
    /// Survival.
    Survival {
        /// The task.
        task: String,
        /// Larger is worse; a log hazard ratio, or minus a time, as the model was trained.
        risk: f64,
        /// The share of the reference patients with a smaller risk, in [0, 1].
        percentile: f64,
        /// The chance to be without the event after some years; empty where the model gives none.
        survival: Vec<SurvivalAt>,
    },
    /// One of several classes; the probabilities sum to 1.
    Classes {
        /// The task.
        task: String,
        /// The classes.
        classes: Vec<Probability>,
    },
    /// Events that may come together.
    Events {
        /// The task.
        task: String,
        /// The events.
        events: Vec<Probability>,
    },
    /// Nothing, as the task was not learnt: a number would be noise.
    NotLearnt {
        /// The task.
        task: String,
        /// Why, in a sentence.
        reason: String,
    },
}

impl Prediction {
    /// The task.
    pub fn task(&self) -> &str {
        match self {
            Prediction::Survival { task, .. }
            | Prediction::Classes { task, .. }
            | Prediction::Events { task, .. }
            | Prediction::NotLearnt { task, .. } => task,
        }
    }

    /// How undecided the model is among several classes: the entropy of their probabilities as a share of the largest possible, 0
    /// where one class is certain, 1 where all are equally likely; `None` of anything else.
    pub fn entropy(&self) -> Option<f64> {
        let Prediction::Classes { classes, .. } = self else { return None };
        let terms = classes.iter().map(|c| c.probability).filter(|p| *p > 0.0).map(|p| -p * p.ln());
        (classes.len() > 1).then(|| terms.sum::<f64>() / (classes.len() as f64).ln())
    }
}

/// How much the network looked at a modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModalityShare {
    /// The modality.
    pub name: String,
    /// Its share of attention; `None` where the patient lacks it. The shares sum to 1.
    pub share: Option<f64>,
}

/// Which way a feature moves the explained output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Up, against a patient with average values.
    Raises,
    /// Down.
    Lowers,
}

/// One feature that the prediction rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureShare {
    /// The table that it is of.
    pub table: String,
    /// Its name.
    pub name: String,
    /// The patient's value in standard deviations of the training patients.
    pub z_score: f64,
    /// How much of the output it accounts for, in the output's unit.
    pub attribution: f64,
    /// The sign of `attribution` in words.
    pub direction: Direction,
}

/// A model's predictions for one patient, to be read by people (Markdown) and programs (JSON). For research only.
///
/// # Example
/// ```
/// use oncograph_deploy::{ClinicalReport, ModelIdentity, Prediction, Probability};
///
/// let model = ModelIdentity {
///     name: "OmicsNet".into(),
///     version: "oncograph 0.1.0".into(),
///     hash: format!("blake3:{}", "0".repeat(64)),
/// };
/// let chances = [("none", 0.2), ("complete", 0.8)];
/// let classes = chances.map(|(n, p)| Probability { name: n.into(), probability: p }).to_vec();
/// let report = ClinicalReport::new("PHANTOM-0001", model)
///     .phantom(true)
///     .prediction(Prediction::Classes { task: "response".into(), classes });
/// let text = report.to_json()?;
/// assert_eq!(ClinicalReport::from_json(&text)?, report);
/// assert!(report.to_markdown().contains("PHANTOM DATA"));
/// # Ok::<(), oncograph_deploy::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ClinicalReport {
    /// [`CLINICAL_REPORT_FORMAT`].
    pub format: String,
    /// That this is for research only; always there.
    pub notice: String,
    /// Whether the patient was generated.
    pub phantom: bool,
    /// The patient's identifier.
    pub patient: String,
    /// The model behind the report.
    pub model: ModelIdentity,
    /// What of the patient's data is there.
    pub data: Vec<Completeness>,
    /// The predictions.
    pub predictions: Vec<Prediction>,
    /// How much the network looked at each modality.
    pub modalities: Vec<ModalityShare>,
    /// What `features` explain, for example `survival: log risk`.
    pub explained: String,
    /// The features that the prediction rests on, strongest first.
    pub features: Vec<FeatureShare>,
    /// Further remarks for the reader.
    pub notes: Vec<String>,
}

impl ClinicalReport {
    /// An empty report.
    pub fn new(patient: impl Into<String>, model: ModelIdentity) -> Self {
        ClinicalReport {
            format: CLINICAL_REPORT_FORMAT.into(),
            notice: RESEARCH_ONLY.into(),
            phantom: false,
            patient: patient.into(),
            model,
            data: vec![],
            predictions: vec![],
            modalities: vec![],
            explained: String::new(),
            features: vec![],
            notes: vec![],
        }
    }

    /// Sets whether the patient was generated.
    pub fn phantom(mut self, phantom: bool) -> Self {
        self.phantom = phantom;
        self
    }

    /// Adds what is there of a table.
    pub fn data(mut self, table: impl Into<String>, columns: usize, observed: usize) -> Self {
        self.data.push(Completeness { table: table.into(), columns, observed });
        self
    }

    /// Adds a prediction.
    pub fn prediction(mut self, prediction: Prediction) -> Self {
        self.predictions.push(prediction);
        self
    }

    /// Adds the share of a modality; `None` where the patient lacks it.
    pub fn modality(mut self, name: impl Into<String>, share: Option<f64>) -> Self {
        self.modalities.push(ModalityShare { name: name.into(), share });
        self
    }

    /// Sets what the features explain, and the features: table, name, z-score and attribution. They are put in the order
    /// of their magnitude.
    pub fn features(
        mut self,
        explained: impl Into<String>,
        features: Vec<(String, String, f64, f64)>,
    ) -> Self {
        self.explained = explained.into();
        let share = |(table, name, z_score, attribution): (String, String, f64, f64)| {
            let direction = if attribution < 0.0 { Direction::Lowers } else { Direction::Raises };
            FeatureShare { table, name, z_score, attribution, direction }
        };
        self.features = features.into_iter().map(share).collect();
        self.features.sort_by(|a, b| {
            b.attribution.abs().total_cmp(&a.attribution.abs()).then_with(|| a.name.cmp(&b.name))
        });
        self
    }

    /// Adds a note.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Checks that every required field is filled and that all numbers are in their ranges.
    ///
    /// # Errors
    /// [`Error::Document`] with the first field that is not.
    pub fn validate(&self) -> Result<()> {
        let bad = |field: String, detail: String| Err(Error::document("clinical report", field, detail));
        if self.format != CLINICAL_REPORT_FORMAT {
            return bad("format".into(), format!("expected {CLINICAL_REPORT_FORMAT}, got {}", self.format));
        }
        if self.notice != RESEARCH_ONLY {
            return bad("notice".into(), "the notice that this is for research only is missing".into());
        }
        if self.patient.trim().is_empty() {
            return bad("patient".into(), "expected an identifier, got nothing".into());
        }
        let digits = self.model.hash.strip_prefix("blake3:").unwrap_or_default();
        if digits.len() != 64 || !digits.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
            let detail = format!("expected blake3: and 64 hexadecimal digits, got {}", self.model.hash);
            return bad("model.hash".into(), detail);
        }
        if let Some(d) = self.data.iter().find(|d| d.observed > d.columns) {
            return bad(format!("data.{}", d.table), format!("{} of {} columns", d.observed, d.columns));
        }
        self.predictions.iter().try_for_each(check_prediction)?;
        let shares: Vec<f64> = self.modalities.iter().filter_map(|m| m.share).collect();
        if !shares.is_empty() {
            check_shares("modalities", &shares)?;
        }
        for f in &self.features {
            let sign = if f.attribution < 0.0 { Direction::Lowers } else { Direction::Raises };
            if !f.attribution.is_finite() || !f.z_score.is_finite() || f.direction != sign {
                let detail = format!("{} with {:?}", f.attribution, f.direction);
                return bad(format!("features.{}", f.name), detail);
            }
        }
        Ok(())
    }

    /// The report as JSON.
    ///
    /// # Errors
    /// As [`ClinicalReport::validate`].
    pub fn to_json(&self) -> Result<String> {
        self.validate()?;
        let text = serde_json::to_string_pretty(self);
        text.map(|t| t + "\n").map_err(|e| Error::document("clinical report", "JSON", e))
    }

    /// Reads what [`ClinicalReport::to_json`] wrote.
    ///
    /// # Errors
    /// [`Error::Document`] for text that is no such report, an unknown or a missing field, and as
    /// [`ClinicalReport::validate`].
    pub fn from_json(text: &str) -> Result<Self> {
        let report: Self =
            serde_json::from_str(text).map_err(|e| Error::document("clinical report", "JSON", e))?;
        report.validate()?;
        Ok(report)
    }

    /// A name for the patient's files, which no other patient has: the identifier where it is a plain name of letters, digits, `-`,
    /// `_` and dots within it, else what of it is plain, `~` and a hash. No identifier leads out of a folder.
    ///
    /// # Example
    /// ```
    /// # use oncograph_deploy::{ClinicalReport, ModelIdentity};
    /// # let model = || ModelIdentity { name: String::new(), version: String::new(), hash: String::new() };
    /// let name = |id: &str| ClinicalReport::new(id, model()).file_name();
    /// assert_eq!(name("P-1"), "P-1");
    /// assert!(name("MRN/123").starts_with("MRN_123~") && name("MRN/123") != name("MRN:123"));
    /// assert!(name("../../X").starts_with("_.._X~"));
    /// ```
    pub fn file_name(&self) -> String {
        const LONGEST: usize = 80;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let id = &self.patient;
        if id.len() <= LONGEST && !id.is_empty() && !id.starts_with('.') && id.chars().all(plain) {
            return id.clone();
        }
        let kept: String = id.chars().map(|c| if plain(c) { c } else { '_' }).take(LONGEST).collect();
        let hash = blake3::hash(id.as_bytes()).to_hex();
        format!("{}~{}", kept.trim_start_matches('.'), &hash[..16])
    }

    /// Writes the report under [`ClinicalReport::file_name`], and returns where the Markdown is.
    ///
    /// # Errors
    /// As [`ClinicalReport::write`].
    pub fn write_named(&self, folder: impl AsRef<Path>) -> Result<PathBuf> {
        let name = self.file_name();
        self.write(folder.as_ref(), &name)?;
        Ok(folder.as_ref().join(format!("{name}.md")))
    }

    /// Writes `NAME.json` and `NAME.md` into a folder.
    ///
    /// # Errors
    /// As [`ClinicalReport::validate`], and [`Error::AtFile`].
    pub fn write(&self, folder: impl AsRef<Path>, name: &str) -> Result<()> {
        let folder = folder.as_ref();
        write_file(folder.join(format!("{name}.json")), self.to_json()?.as_bytes())?;
        Ok(write_file(folder.join(format!("{name}.md")), self.to_markdown().as_bytes())?)
    }
}

fn check_prediction(prediction: &Prediction) -> Result<()> {
    match prediction {
        Prediction::Survival { task, risk, percentile, survival } => {
            let around = |s: &SurvivalAt| {
                s.interval.is_none_or(|[low, high]| low <= s.probability && s.probability <= high)
            };
            let falls =
                survival.windows(2).all(|w| w[0].years < w[1].years && w[0].probability >= w[1].probability);
            let falls = falls && survival.iter().all(around);
            let ends = survival.iter().flat_map(|s| s.interval.into_iter().flatten());
            let shares = survival.iter().map(|s| s.probability).chain([*percentile]).chain(ends);
            if !risk.is_finite() || !falls || !shares.into_iter().all(|p| (0.0..=1.0).contains(&p)) {
                let detail = "expected a finite risk, shares in [0, 1] and a survival that falls with the years and \
                              lies within its intervals";
                return Err(Error::document("clinical report", format!("predictions.{task}"), detail));
            }
            Ok(())
        }
        Prediction::Classes { task, classes } => {
            let all: Vec<f64> = classes.iter().map(|c| c.probability).collect();
            check_shares(&format!("predictions.{task}"), &all)
        }
        Prediction::NotLearnt { task, reason } => match reason.trim().is_empty() {
            false => Ok(()),
            true => {
                Err(Error::document("clinical report", format!("predictions.{task}"), "expected a reason"))
            }
        },
        Prediction::Events { task, events } => {
            match events.iter().find(|e| !(0.0..=1.0).contains(&e.probability)) {
                None => Ok(()),
                Some(e) => {
                    let detail = format!("{}: expected a value in [0, 1], got {}", e.name, e.probability);
                    Err(Error::document("clinical report", format!("predictions.{task}"), detail))
                }
            }
        }
    }
}

fn check_shares(field: &str, shares: &[f64]) -> Result<()> {
    let sum: f64 = shares.iter().sum();
    if shares.iter().all(|p| (0.0..=1.0 + 1e-6).contains(p)) && (sum - 1.0).abs() < 1e-4 {
        return Ok(());
    }
    Err(Error::document("clinical report", field, format!("expected shares that sum to 1, got {shares:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn report() -> ClinicalReport {
        let model = ModelIdentity {
            name: "net".into(),
            version: "oncograph 0.1.0".into(),
            hash: format!("blake3:{}", "0a".repeat(32)),
        };
        let chance = |n: &str, p: f64| Probability { name: n.into(), probability: p };
        let survival = vec![
            SurvivalAt { years: 1.0, probability: 0.9, interval: Some([0.75, 0.95]) },
            SurvivalAt { years: 3.0, probability: 0.1 + 0.2, interval: None },
        ];
        ClinicalReport::new("P-1", model)
            .phantom(true)
            .data("gene", 60, 60)
            .data("protein", 40, 0)
            .prediction(Prediction::Survival {
                task: "survival".into(),
                risk: -0.7,
                percentile: 0.25,
                survival,
            })
            .prediction(Prediction::Classes {
                task: "response".into(),
                classes: vec![chance("none", 0.25), chance("partial", 0.5), chance("complete", 0.25)],
            })
            .prediction(Prediction::Events {
                task: "toxicity".into(),
                events: vec![chance("event A", 0.9), chance("event B", 0.8)],
            })
            .prediction(Prediction::NotLearnt {
                task: "subtype".into(),
                reason: "the interval contains chance".into(),
            })
            .modality("genomics", Some(1.0))
            .modality("proteomics", None)
            .features(
                "survival: log risk",
                vec![("gene".into(), "G1".into(), 1.5, 0.01), ("gene".into(), "G2".into(), -0.5, -0.2)],
            )
            .note("a | b <c>")
    }

    #[test]
    fn a_report_comes_back_and_fits_its_schema() {
        let report = report();
        let text = report.to_json().unwrap();
        assert_eq!(ClinicalReport::from_json(&text).unwrap(), report);
        let dir = tempfile::tempdir().unwrap();
        report.write(dir.path(), "P-1").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("P-1.json")).unwrap(), text);
        // The schema has exactly the fields of the report: it refuses one that is dropped, added or of another type.
        let mut compiler = boon::Compiler::new();
        let schema: Value =
            serde_json::from_str(include_str!("../schema/clinical_report.schema.json")).unwrap();
        compiler.add_resource("s.json", schema).unwrap();
        let mut schemas = boon::Schemas::new();
        let index = compiler.compile("s.json", &mut schemas).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        schemas.validate(&value, index).unwrap();
        let refused = |value: &Value| {
            let ours = ClinicalReport::from_json(&value.to_string()).is_err();
            assert!(schemas.validate(value, index).is_err() && ours, "{value}");
        };
        for pointer in [
            "",
            "/model",
            "/data/0",
            "/predictions/0",
            "/predictions/1",
            "/predictions/3",
            "/modalities/0",
            "/features/0",
        ] {
            let keys: Vec<String> =
                value.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect();
            for key in keys.iter().map(String::as_str).chain(["surplus"]) {
                let mut other = value.clone();
                let object = other.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
                if object.remove(key).is_none() {
                    object.insert(key.into(), json!(1));
                }
                // An absent share is read as null, which means the same.
                if key != "share" {
                    refused(&other);
                }
            }
        }
        for (pointer, bad) in [
            ("/notice", json!("safe")),
            ("/format", json!("oncograph-clinical-report/2")),
            ("/phantom", json!("yes")),
            ("/model/hash", json!("blake3:12")),
            ("/predictions/0/percentile", json!(2.0)),
            ("/predictions/2/events/0/probability", json!(-0.1)),
            ("/predictions/0/survival/0/interval", json!([0.95])),
            ("/predictions/0/survival/0/interval", json!([0.5, 1.5])),
            ("/features/0/direction", json!("up")),
        ] {
            let mut other = value.clone();
            *other.pointer_mut(pointer).unwrap() = bad;
            refused(&other);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let says = |change: &dyn Fn(&mut ClinicalReport)| {
            let mut report = report();
            change(&mut report);
            report.to_json().unwrap_err().to_string()
        };
        let told = says(&|r| r.features[0].direction = Direction::Raises);
        assert_eq!(told, "clinical report: features.G2: -0.2 with Raises");
        let told = says(&|r| r.modalities[0].share = Some(0.5));
        assert_eq!(told, "clinical report: modalities: expected shares that sum to 1, got [0.5]");
        assert!(says(&|r| r.data[1].observed = 41).contains("data.protein: 41 of 40 columns"));
        assert!(says(&|r| r.patient.clear()).contains("patient: expected an identifier"));
        let at = |years, probability| SurvivalAt { years, probability, interval: None };
        let up = vec![at(1.0, 0.5), at(2.0, 0.6)];
        let told = says(&|r| {
            let (task, survival) = ("survival".into(), up.clone());
            r.predictions[0] = Prediction::Survival { task, risk: 0.0, percentile: 0.5, survival };
        });
        assert!(told.contains("a survival that falls"), "{told}");
        let outside = vec![SurvivalAt { interval: Some([0.6, 0.7]), ..at(1.0, 0.5) }];
        let told = says(&|r| {
            let (task, survival) = ("survival".into(), outside.clone());
            r.predictions[0] = Prediction::Survival { task, risk: 0.0, percentile: 0.5, survival };
        });
        assert!(told.contains("lies within its intervals"), "{told}");
    }

    #[test]
    fn identifiers_are_no_paths_and_no_two_have_one_file() {
        let name = |id: &str| ClinicalReport::new(id, report().model).file_name();
        let ids = [
            "MRN/123",
            "MRN_123",
            "MRN:123",
            "MRN 123",
            "../../../X",
            "..",
            ".",
            "X",
            "a/../b",
            "é",
            "C:\\X",
        ];
        let long = ["x".repeat(400), "x".repeat(401)];
        let names: std::collections::BTreeSet<String> =
            ids.iter().copied().chain(long.iter().map(String::as_str)).map(name).collect();
        assert_eq!(names.len(), ids.len() + 2, "{names:?}");
        for name in &names {
            let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
            assert!(!name.is_empty() && !name.starts_with('.') && name.len() < 120 && name.chars().all(fine));
        }
    }

    #[test]
    fn entropy_is_a_share_of_the_largest() {
        let of = |all: &[f64]| {
            let classes = all.iter().map(|p| Probability { name: "x".into(), probability: *p }).collect();
            Prediction::Classes { task: "t".into(), classes }.entropy().unwrap()
        };
        assert!((of(&[0.25; 4]) - 1.0).abs() < 1e-12 && of(&[1.0, 0.0]) == 0.0);
        assert!((of(&[0.9, 0.1]) - 0.468_995_593_589_281).abs() < 1e-12);
        assert_eq!(report().predictions[0].entropy(), None);
    }

    #[test]
    fn the_text_says_what_matters() {
        let text = report().to_markdown();
        for part in [
            "PHANTOM DATA",
            RESEARCH_ONLY,
            &"0a".repeat(32),
            "larger than that of 25 %",
            "not there",
            "lowers",
            "event B",
            "0.750 to 0.950",
            "the interval contains chance",
            "Entropy 0.95",
            r"a \| b \<c\>",
        ] {
            assert!(text.contains(part), "{text} lacks {part}");
        }
        assert!(!report().phantom(false).to_markdown().contains("PHANTOM"));
        assert!(text.find("G2").unwrap() < text.find("G1").unwrap(), "the strongest comes first");
    }
}

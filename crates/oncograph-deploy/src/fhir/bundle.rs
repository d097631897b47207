use super::units::convert;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a code means to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coded {
    /// The code system, `http://loinc.org` for observations.
    pub system: String,
    /// The code.
    pub code: String,
    /// The feature that it is the value of.
    pub feature: String,
    /// The unit of that feature in UCUM; `None` for what has none: a condition or a medication, which is 1 where it is there.
    #[serde(default)]
    pub unit: Option<String>,
}

/// The codes that a model reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CodeMap(pub Vec<Coded>);

impl CodeMap {
    /// Reads a list of [`Coded`] in JSON.
    ///
    /// # Errors
    /// [`Error::Document`] for other text, or a code with two meanings.
    pub fn from_json(text: &str) -> Result<Self> {
        let map: Self = serde_json::from_str(text).map_err(|e| Error::document("code map", "JSON", e))?;
        for (i, a) in map.0.iter().enumerate() {
            if map.0[..i].iter().any(|b| a.system == b.system && a.code == b.code) {
                return Err(Error::document(
                    "code map",
                    format!("{}|{}", a.system, a.code),
                    "stands there twice",
                ));
            }
        }
        Ok(map)
    }

    /// The first of some codings that is known.
    fn of(&self, codings: &[(String, String)]) -> Option<&Coded> {
        codings
            .iter()
            .find_map(|(system, code)| self.0.iter().find(|c| c.system == *system && c.code == *code))
    }
}

/// The value of a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// In the unit of the [`CodeMap`].
    pub value: f64,
    /// When it was taken, as recorded in the resource.
    pub when: Option<String>,
    /// The resource, for example `Observation/7`.
    pub source: String,
}

/// A value whose unit was another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Converted {
    /// The resource.
    pub source: String,
    /// The unit there.
    pub from: String,
    /// The unit of the feature.
    pub to: String,
}

/// What of a bundle reaches no feature, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The resource.
    pub source: String,
    /// Its codes, `system|code`.
    pub codes: Vec<String>,
    /// Why.
    pub reason: String,
}

/// A patient of a bundle.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FhirPatient {
    /// The identifier of the `Patient` resource.
    pub id: String,
    /// Date of birth, as it stands there.
    pub birth_date: Option<String>,
    /// Administrative gender: male, female, other or unknown.
    pub gender: Option<String>,
    /// The latest value of each feature.
    pub values: BTreeMap<String, Measured>,
    /// Values that were converted.
    pub converted: Vec<Converted>,
    /// What was not used.
    pub left_out: Vec<LeftOut>,
}

const BUNDLE: &str = "FHIR bundle";

/// The patients of a bundle in R4 JSON with the values of mapped observations, conditions and medications.
///
/// Of several observations of a feature the latest counts; those that are preliminary, cancelled or entered in error do not, nor
/// do conditions that are refuted, inactive or entered in error. What is not mapped, cannot be converted or has no number is
/// listed in [`FhirPatient::left_out`]. Other resources are passed over.
///
/// # Errors
/// [`Error::Document`] names the entry that is no resource, has no identifier or belongs to a patient who is not in the bundle,
/// two patients with one identifier, or a bundle without patients.
///
/// # Example
/// ```
/// use oncograph_deploy::fhir::{CodeMap, read_bundle};
///
/// let map = r#"[{"system": "http://loinc.org", "code": "1751-7", "feature": "albumin", "unit": "g/L"}]"#;
/// let bundle = r#"{"resourceType": "Bundle", "type": "collection", "entry": [
///     {"resource": {"resourceType": "Patient", "id": "p1", "gender": "female"}},
///     {"resource": {"resourceType": "Observation", "id": "o1", "status": "final", "subject": {"reference": "Patient/p1"},
///       "code": {"coding": [{"system": "http://loinc.org", "code": "1751-7"}]},
///       "valueQuantity": {"value": 4.1, "system": "http://unitsofmeasure.org", "code": "g/dL"}}}]}"#;
/// let patients = read_bundle(bundle, &CodeMap::from_json(map)?)?;
/// assert_eq!(patients[0].values["albumin"].value, 41.0);
/// assert_eq!(patients[0].converted.len(), 1);
/// # Ok::<(), oncograph_deploy::Error>(())
/// ```
pub fn read_bundle(text: &str, map: &CodeMap) -> Result<Vec<FhirPatient>> {
    let bundle: Value = serde_json::from_str(text).map_err(|e| Error::document(BUNDLE, "JSON", e))?;
    if bundle["resourceType"] != "Bundle" {
        let got = format!("expected Bundle, got {}", bundle["resourceType"]);
        return Err(Error::document(BUNDLE, "resourceType", got));
    }
    let empty = vec![];
    let entries = bundle["entry"].as_array().unwrap_or(&empty);
    let mut patients: Vec<FhirPatient> = vec![];
    for (i, entry) in entries.iter().enumerate() {
        let resource = Resource::of(entry, i)?;
        if resource.kind == "Patient" {
            if patients.iter().any(|p| p.id == resource.id) {
                return Err(Error::document(BUNDLE, resource.source(), "stands there twice"));
            }
            let text = |field: &str| resource.body[field].as_str().map(str::to_owned);
            let (birth_date, gender) = (text("birthDate"), text("gender"));
            patients.push(FhirPatient { id: resource.id.into(), birth_date, gender, ..Default::default() });
        }
    }
    if patients.is_empty() {
        return Err(Error::document(BUNDLE, "entry", "there is no Patient"));
    }
    for (i, entry) in entries.iter().enumerate() {
        let resource = Resource::of(entry, i)?;
        if matches!(resource.kind, "Observation" | "Condition" | "MedicationStatement") {
            let subject = resource.body["subject"]["reference"].as_str().unwrap_or_default();
            let Some(patient) = patients.iter_mut().find(|p| refers_to(subject, &p.id)) else {
                let detail = format!("its subject {subject:?} is no patient of the bundle");
                return Err(Error::document(BUNDLE, resource.source(), detail));
            };
            patient.take(&resource, map);
        }
    }
    Ok(patients)
}

/// `Patient/ID`, with or without what stands before it.
fn refers_to(reference: &str, id: &str) -> bool {
    let mut parts = reference.rsplit('/');
    parts.next() == Some(id) && parts.next() == Some("Patient")
}

struct Resource<'a> {
    kind: &'a str,
    id: &'a str,
    body: &'a Value,
}

impl<'a> Resource<'a> {
    fn of(entry: &'a Value, number: usize) -> Result<Self> {
        let body = &entry["resource"];
        let text = |field: &str| {
            let bad =
                || Error::document(BUNDLE, format!("entry[{number}].resource.{field}"), "expected a text");
            body[field].as_str().ok_or_else(bad)
        };
        Ok(Resource { kind: text("resourceType")?, id: text("id")?, body })
    }

    fn source(&self) -> String {
        format!("{}/{}", self.kind, self.id)
    }

    fn codings(&self) -> Vec<(String, String)> {
        let concept = if self.kind == "MedicationStatement" { "medicationCodeableConcept" } else { "code" };
        let codings = self.body[concept]["coding"].as_array().map_or(&[][..], Vec::as_slice);
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        codings.iter().map(|c| (text(&c["system"]), text(&c["code"]))).collect()
    }

    /// Why the resource has no usable value, if so.
    fn void(&self) -> Option<String> {
        let code = |field: &str| self.body[field]["coding"][0]["code"].as_str().unwrap_or_default();
        let status = self.body["status"].as_str().unwrap_or_default();
        let (field, value, good): (_, _, &[&str]) = match self.kind {
            "Observation" => ("status", status, &["final", "amended", "corrected"]),
            "MedicationStatement" => ("status", status, &["active", "completed", "intended", "on-hold"]),
            _ => match code("verificationStatus") {
                bad @ ("refuted" | "entered-in-error") => ("verificationStatus", bad, &[]),
                _ => ("clinicalStatus", code("clinicalStatus"), &["active", "recurrence", "relapse"]),
            },
        };
        (!good.contains(&value)).then(|| format!("{field} is {value:?}"))
    }

    fn when(&self) -> Option<String> {
        let fields = [
            "effectiveDateTime",
            "effectiveInstant",
            "issued",
            "onsetDateTime",
            "recordedDate",
            "dateAsserted",
        ];
        let period = self.body["effectivePeriod"]["start"].as_str();
        fields.iter().find_map(|f| self.body[*f].as_str()).or(period).map(str::to_owned)
    }
}

impl FhirPatient {
    fn take(&mut self, resource: &Resource, map: &CodeMap) {
        let codings = resource.codings();
        let left_out = |reason: String| {
            let codes = codings.iter().map(|(s, c)| format!("{s}|{c}")).collect();
            LeftOut { source: resource.source(), codes, reason }
        };
        let Some(meaning) = map.of(&codings) else {
            self.left_out.push(left_out("no code of it is mapped".into()));
            return;
        };
        if let Some(reason) = resource.void() {
            self.left_out.push(left_out(reason));
            return;
        }
        let source = resource.source();
        let value = match &meaning.unit {
            None => 1.0,
            Some(unit) => {
                let quantity = &resource.body["valueQuantity"];
                let Some(number) = quantity["value"].as_f64() else {
                    self.left_out.push(left_out("it has no valueQuantity with a number".into()));
                    return;
                };
                let given = quantity["code"].as_str().or(quantity["unit"].as_str()).unwrap_or_default();
                let Some(value) = convert(number, given, unit) else {
                    self.left_out.push(left_out(format!("{given:?} cannot be converted to {unit:?}")));
                    return;
                };
                if given != unit {
                    self.converted.push(Converted {
                        source: source.clone(),
                        from: given.into(),
                        to: unit.clone(),
                    });
                }
                value
            }
        };
        let new = Measured { value, when: resource.when(), source };
        match self.values.get(&meaning.feature) {
            // ISO dates sort as text; what has none is older than what has one.
            Some(old) if old.when >= new.when => {
                let reason = format!("{} is of the same date or later", old.source);
                self.left_out.push(left_out(reason));
            }
            _ => {
                if let Some(old) = self.values.insert(meaning.feature.clone(), new) {
                    let reason = format!("{} is later", resource.source());
                    self.left_out.push(LeftOut { source: old.source, codes: vec![], reason });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map() -> CodeMap {
        let loinc = |code: &str, feature: &str, unit: &str| Coded {
            system: "http://loinc.org".into(),
            code: code.into(),
            feature: feature.into(),
            unit: Some(unit.into()),
        };
        let diabetes = Coded {
            system: "http://snomed.info/sct".into(),
            code: "44054006".into(),
            feature: "diabetes".into(),
            unit: None,
        };
        CodeMap(vec![loinc("1751-7", "albumin", "g/L"), loinc("718-7", "haemoglobin", "g/L"), diabetes])
    }

    fn observation(id: &str, code: &str, value: f64, unit: &str, when: &str, status: &str) -> Value {
        json!({"resource": {
            "resourceType": "Observation", "id": id, "status": status,
            "subject": {"reference": "https://ehr.example/fhir/Patient/p1"}, "effectiveDateTime": when,
            "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "valueQuantity": {"value": value, "code": unit},
        }})
    }

    fn bundle(mut entries: Vec<Value>) -> String {
        let patient = json!({"resource": {"resourceType": "Patient", "id": "p1", "gender": "male",
            "birthDate": "1960-02-03"}});
        entries.push(patient);
        json!({"resourceType": "Bundle", "type": "collection", "entry": entries}).to_string()
    }

    #[test]
    fn the_latest_final_value_in_the_right_unit_counts() {
        let condition = |id: &str, status: &str| {
            json!({"resource": {
                "resourceType": "Condition", "id": id, "subject": {"reference": "Patient/p1"},
                "clinicalStatus": {"coding": [{"code": status}]},
                "code": {"coding": [{"system": "http://snomed.info/sct", "code": "44054006"}]},
            }})
        };
        let text = bundle(vec![
            observation("1", "1751-7", 3.0, "g/dL", "2026-01-02", "final"),
            observation("2", "1751-7", 4.1, "g/dL", "2026-03-02", "amended"),
            observation("3", "1751-7", 9.9, "g/dL", "2026-04-02", "entered-in-error"),
            observation("4", "718-7", 8.1, "mmol/L", "2026-01-02", "final"),
            observation("5", "9999-9", 1.0, "1", "2026-01-02", "final"),
            observation("6", "1751-7", 35.0, "g/L", "2026-02-02", "final"),
            condition("7", "resolved"),
            condition("8", "active"),
        ]);
        let patient = read_bundle(&text, &map()).unwrap().remove(0);
        assert_eq!(patient.birth_date.as_deref(), Some("1960-02-03"));
        let albumin = &patient.values["albumin"];
        assert_eq!((albumin.value, albumin.source.as_str()), (41.0, "Observation/2"));
        assert_eq!(patient.values["diabetes"].value, 1.0);
        assert_eq!(patient.values.len(), 2);
        let why: BTreeMap<&str, &str> =
            patient.left_out.iter().map(|l| (l.source.as_str(), l.reason.as_str())).collect();
        assert_eq!(why["Observation/1"], "Observation/2 is later");
        assert_eq!(why["Observation/3"], "status is \"entered-in-error\"");
        assert_eq!(why["Observation/4"], "\"mmol/L\" cannot be converted to \"g/L\"");
        assert_eq!(why["Observation/5"], "no code of it is mapped");
        assert_eq!(why["Observation/6"], "Observation/2 is of the same date or later");
        assert_eq!(why["Condition/7"], "clinicalStatus is \"resolved\"");
        let units: Vec<_> = patient.converted.iter().map(|c| (c.from.as_str(), c.to.as_str())).collect();
        assert_eq!(units, [("g/dL", "g/L"), ("g/dL", "g/L")]);
    }

    #[test]
    fn what_is_no_bundle_is_named() {
        let message = |text: &str| read_bundle(text, &map()).unwrap_err().to_string();
        assert!(message("{").starts_with("FHIR bundle: JSON"));
        assert!(message(r#"{"resourceType": "Patient"}"#).contains("expected Bundle"));
        assert!(message(r#"{"resourceType": "Bundle"}"#).contains("no Patient"));
        let stranger = bundle(vec![]).replace("p1", "p2");
        let mut foreign: Value = serde_json::from_str(&stranger).unwrap();
        let entries = foreign["entry"].as_array_mut().unwrap();
        entries.push(observation("1", "1751-7", 3.0, "g/dL", "2026-01-02", "final"));
        let said = message(&foreign.to_string());
        assert!(said.contains("Observation/1") && said.contains("no patient of the bundle"), "{said}");
        let nameless = bundle(vec![json!({"resource": {"resourceType": "Observation"}})]);
        assert!(message(&nameless).contains("entry[0].resource.id"));
        let twice =
            r#"[{"system": "a", "code": "1", "feature": "x"}, {"system": "a", "code": "1", "feature": "y"}]"#;
        assert!(CodeMap::from_json(twice).unwrap_err().to_string().contains("a|1"));
    }
}

use super::code_map::{CodeMap, Coded};
use super::moment::moment;
use super::resource::{BUNDLE, Codings, Resource, codings};
use super::units::convert;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// On which side of a number the true value lies, where a laboratory could not tell it: below or above what it can measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// Less than the number.
    #[serde(rename = "<")]
    Less,
    /// At most the number.
    #[serde(rename = "<=")]
    AtMost,
    /// At least the number.
    #[serde(rename = ">=")]
    AtLeast,
    /// More than the number.
    #[serde(rename = ">")]
    More,
}

impl Bound {
    fn of(comparator: &str) -> Option<Self> {
        Some(match comparator {
            "<" => Bound::Less,
            "<=" => Bound::AtMost,
            ">=" => Bound::AtLeast,
            ">" => Bound::More,
            _ => return None,
        })
    }
}

/// The value of a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// In the unit of the [`CodeMap`].
    pub value: f64,
    /// On which side of `value` the true one lies, where it is a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparator: Option<Bound>,
    /// When it was taken, as recorded in the resource.
    pub when: Option<String>,
    /// The resource, for example `Observation/7`, or its place in the bundle where it has no identifier.
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

/// The patients of a bundle in R4 JSON with the values of mapped observations and their components, conditions and medications
/// (statements, requests, administrations and dispenses).
///
/// References are resolved by an entry's `fullUrl`, `urn:uuid:` ones too, else by type and identifier, whatever the version. Of several
/// observations of a feature the latest counts, by the moment that its time means; those that are preliminary, cancelled or
/// entered in error do not, nor do conditions that are refuted, inactive or entered in error. A value with a comparator
/// stays a bound ([`Measured::comparator`]). What is not mapped, cannot be converted, has no number, is about a group, or
/// is of another type though its code is mapped, is listed in [`FhirPatient::left_out`]; other resources are passed over.
///
/// # Errors
/// [`Error::Document`] names the entry that is no resource or belongs to a patient who is not in the bundle, a patient without an
/// identifier, two patients with one, or a bundle without patients.
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
    let text = text.trim_start_matches('\u{feff}');
    let bundle: Value = serde_json::from_str(text).map_err(|e| Error::document(BUNDLE, "JSON", e))?;
    if bundle["resourceType"] != "Bundle" {
        let got = format!("expected Bundle, got {}", bundle["resourceType"]);
        return Err(Error::document(BUNDLE, "resourceType", got));
    }
    let entries = bundle["entry"].as_array().map_or(&[][..], Vec::as_slice);
    let all = entries.iter().enumerate().map(|(i, entry)| Resource::of(entry, i));
    let all: Vec<Resource<'_>> = all.filter_map(Result::transpose).collect::<Result<_>>()?;
    let persons: Vec<&Resource<'_>> = all.iter().filter(|r| r.kind == "Patient").collect();
    let mut patients = persons.iter().map(|p| patient(p)).collect::<Result<Vec<_>>>()?;
    if let Some(twice) = (1..patients.len()).find(|&i| patients[..i].iter().any(|p| p.id == patients[i].id)) {
        return Err(Error::document(BUNDLE, persons[twice].source(), "stands there twice"));
    }
    if patients.is_empty() {
        return Err(Error::document(BUNDLE, "entry", "there is no Patient"));
    }
    for resource in &all {
        let (subject, codings) = (resource.subject(), resource.codings(&all));
        let whose = persons.iter().position(|person| person.is_meant_by(subject));
        match (resource.is_read(), whose) {
            (true, Some(at)) => patients[at].take(resource, codings, map),
            (true, None) if subject.contains("Group/") => {
                let reason = format!("its subject {subject:?} is no single patient");
                let left = left_out(resource, &codings, reason);
                patients.iter_mut().for_each(|patient| patient.left_out.push(left.clone()));
            }
            (true, None) => {
                let detail = format!("its subject {subject:?} is no patient of the bundle");
                return Err(Error::document(BUNDLE, resource.source(), detail));
            }
            (false, Some(at)) if map.of(&codings).is_some() => {
                let reason = format!("resources of type {} are not read", resource.kind);
                patients[at].left_out.push(left_out(resource, &codings, reason));
            }
            (false, _) => {}
        }
    }
    Ok(patients)
}

fn patient(resource: &Resource<'_>) -> Result<FhirPatient> {
    let text = |field: &str| resource.body[field].as_str().map(str::to_owned);
    let (birth_date, gender) = (text("birthDate"), text("gender"));
    Ok(FhirPatient { id: resource.required_id()?.into(), birth_date, gender, ..Default::default() })
}

fn left_out(resource: &Resource<'_>, codings: &Codings, reason: String) -> LeftOut {
    let codes = codings.iter().map(|(system, code)| format!("{system}|{code}")).collect();
    LeftOut { source: resource.source(), codes, reason }
}

impl FhirPatient {
    /// Takes the value of a resource, and those of its components.
    fn take(&mut self, resource: &Resource<'_>, own: Codings, map: &CodeMap) {
        let components = resource.body["component"].as_array().map_or(&[][..], Vec::as_slice);
        let parts = components.iter().map(|part| (codings(&part["code"]), part));
        let all: Vec<(Codings, &Value)> = std::iter::once((own, resource.body)).chain(parts).collect();
        let known = all.iter().filter_map(|(codings, body)| Some((codings, *body, map.of(codings)?)));
        let known: Vec<_> = known.collect();
        if known.is_empty() {
            let codings = all.into_iter().flat_map(|(codings, _)| codings).collect();
            self.left_out.push(left_out(resource, &codings, "no code of it is mapped".into()));
            return;
        }
        for (codings, body, meaning) in known {
            let value = match resource.void() {
                Some(reason) => Err(reason),
                None => self.value(resource, body, meaning),
            };
            match value {
                Ok(value) => self.keep(value, (resource, codings), meaning),
                Err(reason) => self.left_out.push(left_out(resource, codings, reason)),
            }
        }
    }

    /// The value of a resource or a component, or why there is none.
    fn value(
        &mut self,
        resource: &Resource<'_>,
        body: &Value,
        meaning: &Coded,
    ) -> std::result::Result<Measured, String> {
        let (source, when) = (resource.source(), resource.when().map(str::to_owned));
        let Some(unit) = &meaning.unit else {
            return Ok(Measured { value: 1.0, comparator: None, when, source });
        };
        let quantity = &body["valueQuantity"];
        let Some(number) = quantity["value"].as_f64() else {
            return Err("it has no valueQuantity with a number".into());
        };
        let comparator = match quantity["comparator"].as_str() {
            None => None,
            Some(text) => {
                Some(Bound::of(text).ok_or_else(|| format!("its comparator {text:?} is not known"))?)
            }
        };
        let given = quantity["code"].as_str().or(quantity["unit"].as_str()).unwrap_or_default();
        let Some(value) = convert(number, given, unit) else {
            return Err(format!("{given:?} cannot be converted to {unit:?}"));
        };
        if given != unit {
            self.converted.push(Converted { source: source.clone(), from: given.into(), to: unit.clone() });
        }
        Ok(Measured { value, comparator, when, source })
    }

    /// Keeps the later of two values of a feature; what has no time is older than what has one.
    fn keep(&mut self, new: Measured, (resource, codings): (&Resource<'_>, &Codings), meaning: &Coded) {
        let at = |value: &Measured| value.when.as_deref().and_then(moment);
        if let Some(old) = self.values.get(&meaning.feature)
            && at(old) >= at(&new)
        {
            let reason = format!("{} is of the same date or later", old.source);
            self.left_out.push(left_out(resource, codings, reason));
            return;
        }
        if let Some(old) = self.values.insert(meaning.feature.clone(), new) {
            let reason = format!("{} is later", resource.source());
            self.left_out.push(LeftOut { source: old.source, codes: vec![], reason });
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
        let typeless = bundle(vec![json!({"resource": {"id": "1"}})]);
        assert!(message(&typeless).contains("entry[0].resource.resourceType"));
        let nameless =
            json!({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient"}}]});
        assert!(message(&nameless.to_string()).contains("entry[0].resource.id"));
        let twice =
            r#"[{"system": "a", "code": "1", "feature": "x"}, {"system": "a", "code": "1", "feature": "y"}]"#;
        assert!(CodeMap::from_json(twice).unwrap_err().to_string().contains("a|1"));
    }
}

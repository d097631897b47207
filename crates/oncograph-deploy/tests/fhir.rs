//! Bundles as servers, exporters and generators of records write them.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use oncograph_deploy::fhir::{Bound, CodeMap, FhirPatient, read_bundle};
use serde_json::{Value, json};

const MAP: &str = r#"[
    {"system": "http://loinc.org", "code": "1751-7", "feature": "albumin", "unit": "g/L"},
    {"system": "http://loinc.org", "code": "2039-6", "feature": "cea", "unit": "ng/mL"},
    {"system": "http://loinc.org", "code": "8480-6", "feature": "systolic", "unit": "mm[Hg]"},
    {"system": "http://loinc.org", "code": "8462-4", "feature": "diastolic", "unit": "mm[Hg]"},
    {"system": "http://snomed.info/sct", "code": "44054006", "feature": "diabetes"},
    {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6809", "feature": "metformin"}]"#;

fn read(entries: Value) -> Result<Vec<FhirPatient>, String> {
    let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": entries});
    read_bundle(&bundle.to_string(), &CodeMap::from_json(MAP).unwrap()).map_err(|e| e.to_string())
}

fn one(entries: Value) -> FhirPatient {
    let mut patients = read(entries).unwrap();
    assert_eq!(patients.len(), 1);
    patients.remove(0)
}

fn person(id: &str) -> Value {
    json!({"resource": {"resourceType": "Patient", "id": id}})
}

fn code(system: &str, code: &str) -> Value {
    json!({"coding": [{"system": system, "code": code}]})
}

fn albumin(id: &str, subject: &str, value: f64, when: &str) -> Value {
    json!({
        "resourceType": "Observation", "id": id, "status": "final", "subject": {"reference": subject},
        "effectiveDateTime": when, "code": code("http://loinc.org", "1751-7"),
        "valueQuantity": {"value": value, "code": "g/L"},
    })
}

#[test]
fn references_are_resolved_as_the_standard_says() {
    let value = |person: Value, reference: &str| {
        let patients = read(json!([person, {"resource": albumin("o", reference, 41.0, "2020-01-01")}]));
        patients.map(|p| p[0].values["albumin"].value)
    };
    let urn = "urn:uuid:5f339d06-b1d0-366b-8578-1dffecfe4f07";
    let with_url = |url: &str, id: Value| json!({"fullUrl": url, "resource": {"resourceType": "Patient", "id": id, "gender": "female"}});
    for (person, reference) in [
        (with_url(urn, json!("other")), urn),
        (with_url(urn, Value::Null), urn),
        (person("p1"), "Patient/p1"),
        (person("p1"), "Patient/p1/_history/2"),
        (person("p1"), "https://ehr.example/fhir/Patient/p1/_history/7"),
        (with_url("https://ehr.example/fhir/Patient/p1", json!("p1")), "https://ehr.example/fhir/Patient/p1"),
        (with_url("https://ehr.example/fhir/Patient/p1/_history/3", json!("p1")), "Patient/p1"),
    ] {
        assert_eq!(value(person.clone(), reference), Ok(41.0), "{person} {reference}");
    }
    // Another person of the same number, on another server.
    let two = with_url("https://a.example/Patient/p1", json!("p1"));
    assert!(value(two, "https://b.example/Patient/p1").unwrap_err().contains("no patient of the bundle"));
    assert!(value(person("p1"), "Practitioner/p1").is_err());
    // Who has no identifier has that of the entry.
    let of_url = one(json!([with_url(urn, Value::Null)]));
    assert_eq!(of_url.id, "5f339d06-b1d0-366b-8578-1dffecfe4f07");
    let mut without = albumin("o", "Patient/p1", 3.0, "2020-01-01");
    without.as_object_mut().unwrap().remove("id");
    assert_eq!(one(json!([person("p1"), {"resource": without}])).values["albumin"].source, "entry[1]");
}

#[test]
fn what_stands_beside_values_is_passed_over_or_listed() {
    let outcome = json!({"resource": {"resourceType": "OperationOutcome", "issue": []}});
    let deletion = json!({"request": {"method": "DELETE", "url": "Observation/9"}});
    let allergy = json!({"resource": {
        "resourceType": "AllergyIntolerance", "id": "a", "patient": {"reference": "Patient/p1"},
        "code": code("http://www.nlm.nih.gov/research/umls/rxnorm", "6809"),
    }});
    let family = json!({"resource": {
        "resourceType": "Observation", "id": "g", "status": "final", "subject": {"reference": "Group/g1"},
        "code": code("http://loinc.org", "1751-7"), "valueQuantity": {"value": 1.0, "code": "g/L"},
    }});
    let observation = json!({"resource": albumin("o", "Patient/p1", 41.0, "2020-01-01")});
    let found = one(json!([outcome, deletion, person("p1"), allergy, family, observation]));
    assert_eq!(found.values["albumin"].value, 41.0);
    assert_eq!(found.values.len(), 1);
    let left: Vec<(&str, &str)> =
        found.left_out.iter().map(|l| (l.source.as_str(), l.reason.as_str())).collect();
    assert_eq!(
        left,
        [
            ("AllergyIntolerance/a", "resources of type AllergyIntolerance are not read"),
            ("Observation/g", "its subject \"Group/g1\" is no single patient"),
        ]
    );
    let marked = json!({"resourceType": "Bundle", "type": "collection", "entry": [person("p1")]});
    let map = CodeMap::from_json(&format!("\u{feff}{MAP}")).unwrap();
    assert_eq!(read_bundle(&format!("\u{feff}{marked}"), &map).unwrap().len(), 1);
}

#[test]
fn a_comparator_leaves_a_bound() {
    let cea = |comparator: &str| {
        let observation = json!({
            "resourceType": "Observation", "id": "c", "status": "final", "subject": {"reference": "Patient/p1"},
            "code": code("http://loinc.org", "2039-6"),
            "valueQuantity": {"value": 0.5, "comparator": comparator, "code": "ng/mL"},
        });
        one(json!([person("p1"), {"resource": observation}]))
    };
    for (text, bound) in
        [("<", Bound::Less), ("<=", Bound::AtMost), (">=", Bound::AtLeast), (">", Bound::More)]
    {
        let measured = &cea(text).values["cea"];
        assert_eq!((measured.value, measured.comparator), (0.5, Some(bound)));
        assert_eq!(serde_json::to_value(measured).unwrap()["comparator"], text);
    }
    let unknown = cea("ad");
    assert!(unknown.values.is_empty());
    assert_eq!(unknown.left_out[0].reason, "its comparator \"ad\" is not known");
    let plain = one(json!([person("p1"), {"resource": albumin("o", "Patient/p1", 41.0, "2020")}]));
    assert!(serde_json::to_value(&plain.values["albumin"]).unwrap().get("comparator").is_none());
}

#[test]
fn the_later_moment_counts_whatever_the_zone_and_the_order() {
    for (earlier, later) in [
        ("2020-01-02T01:00:00+09:00", "2020-01-01T18:00:00Z"),
        ("2020-01-01T23:30:00-05:00", "2020-01-02T04:45:00Z"),
        ("2020-01", "2020-01-15"),
        ("2019-12-31T23:59:59Z", "2020"),
    ] {
        let first = json!({"resource": albumin("early", "Patient/p1", 10.0, earlier)});
        let second = json!({"resource": albumin("late", "Patient/p1", 20.0, later)});
        for entries in [json!([person("p1"), first, second]), json!([second, first, person("p1")])] {
            let found = one(entries);
            assert_eq!(found.values["albumin"].value, 20.0, "{earlier} {later}");
            assert_eq!(found.left_out[0].source, "Observation/early");
        }
    }
}

#[test]
fn components_are_values_of_their_own() {
    let part = |c: &str, value: f64| json!({"code": code("http://loinc.org", c), "valueQuantity": {"value": value, "code": "mm[Hg]"}});
    let panel = |parts: Value, status: &str| {
        json!({"resource": {
            "resourceType": "Observation", "id": "bp", "status": status, "subject": {"reference": "Patient/p1"},
            "effectiveDateTime": "2020-01-01", "code": code("http://loinc.org", "85354-9"), "component": parts,
        }})
    };
    let found =
        one(json!([person("p1"), panel(json!([part("8480-6", 120.0), part("8462-4", 80.0)]), "final")]));
    let values: Vec<(&str, f64)> = found.values.iter().map(|(k, v)| (k.as_str(), v.value)).collect();
    assert_eq!(values, [("diastolic", 80.0), ("systolic", 120.0)]);
    assert!(found.left_out.is_empty());
    assert_eq!(found.values["systolic"].source, "Observation/bp");
    let cancelled = one(json!([person("p1"), panel(json!([part("8480-6", 120.0)]), "cancelled")]));
    assert_eq!(cancelled.left_out[0].reason, "status is \"cancelled\"");
    let unknown = one(json!([person("p1"), panel(json!([part("1-1", 120.0)]), "final")]));
    assert_eq!(unknown.left_out[0].codes, ["http://loinc.org|85354-9", "http://loinc.org|1-1"]);
}

#[test]
fn every_resource_of_a_medication_counts() {
    let drug = || code("http://www.nlm.nih.gov/research/umls/rxnorm", "6809");
    let given = |kind: &str, status: &str, what: (&str, Value)| {
        let mut body = json!({
            "resourceType": kind, "id": "m", "status": status, "subject": {"reference": "Patient/p1"},
        });
        body[what.0] = what.1;
        body
    };
    let takes = |resource: Value| {
        let medication = json!({"resource": {"resourceType": "Medication", "id": "d", "code": drug()}});
        one(json!([person("p1"), medication, {"resource": resource}]))
    };
    let concept = || ("medicationCodeableConcept", drug());
    for (kind, status) in [
        ("MedicationStatement", "active"),
        ("MedicationRequest", "active"),
        ("MedicationAdministration", "completed"),
        ("MedicationDispense", "completed"),
    ] {
        assert_eq!(takes(given(kind, status, concept())).values["metformin"].value, 1.0, "{kind}");
        let void = takes(given(kind, "entered-in-error", concept()));
        assert!(void.values.is_empty() && void.left_out[0].reason.contains("entered-in-error"), "{kind}");
    }
    let reference = ("medicationReference", json!({"reference": "Medication/d"}));
    assert_eq!(takes(given("MedicationRequest", "active", reference)).values.len(), 1);
    let mut contained =
        given("MedicationRequest", "active", ("medicationReference", json!({"reference": "#x"})));
    contained["contained"] = json!([{"resourceType": "Medication", "id": "x", "code": drug()}]);
    assert_eq!(takes(contained).values.len(), 1);
    let mut never = given("MedicationRequest", "active", concept());
    never["doNotPerform"] = json!(true);
    assert_eq!(takes(never).left_out[0].reason, "doNotPerform is true");
}

#![no_main]
//! FHIR bundles, maps of codes, and what comes out as FHIR or JSON and may come back.
use libfuzzer_sys::fuzz_target;
use oncograph_deploy::ClinicalReport;
use oncograph_deploy::fhir::{CodeMap, read_bundle};
use oncograph_fuzz::within_bounds;

const MAP: &str = r#"[
    {"system": "http://loinc.org", "code": "1751-7", "feature": "albumin", "unit": "g/L"},
    {"system": "http://loinc.org", "code": "2039-6", "feature": "cea", "unit": "ng/mL"},
    {"system": "http://loinc.org", "code": "8480-6", "feature": "systolic", "unit": "mm[Hg]"},
    {"system": "http://snomed.info/sct", "code": "44054006", "feature": "diabetes"},
    {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6809", "feature": "metformin"}]"#;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    within_bounds(data, || {
        CodeMap::from_json(text).ok();
        let map = CodeMap::from_json(MAP).expect("a map");
        read_bundle(text, &map).ok();
        ClinicalReport::from_json(text).ok();
    });
});

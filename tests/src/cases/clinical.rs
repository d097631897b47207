//! FHIR bundles, and statistics of a few numbers.

use anyhow::{Context, Result, anyhow};
use oncograph_deploy::fhir::{CodeMap, read_bundle};
use oncograph_metrics::calibration_slope;
use oncograph_metrics::survival::{Survival, log_rank};
use serde_json::{Value, json};
use std::path::Path;

/// The patients as the reader gives them.
pub fn fhir(folder: &Path) -> Result<Value> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).with_context(|| name.to_string());
    let patients = read_bundle(&read("bundle.json")?, &CodeMap::from_json(&read("map.json")?)?)?;
    Ok(json!({"patients": patients}))
}

/// The one case of a file.
pub fn statistics(path: &Path) -> Result<Value> {
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let [case] = cases.as_slice() else { return Err(anyhow!("{} cases, not one", cases.len())) };
    let of = |key: &str| case[key].as_array().cloned().unwrap_or_default();
    let numbers = |key: &str| of(key).iter().filter_map(Value::as_f64).collect::<Vec<_>>();
    let flags = |key: &str| of(key).iter().filter_map(Value::as_bool).collect::<Vec<_>>();
    match case["op"].as_str() {
        Some("slope") => {
            let found = calibration_slope(&flags("label"), &numbers("prob"))?;
            Ok(json!({"slope": found.slope, "intercept": found.intercept}))
        }
        Some("logrank") => {
            let group: Vec<usize> = numbers("group").iter().map(|g| *g as usize).collect();
            let (time, event) = (numbers("time"), flags("event"));
            let found = log_rank(&Survival::new(&time, &event)?, &group)?;
            Ok(json!({"chi_squared": found.chi_squared, "p": found.p_value}))
        }
        other => Err(anyhow!("no statistic {other:?}")),
    }
}

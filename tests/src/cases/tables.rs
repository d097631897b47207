//! Clinical and omics tables, gene sets.

use super::text;
use anyhow::{Context, Result};
use oncograph_core::{Table, TimeUnit};
use oncograph_datasets::crlm::{ClinicalTable, Endpoint};
use oncograph_datasets::omics::{GeneSets, OmicsTable, SampleTypes, brca, gbmlgg};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The covariates of each patient, and the months to death.
pub fn clinical(path: &Path, _options: &Value) -> Result<Value> {
    let table = ClinicalTable::read(path)?;
    let months = table.outcomes(Endpoint::OverallSurvival);
    let mut facts = by_patient(&table.covariates);
    for (id, outcome) in table.ids().iter().zip(months) {
        facts[*id]["overall_survival_months"] = json!(outcome.time_in(TimeUnit::Months));
    }
    facts.insert("patients".into(), json!(table.len()));
    facts.insert("notes".into(), json!(table.notes));
    Ok(Value::Object(facts))
}

fn by_patient(table: &Table) -> Map<String, Value> {
    let row = |row: &[Option<f64>]| -> Map<String, Value> {
        table.columns().iter().zip(row).map(|(c, v)| (c.clone(), json!(v))).collect()
    };
    table
        .ids()
        .iter()
        .zip(table.rows())
        .map(|(id, values)| (id.clone(), Value::Object(row(values))))
        .collect()
}

/// Samples, features, and the values of each sample, `null` where there is none; with `sample_type` the patients that have one
/// of these types.
pub fn omics(path: &Path, options: &Value) -> Result<Value> {
    let mut table = OmicsTable::read(path)?;
    if let Some(types) = text(options, "sample_type") {
        table = table.of_patients(&types.parse::<SampleTypes>().context("sample_type")?);
    }
    let values: Map<String, Value> =
        (0..table.len()).map(|i| (table.ids[i].clone(), json!(finite(table.row(i))))).collect();
    Ok(json!({"ids": table.ids, "features": table.features, "values": values, "notes": table.notes}))
}

fn finite(values: &[f32]) -> Vec<Option<f32>> {
    values.iter().map(|v| v.is_finite().then_some(*v)).collect()
}

/// The patients of a collection, and by type of node its features and the values of each patient.
pub fn cohort(collection: &str, folder: &Path) -> Result<Value> {
    let root = folder.join("tables");
    let cohort = if collection == "brca" { brca(&root)? } else { gbmlgg(&root, None)? };
    let mut tables = Map::new();
    for (name, (features, rows)) in &cohort.tables {
        let rows = cohort.ids().iter().zip(rows);
        let rows: Map<String, Value> =
            rows.map(|(id, row)| (id.clone(), json!(row.as_deref().map(finite)))).collect();
        tables.insert(name.clone(), json!({"features": features, "rows": rows}));
    }
    Ok(json!({"ids": cohort.ids(), "tables": tables, "notes": cohort.notes}))
}

pub fn gmt(path: &Path) -> Result<Value> {
    let read = GeneSets::read(path)?;
    let set = |(name, description, genes): &(String, String, Vec<String>)| {
        (name.clone(), json!({"genes": genes, "description": description}))
    };
    let sets: Map<String, Value> = read.sets.iter().map(set).collect();
    Ok(json!({"sets": sets, "notes": read.notes}))
}

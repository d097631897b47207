//! Inputs as the field has them, one folder each, and what a reader must make of them.
//!
//! What is expected of a case stands in `tests/cases/*.json`, by the folder's name, or in a file `case.json` of the folder:
//! the reader with its options, and either facts, of which the reader's must have all, or words that its refusal must hold.

mod clinical;
mod expect;
mod images;
mod tables;
mod weights;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

pub use expect::{Expected, differences};

/// What is done with a folder, and what must come of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// Which reader.
    pub reader: String,
    /// Its options.
    #[serde(default)]
    pub options: Value,
    /// What must come of it.
    #[serde(flatten)]
    pub expected: Expected,
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// As expected.
    Passed,
    /// What differs.
    Failed(String),
    /// Nothing is expected of it: what the reader that its files suggest makes of it.
    Unjudged(String),
    /// Why it cannot be run here.
    Skipped(String),
}

const LISTS: [&str; 5] = [
    include_str!("../../cases/images.json"),
    include_str!("../../cases/tables.json"),
    include_str!("../../cases/weights.json"),
    include_str!("../../cases/clinical.json"),
    include_str!("../../cases/statistics.json"),
];

/// The cases that the project knows, by the names of their folders.
///
/// # Errors
/// A list that cannot be read, or a name in two of them.
pub fn known() -> Result<BTreeMap<String, Case>> {
    let mut all = BTreeMap::new();
    for list in LISTS {
        let list: BTreeMap<String, Case> = serde_json::from_str(list).context("tests/cases")?;
        for (name, case) in list {
            anyhow::ensure!(all.insert(name.clone(), case).is_none(), "tests/cases: {name} is there twice");
        }
    }
    Ok(all)
}

/// Runs the case of a folder.
///
/// # Errors
/// A `case.json` that cannot be read.
pub fn run(folder: &Path, known: &BTreeMap<String, Case>) -> Result<Outcome> {
    let own = folder.join("case.json");
    let own: Option<Case> = match own.is_file() {
        true => Some(
            serde_json::from_str(&std::fs::read_to_string(&own)?)
                .with_context(|| own.display().to_string())?,
        ),
        false => None,
    };
    let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(case) = own.as_ref().or_else(|| known.get(&name)) else {
        let Some(reader) = suggested(folder) else {
            return Ok(Outcome::Skipped("no reader is known for its files".into()));
        };
        return Ok(Outcome::Unjudged(match read(reader, folder, &Value::Null) {
            Ok(facts) => format!("{reader}: {facts}"),
            Err(error) => format!("{reader}: refused: {error:#}"),
        }));
    };
    if let Expected::NotRun(why) = &case.expected {
        return Ok(Outcome::Skipped(why.clone()));
    }
    let found = read(&case.reader, folder, &case.options);
    if let Err(error) = &found
        && let Some(missing) = error.downcast_ref::<Missing>()
    {
        return Ok(Outcome::Skipped(missing.0.clone()));
    }
    Ok(case.expected.judge(found))
}

/// Something that a case needs and this machine lacks.
#[derive(Debug)]
struct Missing(String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// What a reader makes of a folder, as facts.
fn read(reader: &str, folder: &Path, options: &Value) -> Result<Value> {
    match reader {
        "dicom_series" => images::series(&folder.join("series"), options),
        "seg" => images::seg(folder, options),
        "nifti" => images::nifti(&only(folder, &["nii", "gz", "hdr", "img"])?, options),
        "mesh" => images::mesh(&folder.join("v.nii")),
        "crlm" => images::crlm(&folder.join("cohort"), options),
        "glioma" => images::glioma(&folder.join("p"), options),
        "elastix" => images::elastix(folder),
        "clinical" => tables::clinical(&only(folder, &["csv", "tsv", "xlsx", "parquet"])?, options),
        "omics_table" => {
            tables::omics(&only(folder, &["csv", "tsv", "parquet", "txt", "gz", "xlsx"])?, options)
        }
        "brca" | "gbmlgg" => tables::cohort(reader, folder),
        "gmt" => tables::gmt(&only(folder, &["gmt"])?),
        "checkpoint" => {
            weights::checkpoint(&only(folder, &["pth", "pt", "ckpt", "tar", "safetensors"])?, options)
        }
        "fhir" => clinical::fhir(folder),
        "statistics" => clinical::statistics(&folder.join("c.json")),
        other => Err(anyhow!("no reader {other:?}")),
    }
}

/// The reader that the files of a folder suggest.
fn suggested(folder: &Path) -> Option<&'static str> {
    let has = |name: &str| folder.join(name).exists();
    let places: [(&str, &'static str); 8] = [
        ("series", "dicom_series"),
        ("seg.dcm", "seg"),
        ("cohort", "crlm"),
        ("p", "glioma"),
        ("bundle.json", "fhir"),
        ("c.json", "statistics"),
        ("fixed.nii.gz", "elastix"),
        ("tables/brca_outcomes.csv", "brca"),
    ];
    if let Some((_, reader)) = places.iter().find(|(name, _)| has(name)) {
        return Some(reader);
    }
    if has("tables/gbmlgg_outcomes.csv") {
        return Some("gbmlgg");
    }
    let ending = |endings: &[&str]| only(folder, endings).is_ok();
    let clinical = |path: &Path| path.file_stem().is_some_and(|s| s == "clinical" || s == "c");
    match () {
        () if ending(&["gmt"]) => Some("gmt"),
        () if ending(&["nii", "hdr", "img"]) => Some("nifti"),
        () if ending(&["pth", "pt", "ckpt", "tar", "safetensors"]) => Some("checkpoint"),
        () => {
            let table = only(folder, &["csv", "tsv", "xlsx", "parquet", "gz", "txt"]).ok()?;
            let nifti = table.to_string_lossy().ends_with(".nii.gz");
            Some(if nifti {
                "nifti"
            } else if clinical(&table) {
                "clinical"
            } else {
                "omics_table"
            })
        }
    }
}

/// The file of a folder with one of these extensions, in the order of the extensions.
fn only(folder: &Path, endings: &[&str]) -> Result<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<_> = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|path| {
        path.is_file() && path.file_name().is_some_and(|n| n != "README.md" && n != "case.json")
    });
    files.sort();
    let of =
        |ending: &&str| files.iter().find(|p| p.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending)));
    endings
        .iter()
        .find_map(of)
        .cloned()
        .with_context(|| format!("no file of {endings:?} in {}", folder.display()))
}

/// An option of a case.
fn text<'a>(options: &'a Value, key: &str) -> Option<&'a str> {
    options.get(key).and_then(Value::as_str)
}

fn number(options: &Value, key: &str) -> Option<f64> {
    options.get(key).and_then(Value::as_f64)
}

fn flag(options: &Value, key: &str) -> bool {
    options.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// A volume's place and values.
fn volume(volume: &oncograph_imaging::Volume<f32>) -> Value {
    let grid = volume.grid();
    let (min, max, sum) =
        volume.as_slice().iter().fold((f32::MAX, f32::MIN, 0f64), |(low, high, sum), &v| {
            (low.min(v), high.max(v), sum + f64::from(v))
        });
    let first: Vec<f32> = volume.as_slice().iter().take(8).copied().collect();
    json!({
        "shape": volume.shape(), "spacing": grid.spacing(), "orientation": grid.orientation(), "origin": grid.origin(),
        "min": min, "max": max, "sum": sum, "first": first,
    })
}

//! What tasks, models and covariates are called on a page.

use crate::{PERMUTED, STG, WITHOUT_IMAGES};
use oncograph_datasets::crlm::FeatureSet;
use oncograph_spatiotemporal::InputKind;

/// Models whose name in files is no name for a page.
pub const MODELS: [(&str, &str); 3] =
    [(STG, "STG"), (WITHOUT_IMAGES, "STG without images"), (PERMUTED, "STG, outcomes permuted (control)")];

pub fn model(name: &str) -> &str {
    MODELS.iter().find(|(own, _)| *own == name).map_or(name, |(_, page)| page)
}

pub fn endpoint(task: &str) -> &str {
    match task {
        "recurrence" => "Time to recurrence",
        "survival" => "Overall survival",
        other => other,
    }
}

/// Of which kind the covariates are.
pub fn covariates(set: FeatureSet) -> &'static str {
    match set {
        FeatureSet::PreopOnly => "pre-operative covariates",
        FeatureSet::Curated => "chosen pre-operative covariates",
        _ => "covariates, some of them known only after the operation",
    }
}

/// A column of the workbook or a number of the masks.
pub fn covariate(column: &str) -> String {
    let known = match column {
        "body_mass_index" => "body mass index",
        "node_positive_primary" => "node-positive primary tumour",
        "synchronous_crlm" => "synchronous metastases",
        "clinrisk_score" => "clinical risk score (Fong)",
        "clinrisk_stratified" => "high clinical risk score",
        "max_tumor_size" => "largest metastasis (cm)",
        "extrahep_disease" => "extrahepatic disease",
        "chemo_before_liver_resection" => "chemotherapy before resection",
        "preoperative_pve" => "portal vein embolisation",
        "steatosis_yesno" => "steatosis",
        "presence_sinusoidal_dilata" => "sinusoidal dilatation",
        "tumour_volume_ml" => "tumour volume (ml)",
        "tumour_count" => "number of tumours",
        "tumour_diameter_cm" => "largest tumour diameter (cm)",
        "remnant_share" => "share of the liver that remains",
        other => return measured(other).unwrap_or_else(|| other.replace("_yesno", "").replace('_', " ")),
    };
    known.to_string()
}

/// The mean or the deviation of a structure's voxels.
fn measured(column: &str) -> Option<String> {
    let words =
        |structure: &str, what: &str| format!("{} ({what} of its voxels, HU)", structure.replace('_', " "));
    let mean = column.strip_suffix("_hu").map(|structure| words(structure, "mean"));
    mean.or_else(|| column.strip_suffix("_hu_sd").map(|structure| words(structure, "standard deviation")))
}

/// An input of the network.
pub fn input(name: &str, kind: InputKind) -> String {
    match kind {
        InputKind::Image => format!("{name} (image)"),
        _ => covariate(name),
    }
}

pub fn kind(kind: InputKind) -> &'static str {
    match kind {
        InputKind::Covariate => "covariate",
        InputKind::MaskNumber => "mask number",
        InputKind::Intensity => "intensity",
        InputKind::Image => "image",
    }
}

pub fn kinds(kind: InputKind) -> &'static str {
    match kind {
        InputKind::Covariate => "covariates",
        InputKind::MaskNumber => "numbers of the masks",
        InputKind::Intensity => "intensities in HU",
        InputKind::Image => "images",
    }
}

/// A code of a column.
pub fn level(column: &str, code: f64) -> String {
    let name = match (column, code) {
        ("sex", 1.0) => "male",
        ("sex", 2.0) => "female",
        (_, 0.0) => "no",
        (_, 1.0) => "yes",
        _ => return code.to_string(),
    };
    name.to_string()
}

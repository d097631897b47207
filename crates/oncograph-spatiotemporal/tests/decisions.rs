//! The page of the decisions against the configuration that it describes.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use oncograph_spatiotemporal::{StgPreset, StgSystemConfig};

const PAGE: &str = include_str!("../decisions.md");

/// What stands in backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The cells of the row of each decision.
fn rows() -> Vec<Vec<&'static str>> {
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    PAGE.lines().filter(|line| line.starts_with("| S-")).map(cells).collect()
}

#[test]
fn every_decision_has_a_row_and_every_key_is_a_field() {
    let json = serde_json::to_value(StgSystemConfig::new(StgPreset::Paper)).unwrap();
    let rows = rows();
    let mut keys = 0;
    for (row, number) in rows.iter().zip(1..) {
        assert_eq!((row[0], row.len()), (format!("S-{number:02}").as_str(), 6));
        for key in names(row[2]).filter(|key| !key.starts_with("--") && !key.contains("::")) {
            let pointer = format!("/{}", key.replace('.', "/"));
            assert!(json.pointer(&pointer).is_some(), "{}: no field {key}", row[0]);
            keys += 1;
        }
    }
    assert_eq!(rows.len(), 30);
    assert!(keys > 40, "{keys}");
}

/// Every word of an option in a cell is one that its field takes.
#[test]
fn every_option_is_a_value_of_its_field() {
    let options = [
        (1, "/encoder/pooling", &["grid2_weighted", "pool2", "concat_project", "concat_rp"][..]),
        (2, "/encoder/backbone", &["r3d18", "r2plus1d18", "self_built", "medicalnet18"]),
        (2, "/encoder/stem", &["sum", "replicate"]),
        (2, "/encoder/input_scaling", &["as_trained", "unscaled"]),
        (3, "/encoder/roi", &["mask_input", "mask_pool"]),
        (4, "/model/ct_node", &["same_pooling", "gap"]),
        (6, "/model/edge_mode", &["message", "ignore"]),
        (6, "/model/edges", &["both", "from_anatomy", "to_anatomy"]),
        (7, "/model/node_type", &["none", "one_hot", "embedding"]),
        (8, "/model/gnn", &["sage", "sage_closed", "gcn", "gat"]),
        (10, "/image_scaling/norm", &["z_score", "log_z_score", "none"]),
        (11, "/model/unify", &["stack_chained", "stack", "concat"]),
        (12, "/model/architecture", &["decoupled", "full", "static", "flat"]),
        (12, "/model/nodes", &["all", "images", "ct_and_clinical", "ct"]),
        (13, "/model/temporal_input", &["timecat", "share2", "recon3"]),
        (16, "/model/survival_loss", &["mse", "mse_events", "hinge", "cox", "mse_cox", "discrete_hazard"]),
        (16, "/training/loss/risk_set", &["batch", "training"]),
        (19, "/training/time_unit", &["min_max", "years"]),
        (20, "/training/loss/temporal", &["literal", "abs", "l2", "monotone_risk"]),
        (21, "/model/weighting", &["scheduled", "uncertainty"]),
        (23, "/training/augment/removal", &["remove", "zero"]),
        (25, "/preprocess/crop_centre", &["portal", "largest_portal_slice", "liver"]),
        (26, "/held_out", &["cross_validation", "single"]),
    ];
    let json = serde_json::to_value(StgSystemConfig::new(StgPreset::Paper)).unwrap();
    let rows = rows();
    let (mut seen, mut read) = (0, 0);
    for (number, pointer, values) in options {
        let row = &rows[number - 1];
        for value in values {
            let mut json = json.clone();
            *json.pointer_mut(pointer).unwrap() = serde_json::json!(value);
            serde_json::from_value::<StgSystemConfig>(json).unwrap();
            assert!(names(row[3]).chain(names(row[4])).any(|name| name == *value), "{number}: {value}");
            read += 1;
        }
        let mut json = json.clone();
        *json.pointer_mut(pointer).unwrap() = serde_json::json!("no such option");
        // The error lists what the field takes: as many as the page.
        let error = serde_json::from_value::<StgSystemConfig>(json).unwrap_err().to_string();
        let taken = names(&error).skip(1).count();
        assert_eq!(taken, values.len(), "{number}: {error}");
        seen += taken;
    }
    assert_eq!(seen, read);
}

//! Every preset and every option of the decisions M-01 to M-28 trains for two steps, and changes what it is for.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use oncograph_core::{Seed, Split};
use oncograph_datasets::omics::{ImageVector, ImageVectors, OmicsDataset, OmicsPhantomConfig};
use oncograph_omics::*;
use oncograph_study::{Answer, Answers, FoldSplit, Plan, Study};
use oncograph_train::{OptimizerConfig, RunDir};
use serde_json::{Value, json};

/// Patients; half of them are trained on, in two steps.
const PATIENTS: usize = 80;

/// An option: its decision, where it is in the configuration, and its value.
type Choice = (&'static str, &'static str, Value);

/// Every option beside its default in [`base`].
fn options() -> Vec<Choice> {
    vec![
        ("M-01", "net.node_input", json!("named")),
        ("M-02", "select", json!(8)),
        ("M-04", "net.associated", json!(1.0)),
        ("M-04", "net.spatial", json!("consecutive")),
        ("M-04", "net.spatial", json!("complete")),
        ("M-04", "net.spatial", json!({"nearest": 2})),
        ("M-05", "net.hetero_edges", json!({"gat": {"threshold": 0.5}})),
        ("M-06", "net.union", json!(false)),
        ("M-08", "net.pooling", json!("attention")),
        ("M-10", "net.fusion_tokens", json!("set")),
        ("M-11", "net.patient_residual", json!(false)),
        ("M-12", "net.head", json!("joint")),
        ("M-13", "survival", json!("survival_mse")),
        ("M-13", "survival", json!({"survival_discrete": 12})),
        ("M-14", "weighting", json!("softmax")),
        ("M-14", "weighting", json!({"fixed": {"survival": 1.0, "response": 0.5, "toxicity": 0.1}})),
        ("M-17", "contrast.drop_edges", json!(0.5)),
        ("M-17", "contrast.noise", json!(0.5)),
        ("M-17", "contrast.drop_modality", json!(0.5)),
        ("M-18", "contrast.symmetric", json!(false)),
        ("M-19", "contrast.pretrain", json!(1)),
        ("M-19", "contrast", Value::Null),
        ("M-23", "balance", json!(false)),
        ("M-27", "net.token_norm", json!("none")),
        ("M-27", "net.token_norm", json!("layer")),
        // One epoch is the best of all.
        ("M-28", "fit.keep", json!("best")),
    ]
}

/// The decisions without an option of training: what is fixed, and what other tests train.
const FIXED: [(&str, &str); 12] = [
    ("M-03", "the tables of the cohort; here one of the user's and images"),
    ("M-07", "the tables of the cohort; the literal preset's are in `net::defect_4_...`"),
    ("M-09", "the mean over heads"),
    ("M-15", "masked"),
    ("M-16", "the embedding"),
    ("M-20", "the sign"),
    ("M-21", "masked"),
    ("M-22", "`federated`"),
    ("M-24", "after training: `predictor`"),
    ("M-25", "the source"),
    ("M-26", "`findings`"),
    ("M-29", "the covariates of the cohort"),
];

/// Small, with every part on and without dropout.
fn base() -> OmicsSystemConfig {
    let mut config = OmicsSystemConfig::fixed().select(16).batch(PATIENTS / 4);
    let net = &mut config.net;
    (net.hidden, net.heads, net.layers, net.fusion_layers) = (8, 2, 1, 1);
    (net.feed_forward, net.trunk) = (12, 6);
    (net.attention_dropout, net.fusion_dropout, net.trunk_dropout) = (0.0, 0.0, 0.0);
    config.fit.epochs = 1;
    // Steps that are seen in the answers.
    if let OptimizerConfig::AdamW(adam) = &mut config.fit.optimizer {
        adam.learning_rate = 0.02;
    }
    config
}

/// A phantom with images and two types of cancer, and a table that no preset knows.
fn dataset() -> OmicsDataset {
    let phantom = OmicsPhantomConfig::new(PATIENTS, 3).sizes(24, 24, 6);
    let mut dataset = OmicsDataset::phantom(&phantom).unwrap();
    let vector = |p: usize, s: usize| ImageVector {
        values: (0..3).map(|v| ((p * 7 + s * 5 + v * 3) % 11) as f32 / 4.0).collect(),
        centroid: Some([((s * 4) % 10) as f64, ((s * 7) % 9) as f64, s as f64]),
    };
    dataset.cohort.images = Some(ImageVectors {
        features: ["v1", "v2", "v3"].map(String::from).to_vec(),
        patients: (0..PATIENTS).map(|p| (0..(p % 3) * 5).map(|s| vector(p, s)).collect()).collect(),
    });
    dataset.cancer_types =
        (0..PATIENTS).map(|p| if p.is_multiple_of(4) { "colon" } else { "lung" }.into()).collect();
    let labs = dataset.cohort.tables["lab"].clone();
    dataset.cohort.tables.insert("methylation".into(), labs);
    dataset
}

/// The answers after two steps.
fn trained(dataset: &OmicsDataset, config: &OmicsSystemConfig, variant: OmicsVariant) -> Answers {
    let folder = tempfile::tempdir().unwrap();
    let cohort = OmicsStudyCohort::new(dataset.clone(), config).unwrap();
    let part = |from: usize, to: usize| (from * PATIENTS / 4..to * PATIENTS / 4).collect();
    let split = FoldSplit { repeat: 0, fold: 0, split: Split::new(part(0, 2), part(2, 3), part(3, 4)) };
    let system = OmicsSystem::new(config.clone()).variant(variant);
    let run = RunDir::create(folder.path()).unwrap();
    let study = Study::new(&cohort, &run).plan(Plan::Given(vec![split])).seed(Seed::new(5));
    let results = study.model(system.name(), &system).run().unwrap();
    let job = &results.jobs()[0];
    let losses: Vec<f64> = job.history.iter().flat_map(|e| [e.train_loss, e.score]).collect();
    assert!(losses.iter().all(|l| l.is_finite()), "{losses:?}");
    let numbers = job.answers.values().flatten().flat_map(|answer| match answer {
        Answer::Survival { risk, .. } => vec![*risk],
        Answer::Probabilities(p) => p.clone(),
        Answer::ConstantTime { .. } => vec![],
    });
    assert!(numbers.into_iter().all(f64::is_finite));
    assert_eq!(job.answers.keys().collect::<Vec<_>>(), ["response", "survival", "toxicity"]);
    job.answers.clone()
}

/// The configuration with one value replaced; a place that there is not is an error.
fn with(config: &OmicsSystemConfig, place: &str, value: &Value) -> OmicsSystemConfig {
    let mut text = serde_json::to_value(config).unwrap();
    let pointer = format!("/{}", place.replace('.', "/"));
    *text.pointer_mut(&pointer).unwrap_or_else(|| panic!("no {place}")) = value.clone();
    let changed: OmicsSystemConfig = serde_json::from_value(text).unwrap();
    changed.validate().unwrap();
    changed
}

#[test]
fn every_option_trains_and_has_an_effect() {
    let (dataset, config) = (dataset(), base());
    let default = trained(&dataset, &config, OmicsVariant::Full);
    assert_eq!(default, trained(&dataset, &config, OmicsVariant::Full));
    for (decision, place, value) in options() {
        let changed = with(&config, place, &value);
        assert_ne!(changed, config, "{decision}: {place} is {value} by default");
        let answers = trained(&dataset, &changed, OmicsVariant::Full);
        let same = answers == default;
        assert_eq!(same, decision == "M-28", "{decision}: {place} = {value}");
    }
}

#[test]
fn every_preset_and_every_model_trains() {
    let dataset = dataset();
    for preset in [OmicsPreset::Literal, OmicsPreset::Fixed, OmicsPreset::Quick] {
        for mut config in [preset.config(), preset.for_phantom()] {
            (config.select, config.batch, config.fit.epochs) = (8, PATIENTS / 4, 1);
            // The published widths are for another machine; everything else is the preset's.
            (config.net.hidden, config.net.heads, config.net.feed_forward) = (8, 2, 12);
            trained(&dataset, &config, OmicsVariant::Full);
        }
    }
    let cohort = OmicsStudyCohort::new(dataset.clone(), &base()).unwrap();
    let modalities = ["genomics", "proteomics", "clinical", "methylation", "imaging"];
    assert_eq!(cohort.modality_names(), modalities);
    let variants = OmicsVariant::comparison(&cohort).into_iter().chain(OmicsVariant::ablations());
    for variant in variants {
        trained(&dataset, &base(), variant);
    }
}

#[test]
fn no_decision_is_left_out() {
    let listed: Vec<&str> =
        options().iter().map(|o| o.0).chain(FIXED.iter().map(|(decision, _)| *decision)).collect();
    for n in 1..=29 {
        let decision = format!("M-{n:02}");
        assert!(listed.contains(&decision.as_str()), "{decision}");
    }
    let text = include_str!("../decisions.md");
    let rows = text.lines().filter(|line| line.starts_with("| M-")).count();
    assert_eq!(rows, 29);
}

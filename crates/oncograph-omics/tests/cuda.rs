//! The system on a GPU against the CPU, from tables to a bundle.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use candle_core::Device;
use oncograph_datasets::omics::{OmicsDataset, OmicsPhantomConfig};
use oncograph_deploy::Bundle;
use oncograph_nn::testing::{check_budget, device};
use oncograph_omics::{
    OmicsPatient, OmicsPredictor, OmicsPreset, OmicsStudyCohort, OmicsSystem, write_bundle,
};
use oncograph_report::ModelCard;
use oncograph_study::testing::differences;
use oncograph_study::{Answer, ScoreOptions, Study, StudyResults};
use oncograph_train::RunDir;
use std::path::Path;

/// A study of 50 generated patients on a device, and its bundle.
fn finished(root: &Path, device: &Device) -> (OmicsStudyCohort, StudyResults) {
    let mut config = OmicsPreset::Quick.for_phantom();
    config.fit.epochs = 2;
    let dataset = OmicsDataset::phantom(&OmicsPhantomConfig::new(50, 1).sizes(24, 24, 4)).unwrap();
    let cohort = OmicsStudyCohort::new(dataset, &config).unwrap();
    let system = OmicsSystem::new(config);
    let run = RunDir::open(root).unwrap();
    let study = Study::new(&cohort, &run).cross_validation(2, 1).device(device.clone());
    let results = study.model(system.name(), &system).run().unwrap();
    let scores = results.score(&cohort, &ScoreOptions::default().replicates(50)).unwrap();
    let card = ModelCard::new("net", "tests");
    write_bundle(&run, &results, &cohort, &system, (&card, &scores)).unwrap();
    (cohort, results)
}

#[test]
fn a_study_is_that_of_the_cpu_and_its_bundle_opens_on_both() {
    let (cpu, gpu) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let device = device();
    let (_, on_cpu) = finished(cpu.path(), &Device::Cpu);
    let (cohort, on_gpu) = finished(gpu.path(), &device);
    let (losses, answers) = differences(&on_cpu, &on_gpu).unwrap();
    println!("largest difference of a loss {losses:.1e}, of an answer {answers:.1e}");
    assert!(losses < 1e-3 && answers < 1e-2, "losses {losses:e}, answers {answers:e}");
    let bundle = Bundle::open(gpu.path().join("bundle")).unwrap();
    let patient = OmicsPatient::of_cohort(&cohort.dataset().cohort, 0).unwrap();
    let risk = |device: &Device| {
        let prediction = OmicsPredictor::open(&bundle, device).unwrap().predict(&patient).unwrap();
        match &prediction.answers[0].1["survival"][0] {
            Answer::Survival { risk, .. } => *risk,
            other => panic!("{other:?}"),
        }
    };
    approx::assert_abs_diff_eq!(risk(&Device::Cpu), risk(&device), epsilon = 1e-4);
}

#[test]
fn a_step_stays_within_its_budget() {
    check_budget("omics", "a_study", 2).unwrap();
}

#[test]
#[ignore = "started by the other test"]
fn a_study() {
    finished(tempfile::tempdir().unwrap().path(), &device());
}

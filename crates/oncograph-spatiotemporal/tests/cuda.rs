//! The system on a GPU against the CPU, from volumes to a bundle.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use candle_core::Device;
use oncograph_core::Seed;
use oncograph_datasets::crlm::{ClinicalTable, ImageFiles, PhantomConfig};
use oncograph_deploy::Bundle;
use oncograph_nn::testing::{check_budget, device};
use oncograph_spatiotemporal::{
    Architecture, CrlmSource, CtEncoder, StgBundleParts, StgCohort, StgPatient, StgPredictor, StgPreset,
    StgSystem, StgSystemConfig, SurvivalLoss, stg_model_card, write_stg_bundle,
};
use oncograph_study::testing::differences;
use oncograph_study::{ScoreOptions, Study, StudyResults};
use oncograph_train::{RunDir, StopFlag};
use std::path::{Path, PathBuf};

/// A study of 20 generated patients on a device, and its bundle.
fn finished(
    root: &Path,
    name: &str,
    (architecture, loss): (Architecture, SurvivalLoss),
    device: &Device,
) -> (StudyResults, PathBuf) {
    let config = StgSystemConfig::with_architecture(StgPreset::Quick, architecture);
    let config = config.clone().model(config.model.survival_loss(loss));
    let config = config.cross_validation(2, 1).size(4, 16).encoder_width(4).epochs(2);
    let seed = Seed::new(5);
    let source = CrlmSource::Phantom(PhantomConfig::new(20, 3).matrix(32).slice_spacing(7.0, 7.5));
    let files = source.open(&root.join("cohort"), 2, |_| ()).unwrap();
    let encoder = CtEncoder::new(&config, seed, device).unwrap();
    let cohort = StgCohort::new(&files, &config).unwrap();
    let cohort = cohort.encode(&encoder, 2, &StopFlag::new(), || ()).unwrap();
    let run = RunDir::create(&root.join(name)).unwrap();
    let stg = StgSystem::new(config.clone());
    let study = Study::new(&cohort, &run).cross_validation(2, 1).seed(seed).device(device.clone());
    let results = study.model("stg", &stg).run().unwrap();
    let scores = results.score(&cohort, &ScoreOptions::default().replicates(50)).unwrap();
    let card = stg_model_card(&config, &cohort, &scores, "stg");
    let parts = StgBundleParts {
        config: &config,
        seed,
        cohort: &cohort,
        results: &results,
        model: "stg",
        card: &card,
    };
    let bundle = write_stg_bundle(&run, parts).unwrap().path().to_path_buf();
    (results, bundle)
}

fn risk(bundle: &Path, cohort: &Path, device: &Device) -> f64 {
    let predictor = StgPredictor::open(&Bundle::open(bundle).unwrap(), device).unwrap();
    let images = ImageFiles::nifti_in(cohort.join("PHANTOM-0003")).unwrap().unwrap();
    let table = ClinicalTable::read(cohort.join("clinical.csv")).unwrap();
    let patient = StgPatient::new("PHANTOM-0003").images(images).clinical(table);
    predictor.predict(&patient).unwrap().tasks[1].risk
}

#[test]
fn a_study_is_that_of_the_cpu_and_its_bundle_opens_on_both() {
    let (root, gpu) = (tempfile::tempdir().unwrap(), device());
    let kind = (Architecture::Decoupled, SurvivalLoss::DiscreteHazard);
    let (on_cpu, _) = finished(root.path(), "cpu", kind, &Device::Cpu);
    let (on_gpu, bundle) = finished(root.path(), "gpu", kind, &gpu);
    let (losses, answers) = differences(&on_cpu, &on_gpu).unwrap();
    println!("largest difference of a loss {losses:.1e}, of an answer {answers:.1e}");
    assert!(losses < 1e-5 && answers < 1e-4, "losses {losses:e}, answers {answers:e}");
    let cohort = root.path().join("cohort");
    let [here, there] = [&Device::Cpu, &gpu].map(|device| risk(&bundle, &cohort, device));
    approx::assert_relative_eq!(here, there, max_relative = 1e-4, epsilon = 1e-5);
}

#[test]
fn a_step_stays_within_its_budget() {
    let children = [
        ("stg full", "a_full_study"),
        ("stg decoupled", "a_decoupled_study"),
        ("stg decoupled, hazards", "a_study_of_hazards"),
    ];
    for (name, child) in children {
        check_budget(name, child, 2).unwrap();
    }
}

fn study_on_the_device(architecture: Architecture, loss: SurvivalLoss) {
    let root = tempfile::tempdir().unwrap();
    finished(root.path(), "run", (architecture, loss), &device());
}

#[test]
#[ignore = "started by the other tests"]
fn a_full_study() {
    study_on_the_device(Architecture::Full, SurvivalLoss::Mse);
}

#[test]
#[ignore = "started by the other tests"]
fn a_decoupled_study() {
    study_on_the_device(Architecture::Decoupled, SurvivalLoss::Mse);
}

#[test]
#[ignore = "started by the other tests"]
fn a_study_of_hazards() {
    study_on_the_device(Architecture::Decoupled, SurvivalLoss::DiscreteHazard);
}

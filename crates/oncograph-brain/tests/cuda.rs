//! The system on a GPU against the CPU, from volumes to a bundle.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use candle_core::Device;
use oncograph_brain::{
    GliomaCohort, GliomaConfig, GliomaPredictor, GliomaPreset, GliomaSource, GliomaStages, MlpHead,
    PatientSpace, PopulationHead, RegistrationConfig, names, write_glioma_bundle,
};
use oncograph_datasets::glioma::{GliomaFiles, GliomaPhantomConfig, LabelConvention, TumourLabel};
use oncograph_deploy::Bundle;
use oncograph_nn::testing::{check_budget, device};
use oncograph_report::ModelCard;
use oncograph_study::testing::differences;
use oncograph_study::{Study, StudyResults};
use oncograph_train::{RunDir, StopFlag};
use std::path::Path;

/// A step of each stage that is trained, by its number in the whole study.
const STEPS: [(&str, usize); 4] =
    [("glioma autoencoder", 2), ("glioma tracts", 4), ("glioma network", 6), ("glioma population", 8)];

struct Finished {
    cohort: GliomaCohort,
    row: usize,
    results: StudyResults,
    bundle: Bundle,
}

/// A study of 24 generated patients on a device, and its bundle.
fn finished(root: &Path, device: &Device) -> Finished {
    let mut phantom = GliomaPhantomConfig::new(24, 1);
    (phantom.unlabelled, phantom.shape, phantom.regions, phantom.tracts) = (2, [16, 18, 16], 12, 20);
    let config = GliomaConfig::preset(GliomaPreset::Quick, GliomaSource::Phantom(phantom), 1).epochs(2);
    let cohort = config.source.open(root, &StopFlag::new(), &|_| ()).unwrap();
    let split = cohort.halves(config.split, config.seed).unwrap();
    let stages = GliomaStages::new(&config, &root.join("cache"), device, &StopFlag::new()).unwrap();
    let run = RunDir::create(&root.join("runs")).unwrap();
    let head = PopulationHead::new(&stages).deployed();
    let mlp = MlpHead::new(&stages);
    let study = Study::new(&cohort, &run).plan(GliomaCohort::plan(&split)).device(device.clone());
    let results = study.model(names::INDUCTIVE, &head).model(names::MLP, &mlp).run().unwrap();
    let card = ModelCard::new("Glioma IDH", "A test");
    let bundle = write_glioma_bundle(&run, &stages, (&cohort, &split), &results.jobs()[0], &card).unwrap();
    Finished { row: split.test[1], cohort, results, bundle }
}

fn probability(run: &Finished, device: &Device) -> f64 {
    let predictor = GliomaPredictor::open(&run.bundle, device).unwrap();
    let patient = run.cohort.folder.join(&run.cohort.subjects[run.row].id);
    let images = GliomaFiles::find(patient, None).unwrap();
    let images = images.read(LabelConvention::Brats2020, TumourLabel::Core).unwrap();
    let registration = (&RegistrationConfig::default(), run.cohort.folder.as_path());
    predictor.predict(&images, PatientSpace::Standard, None, registration).unwrap().probability
}

#[test]
fn a_study_is_that_of_the_cpu_and_its_bundle_opens_on_both() {
    let (cpu, gpu) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let device = device();
    let on_cpu = finished(cpu.path(), &Device::Cpu);
    let on_gpu = finished(gpu.path(), &device);
    let (losses, answers) = differences(&on_cpu.results, &on_gpu.results).unwrap();
    println!("largest difference of a loss {losses:.1e}, of an answer {answers:.1e}");
    assert!(losses < 1e-5 && answers < 1e-4, "losses {losses:e}, answers {answers:e}");
    let [here, there] = [&Device::Cpu, &device].map(|device| probability(&on_gpu, device));
    approx::assert_abs_diff_eq!(here, there, epsilon = 1e-4);
}

#[test]
fn a_step_stays_within_its_budget() {
    for (name, step) in STEPS {
        check_budget(name, "a_study", step).unwrap();
    }
}

#[test]
#[ignore = "started by the other test"]
fn a_study() {
    finished(tempfile::tempdir().unwrap().path(), &device());
}

//! The system from files to a prediction, on a tiny phantom.

#![allow(clippy::unwrap_used)]

use candle_core::Device;
use oncograph_brain::{
    GliomaCohort, GliomaConfig, GliomaPrediction, GliomaPredictor, GliomaPreset, GliomaSource, GliomaStages,
    MlpHead, PatientSpace, PopulationHead, RegistrationConfig, missing_rows, missing_sequences, names,
    write_glioma_bundle,
};
use oncograph_core::Split;
use oncograph_datasets::glioma::{GliomaFiles, GliomaPhantomConfig, LabelConvention, TumourLabel};
use oncograph_deploy::{Bundle, BundleWriter};
use oncograph_report::ModelCard;
use oncograph_study::{Answer, Study, StudyResults};
use oncograph_train::{RunDir, StopFlag};
use std::path::Path;

fn config() -> GliomaConfig {
    let mut phantom = GliomaPhantomConfig::new(24, 1);
    (phantom.unlabelled, phantom.shape, phantom.regions, phantom.tracts) = (2, [16, 18, 16], 12, 20);
    GliomaConfig::preset(GliomaPreset::Quick, GliomaSource::Phantom(phantom), 1).epochs(2)
}

struct Finished {
    cohort: GliomaCohort,
    split: Split,
    results: StudyResults,
    bundle: Bundle,
}

fn finished(root: &Path) -> Finished {
    let config = config();
    let cohort = config.source.open(root, &StopFlag::new(), &|_| ()).unwrap();
    let split = cohort.halves(config.split, config.seed).unwrap();
    let stages = GliomaStages::new(&config, &root.join("cache"), &Device::Cpu, &StopFlag::new()).unwrap();
    let run = RunDir::create(&root.join("runs")).unwrap();
    let head = PopulationHead::new(&stages).deployed();
    let mlp = MlpHead::new(&stages);
    let study = Study::new(&cohort, &run).plan(GliomaCohort::plan(&split));
    let results = study.model(names::INDUCTIVE, &head).model(names::MLP, &mlp).run().unwrap();
    let card = ModelCard::new("Glioma IDH", "A test");
    let bundle = write_glioma_bundle(&run, &stages, (&cohort, &split), &results.jobs()[0], &card).unwrap();
    Finished { cohort, split, results, bundle }
}

fn predict(bundle: &Bundle, cohort: &GliomaCohort, row: usize) -> GliomaPrediction {
    let predictor = GliomaPredictor::open(bundle, &Device::Cpu).unwrap();
    let patient = cohort.folder.join(&cohort.subjects[row].id);
    let images = GliomaFiles::find(patient, None).unwrap();
    let images = images.read(LabelConvention::Brats2020, TumourLabel::Core).unwrap();
    predictor
        .predict(&images, PatientSpace::Standard, None, (&RegistrationConfig::default(), &cohort.folder))
        .unwrap()
}

#[test]
fn a_moved_bundle_predicts_the_same_bits_as_the_study() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = finished(root.path());
    let row = run.split.test[1];
    let here = predict(&run.bundle, &run.cohort, row);
    let moved = elsewhere.path().join("model");
    std::fs::rename(run.bundle.path(), &moved).unwrap();
    std::fs::remove_dir_all(root.path().join("cache")).unwrap();
    let there = predict(&Bundle::open(&moved).unwrap(), &run.cohort, row);
    assert_eq!(here.probability.to_bits(), there.probability.to_bits());
    assert_eq!(
        (here.report.clone(), here.nearest, here.weights),
        (there.report, there.nearest, there.weights)
    );
    assert_eq!(here.report.phantom, run.cohort.phantom);
    here.report.validate().unwrap();
    // One patient alone is one row of other matrix products than 72 together: the last bits may differ.
    let Answer::Probabilities(studied) = &run.results.jobs()[0].answers[GliomaCohort::TASK][1] else {
        panic!()
    };
    assert!((studied[1] - here.probability).abs() < 1e-5, "{} {}", studied[1], here.probability);
}

/// Its controls are other models, and a sequence that is missing is seen.
#[test]
fn heads_differ_by_what_they_are_named_after() {
    let root = tempfile::tempdir().unwrap();
    let config = config();
    let cohort = config.source.open(root.path(), &StopFlag::new(), &|_| ()).unwrap();
    let split = cohort.halves(config.split, config.seed).unwrap();
    let cache = root.path().join("cache");
    let stages = GliomaStages::new(&config, &cache, &Device::Cpu, &StopFlag::new()).unwrap();
    let run = RunDir::create(&root.path().join("runs")).unwrap();
    let head = PopulationHead::new(&stages);
    let (deployed, covariates) = (head.clone().deployed(), head.clone().with_age_and_sex());
    let (shuffled, alone) = (head.clone().shuffled_edges(), head.without_edges());
    let results = Study::new(&cohort, &run)
        .plan(GliomaCohort::plan(&split))
        .model(names::INDUCTIVE, &deployed)
        .model(names::WITH_AGE_AND_SEX, &covariates)
        .model(names::SHUFFLED, &shuffled)
        .model(names::NO_EDGES, &alone)
        .run()
        .unwrap();
    let answers: Vec<_> = results.jobs().iter().map(|j| &j.answers).collect();
    for (i, own) in answers.iter().enumerate() {
        assert!(answers[..i].iter().all(|other| other != own), "{i}");
    }
    // Age and sex are two node vectors more.
    assert!(results.jobs()[1].parameters > results.jobs()[0].parameters);
    let card = ModelCard::new("Glioma IDH", "A test");
    let bundle = write_glioma_bundle(&run, &stages, (&cohort, &split), &results.jobs()[0], &card).unwrap();
    let predictor = GliomaPredictor::open(&bundle, &Device::Cpu).unwrap();
    let missing = missing_sequences(&predictor, &cohort, &results).unwrap();
    assert_eq!(missing.models(), missing_rows().each_ref().map(String::as_str));
    let p = |k: usize| match &missing.jobs()[k].answers[GliomaCohort::TASK][0] {
        Answer::Probabilities(p) => p[1],
        other => panic!("{other:?}"),
    };
    let Answer::Probabilities(studied) = &answers[0][GliomaCohort::TASK][0] else { panic!() };
    assert!((p(0) - studied[1]).abs() < 1e-5);
    assert!((1..5).all(|k| p(k) != p(0)));
}

#[test]
fn a_site_can_be_the_test() {
    let root = tempfile::tempdir().unwrap();
    let config = config();
    let mut cohort = config.source.open(root.path(), &StopFlag::new(), &|_| ()).unwrap();
    let error = cohort.halves_beside("A", config.split, 1).unwrap_err().to_string();
    assert!(error.contains("no patient has a site"), "{error}");
    for (i, subject) in cohort.subjects.iter_mut().enumerate() {
        subject.groups.site = Some(if i % 3 == 0 { "A" } else { "B" }.into());
    }
    let split = cohort.halves_beside("A", config.split, 1).unwrap();
    let site = |row: &usize| cohort.subjects[*row].groups.site.as_deref();
    assert!(split.test.len() == 8 && split.test.iter().all(|row| site(row) == Some("A")));
    assert_eq!((split.train.len(), split.validation.len()), (8, 8));
    assert!(split.train.iter().chain(&split.validation).all(|row| site(row) == Some("B")));
    let error = cohort.halves_beside("C", config.split, 1).unwrap_err().to_string();
    assert!(error.contains("one of A, B") && error.contains('C'), "{error}");
}

#[test]
fn what_cannot_predict_is_named() {
    let root = tempfile::tempdir().unwrap();
    let run = finished(root.path());
    let predictor = GliomaPredictor::open(&run.bundle, &Device::Cpu).unwrap();
    let patient = run.cohort.folder.join(&run.cohort.subjects[5].id);
    let images = GliomaFiles::find(patient, None).unwrap();
    let images = images.read(LabelConvention::Brats2020, TumourLabel::Core).unwrap();
    let registration = RegistrationConfig::default();
    let native =
        predictor.predict(&images, PatientSpace::Native, None, (&registration, root.path())).unwrap_err();
    assert!(native.to_string().contains("a generated head, which no patient has"), "{native}");
    let other = root.path().join("other");
    let mut writer = BundleWriter::create(&other, "stg").unwrap();
    writer.json("config.json", &1).unwrap();
    let other = writer.finish().unwrap();
    let error = GliomaPredictor::open(&other, &Device::Cpu).err().unwrap().to_string();
    assert!(error.contains("a model of the system stg, expected one of glioma"), "{error}");
}

#[test]
fn labels_that_change_train_another_network() {
    let root = tempfile::tempdir().unwrap();
    let run = finished(root.path());
    let artefacts = || {
        let names = std::fs::read_dir(root.path().join("cache")).unwrap().map(|f| f.unwrap().file_name());
        names.filter(|n| n.to_string_lossy().ends_with("curve.json")).count()
    };
    assert_eq!(artefacts(), 3);
    let swapped: Vec<Option<bool>> =
        (0..run.cohort.subjects.len()).map(|i| run.cohort.idh(i).map(|mutant| !mutant)).collect();
    let cohort = GliomaCohort::new(run.cohort.atlas.clone(), run.cohort.subjects.clone(), &swapped).unwrap();
    let stages =
        GliomaStages::new(&config(), &root.path().join("cache"), &Device::Cpu, &StopFlag::new()).unwrap();
    let first = stages.net(&run.cohort, &run.split, &config().model).unwrap();
    assert_eq!(artefacts(), 3);
    let second = stages.net(&cohort, &run.split, &config().model).unwrap();
    assert!(artefacts() > 3 && first.name != second.name);
    assert_ne!(first.embeddings, second.embeddings);
}

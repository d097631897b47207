//! The system from files to a bundle, on a few generated patients.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use candle_core::{DType, Device};
use oncograph_core::Seed;
use oncograph_datasets::crlm::{ClinicalTable, CrlmCohort, ImageFiles, PhantomConfig};
use oncograph_deploy::{Bundle, BundleWriter};
use oncograph_encoder::VideoResNetConfig;
use oncograph_nn::ParamStore;
use oncograph_spatiotemporal::{
    AS_CONFIGURED, Attributions, Backbone, CrlmSource, CtEncoder, CtEncoderConfig, CtNode, InputKind,
    MapPooling, Roi, STG_TASKS, StgBundleParts, StgCohort, StgPatient, StgPrediction, StgPredictor,
    StgPreset, StgSystem, StgSystemConfig, TrainedStg, attribution_summary, missing_nodes, nested_stg,
    occlusions, risk_by_step, stg_model_card, write_attributions, write_stg_bundle,
};
use oncograph_study::{Answer, Cohort, ScoreOptions, Study, StudyResults};
use oncograph_train::{RunDir, StopFlag};
use std::path::{Path, PathBuf};

/// A finished study of 20 generated patients.
struct Finished {
    folder: tempfile::TempDir,
    cohort: StgCohort,
    results: StudyResults,
    run: RunDir,
    bundle: PathBuf,
}

impl Finished {
    /// The model of a job.
    fn model(&self, job: usize) -> TrainedStg {
        let job = &self.results.jobs()[job];
        let read = |end: &str| {
            let name = format!("stg-{}-{}.{end}", job.repeat, job.fold);
            std::fs::read(self.run.file("folds").join(name)).unwrap()
        };
        TrainedStg::from_bytes(&read("json"), &read("safetensors"), Path::new("stg"), &Device::Cpu).unwrap()
    }

    /// Asserts that the bundle predicts, from a patient's files, the mean over the models on the features of the study.
    fn predicts_the_mean(&self) {
        let row = 4;
        let images = [&self.cohort.images().unwrap()[row]];
        let clinical = self.cohort.clinical().select(&[row]);
        let risk = |job| self.model(job).predict(&clinical, Some(&images)).unwrap()[1][0].risk;
        let mean = [0, 1].map(risk).iter().sum::<f64>() / 2.0;
        let prediction = predict(&self.bundle, &self.folder.path().join("cohort"), &self.cohort.ids()[row]);
        assert_eq!(prediction.tasks[1].risk, mean);
    }
}

fn config() -> StgSystemConfig {
    StgSystemConfig::new(StgPreset::Quick).cross_validation(2, 1).size(4, 16).encoder_width(4).epochs(2)
}

fn finished(edit: impl Fn(StgSystemConfig, &Path) -> StgSystemConfig) -> Finished {
    finished_among(edit, |_| vec![])
}

/// With the configuration chosen in each fold.
fn finished_among(
    edit: impl Fn(StgSystemConfig, &Path) -> StgSystemConfig,
    others: impl Fn(&StgSystemConfig) -> Vec<(String, StgSystemConfig)>,
) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let config = edit(config(), folder.path());
    let seed = Seed::new(5);
    let source = CrlmSource::Phantom(PhantomConfig::new(20, 3).matrix(32).slice_spacing(7.0, 7.5));
    let files = source.open(&folder.path().join("cohort"), 2, |_| ()).unwrap();
    let encoder = CtEncoder::new(&config, seed, &Device::Cpu).unwrap();
    let cohort =
        StgCohort::new(&files, &config).unwrap().encode(&encoder, 2, &StopFlag::new(), || ()).unwrap();
    let run = RunDir::create(&folder.path().join("runs")).unwrap();
    let stg = nested_stg(&config, &others(&config), 2).unwrap();
    let study = Study::new(&cohort, &run).cross_validation(2, 1).seed(seed).workers(2);
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
    Finished { folder, cohort, results, run, bundle }
}

fn predict(bundle: &Path, cohort: &Path, id: &str) -> StgPrediction {
    let predictor = StgPredictor::open(&Bundle::open(bundle).unwrap(), &Device::Cpu).unwrap();
    let images = ImageFiles::nifti_in(cohort.join(id)).unwrap().unwrap();
    let table = ClinicalTable::read(cohort.join("clinical.csv")).unwrap();
    predictor.predict(&StgPatient::new(id).images(images).clinical(table)).unwrap()
}

/// Everything that was predicted, to the last bit.
fn bits(prediction: &StgPrediction) -> String {
    serde_json::to_string(&prediction.tasks).unwrap() + &prediction.report.to_json().unwrap()
}

#[test]
fn a_bundle_predicts_the_same_bits_in_another_folder() {
    let all = finished(|config, _| config);
    let (cohort, id) = (all.folder.path().join("cohort"), "PHANTOM-0003");
    let before = predict(&all.bundle, &cohort, id);
    assert_eq!((before.models, before.trained_on_phantom), (2, true));
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("model");
    copy(&all.bundle, &moved);
    // Nothing of the run is left but the patient's own files.
    std::fs::remove_dir_all(all.run.path()).unwrap();
    assert_eq!(bits(&predict(&moved, &cohort, id)), bits(&before));
    assert_ne!(bits(&predict(&moved, &cohort, "PHANTOM-0004")), bits(&before));
}

#[test]
fn weights_of_a_checkpoint_are_in_the_bundle() {
    let all = finished(|mut config, folder| {
        let store = ParamStore::new(Seed::new(9));
        let network = VideoResNetConfig::r3d_18(1).base_width(4);
        network.build(store.var_builder(DType::F32, &Device::Cpu)).unwrap();
        let path = folder.join("r3d_18.safetensors");
        store.save(&path).unwrap();
        config.encoder.weights = Some(path);
        config
    });
    std::fs::remove_file(all.folder.path().join("r3d_18.safetensors")).unwrap();
    let text = std::fs::read_to_string(all.bundle.join("config.json")).unwrap();
    assert!(!text.contains("r3d_18.safetensors"), "{text}");
    // On the features that the study encoded with the checkpoint.
    all.predicts_the_mean();
}

/// S-01 to S-04: what the encoder does is part of the bundle, and what the network learns of it, too.
#[test]
fn options_of_the_encoder_are_in_the_bundle() {
    let encoder = CtEncoderConfig::new(4).backbone(Backbone::Medicalnet18).roi(Roi::MaskPool);
    let cases: [fn(StgSystemConfig) -> StgSystemConfig; 3] = [
        |c| c.pooling(MapPooling::ConcatProject),
        |c| c.pooling(MapPooling::ConcatRp),
        |mut c| {
            c.model.ct_node = CtNode::Gap;
            c
        },
    ];
    for edit in cases {
        let all = finished(|mut config, _| {
            config.image_scaling.components = None;
            edit(config.encoder(encoder.clone()))
        });
        all.predicts_the_mean();
    }
}

#[test]
fn one_new_patient_is_predicted_as_in_the_study() {
    let all = finished(|config, _| config);
    for (place, job) in all.results.jobs().iter().enumerate() {
        let model = all.model(place);
        let row = job.test[1];
        let images = [&all.cohort.images().unwrap()[row]];
        let alone = model.predict(&all.cohort.clinical().select(&[row]), Some(&images)).unwrap();
        for (task, predictions) in STG_TASKS.iter().zip(&alone) {
            let Answer::Survival { risk, years: Some(years), .. } = job.answers[*task][1] else {
                panic!("no time")
            };
            approx::assert_relative_eq!(predictions[0].risk, risk, max_relative = 1e-4, epsilon = 1e-5);
            approx::assert_relative_eq!(predictions[0].years, years, max_relative = 1e-4, epsilon = 1e-4);
        }
        assert!(model.predict(all.cohort.clinical(), None).is_err());
    }
}

#[test]
fn a_bundle_holds_the_network_that_each_fold_chose() {
    let wide = |config: &StgSystemConfig| {
        let mut other = config.clone();
        (other.model.hidden, other.mask_numbers) = (config.model.hidden + 3, false);
        vec![("wide".to_string(), other)]
    };
    let all = finished_among(|config, _| config, wide);
    let selections = all.results.selections("stg").unwrap();
    assert_eq!(selections.len(), 2);
    let configured = config().model.hidden;
    for (job, selection) in selections.iter().enumerate() {
        let hidden = if selection.chosen == "wide" { configured + 3 } else { configured };
        assert_eq!(all.model(job).network().config().hidden, hidden);
        let names: Vec<&str> = selection.candidates.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, [AS_CONFIGURED, "wide"]);
        assert!(selection.candidates.iter().all(|c| c.score > 0.0 && c.tasks.len() == 2));
    }
    // The choice is beside what else a model leaves.
    assert!(attribution_summary(&all.results, "stg", STG_TASKS[0]).unwrap().is_some());
    all.predicts_the_mean();
    // Inner folds leave nothing behind but what they decided.
    let left = std::fs::read_dir(all.run.file("folds")).unwrap();
    let left: Vec<String> = left.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.contains("checkpoint") && !name.contains("answers")), "{left:?}");
}

#[test]
fn inputs_that_are_missing_are_scored_beside_the_whole() {
    let all = finished(|config, _| config);
    let task = &all.cohort.tasks()[1];
    let whole = all.results.main_metric("stg", task);
    let lost = missing_nodes(&all.results, "stg").unwrap();
    let shares: Vec<String> = (1..=5).map(|tenth| format!("{tenth}0 % missing")).collect();
    assert_eq!(lost.models()[0], "none missing");
    assert_eq!(lost.models()[1..], shares);
    assert_eq!(lost.repeats(), 5 * all.results.repeats());
    // The mean over five times as many repetitions, rounded once more.
    let none = lost.main_metric("none missing", task);
    approx::assert_relative_eq!(none.unwrap(), whole.unwrap(), max_relative = 1e-12);
    let half = lost.held("50 % missing", task);
    assert_ne!(half[0], half[1], "two draws remove the same nodes");
    let occluded = occlusions(&all.results, "stg").unwrap();
    assert_eq!((occluded.models().len(), occluded.models()[0]), (11, "all inputs"));
    assert_eq!(occluded.main_metric("all inputs", task), whole);
    let parts = [
        "without tumour",
        "without image nodes",
        "without image numbers",
        "without images",
        "without covariates",
    ];
    for missing in parts {
        assert_ne!(occluded.held(missing, task), occluded.held("all inputs", task), "{missing}");
    }
    assert!(missing_nodes(&all.results, "none").unwrap().jobs().is_empty());
}

/// By job and input of the network with image nodes; sums are held to the network beside the code.
#[test]
fn a_study_has_what_its_risks_depend_on() {
    let all = finished(|config, _| config);
    let summary = attribution_summary(&all.results, "stg", STG_TASKS[1]).unwrap().unwrap();
    let kinds: Vec<InputKind> = summary.kinds.iter().map(|k| k.kind).collect();
    assert_eq!(kinds, [InputKind::Covariate, InputKind::MaskNumber, InputKind::Intensity, InputKind::Image]);
    for shares in
        [summary.kinds.iter().map(|k| k.share).sum::<f64>(), summary.inputs.iter().map(|i| i.share).sum()]
    {
        approx::assert_relative_eq!(shares, 1.0, max_relative = 1e-9);
    }
    assert!(summary.inputs.is_sorted_by(|a, b| a.value >= b.value));
    assert!(summary.error < 0.05, "{}", summary.error);
    assert!(summary.inputs.iter().any(|i| i.input == "CT" && i.range[0] > 0.0));
    let path = all.folder.path().join("attributions.csv");
    write_attributions(&all.results, all.cohort.ids(), "stg", &path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let of_ct = text.lines().filter(|line| line.contains(",survival,CT,")).count();
    assert_eq!(of_ct, all.cohort.len());
    assert!(risk_by_step(&all.results, &all.cohort, "stg", STG_TASKS[0]).unwrap().is_some());
    // A run of before has neither.
    let mut jobs = all.results.jobs().to_vec();
    jobs.iter_mut().for_each(|job| job.extras = serde_json::json!({ "missing": [] }));
    let before = all.results.with_only(jobs);
    assert_eq!(attribution_summary(&before, "stg", STG_TASKS[1]).unwrap(), None);
    assert!(risk_by_step(&before, &all.cohort, "stg", STG_TASKS[0]).unwrap().is_none());
}

#[test]
fn importance_by_hand() {
    let all = finished(|config, _| config);
    let inputs =
        |node: &str| vec![("age".to_string(), InputKind::Covariate), (node.to_string(), InputKind::Image)];
    // Sums of 2 and 4 in the first job, of 1 in the second, whose other node nobody of the first has.
    let values =
        [vec![vec![Some(-1.0), None], vec![Some(1.0), Some(-2.0)]], vec![vec![Some(0.5), Some(0.5)]]];
    let nodes = ["tumour", "CT"];
    let mut jobs = all.results.jobs().to_vec();
    for (job, (values, node)) in jobs.iter_mut().zip(values.into_iter().zip(nodes)) {
        let remainder = [vec![0.0; values.len()], vec![]];
        let attributions = Attributions { inputs: inputs(node), values: [values, vec![]], remainder };
        job.extras = serde_json::json!({ "attributions": attributions });
    }
    let results = all.results.with_only(jobs);
    let summary = attribution_summary(&results, "stg", STG_TASKS[0]).unwrap().unwrap();
    let found: Vec<_> =
        summary.inputs.iter().map(|i| (i.input.as_str(), i.value, i.range, i.share)).collect();
    let expected = [
        ("age", 0.75, [0.5, 1.0], 0.5),
        ("tumour", 0.5, [0.0, 1.0], 0.5 / 1.5),
        ("CT", 0.25, [0.0, 0.5], 0.25 / 1.5),
    ];
    assert_eq!((found, summary.jobs, summary.error), (expected.to_vec(), 2, 0.0));
    assert_eq!(summary.kinds[1].range, [0.5, 0.5]);
    assert!(attribution_summary(&results, "stg", "response").is_err());
}

#[test]
fn a_bundle_of_another_system_and_a_patient_without_images_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let writer = BundleWriter::create(folder.path().join("other"), "glioma").unwrap();
    let error = StgPredictor::open(&writer.finish().unwrap(), &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("system glioma, expected one of stg"), "{error}");
    let all = finished(|config, _| config);
    let predictor = StgPredictor::open(&Bundle::open(&all.bundle).unwrap(), &Device::Cpu).unwrap();
    let error = predictor.predict(&StgPatient::new("new")).unwrap_err().to_string();
    assert!(error.contains("these models have image nodes"), "{error}");
    let table = ClinicalTable::read(all.folder.path().join("cohort/clinical.csv")).unwrap();
    let images = ImageFiles::nifti_in(all.folder.path().join("cohort/PHANTOM-0001")).unwrap().unwrap();
    let error = predictor.predict(&StgPatient::new("new").images(images).clinical(table)).unwrap_err();
    assert!(error.to_string().contains("no patient new"), "{error}");
}

#[test]
fn a_feature_file_is_the_cohort_that_was_encoded() {
    let folder = tempfile::tempdir().unwrap();
    let (config, seed) = (config(), Seed::new(5));
    let source = CrlmSource::Phantom(PhantomConfig::new(6, 3).matrix(32).slice_spacing(7.0, 7.5));
    let files = source.open(&folder.path().join("cohort"), 2, |_| ()).unwrap();
    let path = folder.path().join("features.safetensors");
    let cohort = StgCohort::new(&files, &config).unwrap();
    assert!(cohort.write_features(seed, &path).unwrap_err().to_string().contains("StgCohort::encode"));
    let encoder = CtEncoder::new(&config, seed, &Device::Cpu).unwrap();
    let cohort = cohort.encode(&encoder, 2, &StopFlag::new(), || ()).unwrap();
    cohort.write_features(seed, &path).unwrap();
    // The table alone, with its rows in another order.
    let alone = folder.path().join("alone");
    std::fs::create_dir(&alone).unwrap();
    let text = std::fs::read_to_string(folder.path().join("cohort/clinical.csv")).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[1..].reverse();
    let table = |text: String| {
        std::fs::write(alone.join("clinical.csv"), text).unwrap();
        CrlmCohort::open(&alone).unwrap()
    };
    let read =
        |files: &CrlmCohort, config: &StgSystemConfig| StgCohort::with_features(files, config, seed, &path);
    let same = read(&table(text.clone()), &config).unwrap();
    assert_eq!((same.fingerprint(), same.images()), (cohort.fingerprint(), cohort.images()));
    assert!(same.phantom() && same.has_images() && same.notes().is_empty(), "{:?}", same.notes());
    let reversed = read(&table(lines.join("\n")), &config).unwrap();
    assert_eq!(reversed.images().unwrap()[5], cohort.images().unwrap()[0]);
    // Somebody else instead of one of them.
    let other = table(text.replace("PHANTOM-0003,", "SOMEBODY,"));
    let error = read(&other, &config).unwrap_err().to_string();
    assert!(error.contains("1 of 6 patients") && error.contains("SOMEBODY: no features in"), "{error}");
    let five = read(&other, &config.clone().leave_out_faulty(true)).unwrap();
    assert_eq!((five.len(), five.images().unwrap().len(), five.notes().len()), (5, 5, 3));
    assert!(read(&files, &config.clone().images(false)).is_err());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(std::fs::copy(&path, target).unwrap()),
        }
    }
}

/// A model without image nodes has nothing to say of somebody of whom no covariate is known.
#[test]
fn nobody_is_predicted_from_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = config().images(false);
    let source = CrlmSource::Phantom(PhantomConfig::new(20, 3).matrix(32).slice_spacing(7.0, 7.5));
    let files = source.open(&folder.path().join("cohort"), 2, |_| ()).unwrap();
    let cohort = StgCohort::new(&files, &config).unwrap();
    let run = RunDir::create(&folder.path().join("runs")).unwrap();
    let stg = StgSystem::new(config.clone()).without_images();
    let results = Study::new(&cohort, &run).cross_validation(2, 1).model("stg", &stg).run().unwrap();
    let scores = results.score(&cohort, &ScoreOptions::default().replicates(50)).unwrap();
    let card = stg_model_card(&config, &cohort, &scores, "stg");
    let parts = StgBundleParts {
        config: &config,
        seed: Seed::new(1),
        cohort: &cohort,
        results: &results,
        model: "stg",
        card: &card,
    };
    let bundle = write_stg_bundle(&run, parts).unwrap();
    let predictor = StgPredictor::open(&Bundle::open(bundle.path()).unwrap(), &Device::Cpu).unwrap();
    let error = predictor.predict(&StgPatient::new("nobody")).unwrap_err().to_string();
    assert!(error.contains("nothing else to go by"), "{error}");
    let table = ClinicalTable::read(folder.path().join("cohort/clinical.csv")).unwrap();
    let known = StgPatient::new("PHANTOM-0003").clinical(table);
    assert_eq!(predictor.predict(&known).unwrap().tasks.len(), 2);
}

/// The network's second training is on all patients that a baseline sees, and a killed run comes to the same.
#[test]
fn a_refit_is_on_training_and_validation_patients() {
    let finished = |refit: bool| {
        finished(|mut config, _| {
            config.refit = refit;
            config
        })
    };
    let (once, twice) = (finished(false), finished(true));
    let counts = |all: &Finished| {
        let split = &all.results.splits()[0].split;
        (split.train.len(), split.validation.len())
    };
    let (train, validation) = counts(&twice);
    assert_eq!((train, validation), counts(&once));
    let patients = |all: &Finished| {
        let text = std::fs::read_to_string(all.run.file("folds").join("stg-0-0.json")).unwrap();
        let model: serde_json::Value = serde_json::from_str(&text).unwrap();
        model["training"].as_array().unwrap().len()
    };
    assert_eq!((patients(&once), patients(&twice)), (train, train + validation));
    let left = std::fs::read_dir(twice.run.file("folds")).unwrap();
    assert!(left.map(|e| e.unwrap().file_name()).all(|n| !n.to_string_lossy().contains("checkpoint")));
}

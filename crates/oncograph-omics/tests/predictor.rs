//! From a study to a bundle to one patient.

#![allow(clippy::unwrap_used)]

use candle_core::Device;
use oncograph_datasets::omics::{OmicsDataset, OmicsPhantomConfig};
use oncograph_deploy::{Bundle, BundleWriter, Prediction};
use oncograph_omics::*;
use oncograph_report::ModelCard;
use oncograph_study::{Answer, Estimate, ScoreOptions, Scores, Study, StudyResults};
use oncograph_train::RunDir;
use std::path::Path;

struct Trained {
    folder: tempfile::TempDir,
    cohort: OmicsStudyCohort,
    results: StudyResults,
}

impl Trained {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = OmicsPreset::Quick.for_phantom();
        config.fit.epochs = 2;
        let dataset = OmicsDataset::phantom(&OmicsPhantomConfig::new(50, 1).sizes(24, 24, 4)).unwrap();
        let cohort = OmicsStudyCohort::new(dataset, &config).unwrap();
        let system = OmicsSystem::new(config);
        let run = RunDir::open(folder.path()).unwrap();
        let results =
            Study::new(&cohort, &run).cross_validation(2, 1).model(system.name(), &system).run().unwrap();
        let scores = scores(&results, &cohort, |_| LEARNT);
        write_bundle(&run, &results, &cohort, &system, (&ModelCard::new("net", "tests"), &scores)).unwrap();
        Trained { folder, cohort, results }
    }

    fn bundle(&self) -> std::path::PathBuf {
        self.folder.path().join("bundle")
    }

    fn patient(&self, row: usize) -> OmicsPatient {
        OmicsPatient::of_cohort(&self.cohort.dataset().cohort, row).unwrap()
    }

    /// The first patient that has proteins, or lacks them.
    fn with_proteins(&self, here: bool) -> usize {
        let rows = &self.cohort.dataset().cohort.tables["protein"].1;
        rows.iter().position(|r| r.is_some() == here).unwrap()
    }
}

/// Two epochs teach nothing that an interval shows.
const LEARNT: Option<Estimate> = Some(Estimate { value: 0.8, low: 0.7, high: 0.9 });

/// The scores of a study with the main metric of each task replaced.
fn scores(
    results: &StudyResults,
    cohort: &OmicsStudyCohort,
    estimate: impl Fn(&str) -> Option<Estimate>,
) -> Scores {
    let mut scores = results.score(cohort, &ScoreOptions::default().replicates(20)).unwrap();
    scores.rows.iter_mut().for_each(|row| row.metrics[0].1 = estimate(&row.task));
    scores
}

fn open(path: &Path) -> OmicsPredictor {
    OmicsPredictor::open(&Bundle::open(path).unwrap(), &Device::Cpu).unwrap()
}

#[test]
fn a_bundle_elsewhere_predicts_the_same_bits_as_the_study() {
    let trained = Trained::new();
    let patients: Vec<OmicsPatient> = (0..4).map(|row| trained.patient(row)).collect();
    let here = open(&trained.bundle());
    let before: Vec<_> = patients.iter().map(|p| here.predict(p).unwrap()).collect();
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("model");
    std::fs::rename(trained.bundle(), &moved).unwrap();
    let there = open(&moved);
    let after: Vec<_> = patients.iter().map(|p| there.predict(p).unwrap()).collect();
    assert_eq!(before, after);

    // The model of the fold that held a patient out answers as in the study, up to the size of the batch.
    for (row, patient) in patients.iter().enumerate() {
        let job = trained.results.jobs().iter().find(|j| j.test.contains(&row)).unwrap();
        let prediction = there.predict_held_out(patient, (job.repeat, job.fold)).unwrap();
        let at = job.test.iter().position(|r| *r == row).unwrap();
        for (task, answers) in &job.answers {
            let own = &prediction.answers[0].1[task][0];
            let (a, b) = (numbers(&answers[at]), numbers(own));
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5), "{task}: {a:?} and {b:?}");
        }
    }
    let absent = there.predict_held_out(&patients[0], (0, 7)).unwrap_err().to_string();
    assert!(absent.contains("one of [(0, 0), (0, 1)], got (0, 7)"), "{absent}");
}

fn numbers(answer: &Answer) -> Vec<f64> {
    match answer {
        Answer::Survival { risk, .. } => vec![*risk],
        Answer::Probabilities(p) => p.clone(),
        Answer::ConstantTime { .. } => vec![],
    }
}

#[test]
fn what_is_missing_is_left_out_or_imputed_and_reported() {
    let trained = Trained::new();
    let predictor = open(&trained.bundle());
    let mut patient = trained.patient(trained.with_proteins(true));
    let whole = predictor.predict(&patient).unwrap().report;
    assert!(
        whole.notes.iter().all(|n| !n.contains("imputed") && !n.contains("left out")),
        "{:?}",
        whole.notes
    );

    patient.tables.remove("protein");
    patient.tables.get_mut("gene").unwrap().remove("G00003");
    patient.covariates.clear();
    let report = predictor.predict(&patient).unwrap().report;
    let note =
        |part: &str| assert!(report.notes.iter().any(|n| n.contains(part)), "{part}: {:?}", report.notes);
    note("left out: protein");
    note("1 of 24 values of gene");
    note("Calibrated on the patients of the study that chose the epoch");
    let observed = |table: &str| report.data.iter().find(|d| d.table == table).unwrap().observed;
    assert_eq!((observed("gene"), observed("protein"), observed("patient")), (23, 0, 0));
    let share = |name: &str| report.modalities.iter().find(|m| m.name == name).unwrap().share;
    assert!(share("proteomics").is_none());
    assert!((share("genomics").unwrap() + share("clinical").unwrap() - 1.0).abs() < 1e-6);
    let Prediction::Survival { risk, .. } = &report.predictions[0] else { panic!("no survival") };
    assert!(risk.is_finite());

    // A patient who is measured in no table has covariates only, and one of the cohort may lack proteins.
    patient.tables.clear();
    predictor.predict(&patient).unwrap();
    let lacking = trained.patient(trained.with_proteins(false));
    assert!(!lacking.tables.contains_key("protein"));
    predictor.predict(&lacking).unwrap();

    patient.tables.entry("gene".into()).or_default().insert("G0003".into(), 1.0);
    let error = predictor.predict(&patient).unwrap_err().to_string();
    assert!(error.contains("nearest G00003"), "{error}");
}

#[test]
fn a_bundle_of_another_system_or_with_files_that_do_not_fit_is_refused() {
    let trained = Trained::new();
    let folder = tempfile::tempdir().unwrap();
    let writer = BundleWriter::create(folder.path().join("other"), "stg").unwrap();
    let error = OmicsPredictor::open(&writer.finish().unwrap(), &Device::Cpu).err().unwrap().to_string();
    assert!(error.contains("a model of the system stg, expected one of omics"), "{error}");

    // The same files, with a table that lost its last column.
    let bundle = Bundle::open(trained.bundle()).unwrap();
    let mut writer = BundleWriter::create(folder.path().join("short"), "omics").unwrap();
    for file in bundle.files() {
        let mut bytes = bundle.bytes(&file.name).unwrap();
        if file.name == "model.json" {
            let mut model: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            model["columns"]["tables"]["lab"].as_array_mut().unwrap().pop();
            bytes = serde_json::to_vec(&model).unwrap();
        }
        writer.bytes(&file.name, &bytes).unwrap();
    }
    let error = OmicsPredictor::open(&writer.finish().unwrap(), &Device::Cpu).err().unwrap().to_string();
    assert!(error.contains("scalers of the listed columns"), "{error}");
}

#[test]
fn only_the_network_itself_is_bundled_and_a_run_keeps_its_bundle() {
    let trained = Trained::new();
    let run = RunDir::open(trained.folder.path()).unwrap();
    let scores = scores(&trained.results, &trained.cohort, |_| None);
    let card = (&ModelCard::new("net", "tests"), &scores);
    let system = OmicsSystem::new(OmicsSystemConfig::quick());
    let before = Bundle::open(trained.bundle()).unwrap().identity();
    let again = write_bundle(&run, &trained.results, &trained.cohort, &system, card).unwrap();
    assert_eq!(again.identity(), before);
    let shuffled = system.shuffled_edges();
    let error = write_bundle(&run, &trained.results, &trained.cohort, &shuffled, card).unwrap_err();
    assert!(error.to_string().contains("the network itself"), "{error}");
}

/// The bundle with another file in place of its own `model.json`.
fn with_skill(trained: &Trained, folder: &Path, skill: &serde_json::Value) -> OmicsPredictor {
    let bundle = Bundle::open(trained.bundle()).unwrap();
    let mut writer = BundleWriter::create(folder, "omics").unwrap();
    for file in bundle.files() {
        let mut bytes = bundle.bytes(&file.name).unwrap();
        if file.name == "model.json" {
            let mut model: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            model["skill"] = skill.clone();
            bytes = serde_json::to_vec(&model).unwrap();
        }
        writer.bytes(&file.name, &bytes).unwrap();
    }
    OmicsPredictor::open(&writer.finish().unwrap(), &Device::Cpu).unwrap()
}

#[test]
fn a_task_that_was_not_learnt_has_a_sentence_and_no_number() {
    let (trained, folder) = (Trained::new(), tempfile::tempdir().unwrap());
    let skill =
        |name: &str, estimate: serde_json::Value| serde_json::json!({"metric": name, "estimate": estimate});
    let chance = serde_json::json!({"value": 0.55, "low": 0.48, "high": 0.63});
    let skills = serde_json::json!({
        "survival": skill("C-index", chance),
        "toxicity": skill("AUROC", serde_json::json!({"value": 0.8, "low": 0.7, "high": 0.9})),
    });
    let predictor = with_skill(&trained, &folder.path().join("one"), &skills);
    let report = predictor.predict(&trained.patient(0)).unwrap().report;
    let of = |task: &str| report.predictions.iter().find(|p| p.task() == task).unwrap();
    let Prediction::NotLearnt { reason, .. } = of("survival") else { panic!("{:?}", of("survival")) };
    assert!(
        reason.contains("the C-index is 0.550 (0.480 to 0.630), which is not above chance (0.5)"),
        "{reason}"
    );
    assert!(matches!(of("toxicity"), Prediction::Events { .. }));
    // What is explained is a task that was learnt.
    assert!(report.explained.starts_with("toxicity: logit of the likeliest answer"), "{}", report.explained);
    let text = report.to_markdown();
    let section = text.split("## survival").nth(1).unwrap().split("##").next().unwrap();
    assert!(section.contains("Not learnt") && !section.contains("Probability"), "{section}");
    assert!(
        report.notes.iter().any(|n| n.starts_with(OMICS_RULES) && n.contains("(5) survival")),
        "{:?}",
        report.notes
    );
    let nothing = with_skill(&trained, &folder.path().join("two"), &serde_json::json!({}));
    let report = nothing.predict(&trained.patient(0)).unwrap().report;
    assert!(report.predictions.iter().all(|p| matches!(p, Prediction::NotLearnt { .. })));
    assert!(report.features.is_empty() && report.modalities.is_empty());
}

#[test]
fn survival_has_intervals_and_covariates_are_among_the_contributions() {
    let trained = Trained::new();
    let predictor = open(&trained.bundle());
    let reports: Vec<_> =
        (0..6).map(|row| predictor.predict(&trained.patient(row)).unwrap().report).collect();
    let mut wide = 0;
    for report in &reports {
        let Prediction::Survival { survival, .. } = &report.predictions[0] else { panic!("no survival") };
        assert!(!survival.is_empty());
        for at in survival {
            let [low, high] = at.interval.unwrap();
            assert!(low <= at.probability && at.probability <= high, "{at:?}");
            // A probability of 1 leaves no room on either side.
            wide += usize::from(low < at.probability && at.probability < high);
        }
    }
    assert!(wide > 0);
    let report = &reports[0];
    assert!(report.explained.contains("mean in every covariate and every value"), "{}", report.explained);
    // Without a table, covariates are all that there is to contribute.
    let mut patient = trained.patient(0);
    patient.tables.clear();
    let report = open(&trained.bundle()).predict(&patient).unwrap().report;
    let tables: Vec<&str> = report.features.iter().map(|f| f.table.as_str()).collect();
    assert_eq!(tables, ["patient", "patient"], "{:?}", report.features);
    assert!(report.features.iter().any(|f| f.attribution != 0.0));
}

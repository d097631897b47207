//! A cohort that nobody here has seen: from its folder, with trouble of every kind in it, to a new patient.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use candle_core::Device;
use oncograph_datasets::omics::OmicsDataset;
use oncograph_deploy::{Bundle, Prediction};
use oncograph_omics::*;
use oncograph_report::ModelCard;
use oncograph_study::{Cohort, Estimate, ScoreOptions, Study};
use oncograph_train::RunDir;
use std::fmt::Write;
use std::path::Path;

const PATIENTS: usize = 48;

/// Five columns of trouble: an age with gaps, a sex that is sometimes unknown, a stage with an order, a score that is
/// mostly missing, and a column of one value; beside them patients without a table, without an outcome and in one table alone.
const SCHEMA: &str = r#"{
  "name": "melanoma of two hospitals",
  "patients": {"file": "patients.csv", "id": "MRN"},
  "covariates": [
    {"name": "age", "kind": "number"},
    {"name": "sex", "kind": "category", "levels": ["F", "M"]},
    {"name": "stage", "kind": "ordered", "levels": ["II", "III", "IV"]},
    {"name": "ECOG", "kind": "number"},
    {"name": "species", "kind": "category", "levels": ["human", "mouse"], "mask": false}
  ],
  "tables": {
    "gene": {"file": "counts.tsv", "transposed": true, "log1p": true, "leave_out": ["about"]},
    "lab": {"file": "labs.csv", "leave_out": ["drawn on"]},
    "metabolite": {"file": "metabolites.csv"}
  },
  "images": {"file": "slices.csv", "centroid": ["x", "y"]},
  "edges": [
    {"from": "gene", "to": "gene", "file": "network.tsv", "columns": ["a", "b"], "score": "score"},
    {"from": "gene", "to": "lab", "file": "gene_lab.tsv", "columns": ["gene", "lab"]}
  ],
  "outcomes": {
    "table": {"file": "outcomes.csv"},
    "survival": {"time": "months", "unit": "months", "event": "status"},
    "classes": [{"task": "response", "column": "response", "names": ["no", "yes"]}],
    "events": {"colitis": "colitis", "rash": "rash"}
  },
  "centre": "hospital",
  "cancer_type": "site"
}"#;

/// A number in [0, 1) that looks like chance.
fn draw(p: usize, k: usize) -> f64 {
    ((p * 7919 + k * 104_729 + p * k * 31) % 1009) as f64 / 1009.0
}

fn id(p: usize) -> String {
    format!("MRN/{p:03}")
}

fn write(root: &Path) {
    let put = |name: &str, text: String| std::fs::write(root.join(name), text).unwrap();
    put("cohort.json", SCHEMA.into());
    // Decimal commas, a column that nobody asked for, and a hospital that is not always known.
    let mut patients = String::from("hospital;MRN;age;sex;stage;ECOG;species;site;remark\n");
    let mut outcomes = String::from("MRN,months,status,response,colitis,rash\n");
    let mut labs = String::from("MRN,drawn on,LDH,CRP\n");
    let mut metabolites = String::from("MRN,lactate,glucose,urate\n");
    let mut slices = String::from("MRN,x,y,v1,v2\n");
    for p in 0..PATIENTS {
        let (age, sex) = (format!("{:.1}", 40.0 + 40.0 * draw(p, 1)).replace('.', ","), ["F", "M"][p % 2]);
        let age = if p % 6 == 5 { String::new() } else { age };
        let sex = if p % 7 == 6 { "NA" } else { sex };
        let ecog = if p.is_multiple_of(5) {
            "1,5"
        } else if p % 5 == 1 {
            "0"
        } else {
            ""
        };
        let (hospital, stage) =
            (if p == 3 { "" } else { ["north", "south"][p % 2] }, ["II", "III", "IV"][p % 3]);
        let site = ["skin", "eye"][usize::from(p.is_multiple_of(4))];
        writeln!(patients, "{hospital};{};{age};{sex};{stage};{ecog};human;{site};-", id(p)).unwrap();
        // Two have no outcome, one a time of 0, one a time without a status; two others are strangers.
        let status = if p == 9 { "" } else { ["alive", "dead"][usize::from(draw(p, 2) < 0.6)] };
        let months = if p == 8 { 0.0 } else { 60.0 * draw(p, 3) };
        let response = ["no", "yes"][usize::from(draw(p, 4) < 0.5)];
        let (colitis, rash) = (u8::from(draw(p, 5) < 0.4), if p % 4 == 3 { "" } else { "1.0" });
        if p < PATIENTS - 2 {
            writeln!(outcomes, "{},{months},{status},{response},{colitis},{rash}", id(p)).unwrap();
        }
        if p % 8 != 7 {
            writeln!(labs, "{},2020-01-0{},{},{}", id(p), 1 + p % 9, 200.0 + 99.0 * draw(p, 6), draw(p, 7))
                .unwrap();
        }
        if !p.is_multiple_of(3) {
            let urate = if p % 6 == 2 { "5.5" } else { "" };
            writeln!(metabolites, "{},{},{},{urate}", id(p), draw(p, 8), draw(p, 9)).unwrap();
        }
        for s in 0..p % 4 {
            writeln!(slices, "{},{},{},{},{}", id(p), s, draw(p, s), draw(p, 20 + s), draw(p, 30 + s))
                .unwrap();
        }
    }
    outcomes += "X/1,12,dead,no,0,0\nX/2,12,alive,no,0,0\n";
    put("patients.csv", patients);
    put("outcomes.csv", outcomes);
    put("labs.csv", labs);
    put("metabolites.csv", metabolites);
    put("slices.csv", slices);
    // Genes in rows, one patient too few and one too many.
    let mut counts = String::from("gene\tabout");
    (1..PATIENTS).for_each(|p| write!(counts, "\t{}", id(p)).unwrap());
    counts += "\tX/9\n";
    for g in 0..12 {
        write!(counts, "G{g}\tx").unwrap();
        (1..=PATIENTS).for_each(|p| write!(counts, "\t{}", (500.0 * draw(p, 40 + g)).round()).unwrap());
        counts += "\n";
    }
    put("counts.tsv", counts);
    put("network.tsv", "a\tb\tscore\nG0\tG1\t0.9\nG2\tG3\t0.8\nG4\tG5\t0.2\nG6\tTP53\t0.9\n".into());
    put("gene_lab.tsv", "gene\tlab\nG0\tLDH\nG7\tCRP\n".into());
}

const PATIENT: &str = r#"{
  "id": "../../new/1",
  "covariates": {"age": 66.5, "sex": "F", "stage": "IV"},
  "tables": {"gene": {"G0": 120, "G1": 0, "G7": 33}, "metabolite": {"lactate": 0.4}},
  "images": [{"values": {"v1": 0.2, "v2": 0.7}, "centroid": [1, 2, 0]}, {"values": {"v2": 0.1, "v1": 0.3}}]
}"#;

/// What is odd about it is remarked, and nobody is lost without a reason.
fn remarked(dataset: &OmicsDataset) {
    let notes = dataset.cohort.notes.join("\n");
    for part in [
        "The covariate ECOG is missing in 28 of 48 patients",
        "The covariate species has one value only",
        "columns without a part, as cohort.json does not name them: `remark`",
        "hospital is not known of 1 patients",
        "outcomes.csv has no row for 2 patients",
        "of 1 patients only the time or only the event is known, their survival counts as unknown: `MRN/009`",
        "network.tsv: 2 of 3 pairs join columns of gene and gene",
        "metabolite: 1 of 3 columns are missing in more than half of the rows: `urate`",
    ] {
        assert!(notes.contains(part), "{part} is not in {notes}");
    }
    let left_out = |table: &str| -> Vec<String> {
        let account = dataset.cohort.accounts.iter().find(|a| a.table == table).unwrap();
        assert_eq!(account.rows, account.used + account.left_out.iter().map(|l| l.1.len()).sum::<usize>());
        account.left_out.iter().flat_map(|l| l.1.clone()).collect()
    };
    assert_eq!(
        (left_out("outcomes"), left_out("gene")),
        (vec!["X/1".into(), "X/2".into()], vec!["X/9".into()])
    );
}

/// Without one value of each kind the prediction is another.
fn every_value_has_a_part(predictor: &OmicsPredictor, patient: &OmicsPatient) {
    let risk = |patient: &OmicsPatient| predictor.predict(patient).unwrap().answers;
    let whole = risk(patient);
    for change in [
        &(|p: &mut OmicsPatient| drop(p.covariates.insert("sex".into(), "M".into())))
            as &dyn Fn(&mut OmicsPatient),
        &|p| drop(p.covariates.remove("age")),
        &|p| drop(p.covariates.insert("stage".into(), "II".into())),
        &|p| p.tables.get_mut("gene").unwrap().values_mut().for_each(|v| *v += 50.0),
        &|p| drop(p.tables.remove("metabolite")),
        &|p| drop(p.images.pop()),
        &|p| p.images.clear(),
    ] {
        let mut other = patient.clone();
        change(&mut other);
        assert_ne!(risk(&other), whole, "{other:?}");
    }
}

#[test]
fn a_strange_cohort_trains_and_its_moved_bundle_predicts_a_new_patient() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    std::fs::create_dir(&root).unwrap();
    write(&root);
    let dataset = OmicsDataset::folder(&root).unwrap();
    remarked(&dataset);

    let mut config = OmicsSystemConfig::quick().select(10).batch(12);
    (config.net.hidden, config.fit.epochs) = (8, 2);
    let cohort = OmicsStudyCohort::new(dataset, &config).unwrap();
    assert_eq!(cohort.modality_names(), ["genomics", "clinical", "metabolite", "imaging"]);
    let system = OmicsSystem::new(config);
    let run = RunDir::open(folder.path()).unwrap();
    let study = Study::new(&cohort, &run).cross_validation(2, 1);
    let results = study.model(system.name(), &system).run().unwrap();
    let mut scores = results.score(&cohort, &ScoreOptions::default().replicates(20)).unwrap();
    assert_eq!(cohort.tasks().len(), 3);
    // Nothing is planted: what a prediction looks like is asked for as if there were something.
    let learnt = Some(Estimate { value: 0.8, low: 0.7, high: 0.9 });
    scores.rows.iter_mut().for_each(|row| row.metrics[0].1 = learnt);
    let card = ModelCard::new("net", "tests");
    let bundle = write_bundle(&run, &results, &cohort, &system, (&card, &scores)).unwrap();

    // The cohort is gone, and the bundle elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("model");
    std::fs::rename(bundle.path(), &moved).unwrap();
    std::fs::remove_dir_all(&root).unwrap();
    let predictor = OmicsPredictor::open(&Bundle::open(&moved).unwrap(), &Device::Cpu).unwrap();
    let mut patient: OmicsPatient = serde_json::from_str(PATIENT).unwrap();
    let report = predictor.predict(&patient).unwrap().report;
    assert!(matches!(report.predictions[0], Prediction::Survival { .. }), "{:?}", report.predictions);
    assert!(report.notes.iter().any(|n| n == "Without data, and left out: lab."), "{:?}", report.notes);
    let there: Vec<&str> =
        report.modalities.iter().filter(|m| m.share.is_some()).map(|m| m.name.as_str()).collect();
    assert_eq!(there, ["genomics", "metabolite", "imaging"]);
    assert!(report.features.iter().any(|f| f.table == "patient"), "{:?}", report.features);
    let written = report.write_named(elsewhere.path()).unwrap();
    assert_eq!(written.parent(), Some(elsewhere.path()));
    assert!(written.is_file());

    every_value_has_a_part(&predictor, &patient);
    patient.covariates.insert("stage".into(), "V".into());
    let error = predictor.predict(&patient).unwrap_err().to_string();
    assert!(error.contains("stage must be one of II, III, IV, got V"), "{error}");
}

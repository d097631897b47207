use super::*;
use crate::omics::{
    CovariateKind, ImageVector, ImageVectors, OmicsCohort, OmicsCovariate, OmicsPhantomConfig, TableAccount,
};
use crate::tables::testing::write_text;
use oncograph_core::{FollowUp, Table};
use std::collections::BTreeSet;

/// A phantom with everything that a folder can describe.
fn everything() -> OmicsDataset {
    let mut dataset = OmicsDataset::phantom(&OmicsPhantomConfig::new(30, 1).sizes(24, 24, 3)).unwrap();
    let cohort = &mut dataset.cohort;
    let coding = vec![
        OmicsCovariate::new("age", CovariateKind::Number),
        OmicsCovariate::new("sex", CovariateKind::Category).levels(["F", "M"]).mask(true),
        OmicsCovariate::new("stage", CovariateKind::Ordered).levels(["I", "II", "III"]),
    ];
    let row = |p: usize| {
        let sex = (!p.is_multiple_of(4)).then(|| ["F", "M"][p % 2].into());
        let stage = (!p.is_multiple_of(5)).then(|| ["I", "II", "III"][p % 3].into());
        let age = Some((60.0 + p as f64 / 3.0).into());
        [coding[0].encode(age.as_ref()), coding[1].encode(sex.as_ref()), coding[2].encode(stage.as_ref())]
            .map(std::result::Result::unwrap)
            .concat()
    };
    let columns = coding.iter().flat_map(OmicsCovariate::columns).collect();
    cohort.covariates = Table::new(cohort.ids().to_vec(), columns, (0..30).map(row).collect()).unwrap();
    cohort.coding = coding;
    cohort.counts = BTreeSet::from(["lab".into()]);
    let labs = &mut cohort.tables.get_mut("lab").unwrap().1;
    labs.iter_mut().flatten().flatten().for_each(|v| *v = v.abs());
    labs[2].as_mut().unwrap()[1] = f32::NAN;
    cohort.outcomes[3].survival = None;
    cohort.outcomes[4].classes.clear();
    cohort.outcomes[5].toxicity[1] = None;
    cohort.outcomes[6].survival = Some(FollowUp::years(0.0, true).unwrap());
    let vector = |p: usize, s: usize| ImageVector {
        values: vec![p as f32 / 3.0, s as f32],
        centroid: (p != 4).then_some([s as f64, 0.5, p as f64]),
    };
    cohort.images = Some(ImageVectors {
        features: vec!["v1".into(), "v2".into()],
        patients: (0..30).map(|p| (0..p % 3).map(|s| vector(p, s)).collect()).collect(),
    });
    dataset.cancer_types = (0..30).map(|p| ["lung", "colon"][p % 2].into()).collect();
    dataset
}

#[test]
fn a_cohort_comes_back_from_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (root, before) = (dir.path().join("cohort"), everything());
    before.write_folder(&root).unwrap();
    let after = OmicsDataset::folder(&root).unwrap();
    let bits = |c: &OmicsCohort| -> Vec<u32> {
        c.tables.values().flat_map(|(_, rows)| rows.iter().flatten().flatten().map(|v| v.to_bits())).collect()
    };
    let (a, b) = (&before.cohort, &after.cohort);
    assert_eq!((&a.covariates, &a.coding, &a.counts), (&b.covariates, &b.coding, &b.counts));
    assert_eq!(bits(a), bits(b));
    let shape = |c: &OmicsCohort| -> Vec<(String, Vec<String>, Vec<bool>)> {
        let one = |(name, (columns, rows)): (&String, &crate::omics::NamedRows)| {
            (name.clone(), columns.clone(), rows.iter().map(Option::is_some).collect())
        };
        c.tables.iter().map(one).collect()
    };
    assert_eq!(shape(a), shape(b));
    assert_eq!(
        (&a.outcomes, &a.classes, &a.events, &a.images),
        (&b.outcomes, &b.classes, &b.events, &b.images)
    );
    assert_eq!((&before.networks, &before.sets), (&after.networks, &after.sets));
    assert_eq!((&before.centres, &before.cancer_types), (&after.centres, &after.cancer_types));
    assert!(after.phantom && b.accounts.iter().all(|t| t.rows == t.used), "{:?}", b.accounts);
    let again = before.write_folder(&root).unwrap_err().to_string();
    assert!(again.contains("not empty"), "{again}");
}

const SCHEMA: &str = r#"{
  "name": "a cohort",
  "patients": {"file": "patients.csv", "id": "patient"},
  "covariates": [
    {"name": "age", "kind": "number"},
    {"name": "sex", "kind": "category", "levels": ["F", "M"]},
    {"name": "karnofsky", "kind": "number", "mask": false}
  ],
  "tables": {"gene": {"file": "genes.tsv", "transposed": true}},
  "edges": [{"from": "gene", "to": "gene", "file": "edges.tsv", "columns": ["a", "b"], "score": "score"}],
  "outcomes": {
    "table": {"file": "outcomes.csv"},
    "survival": {"time": "days", "unit": "days", "event": "dead"},
    "classes": [{"task": "response", "column": "response", "names": ["no", "yes"]}],
    "events": {"nausea": "tox"}
  },
  "centre": "hospital"
}"#;

const FILES: [(&str, &str); 5] = [
    ("cohort.json", SCHEMA),
    (
        "patients.csv",
        "hospital,patient,age,sex,karnofsky,ward\nx,A,61,F,,1\ny,B,70,M,80,2\n,C,,NA,,1\nx,D,55,M,,3\n",
    ),
    ("genes.tsv", "gene\tA\tB\tD\tX\nTP53\t1\t2\t3\t9\nEGFR\t1\t\t3\t9\n"),
    ("edges.tsv", "a\tb\tscore\nTP53\tEGFR\t0.9\nTP53\tMYC\t0.8\nEGFR\tTP53\t0.1\n"),
    (
        "outcomes.csv",
        "patient,days,dead,response,tox\nA,100,1,yes,0\nB,0,dead,no,1.0\nD,50,,,\nY,9,alive,,\nZ,9,no,,\n",
    ),
];

/// Reads the files with one change in one of them.
fn read(file: &str, change: (&str, &str)) -> Result<OmicsDataset> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        let text = if name == file { text.replacen(change.0, change.1, 1) } else { text.into() };
        assert!(name != file || FILES.iter().all(|f| f.1 != text) || change.0 == change.1);
        write_text(dir.path(), name, text);
    }
    OmicsDataset::folder(dir.path())
}

#[test]
fn nobody_is_lost_silently_and_what_is_odd_is_remarked() {
    let dataset = read("", ("", "")).unwrap();
    let cohort = &dataset.cohort;
    assert_eq!(cohort.ids(), ["A", "B", "C", "D"]);
    let columns = ["age", "age is missing", "sex = F", "sex = M", "sex is missing", "karnofsky"];
    assert_eq!(cohort.covariates.columns(), columns);
    assert_eq!(cohort.covariates.row(2), [None, Some(1.0), None, None, Some(1.0), None]);
    assert_eq!(cohort.tables["gene"].1[3], Some(vec![3.0, 3.0]));
    assert_eq!(cohort.tables["gene"].1[2], None);
    assert_eq!(dataset.networks[0].pairs.len(), 2);
    let zero = cohort.outcomes[1].survival.unwrap();
    assert_eq!((zero.time(), zero.event(), cohort.outcomes[3].survival), (0.0, true, None));
    assert_eq!(cohort.outcomes[1].toxicity, [Some(true)]);
    assert_eq!(dataset.centres, ["x", "y", "unknown", "x"]);
    let account =
        |table: &str| -> &TableAccount { cohort.accounts.iter().find(|a| a.table == table).unwrap() };
    assert_eq!((account("patients").rows, account("gene").rows, account("gene").used), (4, 4, 3));
    let others = [("not in patients.csv".to_string(), vec!["Y".to_string(), "Z".into()])];
    assert_eq!((account("outcomes").rows, &account("outcomes").left_out[..]), (5, &others[..]));
    for part in [
        "karnofsky is missing in 3 of 4 patients",
        "The covariate karnofsky has one value only",
        "columns without a part, as cohort.json does not name them: `ward`",
        "outcomes.csv has no row for 1 patients: `C`",
        "of 1 patients only the time or only the event is known, their survival counts as unknown: `D`",
        "1 patients are in no table of values, covariates are all there is: `C`",
        "Of 2 patients no outcome is known, they are neither trained on nor scored: `C`, `D`",
        "hospital is not known of 1 patients",
        "edges.tsv: 1 of 2 pairs join columns of gene and gene",
    ] {
        assert!(cohort.notes.iter().any(|n| n.contains(part)), "{part}: {:?}", cohort.notes);
    }
}

#[test]
fn trouble_is_named_with_file_row_and_column() {
    for (file, from, to, parts) in [
        ("outcomes.csv", "B,0", "A,0", &["outcomes.csv", "patient A is in row 2 and again in row 3"][..]),
        ("patients.csv", "y,B", "y,A", &["patients.csv", "patient A is in row 2 and again in row 3"]),
        ("outcomes.csv", "A,100", "A,-3", &["row 2, column `days`", "a time of at least 0", "-3"]),
        ("outcomes.csv", "dead,no", "maybe,no", &["row 3, column `dead`", "yes or no", "maybe"]),
        ("outcomes.csv", "1,yes", "1,partial", &["row 2, column `response`: expected one of no, yes"]),
        ("patients.csv", "A,61", "A,sixty", &["row 2, column `age`: expected a number, got \"sixty\""]),
        ("patients.csv", "A,61", "A,1961-03-05", &["row 2, column `age`", "an age is the years between"]),
        ("patients.csv", "61,F", "61,female", &["row 2, column `sex`: expected one of F, M", "female"]),
        ("patients.csv", "ward", "age", &["patients.csv", "`age` is there twice"]),
        ("genes.tsv", "A\tB\tD\tX", "a\tb\td\tx", &["genes.tsv", "none of its 4 identifiers is a patient"]),
        ("genes.tsv", "TP53\t1", "TP53\thigh", &["genes.tsv", "row 2", "expected a number", "high"]),
        ("cohort.json", "\"age\"", "\"Age\"", &["patients.csv: no column `Age`; found: hospital"]),
        ("cohort.json", "\"hospital\"", "\"clinic\"", &["no column `clinic`"]),
        ("cohort.json", "\"dead\"", "\"death\"", &["outcomes.csv: no column `death`"]),
        ("cohort.json", "\"centre\"", "\"center\"", &["cohort.json", "unknown field `center`"]),
        (
            "cohort.json",
            "\"to\": \"gene\"",
            "\"to\": \"protein\"",
            &["cohort.json", "between tables of gene"],
        ),
        ("cohort.json", "\"gene\": {", "\"a.b\": {", &["cohort.json", "names without dots and slashes"]),
        ("cohort.json", "[\"F\", \"M\"]", "[\"F\"]", &["levels of \"sex\"", "two or more"]),
        ("cohort.json", "genes.tsv", "absent.tsv", &["absent.tsv", "No such file"]),
    ] {
        let error = read(file, (from, to)).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{file}, {from} -> {to}: {error}");
    }
}

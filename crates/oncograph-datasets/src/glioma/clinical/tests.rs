use super::*;
use crate::tables::testing::{Put, gzip, write_text, write_workbook};

fn read(text: &str) -> Result<GliomaTable> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    std::fs::write(&path, text).unwrap();
    GliomaTable::read(&path)
}

const UCSF: &str = "ID,Sex,Age at MRI,WHO CNS Grade,MGMT status,IDH\n";

#[test]
fn every_spelling_of_idh_is_known() {
    let spellings = [
        ("wildtype", false),
        ("mutated (NOS)", true),
        ("IDH1 p.R132H", true),
        ("IDH1 p.Arg132His", true),
        ("IDH2 p.R172K", true),
        ("IDH2 p.Arg172Trp", true),
    ];
    let rows = spellings.iter().enumerate().map(|(i, (s, _))| format!("P{i},M,50,4,indeterminate,{s}\n"));
    let table = read(&(UCSF.to_string() + &rows.collect::<String>())).unwrap();
    for (patient, (spelling, mutant)) in table.patients.iter().zip(spellings) {
        assert_eq!(patient.idh, Some(mutant), "{spelling}");
        assert_eq!(patient.mgmt, None);
    }
}

#[test]
fn two_names_of_one_patient_are_found_and_named() {
    let header = "ID,Sex,Age at MRI,MGMT index,IDH,1-dead 0-alive,OS,BraTS21 ID\n";
    let rows = "A,F,58,3,wildtype,1,624,BraTS2021_00557\nB,F,58,4,wildtype,1,624,\nC,F,58,3,wildtype,1,624,\n\
                D,F,58,3,wildtype,1,,\nE,F,58,3,wildtype,1,,\nA_FU001d,F,59,3,wildtype,1,300,\n";
    let table = read(&format!("{header}{rows}")).unwrap();
    // B differs in a number; D and E were never followed, as many others of their age and sex.
    assert_eq!(table.groups().numbers(), [0, 1, 0, 2, 3, 0]);
    let note = &table.notes[0];
    assert!(note.contains("A = C (rows 2 and 4); 4 patients in 6 rows"), "{note}");
    assert_eq!(read(&format!("{UCSF}A,M,50,4,,wildtype\nB,M,50,4,,wildtype\n")).unwrap().groups().count(), 2);
}

#[test]
fn what_is_wrong_is_named() {
    let message = |text: &str| read(text).unwrap_err().to_string();
    let bad = message(&format!("{UCSF}A,M,50,4,positive,maybe\n"));
    assert!(bad.contains("row 2, column `IDH`") && bad.ends_with("got \"maybe\""), "{bad}");
    assert!(message(&format!("{UCSF}A,M,-5,4,positive,wildtype\n")).contains("column `Age at MRI`"));
    assert!(message(&format!("{UCSF}A,M,5,4,,wildtype\nA,M,5,4,,wildtype\n")).contains("again in row 3"));
    assert!(message(UCSF).contains("no rows"));
    assert!(message("a,b\n1,2\n").contains("neither UCSF-PDGM"));
}

#[test]
fn ceccarelli_keeps_untested_patients_until_they_are_dropped() {
    let header = "patient,Tissue.source.site,Histology,Grade,Age..years.at.diagnosis.,Gender,\
                  Karnofsky.Performance.Score,IDH.status,MGMT.promoter.status\n";
    let rows = "A,Duke,astrocytoma,G2,31,female,90,Mutant,Unmethylated\n\
                B,Duke,glioblastoma,G4,61,male,,WT,\nC,UCSF,,,,,,,\n";
    let table = read(&format!("{header}{rows}")).unwrap();
    assert_eq!((table.kind, table.patients.len()), (GliomaTableKind::Ceccarelli2016, 3));
    let table = table.with_idh();
    assert_eq!(table.patients.len(), 2);
    let features = table.features(GliomaFeatures::Pathology).unwrap();
    let names = [
        "age",
        "male",
        "karnofsky",
        "grade",
        "mgmt_methylated",
        "histology_astrocytoma",
        "histology_glioblastoma",
    ];
    assert_eq!(features.columns(), names);
    assert_eq!(features.row(1), [Some(61.0), Some(1.0), None, Some(4.0), None, Some(0.0), Some(1.0)]);
    assert_eq!(table.position("B"), Some(1));
}

#[test]
fn tables_in_other_formats_are_the_same() {
    let text = format!("{UCSF}A,M,50.5,4,positive,wildtype\nB,F,40,2,negative,mutated (NOS)\n");
    let expected = read(&text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("t.tsv", text.replace(',', "\t").into_bytes()),
        ("t.csv", text.replace(',', ";").replace("50.5", "50,5").into_bytes()),
        ("t.csv.gz", gzip(&text)),
        ("t.csv", format!("{text},,,,,\n").replace('\n', "\r").into_bytes()),
    ] {
        let found = GliomaTable::read(write_text(folder.path(), name, content)).unwrap();
        assert_eq!(found.patients, expected.patients, "{name}");
    }
    let names = UCSF.trim().split(',').map(Put::Text);
    let row = |id, age| {
        let rest = [Put::Text("M"), age, Put::Number(4.0), Put::Text("positive"), Put::Text("wildtype")];
        std::iter::once(Put::Text(id)).chain(rest).collect()
    };
    let book = |age| {
        let sheets = [
            ("legend", true, vec![vec![Put::Text("x")]]),
            ("old", false, vec![names.clone().collect()]),
            ("data", true, vec![names.clone().collect(), row("A", Put::Number(50.5)), row("B", age)]),
        ];
        GliomaTable::read(write_workbook(&folder.path().join("t.xlsx"), &sheets))
    };
    let found = book(Put::Nothing).unwrap();
    assert_eq!((&found.patients[0], found.patients[1].age), (&expected.patients[0], None));
    assert!(found.notes[0].contains("hidden sheets are passed over: `old`"), "{:?}", found.notes);
    for (age, part) in [
        (Put::Formatted(20000.0, 1), "the date 1954-10-03"),
        (Put::Formatted(0.5, 2), "percent"),
        (Put::Formula("A1", None), "a formula"),
    ] {
        let error = book(age).unwrap_err().to_string();
        assert!(
            error.contains("sheet `data`: row 3, column `Age at MRI`") && error.contains(part),
            "{error}"
        );
    }
    let twice = read("ID,IDH,IDH\nA,wildtype,IDH1 p.R132H\n").unwrap_err().to_string();
    assert!(twice.contains("column `IDH` is there twice, as columns 2 and 3"), "{twice}");
}

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
    assert!(message("a,b\n1,2\n").contains("none has the columns of UCSF-PDGM"));
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

#[test]
fn a_table_of_ones_own_is_read_with_its_covariates() {
    let text = "id,idh,site,age,sex,volume,laterality\nA,1,Rome,40,F,12.5,left\nB,0,Rome,,m,,right\n\
                C,wild-type,Oslo,61,male,3,left\nD,,Oslo,50,F,4,\nE,Mutant,Oslo,50,F,4,left\n";
    let table = read(text).unwrap();
    assert_eq!(table.kind, GliomaTableKind::Plain);
    let idh: Vec<Option<bool>> = table.patients.iter().map(|p| p.idh).collect();
    assert_eq!(idh, [Some(true), Some(false), Some(false), None, Some(true)]);
    assert_eq!((table.patients[1].male, table.patients[1].site.as_deref()), (Some(true), Some("Rome")));
    assert_eq!(table.extra, ["volume", "laterality_left", "laterality_right"]);
    let all = table.features(GliomaFeatures::All).unwrap();
    assert_eq!(all.columns(), ["age", "male", "volume", "laterality_left", "laterality_right"]);
    assert_eq!(all.row(1), [None, Some(1.0), None, Some(0.0), Some(1.0)]);
    assert_eq!(all.row(3), [Some(50.0), Some(0.0), Some(4.0), None, None]);
    // Further columns are seen only where they are asked for.
    assert_eq!(table.features(GliomaFeatures::Pathology).unwrap().columns(), ["age", "male"]);

    // In capital letters it is no table of UCSF's, whose age has another name.
    let capital = read(&text.replacen("id,idh,site,age,sex", "ID,IDH,Site,Age,Sex", 1)).unwrap();
    assert_eq!(capital.patients, table.patients);
    let message = |text: &str| read(text).unwrap_err().to_string();
    let bad = message("id,idh,age\nA,2,40\n");
    assert!(bad.contains("row 2, column `idh`") && bad.ends_with("got \"2\""), "{bad}");
    assert!(message("id,idh,age\nA,1,old\n").contains("column `age`"));
    assert!(message("id,idh,sex\nA,1,1\n").contains("expected M or F"));
    // A column with another word for every patient is no covariate.
    let names: String = (0..30).map(|i| format!("P{i},1,n{i}\n")).collect();
    let table = read(&format!("id,idh,name\n{names}")).unwrap();
    assert_eq!((table.extra.len(), table.notes.len()), (0, 1), "{:?}", table.notes);
}

#[test]
fn ucsf_names_the_images_of_brats_2021() {
    let table =
        read("ID,Age at MRI,IDH,BraTS21 ID\nA,66,wildtype,BraTS2021_00097\nB,60,wildtype,\n").unwrap();
    assert_eq!(table.patients[0].other_names, ["BraTS2021_00097"]);
    assert!(table.patients[1].other_names.is_empty());
}

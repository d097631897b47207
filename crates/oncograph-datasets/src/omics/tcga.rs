//! The cohorts of TCGA.

use super::OmicsCovariate;
use super::barcode::{SampleTypes, patient_of};
use super::cohort::{NamedRows, OmicsCohort, OmicsOutcomes, TableAccount, by_id, number};
use super::table::{OmicsTable, is_missing, table_file};
use crate::Result;
use crate::tables::{Cell, Row, Sheet, file_name};
use oncograph_core::{FollowUp, Table};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The task of the best response to a drug.
const RESPONSE: &str = "response";

/// That task with its classes; none is stable or progressive disease.
fn response() -> (String, Vec<String>) {
    (RESPONSE.into(), ["none", "partial", "complete"].map(String::from).to_vec())
}

/// The largest number of days among those that a cell joins with `;`.
fn largest(row: &Row<'_>, column: usize) -> Result<Option<f64>> {
    let expected = "a number of days";
    let Cell::Text(text) = row.cell(column) else {
        return match row.number(column) {
            Ok(Some(days)) if !days.is_finite() => Err(row.refuse(column, expected)),
            days => days,
        };
    };
    let mut best: Option<f64> = None;
    for part in text.split(';').map(str::trim).filter(|part| !is_missing(part)) {
        let days = row.sheet.decimal.parse(part).filter(|v| v.is_finite());
        let days = days.ok_or_else(|| row.refuse_text(column, expected, part))?;
        best = Some(best.map_or(days, |b| b.max(days)));
    }
    Ok(best)
}

/// TCGA's clinical columns: survival in days and response of each patient.
struct Outcomes<'s> {
    rows: HashMap<String, Row<'s>>,
    known: HashMap<String, OmicsOutcomes>,
}

impl<'s> Outcomes<'s> {
    /// A death in the follow-up forms counts where the first form still has *alive*: `vital_status` alone under-counts.
    fn new(sheet: &'s Sheet) -> Result<Self> {
        let at = |name: &str| sheet.require(name);
        let (status, death, last) =
            (at("patient.vital_status")?, at("patient.days_to_death")?, at("patient.days_to_last_followup")?);
        let (later, later_death, drugs) =
            (at("followup_days")?, at("followup_death_days")?, at("drug_responses")?);
        let rows = by_id(sheet)?;
        let mut known = HashMap::new();
        for row in sheet.rows() {
            let row = &row;
            let most = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
            let died = most(largest(row, death)?, largest(row, later_death)?);
            let dead = died.is_some() || row.text(status)?.eq_ignore_ascii_case("dead");
            let seen = most(largest(row, last)?, largest(row, later)?);
            let days = if dead { died } else { seen };
            let survival = days.filter(|d| *d > 0.0).map(|d| FollowUp::days(d, dead)).transpose()?;
            let drugs = row.text(drugs)?;
            let response = drugs.split(';').filter_map(|r| match r.trim() {
                "complete response" => Some(2),
                "partial response" => Some(1),
                "stable disease" | "clinical progressive disease" | "radiographic progressive disease" => {
                    Some(0)
                }
                _ => None,
            });
            let classes = response.max().map(|class| (RESPONSE.to_string(), class)).into_iter().collect();
            let id = patient_of(&row.identifier(0)?);
            known.insert(id, OmicsOutcomes { survival, classes, ..OmicsOutcomes::default() });
        }
        Ok(Outcomes { rows, known })
    }

    /// The outcomes of patients; nothing is known of those that the table lacks.
    fn of(&self, ids: &[String]) -> Vec<OmicsOutcomes> {
        ids.iter().map(|id| self.known.get(id).cloned().unwrap_or_default()).collect()
    }

    /// How many of the clinical table's patients are among `ids`: of the others, no sample was measured or none that counts.
    fn account(&self, ids: &[String]) -> TableAccount {
        let here: HashSet<&String> = ids.iter().collect();
        let mut without: Vec<String> = self.known.keys().filter(|id| !here.contains(id)).cloned().collect();
        without.sort_unstable();
        let file = self.rows.values().next().map(|row| file_name(&row.sheet.path)).unwrap_or_default();
        let (rows, used) = (self.known.len(), self.known.len() - without.len());
        let reason = "no sample of theirs is in the molecular tables".to_string();
        let left_out = if without.is_empty() { vec![] } else { vec![(reason, without)] };
        TableAccount { table: "clinical".into(), file, rows, used, left_out }
    }

    /// Two covariates of patients.
    fn covariates(
        &self,
        ids: &[String],
        value: impl Fn(&Row<'_>) -> Result<[Option<f64>; 2]>,
    ) -> Result<Vec<Vec<Option<f64>>>> {
        ids.iter()
            .map(|id| self.rows.get(id).map_or(Ok(vec![None; 2]), |row| Ok(value(row)?.to_vec())))
            .collect()
    }
}

/// Reads molecular tables of a folder, one row for each patient.
struct Tables<'a> {
    root: &'a Path,
    types: &'a SampleTypes,
    notes: Vec<String>,
}

impl Tables<'_> {
    fn file(&self, name: &str) -> Result<PathBuf> {
        table_file(self.root, name)
    }

    fn sheet(&mut self, path: &Path) -> Result<Sheet> {
        let mut sheet = Sheet::read(path)?;
        self.notes.append(&mut sheet.notes);
        Ok(sheet)
    }

    fn omics(&mut self, name: &str) -> Result<OmicsTable> {
        let path = self.file(name)?;
        let mut table = OmicsTable::read(&path)?;
        self.notes.append(&mut table.notes);
        let mut chosen = table.of_patients(self.types);
        let file = file_name(&path);
        self.notes.extend(chosen.notes.drain(..).map(|note| format!("{file}: {note}")));
        Ok(chosen)
    }

    /// Tables of the same columns, one below the other, in the order of `ids`.
    fn joined(&mut self, name: &str, tables: &[OmicsTable], ids: &[String]) -> NamedRows {
        let features = tables[0].features.clone();
        let mut rows = vec![None; ids.len()];
        for table in tables {
            // A table may have its columns in another order.
            let place: HashMap<&str, usize> =
                table.features.iter().enumerate().map(|(i, f)| (f.as_str(), i)).collect();
            let order: Vec<Option<usize>> = features.iter().map(|f| place.get(f.as_str()).copied()).collect();
            let found = order.iter().flatten().count();
            if found < features.len() || found < table.features.len() {
                self.notes.push(format!(
                    "{name}: the tables have other columns: {} of the first are missing in another, {} of the other are left out",
                    features.len() - found,
                    table.features.len() - found
                ));
            }
            for (row, found) in rows.iter_mut().zip(table.aligned(ids)) {
                if let Some(found) = found {
                    *row = Some(order.iter().map(|o| o.map_or(f32::NAN, |i| found[i])).collect());
                }
            }
        }
        (features, rows)
    }
}

/// TCGA-BRCA: 150 patients with mRNA, miRNA and proteins and 70 without proteins; subtype and survival.
///
/// `root` holds `brca_{mrna,mirna}_{train,test}.csv.gz`, `brca_protein_train.csv.gz`, `brca_subtype_{train,test}.csv` and
/// `brca_outcomes.csv`. Covariates of the patient node: age and stage (1 to 4). Of a patient with several samples the primary
/// tumour's is taken: see [`brca_with`].
///
/// # Errors
/// Errors of the files and their columns.
pub fn brca(root: impl AsRef<Path>) -> Result<OmicsCohort> {
    brca_with(root, &SampleTypes::default())
}

/// As [`brca`], with samples of the given types.
///
/// # Errors
/// Errors of the files and their columns.
pub fn brca_with(root: impl AsRef<Path>, types: &SampleTypes) -> Result<OmicsCohort> {
    let remark = "TCGA-BRCA. PAM50 subtypes are defined on gene expression: a model that sees mRNA predicts its own definition.";
    let mut tables = Tables { root: root.as_ref(), types, notes: vec![remark.into()] };
    let sheet = tables.sheet(&tables.file("brca_outcomes.csv")?)?;
    let mrna = [tables.omics("brca_mrna_train.csv.gz")?, tables.omics("brca_mrna_test.csv.gz")?];
    let mirna = [tables.omics("brca_mirna_train.csv.gz")?, tables.omics("brca_mirna_test.csv.gz")?];
    let protein = [tables.omics("brca_protein_train.csv.gz")?];
    let ids: Vec<String> = mrna.iter().flat_map(|t| t.ids.clone()).collect();
    let known = Outcomes::new(&sheet)?;
    let account = known.account(&ids);
    let mut outcomes = known.of(&ids);
    let names = ["Basal", "Her2", "LumA"];
    for file in ["brca_subtype_train.csv", "brca_subtype_test.csv"] {
        let subtypes = tables.sheet(&tables.file(file)?)?;
        let (column, rows) = (subtypes.require("pam50")?, by_id(&subtypes)?);
        for (id, outcome) in ids.iter().zip(&mut outcomes) {
            let Some(row) = rows.get(id) else { continue };
            let subtype = row.text(column)?;
            if let Some(class) = names.iter().position(|n| *n == subtype) {
                outcome.classes.insert("subtype".into(), class);
            }
        }
    }
    let (age, stage) = (
        sheet.require("patient.age_at_initial_pathologic_diagnosis")?,
        sheet.require("patient.stage_event.pathologic_stage")?,
    );
    let rows = known.covariates(&ids, |row| Ok([number(row, age)?, stage_number(&row.text(stage)?)]))?;
    let by_type = BTreeMap::from([
        ("gene".to_string(), tables.joined("mRNA", &mrna, &ids)),
        ("mirna".to_string(), tables.joined("miRNA", &mirna, &ids)),
        ("protein".to_string(), tables.joined("proteins", &protein, &ids)),
    ]);
    Ok(OmicsCohort {
        covariates: Table::new(ids, vec!["age".into(), "stage".into()], rows)?,
        coding: OmicsCovariate::numbers(["age", "stage"]),
        tables: by_type,
        outcomes,
        classes: vec![response(), ("subtype".into(), names.map(String::from).to_vec())],
        accounts: vec![account],
        notes: tables.notes,
        ..OmicsCohort::default()
    })
}

fn stage_number(text: &str) -> Option<f64> {
    let letters = text.trim_start_matches("stage ").trim_end_matches(['a', 'b', 'c']);
    match letters {
        "i" => Some(1.0),
        "ii" => Some(2.0),
        "iii" => Some(3.0),
        "iv" => Some(4.0),
        _ => None,
    }
}

/// TCGA GBM and LGG: patients with protein expression (RPPA) of a primary tumour; survival, response and, where `idh` is given,
/// IDH status. Other samples than those of primary tumours: [`gbmlgg_with`].
///
/// `root` holds `gbmlgg_rppa.csv.gz` and `gbmlgg_outcomes.csv`; `idh` is the table of Ceccarelli et al. 2016 with columns
/// `patient` and `IDH.status`. Covariates of the patient node: age and Karnofsky score. Grade and histology are left
/// out: they are determined on the tumour and would leak the IDH status.
///
/// # Errors
/// Errors of the files and their columns.
pub fn gbmlgg(root: impl AsRef<Path>, idh: Option<&Path>) -> Result<OmicsCohort> {
    gbmlgg_with(root, idh, &SampleTypes::default())
}

/// As [`gbmlgg`], with samples of the given types: `1` and `2` also take patients of whom only a recurrent tumour was measured.
///
/// # Errors
/// Errors of the files and their columns.
pub fn gbmlgg_with(root: impl AsRef<Path>, idh: Option<&Path>, types: &SampleTypes) -> Result<OmicsCohort> {
    let remark = format!("TCGA GBM and LGG; one RPPA sample per patient, of the types {types}.");
    let mut tables = Tables { root: root.as_ref(), types, notes: vec![remark] };
    let table = tables.omics("gbmlgg_rppa.csv.gz")?;
    let sheet = tables.sheet(&tables.file("gbmlgg_outcomes.csv")?)?;
    let known = Outcomes::new(&sheet)?;
    let ids = table.ids.clone();
    let account = known.account(&ids);
    let mut outcomes = known.of(&ids);
    let mut classes = vec![response()];
    if let Some(path) = idh {
        let status = tables.sheet(path)?;
        let (column, rows) = (status.require("IDH.status")?, by_id(&status)?);
        for (id, outcome) in ids.iter().zip(&mut outcomes) {
            let Some(row) = rows.get(id) else { continue };
            match &*row.text(column)? {
                "WT" => drop(outcome.classes.insert("idh".into(), 0)),
                "Mutant" => drop(outcome.classes.insert("idh".into(), 1)),
                text if is_missing(text) => {}
                _ => return Err(row.refuse(column, "WT or Mutant")),
            }
        }
        classes.push(("idh".into(), vec!["wild-type".into(), "mutant".into()]));
    }
    let (age, karnofsky) = (
        sheet.require("patient.age_at_initial_pathologic_diagnosis")?,
        sheet.require("patient.karnofsky_performance_score")?,
    );
    let rows = known.covariates(&ids, |row| Ok([number(row, age)?, number(row, karnofsky)?]))?;
    let proteins = table.aligned(&ids);
    Ok(OmicsCohort {
        covariates: Table::new(ids, vec!["age".into(), "karnofsky".into()], rows)?,
        coding: OmicsCovariate::numbers(["age", "karnofsky"]),
        tables: BTreeMap::from([("protein".to_string(), (table.features, proteins))]),
        outcomes,
        classes,
        accounts: vec![account],
        notes: tables.notes,
        ..OmicsCohort::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &str = "patient,patient.vital_status,patient.days_to_death,patient.days_to_last_followup,\
                           patient.age_at_initial_pathologic_diagnosis,patient.karnofsky_performance_score,drug_responses,\
                           followup_days,followup_death_days\n";

    fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_death_in_the_follow_up_counts() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "{COLUMNS}A,alive,,242,50,80,partial response;complete response,242;500,\n\
             B,alive,,100,50,80,stable disease,100,730.5\nC,dead,,10,50,,,,\nD,alive,,,NA,,,,\n,,,,,,,,\n"
        );
        let path = written(dir.path(), "o.csv", &text);
        let sheet = Sheet::read(&path).unwrap();
        let all = Outcomes::new(&sheet).unwrap().of(&["A", "B", "C", "D"].map(String::from));
        let years = |i: usize| all[i].survival.map(|s| (s.in_years(), s.event()));
        assert_eq!(years(0), Some((500.0 / 365.25, false)));
        let response = |i: usize| all[i].classes.get("response").copied();
        assert_eq!((years(1), response(0), response(1)), (Some((2.0, true)), Some(2), Some(0)));
        // Dead without a day, and alive without one: nothing is known.
        assert_eq!((all[2].survival, all[3].survival, response(3)), (None, None, None));
        let error = |text: &str| {
            let sheet = Sheet::read(&written(dir.path(), "o.csv", text)).unwrap();
            Outcomes::new(&sheet).err().unwrap().to_string()
        };
        for bad in ["late", "inf"] {
            let error = error(&text.replace("730.5", bad));
            let expected =
                format!("row 3, column `followup_death_days`: expected a number of days, got \"{bad}\"");
            assert!(error.contains(&expected), "{error}");
        }
        let twice = error(&text.replace("\nD,", "\nA,"));
        assert!(twice.contains("patient A is in row 2 and again in row 5"), "{twice}");
    }

    /// One patient with a primary and a recurrent tumour, one with normal tissue alone, and two in other spellings.
    fn glioma(folder: &Path) {
        let ids = [
            "TCGA-02-0001-11A",
            "TCGA-02-0003-02A",
            "TCGA-02-0003-01A",
            "TCGA.02.0004.01A.21",
            "tcga-02-0006-01b",
        ];
        let rows: String = ids.iter().enumerate().map(|(i, id)| format!("{id}\t{i},5\t1\n")).collect();
        written(folder, "gbmlgg_rppa.tsv", &format!("sample\tAkt\tPTEN\n{rows}"));
        let rows: String = ["TCGA-02-0003", "tcga.02.0004", "TCGA-02-0006-01A"]
            .map(|id| format!("{id},dead,100,,50,80,,,\n"))
            .concat();
        written(folder, "gbmlgg_outcomes.csv", &format!("{COLUMNS}{rows}"));
    }

    #[test]
    fn only_primary_tumours_count_unless_others_are_wanted() {
        let dir = tempfile::tempdir().unwrap();
        glioma(dir.path());
        let idh = written(
            dir.path(),
            "idh.csv",
            "patient,IDH.status\nTCGA-02-0004,WT\nTCGA.02.0006,Mutant\nTCGA-02-0003,NA\n",
        );
        let cohort = gbmlgg(dir.path(), Some(&idh)).unwrap();
        assert_eq!(cohort.ids(), ["TCGA-02-0003", "TCGA-02-0004", "TCGA-02-0006"]);
        let rows: Vec<f32> = cohort.tables["protein"].1.iter().map(|r| r.as_ref().unwrap()[0]).collect();
        assert_eq!(rows, [2.5, 3.5, 4.5]);
        assert!(cohort.outcomes.iter().all(|o| o.survival.is_some()));
        let classes: Vec<_> = cohort.outcomes.iter().map(|o| o.classes.get("idh").copied()).collect();
        assert_eq!(classes, [None, Some(0), Some(1)]);
        let said =
            |part: &str| assert!(cohort.notes.iter().any(|n| n.contains(part)), "{part}: {:?}", cohort.notes);
        said("gbmlgg_rppa.tsv: read with decimal commas");
        said("gbmlgg_rppa.tsv: 2 samples of TCGA");
        said("(02: 1, 11: 1)");
        let normal = gbmlgg_with(dir.path(), None, &SampleTypes::new(&[11]).unwrap()).unwrap();
        assert_eq!(normal.ids(), ["TCGA-02-0001"]);
        let recurrent = gbmlgg_with(dir.path(), None, &SampleTypes::new(&[2, 1]).unwrap()).unwrap();
        assert_eq!(recurrent.tables["protein"].1[0].as_ref().unwrap()[0], 1.5);
        written(dir.path(), "idh.csv", "patient,IDH.status\nTCGA-02-0004,wild\n");
        assert!(
            gbmlgg(dir.path(), Some(&idh))
                .unwrap_err()
                .to_string()
                .contains("expected WT or Mutant, got \"wild\"")
        );
    }

    fn breast(folder: &Path, mrna: &str) {
        for part in ["train", "test"] {
            let ids = if part == "train" {
                ["TCGA-ZZ-0001", "TCGA-ZZ-0002"]
            } else {
                ["TCGA-ZZ-0003", "TCGA-ZZ-0004"]
            };
            let rows = |cells: &str| ids.map(|id| format!("{id},{cells}\n")).concat();
            let numbers = vec!["1"; mrna.matches(',').count()].join(",");
            written(folder, &format!("brca_mrna_{part}.csv"), &format!("{mrna}\n{}", rows(&numbers)));
            let mirna = if part == "train" { "m1,m2" } else { "m2,m3" };
            written(folder, &format!("brca_mirna_{part}.csv"), &format!("patient,{mirna}\n{}", rows("1,2")));
            written(folder, &format!("brca_protein_{part}.csv"), &format!("patient,Akt\n{}", rows("3")));
            written(folder, &format!("brca_subtype_{part}.csv"), &format!("patient,pam50\n{}", rows("LumA")));
        }
        let columns = COLUMNS.replace("karnofsky_performance_score", "stage_event.pathologic_stage");
        written(folder, "brca_outcomes.csv", &format!("{columns}TCGA-ZZ-0001,dead,100,,50,stage ii,,,\n"));
    }

    #[test]
    fn a_gene_that_is_two_columns_of_a_table_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        breast(dir.path(), "patient,TP53,EGFR");
        let cohort = brca(dir.path()).unwrap();
        assert_eq!((cohort.ids().len(), cohort.tables["protein"].1.iter().flatten().count()), (4, 2));
        assert_eq!(cohort.covariates.row(0), [Some(50.0), Some(2.0)]);
        let mirna = &cohort.tables["mirna"].1[2].as_ref().unwrap()[..];
        assert!(mirna[0].is_nan() && mirna[1] == 1.0);
        assert!(
            cohort.notes.iter().any(|n| n.starts_with("miRNA: the tables have other columns: 1 of")),
            "{:?}",
            cohort.notes
        );
        for (mrna, part) in [
            ("patient,TP53,EGFR,TP53", "column `TP53` is there twice, as columns 2 and 4"),
            ("patient,EGFR,,MYC", "column 3 of 4 has no name"),
            ("patient,ENSG00000141510.1,ENSG00000141510.2", "is there twice"),
        ] {
            breast(dir.path(), mrna);
            let error = brca(dir.path()).unwrap_err().to_string();
            assert!(error.contains("brca_mrna_train.csv") && error.contains(part), "{error}");
        }
    }
}

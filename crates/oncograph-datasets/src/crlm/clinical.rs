//! The clinical table of the colorectal liver metastasis cohort: covariates and outcomes of each patient.

use super::columns::FeatureSet;
use super::covariates::columns_of;
use crate::error::Result;
use oncograph_core::{FollowUp, Table, TimeUnit};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What happened to a patient after the operation.
///
/// # Units
/// The times of the table are months from the operation.
///
/// The columns named `vital_status_*` other than the first count recurrence *or* death, despite their name.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outcomes {
    /// Death from any cause: `overall_survival_months`, `vital_status`.
    pub overall_survival: FollowUp,
    /// Recurrence or progression anywhere: `months_to_DFS_progression`, `progression_or_recurrence`. Censored at the
    /// end of follow-up or at death.
    pub recurrence: FollowUp,
    /// Recurrence or death: `months_to_DFS_progression`, `vital_status_DFS`.
    pub disease_free_survival: FollowUp,
    /// Recurrence in the liver: `months_to_liver_DFS_progression`, `progression_or_recurrence_liveronly`.
    pub liver_recurrence: FollowUp,
    /// Recurrence in the liver or death: `months_to_liver_DFS_progression`, `vital_status_liver_DFS`.
    pub liver_disease_free_survival: FollowUp,
}

/// Which outcome is predicted (decision S-18; the second task is always [`Endpoint::OverallSurvival`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Endpoint {
    /// Death from any cause.
    OverallSurvival,
    /// Recurrence or progression.
    #[default]
    Recurrence,
    /// Recurrence or death.
    DiseaseFreeSurvival,
    /// Recurrence in the liver.
    LiverRecurrence,
    /// Recurrence in the liver, or death.
    LiverDiseaseFreeSurvival,
}

/// One patient; the covariates are in [`ClinicalTable::covariates`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClinicalRecord {
    /// Identifier, e.g. `CRLM-CT-1001`.
    pub id: String,
    /// Outcomes.
    pub outcomes: Outcomes,
    /// Free text about the scan, often empty.
    pub notes: String,
}

impl ClinicalRecord {
    /// The outcome of an endpoint.
    pub fn outcome(&self, endpoint: Endpoint) -> FollowUp {
        match endpoint {
            Endpoint::OverallSurvival => self.outcomes.overall_survival,
            Endpoint::Recurrence => self.outcomes.recurrence,
            Endpoint::DiseaseFreeSurvival => self.outcomes.disease_free_survival,
            Endpoint::LiverRecurrence => self.outcomes.liver_recurrence,
            Endpoint::LiverDiseaseFreeSurvival => self.outcomes.liver_disease_free_survival,
        }
    }
}

/// The clinical table: one row for each patient, in the file's order.
///
/// # Example
/// ```no_run
/// use oncograph_datasets::crlm::{ClinicalTable, Endpoint, FeatureSet};
///
/// let table = ClinicalTable::read("Colorectal-Liver-Metastases-Clinical-data-April-2023.xlsx")?;
/// let deaths = table.outcomes(Endpoint::OverallSurvival).iter().filter(|o| o.event()).count();
/// let features = table.features(FeatureSet::PreopOnly)?;
/// println!("{} patients, {deaths} deaths, {} covariates", table.len(), features.width());
/// # Ok::<(), oncograph_datasets::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClinicalTable {
    /// The file.
    pub path: PathBuf,
    /// The patients.
    pub patients: Vec<ClinicalRecord>,
    /// The covariates, with a row for each of `patients`; missing where the file has -999 or an empty cell.
    pub covariates: Table,
    /// Remarks on how the file was read, to be shown beside results.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl ClinicalTable {
    /// Number of patients.
    pub fn len(&self) -> usize {
        self.patients.len()
    }

    /// True for a table without patients (readers never return one).
    pub fn is_empty(&self) -> bool {
        self.patients.is_empty()
    }

    /// Identifiers, in order.
    pub fn ids(&self) -> Vec<&str> {
        self.patients.iter().map(|p| p.id.as_str()).collect()
    }

    /// The row of a patient.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.patients.iter().position(|p| p.id == id)
    }

    /// The outcome of every patient.
    pub fn outcomes(&self, endpoint: Endpoint) -> Vec<FollowUp> {
        self.patients.iter().map(|p| p.outcome(endpoint)).collect()
    }

    /// Strata for splitting: 2 x recurred + died, so 0 to 3.
    pub fn strata(&self) -> Vec<usize> {
        let outcomes = self.patients.iter().map(|p| p.outcomes);
        outcomes
            .map(|o| 2 * usize::from(o.recurrence.event()) + usize::from(o.overall_survival.event()))
            .collect()
    }

    /// The covariates of a feature set, as they are (no imputation, no scaling).
    ///
    /// # Errors
    /// [`MissingColumn`](crate::Error::MissingColumn) where the file lacks a column of the set.
    pub fn features(&self, set: FeatureSet) -> Result<Table> {
        self.columns(&set.columns())
    }

    /// The covariates of the given columns, as they are.
    ///
    /// # Errors
    /// [`MissingColumn`](crate::Error::MissingColumn) for a name that is no covariate of this table; outcomes are none.
    pub fn columns(&self, columns: &[&str]) -> Result<Table> {
        columns_of(&self.path, &self.covariates, columns)
    }

    /// Contradictions between the outcome columns, one line for each; empty for a sound table.
    ///
    /// Checked: recurrence not after the end of follow-up; recurrence time = overall survival time where nothing
    /// recurred; `vital_status_DFS` = recurrence or death; the same for the liver.
    pub fn audit(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for patient in &self.patients {
            let o = patient.outcomes;
            let os = o.overall_survival;
            for (name, recurrence, composite) in [
                ("recurrence", o.recurrence, o.disease_free_survival),
                ("liver recurrence", o.liver_recurrence, o.liver_disease_free_survival),
            ] {
                let months = |f: FollowUp| f.time_in(TimeUnit::Months);
                let (id, a, b) = (&patient.id, months(recurrence), months(os));
                if a > b + 1e-6 {
                    lines.push(format!("{id}: {name} time {a} is after the end of follow-up at {b} months"));
                }
                if !recurrence.event() && (a - b).abs() > 1e-6 {
                    lines.push(format!(
                        "{id}: no {name}, but its time {a} is not the follow-up of {b} months"
                    ));
                }
                if composite.event() != (recurrence.event() || os.event()) {
                    lines.push(format!(
                        "{id}: {name}-or-death is {}, but recurrence is {} and death {}",
                        composite.event(),
                        recurrence.event(),
                        os.event()
                    ));
                }
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::super::columns::{ID, OUTCOMES, PREOPERATIVE};
    use super::*;
    use crate::tables::testing::{Put, gzip, write_text, write_workbook};

    /// A file with the given rows of (column, value) changes to a sound patient.
    fn table(changes: &[&[(&str, &str)]], drop: Option<&str>) -> (tempfile::TempDir, PathBuf) {
        let names: Vec<&str> = [ID].into_iter().chain(PREOPERATIVE).chain(OUTCOMES).collect();
        let names: Vec<&str> = names.into_iter().filter(|n| Some(*n) != drop).collect();
        let mut text = names.join(",");
        for (row, changes) in changes.iter().enumerate() {
            let value = |name: &&str| {
                let changed = changes.iter().find(|(n, _)| n == name).map(|(_, v)| (*v).to_owned());
                changed.unwrap_or_else(|| match *name {
                    ID => format!("P{row}"),
                    n if n.contains("months") => "12.5".to_owned(),
                    _ => "1".to_owned(),
                })
            };
            text += "\n";
            text += &names.iter().map(value).collect::<Vec<_>>().join(",");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clinical.csv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn fails(changes: &[&[(&str, &str)]], drop: Option<&str>, parts: &[&str]) {
        let (_folder, path) = table(changes, drop);
        let text = ClinicalTable::read(&path).unwrap_err().to_string();
        assert!(text.contains("clinical.csv"), "{text}");
        for part in parts {
            assert!(text.contains(part), "{text} lacks {part}");
        }
    }

    #[test]
    fn missing_values_and_outcomes_are_read() {
        let rows: &[&[(&str, &str)]] = &[
            &[("carcinoembryonic_antigen", "-999.0"), ("age", "")],
            &[("vital_status", "0"), ("age", " 61.5 ")],
        ];
        let (_folder, path) = table(rows, None);
        let table = ClinicalTable::read(&path).unwrap();
        let features = table.columns(&["age", "carcinoembryonic_antigen"]).unwrap();
        assert_eq!(features.rows().collect::<Vec<_>>(), [[None, None], [Some(61.5), Some(1.0)]]);
        assert_eq!(features.ids(), ["P0", "P1"]);
        assert_eq!(table.strata(), [3, 2]);
        assert_eq!(table.outcomes(Endpoint::OverallSurvival)[1], FollowUp::months(12.5, false).unwrap());
        assert!(table.audit().is_empty());
        assert_eq!(table.position("P1"), Some(1));
        // Post-operative columns may be absent, but then cannot be requested.
        assert!(table.features(FeatureSet::PreopOnly).is_ok());
        let error = table.features(FeatureSet::All).unwrap_err().to_string();
        assert!(error.contains("steatosis_yesno") && error.contains("age"), "{error}");
        assert!(table.columns(&["vital_status"]).is_err());
    }

    #[test]
    fn errors_name_row_and_column() {
        fails(&[&[]], Some("vital_status"), &["no column `vital_status`", "progression_or_recurrence"]);
        fails(&[&[], &[("vital_status", "2")]], None, &["row 3", "`vital_status`", "\"2\""]);
        fails(&[&[("vital_status", "-999")]], None, &["row 2", "`vital_status`"]);
        fails(&[&[("age", "old")]], None, &["row 2", "`age`", "a number", "\"old\""]);
        fails(&[&[("age", "inf")]], None, &["row 2", "`age`"]);
        fails(&[&[("sex", "0")]], None, &["`sex`", "codes 1, 2"]);
        fails(&[&[("overall_survival_months", "0")]], None, &["`overall_survival_months`", "greater than 0"]);
        fails(&[&[("months_to_DFS_progression", "-3")]], None, &["`months_to_DFS_progression`"]);
        fails(&[&[(ID, "A")], &[(ID, "A")]], None, &["patient A", "row 2", "row 3"]);
        fails(&[&[(ID, "")]], None, &["row 2", "`Patient-ID`"]);
        fails(&[&[(ID, "../A")]], None, &["row 2", "`Patient-ID`"]);
        fails(&[], None, &["no rows"]);
    }

    #[test]
    fn contradicting_outcomes_are_listed() {
        let rows: &[&[(&str, &str)]] = &[
            &[("months_to_DFS_progression", "20"), ("vital_status_DFS", "0")],
            &[("progression_or_recurrence", "0")],
        ];
        let (_folder, path) = table(rows, None);
        let lines = ClinicalTable::read(&path).unwrap().audit();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("P0: recurrence time 20 is after"));
    }

    /// The table of two sound patients as rows of texts.
    fn cells() -> Vec<Vec<String>> {
        let (_folder, path) = table(&[&[], &[("max_tumor_size", "4.5"), ("age", "61.5")]], None);
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
    }

    fn column(name: &str) -> usize {
        cells()[0].iter().position(|n| n == name).unwrap()
    }

    #[test]
    fn every_spelling_of_a_text_file_gives_the_same_patients() {
        let folder = tempfile::tempdir().unwrap();
        let joined = |mark: &str| cells().iter().map(|row| row.join(mark) + "\n").collect::<String>();
        let plain = write_text(folder.path(), "plain.csv", joined(","));
        let expected = ClinicalTable::read(&plain).unwrap();
        assert_eq!((expected.len(), expected.notes.len()), (2, 0));
        for (name, content) in [
            ("a.tsv", joined("\t").into_bytes()),
            ("a.csv", joined(";").replace('.', ",").into_bytes()),
            ("a.csv.gz", gzip(joined(","))),
            ("a.txt", joined("\t").replace('\n', "\r\n").into_bytes()),
            ("a.csv", (joined(",") + &",".repeat(cells()[0].len() - 1) + "\n\n").into_bytes()),
        ] {
            let found = ClinicalTable::read(write_text(folder.path(), name, content)).unwrap();
            assert_eq!(
                (&found.patients, &found.covariates),
                (&expected.patients, &expected.covariates),
                "{name}"
            );
        }
        let found =
            ClinicalTable::read(write_text(folder.path(), "b.csv", joined(";").replace('.', ","))).unwrap();
        assert_eq!(found.notes, ["b.csv: read with cells separated by semicolons, decimal commas"]);
    }

    #[test]
    fn columns_that_are_there_twice_are_refused_if_they_are_used() {
        let folder = tempfile::tempdir().unwrap();
        let with = |name: &str, value: &str| {
            let mut rows = cells();
            rows[0].push(name.into());
            rows[1..].iter_mut().for_each(|row| row.push(value.into()));
            let text: String = rows.iter().map(|row| row.join(",") + "\n").collect();
            ClinicalTable::read(write_text(folder.path(), "a.csv", text))
        };
        for name in ["age", "Age", "vital_status", "patient id", "Max-Tumor-Size"] {
            let error = with(name, "1").unwrap_err().to_string();
            assert!(error.contains("is there twice") && error.contains(name), "{error}");
        }
        assert!(with("remark", "x").is_ok() && with("", "x").is_ok());
    }

    fn workbook(change: impl Fn(&mut Vec<Vec<Put<'_>>>)) -> Result<ClinicalTable> {
        let folder = tempfile::tempdir().unwrap();
        let cells = cells();
        let put = |text: &String| text.parse().map_or(Put::Text(text.clone().leak()), Put::Number);
        let mut rows: Vec<Vec<Put<'_>>> = cells.iter().map(|row| row.iter().map(put).collect()).collect();
        change(&mut rows);
        let path = write_workbook(&folder.path().join("a.xlsx"), &[("Sheet1", true, rows)]);
        ClinicalTable::read(path)
    }

    #[test]
    fn typed_cells_of_a_workbook_are_no_other_numbers() {
        assert_eq!(workbook(|_| ()).unwrap().covariates.row(1)[0], Some(61.5));
        for (name, put, part) in [
            ("max_tumor_size", Put::Formatted(45780.0, 1), "the date 2025-05-03"),
            ("age", Put::Formatted(0.45, 2), "percent"),
            ("age", Put::Formula("A2+1", None), "a formula"),
            ("overall_survival_months", Put::Formatted(45780.0, 5), "date"),
            ("vital_status", Put::Formatted(0.01, 4), "percent"),
            ("vital_status_DFS", Put::Truth(true), "true"),
            ("body_mass_index", Put::Error("#REF!"), "#REF!"),
            (ID, Put::Formatted(45780.0, 1), "the date 2025-05-03"),
        ] {
            let error = workbook(|rows| rows[2][column(name)] = put).unwrap_err().to_string();
            let place = format!("sheet `Sheet1`: row 3, column `{name}`");
            assert!(error.contains(&place) && error.contains(part), "{error}");
        }
        // What is not used may be anything.
        let more = workbook(|rows| {
            rows[0].push(Put::Text("operated"));
            rows[1].push(Put::Formatted(45780.0, 1));
            rows[2].push(Put::Formula("A1", None));
            rows.push(vec![Put::Text(" ")]);
        });
        assert_eq!(more.unwrap().len(), 2);
    }
}

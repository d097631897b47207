//! The covariates of patients whose outcomes nobody knows yet.

use super::clinical::ClinicalTable;
use super::columns::FeatureSet;
use crate::error::{Error, Result};
use oncograph_core::Table;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is known of patients before the operation: a row for each, in the file's order, without outcomes.
///
/// # Example
/// ```no_run
/// use oncograph_datasets::crlm::{CovariateTable, FeatureSet};
///
/// let table = CovariateTable::read("new_patients.csv")?;
/// println!("{} patients, {:?}", table.len(), table.features(FeatureSet::Curated)?.columns());
/// # Ok::<(), oncograph_datasets::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CovariateTable {
    /// The file.
    pub path: PathBuf,
    /// The covariates, by the identifiers of the patients; missing where the file has -999 or an empty cell.
    pub covariates: Table,
    /// Remarks on how the file was read, to be shown beside results.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Why the row of a patient cannot be used, by identifier; its covariates are missing here, and are given to nobody.
    #[serde(default)]
    pub faults: BTreeMap<String, String>,
}

impl CovariateTable {
    /// Number of patients.
    pub fn len(&self) -> usize {
        self.covariates.len()
    }

    /// True for a table without patients (readers never return one).
    pub fn is_empty(&self) -> bool {
        self.covariates.is_empty()
    }

    /// Identifiers, in order.
    pub fn ids(&self) -> Vec<&str> {
        self.covariates.ids().iter().map(String::as_str).collect()
    }

    /// The row of a patient.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.covariates.ids().iter().position(|known| known == id)
    }

    /// The table of one patient alone.
    ///
    /// # Errors
    /// A patient that is not in it, or whose row is at fault; faults of other rows have no part in this.
    pub fn of_patient(&self, id: &str) -> Result<Self> {
        let row = self.position(id).ok_or_else(|| Error::at(&self.path, format!("no patient {id}")))?;
        if let Some(fault) = self.faults.get(id) {
            return Err(Error::at(&self.path, fault.clone()));
        }
        Ok(CovariateTable {
            path: self.path.clone(),
            covariates: self.covariates.select(&[row]),
            notes: self.notes.clone(),
            faults: BTreeMap::new(),
        })
    }

    /// The covariates of a feature set, as they are (no imputation, no scaling).
    ///
    /// # Errors
    /// [`Error::MissingColumn`] where the file lacks a column of the set; a row that is at fault.
    pub fn features(&self, set: FeatureSet) -> Result<Table> {
        if let Some(fault) = self.faults.values().next() {
            return Err(Error::at(&self.path, fault.clone()));
        }
        columns_of(&self.path, &self.covariates, &set.columns())
    }
}

impl From<ClinicalTable> for CovariateTable {
    fn from(table: ClinicalTable) -> Self {
        let ClinicalTable { path, covariates, notes, .. } = table;
        CovariateTable { path, covariates, notes, faults: BTreeMap::new() }
    }
}

/// The given columns of a table that was read from `path`.
pub(super) fn columns_of(path: &Path, table: &Table, columns: &[&str]) -> Result<Table> {
    let place = |column: &&str| {
        table.column(column).ok_or_else(|| Error::MissingColumn {
            path: path.to_owned(),
            sheet: None,
            column: (*column).to_owned(),
            found: table.columns().to_vec(),
        })
    };
    let places = columns.iter().map(place).collect::<Result<Vec<_>>>()?;
    let rows = table.rows().map(|row| places.iter().map(|&p| row[p]).collect()).collect();
    let names = columns.iter().map(|c| (*c).to_owned()).collect();
    Ok(Table::new(table.ids().to_vec(), names, rows)?)
}

#[cfg(test)]
mod tests {
    use super::super::columns::{ID, OUTCOMES, PREOPERATIVE};
    use super::*;

    /// A table of two patients with these columns, all cells 1 but for the changed ones of the second.
    fn read(columns: &[&str], second: &[(&str, &str)]) -> Result<CovariateTable> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.csv");
        let cell = |name: &&str| second.iter().find(|(n, _)| n == name).map_or("1", |(_, value)| value);
        let cells: Vec<&str> = columns.iter().map(cell).collect();
        let ones = vec!["1"; columns.len()].join(",");
        let text = format!("{ID},{}\nA,{ones}\nB,{}\n", columns.join(","), cells.join(","));
        std::fs::write(&path, text).unwrap();
        CovariateTable::read(&path)
    }

    #[test]
    fn outcomes_may_be_absent_empty_or_there() {
        let with: Vec<&str> = PREOPERATIVE.into_iter().chain(OUTCOMES).collect();
        let absent = read(&PREOPERATIVE, &[("age", "-999")]).unwrap();
        let mut changes = vec![("age", "")];
        let there = read(&with, &changes).unwrap();
        changes.extend(OUTCOMES.map(|column| (column, "")));
        let empty = read(&with, &changes).unwrap();
        changes.extend(OUTCOMES.map(|column| (column, "unknown")));
        for other in [&there, &empty, &read(&with, &changes).unwrap()] {
            assert_eq!(other.covariates, absent.covariates);
        }
        assert_eq!((absent.ids(), absent.position("B")), (vec!["A", "B"], Some(1)));
        let alone = absent.of_patient("B").unwrap();
        assert_eq!(alone.features(FeatureSet::PreopOnly).unwrap().row(0)[..2], [None, Some(1.0)]);
        let error = absent.of_patient("C").unwrap_err().to_string();
        assert!(error.ends_with("new.csv: no patient C"), "{error}");
    }

    /// A set of columns is enough for the models that were trained on it.
    #[test]
    fn a_column_that_is_needed_is_named_and_codes_are_checked() {
        let curated = FeatureSet::Curated.columns();
        let table = read(&curated, &[]).unwrap();
        assert_eq!(table.features(FeatureSet::Curated).unwrap().width(), curated.len());
        let error = table.features(FeatureSet::PreopOnly).unwrap_err().to_string();
        assert!(error.contains("no column `major_comorbidity`; found: age"), "{error}");
        let table = read(&curated, &[("sex", "3")]).unwrap();
        assert!(table.of_patient("A").is_ok(), "the row of another patient is at fault");
        for error in [table.of_patient("B").unwrap_err(), table.features(FeatureSet::Curated).unwrap_err()] {
            let error = error.to_string();
            assert!(
                error.ends_with(r#"new.csv: row 3, column `sex`: expected one of the codes 1, 2, or -999 for missing, got "3""#),
                "{error}"
            );
        }
    }

    #[test]
    fn a_clinical_table_has_the_same_covariates() {
        let folder = tempfile::tempdir().unwrap();
        let config = super::super::PhantomConfig::new(3, 5).matrix(32).slice_spacing(7.0, 7.5);
        super::super::write_phantom(folder.path(), &config, |_, _| ()).unwrap();
        let path = folder.path().join("clinical.csv");
        let from: CovariateTable = ClinicalTable::read(&path).unwrap().into();
        assert_eq!(CovariateTable::read(&path).unwrap(), from);
    }
}

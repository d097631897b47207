//! Reading the clinical table: covariates and outcomes out of a workbook or a text file.

use super::clinical::{ClinicalRecord, ClinicalTable, Outcomes};
use super::columns::{Content, ID, LONGEST, MISSING, NOTES, OUTCOMES, POSTOPERATIVE, PREOPERATIVE, SCOUT};
use super::covariates::CovariateTable;
use crate::error::{Error, Result};
use crate::tables::{self, Sheet, TableFile, Wanted};
use oncograph_core::{FollowUp, Table, TimeUnit};
use std::collections::BTreeMap;
use std::path::Path;

impl ClinicalTable {
    /// Reads the workbook (`.xlsx`), or a table exported from it: CSV, TSV, semicolons with decimal commas, Parquet (feature
    /// `parquet`), each plain or gzip.
    ///
    /// Column names are compared without regard to case, to surrounding space and to the choice of space, hyphen
    /// or underscore (the released data dictionary has such variants). Of a workbook the first visible sheet with a
    /// `Patient-ID` column is read, and the notes name others. -999 and empty cells are missing values. The post-operative columns and the
    /// notes may be absent; every other column must be there.
    ///
    /// # Errors
    /// Names file, sheet, row and column, of every row that is at fault: a missing column (with those there are), an unknown code, a cell that is
    /// no number (a date, a percentage among plain numbers and a formula without value are none), a column that is there twice, an outcome that is missing, a time that is not positive, a patient without an identifier or with
    /// two rows, no rows at all, or another kind of file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let sheet = read_sheet(path.as_ref())?;
        let notes = place_of(&sheet, NOTES)?;
        let text = |row: &Row<'_>| -> Result<String> {
            notes.map_or(Ok(String::new()), |place| Ok(row.of.text(place)?.into_owned()))
        };
        let required = PREOPERATIVE.iter().chain(&OUTCOMES);
        let Rows { covariates, rest, faults } =
            rows(&sheet, required, |row| Ok((row.outcomes()?, text(row)?)))?;
        if !faults.is_empty() {
            return Err(Error::of_rows(faults.into_iter().map(|(_, fault)| fault).collect()));
        }
        let record =
            |(id, (outcomes, notes)): (&String, _)| ClinicalRecord { id: id.clone(), outcomes, notes };
        let patients: Vec<ClinicalRecord> =
            covariates.ids().iter().zip(rest.into_iter().flatten()).map(record).collect();
        let mut remarks = remarks(&sheet, covariates.ids());
        let months = |p: &ClinicalRecord| p.outcomes.overall_survival.time_in(TimeUnit::Months);
        let longest = patients.iter().map(months).fold(0.0, f64::max);
        if longest < SHORT && patients.len() >= 10 {
            remarks.push(format!(
                "{}: nobody is followed for longer than {longest} months: are the times years?",
                sheet.path.display()
            ));
        }
        let notes = sheet.notes.into_iter().chain(remarks).collect();
        Ok(ClinicalTable { path: sheet.path, patients, covariates, notes })
    }
}

impl CovariateTable {
    /// Reads the covariates of a table whose patients have no outcomes yet: of the columns of [`ClinicalTable::read`] only the
    /// identifier must be there, and outcome columns are not looked at, whether they are absent, empty or filled.
    ///
    /// Which covariates must be there depends on the model: [`CovariateTable::features`] refuses a set of which the table lacks a
    /// column. A covariate that a hospital does not collect is a column with empty cells: an absent one may as well be
    /// misspelt, and would then be taken for unknown of everybody.
    ///
    /// A row at fault is kept with its reason ([`CovariateTable::faults`]), so that the others can be predicted.
    ///
    /// # Errors
    /// As [`ClinicalTable::read`], but for outcomes and single rows.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let sheet = read_sheet(path.as_ref())?;
        let Rows { covariates, faults, .. } = rows(&sheet, [], |_| Ok(()))?;
        // The errors name the file, and so does whoever tells one of these.
        let within = |fault: Error| {
            let text = fault.to_string();
            let place = sheet.path.display().to_string();
            text.strip_prefix(&place).unwrap_or(&text).trim_start_matches([',', ':', ' ']).to_owned()
        };
        let faults = faults.into_iter().map(|(id, fault)| (id, within(fault))).collect();
        let remarks = remarks(&sheet, covariates.ids());
        let notes = sheet.notes.into_iter().chain(remarks).collect();
        Ok(CovariateTable { path: sheet.path, covariates, notes, faults })
    }
}

/// Months of follow-up of the patient who is followed longest, below which they may be years.
const SHORT: f64 = 18.0;

/// What a user has to know of a table that was read: columns that are not, and identifiers that look like one.
fn remarks(sheet: &Sheet, ids: &[String]) -> Vec<String> {
    let known = [ID, SCOUT, NOTES].into_iter().chain(PREOPERATIVE).chain(POSTOPERATIVE).chain(OUTCOMES);
    let known: Vec<String> = known.map(canonical).collect();
    let other = sheet.header.iter().filter(|name| {
        let name = canonical(name);
        !name.is_empty() && !known.contains(&name)
    });
    let other: Vec<&str> = other.map(String::as_str).collect();
    let mut remarks = vec![];
    if !other.is_empty() {
        remarks.push(format!("{}: columns that are not read: {}", sheet.path.display(), other.join(", ")));
    }
    let mut spellings: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    ids.iter().for_each(|id| spellings.entry(id.to_lowercase()).or_default().push(id));
    for alike in spellings.into_values().filter(|ids| ids.len() > 1) {
        let (path, alike) = (sheet.path.display(), alike.join(", "));
        remarks.push(format!(
            "{path}: identifiers of different patients that differ in letter case only: {alike}"
        ));
    }
    remarks
}

/// The sheet that is wanted: one with the identifiers of patients.
const WANTED: &str = "a column `Patient-ID`";

fn read_sheet(path: &Path) -> Result<Sheet> {
    Sheet::read_where(path, &Wanted::new(WANTED, &has_ids))
}

/// Whether a table looks like the clinical one: its header has the identifier column.
///
/// # Errors
/// A file of which not even the header can be read.
pub(super) fn looks_clinical(path: &Path) -> Result<bool> {
    match TableFile::open_where(path, &Wanted::new(WANTED, &has_ids)) {
        Ok(table) => Ok(has_ids(table.header())),
        Err(Error::NoSheet { hidden, .. }) if hidden.is_empty() => Ok(false),
        Err(e) => Err(e),
    }
}

fn has_ids(header: &[String]) -> bool {
    header.iter().any(|h| canonical(h) == canonical(ID))
}

/// A column name without the differences found between releases and exports.
fn canonical(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace([' ', '-'], "_")
}

/// Where a column is.
fn place_of(sheet: &Sheet, column: &str) -> Result<Option<usize>> {
    sheet.place_where(|name| canonical(name) == canonical(column))
}

/// What the rows of a sheet hold.
struct Rows<R> {
    /// By identifier; all missing in a row that is at fault.
    covariates: Table,
    /// What else was read of each row; `None` of one that is at fault.
    rest: Vec<Option<R>>,
    /// Patients with a row that cannot be used, and why.
    faults: Vec<(String, Error)>,
}

/// The covariates of a sheet that has the identifier and all `required` columns, and what `more` reads of each row.
fn rows<'c, R>(
    sheet: &Sheet,
    required: impl IntoIterator<Item = &'c &'static str>,
    more: impl Fn(&Row<'_>) -> Result<R>,
) -> Result<Rows<R>> {
    let mut places: BTreeMap<&'static str, usize> = BTreeMap::new();
    let required: Vec<&'static str> = required.into_iter().copied().collect();
    for column in [ID].into_iter().chain(PREOPERATIVE).chain(POSTOPERATIVE) {
        places.extend(place_of(sheet, column)?.map(|place| (column, place)));
    }
    for column in &required {
        places.extend(place_of(sheet, column)?.map(|place| (*column, place)));
    }
    if let Some(column) = [ID].iter().chain(&required).find(|column| !places.contains_key(*column)) {
        return Err(sheet.missing(column));
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let columns: Vec<&str> =
        PREOPERATIVE.into_iter().chain(POSTOPERATIVE).filter(|c| places.contains_key(c)).collect();
    let (mut ids, mut values, mut rest) = (Vec::with_capacity(sheet.rows.len()), Vec::new(), Vec::new());
    let mut faults = vec![];
    for of in sheet.rows() {
        let row = Row { of, places: &places };
        let id = row.id()?;
        if let Some(first) = seen.insert(id.clone(), of.number) {
            faults.push((id.clone(), sheet.duplicate_patient(&id, first, of.number)));
            continue;
        }
        let read = || -> Result<_> {
            Ok((columns.iter().map(|c| row.covariate(c)).collect::<Result<Vec<_>>>()?, more(&row)?))
        };
        let (own, more) = match read() {
            Ok((own, more)) => (own, Some(more)),
            Err(fault) => {
                faults.push((id.clone(), fault));
                (vec![None; columns.len()], None)
            }
        };
        ids.push(id);
        values.push(own);
        rest.push(more);
    }
    if ids.is_empty() {
        return Err(sheet.empty());
    }
    let covariates = Table::new(ids, columns.into_iter().map(str::to_owned).collect(), values)?;
    Ok(Rows { covariates, rest, faults })
}

/// Whether an identifier may name a folder and a file: letters, digits, spaces and `-_.`, and no dot in front.
pub(super) fn is_plain(id: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
    !id.is_empty() && !id.starts_with('.') && id.chars().all(plain)
}

struct Row<'a> {
    of: tables::Row<'a>,
    places: &'a BTreeMap<&'static str, usize>,
}

impl Row<'_> {
    fn refuse<T>(&self, column: &str, expected: &str) -> Result<T> {
        Err(self.of.refuse(self.places[column], expected))
    }

    /// The identifier; it also names a folder, so that it must be a plain name.
    fn id(&self) -> Result<String> {
        match self.of.identifier(self.places[ID]) {
            Ok(id) if is_plain(&id) => Ok(id.into_owned()),
            _ => self.refuse(ID, "an identifier of letters, digits, spaces and -_."),
        }
    }

    fn number(&self, column: &str) -> Result<Option<f64>> {
        Ok(self.of.number(self.places[column])?.filter(|value| *value != MISSING))
    }

    fn covariate(&self, column: &str) -> Result<Option<f64>> {
        let value = self.number(column)?;
        match value.and_then(|v| Content::of(column).refuse(v)) {
            Some(expected) => self.refuse(column, &expected),
            None => Ok(value),
        }
    }

    fn outcome(&self, time: &str, event: &str) -> Result<FollowUp> {
        let months = match self.number(time)? {
            Some(months) if months > 0.0 && months <= LONGEST => months,
            _ => {
                return self
                    .refuse(time, "a number of months greater than 0, at most 600 (days are not months)");
            }
        };
        let event = match self.number(event)? {
            Some(1.0) => true,
            Some(0.0) => false,
            _ => return self.refuse(event, "1 (event) or 0 (none)"),
        };
        Ok(FollowUp::months(months, event)?)
    }

    fn outcomes(&self) -> Result<Outcomes> {
        let [os, dead, recurred, dfs, dfs_event, liver, liver_dfs, liver_event] = OUTCOMES;
        Ok(Outcomes {
            overall_survival: self.outcome(os, dead)?,
            recurrence: self.outcome(dfs, recurred)?,
            disease_free_survival: self.outcome(dfs, dfs_event)?,
            liver_recurrence: self.outcome(liver_dfs, liver)?,
            liver_disease_free_survival: self.outcome(liver_dfs, liver_event)?,
        })
    }
}

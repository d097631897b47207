//! Reading the clinical table from xlsx and CSV.

use super::clinical::{ClinicalRecord, ClinicalTable, Outcomes};
use super::columns::{Content, ID, MISSING, NOTES, OUTCOMES, POSTOPERATIVE, PREOPERATIVE};
use super::covariates::CovariateTable;
use crate::csv_table::CsvTable;
use crate::error::{Error, Result};
use calamine::{Data, Reader, Xlsx};
use oncograph_core::{FollowUp, Table};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A sheet as text; `rows` carry their number in the file.
struct Sheet {
    path: PathBuf,
    name: Option<String>,
    header: Vec<String>,
    rows: Vec<(usize, Vec<String>)>,
}

impl ClinicalTable {
    /// Reads the workbook (`.xlsx`) or a table exported from it (`.csv`).
    ///
    /// Column names are compared without regard to case, to surrounding space and to the choice of space, hyphen
    /// or underscore (the released data dictionary has such variants). Of a workbook the first sheet with a
    /// `Patient-ID` column is read. -999 and empty cells are missing values. The post-operative columns and the
    /// notes may be absent; every other column must be there.
    ///
    /// # Errors
    /// Names file, sheet, row and column: a missing column (with those there are), an unknown code, a cell that is
    /// no number, an outcome that is missing, a time that is not positive, a patient without an identifier or with
    /// two rows, no rows at all, or another kind of file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let sheet = read_sheet(path.as_ref())?;
        let required = PREOPERATIVE.iter().chain(&OUTCOMES);
        let (covariates, rest) = rows(&sheet, required, |row| Ok((row.outcomes()?, row.text(NOTES))))?;
        let record =
            |(id, (outcomes, notes)): (&String, _)| ClinicalRecord { id: id.clone(), outcomes, notes };
        let patients = covariates.ids().iter().zip(rest).map(record).collect();
        Ok(ClinicalTable { path: sheet.path, patients, covariates })
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
    /// # Errors
    /// As [`ClinicalTable::read`], but for outcomes.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let sheet = read_sheet(path.as_ref())?;
        let (covariates, _) = rows(&sheet, [], |_| Ok(()))?;
        Ok(CovariateTable { path: sheet.path, covariates })
    }
}

fn read_sheet(path: &Path) -> Result<Sheet> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    match extension.as_str() {
        "xlsx" => read_xlsx(path),
        "csv" => read_csv(path),
        _ => Err(Error::format(path, "clinical table", "the name ends in neither .xlsx nor .csv")),
    }
}

/// True for a table that looks like the clinical one: its header has the identifier column.
pub(super) fn looks_clinical(path: &Path) -> bool {
    match path.extension().and_then(|e| e.to_str()) {
        Some(e) if e.eq_ignore_ascii_case("xlsx") => read_xlsx(path).is_ok(),
        Some(e) if e.eq_ignore_ascii_case("csv") => {
            read_csv(path).is_ok_and(|s| s.header.iter().any(|h| canonical(h) == canonical(ID)))
        }
        _ => false,
    }
}

/// A column name without the differences found between releases and exports.
fn canonical(name: &str) -> String {
    let name = name.trim_start_matches('\u{feff}').trim().to_ascii_lowercase();
    name.replace([' ', '-'], "_")
}

fn read_xlsx(path: &Path) -> Result<Sheet> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let bad = |e: calamine::XlsxError| Error::format(path, "xlsx", e);
    let mut book: Xlsx<_> = Xlsx::new(std::io::Cursor::new(bytes)).map_err(bad)?;
    let names = book.sheet_names();
    for name in &names {
        let range = book.worksheet_range(name).map_err(bad)?;
        let first = range.start().map_or(0, |(row, _)| row as usize);
        let mut rows = range.rows();
        let header: Vec<String> = rows.next().unwrap_or_default().iter().map(text_of).collect();
        if header.iter().any(|h| canonical(h) == canonical(ID)) {
            let rows = rows.enumerate().map(|(i, r)| (first + i + 2, r.iter().map(text_of).collect()));
            return Ok(Sheet {
                path: path.to_owned(),
                name: Some(name.clone()),
                header,
                rows: rows.collect(),
            });
        }
    }
    Err(Error::at(path, format!("no sheet has a column `{ID}`; sheets: {}", names.join(", "))))
}

fn text_of(cell: &Data) -> String {
    match cell {
        Data::Empty => String::new(),
        other => other.to_string(),
    }
}

fn read_csv(path: &Path) -> Result<Sheet> {
    let CsvTable { path, header, rows } = CsvTable::read(path)?;
    Ok(Sheet { path, name: None, header, rows })
}

/// The covariates of a sheet that has the identifier and all `required` columns, and what `more` reads of each row.
fn rows<'c, R>(
    sheet: &Sheet,
    required: impl IntoIterator<Item = &'c &'static str>,
    more: impl Fn(&Row<'_>) -> Result<R>,
) -> Result<(Table, Vec<R>)> {
    let places: BTreeMap<String, usize> =
        sheet.header.iter().enumerate().rev().map(|(i, h)| (canonical(h), i)).collect();
    let place = |column: &str| places.get(&canonical(column)).copied();
    if let Some(column) = [ID].iter().chain(required).find(|column| place(column).is_none()) {
        return Err(Error::MissingColumn {
            path: sheet.path.clone(),
            sheet: sheet.name.clone(),
            column: (*column).to_owned(),
            found: sheet.header.clone(),
        });
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let columns: Vec<&str> =
        PREOPERATIVE.into_iter().chain(POSTOPERATIVE).filter(|c| place(c).is_some()).collect();
    let (mut ids, mut values, mut rest) = (Vec::with_capacity(sheet.rows.len()), Vec::new(), Vec::new());
    for (number, cells) in &sheet.rows {
        if cells.iter().all(|c| c.trim().is_empty()) {
            continue;
        }
        let cell = |column: &str| place(column).and_then(|i| cells.get(i)).map_or("", |c| c.trim());
        let row = Row { sheet, number: *number, cell: &cell };
        let id = row.id()?;
        if let Some(first) = seen.insert(id.clone(), row.number) {
            let (path, sheet) = (sheet.path.clone(), sheet.name.clone());
            return Err(Error::DuplicatePatient { path, sheet, id, first, second: row.number });
        }
        ids.push(id);
        values.push(columns.iter().map(|c| row.covariate(c)).collect::<Result<Vec<_>>>()?);
        rest.push(more(&row)?);
    }
    if ids.is_empty() {
        return Err(Error::empty_table(&sheet.path, sheet.name.as_deref()));
    }
    Ok((Table::new(ids, columns.into_iter().map(str::to_owned).collect(), values)?, rest))
}

/// Whether an identifier may name a folder and a file: letters, digits, spaces and `-_.`, and no dot in front.
pub(super) fn is_plain(id: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
    !id.is_empty() && !id.starts_with('.') && id.chars().all(plain)
}

struct Row<'a> {
    sheet: &'a Sheet,
    number: usize,
    cell: &'a dyn Fn(&str) -> &'a str,
}

impl Row<'_> {
    fn refuse<T>(&self, column: &str, expected: impl Into<String>) -> Result<T> {
        Err(Error::Cell {
            path: self.sheet.path.clone(),
            sheet: self.sheet.name.clone(),
            row: self.number,
            column: column.into(),
            expected: expected.into().into(),
            got: (self.cell)(column).into(),
        })
    }

    /// The identifier; it also names a folder, so that it must be a plain name.
    fn id(&self) -> Result<String> {
        match (self.cell)(ID) {
            id if is_plain(id) => Ok(id.to_owned()),
            _ => self.refuse(ID, "an identifier of letters, digits, spaces and -_."),
        }
    }

    fn text(&self, column: &str) -> String {
        (self.cell)(column).to_owned()
    }

    fn number(&self, column: &str) -> Result<Option<f64>> {
        match (self.cell)(column) {
            "" => Ok(None),
            text => match text.parse::<f64>() {
                Ok(MISSING) => Ok(None),
                Ok(value) => Ok(Some(value)),
                Err(_) => self.refuse(column, "a number"),
            },
        }
    }

    fn covariate(&self, column: &str) -> Result<Option<f64>> {
        let value = self.number(column)?;
        match value.and_then(|v| Content::of(column).refuse(v)) {
            Some(expected) => self.refuse(column, expected),
            None => Ok(value),
        }
    }

    fn outcome(&self, time: &str, event: &str) -> Result<FollowUp> {
        let months = match self.number(time)? {
            Some(months) if months.is_finite() && months > 0.0 => months,
            _ => return self.refuse(time, "a number of months greater than 0"),
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

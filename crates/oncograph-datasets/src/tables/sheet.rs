//! A table in memory.

use super::dialect::Decimal;
use super::{TableFile, Wanted};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A cell as its file has it. Text is trimmed and not empty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Empty,
    Text(String),
    Number(f64),
    Truth(bool),
    /// A date or a time of day, written as ISO 8601 does: also what spreadsheets make of 5.3 or 1-2.
    Date(String),
    /// A number that is shown a hundred times larger: whether 0.45 or 45 is meant is not known.
    Percent(f64),
    /// A formula whose value was not stored.
    Formula,
    /// What has no value here, in words: an error of a spreadsheet, or a type that is not read.
    Other(String),
}

impl Cell {
    pub fn of_text(text: &str) -> Self {
        match text.trim() {
            "" => Cell::Empty,
            text => Cell::Text(text.to_owned()),
        }
    }

    /// The cell in the words of an error.
    fn shown(&self) -> Cow<'_, str> {
        match self {
            Cell::Empty => "".into(),
            Cell::Text(text) | Cell::Other(text) => text.into(),
            Cell::Number(value) => value.to_string().into(),
            Cell::Truth(value) => value.to_string().into(),
            Cell::Date(date) => format!("the date {date} (a cell with a date format)").into(),
            Cell::Percent(value) => {
                format!("{} % (the number {value} in a percent format)", 100.0 * value).into()
            }
            Cell::Formula => "a formula without a stored value: open and save the workbook in a spreadsheet \
                              program, which computes it"
                .into(),
        }
    }
}

/// A table in memory, whatever kind of file it is from: the names of its columns, and cells with their places.
pub(crate) struct Sheet {
    pub path: PathBuf,
    /// The worksheet, of a workbook.
    pub name: Option<String>,
    /// Names of columns; a column may have none.
    pub header: Vec<String>,
    /// Rows that are not blank: the number, as a spreadsheet shows it, and the filled cells by column.
    pub rows: Vec<(usize, Vec<(u32, Cell)>)>,
    /// How numbers in text cells are written.
    pub decimal: Decimal,
    /// Remarks on how the file was read.
    pub notes: Vec<String>,
}

impl Sheet {
    /// Reads a table of any kind; of a workbook the first visible sheet that is not empty.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_where(path, &Wanted::anything())
    }

    /// Reads a table of any kind; of a workbook the first visible sheet with a header that fits.
    pub fn read_where(path: &Path, wanted: &Wanted<'_>) -> Result<Self> {
        TableFile::open_where(path, wanted)?.into_sheet()
    }

    /// The rows, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        self.rows.iter().map(|(number, cells)| Row { sheet: self, number: *number, cells })
    }

    /// Where a column is, if there is one.
    ///
    /// # Errors
    /// [`Error::DuplicateColumn`].
    pub fn place(&self, column: &str) -> Result<Option<usize>> {
        self.place_where(|name| name == column)
    }

    /// Where the one column is whose name fits.
    ///
    /// # Errors
    /// [`Error::DuplicateColumn`].
    pub fn place_where(&self, fits: impl Fn(&str) -> bool) -> Result<Option<usize>> {
        let mut found = (0..self.header.len()).filter(|c| fits(&self.header[*c]));
        let Some(first) = found.next() else { return Ok(None) };
        match found.next() {
            None => Ok(Some(first)),
            Some(second) => {
                Err(Error::duplicate_column(&self.path, self.name.as_deref(), &self.header, first, second))
            }
        }
    }

    /// Where a column is that must be there.
    ///
    /// # Errors
    /// [`Error::MissingColumn`] and [`Error::DuplicateColumn`].
    pub fn require(&self, column: &str) -> Result<usize> {
        self.place(column)?.ok_or_else(|| self.missing(column))
    }

    /// The error for a column that is not there.
    pub fn missing(&self, column: &str) -> Error {
        Error::MissingColumn {
            path: self.path.clone(),
            sheet: self.name.clone(),
            column: column.to_owned(),
            found: self.header.clone(),
        }
    }

    /// The error for a table without rows.
    pub fn empty(&self) -> Error {
        Error::empty_table(&self.path, self.name.as_deref())
    }

    /// The error for a patient with two rows.
    pub fn duplicate_patient(&self, id: &str, first: usize, second: usize) -> Error {
        let (path, sheet) = (self.path.clone(), self.name.clone());
        Error::DuplicatePatient { path, sheet, id: id.into(), first, second }
    }
}

/// A row of a [`Sheet`].
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub sheet: &'a Sheet,
    /// Its number, as a spreadsheet shows it.
    pub number: usize,
    cells: &'a [(u32, Cell)],
}

impl<'a> Row<'a> {
    pub fn cell(&self, column: usize) -> &'a Cell {
        match self.cells.binary_search_by_key(&column, |(c, _)| *c as usize) {
            Ok(at) => &self.cells[at].1,
            Err(_) => &Cell::Empty,
        }
    }

    /// Filled cells with their columns.
    pub fn filled(&self) -> impl Iterator<Item = (usize, &'a Cell)> {
        self.cells.iter().map(|(c, cell)| (*c as usize, cell))
    }

    /// A cell as text, empty where there is none; of a date as ISO 8601 writes it.
    ///
    /// # Errors
    /// [`Error::Cell`] for a formula without value and for what has none at all.
    pub fn text(&self, column: usize) -> Result<Cow<'a, str>> {
        match self.cell(column) {
            Cell::Text(text) | Cell::Date(text) => Ok(text.into()),
            Cell::Percent(value) => Ok(format!("{}%", 100.0 * value).into()),
            Cell::Formula | Cell::Other(_) => Err(self.refuse(column, "text")),
            cell => Ok(cell.shown()),
        }
    }

    /// The name of somebody or something.
    ///
    /// # Errors
    /// [`Error::Cell`] for an empty cell, a date and what [`Row::text`] refuses.
    pub fn identifier(&self, column: usize) -> Result<Cow<'a, str>> {
        match self.cell(column) {
            Cell::Text(_) | Cell::Number(_) => self.text(column),
            _ => Err(self.refuse(column, "an identifier")),
        }
    }

    /// A cell as a number; `None` where it is empty.
    ///
    /// # Errors
    /// [`Error::Cell`] for anything else: text, a date, a percentage, a formula without value.
    pub fn number(&self, column: usize) -> Result<Option<f64>> {
        match self.cell(column) {
            Cell::Empty => Ok(None),
            Cell::Number(value) => Ok(Some(*value)),
            Cell::Text(text) => match self.sheet.decimal.parse(text) {
                Some(value) => Ok(Some(value)),
                None => Err(self.refuse(column, self.sheet.decimal.expected(text))),
            },
            _ => Err(self.refuse(column, "a number")),
        }
    }

    /// The error for a cell that does not hold what its column should.
    pub fn refuse(&self, column: usize, expected: &str) -> Error {
        self.refuse_text(column, expected, &self.cell(column).shown())
    }

    /// As [`Row::refuse`], for a part of the cell.
    pub fn refuse_text(&self, column: usize, expected: &str, got: &str) -> Error {
        Error::Cell {
            path: self.sheet.path.clone(),
            sheet: self.sheet.name.clone(),
            row: self.number,
            column: name_of_column(&self.sheet.header, column).into(),
            expected: expected.into(),
            got: got.into(),
        }
    }
}

/// The name of a column, or its number where it has none.
pub(crate) fn name_of_column(header: &[String], column: usize) -> String {
    match header.get(column).map(String::as_str) {
        None | Some("") => format!("number {}", column + 1),
        Some(name) => name.to_owned(),
    }
}

//! A CSV file as text with the place of every cell.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// The header and the rows of a CSV file; `rows` carry their number as a spreadsheet shows it.
pub(crate) struct CsvTable {
    pub path: PathBuf,
    pub header: Vec<String>,
    pub rows: Vec<(usize, Vec<String>)>,
}

impl CsvTable {
    pub fn read(path: &Path) -> Result<Self> {
        let bad = |e: csv::Error| match e.into_kind() {
            csv::ErrorKind::Io(source) => Error::io("read", path, source),
            other => Error::format(path, "CSV", detail(&other)),
        };
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(bad)?;
        let header = reader.headers().map_err(bad)?.iter();
        let header = header.map(|h| h.trim_start_matches('\u{feff}').to_owned()).collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(bad)?;
            let line = record.position().map_or(0, |p| p.line() as usize);
            rows.push((line, record.iter().map(str::to_owned).collect()));
        }
        Ok(CsvTable { path: path.to_owned(), header, rows })
    }

    /// Where a column is.
    pub fn place(&self, column: &str) -> Option<usize> {
        self.header.iter().position(|h| h == column)
    }

    /// Where a column is that must be there.
    pub fn require(&self, column: &str) -> Result<usize> {
        self.place(column).ok_or_else(|| Error::MissingColumn {
            path: self.path.clone(),
            sheet: None,
            column: column.to_owned(),
            found: self.header.clone(),
        })
    }

    /// The error for a cell that does not hold what its column should.
    pub fn refuse<T>(&self, row: usize, column: usize, expected: &str, got: &str) -> Result<T> {
        Err(Error::Cell {
            path: self.path.clone(),
            sheet: None,
            row,
            column: self.header[column].as_str().into(),
            expected: expected.into(),
            got: got.into(),
        })
    }
}

fn detail(kind: &csv::ErrorKind) -> String {
    let line = |p: &Option<csv::Position>| p.as_ref().map_or(0, csv::Position::line);
    match kind {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            format!("line {} has {len} cells, the header {expected_len}", line(pos))
        }
        csv::ErrorKind::Utf8 { pos, err } => format!("line {}: {err}", line(pos)),
        other => format!("{other:?}"),
    }
}

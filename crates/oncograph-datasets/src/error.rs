//! The crate's error type.

use oncograph_core::{Argument, AtFile};
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while reading, splitting, scaling or generating a cohort.
///
/// Every variant prints the file and the place in it, or the call and its argument, with what was expected and what
/// was found. Those with named fields are the ones that a program may want to handle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder that could not be read, written or understood.
    #[error(transparent)]
    AtFile(#[from] AtFile),
    /// An argument outside its range.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// A table without a column that is needed.
    #[error("{}{}: no column `{column}`; found: {}", path.display(), in_sheet(sheet), first_of(found))]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The worksheet, for a workbook.
        sheet: Option<String>,
        /// The column looked for.
        column: String,
        /// The columns there are.
        found: Vec<String>,
    },
    /// A workbook of which no visible sheet has what is needed.
    #[error(
        "{}: no visible sheet has {wanted}; sheets: {}{}", path.display(), sheets.join(", "), hidden_sheets(hidden)
    )]
    NoSheet {
        /// The file.
        path: PathBuf,
        /// What a sheet must have.
        wanted: String,
        /// The visible sheets.
        sheets: Vec<String>,
        /// Hidden sheets that have it.
        hidden: Vec<String>,
    },
    /// A table in which two columns have one name, so that it is not known which is meant.
    #[error(
        "{}{}: column `{column}` is there twice, as columns {first} and {second}: rename or remove one",
        path.display(), in_sheet(sheet)
    )]
    DuplicateColumn {
        /// The file.
        path: PathBuf,
        /// The worksheet, for a workbook.
        sheet: Option<String>,
        /// The name; both names where they differ in a way that does not count.
        column: String,
        /// The first of the columns, counted from 1.
        first: usize,
        /// The second of them.
        second: usize,
    },
    /// A row of a text file with another number of cells than the header.
    #[error(
        "{}: line {line} has {cells} cells, the header {header} (separated by {separator}): a separator is missing, or \
         one within a cell needs quotation marks around the cell",
        path.display()
    )]
    RaggedRow {
        /// The file.
        path: PathBuf,
        /// The line in which the row begins, counted from 1.
        line: usize,
        /// Cells of the row.
        cells: usize,
        /// Cells of the header.
        header: usize,
        /// What was taken for the separator, in the plural.
        separator: &'static str,
    },
    /// A cell whose content is not what its column holds.
    #[error("{}{}: row {row}, column `{column}`: expected {expected}, got {got:?}", path.display(), in_sheet(sheet))]
    Cell {
        /// The file.
        path: PathBuf,
        /// The worksheet, for a workbook.
        sheet: Option<String>,
        /// Row number as a spreadsheet shows it (the header is row 1).
        row: usize,
        /// The column.
        column: Box<str>,
        /// What the column holds.
        expected: Box<str>,
        /// The cell's text.
        got: Box<str>,
    },
    /// Two rows of one patient.
    #[error("{}{}: patient {id} is in row {first} and again in row {second}", path.display(), in_sheet(sheet))]
    DuplicatePatient {
        /// The file.
        path: PathBuf,
        /// The worksheet, for a workbook.
        sheet: Option<String>,
        /// The patient.
        id: String,
        /// Row of the first occurrence.
        first: usize,
        /// Row of the second.
        second: usize,
    },
    /// Several rows of a table that cannot be used.
    #[error("{} rows cannot be used: {}", rows.len(), first_few(rows))]
    Rows {
        /// What is wrong with each.
        rows: Vec<Error>,
    },
    /// Images of a subject that cannot be used.
    #[error("subject {subject}: {}: {detail}", path.display())]
    Subject {
        /// The subject.
        subject: String,
        /// The file or folder concerned.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// An image of a subject that could not be read.
    #[error("subject {subject}: {source}")]
    Image {
        /// The subject.
        subject: String,
        /// The cause; it names the file.
        source: Box<oncograph_imaging::Error>,
    },
    /// A volume that could not be read, made or written.
    #[error(transparent)]
    Imaging(#[from] oncograph_imaging::Error),
    /// A stratum with too few members for the requested split.
    #[error("{operation}: stratum {stratum} has {got} members, expected at least {expected}")]
    Stratum {
        /// The call.
        operation: &'static str,
        /// The stratum's label.
        stratum: usize,
        /// Members needed.
        expected: usize,
        /// Members present.
        got: usize,
    },
}

impl Error {
    /// A cell of a table that is no workbook, which does not hold what its column should.
    pub(crate) fn cell(path: &Path, row: usize, column: &str, expected: &str, got: &str) -> Self {
        Error::Cell {
            path: path.into(),
            sheet: None,
            row,
            column: column.into(),
            expected: expected.into(),
            got: got.into(),
        }
    }

    /// Two columns of one name in a header.
    pub(crate) fn duplicate_column(
        path: &Path,
        sheet: Option<&str>,
        header: &[String],
        first: usize,
        second: usize,
    ) -> Self {
        let column = match header[first] == header[second] {
            true => header[first].clone(),
            false => format!("{}` or `{}", header[first], header[second]),
        };
        let (path, sheet) = (path.into(), sheet.map(str::to_owned));
        Error::DuplicateColumn { path, sheet, column, first: first + 1, second: second + 1 }
    }

    /// The error of one row, or those of several; `faults` are at least one.
    pub(crate) fn of_rows(mut faults: Vec<Error>) -> Self {
        match faults.len() {
            1 => faults.remove(0),
            _ => Error::Rows { rows: faults },
        }
    }

    pub(crate) fn io(operation: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        AtFile::new(path, source).during(operation).into()
    }

    /// A file that is damaged or not of the format that it claims to be.
    pub(crate) fn format(path: &Path, format: &str, detail: impl Display) -> Self {
        AtFile::new(path, format!("not a readable {format} file: {detail}")).into()
    }

    /// A file or folder whose content is not what is needed.
    pub(crate) fn at(path: &Path, detail: impl Into<String>) -> Self {
        AtFile::new(path, detail.into()).into()
    }

    pub(crate) fn empty_table(path: &Path, sheet: Option<&str>) -> Self {
        let place = sheet.map(|s| format!("sheet `{s}`")).unwrap_or_default();
        AtFile::new(path, "the table has no rows").at(place).into()
    }

    pub(crate) fn argument(
        operation: &'static str,
        argument: &'static str,
        expected: impl Into<String>,
        got: impl ToString,
    ) -> Self {
        Argument::new(operation, argument, expected.into(), got).into()
    }

    pub(crate) fn subject(subject: &str, path: &Path, detail: impl Into<String>) -> Self {
        Self::Subject { subject: subject.to_owned(), path: path.to_owned(), detail: detail.into() }
    }
}

fn in_sheet(sheet: &Option<String>) -> String {
    sheet.as_ref().map(|s| format!(", sheet `{s}`")).unwrap_or_default()
}

fn hidden_sheets(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("; a hidden sheet has it ({}): show it in a spreadsheet program", names.join(", ")),
    }
}

/// Errors for a message: a table that is not what it should be has one in every row.
fn first_few(rows: &[Error]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = rows.iter().take(SHOWN).map(Error::to_string).collect();
    shown.join("; ") + if rows.len() > SHOWN { "; ..." } else { "" }
}

/// Names for a message: molecular tables have thousands of them.
fn first_of(names: &[String]) -> String {
    const SHOWN: usize = 40;
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    names[..names.len().min(SHOWN)].join(", ") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_file_sheet_row_and_column() {
        let error = Error::Cell {
            path: "a.xlsx".into(),
            sheet: Some("S".into()),
            row: 7,
            column: "age".into(),
            expected: "a number".into(),
            got: "old".into(),
        };
        assert_eq!(
            error.to_string(),
            "a.xlsx, sheet `S`: row 7, column `age`: expected a number, got \"old\""
        );
        let empty = Error::empty_table(Path::new("a.xlsx"), Some("S"));
        assert_eq!(empty.to_string(), "a.xlsx, sheet `S`: the table has no rows");
    }
}

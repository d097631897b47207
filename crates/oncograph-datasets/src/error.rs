//! The crate's error type.

use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while reading, splitting, scaling or generating a cohort.
///
/// File errors carry the path and the place in the file; argument errors the operation, what it expected and what
/// it got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was attempted, e.g. `read`.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file that is damaged or not of the format that it claims to be.
    #[error("{}: not a readable {format} file: {detail}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// `xlsx`, `CSV`, `JSON` or `safetensors`.
        format: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// A table without a column that is needed.
    #[error("{}{}: no column `{column}`; found: {}", path.display(), in_sheet(sheet), found.join(", "))]
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
    /// A workbook none of whose sheets is the clinical table.
    #[error("{}: no sheet has a column `{column}`; sheets: {}", path.display(), sheets.join(", "))]
    NoSheet {
        /// The file.
        path: PathBuf,
        /// The column that marks the table.
        column: &'static str,
        /// The sheets there are.
        sheets: Vec<String>,
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
    /// Images that are missing or do not fit together.
    #[error("{}: {detail}", path.display())]
    NoImages {
        /// The file or folder.
        path: PathBuf,
        /// What is missing or does not fit.
        detail: String,
    },
    /// A table without a single row.
    #[error("{}{}: the table has no rows", path.display(), in_sheet(sheet))]
    EmptyTable {
        /// The file.
        path: PathBuf,
        /// The worksheet, for a workbook.
        sheet: Option<String>,
    },
    /// A folder that is none of the known layouts, or several at once.
    #[error("{}: {detail}", path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What was looked for and what was found.
        detail: String,
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
        source: oncograph_imaging::Error,
    },
    /// A volume that could not be read, made or written.
    #[error(transparent)]
    Imaging(#[from] oncograph_imaging::Error),
    /// A stratum with too few members for the split asked for.
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
    /// An argument outside its range.
    #[error("{operation}: {argument} must be {expected}, got {got}")]
    Argument {
        /// The call.
        operation: &'static str,
        /// The argument's name.
        argument: &'static str,
        /// Its allowed values.
        expected: String,
        /// The value received.
        got: String,
    },
}

impl Error {
    pub(crate) fn io(operation: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { operation, path: path.as_ref().to_owned(), source }
    }

    pub(crate) fn format(path: &Path, format: &'static str, detail: impl ToString) -> Self {
        Self::Format { path: path.to_owned(), format, detail: detail.to_string() }
    }

    pub(crate) fn argument(
        operation: &'static str,
        argument: &'static str,
        expected: impl Into<String>,
        got: impl ToString,
    ) -> Self {
        Self::Argument { operation, argument, expected: expected.into(), got: got.to_string() }
    }

    pub(crate) fn layout(path: &Path, detail: impl Into<String>) -> Self {
        Self::Layout { path: path.to_owned(), detail: detail.into() }
    }

    pub(crate) fn subject(subject: &str, path: &Path, detail: impl Into<String>) -> Self {
        Self::Subject { subject: subject.to_owned(), path: path.to_owned(), detail: detail.into() }
    }
}

fn in_sheet(sheet: &Option<String>) -> String {
    sheet.as_ref().map(|s| format!(", sheet `{s}`")).unwrap_or_default()
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
    }
}

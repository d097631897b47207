//! The crate's error type.

use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while a figure is drawn or a report or document is written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing to draw.
    #[error("{operation}: `{argument}` is empty, expected {expected}")]
    Empty {
        /// The function that was called.
        operation: &'static str,
        /// The argument at fault.
        argument: &'static str,
        /// What is needed.
        expected: &'static str,
    },
    /// A slice has the wrong number of values.
    #[error("{operation}: `{argument}` has {got} values, expected {expected}")]
    Length {
        /// The function that was called.
        operation: &'static str,
        /// The argument at fault.
        argument: &'static str,
        /// The length that the other arguments imply.
        expected: usize,
        /// The length found.
        got: usize,
    },
    /// One value of a slice cannot be drawn.
    #[error("{operation}: `{argument}`[{index}] is {got}, expected {expected}")]
    Value {
        /// The function that was called.
        operation: &'static str,
        /// The argument at fault.
        argument: &'static str,
        /// The position in the slice.
        index: usize,
        /// What is allowed.
        expected: &'static str,
        /// The value found.
        got: f64,
    },
    /// An option or scalar argument is outside its range.
    #[error("{operation}: `{option}` is {got}, expected {expected}")]
    Option {
        /// The function that was called.
        operation: &'static str,
        /// The option at fault.
        option: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// The value found.
        got: String,
    },
    /// A statistic that a figure shows cannot be computed.
    #[error(transparent)]
    Metrics(#[from] oncograph_metrics::Error),
    /// The drawing library refused.
    #[error("{operation}: the chart cannot be drawn: {detail}")]
    Draw {
        /// What was drawn.
        operation: &'static str,
        /// The library's message.
        detail: String,
    },
    /// The picture could not be encoded.
    #[error("the picture cannot be encoded as PNG: {0}")]
    Png(#[from] png::EncodingError),
    /// A document for other programs does not hold what it must.
    #[error("{document}: {field}: {detail}")]
    Document {
        /// What kind of document.
        document: &'static str,
        /// Where in it.
        field: String,
        /// What is wrong there.
        detail: String,
    },
    /// The operating system refused to write a file.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was attempted, e.g. `write`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn document(document: &'static str, field: impl Into<String>, detail: impl ToString) -> Self {
        Self::Document { document, field: field.into(), detail: detail.to_string() }
    }

    pub(crate) fn io(operation: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { operation, path: path.to_path_buf(), source }
    }
}

/// Checks that a slice has the expected length.
pub(crate) fn check_length(
    operation: &'static str,
    argument: &'static str,
    got: usize,
    expected: usize,
) -> Result<()> {
    if got == expected { Ok(()) } else { Err(Error::Length { operation, argument, expected, got }) }
}

/// Checks that there is something to draw.
pub(crate) fn check_not_empty(
    operation: &'static str,
    argument: &'static str,
    got: usize,
    expected: &'static str,
) -> Result<()> {
    if got > 0 { Ok(()) } else { Err(Error::Empty { operation, argument, expected }) }
}

/// Checks that every value satisfies `allowed`.
pub(crate) fn check_values(
    operation: &'static str,
    argument: &'static str,
    values: &[f64],
    expected: &'static str,
    allowed: impl Fn(f64) -> bool,
) -> Result<()> {
    match values.iter().position(|&v| !allowed(v)) {
        Some(index) => Err(Error::Value { operation, argument, index, expected, got: values[index] }),
        None => Ok(()),
    }
}

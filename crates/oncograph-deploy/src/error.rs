//! The crate's error type.

use oncograph_core::{Argument, AtFile};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong when a model or a document about a patient is written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A document that does not hold what it must.
    #[error("{document}: {field}: {detail}")]
    Document {
        /// What kind of document.
        document: &'static str,
        /// Where in it.
        field: String,
        /// What is wrong there.
        detail: String,
    },
    /// An argument is outside its range.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// A file that cannot be read or written, or that is not what it should be.
    #[error(transparent)]
    AtFile(#[from] AtFile),
}

impl Error {
    pub(crate) fn document(document: &'static str, field: impl Into<String>, detail: impl ToString) -> Self {
        Self::Document { document, field: field.into(), detail: detail.to_string() }
    }
}

//! The crate's error type.

use oncograph_core::AtFile;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while a document about a patient is written or read.
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
    /// A file that cannot be written.
    #[error(transparent)]
    File(#[from] AtFile),
}

impl Error {
    pub(crate) fn document(document: &'static str, field: impl Into<String>, detail: impl ToString) -> Self {
        Self::Document { document, field: field.into(), detail: detail.to_string() }
    }
}

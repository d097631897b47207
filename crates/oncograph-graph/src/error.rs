use oncograph_core::Argument;
use std::borrow::Cow;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or a configuration value is not one of those allowed.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// A node or edge type is not in the schema.
    #[error("the schema has no {kind} type {name}; it has {known}")]
    UnknownType {
        /// `node` or `edge`.
        kind: &'static str,
        /// The requested name.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A count or a length does not fit the schema or the rest of the graph.
    #[error("{what}: expected {expected}, got {got}")]
    Mismatch {
        /// The part of the graph.
        what: String,
        /// What it must be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A feature is NaN or infinite.
    #[error("{what}: value {index} is {value}")]
    NotFinite {
        /// The part of the graph.
        what: String,
        /// The position in the feature matrix, row by row.
        index: usize,
        /// The value.
        value: f32,
    },
    /// An error of the layers below.
    #[error(transparent)]
    Nn(#[from] oncograph_nn::Error),
    /// An error of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

// `Module::forward` returns candle's error: ours travels inside it.
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            Error::Nn(inner) => inner.into(),
            other => candle_core::Error::wrap(other),
        }
    }
}

impl Error {
    pub(crate) fn mismatch(what: impl Into<String>, expected: impl ToString, got: impl ToString) -> Self {
        Error::Mismatch { what: what.into(), expected: expected.to_string(), got: got.to_string() }
    }

    /// An [`Error::Argument`] from anything that prints.
    pub(crate) fn config(
        op: &'static str,
        field: impl Into<Cow<'static, str>>,
        expected: impl ToString,
        got: impl ToString,
    ) -> Self {
        Argument::new(op, field, expected, got).into()
    }
}

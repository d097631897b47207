use crate::DeviceError;
use oncograph_core::{Argument, AtFile};
use std::borrow::Cow;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor has another shape than the operation needs.
    #[error("{op}: expected {expected}, got {got}")]
    Shape {
        /// The operation that was called.
        op: &'static str,
        /// The shape it needs, in words or symbols.
        expected: String,
        /// The shape that it was given.
        got: String,
    },
    /// An argument or a configuration value is not one of those allowed.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// A device cannot be opened, or its memory is full.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A saved state does not fit the parameters that it is loaded into.
    #[error("state does not fit: missing {missing:?}, unexpected {unexpected:?}, wrong shape {misshaped:?}")]
    StateMismatch {
        /// Names that the model has and the state lacks.
        missing: Vec<String>,
        /// Names that the state has and the model lacks.
        unexpected: Vec<String>,
        /// `name: model shape, state shape`.
        misshaped: Vec<String>,
    },
    /// A file or folder could not be read or written.
    #[error(transparent)]
    AtFile(#[from] AtFile),
    /// An error of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

// `Module::forward` and `CustomOp` return candle's error: ours travels inside it.
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            other => candle_core::Error::wrap(other),
        }
    }
}

impl Error {
    /// A [`Error::Shape`] from anything that prints.
    pub fn shape(op: &'static str, expected: impl ToString, got: impl std::fmt::Debug) -> Self {
        Error::Shape { op, expected: expected.to_string(), got: format!("{got:?}") }
    }

    /// An [`Error::Argument`] from anything that prints.
    pub fn config(
        op: &'static str,
        field: impl Into<Cow<'static, str>>,
        expected: impl ToString,
        got: impl ToString,
    ) -> Self {
        Argument::new(op, field, expected, got).into()
    }
}

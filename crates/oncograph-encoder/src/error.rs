use oncograph_core::{Argument, AtFile};
use std::borrow::Cow;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or a configuration value is not one of those allowed.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// A tensor has another shape than the model needs.
    #[error("{op}: expected {expected}, got {got:?}")]
    Shape {
        /// The operation that was called.
        op: &'static str,
        /// The shape it needs, in words or symbols.
        expected: String,
        /// The shape that it was given.
        got: Vec<usize>,
    },
    /// A file or folder could not be read.
    #[error(transparent)]
    AtFile(#[from] AtFile),
    /// A checkpoint does not fit the model.
    #[error(
        "the checkpoint does not fit: missing {}, unexpected {}, wrong shape {}",
        few(missing),
        few(unexpected),
        few(misshaped)
    )]
    Mismatch {
        /// Names that the model has and the checkpoint lacks.
        missing: Vec<String>,
        /// Names that the checkpoint has and the model lacks.
        unexpected: Vec<String>,
        /// `name: model shape, checkpoint shape`.
        misshaped: Vec<String>,
    },
    /// An error of the layers.
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

/// The first names of a list, and how many others there are.
fn few(names: &[String]) -> String {
    /// More does not help a reader.
    const LISTED: usize = 5;
    match names.len() {
        0 => "none".into(),
        n if n > LISTED => format!("{} and {} more", names[..LISTED].join(", "), n - LISTED),
        _ => names.join(", "),
    }
}

use oncograph_core::Argument;
use std::borrow::Cow;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or a configuration value is not one of those allowed.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// An input has another length or shape than the loss needs.
    #[error("{op}: expected {expected}, got {got}")]
    Input {
        /// The loss.
        op: &'static str,
        /// What it needs.
        expected: String,
        /// What it was given.
        got: String,
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
    pub(crate) fn input(op: &'static str, expected: impl ToString, got: impl std::fmt::Debug) -> Self {
        Error::Input { op, expected: expected.to_string(), got: format!("{got:?}") }
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

/// The length of a vector of predictions that has as many targets, at least one.
pub(crate) fn same_length(
    loss: &'static str,
    prediction: &candle_core::Tensor,
    targets: &[usize],
) -> Result<usize> {
    let n = match prediction.dims() {
        [n] | [n, 1] if *n > 0 => *n,
        other => return Err(Error::input(loss, "a vector of predictions", other)),
    };
    match targets.iter().find(|t| **t != n) {
        Some(other) => Err(Error::input(loss, format!("{n} targets, as many as predictions"), other)),
        None => Ok(n),
    }
}

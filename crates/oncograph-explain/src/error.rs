use oncograph_core::Argument;
use std::borrow::Cow;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or a configuration value is not one of those allowed.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// A tensor or value does not fit.
    #[error("{op}: expected {expected}, got {got}")]
    Input {
        /// The function that was called.
        op: &'static str,
        /// What it needs.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// The explained output does not depend on what it is explained by.
    #[error("{op}: the output has no gradient with respect to {what}")]
    NoGradient {
        /// The function that was called.
        op: &'static str,
        /// The input or mask without gradient.
        what: &'static str,
    },
    /// No entry of a mask has any influence, so there is nothing to choose from.
    #[error("GnnExplainer: no entry of the {what} mask has any influence on the explained prediction")]
    EmptyHardMask {
        /// The mask: node or edge.
        what: &'static str,
    },
    /// An error of the explained model.
    #[error("the explained model: {0}")]
    Model(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An error of a volume.
    #[error(transparent)]
    Imaging(#[from] oncograph_imaging::Error),
    /// An error of the statistics.
    #[error(transparent)]
    Metrics(#[from] oncograph_metrics::Error),
    /// An error of the layers.
    #[error(transparent)]
    Nn(#[from] oncograph_nn::Error),
    /// An error of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What a model that is explained returns; `?` turns any error into it.
pub type ModelResult = std::result::Result<candle_core::Tensor, Box<dyn std::error::Error + Send + Sync>>;

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

use oncograph_core::Argument;
use std::borrow::Cow;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or a configuration value is not one of those allowed.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// An input has another shape or content than it must have.
    #[error("{op}: expected {expected}, got {got}")]
    Input {
        /// The function or layer.
        op: &'static str,
        /// What it needs.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// An error of message passing.
    #[error(transparent)]
    Gnn(#[from] oncograph_gnn::Error),
    /// An error of the graph.
    #[error(transparent)]
    Graph(#[from] oncograph_graph::Error),
    /// An error of a volume or atlas.
    #[error(transparent)]
    Imaging(#[from] oncograph_imaging::Error),
    /// An error of a loss.
    #[error(transparent)]
    Losses(#[from] oncograph_losses::Error),
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
            Error::Graph(inner) => inner.into(),
            Error::Gnn(inner) => inner.into(),
            Error::Losses(inner) => inner.into(),
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

    pub(crate) fn input(op: &'static str, expected: impl ToString, got: impl ToString) -> Self {
        Error::Input { op, expected: expected.to_string(), got: got.to_string() }
    }
}

impl From<Error> for oncograph_train::Error {
    fn from(error: Error) -> Self {
        oncograph_train::Error::learner(error)
    }
}

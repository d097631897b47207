use oncograph_core::{Argument, AtFile};
use std::borrow::Cow;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or a configuration value is not one of those allowed.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// Input of another kind or size than the model was built for.
    #[error("{what}: expected {expected}, got {got}")]
    Input {
        /// What was given.
        what: String,
        /// What the model needs.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// A file could not be read or written, or does not hold what it should.
    #[error(transparent)]
    AtFile(#[from] AtFile),
    /// A table, a scaler or a phantom.
    #[error(transparent)]
    Datasets(Box<oncograph_datasets::Error>),
    /// A statistic.
    #[error(transparent)]
    Metrics(#[from] oncograph_metrics::Error),
    /// An explanation.
    #[error(transparent)]
    Explain(Box<oncograph_explain::Error>),
    /// A bundle or a clinical report.
    #[error(transparent)]
    Deploy(#[from] oncograph_deploy::Error),
    /// The study that a system is part of.
    #[error(transparent)]
    Study(Box<oncograph_study::Error>),
    /// An error of a graph.
    #[error(transparent)]
    Graph(#[from] oncograph_graph::Error),
    /// An error of message passing.
    #[error(transparent)]
    Gnn(#[from] oncograph_gnn::Error),
    /// An error of a loss.
    #[error(transparent)]
    Loss(#[from] oncograph_losses::Error),
    /// An error of the layers below.
    #[error(transparent)]
    Nn(#[from] oncograph_nn::Error),
    /// An error of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// An error of training, for example a request to stop.
    #[error(transparent)]
    Train(Box<oncograph_train::Error>),
    /// An error of the source that batches come from, for example of a file.
    #[error(transparent)]
    Source(Box<dyn std::error::Error + Send + Sync>),
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
            Error::Loss(inner) => inner.into(),
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

    pub(crate) fn input(what: impl Into<String>, expected: impl ToString, got: impl ToString) -> Self {
        Error::Input { what: what.into(), expected: expected.to_string(), got: got.to_string() }
    }

    /// Wraps the error of a source of batches.
    pub fn source(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Source(error.into())
    }
}

impl From<oncograph_datasets::Error> for Error {
    fn from(error: oncograph_datasets::Error) -> Self {
        Error::Datasets(Box::new(error))
    }
}

impl From<oncograph_explain::Error> for Error {
    fn from(error: oncograph_explain::Error) -> Self {
        Error::Explain(Box::new(error))
    }
}

impl From<oncograph_study::Error> for Error {
    fn from(error: oncograph_study::Error) -> Self {
        Error::Study(Box::new(error))
    }
}

impl From<Error> for oncograph_study::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Study(inner) => *inner,
            // A request to stop is found there.
            Error::Train(inner) => (*inner).into(),
            other => oncograph_study::Error::system(other),
        }
    }
}

impl From<oncograph_train::Error> for Error {
    fn from(error: oncograph_train::Error) -> Self {
        Error::Train(Box::new(error))
    }
}

impl From<Error> for oncograph_train::Error {
    fn from(error: Error) -> Self {
        oncograph_train::Error::learner(error)
    }
}

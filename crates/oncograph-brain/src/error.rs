use oncograph_core::{Argument, AtFile};
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
    /// A file that could not be read or written, or does not hold what it should.
    #[error(transparent)]
    AtFile(#[from] AtFile),
    /// One patient cannot be used.
    #[error("patient {id}: {source}")]
    Patient {
        /// The patient.
        id: String,
        /// Why.
        source: Box<Error>,
    },
    /// Some scans of a cohort cannot be used, and all are wanted.
    #[error("{} of {of} scans cannot be used, without `strict` they are left out: {}", faults.len(), faults.join("; "))]
    Patients {
        /// Scans in all.
        of: usize,
        /// Of each such scan what is wrong.
        faults: Vec<String>,
    },
    /// A cohort, table, split or scaler.
    #[error(transparent)]
    Datasets(Box<oncograph_datasets::Error>),
    /// A bundle or a clinical report.
    #[error(transparent)]
    Deploy(#[from] oncograph_deploy::Error),
    /// An image encoder.
    #[error(transparent)]
    Encoder(#[from] oncograph_encoder::Error),
    /// An explanation.
    #[error(transparent)]
    Explain(Box<oncograph_explain::Error>),
    /// A statistic.
    #[error(transparent)]
    Metrics(#[from] oncograph_metrics::Error),
    /// A table, figure or page.
    #[error(transparent)]
    Report(#[from] oncograph_report::Error),
    /// A study. Its text is that of its cause, and it stays the cause: a request to stop is found there.
    #[error("{0}")]
    Study(#[source] Box<oncograph_study::Error>),
    /// Training, or the folder of a run; as with [`Error::Study`], a request to stop is found in the cause.
    #[error("{0}")]
    Train(#[source] oncograph_train::Error),
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

    /// This error with the patient that it is about.
    pub(crate) fn of_patient(self, id: &str) -> Self {
        Error::Patient { id: id.into(), source: Box::new(self) }
    }

    pub(crate) fn input(op: &'static str, expected: impl ToString, got: impl ToString) -> Self {
        Error::Input { op, expected: expected.to_string(), got: got.to_string() }
    }
}

impl From<Error> for oncograph_train::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Train(inner) => inner,
            other => oncograph_train::Error::learner(other),
        }
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

impl From<oncograph_train::Error> for Error {
    fn from(error: oncograph_train::Error) -> Self {
        Error::Train(error)
    }
}

impl From<oncograph_study::Error> for Error {
    fn from(error: oncograph_study::Error) -> Self {
        Error::Study(Box::new(error))
    }
}

// A study must recognise a request to stop.
impl From<Error> for oncograph_study::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Study(inner) => *inner,
            Error::Train(inner) => inner.into(),
            other => oncograph_study::Error::system(other),
        }
    }
}

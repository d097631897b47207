use oncograph_core::{Argument, AtFile};
use std::borrow::Cow;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or a configuration value is not one of those allowed.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// Input of another size than the model was built for.
    #[error("{what}: expected {expected}, got {got}")]
    Input {
        /// What was given.
        what: &'static str,
        /// Its size as the model needs it.
        expected: String,
        /// Its size.
        got: String,
    },
    /// A file could not be read or written, or does not hold what it should.
    #[error(transparent)]
    AtFile(#[from] AtFile),
    /// The images of a subject do not do.
    #[error("{subject}: {source}")]
    Subject {
        /// The subject.
        subject: String,
        /// Why.
        source: Box<Error>,
    },
    /// The images of some patients of a cohort cannot be used.
    #[error("{} of {of} patients cannot be used; --leave-out-faulty (`leave_out_faulty`) leaves them out: {}", faults.len(), faults.join("; "))]
    Patients {
        /// Patients in all.
        of: usize,
        /// Of each such patient what is wrong.
        faults: Vec<String>,
    },
    /// An error of the cohort's files, or of splits and scalers.
    #[error(transparent)]
    Datasets(Box<oncograph_datasets::Error>),
    /// An error of the image encoder or its checkpoint.
    #[error(transparent)]
    Encoder(#[from] oncograph_encoder::Error),
    /// An error of training, or a request to stop.
    #[error("{0}")]
    Train(#[from] oncograph_train::Error),
    /// An error of the study that the system is trained in.
    #[error("{0}")]
    Study(#[source] Box<oncograph_study::Error>),
    /// An error of an explanation.
    #[error(transparent)]
    Explain(Box<oncograph_explain::Error>),
    /// An error of a bundle or of a clinical report.
    #[error(transparent)]
    Deploy(#[from] oncograph_deploy::Error),
    /// An error of a table or figure.
    #[error(transparent)]
    Report(#[from] oncograph_report::Error),
    /// An error of a metric.
    #[error(transparent)]
    Metrics(#[from] oncograph_metrics::Error),
    /// An error of the images.
    #[error(transparent)]
    Imaging(#[from] oncograph_imaging::Error),
    /// An error of the graph.
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
    /// Whether work ended because somebody asked for it.
    pub fn is_stopped(&self) -> bool {
        match self {
            Error::Train(oncograph_train::Error::Stopped) => true,
            Error::Study(inner) => inner.is_stopped(),
            _ => false,
        }
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

    pub(crate) fn input(what: &'static str, expected: impl ToString, got: impl ToString) -> Self {
        Error::Input { what, expected: expected.to_string(), got: got.to_string() }
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

impl From<Error> for oncograph_train::Error {
    fn from(error: Error) -> Self {
        oncograph_train::Error::learner(error)
    }
}

impl From<Error> for oncograph_study::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Study(inner) => *inner,
            Error::Train(inner) => inner.into(),
            other => oncograph_study::Error::system(other),
        }
    }
}

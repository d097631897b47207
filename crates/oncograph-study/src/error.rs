use oncograph_core::{Argument, AtFile};
use oncograph_train as train;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a study.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or option is outside its range.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// A file could not be written, or does not hold what it should.
    #[error(transparent)]
    AtFile(#[from] AtFile),
    /// Training, or the folder of the run.
    #[error(transparent)]
    Train(#[from] train::Error),
    /// Splits and scalers.
    #[error(transparent)]
    Datasets(#[from] oncograph_datasets::Error),
    /// A statistic.
    #[error(transparent)]
    Metrics(#[from] oncograph_metrics::Error),
    /// A table or chart.
    #[error(transparent)]
    Report(#[from] oncograph_report::Error),
    /// A system that is studied, or the cohort that it is studied on.
    #[error(transparent)]
    System(Box<dyn std::error::Error + Send + Sync>),
    /// One job of the study failed.
    #[error("{job}: {source}")]
    Job {
        /// The name of the job: model, repetition and fold.
        job: String,
        /// Why.
        source: Box<Error>,
    },
}

impl Error {
    /// Wraps an error of a system or a cohort.
    pub fn system(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::System(error.into())
    }

    /// Whether the run was stopped on request, so that it can be resumed.
    pub fn is_stopped(&self) -> bool {
        match self {
            Error::Train(train::Error::Stopped) => true,
            Error::Job { source, .. } => source.is_stopped(),
            Error::System(error) => {
                matches!(error.downcast_ref(), Some(train::Error::Stopped))
                    || error.downcast_ref::<Error>().is_some_and(Error::is_stopped)
            }
            _ => false,
        }
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Error::Train(error.into())
    }
}

impl From<oncograph_nn::Error> for Error {
    fn from(error: oncograph_nn::Error) -> Self {
        Error::Train(error.into())
    }
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        candle_core::Error::wrap(error)
    }
}

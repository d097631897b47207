use oncograph_core::{Argument, AtFile};
use oncograph_nn::Precision;
use std::borrow::Cow;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read, written or understood.
    #[error(transparent)]
    AtFile(#[from] AtFile),
    /// An argument or a configuration value is not one of those allowed.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// A loss became NaN or infinite.
    #[error(
        "the loss is {value} in epoch {epoch}, step {step}: lower the learning rate or look at the input"
    )]
    Diverged {
        /// The epoch, from 0.
        epoch: usize,
        /// The step in it, from 0.
        step: usize,
        /// The loss.
        value: f64,
    },
    /// The first loss in a reduced precision is not that in f32.
    #[error(
        "the first loss is {got} in {precision} and {exact} in f32, further apart than {tolerance} of it: train in f32, or \
         allow more by `precision_tolerance`"
    )]
    Imprecise {
        /// The precision.
        precision: Precision,
        /// The loss in it.
        got: f64,
        /// The loss in f32.
        exact: f64,
        /// The difference that is allowed, relative to the latter.
        tolerance: f64,
    },
    /// The run was stopped on request; its last checkpoint is on disk.
    #[error("stopped on request; the run can be resumed")]
    Stopped,
    /// An error of the layers below.
    #[error(transparent)]
    Nn(#[from] oncograph_nn::Error),
    /// An error of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// An error of the learner.
    #[error(transparent)]
    Learner(Box<dyn std::error::Error + Send + Sync>),
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
    /// Wraps an error of a learner.
    pub fn learner(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Learner(error.into())
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

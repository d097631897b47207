use std::path::PathBuf;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of a run does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A configuration value is out of its range.
    #[error("{field} must be {expected}, got {got}")]
    Config {
        /// The field.
        field: &'static str,
        /// The values that are allowed.
        expected: &'static str,
        /// The value that was given.
        got: String,
    },
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
    /// The run was asked to stop; its last checkpoint is on disk.
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

impl Error {
    /// Wraps an error of a learner.
    pub fn learner(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Learner(error.into())
    }
}

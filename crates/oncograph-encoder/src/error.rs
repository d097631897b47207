use std::path::PathBuf;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration value is out of its range.
    #[error("{op}: {field} must be {expected}, got {got}")]
    Config {
        /// The model or function.
        op: &'static str,
        /// The field of its configuration.
        field: &'static str,
        /// The values that are allowed.
        expected: String,
        /// The value that was given.
        got: String,
    },
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
    /// A checkpoint file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A checkpoint does not fit the model.
    #[error(
        "the checkpoint does not fit: missing {missing:?}, unexpected {unexpected:?}, wrong shape {misshaped:?}"
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

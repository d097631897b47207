/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration value is out of its range or does not go with another.
    #[error("{field} must be {expected}, got {got}")]
    Config {
        /// The field.
        field: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        got: String,
    },
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

impl Error {
    pub(crate) fn config(field: &'static str, expected: impl ToString, got: impl ToString) -> Self {
        Error::Config { field, expected: expected.to_string(), got: got.to_string() }
    }

    pub(crate) fn input(what: &'static str, expected: impl ToString, got: impl ToString) -> Self {
        Error::Input { what, expected: expected.to_string(), got: got.to_string() }
    }
}

impl From<Error> for oncograph_train::Error {
    fn from(error: Error) -> Self {
        oncograph_train::Error::learner(error)
    }
}

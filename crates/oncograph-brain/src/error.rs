/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration value is out of its range or does not go with another.
    #[error("{config}: {field} must be {expected}, got {got}")]
    Config {
        /// The configuration.
        config: &'static str,
        /// The field.
        field: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        got: String,
    },
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

impl Error {
    pub(crate) fn config(
        config: &'static str,
        field: &'static str,
        expected: impl ToString,
        got: impl ToString,
    ) -> Self {
        Error::Config { config, field, expected: expected.to_string(), got: got.to_string() }
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

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A layer cannot be built or called like this.
    #[error("{layer}: expected {expected}, got {got}")]
    Layer {
        /// The layer.
        layer: &'static str,
        /// What it needs.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// An error of the layers below.
    #[error(transparent)]
    Nn(#[from] oncograph_nn::Error),
    /// An error of the graph.
    #[error(transparent)]
    Graph(#[from] oncograph_graph::Error),
    /// An error of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn layer(layer: &'static str, expected: impl ToString, got: impl ToString) -> Self {
        Error::Layer { layer, expected: expected.to_string(), got: got.to_string() }
    }
}

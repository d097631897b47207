use oncograph_core::Argument;
use std::borrow::Cow;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or a configuration value is not one of those allowed.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// A layer cannot be called like this.
    #[error("{op}: expected {expected}, got {got}")]
    Input {
        /// The layer.
        op: &'static str,
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

// `Module::forward` returns candle's error: ours travels inside it.
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            Error::Nn(inner) => inner.into(),
            Error::Graph(inner) => inner.into(),
            other => candle_core::Error::wrap(other),
        }
    }
}

impl Error {
    pub(crate) fn input(op: &'static str, expected: impl ToString, got: impl ToString) -> Self {
        Error::Input { op, expected: expected.to_string(), got: got.to_string() }
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

    /// [`Error::Argument`] for the first width that is 0.
    pub(crate) fn widths<const N: usize>(op: &'static str, widths: [(&'static str, usize); N]) -> Result<()> {
        match widths.into_iter().find(|(_, width)| *width == 0) {
            Some((field, width)) => Err(Error::config(op, field, "at least 1", width)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_candle_comes_back_as_it_was_and_ours_travels_inside() {
        let inner = candle_core::Error::Msg("deep".into());
        let back = candle_core::Error::from(Error::from(oncograph_nn::Error::from(inner)));
        assert!(matches!(back, candle_core::Error::Msg(text) if text == "deep"));
        let ours = candle_core::Error::from(Error::config("GcnConv", "out", "at least 1", 0));
        assert!(ours.to_string().contains("GcnConv: out must be at least 1, got 0"), "{ours}");
    }
}

//! The crate's error type.

use crate::text::plural;
use oncograph_core::{Argument, AtFile};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while a figure is drawn or a report is written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that cannot be drawn: nothing, too few values, or one outside its range.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// A file that cannot be written.
    #[error(transparent)]
    File(#[from] AtFile),
    /// A statistic that a figure shows cannot be computed.
    #[error(transparent)]
    Metrics(#[from] oncograph_metrics::Error),
    /// The drawing library refused.
    #[error("{operation}: the chart cannot be drawn: {detail}")]
    Draw {
        /// The function that was called.
        operation: &'static str,
        /// The library's message.
        detail: String,
    },
    /// The picture could not be encoded.
    #[error("the picture cannot be encoded as PNG: {0}")]
    Png(#[from] png::EncodingError),
}

impl Error {
    /// An argument or option outside its range.
    pub(crate) fn argument(
        op: &'static str,
        argument: &'static str,
        expected: &'static str,
        got: impl ToString,
    ) -> Self {
        Argument::new(op, argument, expected, got).into()
    }
}

/// Checks that a slice has the expected length.
pub(crate) fn check_length(
    op: &'static str,
    argument: &'static str,
    got: usize,
    expected: usize,
) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    Err(Argument::new(op, argument, format!("{} long", plural(expected, "value")), got).into())
}

/// Checks that there is something to draw.
pub(crate) fn check_not_empty(
    op: &'static str,
    argument: &'static str,
    got: usize,
    expected: &'static str,
) -> Result<()> {
    if got > 0 { Ok(()) } else { Err(Error::argument(op, argument, expected, "none")) }
}

/// Checks that every value satisfies `allowed`.
pub(crate) fn check_values(
    op: &'static str,
    argument: &'static str,
    values: &[f64],
    expected: &'static str,
    allowed: impl Fn(f64) -> bool,
) -> Result<()> {
    match values.iter().position(|&v| !allowed(v)) {
        Some(index) => Err(Argument::new(op, format!("{argument}[{index}]"), expected, values[index]).into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_the_need_and_the_value_are_named() {
        let text = |result: Result<()>| result.unwrap_err().to_string();
        assert_eq!(text(check_length("roc", "y", 2, 3)), "roc: y must be 3 values long, got 2");
        assert_eq!(
            text(check_not_empty("bars", "bars", 0, "at least one bar")),
            "bars: bars must be at least one bar, got none"
        );
        let values = check_values("bars", "value", &[1.0, f64::NAN], "a finite number", f64::is_finite);
        assert_eq!(text(values), "bars: value[1] must be a finite number, got NaN");
    }
}

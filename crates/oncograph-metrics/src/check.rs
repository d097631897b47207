//! Checks that every public function shares.

use crate::{Error, Result};

pub(crate) fn length(
    operation: &'static str,
    argument: &'static str,
    got: usize,
    expected: usize,
) -> Result<()> {
    if got == expected { Ok(()) } else { Err(Error::Length { operation, argument, expected, got }) }
}

pub(crate) fn values(
    operation: &'static str,
    argument: &'static str,
    values: &[f64],
    expected: &'static str,
    allowed: impl Fn(f64) -> bool,
) -> Result<()> {
    match values.iter().position(|&v| !allowed(v)) {
        None => Ok(()),
        Some(index) => Err(Error::Value { operation, argument, index, expected, got: values[index] }),
    }
}

pub(crate) fn finite(operation: &'static str, argument: &'static str, slice: &[f64]) -> Result<()> {
    values(operation, argument, slice, "a finite number", f64::is_finite)
}

pub(crate) fn probabilities(operation: &'static str, argument: &'static str, slice: &[f64]) -> Result<()> {
    values(operation, argument, slice, "a probability in [0, 1]", |v| (0.0..=1.0).contains(&v))
}

/// A finite slice of the given length.
pub(crate) fn paired(
    operation: &'static str,
    argument: &'static str,
    slice: &[f64],
    expected: usize,
) -> Result<()> {
    length(operation, argument, slice.len(), expected)?;
    finite(operation, argument, slice)
}

pub(crate) fn scalar(
    operation: &'static str,
    option: &'static str,
    got: f64,
    expected: &'static str,
    allowed: impl Fn(f64) -> bool,
) -> Result<()> {
    if allowed(got) { Ok(()) } else { Err(Error::argument(operation, option, expected, got)) }
}

/// A confidence level such as 0.95.
pub(crate) fn level(operation: &'static str, level: f64) -> Result<()> {
    scalar(operation, "level", level, "a confidence level in (0, 1)", |v| v > 0.0 && v < 1.0)
}

pub(crate) fn at_least(
    operation: &'static str,
    option: &'static str,
    got: usize,
    least: usize,
) -> Result<()> {
    if got >= least {
        return Ok(());
    }
    let expected = match least {
        1 => "at least 1",
        2 => "at least 2",
        3 => "at least 3",
        _ => "more",
    };
    Err(Error::argument(operation, option, expected, got))
}

/// Times at which a curve is evaluated: at least one, finite, strictly increasing.
pub(crate) fn increasing(operation: &'static str, argument: &'static str, times: &[f64]) -> Result<()> {
    at_least(operation, argument, times.len(), 1)?;
    finite(operation, argument, times)?;
    match times.windows(2).position(|w| w[1] <= w[0]) {
        None => Ok(()),
        Some(i) => Err(Error::Value {
            operation,
            argument,
            index: i + 1,
            expected: "a value above the one before",
            got: times[i + 1],
        }),
    }
}

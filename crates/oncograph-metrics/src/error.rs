use oncograph_core::Argument;
use std::borrow::Cow;

/// What can be wrong with the input of a statistic, or why it has no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A slice has the wrong number of values.
    #[error("{operation}: `{argument}` has {got} values, expected {expected}")]
    Length {
        /// The function that was called.
        operation: &'static str,
        /// The argument at fault.
        argument: &'static str,
        /// The length that the other arguments imply.
        expected: usize,
        /// The length found.
        got: usize,
    },
    /// One value of a slice is outside what the statistic is defined on.
    #[error("{operation}: `{argument}`[{index}] is {got}, expected {expected}")]
    Value {
        /// The function that was called.
        operation: &'static str,
        /// The argument at fault.
        argument: &'static str,
        /// The position in the slice.
        index: usize,
        /// What is allowed.
        expected: &'static str,
        /// The value found.
        got: f64,
    },
    /// An argument or a configuration value is not one of those allowed.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// The input is valid, but the statistic has no value on it.
    #[error("{operation} is undefined: {reason}")]
    Undefined {
        /// The function that was called.
        operation: &'static str,
        /// Why there is no value.
        reason: String,
    },
    /// An iterative fit stopped before it converged.
    #[error(
        "{operation}: no convergence after {iterations} iterations (last step {step:e} standard deviations)"
    )]
    NotConverged {
        /// The function that was called.
        operation: &'static str,
        /// How many iterations were made.
        iterations: usize,
        /// The largest last step, in standard deviations of its covariate.
        step: f64,
    },
}

/// Result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn undefined(operation: &'static str, reason: impl Into<String>) -> Self {
        Self::Undefined { operation, reason: reason.into() }
    }

    /// An [`Error::Argument`] from anything that prints.
    pub(crate) fn argument(
        op: &'static str,
        argument: impl Into<Cow<'static, str>>,
        expected: impl ToString,
        got: impl ToString,
    ) -> Self {
        Argument::new(op, argument, expected, got).into()
    }
}

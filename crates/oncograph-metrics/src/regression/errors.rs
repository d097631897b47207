use crate::{Error, Result, check};

fn checked(operation: &'static str, truth: &[f64], predicted: &[f64]) -> Result<f64> {
    check::at_least(operation, "truth.len()", truth.len(), 1)?;
    check::finite(operation, "truth", truth)?;
    check::paired(operation, "predicted", predicted, truth.len())?;
    Ok(truth.len() as f64)
}

/// Mean squared error, `1/n Σ (y − ŷ)²`.
///
/// # Units
/// The square of the input's unit.
///
/// # Errors
/// No values, different lengths, a value that is not finite.
///
/// # Example
/// ```
/// assert_eq!(oncograph_metrics::mean_squared_error(&[1.0, 2.0], &[1.0, 4.0])?, 2.0);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `sklearn.metrics.mean_squared_error`.
pub fn mean_squared_error(truth: &[f64], predicted: &[f64]) -> Result<f64> {
    let n = checked("mean_squared_error", truth, predicted)?;
    Ok(truth.iter().zip(predicted).map(|(y, p)| (y - p).powi(2)).sum::<f64>() / n)
}

/// Mean absolute error, `1/n Σ |y − ŷ|`.
///
/// # Errors
/// As [`mean_squared_error`].
///
/// # Reference
/// Equals `sklearn.metrics.mean_absolute_error`.
pub fn mean_absolute_error(truth: &[f64], predicted: &[f64]) -> Result<f64> {
    let n = checked("mean_absolute_error", truth, predicted)?;
    Ok(truth.iter().zip(predicted).map(|(y, p)| (y - p).abs()).sum::<f64>() / n)
}

/// Coefficient of determination, `1 − Σ (y − ŷ)² / Σ (y − ȳ)²`; negative where worse than the mean.
///
/// # Errors
/// As [`mean_squared_error`]; a constant truth, where the score has no value (scikit-learn returns 0 or 1).
///
/// # Reference
/// Equals `sklearn.metrics.r2_score` elsewhere.
pub fn r_squared(truth: &[f64], predicted: &[f64]) -> Result<f64> {
    let n = checked("r_squared", truth, predicted)?;
    let mean = truth.iter().sum::<f64>() / n;
    let total: f64 = truth.iter().map(|y| (y - mean).powi(2)).sum();
    if total == 0.0 {
        return Err(Error::undefined("r_squared", "the truth is constant"));
    }
    Ok(1.0 - mean_squared_error(truth, predicted)? * n / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let (y, p) = ([1.0, 2.0, 3.0], [2.0, 2.0, 5.0]);
        assert_eq!(mean_absolute_error(&y, &p).unwrap(), 1.0);
        assert!((r_squared(&y, &p).unwrap() - (1.0 - 5.0 / 2.0)).abs() < 1e-12);
        assert!(matches!(r_squared(&[1.0, 1.0], &[1.0, 2.0]), Err(Error::Undefined { .. })));
        assert!(mean_squared_error(&[], &[]).is_err());
        assert!(mean_squared_error(&[1.0], &[f64::INFINITY]).is_err());
    }
}

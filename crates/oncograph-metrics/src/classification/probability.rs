use crate::{Result, check};

fn checked(operation: &'static str, label: &[bool], probability: &[f64]) -> Result<f64> {
    check::at_least(operation, "label.len()", label.len(), 1)?;
    check::length(operation, "probability", probability.len(), label.len())?;
    check::probabilities(operation, "probability", probability)?;
    Ok(label.len() as f64)
}

/// Mean negative log-likelihood of the labels; probabilities are kept 2.2e-16 away from 0 and 1.
///
/// # Errors
/// No subjects, different lengths, a value outside [0, 1].
///
/// # Example
/// ```
/// let loss = oncograph_metrics::log_loss(&[true, false], &[0.5, 0.5])?;
/// assert!((loss - 2f64.ln()).abs() < 1e-15);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `sklearn.metrics.log_loss` in f64.
pub fn log_loss(label: &[bool], probability: &[f64]) -> Result<f64> {
    let n = checked("log_loss", label, probability)?;
    let term = |(&l, &p): (&bool, &f64)| {
        let p = p.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
        -(if l { p.ln() } else { (1.0 - p).ln() })
    };
    Ok(label.iter().zip(probability).map(term).sum::<f64>() / n)
}

/// Brier score of two-class probabilities, `1/n Σ (p − y)²`.
///
/// # Errors
/// As [`log_loss`].
///
/// # Reference
/// Equals `sklearn.metrics.brier_score_loss`.
pub fn brier_loss(label: &[bool], probability: &[f64]) -> Result<f64> {
    let n = checked("brier_loss", label, probability)?;
    let term = |(&l, &p): (&bool, &f64)| (p - if l { 1.0 } else { 0.0 }).powi(2);
    Ok(label.iter().zip(probability).map(term).sum::<f64>() / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let (label, p) = ([true, false], [0.8, 0.4]);
        assert!((brier_loss(&label, &p).unwrap() - 0.1).abs() < 1e-15);
        assert!((log_loss(&label, &p).unwrap() + (0.8f64 * 0.6).ln() / 2.0).abs() < 1e-15);
        assert!(log_loss(&[true], &[0.0]).unwrap() > 36.0);
        assert!(brier_loss(&[true], &[1.1]).is_err());
    }
}

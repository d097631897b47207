use super::{Alternative, TestOptions, TestResult};
use crate::{Error, Result, check, distribution};

/// Welch's t-test of equal means without equal variances; the statistic is t of `a` minus `b`.
///
/// # Errors
/// A sample of fewer than two values or with a value that is not finite; both samples constant.
///
/// # Example
/// ```
/// let test = oncograph_metrics::welch_t(&[1.0, 2.0, 3.0], &[2.0, 3.0, 4.0])?;
/// assert!((test.statistic + 1.5f64.sqrt()).abs() < 1e-12);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `scipy.stats.ttest_ind(equal_var=False)`.
pub fn welch_t(a: &[f64], b: &[f64]) -> Result<TestResult> {
    welch_t_with(a, b, &TestOptions::default())
}

/// [`welch_t`] against an alternative, or Student's test with pooled variances (`options.equal_variances`).
///
/// # Errors
/// As [`welch_t`].
///
/// # Reference
/// Equals `scipy.stats.ttest_ind(equal_var=..., alternative=...)`.
pub fn welch_t_with(a: &[f64], b: &[f64], options: &TestOptions) -> Result<TestResult> {
    let operation = "welch_t";
    let (mean_a, share_a) = moments(operation, "a", a)?;
    let (mean_b, share_b) = moments(operation, "b", b)?;
    let (na, nb) = (a.len() as f64, b.len() as f64);
    let (df_a, df_b) = (na - 1.0, nb - 1.0);
    let (variance, df) = if options.equal_variances {
        let pooled = (share_a * na * df_a + share_b * nb * df_b) / (df_a + df_b);
        (pooled * (1.0 / na + 1.0 / nb), df_a + df_b)
    } else {
        let sum = share_a + share_b;
        (sum, sum * sum / (share_a * share_a / df_a + share_b * share_b / df_b))
    };
    if variance == 0.0 {
        return Err(Error::undefined(operation, "both samples are constant"));
    }
    let statistic = (mean_a - mean_b) / variance.sqrt();
    let two_sided = distribution::student_two_sided(statistic, df);
    let upper = if statistic > 0.0 { two_sided / 2.0 } else { 1.0 - two_sided / 2.0 };
    let lower = if statistic > 0.0 { 1.0 - two_sided / 2.0 } else { two_sided / 2.0 };
    let p_value = match options.alternative {
        Alternative::TwoSided => two_sided,
        Alternative::Greater => upper,
        Alternative::Less => lower,
    };
    Ok(TestResult { statistic, p_value })
}

/// Mean and squared standard error.
fn moments(operation: &'static str, argument: &'static str, x: &[f64]) -> Result<(f64, f64)> {
    check::at_least(operation, "sample size", x.len(), 2)?;
    check::finite(operation, argument, x)?;
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    Ok((mean, x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0) / n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degenerate_samples() {
        assert!(welch_t(&[1.0], &[1.0, 2.0]).is_err());
        assert!(matches!(welch_t(&[1.0, 1.0], &[2.0, 2.0]), Err(Error::Undefined { .. })));
        let pooled = TestOptions::default().equal_variances(true).alternative(Alternative::Less);
        let student = welch_t_with(&[1.0, 2.0, 3.0], &[2.0, 3.0, 4.0], &pooled).unwrap();
        assert!((student.statistic + 1.5f64.sqrt()).abs() < 1e-12 && student.p_value < 0.5);
        let same = welch_t(&[1.0, 2.0], &[2.0, 1.0]).unwrap();
        assert_eq!((same.statistic, same.p_value), (0.0, 1.0));
    }
}

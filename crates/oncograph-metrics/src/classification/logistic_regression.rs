use super::check_binary;
use crate::{Covariates, Error, Result, check};
use nalgebra::{Cholesky, DMatrix, DVector};
use serde::{Deserialize, Serialize};

const OPERATION: &str = "LogisticRegression::fit";

/// Options of [`LogisticRegression::fit`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogisticRegressionConfig {
    /// Ridge penalty λ: the fit maximises `log-likelihood − λ/2 ‖β‖²`, the intercept left out (default 0).
    pub ridge: f64,
    /// Newton iterations before giving up (default 100).
    pub max_iterations: usize,
    /// Largest last step of a coefficient, relative to the largest coefficient or 1 (default 1e-10).
    pub tolerance: f64,
}

impl Default for LogisticRegressionConfig {
    fn default() -> Self {
        Self { ridge: 0.0, max_iterations: 100, tolerance: 1e-10 }
    }
}

impl LogisticRegressionConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the ridge penalty.
    pub fn ridge(mut self, ridge: f64) -> Self {
        self.ridge = ridge;
        self
    }

    /// Sets the largest number of Newton iterations.
    pub fn max_iterations(mut self, max_iterations: usize) -> Self {
        self.max_iterations = max_iterations;
        self
    }

    /// Sets the convergence tolerance.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Checks the ranges of all options.
    ///
    /// # Errors
    /// The first option that is out of range.
    pub fn validate(&self) -> Result<()> {
        let expected = "a finite number of at least 0";
        check::scalar(OPERATION, "ridge", self.ridge, expected, |v| v.is_finite() && v >= 0.0)?;
        let above = |v: f64| v.is_finite() && v > 0.0;
        check::scalar(OPERATION, "tolerance", self.tolerance, "a number above 0", above)?;
        check::at_least(OPERATION, "max_iterations", self.max_iterations, 1)
    }
}

/// A fitted logistic regression, `logit P(y) = intercept + x · coefficients`: the baseline that a network on the same
/// covariates has to beat.
///
/// # Example
/// ```
/// use oncograph_metrics::{Covariates, LogisticRegression, LogisticRegressionConfig};
/// // Of three patients at x = 0 one is positive, of three at x = 1 two are: the coefficient is ln 4.
/// let x = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
/// let label = [true, false, false, true, true, false];
/// let x = Covariates::new(&x, 1)?;
/// let model = LogisticRegression::fit(&label, &x, &LogisticRegressionConfig::new())?;
/// assert!((model.coefficients[0] - 4f64.ln()).abs() < 1e-9);
/// assert!((model.probability(&x)?[0] - 1.0 / 3.0).abs() < 1e-9);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Cox 1958; `sklearn.linear_model.LogisticRegression(C=1/ridge)`, which penalises alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogisticRegression {
    /// One per covariate.
    pub coefficients: Vec<f64>,
    /// The logit where all covariates are 0.
    pub intercept: f64,
    /// Log-likelihood of the labels, without the penalty.
    pub log_likelihood: f64,
    /// Newton iterations made.
    pub iterations: usize,
}

impl LogisticRegression {
    /// Maximises the penalised likelihood by Newton's method with step halving.
    ///
    /// # Errors
    /// Invalid options; labels of other subjects or of one class; a collinear covariate or classes that the covariates
    /// separate perfectly (without ridge).
    pub fn fit(label: &[bool], covariates: &Covariates, config: &LogisticRegressionConfig) -> Result<Self> {
        config.validate()?;
        check::length(OPERATION, "label", label.len(), covariates.rows())?;
        check_binary(OPERATION, label, &vec![0.0; label.len()])?;
        let problem = Problem { label, covariates, ridge: config.ridge };
        let mut beta = DVector::zeros(covariates.columns() + 1);
        let mut value = problem.value(&beta);
        let mut size = f64::INFINITY;
        for iteration in 1..=config.max_iterations {
            let mut step = problem.newton_step(&beta)?;
            let mut next = problem.value(&(&beta + &step));
            for _ in 0..40 {
                if next >= value - 1e-12 * (1.0 + value.abs()) {
                    break;
                }
                step /= 2.0;
                next = problem.value(&(&beta + &step));
            }
            beta += &step;
            value = next;
            size = step.amax();
            if size <= config.tolerance * beta.amax().max(1.0) {
                let log_likelihood = problem.log_likelihood(&beta);
                return Ok(LogisticRegression {
                    coefficients: beta.iter().skip(1).copied().collect(),
                    intercept: beta[0],
                    log_likelihood,
                    iterations: iteration,
                });
            }
        }
        Err(Error::NotConverged { operation: OPERATION, iterations: config.max_iterations, step: size })
    }

    /// The logit of each row.
    ///
    /// # Errors
    /// Another number of covariates than fitted.
    pub fn logit(&self, covariates: &Covariates) -> Result<Vec<f64>> {
        let columns = self.coefficients.len();
        check::length("LogisticRegression", "covariates", covariates.columns(), columns)?;
        let linear = |row: &[f64]| row.iter().zip(&self.coefficients).map(|(x, b)| x * b).sum::<f64>();
        Ok((0..covariates.rows()).map(|i| self.intercept + linear(covariates.row(i))).collect())
    }

    /// The probability of the positive class for each row.
    ///
    /// # Errors
    /// Another number of covariates than fitted.
    pub fn probability(&self, covariates: &Covariates) -> Result<Vec<f64>> {
        Ok(self.logit(covariates)?.into_iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect())
    }
}

struct Problem<'a> {
    label: &'a [bool],
    covariates: &'a Covariates<'a>,
    ridge: f64,
}

impl Problem<'_> {
    fn logit(&self, beta: &DVector<f64>, row: usize) -> f64 {
        let row = self.covariates.row(row);
        beta[0] + row.iter().enumerate().map(|(k, x)| x * beta[k + 1]).sum::<f64>()
    }

    fn log_likelihood(&self, beta: &DVector<f64>) -> f64 {
        // −ln(1 + e^−m) for the signed margin m, without overflow.
        let term = |(i, &l): (usize, &bool)| {
            let z = self.logit(beta, i);
            let margin = if l { z } else { -z };
            margin.min(0.0) - (-margin.abs()).exp().ln_1p()
        };
        self.label.iter().enumerate().map(term).sum()
    }

    fn value(&self, beta: &DVector<f64>) -> f64 {
        let penalty: f64 = beta.iter().skip(1).map(|b| b * b).sum();
        self.log_likelihood(beta) - 0.5 * self.ridge * penalty
    }

    fn newton_step(&self, beta: &DVector<f64>) -> Result<DVector<f64>> {
        let n = beta.len();
        let mut gradient = DVector::zeros(n);
        let mut information = DMatrix::zeros(n, n);
        for (i, &l) in self.label.iter().enumerate() {
            let p = 1.0 / (1.0 + (-self.logit(beta, i)).exp());
            let row = self.covariates.row(i);
            let x = DVector::from_iterator(n, std::iter::once(1.0).chain(row.iter().copied()));
            gradient.axpy(f64::from(u8::from(l)) - p, &x, 1.0);
            information.syger(p * (1.0 - p), &x, &x, 1.0);
        }
        for k in 1..n {
            gradient[k] -= self.ridge * beta[k];
            information[(k, k)] += self.ridge;
        }
        information.fill_upper_triangle_with_lower_triangle();
        let reason = "a covariate is collinear with others or separates the classes; a ridge penalty helps";
        let factor = Cholesky::new(information).ok_or_else(|| Error::undefined(OPERATION, reason))?;
        Ok(factor.solve(&gradient))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_maximum_the_gradient_is_the_penalty() {
        let x: Vec<f64> = (0..40).map(|i| ((i * 37 + 11) % 23) as f64 / 11.0 - 1.0).collect();
        let label: Vec<bool> = (0..20).map(|i| (i * 7) % 5 < 2 || x[2 * i] > 0.6).collect();
        let covariates = Covariates::new(&x, 2).unwrap();
        for ridge in [0.0, 0.5] {
            let config = LogisticRegressionConfig::new().ridge(ridge);
            let model = LogisticRegression::fit(&label, &covariates, &config).unwrap();
            let p = model.probability(&covariates).unwrap();
            let residual = |i: usize| f64::from(u8::from(label[i])) - p[i];
            assert!((0..20).map(residual).sum::<f64>().abs() < 1e-9);
            for k in 0..2 {
                let gradient: f64 = (0..20).map(|i| residual(i) * x[2 * i + k]).sum();
                approx::assert_abs_diff_eq!(gradient, ridge * model.coefficients[k], epsilon = 1e-9);
            }
        }
    }

    #[test]
    fn separated_and_collinear_covariates_are_refused_without_ridge() {
        let x = Covariates::new(&[0.0, 0.1, 0.9, 1.0], 1).unwrap();
        let label = [false, false, true, true];
        assert!(LogisticRegression::fit(&label, &x, &LogisticRegressionConfig::new()).is_err());
        let ridge = LogisticRegressionConfig::new().ridge(1.0);
        assert!(LogisticRegression::fit(&label, &x, &ridge).unwrap().coefficients[0] > 0.0);
        let twice = Covariates::new(&[0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0], 2).unwrap();
        let error =
            LogisticRegression::fit(&[true, false, true, false], &twice, &LogisticRegressionConfig::new());
        assert!(error.unwrap_err().to_string().contains("collinear"));
        assert!(LogisticRegression::fit(&[true; 4], &x, &ridge).is_err());
        assert!(LogisticRegression::fit(&label[..3], &x, &ridge).is_err());
    }
}

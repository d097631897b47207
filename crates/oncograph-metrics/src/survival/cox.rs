use super::cox_likelihood::{Derivatives, RiskSets, check_rows, dot};
use super::{Covariates, Survival, Ties};
use crate::{Error, Result, check, distribution};
use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use serde::{Deserialize, Serialize};

const OPERATION: &str = "CoxModel::fit";

/// Options of [`CoxModel::fit`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CoxConfig {
    /// Treatment of tied event times (default Efron).
    pub ties: Ties,
    /// Ridge penalty λ: the fit maximises `log-likelihood − λ/2 ‖β‖²` (default 0).
    pub ridge: f64,
    /// Newton iterations before giving up (default 50).
    pub max_iterations: usize,
    /// Largest last step, in standard deviations of its covariate (default 1e-9).
    pub tolerance: f64,
    /// Confidence level of the intervals (default 0.95).
    pub level: f64,
}

impl Default for CoxConfig {
    fn default() -> Self {
        Self { ties: Ties::Efron, ridge: 0.0, max_iterations: 50, tolerance: 1e-9, level: 0.95 }
    }
}

impl CoxConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the treatment of ties.
    pub fn ties(mut self, ties: Ties) -> Self {
        self.ties = ties;
        self
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

    /// Sets the confidence level.
    pub fn level(mut self, level: f64) -> Self {
        self.level = level;
        self
    }

    /// Checks the ranges of all options.
    ///
    /// # Errors
    /// The first option that is out of range.
    pub fn validate(&self) -> Result<()> {
        let expected = "a finite number of at least 0";
        check::scalar(OPERATION, "ridge", self.ridge, expected, |v| v.is_finite() && v >= 0.0)?;
        check::scalar(OPERATION, "tolerance", self.tolerance, "a number above 0", |v| {
            v.is_finite() && v > 0.0
        })?;
        check::at_least(OPERATION, "max_iterations", self.max_iterations, 1)?;
        check::level(OPERATION, self.level)
    }
}

/// A fitted Cox proportional-hazards model.
///
/// # Example
/// ```
/// use oncograph_metrics::{Covariates, CoxConfig, CoxModel, Survival};
/// let time = [4.0, 3.0, 1.0, 1.0, 2.0, 2.0, 3.0];
/// let event = [true, true, true, false, true, true, false];
/// let follow_up = Survival::new(&time, &event)?;
/// let x = Covariates::new(&[0.0, 2.0, 1.0, 1.0, 1.0, 0.0, 0.0], 1)?;
/// let model = CoxModel::fit(&follow_up, &x, &CoxConfig::new())?;
/// assert!(model.hazard_ratio()[0] > 1.0);
/// assert_eq!(model.linear_predictor(&x)?.len(), 7);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Cox 1972. Coefficients and standard errors equal statsmodels `PHReg.fit` and R `coxph`. The baseline hazard
/// follows `ties` (as R's `survfit.coxph`; scikit-survival and lifelines always use Breslow's).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CoxModel {
    /// β, one per covariate.
    pub coefficients: Vec<f64>,
    /// Standard errors from the inverse (penalised) information.
    pub standard_error: Vec<f64>,
    /// Wald statistics β / se.
    pub z: Vec<f64>,
    /// Two-sided Wald p-values.
    pub p_value: Vec<f64>,
    /// Lower ends of the Wald intervals of β.
    pub lower: Vec<f64>,
    /// Upper ends of the Wald intervals of β.
    pub upper: Vec<f64>,
    /// Covariance of β: [covariates, covariates], row-major.
    pub covariance: Vec<f64>,
    /// Partial log-likelihood at β, without the penalty.
    pub log_likelihood: f64,
    /// Partial log-likelihood at β = 0.
    pub null_log_likelihood: f64,
    /// p-value of the likelihood-ratio test against β = 0 (not meaningful with a ridge penalty).
    pub likelihood_ratio_p_value: f64,
    /// Newton iterations made.
    pub iterations: usize,
    /// Means of the covariates: where the baseline is.
    pub means: Vec<f64>,
    /// Distinct observed times, ascending.
    pub baseline_time: Vec<f64>,
    /// Cumulative hazard of a subject at the means, at each of `baseline_time`.
    pub baseline_cumulative_hazard: Vec<f64>,
}

impl CoxModel {
    /// Maximises the partial likelihood by Newton's method with step halving.
    ///
    /// # Errors
    /// Invalid options; covariates of other subjects; no event; a constant or collinear covariate (without
    /// ridge); no convergence, which is what a covariate that separates the events perfectly leads to.
    pub fn fit(survival: &Survival, covariates: &Covariates, config: &CoxConfig) -> Result<Self> {
        config.validate()?;
        check_rows(OPERATION, covariates, survival)?;
        survival.require_event(OPERATION)?;
        let design = Design::new(covariates, config.ridge)?;
        let sets = RiskSets::new(survival);
        let p = covariates.columns();
        let null = sets.derivatives(&design.centred, &vec![0.0; p], config.ties);
        let null_log_likelihood = null.log_likelihood;
        let (beta, at, iterations) = newton(&sets, &design, null, config)?;
        let covariance = factor(&at, config.ridge)?.inverse();

        let standard_error: Vec<f64> = (0..p).map(|j| covariance[(j, j)].sqrt()).collect();
        let z: Vec<f64> = beta.iter().zip(&standard_error).map(|(b, se)| b / se).collect();
        let critical = distribution::critical(config.level);
        let end =
            |sign: f64| beta.iter().zip(&standard_error).map(|(b, se)| b + sign * critical * se).collect();
        let eta: Vec<f64> = design.centred.chunks_exact(p).map(|x| dot(x, &beta)).collect();
        let (baseline_time, baseline_cumulative_hazard) = baseline(&sets, &eta, config.ties);
        let ratio = 2.0 * (at.log_likelihood - null_log_likelihood);
        Ok(Self {
            lower: end(-1.0),
            upper: end(1.0),
            p_value: z.iter().map(|&z| distribution::normal_two_sided(z)).collect(),
            z,
            standard_error,
            covariance: covariance.as_slice().to_vec(),
            log_likelihood: at.log_likelihood,
            null_log_likelihood,
            likelihood_ratio_p_value: distribution::chi_squared_tail(ratio, p as f64),
            iterations,
            means: design.means,
            baseline_time,
            baseline_cumulative_hazard,
            coefficients: beta,
        })
    }

    /// `exp(β)`, the hazard ratio of one unit of each covariate.
    pub fn hazard_ratio(&self) -> Vec<f64> {
        self.coefficients.iter().map(|b| b.exp()).collect()
    }

    /// Log-risk `(x − mean)ᵀ β` of each row: higher means an earlier event.
    ///
    /// # Errors
    /// Another number of columns than at the fit.
    pub fn linear_predictor(&self, covariates: &Covariates) -> Result<Vec<f64>> {
        let p = self.coefficients.len();
        check::length("CoxModel::linear_predictor", "covariates.columns()", covariates.columns(), p)?;
        let centre = dot(&self.means, &self.coefficients);
        Ok((0..covariates.rows()).map(|i| dot(covariates.row(i), &self.coefficients) - centre).collect())
    }

    /// Survival probability of each row at each of `times`: `exp(−H₀(t) exp(log-risk))`.
    ///
    /// # Shapes
    /// Result: [rows, times], row-major.
    ///
    /// # Errors
    /// Another number of columns; a time that is NaN or after the last one of the fit, where the baseline is
    /// unknown.
    pub fn survival(&self, covariates: &Covariates, times: &[f64]) -> Result<Vec<f64>> {
        let operation = "CoxModel::survival";
        let last = self.baseline_time.last().copied().unwrap_or(0.0);
        check::values(operation, "times", times, "a time within the follow-up of the fit", |t| t <= last)?;
        let hazard: Vec<f64> = times
            .iter()
            .map(|t| {
                let step = self.baseline_time.partition_point(|x| x <= t).checked_sub(1);
                step.map_or(0.0, |i| self.baseline_cumulative_hazard[i])
            })
            .collect();
        let risk = self.linear_predictor(covariates)?;
        Ok(risk
            .iter()
            .flat_map(|r| hazard.iter().map(|h| if *h == 0.0 { 1.0 } else { (-h * r.exp()).exp() }))
            .collect())
    }
}

/// Centred covariates: the likelihood does not change, and products of large offsets do not cancel.
struct Design {
    centred: Vec<f64>,
    means: Vec<f64>,
    deviations: Vec<f64>,
}

impl Design {
    fn new(covariates: &Covariates, ridge: f64) -> Result<Self> {
        let (n, p) = (covariates.rows() as f64, covariates.columns());
        let mut means = vec![0.0; p];
        for i in 0..covariates.rows() {
            means.iter_mut().zip(covariates.row(i)).for_each(|(m, v)| *m += v / n);
        }
        let mut centred = Vec::with_capacity(covariates.rows() * p);
        let mut deviations = vec![0.0; p];
        for i in 0..covariates.rows() {
            for (j, v) in covariates.row(i).iter().enumerate() {
                centred.push(v - means[j]);
                deviations[j] += (v - means[j]).powi(2) / n;
            }
        }
        deviations.iter_mut().for_each(|d| *d = d.sqrt());
        let constant = deviations.iter().zip(&means).position(|(d, m)| *d <= 1e-12 * m.abs());
        match constant {
            Some(j) if ridge == 0.0 => Err(Error::undefined(OPERATION, format!("covariate {j} is constant"))),
            _ => Ok(Self { centred, means, deviations }),
        }
    }
}

/// Cholesky factor of information + ridge.
fn factor(at: &Derivatives, ridge: f64) -> Result<Cholesky<f64, Dyn>> {
    let p = at.gradient.len();
    let matrix = DMatrix::from_fn(p, p, |a, b| {
        let (row, column) = (a.max(b), a.min(b));
        at.information[row * (row + 1) / 2 + column] + if a == b { ridge } else { 0.0 }
    });
    // A pivot that is only rounding noise of its diagonal means that the covariates are collinear.
    let diagonal = matrix.diagonal();
    let singular =
        || Error::undefined(OPERATION, "the covariates are collinear or separate the events perfectly");
    let cholesky = matrix.cholesky().ok_or_else(singular)?;
    let pivots = cholesky.l_dirty().diagonal();
    let noise = pivots.iter().zip(&diagonal).any(|(l, d)| !l.is_finite() || l * l <= 1e-13 * d);
    if noise { Err(singular()) } else { Ok(cholesky) }
}

fn newton(
    sets: &RiskSets,
    design: &Design,
    start: Derivatives,
    config: &CoxConfig,
) -> Result<(Vec<f64>, Derivatives, usize)> {
    let mut beta = vec![0.0; design.means.len()];
    let penalised = |d: &Derivatives, beta: &[f64]| d.log_likelihood - 0.5 * config.ridge * dot(beta, beta);
    let mut at = start;
    let mut largest = f64::INFINITY;
    for iteration in 1..=config.max_iterations {
        let gradient = DVector::from_fn(beta.len(), |j, _| at.gradient[j] - config.ridge * beta[j]);
        let mut step = factor(&at, config.ridge)?.solve(&gradient);
        let value = penalised(&at, &beta);
        // Rounding may lower the value in the last steps: that is no reason to halve.
        let slack = 1e-12 * (1.0 + value.abs());
        let mut halvings = 0;
        loop {
            let moved: Vec<f64> = beta.iter().zip(step.iter()).map(|(b, s)| b + s).collect();
            let there = sets.derivatives(&design.centred, &moved, config.ties);
            let better = penalised(&there, &moved) >= value - slack;
            if better || halvings == 40 {
                (beta, at) = (moved, there);
                break;
            }
            step *= 0.5;
            halvings += 1;
        }
        largest = step.iter().zip(&design.deviations).map(|(s, d)| (s * d).abs()).fold(0.0, f64::max);
        if largest <= config.tolerance && halvings == 0 {
            return Ok((beta, at, iteration));
        }
    }
    Err(Error::NotConverged { operation: OPERATION, iterations: config.max_iterations, step: largest })
}

fn baseline(sets: &RiskSets, eta: &[f64], ties: Ties) -> (Vec<f64>, Vec<f64>) {
    let hazard = sets.hazard(eta, ties);
    let mut sum = 0.0;
    let steps = sets.groups.iter().zip(&hazard.steps).rev();
    steps
        .map(|(group, step)| {
            sum += step.log_for_others.exp();
            (group.time, sum)
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn one_covariate_by_hand() {
        let survival = Survival::new(&[1., 2., 3., 4.], &[true, true, true, true]).unwrap();
        let x = Covariates::new(&[1., 0., 1., 0.], 1).unwrap();
        let model = CoxModel::fit(&survival, &x, &CoxConfig::new()).unwrap();
        // L = r/(2r+2) · 1/(r+2) · r/(r+1): the score 2 − 2r/(r+1) − r/(r+2) vanishes at r² − r − 4 = 0.
        let r = (1.0 + 17f64.sqrt()) / 2.0;
        assert_relative_eq!(model.hazard_ratio()[0], r, max_relative = 1e-10);
        let information = 2.0 * r / (r + 1.0).powi(2) + 2.0 * r / (r + 2.0).powi(2);
        assert_relative_eq!(model.standard_error[0], information.powf(-0.5), max_relative = 1e-10);
        let likelihood = r / (2.0 * r + 2.0) / (r + 2.0) * r / (r + 1.0);
        assert_relative_eq!(model.log_likelihood, likelihood.ln(), max_relative = 1e-12);
        assert_relative_eq!(model.null_log_likelihood, -(24f64.ln()), max_relative = 1e-12);
        // Baseline at the mean x = 1/2: the first step is 1 / Σ e^{β(x − ½)}.
        let first = 1.0 / (2.0 * r.sqrt() + 2.0 / r.sqrt());
        assert_relative_eq!(model.baseline_cumulative_hazard[0], first, max_relative = 1e-9);
        let survival = model.survival(&x, &[0.5, 1.0]).unwrap();
        assert_eq!(survival[0], 1.0);
        assert_relative_eq!(survival[1], (-first * r.sqrt()).exp(), max_relative = 1e-9);
        assert!(model.survival(&x, &[4.5]).is_err());
    }

    #[test]
    fn shift_and_scale_of_a_covariate_only_rescale_it() {
        let survival =
            Survival::new(&[5., 3., 8., 1., 9., 2.], &[true, true, false, true, true, false]).unwrap();
        let values = [0.3, 1.2, -0.5, 0.9, 0.1, 0.4];
        let moved = values.map(|v| 1e6 + 1e3 * v);
        let fit =
            |v: &[f64]| CoxModel::fit(&survival, &Covariates::new(v, 1).unwrap(), &CoxConfig::new()).unwrap();
        let (a, b) = (fit(&values), fit(&moved));
        assert_relative_eq!(a.coefficients[0], 1e3 * b.coefficients[0], max_relative = 1e-6);
        assert_relative_eq!(a.p_value[0], b.p_value[0], max_relative = 1e-6);
    }

    #[test]
    fn ridge_satisfies_its_score_equation() {
        let survival = Survival::new(&[1., 2., 3., 4.], &[true; 4]).unwrap();
        let x = Covariates::new(&[1., 0., 1., 0.], 1).unwrap();
        let model = CoxModel::fit(&survival, &x, &CoxConfig::new().ridge(0.7)).unwrap();
        let b = model.coefficients[0];
        let r = b.exp();
        assert_relative_eq!(2.0 - 2.0 * r / (r + 1.0) - r / (r + 2.0), 0.7 * b, epsilon = 1e-10);
    }

    #[test]
    fn degenerate_covariates_are_errors() {
        let survival = Survival::new(&[1., 2., 3., 4., 5.], &[true; 5]).unwrap();
        let fit = |v: &[f64], p| {
            CoxModel::fit(&survival, &Covariates::new(v, p).unwrap(), &CoxConfig::new())
                .unwrap_err()
                .to_string()
        };
        assert!(fit(&[2.0; 5], 1).contains("covariate 0 is constant"));
        let collinear = [1., 2., 0., 0., 3., 6., 1., 2., 2., 4.];
        assert!(fit(&collinear, 2).contains("collinear"));
        // Perfectly ordered: the likelihood has no maximum.
        let separated = fit(&[5., 4., 3., 2., 1.], 1);
        assert!(separated.contains("no convergence") || separated.contains("separate"), "{separated}");
        assert!(CoxConfig::new().ridge(-1.0).validate().is_err());
    }
}

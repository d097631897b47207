use super::cox_likelihood::RiskSets;
use super::{Covariates, Survival, Ties, cox_log_likelihood};
use crate::{Error, Result, check};
use serde::{Deserialize, Serialize};

const OPERATION: &str = "CoxLassoPath::fit";

/// Options of [`CoxLassoPath::fit`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CoxLassoConfig {
    /// The share of the penalty that is absolute, in (0, 1]; the rest is squared (default 1, the lasso).
    pub l1_ratio: f64,
    /// Penalties on the path (default 50).
    pub penalties: usize,
    /// The smallest penalty over the largest (default 0.01).
    pub smallest: f64,
    /// Passes over the coefficients per penalty before giving up (default 10,000).
    pub max_iterations: usize,
    /// Largest last change of a coefficient (default 1e-7).
    pub tolerance: f64,
}

impl Default for CoxLassoConfig {
    fn default() -> Self {
        Self { l1_ratio: 1.0, penalties: 50, smallest: 0.01, max_iterations: 10_000, tolerance: 1e-7 }
    }
}

impl CoxLassoConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the share of the penalty that is absolute.
    pub fn l1_ratio(mut self, l1_ratio: f64) -> Self {
        self.l1_ratio = l1_ratio;
        self
    }

    /// Sets how many penalties the path has, and the smallest over the largest.
    pub fn path(mut self, penalties: usize, smallest: f64) -> Self {
        (self.penalties, self.smallest) = (penalties, smallest);
        self
    }

    /// Sets when the iterations of one penalty end.
    pub fn convergence(mut self, max_iterations: usize, tolerance: f64) -> Self {
        (self.max_iterations, self.tolerance) = (max_iterations, tolerance);
        self
    }

    /// Checks the ranges of all options.
    ///
    /// # Errors
    /// The first option that is out of range.
    pub fn validate(&self) -> Result<()> {
        let share = |v: f64| v > 0.0 && v <= 1.0;
        check::scalar(OPERATION, "l1_ratio", self.l1_ratio, "in (0, 1]", share)?;
        check::at_least(OPERATION, "penalties", self.penalties, 1)?;
        check::scalar(OPERATION, "smallest", self.smallest, "in (0, 1]", share)?;
        check::at_least(OPERATION, "max_iterations", self.max_iterations, 1)?;
        check::scalar(OPERATION, "tolerance", self.tolerance, "a number above 0", |v| {
            v.is_finite() && v > 0.0
        })
    }
}

/// Cox models with an absolute penalty, from the penalty at which every coefficient is 0 down to a small one.
///
/// Each minimises `-log-likelihood / n + λ (r |β|₁ + (1 - r)/2 ‖β‖²)` with Breslow's ties, by coordinate descent on the
/// quadratic approximation at the current coefficients. Covariates are taken as they are: scale them first.
///
/// # Example
/// ```
/// use oncograph_metrics::{Covariates, CoxLassoConfig, CoxLassoPath, Survival};
/// let follow_up = Survival::new(&[4.0, 3.0, 1.0, 2.0, 5.0], &[true, true, true, true, false])?;
/// let x = Covariates::new(&[-1.0, 0.3, -0.5, -0.3, 1.2, 0.1, 0.6, -0.2, -1.3, 0.1], 2)?;
/// let path = CoxLassoPath::fit(&follow_up, &x, &CoxLassoConfig::new())?;
/// assert_eq!(path.coefficients[0], [0.0, 0.0]);
/// assert!(path.coefficients.last().unwrap()[0] > 0.0);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Simon, Friedman, Hastie and Tibshirani, *Regularization paths for Cox's proportional hazards model via coordinate
/// descent*, Journal of Statistical Software 39(5), 2011; R `glmnet(family = "cox", standardize = FALSE)`,
/// scikit-survival's `CoxnetSurvivalAnalysis`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CoxLassoPath {
    /// The penalties λ, descending.
    pub penalties: Vec<f64>,
    /// For each penalty the coefficients, one per covariate.
    pub coefficients: Vec<Vec<f64>>,
}

impl CoxLassoPath {
    /// Fits the path.
    ///
    /// # Errors
    /// An option out of range, rows that are not those of `survival`, no event, or no convergence.
    pub fn fit(survival: &Survival, covariates: &Covariates, config: &CoxLassoConfig) -> Result<Self> {
        let largest = largest_penalty(survival, covariates, config)?;
        let steps = (config.penalties.max(2) - 1) as f64;
        let penalty = |k: usize| largest * config.smallest.powf(k as f64 / steps);
        let penalties: Vec<f64> = (0..config.penalties).map(penalty).collect();
        Self::fit_at(survival, covariates, &penalties, config)
    }

    /// Fits the given penalties, each from the coefficients of the one before: descending is fastest.
    ///
    /// # Errors
    /// As [`CoxLassoPath::fit`], or a penalty that is not a positive number.
    pub fn fit_at(
        survival: &Survival,
        covariates: &Covariates,
        penalties: &[f64],
        config: &CoxLassoConfig,
    ) -> Result<Self> {
        config.validate()?;
        check::length(OPERATION, "covariates", covariates.rows(), survival.len())?;
        check::values(OPERATION, "penalties", penalties, "a number above 0", |v| v.is_finite() && v > 0.0)?;
        survival.require_event(OPERATION)?;
        let descent = Descent::new(survival, covariates, config);
        let mut beta = vec![0.0; covariates.columns()];
        let mut coefficients = vec![];
        for &penalty in penalties {
            descent.solve(&mut beta, penalty)?;
            coefficients.push(beta.clone());
        }
        Ok(CoxLassoPath { penalties: penalties.to_vec(), coefficients })
    }

    /// The log risks of some rows at one penalty of the path.
    ///
    /// # Errors
    /// A position beyond the path, or another number of covariates.
    pub fn linear_predictor(&self, penalty: usize, covariates: &Covariates) -> Result<Vec<f64>> {
        let Some(beta) = self.coefficients.get(penalty) else {
            return Err(Error::undefined(
                "CoxLassoPath",
                format!("there is no penalty {penalty} on the path"),
            ));
        };
        check::length("CoxLassoPath", "covariates", covariates.columns(), beta.len())?;
        let one = |i: usize| covariates.row(i).iter().zip(beta).map(|(x, b)| x * b).sum();
        Ok((0..covariates.rows()).map(one).collect())
    }
}

/// The smallest penalty at which every coefficient is 0.
fn largest_penalty(survival: &Survival, covariates: &Covariates, config: &CoxLassoConfig) -> Result<f64> {
    config.validate()?;
    check::length(OPERATION, "covariates", covariates.rows(), survival.len())?;
    let n = survival.len();
    let gradient = cox_log_likelihood(survival, &vec![0.0; n], Ties::Breslow)?.gradient;
    // The gradient sums to 0 but for rounding: about its mean, a column that is constant is exactly 0.
    let slope = |c: usize| {
        let mean = (0..n).map(|i| covariates.row(i)[c]).sum::<f64>() / n as f64;
        (0..n).map(|i| (covariates.row(i)[c] - mean) * gradient[i]).sum::<f64>().abs()
    };
    let largest = (0..covariates.columns()).map(slope).fold(0.0, f64::max) / n as f64 / config.l1_ratio;
    if largest > 0.0 {
        return Ok(largest);
    }
    Err(Error::undefined(OPERATION, "no covariate differs between patients with and without the event"))
}

struct Descent<'a> {
    survival: &'a Survival<'a>,
    sets: RiskSets,
    /// Column after column.
    columns: Vec<Vec<f64>>,
    config: &'a CoxLassoConfig,
}

impl<'a> Descent<'a> {
    fn new(survival: &'a Survival<'a>, covariates: &Covariates, config: &'a CoxLassoConfig) -> Self {
        let column = |c: usize| (0..covariates.rows()).map(|i| covariates.row(i)[c]).collect();
        let columns = (0..covariates.columns()).map(column).collect();
        Descent { survival, sets: RiskSets::new(survival), columns, config }
    }

    fn predictor(&self, beta: &[f64]) -> Vec<f64> {
        let mut eta = vec![0.0; self.survival.len()];
        for (column, b) in self.columns.iter().zip(beta).filter(|(_, b)| **b != 0.0) {
            eta.iter_mut().zip(column).for_each(|(e, x)| *e += b * x);
        }
        eta
    }

    /// Quadratic approximations, each minimised by passes over the coefficients, until these stay where they are.
    fn solve(&self, beta: &mut [f64], penalty: f64) -> Result<()> {
        let n = self.survival.len() as f64;
        let (absolute, squared) = (penalty * self.config.l1_ratio, penalty * (1.0 - self.config.l1_ratio));
        let mut passes = 0;
        loop {
            let eta = self.predictor(beta);
            let gradient = cox_log_likelihood(self.survival, &eta, Ties::Breslow)?.gradient;
            let weight = self.curvature(&eta);
            // The residual of the working response, kept up to date as coefficients move.
            let mut residual: Vec<f64> =
                gradient.iter().zip(&weight).map(|(g, w)| if *w > 0.0 { g / w } else { 0.0 }).collect();
            let before = beta.to_vec();
            loop {
                let mut step: f64 = 0.0;
                for (column, b) in self.columns.iter().zip(beta.iter_mut()) {
                    let (mut along, mut bend) = (0.0, 0.0);
                    for ((x, r), w) in column.iter().zip(&residual).zip(&weight) {
                        along += w * x * r;
                        bend += w * x * x;
                    }
                    let target = soft((along + bend * *b) / n, absolute);
                    let scale = bend / n + squared;
                    let new = if scale > 0.0 { target / scale } else { 0.0 };
                    let moved = new - *b;
                    if moved != 0.0 {
                        residual.iter_mut().zip(column).for_each(|(r, x)| *r -= moved * x);
                        *b = new;
                        step = step.max(moved.abs());
                    }
                }
                passes += 1;
                if step <= self.config.tolerance {
                    break;
                }
                if passes >= self.config.max_iterations {
                    return Err(Error::NotConverged { operation: OPERATION, iterations: passes, step });
                }
            }
            let change = before.iter().zip(beta.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            if change <= self.config.tolerance {
                return Ok(());
            }
        }
    }

    /// Minus the second derivative of the log-likelihood by each row's log risk.
    fn curvature(&self, eta: &[f64]) -> Vec<f64> {
        let most = eta.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let risk: Vec<f64> = eta.iter().map(|e| (e - most).exp()).collect();
        // From the latest time to the earliest: the sum of risks at each distinct time.
        let mut at_risk = 0.0;
        let mut sums = vec![];
        for group in &self.sets.groups {
            at_risk += self.sets.order[group.start..group.end].iter().map(|&i| risk[i]).sum::<f64>();
            sums.push(at_risk);
        }
        let mut weight = vec![0.0; eta.len()];
        let (mut first, mut second) = (0.0, 0.0);
        for (group, sum) in self.sets.groups.iter().zip(&sums).rev() {
            let events = (group.end - group.events) as f64;
            first += events / sum;
            second += events / (sum * sum);
            for &i in &self.sets.order[group.start..group.end] {
                weight[i] = (risk[i] * first - risk[i] * risk[i] * second).max(0.0);
            }
        }
        weight
    }
}

/// Soft thresholding.
fn soft(value: f64, threshold: f64) -> f64 {
    value.signum() * (value.abs() - threshold).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CoxConfig, CoxModel};
    use rand::Rng;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    /// Times that two of eight covariates shorten, with ties and censoring.
    fn cohort() -> (Vec<f64>, Vec<bool>, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (mut time, mut event, mut x) = (vec![], vec![], vec![]);
        for _ in 0..80 {
            let row: Vec<f64> = (0..8).map(|_| rng.random_range(-1.5..1.5)).collect();
            let rate = (0.9 * row[0] - 0.6 * row[3]).exp();
            let t: f64 = -rng.random::<f64>().ln() / rate;
            let end: f64 = rng.random_range(0.2..3.0);
            time.push((t.min(end) * 10.0).ceil() / 10.0);
            event.push(t <= end);
            x.extend(row);
        }
        (time, event, x)
    }

    /// The conditions that hold at a minimum and nowhere else: the gradient of a coefficient that is not 0 equals its
    /// penalty, that of one that is 0 is not larger.
    #[test]
    fn every_point_of_the_path_is_a_minimum() {
        let (time, event, x) = cohort();
        let (survival, x) = (Survival::new(&time, &event).unwrap(), Covariates::new(&x, 8).unwrap());
        for l1_ratio in [1.0, 0.5] {
            let config = CoxLassoConfig::new().l1_ratio(l1_ratio).path(12, 0.02).convergence(10_000, 1e-10);
            let path = CoxLassoPath::fit(&survival, &x, &config).unwrap();
            let mut active = vec![];
            for (k, (lambda, beta)) in path.penalties.iter().zip(&path.coefficients).enumerate() {
                let eta = path.linear_predictor(k, &x).unwrap();
                let g = cox_log_likelihood(&survival, &eta, Ties::Breslow).unwrap().gradient;
                for (c, beta) in beta.iter().enumerate() {
                    let slope = (0..80).map(|i| x.row(i)[c] * g[i]).sum::<f64>() / 80.0
                        - lambda * (1.0 - l1_ratio) * beta;
                    let bound = lambda * l1_ratio;
                    match *beta == 0.0 {
                        true => assert!(slope.abs() <= bound + 1e-8, "{slope} {bound}"),
                        false => assert!((slope - bound * beta.signum()).abs() < 1e-8, "{slope} {bound}"),
                    }
                }
                active.push(beta.iter().filter(|b| **b != 0.0).count());
            }
            assert_eq!(active[0], 0);
            assert!(active.last().is_some_and(|n| *n > 4), "{active:?}");
        }
    }

    #[test]
    fn without_a_penalty_it_is_the_cox_model() {
        let (time, event, x) = cohort();
        let (survival, x) = (Survival::new(&time, &event).unwrap(), Covariates::new(&x, 8).unwrap());
        let config = CoxLassoConfig::new().convergence(100_000, 1e-12);
        let path = CoxLassoPath::fit_at(&survival, &x, &[1e-10], &config).unwrap();
        let model = CoxModel::fit(&survival, &x, &CoxConfig::new().ties(Ties::Breslow)).unwrap();
        for (a, b) in path.coefficients[0].iter().zip(&model.coefficients) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn what_cannot_be_fitted_is_said() {
        let (time, event, x) = cohort();
        let (survival, x) = (Survival::new(&time, &event).unwrap(), Covariates::new(&x, 8).unwrap());
        let bad = |c: CoxLassoConfig| CoxLassoPath::fit(&survival, &x, &c).unwrap_err().to_string();
        assert!(bad(CoxLassoConfig::new().l1_ratio(0.0)).contains("l1_ratio"));
        assert!(bad(CoxLassoConfig::new().convergence(1, 1e-12)).contains("converge"));
        let censored = vec![false; 80];
        let none = Survival::new(&time, &censored).unwrap();
        assert!(CoxLassoPath::fit(&none, &x, &CoxLassoConfig::new()).is_err());
        let flat = vec![1.0; 80];
        let flat = Covariates::new(&flat, 1).unwrap();
        let text = CoxLassoPath::fit(&survival, &flat, &CoxLassoConfig::new()).unwrap_err().to_string();
        assert!(text.contains("no covariate differs"), "{text}");
    }
}

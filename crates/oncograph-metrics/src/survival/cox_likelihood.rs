use super::{Survival, Ties};
use crate::{Error, Result, check, rank};
use serde::{Deserialize, Serialize};

/// Covariates of subjects, one row each.
///
/// # Shapes
/// `values`: [rows, columns], row-major.
///
/// # Example
/// ```
/// use oncograph_metrics::Covariates;
/// let x = Covariates::new(&[1.0, 10.0, 2.0, 20.0], 2)?;
/// assert_eq!((x.rows(), x.row(1)), (2, &[2.0, 20.0][..]));
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Covariates<'a> {
    values: &'a [f64],
    columns: usize,
}

impl<'a> Covariates<'a> {
    /// Checks and wraps a row-major table.
    ///
    /// # Errors
    /// No columns, a length that is not a multiple of `columns`, or a value that is not finite.
    pub fn new(values: &'a [f64], columns: usize) -> Result<Self> {
        let operation = "Covariates::new";
        check::at_least(operation, "columns", columns, 1)?;
        let whole = values.len() / columns * columns;
        check::paired(operation, "values", values, whole)?;
        Ok(Self { values, columns })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    /// Number of columns, at least one.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// One row.
    ///
    /// # Panics
    /// Where `i` is not below [`rows`](Self::rows), like slice indexing.
    pub fn row(&self, i: usize) -> &'a [f64] {
        &self.values[i * self.columns..(i + 1) * self.columns]
    }
}

/// Cox partial log-likelihood of given risks, with its gradient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CoxLikelihood {
    /// The sum over events (not the mean).
    pub log_likelihood: f64,
    /// Derivative with respect to each subject's log-risk.
    pub gradient: Vec<f64>,
}

/// Cox partial log-likelihood of log-risks `eta`, for instance a network's output.
///
/// Breslow: `Σ_{i event} [η_i − ln Σ_{t_j ≥ t_i} e^{η_j}]`; Efron subtracts `l / d` of the tied events' risk
/// from the `l`-th of `d` tied terms. Computed in O(n log n) with a running maximum, so that log-risks of any
/// size neither overflow nor vanish.
///
/// # Errors
/// `eta` of another length or not finite; no event.
///
/// # Example
/// ```
/// use oncograph_metrics::{Survival, Ties, cox_log_likelihood};
/// let follow_up = Survival::new(&[1.0, 2.0], &[true, false])?;
/// let value = cox_log_likelihood(&follow_up, &[0.0, 0.0], Ties::Efron)?;
/// assert!((value.log_likelihood + 2f64.ln()).abs() < 1e-12);
/// assert_eq!(value.gradient, [0.5, -0.5]);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Cox 1972; Breslow 1974; Efron 1977. Equals `PHReg.loglike` of statsmodels.
pub fn cox_log_likelihood(survival: &Survival, eta: &[f64], ties: Ties) -> Result<CoxLikelihood> {
    let operation = "cox_log_likelihood";
    check::paired(operation, "eta", eta, survival.len())?;
    survival.require_event(operation)?;
    let sets = RiskSets::new(survival);
    let hazard = sets.hazard(eta, ties);
    let mut gradient = vec![0.0; eta.len()];
    let mut cumulative = f64::NEG_INFINITY;
    for (group, step) in sets.groups.iter().zip(&hazard.steps).rev() {
        let for_events = log_add(cumulative, step.log_for_events);
        cumulative = log_add(cumulative, step.log_for_others);
        for &i in &sets.order[group.start..group.events] {
            gradient[i] = -(eta[i] + cumulative).exp();
        }
        for &i in &sets.order[group.events..group.end] {
            gradient[i] = 1.0 - (eta[i] + for_events).exp();
        }
    }
    Ok(CoxLikelihood { log_likelihood: hazard.log_likelihood, gradient })
}

/// Subjects by descending time; within one time the censored come first.
pub(super) struct RiskSets {
    pub(super) order: Vec<usize>,
    pub(super) groups: Vec<Group>,
}

/// One distinct time: `start..events` of the order is censored there, `events..end` has the event.
pub(super) struct Group {
    pub(super) time: f64,
    pub(super) start: usize,
    pub(super) events: usize,
    pub(super) end: usize,
}

impl Group {
    fn deaths(&self) -> usize {
        self.end - self.events
    }
}

/// The increments of the cumulative baseline hazard at one distinct time, as logarithms.
pub(super) struct HazardStep {
    /// For subjects who outlive the time or are censored at it.
    pub(super) log_for_others: f64,
    /// For the subjects with the event at it (Efron: less).
    log_for_events: f64,
}

pub(super) struct Hazard {
    pub(super) log_likelihood: f64,
    pub(super) steps: Vec<HazardStep>,
}

/// Sums over the risk set, scaled by `exp(−maximum)`.
#[derive(Clone)]
struct Moments {
    zero: f64,
    one: Vec<f64>,
    /// Lower triangle, row by row.
    two: Vec<f64>,
}

impl Moments {
    fn new(p: usize) -> Self {
        Self { zero: 0.0, one: vec![0.0; p], two: vec![0.0; p * (p + 1) / 2] }
    }

    fn add(&mut self, weight: f64, x: &[f64]) {
        self.zero += weight;
        let mut k = 0;
        for (a, &xa) in x.iter().enumerate() {
            self.one[a] += weight * xa;
            for &xb in &x[..=a] {
                self.two[k] += weight * xa * xb;
                k += 1;
            }
        }
    }

    fn add_scaled(&mut self, other: &Self, factor: f64) {
        self.zero += factor * other.zero;
        self.one.iter_mut().zip(&other.one).for_each(|(a, b)| *a += factor * b);
        self.two.iter_mut().zip(&other.two).for_each(|(a, b)| *a += factor * b);
    }

    fn scale(&mut self, factor: f64) {
        self.zero *= factor;
        self.one.iter_mut().for_each(|a| *a *= factor);
        self.two.iter_mut().for_each(|a| *a *= factor);
    }
}

/// Log-likelihood, gradient and information (negative Hessian, lower triangle) in the coefficients.
pub(super) struct Derivatives {
    pub(super) log_likelihood: f64,
    pub(super) gradient: Vec<f64>,
    pub(super) information: Vec<f64>,
}

impl RiskSets {
    pub(super) fn new(survival: &Survival) -> Self {
        let (time, event) = (survival.time(), survival.event());
        let mut order: Vec<usize> = (0..time.len()).collect();
        order.sort_by(|&a, &b| rank::compare(time[b], time[a]).then(event[a].cmp(&event[b])));
        let group = |(start, end): (usize, usize)| {
            let events = start + order[start..end].partition_point(|&i| !event[i]);
            Group { time: time[order[start]], start, events, end }
        };
        let groups = rank::runs(time, &order).into_iter().map(group).collect();
        Self { order, groups }
    }

    /// The part of the tied events that has left the risk set before the `l`-th of `d` terms.
    fn left(ties: Ties, l: usize, d: usize) -> f64 {
        match ties {
            Ties::Breslow => 0.0,
            Ties::Efron => l as f64 / d as f64,
        }
    }

    /// Log-likelihood and hazard increments of log-risks.
    pub(super) fn hazard(&self, eta: &[f64], ties: Ties) -> Hazard {
        let (mut maximum, mut others) = (f64::NEG_INFINITY, 0.0);
        let mut log_likelihood = 0.0;
        let mut steps = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let members = &self.order[group.start..group.end];
            let new = members.iter().map(|&i| eta[i]).fold(maximum, f64::max);
            others *= (maximum - new).exp();
            maximum = new;
            others +=
                self.order[group.start..group.events].iter().map(|&i| (eta[i] - new).exp()).sum::<f64>();
            let events = &self.order[group.events..group.end];
            let tied: f64 = events.iter().map(|&i| (eta[i] - new).exp()).sum();
            let (mut for_others, mut for_events) = (0.0, 0.0);
            for l in 0..group.deaths() {
                let stay = 1.0 - Self::left(ties, l, group.deaths());
                // `stay * tied` is added rather than `l / d` subtracted: nothing cancels.
                let sum = others + stay * tied;
                log_likelihood -= new + sum.ln();
                for_others += 1.0 / sum;
                for_events += stay / sum;
            }
            log_likelihood += events.iter().map(|&i| eta[i]).sum::<f64>();
            others += tied;
            let log = |x: f64| x.ln() - new;
            steps.push(HazardStep { log_for_others: log(for_others), log_for_events: log(for_events) });
        }
        Hazard { log_likelihood, steps }
    }

    /// Log-likelihood and its derivatives in the coefficients, for centred covariates `x` (row-major).
    pub(super) fn derivatives(&self, x: &[f64], beta: &[f64], ties: Ties) -> Derivatives {
        let p = beta.len();
        let row = |i: usize| &x[i * p..(i + 1) * p];
        let eta: Vec<f64> = x.chunks_exact(p).map(|r| dot(r, beta)).collect();
        let mut out = Derivatives {
            log_likelihood: 0.0,
            gradient: vec![0.0; p],
            information: vec![0.0; p * (p + 1) / 2],
        };
        let (mut maximum, mut others) = (f64::NEG_INFINITY, Moments::new(p));
        let mut mean = vec![0.0; p];
        for group in &self.groups {
            let members = &self.order[group.start..group.end];
            let new = members.iter().map(|&i| eta[i]).fold(maximum, f64::max);
            if new > maximum {
                others.scale((maximum - new).exp());
                maximum = new;
            }
            for &i in &self.order[group.start..group.events] {
                others.add((eta[i] - new).exp(), row(i));
            }
            if group.deaths() == 0 {
                continue;
            }
            let mut tied = Moments::new(p);
            for &i in &self.order[group.events..group.end] {
                tied.add((eta[i] - new).exp(), row(i));
                out.log_likelihood += eta[i];
                out.gradient.iter_mut().zip(row(i)).for_each(|(g, v)| *g += v);
            }
            for l in 0..group.deaths() {
                let stay = 1.0 - Self::left(ties, l, group.deaths());
                let sum = others.zero + stay * tied.zero;
                out.log_likelihood -= new + sum.ln();
                for (a, m) in mean.iter_mut().enumerate() {
                    *m = (others.one[a] + stay * tied.one[a]) / sum;
                    out.gradient[a] -= *m;
                }
                let mut k = 0;
                for (a, m) in mean.iter().enumerate() {
                    for other in &mean[..=a] {
                        out.information[k] += (others.two[k] + stay * tied.two[k]) / sum - m * other;
                        k += 1;
                    }
                }
            }
            others.add_scaled(&tied, 1.0);
        }
        out
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// `ln(e^a + e^b)`.
pub(super) fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// `covariates` must describe the subjects of `survival`.
pub(super) fn check_rows(operation: &'static str, x: &Covariates, survival: &Survival) -> Result<()> {
    let (expected, got) = (survival.len() * x.columns(), x.values.len());
    if got == expected {
        Ok(())
    } else {
        Err(Error::Length { operation, argument: "covariates", expected, got })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn ties_by_hand() {
        let survival = Survival::new(&[1.0, 1.0, 2.0], &[true, true, false]).unwrap();
        let eta = [2f64.ln(), 0.0, 3f64.ln()];
        let breslow = cox_log_likelihood(&survival, &eta, Ties::Breslow).unwrap();
        assert_relative_eq!(breslow.log_likelihood, (2.0f64 / 36.0).ln(), max_relative = 1e-12);
        let efron = cox_log_likelihood(&survival, &eta, Ties::Efron).unwrap();
        assert_relative_eq!(efron.log_likelihood, (2.0f64 / (6.0 * 4.5)).ln(), max_relative = 1e-12);
        assert_relative_eq!(efron.gradient[2], -3.0 / 6.0 - 3.0 / 4.5, max_relative = 1e-12);
        assert_relative_eq!(efron.gradient[1], 1.0 - 1.0 / 6.0 - 0.5 / 4.5, max_relative = 1e-12);
    }

    #[test]
    fn huge_log_risks_stay_finite() {
        let survival = Survival::new(&[1.0, 2.0, 3.0], &[true, true, true]).unwrap();
        let value = cox_log_likelihood(&survival, &[2000.0, -2000.0, -2001.0], Ties::Efron).unwrap();
        assert_relative_eq!(value.log_likelihood, -(1.0 + (-1.0f64).exp()).ln(), max_relative = 1e-12);
        assert!(value.gradient.iter().all(|g| g.is_finite()));
    }

    #[test]
    fn gradient_matches_finite_differences() {
        let time = [3., 1., 2., 2., 5., 2., 4., 1.];
        let event = [true, true, true, true, false, false, true, false];
        let survival = Survival::new(&time, &event).unwrap();
        let eta = [0.3, -1.0, 0.8, 0.1, 2.0, -0.4, 0.6, 0.0];
        for ties in [Ties::Breslow, Ties::Efron] {
            let value = cox_log_likelihood(&survival, &eta, ties).unwrap();
            for i in 0..eta.len() {
                let at = |h: f64| {
                    let mut moved = eta;
                    moved[i] += h;
                    cox_log_likelihood(&survival, &moved, ties).unwrap().log_likelihood
                };
                assert_relative_eq!(value.gradient[i], (at(1e-5) - at(-1e-5)) / 2e-5, epsilon = 1e-8);
            }
            assert_relative_eq!(value.gradient.iter().sum::<f64>(), 0.0, epsilon = 1e-12);
        }
    }

    #[test]
    fn wrong_input_is_an_error() {
        let survival = Survival::new(&[1.0, 2.0], &[false, false]).unwrap();
        assert!(matches!(
            cox_log_likelihood(&survival, &[0.0, 0.0], Ties::Efron),
            Err(Error::Undefined { .. })
        ));
        assert!(Covariates::new(&[1.0, 2.0, 3.0], 2).is_err());
        assert!(Covariates::new(&[], 0).is_err());
    }
}

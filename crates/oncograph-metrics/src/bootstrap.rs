//! Bootstrap confidence intervals of any statistic of subjects.

use crate::{Error, Result, check, distribution, rank};
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Resamples drawn at once: bounds the memory, does not change the result.
const CHUNK: usize = 256;

/// How an interval is read from the bootstrap distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalMethod {
    /// Quantiles of the distribution.
    Percentile,
    /// Bias-corrected and accelerated; needs n more evaluations for the jackknife.
    #[default]
    Bca,
}

/// Options of [`bootstrap`] and [`bootstrap_difference`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BootstrapConfig {
    /// Resamples (default 2000).
    pub replicates: usize,
    /// Confidence level (default 0.95).
    pub level: f64,
    /// Interval (default BCa).
    pub method: IntervalMethod,
    /// Stratum of each subject: resampling keeps the size of every stratum (default: one stratum).
    pub strata: Option<Vec<usize>>,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self { replicates: 2000, level: 0.95, method: IntervalMethod::Bca, strata: None }
    }
}

impl BootstrapConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of resamples.
    pub fn replicates(mut self, replicates: usize) -> Self {
        self.replicates = replicates;
        self
    }

    /// Sets the confidence level.
    pub fn level(mut self, level: f64) -> Self {
        self.level = level;
        self
    }

    /// Sets the kind of interval.
    pub fn method(mut self, method: IntervalMethod) -> Self {
        self.method = method;
        self
    }

    /// Resamples within strata, for instance events and censored apart.
    pub fn strata(mut self, strata: Vec<usize>) -> Self {
        self.strata = Some(strata);
        self
    }

    /// Checks the ranges of all options.
    ///
    /// # Errors
    /// Fewer than two replicates, or a level outside (0, 1).
    pub fn validate(&self) -> Result<()> {
        check::at_least("bootstrap", "replicates", self.replicates, 2)?;
        check::level("bootstrap", self.level)
    }
}

/// A bootstrap interval, with what is needed to judge it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BootstrapInterval {
    /// The statistic of the data.
    pub estimate: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end of the interval.
    pub upper: f64,
    /// Standard deviation of the bootstrap distribution.
    pub standard_error: f64,
    /// Resamples on which the statistic had no value; they are in no quantile. Many make the interval doubtful.
    pub degenerate: usize,
    /// Leave-one-out samples on which the statistic had no value (BCa only).
    pub degenerate_jackknife: usize,
    /// The defined bootstrap values, ascending.
    pub distribution: Vec<f64>,
}

/// Paired bootstrap comparison of two models on the same subjects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BootstrapDifference {
    /// First statistic minus second, with its interval.
    pub difference: BootstrapInterval,
    /// Two-sided p of a difference of zero: twice the smaller share of resamples on either side of zero, with
    /// one added to both counts, at most 1.
    pub p_value: f64,
}

/// Bootstrap interval of `statistic`, a function of the resampled subjects' indices.
///
/// Index sets are drawn one after another from `rng` and evaluated in parallel: the result does not depend on
/// the number of threads. `None` (or NaN) means that the statistic has no value on a resample, for instance a
/// C-index without events; such resamples are counted in the result.
///
/// # Errors
/// Invalid options, no subjects, strata of another length; no value on the data or on all resamples; BCa where
/// the estimate lies outside the whole bootstrap distribution.
///
/// # Example
/// ```
/// use oncograph_metrics::{BootstrapConfig, bootstrap};
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
/// let x = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0];
/// let mean = |rows: &[usize]| Some(rows.iter().map(|&i| x[i]).sum::<f64>() / rows.len() as f64);
/// let config = BootstrapConfig::new().replicates(500);
/// let interval = bootstrap(x.len(), &config, &mut ChaCha8Rng::seed_from_u64(7), mean)?;
/// assert!(interval.lower < interval.estimate && interval.estimate < interval.upper);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Efron 1987; `scipy.stats.bootstrap`, with the same bias and acceleration formulae (other random draws).
pub fn bootstrap<R, F>(
    n: usize,
    config: &BootstrapConfig,
    rng: &mut R,
    statistic: F,
) -> Result<BootstrapInterval>
where
    R: Rng + ?Sized,
    F: Fn(&[usize]) -> Option<f64> + Sync,
{
    let operation = "bootstrap";
    config.validate()?;
    check::at_least(operation, "n", n, 1)?;
    let evaluate = |rows: &[usize]| statistic(rows).filter(|v| v.is_finite());
    let all: Vec<usize> = (0..n).collect();
    let estimate = evaluate(&all)
        .ok_or_else(|| Error::undefined(operation, "the statistic has no value on the data"))?;
    let strata = members(operation, n, config.strata.as_deref())?;

    let mut distribution = Vec::with_capacity(config.replicates);
    let mut drawn = 0;
    while drawn < config.replicates {
        let chunk: Vec<Vec<usize>> =
            (0..CHUNK.min(config.replicates - drawn)).map(|_| resample(&strata, rng)).collect();
        drawn += chunk.len();
        let values: Vec<Option<f64>> = chunk.par_iter().map(|rows| evaluate(rows)).collect();
        distribution.extend(values.into_iter().flatten());
    }
    let degenerate = config.replicates - distribution.len();
    if distribution.len() < 2 {
        return Err(Error::undefined(operation, "the statistic has no value on the resamples"));
    }
    let tail = (1.0 - config.level) / 2.0;
    distribution.sort_by(|a, b| rank::compare(*a, *b));
    let (ends, degenerate_jackknife) = match config.method {
        IntervalMethod::Percentile => ((tail, 1.0 - tail), 0),
        IntervalMethod::Bca => {
            let leave_out = |i: usize| -> Vec<usize> { all.iter().copied().filter(|&j| j != i).collect() };
            let values: Vec<Option<f64>> = all.par_iter().map(|&i| evaluate(&leave_out(i))).collect();
            let defined: Vec<f64> = values.into_iter().flatten().collect();
            (bca(operation, estimate, &distribution, &defined, tail)?, n - defined.len())
        }
    };
    let end = |p: f64| rank::quantile(&distribution, p).unwrap_or(f64::NAN);
    let (lower, upper) = (end(ends.0), end(ends.1));
    let count = distribution.len() as f64;
    let mean = distribution.iter().sum::<f64>() / count;
    let variance = distribution.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let standard_error = variance.sqrt();
    Ok(BootstrapInterval {
        estimate,
        lower,
        upper,
        standard_error,
        degenerate,
        degenerate_jackknife,
        distribution,
    })
}

/// Paired bootstrap of the difference of two statistics on the same resamples: is one model better?
///
/// # Errors
/// As [`bootstrap`], for the difference.
///
/// # Example
/// ```
/// use oncograph_metrics::{BootstrapConfig, bootstrap_difference};
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
/// let (a, b) = ([0.9, 0.8, 0.7, 0.9], [0.5, 0.6, 0.4, 0.7]);
/// let mean = |x: [f64; 4]| move |rows: &[usize]| Some(rows.iter().map(|&i| x[i]).sum::<f64>() / 4.0);
/// let mut rng = ChaCha8Rng::seed_from_u64(7);
/// let result = bootstrap_difference(4, &BootstrapConfig::new(), &mut rng, mean(a), mean(b))?;
/// assert!(result.difference.lower > 0.0 && result.p_value < 0.01);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
pub fn bootstrap_difference<R, F, G>(
    n: usize,
    config: &BootstrapConfig,
    rng: &mut R,
    first: F,
    second: G,
) -> Result<BootstrapDifference>
where
    R: Rng + ?Sized,
    F: Fn(&[usize]) -> Option<f64> + Sync,
    G: Fn(&[usize]) -> Option<f64> + Sync,
{
    let difference = bootstrap(n, config, rng, |rows| Some(first(rows)? - second(rows)?))?;
    let side = |keep: fn(f64) -> bool| difference.distribution.iter().filter(|v| keep(**v)).count() + 1;
    let smaller = side(|v| v <= 0.0).min(side(|v| v >= 0.0)) as f64;
    let p_value = (2.0 * smaller / (difference.distribution.len() + 1) as f64).min(1.0);
    Ok(BootstrapDifference { difference, p_value })
}

/// The subjects of each stratum, strata in ascending order.
fn members(operation: &'static str, n: usize, strata: Option<&[usize]>) -> Result<Vec<Vec<usize>>> {
    let Some(strata) = strata else {
        return Ok(vec![(0..n).collect()]);
    };
    check::length(operation, "strata", strata.len(), n)?;
    let mut groups = std::collections::BTreeMap::<usize, Vec<usize>>::new();
    strata.iter().enumerate().for_each(|(i, s)| groups.entry(*s).or_default().push(i));
    Ok(groups.into_values().collect())
}

fn resample<R: Rng + ?Sized>(strata: &[Vec<usize>], rng: &mut R) -> Vec<usize> {
    let mut rows = Vec::new();
    for group in strata {
        rows.extend((0..group.len()).map(|_| group[rng.random_range(0..group.len())]));
    }
    rows
}

/// The two quantiles of the bias-corrected and accelerated interval.
fn bca(
    operation: &'static str,
    estimate: f64,
    sorted: &[f64],
    jackknife: &[f64],
    tail: f64,
) -> Result<(f64, f64)> {
    let below = sorted.partition_point(|v| *v < estimate);
    let up_to = sorted.partition_point(|v| *v <= estimate);
    let share = (below + up_to) as f64 / (2 * sorted.len()) as f64;
    if share <= 0.0 || share >= 1.0 {
        return Err(Error::undefined(operation, "the estimate lies outside the bootstrap distribution"));
    }
    let bias = distribution::normal_quantile(share);
    let mean = jackknife.iter().sum::<f64>() / jackknife.len() as f64;
    let sum = |power: i32| jackknife.iter().map(|v| (mean - v).powi(power)).sum::<f64>();
    let spread = sum(2);
    // A jackknife without spread (or without values) has no skewness to correct.
    let acceleration = if spread > 0.0 { sum(3) / (6.0 * spread.powf(1.5)) } else { 0.0 };
    let at = |p: f64| {
        let shifted = bias + distribution::normal_quantile(p);
        distribution::normal_cdf(bias + shifted / (1.0 - acceleration * shifted))
    };
    Ok((at(tail), at(1.0 - tail)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    fn mean(x: &[f64]) -> impl Fn(&[usize]) -> Option<f64> + Sync + '_ {
        |rows| (!rows.is_empty()).then(|| rows.iter().map(|&i| x[i]).sum::<f64>() / rows.len() as f64)
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let x: Vec<f64> = (0..50).map(|i| (i as f64 * 0.7).sin()).collect();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let config = BootstrapConfig::new().replicates(600);
            pool.install(|| bootstrap(50, &config, &mut ChaCha8Rng::seed_from_u64(1), mean(&x)).unwrap())
        };
        assert_eq!(run(1), run(4));
    }

    #[test]
    fn the_standard_error_of_a_mean_is_known() {
        let x: Vec<f64> = (0..40).map(|i| i as f64).collect();
        let config = BootstrapConfig::new().replicates(4000).method(IntervalMethod::Percentile);
        let interval = bootstrap(40, &config, &mut ChaCha8Rng::seed_from_u64(2), mean(&x)).unwrap();
        let exact = ((40.0f64 * 40.0 - 1.0) / 12.0 / 40.0).sqrt();
        assert_relative_eq!(interval.standard_error, exact, max_relative = 0.05);
        assert_relative_eq!(interval.lower, 19.5 - 1.96 * exact, max_relative = 0.05);
        assert_eq!((interval.degenerate, interval.distribution.len()), (0, 4000));
    }

    #[test]
    fn bca_without_bias_and_skew_is_percentile() {
        let sorted: Vec<f64> = (0..=1000).map(|i| i as f64).collect();
        let (low, high) = bca("test", 500.0, &sorted, &[1.0, 2.0, 3.0], 0.025).unwrap();
        assert_relative_eq!(low, 0.025, max_relative = 1e-10);
        assert_relative_eq!(high, 0.975, max_relative = 1e-10);
        // Bias alone: Φ(2 z0 + z_α) with z0 = Φ⁻¹(0.6).
        let (low, _) = bca("test", 600.1, &sorted, &[1.0, 1.0], 0.025).unwrap();
        let z0 = distribution::normal_quantile(601.0 / 1001.0);
        assert_relative_eq!(
            low,
            distribution::normal_cdf(2.0 * z0 - 1.959963984540054),
            max_relative = 1e-10
        );
        assert!(bca("test", -1.0, &sorted, &[1.0], 0.025).is_err());
    }

    #[test]
    fn strata_keep_their_size_and_degenerate_resamples_are_counted() {
        let strata = vec![4, 4, 4, 9];
        let config = BootstrapConfig::new().replicates(100).method(IntervalMethod::Percentile);
        let nines = |rows: &[usize]| Some(rows.iter().filter(|&&i| i == 3).count() as f64);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let kept = bootstrap(4, &config.clone().strata(strata), &mut rng, nines).unwrap();
        assert_eq!((kept.lower, kept.upper), (1.0, 1.0));
        let needs_nine = |rows: &[usize]| rows.contains(&3).then_some(1.0);
        let some = bootstrap(4, &config, &mut rng, needs_nine).unwrap();
        assert!(some.degenerate > 10 && some.degenerate + some.distribution.len() == 100);
        assert!(bootstrap(4, &config.strata(vec![1]), &mut rng, nines).is_err());
        assert!(BootstrapConfig::new().level(1.0).validate().is_err());
    }

    #[test]
    fn equal_models_do_not_differ() {
        let x = [1.0, 4.0, 2.0, 8.0];
        let config = BootstrapConfig::new().replicates(50);
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let result = bootstrap_difference(4, &config, &mut rng, mean(&x), mean(&x)).unwrap();
        assert_eq!((result.p_value, result.difference.upper), (1.0, 0.0));
    }
}

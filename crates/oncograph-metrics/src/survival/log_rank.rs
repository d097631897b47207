use super::Survival;
use crate::{Error, Result, check, distribution, rank};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// Result of the log-rank test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogRank {
    /// χ² statistic.
    pub chi_squared: f64,
    /// Groups minus one.
    pub degrees_of_freedom: usize,
    /// P(χ² ≥ statistic).
    pub p_value: f64,
    /// Group labels, ascending; the next fields are in this order.
    pub groups: Vec<usize>,
    /// Events seen in each group.
    pub observed: Vec<f64>,
    /// Events expected if all groups had one hazard.
    pub expected: Vec<f64>,
}

/// Log-rank test of equal hazards in two or more groups.
///
/// `χ² = (O − E)ᵀ V⁻¹ (O − E)` with the hypergeometric variance at each event time.
///
/// # Errors
/// `group` of another length; fewer than two groups; no event, or groups never at risk together.
///
/// # Example
/// ```
/// use oncograph_metrics::{Survival, log_rank};
/// let follow_up = Survival::new(&[1.0, 2.0, 3.0, 4.0], &[true; 4])?;
/// let test = log_rank(&follow_up, &[0, 0, 1, 1])?;
/// assert!((test.expected[0] - (0.5 + 1.0 / 3.0)).abs() < 1e-12);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Mantel 1966. Equals `sksurv.compare.compare_survival` and
/// `lifelines.statistics.multivariate_logrank_test`.
pub fn log_rank(survival: &Survival, group: &[usize]) -> Result<LogRank> {
    log_rank_with(survival, group, None, &LogRankOptions::default())
}

/// What a difference at one event time counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogRankWeight {
    /// The same at every time: the log-rank test.
    #[default]
    Equal,
    /// The number at risk (Gehan's and Breslow's generalised Wilcoxon test): early times count more.
    Gehan,
    /// The root of the number at risk (Tarone and Ware).
    TaroneWare,
    /// The survival `Π (1 − d / (n + 1))` (Peto and Peto).
    Peto,
    /// `S(t−)^p (1 − S(t−))^q` with the Kaplan–Meier survival just before: `q > 0` weighs late times.
    FlemingHarrington {
        /// Power of the survival, at least 0.
        p: f64,
        /// Power of one minus the survival, at least 0.
        q: f64,
    },
}

/// Options of [`log_rank_with`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct LogRankOptions {
    /// What a difference at one event time counts. Default: equally much.
    pub weight: LogRankWeight,
}

impl LogRankOptions {
    /// Equal weights.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the weights.
    pub fn weight(mut self, weight: LogRankWeight) -> Self {
        self.weight = weight;
        self
    }

    /// Checks the options.
    ///
    /// # Errors
    /// A power of Fleming and Harrington that is negative or not finite.
    pub fn validate(&self) -> Result<()> {
        if let LogRankWeight::FlemingHarrington { p, q } = self.weight {
            for (name, power) in [("p", p), ("q", q)] {
                let expected = "a finite power of at least 0";
                check::scalar("log_rank", name, power, expected, |v| v.is_finite() && v >= 0.0)?;
            }
        }
        Ok(())
    }
}

/// [`log_rank`] with weights, and within strata: excess and variance are summed over `strata`, so that only subjects
/// of one stratum (a hospital, a stage) are compared.
///
/// `observed` and `expected` of the result are unweighted.
///
/// # Errors
/// As [`log_rank`]; `strata` of another length, invalid options.
///
/// # Example
/// ```
/// use oncograph_metrics::{LogRankOptions, LogRankWeight, Survival, log_rank_with};
/// let follow_up = Survival::new(&[1.0, 2.0, 3.0, 4.0], &[true; 4])?;
/// let gehan = LogRankOptions::new().weight(LogRankWeight::Gehan);
/// let test = log_rank_with(&follow_up, &[0, 0, 1, 1], None, &gehan)?;
/// // 4 (1 - 1/2) + 3 (1 - 1/3), variance 16/4 + 9 * 2/9.
/// assert!((test.chi_squared - 16.0 / 6.0).abs() < 1e-12);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// `lifelines.statistics.multivariate_logrank_test(weightings=...)`; R `survdiff(... + strata(s))`.
pub fn log_rank_with(
    survival: &Survival,
    group: &[usize],
    strata: Option<&[usize]>,
    options: &LogRankOptions,
) -> Result<LogRank> {
    let operation = "log_rank";
    options.validate()?;
    check::length(operation, "group", group.len(), survival.len())?;
    check::length(operation, "strata", strata.map_or(survival.len(), <[usize]>::len), survival.len())?;
    survival.require_event(operation)?;
    let mut labels = group.to_vec();
    labels.sort_unstable();
    labels.dedup();
    let k = labels.len();
    check::at_least(operation, "number of groups", k, 2)?;
    let member: Vec<usize> = group.iter().map(|g| labels.partition_point(|l| l < g)).collect();
    let mut sums = Sums::new(k);
    let order = rank::argsort(survival.time());
    match strata {
        None => sums.add(survival, &member, &order, options.weight),
        Some(strata) => {
            let mut names = strata.to_vec();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let own: Vec<usize> = order.iter().copied().filter(|&i| strata[i] == name).collect();
                sums.add(survival, &member, &own, options.weight);
            }
        }
    }
    // Rows of the full variance sum to zero, so one group is left out.
    let excess = DVector::from_fn(k - 1, |i, _| sums.excess[i]);
    let chi_squared = sums
        .variance
        .view((0, 0), (k - 1, k - 1))
        .into_owned()
        .cholesky()
        .map(|c| excess.dot(&c.solve(&excess)))
        .filter(|x| x.is_finite())
        .ok_or_else(|| Error::undefined(operation, without_variance(&sums.variance)))?;
    let p_value = distribution::chi_squared_tail(chi_squared, (k - 1) as f64);
    let Sums { observed, expected, .. } = sums;
    Ok(LogRank { chi_squared, degrees_of_freedom: k - 1, p_value, groups: labels, observed, expected })
}

/// Why there is no statistic.
fn without_variance(variance: &DMatrix<f64>) -> &'static str {
    match variance.iter().all(|v| *v == 0.0) {
        true => {
            "the variance is 0: at every event time all who are at risk have the event, or are of one group"
        }
        false => "some groups are never at risk together",
    }
}

/// What is summed over event times and strata.
struct Sums {
    observed: Vec<f64>,
    expected: Vec<f64>,
    /// Weighted observed minus expected.
    excess: Vec<f64>,
    variance: DMatrix<f64>,
}

impl Sums {
    fn new(k: usize) -> Self {
        let zeros = vec![0.0; k];
        Self {
            observed: zeros.clone(),
            expected: zeros.clone(),
            excess: zeros,
            variance: DMatrix::zeros(k, k),
        }
    }

    /// Adds the subjects of `order` (by time), compared among themselves.
    fn add(&mut self, survival: &Survival, member: &[usize], order: &[usize], weight: LogRankWeight) {
        let k = self.observed.len();
        let mut at_risk = vec![0.0; k];
        order.iter().for_each(|&i| at_risk[member[i]] += 1.0);
        // Kaplan and Meier's survival before the current time, and Peto's at it.
        let (mut before, mut peto) = (1.0, 1.0);
        for (start, end) in rank::runs(survival.time(), order) {
            let block = &order[start..end];
            let n = (order.len() - start) as f64;
            let mut died = vec![0.0; k];
            block.iter().filter(|&&i| survival.event()[i]).for_each(|&i| died[member[i]] += 1.0);
            let d: f64 = died.iter().sum();
            if d > 0.0 {
                peto *= 1.0 - d / (n + 1.0);
                let w = match weight {
                    LogRankWeight::Equal => 1.0,
                    LogRankWeight::Gehan => n,
                    LogRankWeight::TaroneWare => n.sqrt(),
                    LogRankWeight::Peto => peto,
                    LogRankWeight::FlemingHarrington { p, q } => {
                        f64::powf(before, p) * f64::powf(1.0 - before, q)
                    }
                };
                before *= 1.0 - d / n;
                let scale = if n > 1.0 { d * (n - d) / (n - 1.0) } else { 0.0 };
                for a in 0..k {
                    let expected = d * at_risk[a] / n;
                    self.observed[a] += died[a];
                    self.expected[a] += expected;
                    self.excess[a] += w * (died[a] - expected);
                    for b in 0..k {
                        let same = if a == b { 1.0 } else { 0.0 };
                        let share = at_risk[a] / n * (same - at_risk[b] / n);
                        self.variance[(a, b)] += w * w * scale * share;
                    }
                }
            }
            block.iter().for_each(|&i| at_risk[member[i]] -= 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn two_groups_by_hand() {
        let survival = Survival::new(&[1.0, 2.0, 3.0, 4.0], &[true; 4]).unwrap();
        let test = log_rank(&survival, &[7, 7, 9, 9]).unwrap();
        // E = 2/4 + 1/3, V = 1/4 + 2/9.
        let (excess, variance) = (2.0 - 5.0 / 6.0, 0.25 + 2.0 / 9.0);
        assert_relative_eq!(test.chi_squared, excess * excess / variance, max_relative = 1e-12);
        assert_eq!((test.degrees_of_freedom, test.groups), (1, vec![7, 9]));
        assert_relative_eq!(test.expected.iter().sum::<f64>(), 4.0, max_relative = 1e-12);
    }

    #[test]
    fn the_label_order_does_not_matter() {
        let time = [5., 3., 8., 1., 9., 2., 7., 7., 4., 3.];
        let event = [true, true, false, true, true, false, true, true, false, true];
        let survival = Survival::new(&time, &event).unwrap();
        let group = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0];
        let swapped = group.map(|g| 2 - g);
        let (a, b) = (log_rank(&survival, &group).unwrap(), log_rank(&survival, &swapped).unwrap());
        assert_relative_eq!(a.chi_squared, b.chi_squared, max_relative = 1e-10);
    }

    #[test]
    fn a_stratum_of_one_group_adds_nothing_and_weights_scale_out() {
        let time = [5., 3., 8., 1., 9., 2., 7., 7., 4., 3.];
        let event = [true, true, false, true, true, false, true, true, false, true];
        let group = [0, 1, 1, 0, 1, 1, 0, 1, 0, 0];
        let plain = log_rank(&Survival::new(&time, &event).unwrap(), &group).unwrap();
        let more_time = [time.to_vec(), vec![1.5, 6.5, 2.5]].concat();
        let more_event = [event.to_vec(), vec![true; 3]].concat();
        let more_group = [group.to_vec(), vec![1; 3]].concat();
        let strata = [vec![4; 10], vec![9; 3]].concat();
        let survival = Survival::new(&more_time, &more_event).unwrap();
        let options = LogRankOptions::new();
        let stratified = log_rank_with(&survival, &more_group, Some(&strata), &options).unwrap();
        assert_relative_eq!(stratified.chi_squared, plain.chi_squared, max_relative = 1e-12);
        // With both powers 0 every weight is 1.
        let flat = options.weight(LogRankWeight::FlemingHarrington { p: 0.0, q: 0.0 });
        let survival = Survival::new(&time, &event).unwrap();
        assert_eq!(log_rank_with(&survival, &group, None, &flat).unwrap(), plain);
        let negative = options.weight(LogRankWeight::FlemingHarrington { p: -1.0, q: 0.0 });
        assert!(log_rank_with(&survival, &group, None, &negative).is_err());
    }

    #[test]
    fn what_is_missing_is_said() {
        let error = |time: &[f64], event: &[bool], group: &[usize]| {
            log_rank(&Survival::new(time, event).unwrap(), group).unwrap_err().to_string()
        };
        let (all, pairs) = ([true; 4], [0, 0, 1, 1]);
        assert!(error(&[2.0; 4], &all, &pairs).contains("the variance is 0"));
        // The second group is followed from after the last event of the first.
        assert!(
            error(&[2.0, 2.0, 9.0, 9.0], &[false, false, true, true], &pairs).contains("the variance is 0")
        );
        let three = error(&[1.0, 2.0, 3.0, 0.5], &[true, true, true, false], &[0, 1, 0, 2]);
        assert!(three.contains("some groups are never at risk together"), "{three}");
    }

    #[test]
    fn degenerate_groups_are_errors() {
        let survival = Survival::new(&[1.0, 2.0], &[true, true]).unwrap();
        assert!(matches!(log_rank(&survival, &[1, 1]), Err(Error::Argument(_))));
        let apart = Survival::new(&[1.0, 2.0, 2.0], &[false, true, false]).unwrap();
        assert!(matches!(log_rank(&apart, &[0, 1, 1]), Err(Error::Undefined { .. })));
    }
}

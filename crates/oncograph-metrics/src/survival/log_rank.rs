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
    let operation = "log_rank";
    check::length(operation, "group", group.len(), survival.len())?;
    survival.require_event(operation)?;
    let mut labels = group.to_vec();
    labels.sort_unstable();
    labels.dedup();
    let k = labels.len();
    check::at_least(operation, "number of groups", k, 2)?;
    let member: Vec<usize> = group.iter().map(|g| labels.partition_point(|l| l < g)).collect();

    let order = rank::argsort(survival.time());
    let mut at_risk = vec![0.0; k];
    member.iter().for_each(|&g| at_risk[g] += 1.0);
    let (mut observed, mut expected) = (vec![0.0; k], vec![0.0; k]);
    let mut variance = DMatrix::<f64>::zeros(k, k);
    for (start, end) in rank::runs(survival.time(), &order) {
        let block = &order[start..end];
        let n = (order.len() - start) as f64;
        let mut d = 0.0;
        for &i in block.iter().filter(|&&i| survival.event()[i]) {
            observed[member[i]] += 1.0;
            d += 1.0;
        }
        if d > 0.0 {
            let scale = if n > 1.0 { d * (n - d) / (n - 1.0) } else { 0.0 };
            for a in 0..k {
                expected[a] += d * at_risk[a] / n;
                for b in 0..k {
                    let same = if a == b { 1.0 } else { 0.0 };
                    variance[(a, b)] += scale * at_risk[a] / n * (same - at_risk[b] / n);
                }
            }
        }
        block.iter().for_each(|&i| at_risk[member[i]] -= 1.0);
    }
    // Rows of the full variance sum to zero, so one group is left out.
    let excess = DVector::from_fn(k - 1, |i, _| observed[i] - expected[i]);
    let chi_squared = variance
        .view((0, 0), (k - 1, k - 1))
        .into_owned()
        .cholesky()
        .map(|c| excess.dot(&c.solve(&excess)))
        .filter(|x| x.is_finite())
        .ok_or_else(|| Error::undefined(operation, "some groups are never at risk together"))?;
    let p_value = distribution::chi_squared_tail(chi_squared, (k - 1) as f64);
    Ok(LogRank { chi_squared, degrees_of_freedom: k - 1, p_value, groups: labels, observed, expected })
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
    fn degenerate_groups_are_errors() {
        let survival = Survival::new(&[1.0, 2.0], &[true, true]).unwrap();
        assert!(matches!(log_rank(&survival, &[1, 1]), Err(Error::Option { .. })));
        let apart = Survival::new(&[1.0, 2.0, 2.0], &[false, true, false]).unwrap();
        assert!(matches!(log_rank(&apart, &[0, 1, 1]), Err(Error::Undefined { .. })));
    }
}

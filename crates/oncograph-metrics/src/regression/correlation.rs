use crate::{Alternative, Error, Result, check, distribution, rank};
use serde::{Deserialize, Serialize};

/// Largest sample for which Kendall's p-value is exact.
const EXACT: usize = 33;

/// A correlation coefficient with its p-value against zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Correlation {
    /// The coefficient, in [−1, 1].
    pub coefficient: f64,
    /// Two-sided unless another alternative was given.
    pub p_value: f64,
}

fn checked(operation: &'static str, a: &[f64], b: &[f64]) -> Result<()> {
    check::at_least(operation, "a.len()", a.len(), 3)?;
    check::finite(operation, "a", a)?;
    check::paired(operation, "b", b, a.len())
}

/// Pearson's linear correlation; p from Student's t with n − 2 degrees of freedom.
///
/// # Errors
/// Fewer than three pairs, different lengths, values not finite, a constant input.
///
/// # Example
/// ```
/// let r = oncograph_metrics::pearson(&[1.0, 2.0, 3.0], &[2.0, 4.0, 5.0])?;
/// assert!((r.coefficient - 3.0 / (2.0f64 * 14.0 / 3.0).sqrt()).abs() < 1e-12);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `scipy.stats.pearsonr`.
pub fn pearson(a: &[f64], b: &[f64]) -> Result<Correlation> {
    pearson_with(a, b, Alternative::TwoSided)
}

/// [`pearson`] against one side: [`Alternative::Greater`] means a positive correlation.
///
/// # Errors
/// As [`pearson`].
pub fn pearson_with(a: &[f64], b: &[f64], alternative: Alternative) -> Result<Correlation> {
    checked("pearson", a, b)?;
    linear("pearson", a, b, alternative)
}

/// Spearman's rank correlation: Pearson's on ranks, ties sharing their mean rank.
///
/// # Errors
/// As [`pearson`].
///
/// # Reference
/// Equals `scipy.stats.spearmanr`.
pub fn spearman(a: &[f64], b: &[f64]) -> Result<Correlation> {
    spearman_with(a, b, Alternative::TwoSided)
}

/// [`spearman`] against one side: [`Alternative::Greater`] means a positive correlation.
///
/// # Errors
/// As [`pearson`].
pub fn spearman_with(a: &[f64], b: &[f64], alternative: Alternative) -> Result<Correlation> {
    checked("spearman", a, b)?;
    linear("spearman", &rank::midranks(a), &rank::midranks(b), alternative)
}

/// The p-value of one side, from that of both for a symmetric statistic of this sign.
fn on_side(two_sided: f64, statistic: f64, alternative: Alternative) -> f64 {
    let towards = match alternative {
        Alternative::TwoSided => return two_sided,
        Alternative::Greater => statistic > 0.0,
        Alternative::Less => statistic < 0.0,
    };
    if towards { two_sided / 2.0 } else { 1.0 - two_sided / 2.0 }
}

fn linear(operation: &'static str, a: &[f64], b: &[f64], alternative: Alternative) -> Result<Correlation> {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        aa += (x - mean_a).powi(2);
        bb += (y - mean_b).powi(2);
        ab += (x - mean_a) * (y - mean_b);
    }
    if aa == 0.0 || bb == 0.0 {
        return Err(Error::undefined(operation, "an input is constant"));
    }
    let coefficient = (ab / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0);
    let two_sided = distribution::correlation_p(coefficient, a.len());
    Ok(Correlation { coefficient, p_value: on_side(two_sided, coefficient, alternative) })
}

/// Kendall's τ-b, O(n log n); without ties p is exact for up to 33 values, and beyond where at most one pair is
/// discordant or concordant; else it comes from the normal approximation.
///
/// # Errors
/// As [`pearson`].
///
/// # Reference
/// Equals `scipy.stats.kendalltau` (variant b).
pub fn kendall(a: &[f64], b: &[f64]) -> Result<Correlation> {
    kendall_with(a, b, Alternative::TwoSided)
}

/// [`kendall`] against one side: [`Alternative::Greater`] means a positive correlation.
///
/// # Errors
/// As [`pearson`].
pub fn kendall_with(a: &[f64], b: &[f64], alternative: Alternative) -> Result<Correlation> {
    let operation = "kendall";
    checked(operation, a, b)?;
    let n = a.len();
    let pairs = |sizes: &[f64]| sizes.iter().map(|t| t * (t - 1.0) / 2.0).sum::<f64>();
    let (ties_a, ties_b) = (rank::tie_sizes(a), rank::tie_sizes(b));
    let total = n as f64 * (n as f64 - 1.0) / 2.0;
    let (untied_a, untied_b) = (total - pairs(&ties_a), total - pairs(&ties_b));
    if untied_a == 0.0 || untied_b == 0.0 {
        return Err(Error::undefined(operation, "an input is constant"));
    }
    let (concordant, discordant) = count_pairs(a, b);
    let excess = concordant as f64 - discordant as f64;
    let coefficient = (excess / untied_a.sqrt() / untied_b.sqrt()).clamp(-1.0, 1.0);
    let untied = ties_a.len() == n && ties_b.len() == n;
    let p_value = if untied && (n <= EXACT || concordant.min(discordant) <= 1) {
        // The concordant pairs are distributed as the discordant ones.
        match alternative {
            Alternative::TwoSided => (2.0 * exact_p(n, concordant.min(discordant))).min(1.0),
            Alternative::Greater => exact_p(n, discordant),
            Alternative::Less => exact_p(n, concordant),
        }
    } else {
        let z = excess / variance(n as f64, &ties_a, &ties_b).sqrt();
        on_side(distribution::normal_two_sided(z), z, alternative)
    };
    Ok(Correlation { coefficient, p_value })
}

fn variance(n: f64, ties_a: &[f64], ties_b: &[f64]) -> f64 {
    let sum = |ties: &[f64], f: fn(f64) -> f64| ties.iter().map(|&t| f(t)).sum::<f64>();
    let two = |t: f64| t * (t - 1.0);
    let three = |t: f64| t * (t - 1.0) * (t - 2.0);
    let five = |t: f64| t * (t - 1.0) * (2.0 * t + 5.0);
    (five(n) - sum(ties_a, five) - sum(ties_b, five)) / 18.0
        + sum(ties_a, two) * sum(ties_b, two) / (2.0 * two(n))
        + sum(ties_a, three) * sum(ties_b, three) / (9.0 * three(n))
}

/// Concordant and discordant pairs; pairs tied in either input are neither.
fn count_pairs(a: &[f64], b: &[f64]) -> (u64, u64) {
    let by_b = rank::argsort(b);
    let mut place = vec![0; b.len()];
    for (place_of_run, (start, end)) in rank::runs(b, &by_b).into_iter().enumerate() {
        by_b[start..end].iter().for_each(|&i| place[i] = place_of_run);
    }
    let by_a = rank::argsort(a);
    let mut seen = rank::Counts::new(b.len());
    let (mut concordant, mut discordant) = (0, 0);
    for (start, end) in rank::runs(a, &by_a) {
        for &i in &by_a[start..end] {
            concordant += seen.below(place[i]);
            discordant += start as u64 - seen.below(place[i] + 1);
        }
        by_a[start..end].iter().for_each(|&i| seen.add(place[i]));
    }
    (concordant, discordant)
}

/// The share of permutations of n values with at most `fewer` inversions.
fn exact_p(n: usize, fewer: u64) -> f64 {
    let fewer = fewer as usize;
    // Share of permutations of k items with each number of inversions, item by item.
    let mut share = vec![0.0; fewer + 1];
    share[0] = 1.0;
    for k in 2..=n {
        let before = share.clone();
        for (i, slot) in share.iter_mut().enumerate() {
            *slot = before[i.saturating_sub(k - 1)..=i].iter().sum::<f64>() / k as f64;
        }
    }
    share.iter().sum::<f64>().min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfect_orders() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [1.0, 4.0, 9.0, 16.0]);
        assert!((spearman(&a, &b).unwrap().coefficient - 1.0).abs() < 1e-15);
        let tau = kendall(&a, &b.map(|v| -v)).unwrap();
        assert_eq!(tau.coefficient, -1.0);
        assert!((tau.p_value - 2.0 / 24.0).abs() < 1e-15);
        assert!(pearson(&a, &b).unwrap().coefficient < 1.0);
    }

    #[test]
    fn the_sides_share_the_probability() {
        use Alternative::{Greater, Less, TwoSided};
        let a = [1.0, 2.0, 3.0, 4.0, 5.0];
        let b = [2.0, 1.0, 3.0, 5.0, 4.0];
        for f in [pearson_with, spearman_with] {
            let p = [TwoSided, Greater, Less].map(|side| f(&a, &b, side).unwrap().p_value);
            assert!((p[1] - p[0] / 2.0).abs() < 1e-15 && (p[1] + p[2] - 1.0).abs() < 1e-15);
        }
        // 2 inversions of 10: 1 + 4 + 9 of 120 permutations have as few, all but 1 + 4 as many.
        let p = [TwoSided, Greater, Less].map(|side| kendall_with(&a, &b, side).unwrap().p_value);
        assert!((p[0] - 28.0 / 120.0).abs() < 1e-15 && (p[1] - 14.0 / 120.0).abs() < 1e-15);
        assert!((p[2] - 115.0 / 120.0).abs() < 1e-15);
        // More than 33 values, one inversion: exact, n of n! permutations have at most one.
        let long: Vec<f64> = (0..40).map(f64::from).collect();
        let mut swapped = long.clone();
        swapped.swap(3, 4);
        let share = 40.0 / (1..=40).map(f64::from).product::<f64>();
        assert!((kendall(&long, &swapped).unwrap().p_value / (2.0 * share) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn kendall_counts_pairs() {
        // Pairs: (1,2) +, (1,3) tied in b, (2,3) −: τ-b = 0.
        let tau = kendall(&[1.0, 2.0, 3.0], &[1.0, 5.0, 1.0]).unwrap();
        assert_eq!(tau.coefficient, 0.0);
        assert!((tau.p_value - 1.0).abs() < 1e-15);
        // One inversion of three: 2 · (1 + 2)/6 = 1.
        assert_eq!(kendall(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0]).unwrap().p_value, 1.0);
    }

    #[test]
    fn constant_input_is_an_error() {
        for f in [pearson, spearman, kendall] {
            assert!(matches!(f(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), Err(Error::Undefined { .. })));
            assert!(f(&[1.0, 2.0], &[1.0, 2.0]).is_err());
        }
    }
}

use super::{Alternative, TestOptions, TestResult};
use crate::{Error, Result, check, distribution, rank};

/// Largest number of differences for which Wilcoxon's p-value is exact.
const EXACT: usize = 50;

/// The same where there are ties or zeros.
const EXACT_TIED: usize = 13;

/// Mann–Whitney U test of two independent samples.
///
/// The statistic is U of `a`: the pairs in which `a` is larger, ties counting one half. p is two-sided from the
/// normal approximation with tie and continuity corrections.
///
/// # Errors
/// An empty sample, a value that is not finite, all values equal.
///
/// # Example
/// ```
/// let test = oncograph_metrics::mann_whitney(&[3.0, 4.0], &[1.0, 3.0, 2.0])?;
/// assert_eq!(test.statistic, 5.5);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `scipy.stats.mannwhitneyu(method="asymptotic")`.
pub fn mann_whitney(a: &[f64], b: &[f64]) -> Result<TestResult> {
    mann_whitney_with(a, b, &TestOptions::default())
}

/// [`mann_whitney`] against an alternative, with or without continuity correction.
///
/// With [`Alternative::Greater`] the alternative is that values of `a` tend to be larger.
///
/// # Errors
/// As [`mann_whitney`].
///
/// # Reference
/// Equals `scipy.stats.mannwhitneyu(method="asymptotic", alternative=..., use_continuity=...)`.
pub fn mann_whitney_with(a: &[f64], b: &[f64], options: &TestOptions) -> Result<TestResult> {
    let operation = "mann_whitney";
    for (name, sample) in [("a", a), ("b", b)] {
        check::at_least(operation, "sample size", sample.len(), 1)?;
        check::finite(operation, name, sample)?;
    }
    let pooled = [a, b].concat();
    let (na, nb, n) = (a.len() as f64, b.len() as f64, pooled.len() as f64);
    let rank_sum: f64 = rank::midranks(&pooled)[..a.len()].iter().sum();
    let statistic = rank_sum - na * (na + 1.0) / 2.0;
    let variance = na * nb / 12.0 * (n + 1.0 - rank::tie_term(&pooled) / (n * (n - 1.0)));
    if variance <= 0.0 {
        return Err(Error::undefined(operation, "all values are equal"));
    }
    let centred = statistic - na * nb / 2.0;
    let towards = match options.alternative {
        Alternative::TwoSided => centred.abs(),
        Alternative::Greater => centred,
        Alternative::Less => -centred,
    };
    let correction = if options.continuity { 0.5 } else { 0.0 };
    let tail = distribution::normal_cdf(-(towards - correction) / variance.sqrt());
    let sides = if options.alternative == Alternative::TwoSided { 2.0 } else { 1.0 };
    // The correction may pass the centre, where the tail holds more than one half.
    Ok(TestResult { statistic, p_value: (sides * tail).min(1.0) })
}

/// Wilcoxon's signed-rank test of paired samples; zero differences are left out.
///
/// The statistic is the smaller of the two rank sums. p is two-sided: exact for up to 50 differences without
/// ties and zeros and for up to 13 with them, else from the normal approximation with tie correction and without
/// continuity correction.
///
/// # Errors
/// Different lengths, a value that is not finite, no difference other than zero.
///
/// # Reference
/// Equals `scipy.stats.wilcoxon(zero_method="wilcox")`.
pub fn wilcoxon(a: &[f64], b: &[f64]) -> Result<TestResult> {
    wilcoxon_with(a, b, &TestOptions::default().continuity(false))
}

/// [`wilcoxon`] against an alternative, with or without continuity correction of the approximation.
///
/// With [`Alternative::Greater`] the alternative is that `a` tends to be larger than `b`; the statistic of a one-sided test
/// is the sum of the ranks of the positive differences.
///
/// # Errors
/// As [`wilcoxon`].
///
/// # Reference
/// Equals `scipy.stats.wilcoxon(zero_method="wilcox", alternative=..., correction=...)`.
pub fn wilcoxon_with(a: &[f64], b: &[f64], options: &TestOptions) -> Result<TestResult> {
    let operation = "wilcoxon";
    check::finite(operation, "a", a)?;
    check::paired(operation, "b", b, a.len())?;
    let difference: Vec<f64> = a.iter().zip(b).map(|(x, y)| x - y).filter(|d| *d != 0.0).collect();
    if difference.is_empty() {
        return Err(Error::undefined(operation, "all differences are zero"));
    }
    let size: Vec<f64> = difference.iter().map(|d| d.abs()).collect();
    let ranks = rank::midranks(&size);
    let n = difference.len() as f64;
    let plus: f64 = ranks.iter().zip(&difference).filter(|(_, d)| **d > 0.0).map(|(r, _)| r).sum();
    let total = n * (n + 1.0) / 2.0;
    let two_sided = options.alternative == Alternative::TwoSided;
    let statistic = if two_sided { plus.min(total - plus) } else { plus };
    // By symmetry the share of larger sums is that of the smaller ones of the other sign.
    let lower = if options.alternative == Alternative::Greater { total - plus } else { statistic };
    let sides = if two_sided { 2.0 } else { 1.0 };
    let ties = rank::tie_term(&size);
    let plain = ties == 0.0 && difference.len() == a.len();
    let p_value = if a.len() <= if plain { EXACT } else { EXACT_TIED } {
        sides * exact_signed_rank(&ranks, lower)
    } else {
        let variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ties / 48.0;
        let below = total / 2.0 - lower;
        let sign = if two_sided && below == 0.0 { 0.0 } else { 1.0 };
        let correction = if options.continuity { 0.5 * sign } else { 0.0 };
        sides * distribution::normal_cdf(-(below - correction) / variance.sqrt())
    };
    Ok(TestResult { statistic, p_value: p_value.min(1.0) })
}

/// The share of sign patterns of these ranks whose positive sum is at most `smaller`.
fn exact_signed_rank(ranks: &[f64], smaller: f64) -> f64 {
    // Shared ranks are halves.
    let twice = |v: f64| (2.0 * v).round() as usize;
    let smaller = twice(smaller);
    let mut share = vec![0.0; smaller + 1];
    share[0] = 1.0;
    for rank in ranks.iter().map(|r| twice(*r)) {
        for sum in (0..=smaller).rev() {
            let without = share[sum];
            let with = if sum >= rank { share[sum - rank] } else { 0.0 };
            share[sum] = (without + with) / 2.0;
        }
    }
    share.iter().sum()
}

/// Kruskal–Wallis test of two or more independent samples; the statistic is H, corrected for ties.
///
/// # Errors
/// Fewer than two samples, an empty one, a value that is not finite, all values equal.
///
/// # Example
/// ```
/// let test = oncograph_metrics::kruskal_wallis(&[&[1.0, 2.0], &[3.0, 4.0]])?;
/// assert!((test.statistic - 2.4).abs() < 1e-12);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `scipy.stats.kruskal`.
pub fn kruskal_wallis(samples: &[&[f64]]) -> Result<TestResult> {
    let operation = "kruskal_wallis";
    check::at_least(operation, "number of samples", samples.len(), 2)?;
    for sample in samples {
        check::at_least(operation, "sample size", sample.len(), 1)?;
        check::finite(operation, "samples", sample)?;
    }
    let pooled = samples.concat();
    let n = pooled.len() as f64;
    let correction = 1.0 - rank::tie_term(&pooled) / (n * n * n - n);
    if correction <= 0.0 {
        return Err(Error::undefined(operation, "all values are equal"));
    }
    let ranks = rank::midranks(&pooled);
    let (mut start, mut between) = (0, 0.0);
    for sample in samples {
        let end = start + sample.len();
        between += ranks[start..end].iter().sum::<f64>().powi(2) / sample.len() as f64;
        start = end;
    }
    let statistic = (12.0 / (n * (n + 1.0)) * between - 3.0 * (n + 1.0)) / correction;
    let p_value = distribution::chi_squared_tail(statistic, samples.len() as f64 - 1.0);
    Ok(TestResult { statistic, p_value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilcoxon_exact_by_enumeration() {
        // Differences 1, −2, 3: the sums at most 2 are {}, {1}, {2}: p = 2 · 3/8.
        let test = wilcoxon(&[1.0, 0.0, 3.0], &[0.0, 2.0, 0.0]).unwrap();
        assert_eq!((test.statistic, test.p_value), (2.0, 0.75));
        let all = wilcoxon(&[1.0, 2.0, 3.0, 4.0], &[0.0; 4]).unwrap();
        assert_eq!((all.statistic, all.p_value), (0.0, 0.125));
        // Differences 1, -1, 2 and a zero, ranks 1.5, 1.5, 3: the sums 0, 1.5, 1.5 of eight are at most 1.5.
        let tied = wilcoxon(&[1.0, 0.0, 2.0, 4.0], &[0.0, 1.0, 0.0, 4.0]).unwrap();
        assert_eq!((tied.statistic, tied.p_value), (1.5, 0.75));
        assert!(wilcoxon(&[1.0], &[1.0]).is_err());
    }

    #[test]
    fn one_sided_tests_share_the_two_sided_p() {
        let (a, b) = ([1.0, 2.5, 2.0, 5.0, 4.5], [0.5, 3.0, 1.0, 2.0, 0.1]);
        let options = |side| TestOptions::default().alternative(side).continuity(false);
        for test in [mann_whitney_with, wilcoxon_with] {
            let p = |side| test(&a, &b, &options(side)).unwrap().p_value;
            let (greater, less) = (p(Alternative::Greater), p(Alternative::Less));
            assert!(greater < less);
            assert!((p(Alternative::TwoSided) - 2.0 * greater).abs() < 1e-12);
        }
        // Differences 1, -2, 3: of the eight sums 0, 1, 2, 3, 3, 4, 5, 6 three are at least 4.
        let exact =
            wilcoxon_with(&[1.0, 0.0, 3.0], &[0.0, 2.0, 0.0], &options(Alternative::Greater)).unwrap();
        assert_eq!((exact.statistic, exact.p_value), (4.0, 3.0 / 8.0));
    }

    #[test]
    fn mann_whitney_is_symmetric_and_bounded() {
        let (a, b) = ([1.0, 2.0, 2.0, 5.0], [2.0, 3.0, 1.0]);
        let (ab, ba) = (mann_whitney(&a, &b).unwrap(), mann_whitney(&b, &a).unwrap());
        assert_eq!(ab.statistic + ba.statistic, 12.0);
        assert!((ab.p_value - ba.p_value).abs() < 1e-15 && ab.p_value <= 1.0);
        assert_eq!(mann_whitney(&[1.0, 3.0], &[2.0, 2.0]).unwrap().p_value, 1.0);
        assert!(mann_whitney(&[1.0], &[1.0]).is_err());
    }

    #[test]
    fn kruskal_of_two_samples_is_the_uncorrected_mann_whitney() {
        let (a, b) = ([1.0, 4.0, 4.0, 6.0], [2.0, 4.0, 7.0, 8.0, 9.0]);
        let h = kruskal_wallis(&[&a, &b]).unwrap().statistic;
        let (n, u) = (9.0f64, mann_whitney(&a, &b).unwrap().statistic);
        let variance = 20.0 / 12.0 * (n + 1.0 - 24.0 / (n * (n - 1.0)));
        assert!((h - (u - 10.0).powi(2) / variance).abs() < 1e-12);
    }
}

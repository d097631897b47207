use super::TestResult;
use crate::{Error, Result, check, distribution};
use serde::{Deserialize, Serialize};

/// Largest total for which all overlaps are enumerated (at most 800 MB).
const LARGEST: u64 = 100_000_000;

/// The side of a one-sided test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alternative {
    /// Any deviation.
    #[default]
    TwoSided,
    /// A larger value than by chance.
    Greater,
    /// A smaller value than by chance.
    Less,
}

/// Probabilities of all overlaps of a draw with a set, from the mode outwards by exact ratios.
///
/// Ratios keep full relative precision for universes of any size, where differences of log-factorials lose it.
fn hypergeometric(universe: u64, set: u64, drawn: u64) -> (u64, Vec<f64>) {
    let low = (set + drawn).saturating_sub(universe);
    let high = set.min(drawn);
    let ratio = |x: u64| {
        // P(x + 1) / P(x)
        (set - x) as f64 * (drawn - x) as f64 / ((x + 1) as f64 * (universe + x + 1 - set - drawn) as f64)
    };
    let mode = (((set + 1) as f64 * (drawn + 1) as f64 / (universe + 2) as f64) as u64).clamp(low, high);
    let mut probability = vec![0.0; (high - low + 1) as usize];
    probability[(mode - low) as usize] = 1.0;
    for x in mode..high {
        probability[(x + 1 - low) as usize] = probability[(x - low) as usize] * ratio(x);
    }
    for x in (low..mode).rev() {
        probability[(x - low) as usize] = probability[(x + 1 - low) as usize] / ratio(x);
    }
    let total: f64 = probability.iter().sum();
    probability.iter_mut().for_each(|p| *p /= total);
    (low, probability)
}

/// Over-representation: the chance that a random draw of `drawn` from `universe` meets a set of `set_size` in at
/// least `overlap` members.
///
/// `P(X ≥ k) = Σ_{i ≥ k} C(K, i) C(N − K, n − i) / C(N, n)`.
///
/// # Errors
/// A universe above 10⁸, a set or draw larger than the universe, or an overlap that is impossible.
///
/// # Example
/// ```
/// let p = oncograph_metrics::hypergeometric_enrichment(2, 2, 2, 4)?;
/// assert!((p - 1.0 / 6.0).abs() < 1e-15);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `scipy.stats.hypergeom.sf(overlap − 1, universe, set_size, drawn)`.
pub fn hypergeometric_enrichment(overlap: u64, set_size: u64, drawn: u64, universe: u64) -> Result<f64> {
    let operation = "hypergeometric_enrichment";
    let option = |option, expected, got: u64| Err(Error::argument(operation, option, expected, got));
    if universe > LARGEST {
        return option("universe", "at most 100000000", universe);
    }
    if set_size > universe {
        return option("set_size", "at most the universe", set_size);
    }
    if drawn > universe {
        return option("drawn", "at most the universe", drawn);
    }
    if overlap > set_size.min(drawn) || overlap < (set_size + drawn).saturating_sub(universe) {
        return option("overlap", "an overlap possible for these sizes", overlap);
    }
    let (low, probability) = hypergeometric(universe, set_size, drawn);
    Ok(tail(&probability[(overlap - low) as usize..], &probability[..(overlap - low) as usize]))
}

/// The sum of one tail; through the other where that is the smaller, so that certain is exactly 1.
fn tail(wanted: &[f64], other: &[f64]) -> f64 {
    let (sum, rest): (f64, f64) = (wanted.iter().sum(), other.iter().sum());
    if rest < sum { 1.0 - rest } else { sum }
}

/// Fisher's exact test of a 2 × 2 table `[[a, b], [c, d]]`; the statistic is the odds ratio `a d / (b c)`.
///
/// Two-sided: the sum over all tables with the same margins that are not more probable than the observed.
///
/// # Errors
/// A margin of zero; more than 10⁸ counts in all.
///
/// # Example
/// ```
/// use oncograph_metrics::{Alternative, fisher_exact};
/// let test = fisher_exact([[3, 1], [1, 3]], Alternative::TwoSided)?;
/// assert_eq!(test.statistic, 9.0);
/// assert!((test.p_value - 34.0 / 70.0).abs() < 1e-14);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `scipy.stats.fisher_exact`.
pub fn fisher_exact(table: [[u64; 2]; 2], alternative: Alternative) -> Result<TestResult> {
    let operation = "fisher_exact";
    let [[a, b], [c, d]] = table;
    if [a, b, c, d].iter().try_fold(0u64, |sum, v| sum.checked_add(*v)).is_none_or(|sum| sum > LARGEST) {
        return Err(Error::undefined(operation, "the table has more than 100000000 counts"));
    }
    if [a + b, c + d, a + c, b + d].contains(&0) {
        return Err(Error::undefined(operation, "a row or column of the table is empty"));
    }
    let (low, probability) = hypergeometric(a + b + c + d, a + b, a + c);
    let at = (a - low) as usize;
    let p_value = match alternative {
        Alternative::Greater => tail(&probability[at..], &probability[..at]),
        Alternative::Less => tail(&probability[..=at], &probability[at + 1..]),
        Alternative::TwoSided => {
            // The margin treats tables that are equally probable but for rounding as equal.
            let limit = probability[at] * (1.0 + 1e-7);
            probability.iter().filter(|p| **p <= limit).sum::<f64>().min(1.0)
        }
    };
    Ok(TestResult { statistic: a as f64 * d as f64 / (b as f64 * c as f64), p_value })
}

/// Result of the χ² test of independence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChiSquared {
    /// χ² statistic.
    pub chi_squared: f64,
    /// (rows − 1)(columns − 1).
    pub degrees_of_freedom: usize,
    /// P(χ² ≥ statistic).
    pub p_value: f64,
    /// Expected counts, row-major.
    pub expected: Vec<f64>,
}

/// χ² test of independence of rows and columns; `yates` applies the continuity correction to a 2 × 2 table.
///
/// # Shapes
/// `counts`: [rows, columns], row-major.
///
/// # Errors
/// Fewer than two rows or columns, a length that does not fit, an empty row or column.
///
/// # Example
/// ```
/// let test = oncograph_metrics::chi_squared_independence(&[10, 20, 20, 10], 2, false)?;
/// assert!((test.chi_squared - 20.0 / 3.0).abs() < 1e-12);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `scipy.stats.chi2_contingency(correction=yates)`.
pub fn chi_squared_independence(counts: &[u64], columns: usize, yates: bool) -> Result<ChiSquared> {
    let operation = "chi_squared_independence";
    check::at_least(operation, "columns", columns, 2)?;
    let rows = counts.len() / columns;
    check::length(operation, "counts", counts.len(), rows * columns)?;
    check::at_least(operation, "rows", rows, 2)?;
    let row: Vec<f64> = counts.chunks_exact(columns).map(|r| r.iter().map(|c| *c as f64).sum()).collect();
    let column: Vec<f64> =
        (0..columns).map(|j| counts.iter().skip(j).step_by(columns).map(|c| *c as f64).sum()).collect();
    if row.contains(&0.0) || column.contains(&0.0) {
        return Err(Error::undefined(operation, "a row or column of the table is empty"));
    }
    let total: f64 = row.iter().sum();
    let expected: Vec<f64> = row.iter().flat_map(|r| column.iter().map(move |c| r * c / total)).collect();
    let degrees_of_freedom = (rows - 1) * (columns - 1);
    let corrected = yates && degrees_of_freedom == 1;
    let term = |(&o, &e): (&u64, &f64)| {
        let gap = (o as f64 - e).abs();
        let gap = if corrected { gap - gap.min(0.5) } else { gap };
        gap * gap / e
    };
    let chi_squared: f64 = counts.iter().zip(&expected).map(term).sum();
    let p_value = distribution::chi_squared_tail(chi_squared, degrees_of_freedom as f64);
    Ok(ChiSquared { chi_squared, degrees_of_freedom, p_value, expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn hypergeometric_by_hand() {
        // C(3, i) C(4, 3 − i) / C(7, 3) = 4, 18, 12, 1 over 35.
        let (low, p) = hypergeometric(7, 3, 3);
        assert_eq!(low, 0);
        for (p, e) in p.iter().zip([4.0, 18.0, 12.0, 1.0]) {
            assert_relative_eq!(*p, e / 35.0, max_relative = 1e-14);
        }
        assert_eq!(hypergeometric(10, 10, 4), (4, vec![1.0]));
        assert_eq!(hypergeometric_enrichment(0, 38, 30, 500).unwrap(), 1.0);
        // The tail stays positive and small for a genome-sized universe.
        let p = hypergeometric_enrichment(20, 100, 100, 20_000).unwrap();
        assert!(p > 0.0 && p < 1e-20);
        assert!(hypergeometric_enrichment(3, 2, 5, 10).is_err());
        assert!(hypergeometric_enrichment(1, 12, 5, 10).is_err());
    }

    #[test]
    fn fisher_sides() {
        let greater = fisher_exact([[3, 1], [1, 3]], Alternative::Greater).unwrap().p_value;
        let less = fisher_exact([[3, 1], [1, 3]], Alternative::Less).unwrap().p_value;
        assert_relative_eq!(greater, 17.0 / 70.0, max_relative = 1e-14);
        assert_relative_eq!(less, 69.0 / 70.0, max_relative = 1e-14);
        assert!(fisher_exact([[0, 0], [1, 3]], Alternative::TwoSided).is_err());
        assert!(fisher_exact([[u64::MAX, 1], [1, 3]], Alternative::TwoSided).is_err());
        assert!(hypergeometric_enrichment(1, u64::MAX, u64::MAX, u64::MAX).is_err());
    }

    #[test]
    fn yates_and_shapes() {
        let test = chi_squared_independence(&[10, 20, 20, 10], 2, true).unwrap();
        assert_relative_eq!(test.chi_squared, 4.0 * 4.5 * 4.5 / 15.0, max_relative = 1e-12);
        let wide = chi_squared_independence(&[1, 2, 3, 2, 4, 6], 3, true).unwrap();
        assert_relative_eq!(wide.chi_squared, 0.0, epsilon = 1e-12);
        assert_eq!((wide.degrees_of_freedom, wide.p_value > 0.999), (2, true));
        assert!(chi_squared_independence(&[1, 2, 3], 2, false).is_err());
        assert!(chi_squared_independence(&[0, 2, 0, 3], 2, false).is_err());
    }
}

//! Sorting, ranks with ties and the counting tree behind the O(n log n) statistics.

use std::cmp::Ordering;

/// Compares validated (finite) numbers; `-0.0` equals `0.0`, unlike `f64::total_cmp`.
pub(crate) fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

/// The stable order that sorts `values` ascending.
pub(crate) fn argsort(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| compare(values[a], values[b]));
    order
}

/// The half-open runs of equal values along `order`.
pub(crate) fn runs(values: &[f64], order: &[usize]) -> Vec<(usize, usize)> {
    let mut runs = Vec::new();
    let mut start = 0;
    for end in 1..=order.len() {
        if end == order.len() || values[order[end]] != values[order[start]] {
            runs.push((start, end));
            start = end;
        }
    }
    runs
}

/// Ranks from 1, ties share their mean rank.
pub(crate) fn midranks(values: &[f64]) -> Vec<f64> {
    let order = argsort(values);
    let mut ranks = vec![0.0; values.len()];
    for (start, end) in runs(values, &order) {
        let mean = (start + end + 1) as f64 / 2.0;
        order[start..end].iter().for_each(|&i| ranks[i] = mean);
    }
    ranks
}

/// The sizes of all groups of equal values.
pub(crate) fn tie_sizes(values: &[f64]) -> Vec<f64> {
    let order = argsort(values);
    runs(values, &order).into_iter().map(|(s, e)| (e - s) as f64).collect()
}

/// Σ (t³ − t) over groups of `t` equal values: the tie term of the rank tests.
pub(crate) fn tie_term(values: &[f64]) -> f64 {
    tie_sizes(values).iter().map(|t| t * t * t - t).sum()
}

/// Quantile of ascending values by linear interpolation (numpy's and R's type 7).
pub(crate) fn quantile(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = p.clamp(0.0, 1.0) * last as f64;
    let low = position.floor() as usize;
    let high = (low + 1).min(last);
    Some(sorted[low] + (position - low as f64) * (sorted[high] - sorted[low]))
}

/// A Fenwick tree of counts over ranks.
pub(crate) struct Counts(Vec<u64>);

impl Counts {
    pub(crate) fn new(size: usize) -> Self {
        Self(vec![0; size + 1])
    }

    pub(crate) fn add(&mut self, rank: usize) {
        let mut i = rank + 1;
        while i < self.0.len() {
            self.0[i] += 1;
            i += i & i.wrapping_neg();
        }
    }

    /// How many ranks below `rank` were added.
    pub(crate) fn below(&self, rank: usize) -> u64 {
        let mut i = rank.min(self.0.len() - 1);
        let mut sum = 0;
        while i > 0 {
            sum += self.0[i];
            i &= i - 1;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midranks_share_ties_and_signed_zero_is_zero() {
        assert_eq!(midranks(&[3.0, -0.0, 0.0, 5.0, 3.0]), vec![3.5, 1.5, 1.5, 5.0, 3.5]);
        assert_eq!(tie_term(&[1.0, 1.0, 2.0]), 6.0);
    }

    #[test]
    fn counts_below() {
        let mut counts = Counts::new(6);
        [5, 0, 2, 2].iter().for_each(|&r| counts.add(r));
        assert_eq!((0..=6).map(|r| counts.below(r)).collect::<Vec<_>>(), vec![0, 1, 1, 3, 3, 3, 4]);
    }

    #[test]
    fn quantile_interpolates() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}

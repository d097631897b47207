//! Ranking metrics over pairs of rows of one fold.

use oncograph_metrics::average_precision;
use std::collections::BTreeMap;

/// Rows by the fold that held them out.
pub(crate) fn by_fold<T>(rows: impl Iterator<Item = (usize, T)>) -> Vec<Vec<T>> {
    let mut folds: BTreeMap<usize, Vec<T>> = BTreeMap::new();
    for (fold, row) in rows {
        folds.entry(fold).or_default().push(row);
    }
    folds.into_values().collect()
}

/// The share of pairs of a positive and a negative row of one fold in which the positive one scores higher, ties as halves.
pub(super) fn auroc_within(folds: &[Vec<(bool, f64)>]) -> Option<f64> {
    let (mut right, mut pairs) = (0.0, 0.0);
    for fold in folds {
        let mut sorted: Vec<(bool, f64)> = fold.clone();
        sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
        // Walks over groups of equal scores: every negative below counts one, every tied one a half.
        let (mut below, mut at) = (0.0, 0);
        while at < sorted.len() {
            let equal = sorted[at..].iter().take_while(|r| r.1 == sorted[at].1).count();
            let positive = sorted[at..at + equal].iter().filter(|r| r.0).count() as f64;
            let negative = equal as f64 - positive;
            right += positive * (below + 0.5 * negative);
            below += negative;
            at += equal;
        }
        pairs += below * (fold.len() as f64 - below);
    }
    (pairs > 0.0).then(|| right / pairs)
}

/// Average precision within each fold, weighted by its positive rows.
pub(super) fn average_precision_within(folds: &[Vec<(bool, f64)>]) -> Option<f64> {
    let (mut sum, mut weight) = (0.0, 0.0);
    for fold in folds {
        let (label, score): (Vec<bool>, Vec<f64>) = fold.iter().copied().unzip();
        let positive = label.iter().filter(|l| **l).count() as f64;
        let Ok(precision) = average_precision(&label, &score) else { continue };
        sum += precision * positive;
        weight += positive;
    }
    (weight > 0.0).then(|| sum / weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_metrics::roc_auc;

    #[test]
    fn rows_of_two_folds_are_not_compared() {
        let labels = [vec![(true, 2.0), (false, 1.0)], vec![(true, -1.0), (false, -2.0)]];
        assert_eq!(auroc_within(&labels), Some(1.0));
        assert_eq!(auroc_within(&[vec![(true, 1.0)], vec![(false, 2.0)]]), None);
        assert_eq!(auroc_within(&[vec![(true, 0.3), (false, 0.3), (false, 0.3)]]), Some(0.5));
    }

    #[test]
    fn one_fold_is_the_metric_itself() {
        let label = [true, false, true, false, true, false, false];
        let score = [0.9, 0.8, 0.8, 0.3, 0.2, 0.2, 0.1];
        let fold: Vec<(bool, f64)> = label.into_iter().zip(score).collect();
        assert!(
            (auroc_within(std::slice::from_ref(&fold)).unwrap() - roc_auc(&label, &score).unwrap()).abs()
                < 1e-15
        );
        let precision = average_precision(&label, &score).unwrap();
        assert!((average_precision_within(&[fold]).unwrap() - precision).abs() < 1e-15);
    }
}

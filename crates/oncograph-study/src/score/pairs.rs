//! Ranking metrics over pairs of rows of one fold.

use oncograph_metrics::{Survival, average_precision, concordance, dynamic_auc};
use std::collections::BTreeMap;

/// Rows by the fold that held them out.
pub(crate) fn by_fold<T>(rows: impl Iterator<Item = (usize, T)>) -> Vec<Vec<T>> {
    let mut folds: BTreeMap<usize, Vec<T>> = BTreeMap::new();
    for (fold, row) in rows {
        folds.entry(fold).or_default().push(row);
    }
    folds.into_values().collect()
}

/// The share of comparable pairs of one fold that are in the right order, ties as halves, over all folds.
pub(super) fn concordance_within(folds: &[Vec<(f64, bool, f64)>]) -> Option<f64> {
    let (mut right, mut pairs) = (0.0, 0.0);
    for fold in folds {
        let (time, event, risk) = columns(fold);
        // A fold without a comparable pair adds none.
        let Ok(c) = Survival::new(&time, &event).and_then(|s| concordance(&s, &risk)) else { continue };
        right += c.concordant as f64 + 0.5 * c.tied_risk as f64;
        pairs += (c.concordant + c.discordant + c.tied_risk) as f64;
    }
    (pairs > 0.0).then(|| right / pairs)
}

/// Uno's cumulative/dynamic AUC at `years`, within each fold, weighted by the rows of a fold; censoring is estimated on all
/// rows together.
pub(super) fn dynamic_auc_within(folds: &[Vec<(f64, bool, f64)>], years: f64) -> Option<f64> {
    let all: Vec<(f64, bool, f64)> = folds.concat();
    let (time, event, _) = columns(&all);
    let everyone = Survival::new(&time, &event).ok()?;
    let (mut sum, mut weight) = (0.0, 0.0);
    for fold in folds {
        let (time, event, risk) = columns(fold);
        let Ok(survival) = Survival::new(&time, &event) else { continue };
        let Some(auc) =
            dynamic_auc(&everyone, &survival, &risk, &[years]).ok().and_then(|a| a.auc.first().copied())
        else {
            continue;
        };
        sum += auc * fold.len() as f64;
        weight += fold.len() as f64;
    }
    (weight > 0.0).then(|| sum / weight)
}

fn columns(fold: &[(f64, bool, f64)]) -> (Vec<f64>, Vec<bool>, Vec<f64>) {
    let time = fold.iter().map(|r| r.0).collect();
    (time, fold.iter().map(|r| r.1).collect(), fold.iter().map(|r| r.2).collect())
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
        // Right in each fold; the second fold's risks lie far above the first's.
        let right = [vec![(1.0, true, 2.0), (2.0, true, 1.0)], vec![(3.0, true, 12.0), (4.0, true, 11.0)]];
        assert_eq!(concordance_within(&right), Some(1.0));
        let half = [vec![(1.0, true, 1.0), (2.0, true, 2.0)], vec![(3.0, true, 12.0), (4.0, true, 11.0)]];
        assert_eq!(concordance_within(&half), Some(0.5));
        assert_eq!(concordance_within(&[vec![(1.0, true, 1.0)], vec![(2.0, true, 2.0)]]), None);
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
        let rows =
            vec![(1.0, true, 3.0), (2.5, false, 1.0), (3.5, true, 2.0), (4.0, false, 0.0), (5.0, true, 0.5)];
        let (time, event, risk) = columns(&rows);
        let s = Survival::new(&time, &event).unwrap();
        assert_eq!(
            dynamic_auc_within(&[rows], 3.0),
            Some(dynamic_auc(&s, &s, &risk, &[3.0]).unwrap().auc[0])
        );
    }
}

use crate::{Error, Result};
use oncograph_metrics::kendall;
use std::collections::BTreeSet;

/// How alike several rankings of the same features are, for example those of bootstrap samples or folds.
#[derive(Debug, Clone, PartialEq)]
pub struct RankStability {
    /// Kendall's tau-b between each pair of rankings, averaged; 1 is the same order.
    pub kendall: f64,
    /// The share of the top features that two rankings have in common, averaged over pairs.
    pub top_overlap: f64,
    /// What `top_overlap` would be of rankings at random: top / features.
    pub chance: f64,
}

/// The stability of rankings by the scores of the same features; larger scores rank first, ties by position.
///
/// # Errors
/// [`Error::Input`] for fewer than two rankings, rankings of different length, scores that are not finite or a `top`
/// beyond the features; an error of the statistics, for example where all scores of a ranking are equal.
///
/// # Example
/// ```
/// let stability = oncograph_explain::rank_stability(&[vec![3.0, 2.0, 1.0], vec![3.0, 1.0, 2.0]], 2)?;
/// assert!((stability.kendall - 1.0 / 3.0).abs() < 1e-12);
/// assert_eq!(stability.top_overlap, 0.5);
/// # Ok::<(), oncograph_explain::Error>(())
/// ```
pub fn rank_stability(scores: &[Vec<f64>], top: usize) -> Result<RankStability> {
    const OP: &str = "rank_stability";
    let width = scores.first().map_or(0, Vec::len);
    let fits = |s: &Vec<f64>| s.len() == width && s.iter().all(|v| v.is_finite());
    if scores.len() < 2 || !scores.iter().all(fits) || top == 0 || top > width {
        let got = format!("{} of {width}, top {top}", scores.len());
        return Err(Error::input(OP, "two or more finite rankings of one length and a top within it", got));
    }
    let tops: Vec<BTreeSet<usize>> = scores.iter().map(|s| best(s, top)).collect();
    let (mut tau, mut overlap, mut pairs) = (0.0, 0.0, 0.0);
    for i in 0..scores.len() {
        for j in i + 1..scores.len() {
            tau += kendall(&scores[i], &scores[j])?.coefficient;
            overlap += tops[i].intersection(&tops[j]).count() as f64 / top as f64;
            pairs += 1.0;
        }
    }
    Ok(RankStability {
        kendall: tau / pairs,
        top_overlap: overlap / pairs,
        chance: top as f64 / width as f64,
    })
}

fn best(scores: &[f64], top: usize) -> BTreeSet<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    order.into_iter().take(top).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rankings_are_stable_and_reversed_ones_are_not() {
        let up: Vec<f64> = (0..10).map(f64::from).collect();
        let down: Vec<f64> = up.iter().map(|v| -v).collect();
        let same = rank_stability(&[up.clone(), up.clone()], 3).unwrap();
        assert!((same.kendall - 1.0).abs() < 1e-12);
        assert_eq!((same.top_overlap, same.chance), (1.0, 0.3));
        let other = rank_stability(&[up.clone(), down], 3).unwrap();
        assert!((other.kendall + 1.0).abs() < 1e-12 && other.top_overlap == 0.0);
        assert!(
            rank_stability(std::slice::from_ref(&up), 3).is_err()
                && rank_stability(&[up.clone(), up], 11).is_err()
        );
    }
}

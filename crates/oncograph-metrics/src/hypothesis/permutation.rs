use crate::{Error, Result, check};
use rand::{Rng, seq::SliceRandom};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Permutations drawn at once: bounds the memory, does not change the result.
const CHUNK: usize = 256;

/// Result of a permutation test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PermutationTest {
    /// The statistic of the data as they are.
    pub statistic: f64,
    /// (1 + permutations at least as large) / (1 + permutations with a value).
    pub p_value: f64,
    /// Permutations drawn.
    pub permutations: usize,
    /// Permutations on which the statistic has no value; they do not count in the p-value.
    pub undefined: usize,
}

/// Permutation test: how often is a statistic as large when subjects are shuffled?
///
/// `statistic` receives a permutation of `0..n` and pairs, for instance, prediction `i` with the outcome of
/// subject `permutation[i]`; larger must mean a stronger association. Permutations are drawn one after another
/// from `rng` and evaluated in parallel: the result does not depend on the number of threads.
///
/// # Errors
/// No subjects or permutations; a statistic that has no value (or NaN) on the data or on every permutation.
///
/// # Example
/// ```
/// use oncograph_metrics::{permutation_test, roc_auc};
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
/// let label = [false, false, false, false, true, true, true, true];
/// let score = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
/// let auc = |p: &[usize]| roc_auc(&p.iter().map(|&i| label[i]).collect::<Vec<_>>(), &score).ok();
/// let test = permutation_test(8, 999, &mut ChaCha8Rng::seed_from_u64(1), auc)?;
/// assert!(test.p_value < 0.05);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Phipson & Smyth 2010: the added one keeps p above zero. `scipy.stats.permutation_test`.
pub fn permutation_test<R, F>(
    n: usize,
    permutations: usize,
    rng: &mut R,
    statistic: F,
) -> Result<PermutationTest>
where
    R: Rng + ?Sized,
    F: Fn(&[usize]) -> Option<f64> + Sync,
{
    let operation = "permutation_test";
    check::at_least(operation, "n", n, 1)?;
    check::at_least(operation, "permutations", permutations, 1)?;
    let evaluate = |p: &[usize]| statistic(p).filter(|v| !v.is_nan());
    let mut order: Vec<usize> = (0..n).collect();
    let observed = evaluate(&order)
        .ok_or_else(|| Error::undefined(operation, "the statistic has no value on the data"))?;
    // Summation order may differ between permutations: equal but for rounding counts as equal.
    let limit = observed - 1e-12 * observed.abs();
    let (mut larger, mut defined, mut drawn) = (0usize, 0usize, 0);
    while drawn < permutations {
        let chunk: Vec<Vec<usize>> = (0..CHUNK.min(permutations - drawn))
            .map(|_| {
                order.shuffle(rng);
                order.clone()
            })
            .collect();
        drawn += chunk.len();
        let values: Vec<Option<f64>> = chunk.par_iter().map(|p| evaluate(p)).collect();
        defined += values.iter().flatten().count();
        larger += values.iter().flatten().filter(|v| **v >= limit).count();
    }
    if defined == 0 {
        return Err(Error::undefined(operation, "the statistic has no value on any permutation"));
    }
    let p_value = (1 + larger) as f64 / (1 + defined) as f64;
    Ok(PermutationTest { statistic: observed, p_value, permutations, undefined: permutations - defined })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    #[test]
    fn a_constant_statistic_has_p_one_and_an_undefined_one_fails() {
        let rng = || ChaCha8Rng::seed_from_u64(3);
        assert_eq!(permutation_test(4, 300, &mut rng(), |_| Some(2.0)).unwrap().p_value, 1.0);
        assert!(permutation_test(4, 10, &mut rng(), |_| None).is_err());
        let first = |p: &[usize]| (p[0] == 0).then_some(1.0);
        let test = permutation_test(4, 400, &mut rng(), first).unwrap();
        assert!(test.undefined > 200 && test.undefined < 400);
    }

    #[test]
    fn p_is_close_to_the_exact_share() {
        // Of 24 orders of four, one is ascending.
        let ascending = |p: &[usize]| Some(if p.is_sorted() { 1.0 } else { 0.0 });
        let test = permutation_test(4, 4000, &mut ChaCha8Rng::seed_from_u64(5), ascending).unwrap();
        assert!((test.p_value - 1.0 / 24.0).abs() < 0.012, "{}", test.p_value);
    }
}

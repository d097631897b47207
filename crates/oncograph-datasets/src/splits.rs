//! Stratified splits: k-fold, repeated k-fold and train / validation / test.
//!
//! Every split is a function of the strata and a [`Seed`] only. Indices refer to positions in the slice of strata.

use crate::error::{Error, Result};
use oncograph_core::{Seed, Split};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One fold of a cross-validation; both lists are sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fold {
    /// Which repetition, from 0.
    pub repeat: usize,
    /// Which fold of it, from 0.
    pub fold: usize,
    /// Indices to fit on.
    pub train: Vec<usize>,
    /// Indices held out: each index is held out once per repetition.
    pub test: Vec<usize>,
}

/// The strata of two yes/no outcomes taken together: `2 * first + second`, so 0 to 3.
///
/// # Errors
/// Slices of different length.
///
/// # Example
/// ```
/// use oncograph_datasets::splits::joint_strata;
///
/// let recurred = [true, true, false, false];
/// let died = [true, false, true, false];
/// assert_eq!(joint_strata(&recurred, &died)?, [3, 2, 1, 0]);
/// # Ok::<(), oncograph_datasets::Error>(())
/// ```
pub fn joint_strata(first: &[bool], second: &[bool]) -> Result<Vec<usize>> {
    if first.len() != second.len() {
        let expected = format!("of the same length as the first, {}", first.len());
        return Err(Error::argument("joint_strata", "second", expected, second.len()));
    }
    Ok(first.iter().zip(second).map(|(&a, &b)| 2 * usize::from(a) + usize::from(b)).collect())
}

/// Joins strata until each has at least `minimum` members (or one is left): the smallest with the next smallest.
///
/// A joined stratum carries the smaller of the two labels. For small cohorts, where a rare combination of outcomes
/// cannot be spread over the folds.
pub fn merge_small_strata(strata: &[usize], minimum: usize) -> Vec<usize> {
    let mut labels = strata.to_vec();
    loop {
        let mut sizes: Vec<(usize, usize)> = members(&labels).iter().map(|(&s, m)| (m.len(), s)).collect();
        sizes.sort_unstable();
        match sizes.as_slice() {
            [(count, a), (_, b), ..] if *count < minimum => {
                let (keep, gone) = (*a.min(b), *a.max(b));
                labels.iter_mut().filter(|l| **l == gone).for_each(|l| *l = keep);
            }
            _ => return labels,
        }
    }
}

/// Splits into `k` folds; see [`repeated_stratified_k_fold`].
///
/// # Errors
/// As [`repeated_stratified_k_fold`].
pub fn stratified_k_fold(strata: &[usize], k: usize, seed: Seed) -> Result<Vec<Fold>> {
    repeated_stratified_k_fold(strata, k, 1, seed)
}

/// `repeats` independent partitions into `k` folds, in order of repetition and fold.
///
/// The shuffled members of one stratum after the other are dealt round to the folds, so that within a repetition
/// fold sizes differ by at most 1, in total and for each stratum.
///
/// # Errors
/// `k < 2`, `repeats = 0`, no strata, or [`Error::Stratum`] where a stratum has fewer than `k` members (see
/// [`merge_small_strata`]).
///
/// # Example
/// ```
/// use oncograph_datasets::splits::repeated_stratified_k_fold;
/// use oncograph_core::Seed;
///
/// let strata = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1];
/// let folds = repeated_stratified_k_fold(&strata, 2, 5, Seed::new(1))?;
/// assert_eq!(folds.len(), 10);
/// assert_eq!(folds[0].test.iter().filter(|&&i| strata[i] == 0).count(), 2);
/// # Ok::<(), oncograph_datasets::Error>(())
/// ```
pub fn repeated_stratified_k_fold(
    strata: &[usize],
    k: usize,
    repeats: usize,
    seed: Seed,
) -> Result<Vec<Fold>> {
    const OP: &str = "stratified_k_fold";
    if k < 2 {
        return Err(Error::argument(OP, "k", "at least 2", k));
    }
    if repeats == 0 {
        return Err(Error::argument(OP, "repeats", "at least 1", repeats));
    }
    let members = checked(OP, strata, k)?;
    let mut folds = Vec::with_capacity(k * repeats);
    for repeat in 0..repeats {
        let mut rng = seed.stream("k-fold").at(repeat as u64).rng();
        // The folds' order is shuffled, or the first folds would always be the larger ones.
        let mut order: Vec<usize> = (0..k).collect();
        order.shuffle(&mut rng);
        let mut fold_of = vec![0; strata.len()];
        let mut dealt = 0;
        for stratum in members.values() {
            let mut shuffled = stratum.clone();
            shuffled.shuffle(&mut rng);
            for index in shuffled {
                fold_of[index] = order[dealt % k];
                dealt += 1;
            }
        }
        folds.extend((0..k).map(|fold| {
            let (test, train) = (0..strata.len()).partition(|&i| fold_of[i] == fold);
            Fold { repeat, fold, train, test }
        }));
    }
    Ok(folds)
}

/// Splits into train, validation and test in the given proportions; the lists are sorted and share no index.
///
/// The three totals come from the largest-remainder rule (of equal remainders the later part is rounded up: 197 at
/// 6:2:2 gives 118 / 39 / 40), and the share of every stratum in every part is its exact share rounded up or down.
///
/// # Errors
/// Fractions that are negative or do not sum to 1 (within 1e-9), no strata, or [`Error::Stratum`] where a stratum
/// is too small to reach every part with a positive fraction (see [`merge_small_strata`]).
///
/// # Example
/// ```
/// use oncograph_datasets::splits::stratified_split;
/// use oncograph_core::Seed;
///
/// let strata: Vec<usize> = (0..50).map(|i| i % 2).collect();
/// let split = stratified_split(&strata, [0.6, 0.2, 0.2], Seed::new(3))?;
/// assert_eq!((split.train.len(), split.validation.len(), split.test.len()), (30, 10, 10));
/// # Ok::<(), oncograph_datasets::Error>(())
/// ```
pub fn stratified_split(strata: &[usize], fractions: [f64; 3], seed: Seed) -> Result<Split> {
    const OP: &str = "stratified_split";
    let sum: f64 = fractions.iter().sum();
    if fractions.iter().any(|f| !(0.0..=1.0).contains(f)) || (sum - 1.0).abs() > 1e-9 {
        return Err(Error::argument(OP, "fractions", "non-negative with sum 1", format!("{fractions:?}")));
    }
    let needed = fractions.iter().filter(|f| **f > 0.0).count();
    let members = checked(OP, strata, needed)?;
    let sizes: Vec<usize> = members.values().map(Vec::len).collect();
    let counts = apportion(&sizes, fractions);
    let mut parts: [Vec<usize>; 3] = Default::default();
    let mut rng = seed.stream("split").rng();
    for ((stratum, indices), count) in members.iter().zip(&counts) {
        if (0..3).any(|p| fractions[p] > 0.0 && count[p] == 0) {
            // Enough members that even the smallest share reaches one.
            let smallest = fractions.iter().copied().filter(|f| *f > 0.0).fold(1.0, f64::min);
            let expected = (1.0 / smallest - 1e-9).ceil() as usize;
            let got = indices.len();
            return Err(Error::Stratum { operation: OP, stratum: *stratum, expected, got });
        }
        let mut shuffled = indices.clone();
        shuffled.shuffle(&mut rng);
        let mut rest = shuffled.as_slice();
        for part in 0..3 {
            let (taken, left) = rest.split_at(count[part]);
            parts[part].extend(taken);
            rest = left;
        }
    }
    parts.iter_mut().for_each(|p| p.sort_unstable());
    let [train, validation, test] = parts;
    Ok(Split::new(train, validation, test))
}

/// Members of each stratum, in order of the labels.
fn members(strata: &[usize]) -> BTreeMap<usize, Vec<usize>> {
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, &stratum) in strata.iter().enumerate() {
        members.entry(stratum).or_default().push(index);
    }
    members
}

fn checked(operation: &'static str, strata: &[usize], minimum: usize) -> Result<BTreeMap<usize, Vec<usize>>> {
    if strata.is_empty() {
        return Err(Error::argument(operation, "strata", "not empty", 0));
    }
    let members = members(strata);
    if let Some((&stratum, small)) = members.iter().find(|(_, m)| m.len() < minimum) {
        return Err(Error::Stratum { operation, stratum, expected: minimum, got: small.len() });
    }
    Ok(members)
}

/// How many members of each stratum go to each part: rows sum to the sizes, columns to largest-remainder totals,
/// every cell is its exact value rounded up or down.
fn apportion(sizes: &[usize], fractions: [f64; 3]) -> Vec<[usize; 3]> {
    let floor = |exact: f64| (exact + 1e-9).floor();
    let n: usize = sizes.iter().sum();
    let exact: Vec<[f64; 3]> = sizes.iter().map(|&s| fractions.map(|f| f * s as f64)).collect();
    let base: Vec<[usize; 3]> = exact.iter().map(|row| row.map(|e| floor(e) as usize)).collect();
    let remainder: Vec<[f64; 3]> = exact.iter().map(|row| row.map(|e| e - floor(e))).collect();
    let totals = fractions.map(|f| f * n as f64);
    let spare = n - totals.iter().map(|&t| floor(t) as usize).sum::<usize>();
    // Which totals are rounded up: the best choice by remainder for which the cells can be filled. One always can
    // (a table can be rounded with its margins, Cox and Ernst 1982), the first tried nearly always.
    let gain = |up: &usize| -> f64 {
        (0..3).filter(|p| up >> p & 1 == 1).map(|p| totals[p] - floor(totals[p]) + 1e-6 * p as f64).sum()
    };
    let mut choices: Vec<usize> = (0..8).filter(|up: &usize| up.count_ones() as usize == spare).collect();
    choices.sort_by(|a, b| gain(b).total_cmp(&gain(a)));
    for up in choices {
        let mut room: [usize; 3] = std::array::from_fn(|p| {
            let total = floor(totals[p]) as usize + (up >> p & 1);
            total.saturating_sub(base.iter().map(|row| row[p]).sum())
        });
        let mut extra = vec![[false; 3]; sizes.len()];
        let filled = (0..sizes.len()).all(|row| {
            let open = sizes[row] - base[row].iter().sum::<usize>();
            (0..open).all(|_| place(row, &remainder, &mut extra, &mut room, &mut vec![false; sizes.len()]))
        });
        if filled {
            return (0..sizes.len())
                .map(|r| std::array::from_fn(|p| base[r][p] + usize::from(extra[r][p])))
                .collect();
        }
    }
    base
}

/// Gives `row` one more unit, moving the units of other rows where that is needed (an augmenting path).
fn place(
    row: usize,
    remainder: &[[f64; 3]],
    extra: &mut Vec<[bool; 3]>,
    room: &mut [usize; 3],
    seen: &mut Vec<bool>,
) -> bool {
    seen[row] = true;
    let mut order = [0, 1, 2];
    order.sort_by(|&a, &b| remainder[row][b].total_cmp(&remainder[row][a]));
    let open = |row: usize, p: usize, extra: &[[bool; 3]]| remainder[row][p] > 1e-9 && !extra[row][p];
    if let Some(&p) = order.iter().find(|&&p| room[p] > 0 && open(row, p, extra)) {
        room[p] -= 1;
        extra[row][p] = true;
        return true;
    }
    for p in order {
        if !open(row, p, extra) {
            continue;
        }
        for other in 0..extra.len() {
            if extra[other][p] && !seen[other] && place(other, remainder, extra, room, seen) {
                extra[other][p] = false;
                extra[row][p] = true;
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_published_cohort_splits_118_39_40() {
        // The four joint strata of the 197 patients: 59 neither, 7 death only, 31 recurrence only, 100 both.
        let strata: Vec<usize> =
            [(0, 59), (1, 7), (2, 31), (3, 100)].iter().flat_map(|&(s, n)| vec![s; n]).collect();
        let split = stratified_split(&strata, [0.6, 0.2, 0.2], Seed::new(0)).unwrap();
        assert_eq!([split.train.len(), split.validation.len(), split.test.len()], [118, 39, 40]);
        let folds = repeated_stratified_k_fold(&strata, 5, 5, Seed::new(0)).unwrap();
        assert_eq!(folds.len(), 25);
        assert!(folds.iter().all(|f| (39..=40).contains(&f.test.len())));
        assert_ne!(folds[0].test, folds[5].test);
    }

    #[test]
    fn what_cannot_be_filled_is_an_error_that_names_the_stratum() {
        let strata = [0, 0, 0, 0, 0, 1, 1];
        let error = stratified_k_fold(&strata, 3, Seed::new(0)).unwrap_err();
        assert_eq!(error.to_string(), "stratified_k_fold: stratum 1 has 2 members, expected at least 3");
        assert!(matches!(
            stratified_split(&strata, [0.6, 0.2, 0.2], Seed::new(0)),
            Err(Error::Stratum { stratum: 1, .. })
        ));
        assert!(stratified_k_fold(&strata, 1, Seed::new(0)).is_err());
        assert!(stratified_k_fold(&[], 2, Seed::new(0)).is_err());
        assert!(repeated_stratified_k_fold(&strata, 2, 0, Seed::new(0)).is_err());
        for bad in [[0.5, 0.2, 0.2], [1.2, -0.2, 0.0], [f64::NAN, 0.5, 0.5]] {
            assert!(stratified_split(&strata, bad, Seed::new(0)).is_err());
        }
        assert!(joint_strata(&[true], &[]).is_err());
    }

    #[test]
    fn small_strata_are_joined_with_the_next_smallest() {
        let strata = [0, 0, 0, 0, 1, 2, 2, 2, 3, 3];
        assert_eq!(merge_small_strata(&strata, 3), [0, 0, 0, 0, 1, 2, 2, 2, 1, 1]);
        assert_eq!(merge_small_strata(&strata, 1), strata);
        assert_eq!(merge_small_strata(&strata, 100), [0; 10]);
    }

    fn strata() -> impl Strategy<Value = Vec<usize>> {
        proptest::collection::vec(5_usize..40, 1..6).prop_flat_map(|sizes| {
            let all: Vec<usize> = sizes.iter().enumerate().flat_map(|(s, &n)| vec![s; n]).collect();
            Just(all).prop_shuffle()
        })
    }

    proptest! {
        #[test]
        fn folds_partition_each_repeat_and_balance_each_stratum(s in strata(), k in 2_usize..6, seed in 0_u64..99) {
            let folds = repeated_stratified_k_fold(&s, k, 3, Seed::new(seed)).unwrap();
            for repeat in folds.chunks(k) {
                let mut all: Vec<usize> = repeat.iter().flat_map(|f| f.test.clone()).collect();
                all.sort_unstable();
                prop_assert_eq!(all, (0..s.len()).collect::<Vec<_>>());
                for stratum in 0..=s.iter().copied().max().unwrap() {
                    let count = |f: &Fold| f.test.iter().filter(|&&i| s[i] == stratum).count();
                    let counts: Vec<usize> = repeat.iter().map(count).collect();
                    prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
                }
                let sizes: Vec<usize> = repeat.iter().map(|f| f.test.len()).collect();
                prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
                for fold in repeat {
                    prop_assert_eq!(fold.train.len() + fold.test.len(), s.len());
                    prop_assert!(fold.train.iter().all(|i| fold.test.binary_search(i).is_err()));
                }
            }
            prop_assert_eq!(&folds, &repeated_stratified_k_fold(&s, k, 3, Seed::new(seed)).unwrap());
        }

        #[test]
        fn split_cells_and_totals_are_exact_shares_rounded(s in strata(), seed in 0_u64..99) {
            let fractions = [0.6, 0.2, 0.2];
            let split = stratified_split(&s, fractions, Seed::new(seed)).unwrap();
            let parts = [&split.train, &split.validation, &split.test];
            let mut all: Vec<usize> = parts.iter().flat_map(|p| p.iter().copied()).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..s.len()).collect::<Vec<_>>());
            for (part, fraction) in parts.iter().zip(fractions) {
                prop_assert!((part.len() as f64 - fraction * s.len() as f64).abs() < 1.0);
                for stratum in 0..=s.iter().copied().max().unwrap() {
                    let size = s.iter().filter(|&&x| x == stratum).count() as f64;
                    let got = part.iter().filter(|&&i| s[i] == stratum).count() as f64;
                    prop_assert!((got - fraction * size).abs() < 1.0);
                }
            }
            prop_assert_eq!(&split, &stratified_split(&s, fractions, Seed::new(seed)).unwrap());
        }
    }
}

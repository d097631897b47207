//! Which scans, samples and rows are of one patient: what a split divides is patients.

use crate::error::{Error, Result};
use crate::splits::stratified_split;
use oncograph_core::{Seed, Split};
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

/// Of each row, which patient it is of.
///
/// # Example
/// ```
/// use oncograph_datasets::patients::PatientGroups;
///
/// let groups = PatientGroups::by(["A", "B", "A", "C"]).joined([1, 2, 3, 2]);
/// assert_eq!(groups.numbers(), [0, 1, 0, 1]);
/// assert_eq!(groups.count(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientGroups(Vec<usize>);

impl PatientGroups {
    /// Rows with equal keys are of one patient.
    pub fn by<K: Ord>(keys: impl IntoIterator<Item = K>) -> Self {
        let mut numbers = BTreeMap::new();
        let number = |key| {
            let next = numbers.len();
            *numbers.entry(key).or_insert(next)
        };
        PatientGroups(keys.into_iter().map(number).collect())
    }

    /// Rows with equal keys are of one patient, too, as are all rows of the patients who are joined by it.
    pub fn joined<K: Ord>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        let mut first = BTreeMap::new();
        for (row, key) in keys.into_iter().enumerate().take(self.0.len()) {
            let (one, other) = (self.0[*first.entry(key).or_insert(row)], self.0[row]);
            let (keep, gone) = (one.min(other), one.max(other));
            self.0.iter_mut().filter(|n| **n == gone).for_each(|n| *n = keep);
        }
        PatientGroups::by(self.0)
    }

    /// The number of each row's patient, from 0 in the order in which patients first appear.
    pub fn numbers(&self) -> &[usize] {
        &self.0
    }

    /// How many patients there are.
    pub fn count(&self) -> usize {
        self.0.iter().max().map_or(0, |last| last + 1)
    }

    /// Checks that no patient is on two sides of a split.
    ///
    /// # Errors
    /// [`Error::Argument`] names the two rows.
    pub fn check(&self, split: &Split) -> Result<()> {
        let lists = [("train", &split.train), ("validation", &split.validation), ("test", &split.test)];
        let mut side = BTreeMap::new();
        for (name, rows) in lists {
            for &row in rows {
                let &mut (other, first) = side.entry(self.0.get(row)).or_insert((name, row));
                if other != name {
                    let got = format!("one with row {first} in {other} and row {row} in {name}");
                    return Err(Error::argument("Split", "patients", "all rows of each on one side", got));
                }
            }
        }
        Ok(())
    }

    /// The patients who have any of some rows, in the order in which they appear in them, each with those rows.
    pub fn among(&self, rows: &[usize]) -> PatientRows {
        let mut place = BTreeMap::new();
        let mut members: Vec<Vec<usize>> = vec![];
        for &row in rows {
            let at = *place.entry(self.0[row]).or_insert(members.len());
            if at == members.len() {
                members.push(vec![]);
            }
            members[at].push(row);
        }
        PatientRows(members)
    }
}

/// Some patients with their rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientRows(Vec<Vec<usize>>);

impl PatientRows {
    /// Some of the patients, by their places.
    pub fn select(&self, patients: &[usize]) -> Self {
        PatientRows(patients.iter().map(|&p| self.0[p].clone()).collect())
    }

    /// The rows of each patient.
    pub fn members(&self) -> &[Vec<usize>] {
        &self.0
    }

    /// The stratum of each patient, which is that of the first row: it stands for all in balancing.
    pub fn strata(&self, of_rows: &[usize]) -> Vec<usize> {
        self.0.iter().map(|rows| of_rows[rows[0]]).collect()
    }

    /// The rows of some of the patients, ascending.
    pub fn rows(&self, patients: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut rows: Vec<usize> = patients.into_iter().flat_map(|p| self.0[p].iter().copied()).collect();
        rows.sort_unstable();
        rows
    }

    /// As [`stratified_split`], of patients with their `strata`: all rows of a patient go to one part.
    ///
    /// # Errors
    /// As [`stratified_split`].
    pub fn split(&self, strata: &[usize], fractions: [f64; 3], seed: Seed) -> Result<Split> {
        let parts = stratified_split(strata, fractions, seed)?;
        let [train, validation, test] =
            [parts.train, parts.validation, parts.test].map(|patients| self.rows(patients));
        Ok(Split::new(train, validation, test))
    }

    /// The rows of as many patients as `count`, drawn, and those of the others.
    pub fn draw(&self, count: usize, seed: Seed) -> [Vec<usize>; 2] {
        let mut drawn: Vec<usize> = (0..self.0.len()).collect();
        drawn.shuffle(&mut seed.rng());
        let others = drawn.split_off(count.min(drawn.len()));
        [self.rows(drawn), self.rows(others)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_reach_over_several_rows() {
        // By name 0 = 2 and 1 = 3; by content 2 = 3, so all four are one.
        let groups = PatientGroups::by(["a", "b", "a", "b", "c"]).joined([0, 1, 2, 2, 3]);
        assert_eq!(groups.numbers(), [0, 0, 0, 0, 1]);
        let among = groups.among(&[4, 1, 3]);
        assert_eq!(among.members(), [vec![4], vec![1, 3]]);
        assert_eq!((among.strata(&[0, 7, 0, 5, 9]), among.rows([1])), (vec![9, 7], vec![1, 3]));
    }

    #[test]
    fn no_patient_is_in_two_parts() {
        let groups = PatientGroups::by((0..90).map(|i| i % 30));
        let rows: Vec<usize> = (0..90).collect();
        let patients = groups.among(&rows);
        let strata = patients.strata(&(0..90).map(|i| i % 2).collect::<Vec<_>>());
        let split = patients.split(&strata, [0.35, 0.35, 0.3], Seed::new(1)).unwrap();
        split.check(90).unwrap();
        groups.check(&split).unwrap();
        let leak = groups.check(&Split::new(vec![0, 1], vec![], vec![2, 31])).unwrap_err().to_string();
        assert!(leak.contains("row 1 in train and row 31 in test"), "{leak}");
        let [drawn, rest] = patients.draw(6, Seed::new(1));
        assert_eq!((rest.len(), drawn.len()), (72, 18));
        for part in [&split.train, &split.validation, &split.test, &rest, &drawn] {
            assert!(part.iter().all(|i| part.contains(&((i + 30) % 90))), "{part:?}");
        }
        assert!(drawn[..6] != [0, 1, 2, 3, 4, 5] && drawn[..6] != [24, 25, 26, 27, 28, 29], "{drawn:?}");
    }
}

use crate::{Cohort, Error, Result};
use oncograph_core::{Argument, Seed, Split};
use oncograph_datasets::patients::{PatientGroups, PatientRows};
use oncograph_datasets::splits::{Fold, merge_small_strata, repeated_stratified_k_fold};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which rows are held out, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Stratified folds, several times over.
    CrossValidation {
        /// Folds of each repetition.
        folds: usize,
        /// Repetitions.
        repeats: usize,
    },
    /// One centre at a time; those with fewer than `least` patients are held out together.
    LeaveOneCentreOut {
        /// The patients that a centre has at least to be held out alone.
        least: usize,
    },
    /// Splits that were made elsewhere.
    Given(Vec<FoldSplit>),
}

/// One fold with the inner split of its training rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldSplit {
    /// The repetition, from 0.
    pub repeat: usize,
    /// The fold, from 0.
    pub fold: usize,
    /// Who is fitted on, who chooses the model, and who is held out.
    pub split: Split,
}

/// A stratum of the inner split with fewer members is joined to the next smallest.
const LEAST_INNER: usize = 5;

impl Plan {
    /// The splits of a cohort; `inner` is the share of training rows that choose the model.
    ///
    /// # Errors
    /// Too few patients, too few centres, a given split that does not fit the cohort or has a patient on two sides.
    pub fn splits(&self, data: &(impl Cohort + ?Sized), inner: f64, seed: Seed) -> Result<Vec<FoldSplit>> {
        let all: Vec<usize> = (0..data.ids().len()).collect();
        self.splits_of(data, &all, inner, seed)
    }

    /// As [`Plan::splits`], of some of the rows alone.
    pub(crate) fn splits_of(
        &self,
        data: &(impl Cohort + ?Sized),
        among: &[usize],
        inner: f64,
        seed: Seed,
    ) -> Result<Vec<FoldSplit>> {
        let rows = data.ids().len();
        let (patients, strata) = patients_of(data, among)?;
        let folds = match self {
            Plan::CrossValidation { folds, repeats } => {
                let most = strata.len();
                if !(2..=most).contains(folds) {
                    let expected = format!("from 2 to {most}, the number of patients");
                    return Err(Argument::new("cross-validation", "--folds", expected, folds).into());
                }
                if *repeats == 0 {
                    return Err(Argument::new("cross-validation", "--repeats", "at least 1", 0).into());
                }
                let strata = merge_small_strata(&strata, *folds);
                repeated_stratified_k_fold(&strata, *folds, *repeats, seed.stream("folds"))?
            }
            Plan::LeaveOneCentreOut { least } => leave_one_out(&centres_of(data, &patients, *least)?),
            Plan::Given(splits) => {
                let groups = PatientGroups::by(data.groups().unwrap_or_else(|| (0..rows).collect()));
                for s in splits {
                    s.split.check(rows)?;
                    groups.check(&s.split)?;
                }
                return Ok(splits.clone());
            }
        };
        let one = |fold: Fold| {
            let seed = seed.stream("inner").at(fold.repeat as u64).at(fold.fold as u64);
            let test = patients.rows(fold.test.iter().copied());
            let strata: Vec<usize> = fold.train.iter().map(|&p| strata[p]).collect();
            let parts = inner_split(&patients.select(&fold.train), &strata, inner, seed)?;
            Ok(FoldSplit {
                repeat: fold.repeat,
                fold: fold.fold,
                split: Split::new(parts.train, parts.validation, test),
            })
        };
        folds.into_iter().map(one).collect()
    }

    /// How many repetitions there are.
    pub fn repeats(&self) -> usize {
        match self {
            Plan::CrossValidation { repeats, .. } => *repeats,
            Plan::LeaveOneCentreOut { .. } => 1,
            Plan::Given(splits) => splits.iter().map(|s| s.repeat + 1).max().unwrap_or(0),
        }
    }
}

/// The patients whose rows are among some, each with a stratum: what is split.
fn patients_of(data: &(impl Cohort + ?Sized), among: &[usize]) -> Result<(PatientRows, Vec<usize>)> {
    let n = data.ids().len();
    let strata = data.strata();
    let fits = |what: &'static str, got: usize| match got == n {
        true => Ok(()),
        false => Err(Error::from(Argument::new("Cohort", what, format!("one for each of {n} rows"), got))),
    };
    fits("strata", strata.len())?;
    for task in data.tasks() {
        fits("tasks", task.target.len())?;
    }
    let groups = data.groups().unwrap_or_else(|| (0..n).collect());
    fits("groups", groups.len())?;
    let patients = PatientGroups::by(groups).among(among);
    let strata = patients.strata(&strata);
    Ok((patients, strata))
}

/// The training patients in two: who is fitted on, and who chooses the model.
fn inner_split(patients: &PatientRows, strata: &[usize], inner: f64, seed: Seed) -> Result<Split> {
    let strata = merge_small_strata(strata, LEAST_INNER);
    let parts = patients.split(&strata, [1.0 - inner, inner, 0.0], seed);
    parts.map_err(|error| match error {
        oncograph_datasets::Error::Stratum { expected, .. } => {
            let expected = format!("at least {expected}, of whom a share of {inner} chooses the model");
            Argument::new("cross-validation", "training patients", expected, strata.len()).into()
        }
        other => other.into(),
    })
}

fn leave_one_out(centres: &Centres) -> Vec<Fold> {
    let fold = |c: usize| {
        let (test, train) = (0..centres.of.len()).partition(|p| centres.of[*p] == c);
        Fold { repeat: 0, fold: c, train, test }
    };
    (0..centres.names.len()).map(fold).collect()
}

/// Where patients were treated: the larger centres by name, the largest first, then the small ones together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Centres {
    /// The names; `others` for the small ones.
    pub names: Vec<String>,
    /// For each row, or each patient of a grouped cohort, the position of its centre in `names`.
    pub of: Vec<usize>,
}

impl Centres {
    /// Groups patients by the name of their centre; those with fewer than `least` patients become `others`.
    ///
    /// # Errors
    /// If there are not two centres.
    pub fn new(centres: &[String], least: usize) -> Result<Self> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        centres.iter().for_each(|c| *counts.entry(c).or_default() += 1);
        let mut large: Vec<(&str, usize)> = counts.into_iter().filter(|(_, n)| *n >= least).collect();
        large.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let mut names: Vec<String> = large.into_iter().map(|(name, _)| name.to_string()).collect();
        let positions: Vec<usize> =
            centres.iter().map(|c| names.iter().position(|n| n == c).unwrap_or(names.len())).collect();
        if positions.contains(&names.len()) {
            names.push("others".into());
        }
        if names.len() < 2 {
            let expected = format!("those of two centres with {least} patients or more");
            let got = if centres.is_empty() { "no centre" } else { "one" };
            return Err(Argument::new("Centres", "patients", expected, got).into());
        }
        Ok(Centres { names, of: positions })
    }
}

fn centres_of(data: &(impl Cohort + ?Sized), patients: &PatientRows, least: usize) -> Result<Centres> {
    let of_rows = data.centres().unwrap_or_default();
    if of_rows.is_empty() {
        return Centres::new(&[], least);
    }
    let of_patients: Vec<String> = patients.members().iter().map(|m| of_rows[m[0]].clone()).collect();
    Centres::new(&of_patients, least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Toy;

    #[test]
    fn scans_of_one_patient_stay_together() {
        let mut toy = Toy::new(60);
        toy.groups = Some((0..60).map(|i| i / 3).collect());
        let plan = Plan::CrossValidation { folds: 4, repeats: 2 };
        let splits = plan.splits(&toy, 0.25, Seed::new(1)).unwrap();
        assert_eq!(splits.len(), 8);
        for s in &splits {
            s.split.check(60).unwrap();
            let all: usize = [&s.split.train, &s.split.validation, &s.split.test].map(Vec::len).iter().sum();
            assert_eq!(all, 60);
            for list in [&s.split.train, &s.split.validation, &s.split.test] {
                assert!(list.iter().all(|i| list.contains(&(3 * (i / 3) + (i + 1) % 3))), "{list:?}");
            }
        }
        let split = Split::new(vec![0, 4], vec![], vec![5]);
        let given = Plan::Given(vec![FoldSplit { repeat: 0, fold: 0, split }]);
        let error = given.splits(&toy, 0.25, Seed::new(1)).unwrap_err().to_string();
        assert!(error.contains("row 4 in train and row 5 in test"), "{error}");
        let mut alone = Toy::new(60);
        alone.groups = Some((0..60).collect());
        assert_eq!(
            plan.splits(&alone, 0.25, Seed::new(1)).unwrap(),
            plan.splits(&Toy::new(60), 0.25, Seed::new(1)).unwrap()
        );
    }

    #[test]
    fn what_cannot_be_split_names_the_option_and_how_many_there_are() {
        let error = |patients: usize, folds, repeats, inner| {
            let plan = Plan::CrossValidation { folds, repeats };
            plan.splits(&Toy::new(patients), inner, Seed::new(1)).unwrap_err().to_string()
        };
        let expected = "cross-validation: --folds must be from 2 to 60, the number of patients, got 1000";
        assert_eq!(error(60, 1000, 1, 0.2), expected);
        assert!(error(3, 5, 1, 0.2).contains("--folds must be from 2 to 3, the number of patients, got 5"));
        assert!(error(60, 1, 1, 0.2).contains("got 1") && error(60, 5, 0, 0.2).contains("--repeats"));
        let few = error(6, 3, 1, 0.01);
        assert!(few.contains("training patients must be at least 100") && few.ends_with("got 4"), "{few}");
    }

    #[test]
    fn centres_are_held_out_one_at_a_time() {
        let mut toy = Toy::new(50);
        let name = |i: usize| ["A", "A", "B", "A", "c"][i % 5].to_string();
        toy.centres = (0..50).map(name).collect();
        let splits = Plan::LeaveOneCentreOut { least: 10 }.splits(&toy, 0.2, Seed::new(1)).unwrap();
        let held: Vec<usize> = splits.iter().map(|s| s.split.test.len()).collect();
        assert_eq!(held, [30, 10, 10]);
        let merged = Plan::LeaveOneCentreOut { least: 20 }.splits(&toy, 0.2, Seed::new(1)).unwrap();
        assert_eq!(merged.iter().map(|s| s.split.test.len()).collect::<Vec<_>>(), [30, 20]);
        let error = Plan::LeaveOneCentreOut { least: 10 }.splits(&Toy::new(50), 0.2, Seed::new(1));
        assert!(error.unwrap_err().to_string().contains("got no centre"));
    }
}

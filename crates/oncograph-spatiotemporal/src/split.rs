use crate::{Result, StgSystemConfig};
use oncograph_core::Seed;
use oncograph_datasets::splits::{merge_small_strata, stratified_split};
use oncograph_study::{Cohort, FoldSplit, Plan};
use serde::{Deserialize, Serialize};

/// Who is held out (S-26).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldOut {
    /// Every patient once per repetition: [`StgSystemConfig::folds`], repeated.
    #[default]
    CrossValidation,
    /// A fifth of the patients, once, as published: 118 to train on, 39 to stop by and 40 held out, of 197.
    Single,
}

/// The shares of training, validation and held-out patients of the single split.
const SHARES: [f64; 3] = [0.6, 0.2, 0.2];
/// A stratum with fewer patients could not reach every part.
const LEAST: usize = 5;

impl StgSystemConfig {
    /// The plan of a study: what [`StgSystemConfig::held_out`] names, stratified on recurrence and death.
    ///
    /// 40 held-out patients give an interval of 0.15 to either side of an accuracy, and a C-index that is as uncertain: the single
    /// split is there for the comparison with published numbers.
    ///
    /// # Errors
    /// Fewer than five patients.
    pub fn plan(&self, data: &(impl Cohort + ?Sized), seed: Seed) -> Result<Plan> {
        match self.held_out {
            HeldOut::CrossValidation => {
                Ok(Plan::CrossValidation { folds: self.folds, repeats: self.repeats })
            }
            HeldOut::Single => {
                let strata = merge_small_strata(&data.strata(), LEAST);
                let split = stratified_split(&strata, SHARES, seed.stream("single split"))?;
                Ok(Plan::Given(vec![FoldSplit { repeat: 0, fold: 0, split }]))
            }
        }
    }
}

impl StgSystemConfig {
    /// How many splits [`StgSystemConfig::plan`] makes.
    pub fn split_count(&self) -> usize {
        match self.held_out {
            HeldOut::CrossValidation => self.folds * self.repeats,
            HeldOut::Single => 1,
        }
    }

    /// Who is held out, in words.
    pub fn held_out_words(&self) -> String {
        match self.held_out {
            HeldOut::CrossValidation => {
                format!("{}-fold cross-validation, {} repetition(s)", self.folds, self.repeats)
            }
            HeldOut::Single => {
                let [train, validation, test] = SHARES.map(|share| format!("{:.0} %", 100.0 * share));
                format!("one split: {train} to train on, {validation} to stop by, {test} held out")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StgPreset;
    use oncograph_core::FollowUp;
    use oncograph_datasets::scaler::Matrix;
    use oncograph_study::{Target, Task};

    /// 197 patients in four strata of recurrence and death.
    struct Patients {
        ids: Vec<String>,
        tasks: Vec<Task>,
    }

    impl Patients {
        fn new(n: usize) -> Self {
            let time = |p: usize| Some(FollowUp::years(1.0 + p as f64, p.is_multiple_of(2)).unwrap());
            let target = Target::Survival((0..n).map(time).collect());
            let ids = (0..n).map(|p| p.to_string()).collect();
            Patients { ids, tasks: vec![Task::new("survival", target)] }
        }
    }

    impl Cohort for Patients {
        fn ids(&self) -> &[String] {
            &self.ids
        }

        fn tasks(&self) -> &[Task] {
            &self.tasks
        }

        fn strata(&self) -> Vec<usize> {
            (0..self.ids.len()).map(|p| (p * p + p / 3) % 4).collect()
        }

        fn design(&self, _: &[usize]) -> oncograph_study::Result<Matrix> {
            Err(oncograph_study::Error::system("no columns"))
        }

        fn fingerprint(&self) -> String {
            String::new()
        }
    }

    #[test]
    fn the_single_split_has_the_published_sizes_and_balanced_strata() {
        let patients = Patients::new(197);
        let mut config = StgSystemConfig::new(StgPreset::Paper);
        let folds = Plan::CrossValidation { folds: 5, repeats: 1 };
        assert_eq!(config.plan(&patients, Seed::new(1)).unwrap(), folds);
        config.held_out = HeldOut::Single;
        let plan = |seed| config.plan(&patients, Seed::new(seed)).unwrap();
        let splits = plan(1).splits(&patients, config.validation, Seed::new(9)).unwrap();
        let [FoldSplit { repeat: 0, fold: 0, split }] = splits.as_slice() else { panic!("{splits:?}") };
        assert_eq!((split.train.len(), split.validation.len(), split.test.len()), (118, 39, 40));
        let strata = patients.strata();
        for stratum in 0..4 {
            let all = strata.iter().filter(|s| **s == stratum).count() as f64;
            for (part, share) in [&split.train, &split.validation, &split.test].into_iter().zip(SHARES) {
                let own = part.iter().filter(|&&p| strata[p] == stratum).count() as f64;
                assert!((own - share * all).abs() < 1.0);
            }
        }
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
        assert!(config.plan(&Patients::new(3), Seed::new(1)).is_err());
    }
}

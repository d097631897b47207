use super::survival_tree::{SurvivalTree, TreeOptions, TreeRows};
use super::{Baseline, HORIZON, Inputs, curve_years, known_times};
use crate::{Answer, Result, Target, Task};
use oncograph_core::{FollowUp, Seed};
use oncograph_losses::predicted_time;
use rand::Rng;
use rayon::prelude::*;

/// A random survival forest: 100 trees on bootstrap samples that split by the log-rank statistic, on `sqrt(columns)` columns
/// at each node, of at least six rows to split and three in a leaf (the defaults of scikit-survival).
///
/// Its risk is the ensemble mortality: the cumulative hazard, the mean of the trees' Nelson-Aalen estimates, summed over the
/// times of the training events. Survival is `exp(-H)` of the same ensemble, and the predicted time its median within twelve
/// years, or else its restricted mean.
///
/// # Reference
/// Ishwaran, Kogalur, Blackstone and Lauer, *Random survival forests*, Annals of Applied Statistics 2, 2008. Splits and
/// hazards of one tree equal `sksurv.tree.SurvivalTree`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurvivalForest {
    name: String,
    trees: usize,
    columns: Option<Vec<String>>,
}

/// Rows of a node that is split, and of a leaf.
const SPLIT: usize = 6;
const LEAF: usize = 3;

impl SurvivalForest {
    /// A forest on all columns.
    pub fn new() -> Self {
        SurvivalForest { name: "random survival forest".into(), trees: 100, columns: None }
    }

    /// Sets what tables call it.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the number of trees.
    pub fn trees(mut self, trees: usize) -> Self {
        self.trees = trees;
        self
    }

    /// Uses some columns by name.
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }
}

impl Default for SurvivalForest {
    fn default() -> Self {
        Self::new()
    }
}

impl Baseline for SurvivalForest {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    fn answer(&self, task: &Task, inputs: &Inputs<'_>) -> Result<Option<Vec<Answer>>> {
        let Target::Survival(times) = &task.target else { return Ok(None) };
        let (rows, known) = known_times(times, inputs.train);
        let (train, test) = (inputs.rows(&rows), inputs.rows(inputs.test));
        let seed = inputs.seed.stream("survival forest").stream(&task.name);
        Ok(Some(self.predict((&train, &known), &test, seed)))
    }
}

impl SurvivalForest {
    fn predict(
        &self,
        (train, known): (&[Vec<f64>], &[FollowUp]),
        test: &[Vec<f64>],
        seed: Seed,
    ) -> Vec<Answer> {
        let rows = TreeRows::new(train, known);
        let width = train.first().map_or(0, Vec::len);
        let columns = (width as f64).sqrt().floor().max(1.0) as usize;
        let options = TreeOptions { split: SPLIT, leaf: LEAF, columns };
        let grow = |tree: usize| {
            let mut rng = seed.at(tree as u64).rng();
            let mut weight = vec![0.0; train.len()];
            (0..train.len()).for_each(|_| weight[rng.random_range(0..train.len())] += 1.0);
            SurvivalTree::grow(&rows, weight, options, &mut rng)
        };
        let trees: Vec<SurvivalTree> = (0..self.trees).into_par_iter().map(grow).collect();
        let followed = known.iter().map(|f| f.in_years()).fold(0.0, f64::max);
        let at = curve_years(followed);
        let answer = |row: &Vec<f64>| {
            let mut hazard = vec![0.0; rows.times.len()];
            for tree in &trees {
                hazard.iter_mut().zip(tree.hazard(row)).for_each(|(sum, h)| *sum += h);
            }
            hazard.iter_mut().for_each(|h| *h /= trees.len() as f64);
            let survival = |year: &f64| match rows.times.partition_point(|t| t <= year) {
                0 => 1.0,
                k => (-hazard[k - 1]).exp(),
            };
            let curve: Vec<f64> = at.iter().map(survival).collect();
            Answer::Survival {
                risk: hazard.iter().sum(),
                years: Some(predicted_time(&curve).clamp(0.0, HORIZON as f64)),
                survival: Some(curve),
            }
        };
        test.iter().map(answer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_metrics::{Survival, concordance};

    /// A number in [0, 1) that depends on a row and a column alone.
    fn noise(row: usize, column: usize) -> f64 {
        ((row * 7919 + column * 104_729 + 17) as u128).pow(3).rem_euclid(10_007) as f64 / 10_007.0
    }

    /// Six covariates of 300 rows, of which the first counts and the second does where the third is large.
    fn generated() -> (Vec<Vec<f64>>, Vec<FollowUp>) {
        let x: Vec<Vec<f64>> = (0..300).map(|r| (0..6).map(|c| noise(r, c)).collect()).collect();
        let outcome = |(r, x): (usize, &Vec<f64>)| {
            let interaction = if x[2] > 0.5 { 2.0 * (x[1] - 0.5) } else { 0.0 };
            let hazard = (2.0 * x[0] + interaction - 1.0).exp();
            let (time, end) = (-(-noise(r, 6)).ln_1p() * 4.0 / hazard + 0.001, 1.0 + 8.0 * noise(r, 7));
            FollowUp::years(time.min(end), time <= end).unwrap()
        };
        let known = x.iter().enumerate().map(outcome).collect();
        (x, known)
    }

    /// `sksurv.ensemble.RandomSurvivalForest(n_estimators=100)` of scikit-survival 0.28.0 over 20 seeds: the C-index of the
    /// last 100 rows is 0.6332 (standard deviation 0.0051), the mean of their risks 60.38 (0.76).
    #[test]
    fn forests_rank_and_count_as_those_of_scikit_survival() {
        let (x, known) = generated();
        let time: Vec<f64> = known[200..].iter().map(|f| f.in_years()).collect();
        let event: Vec<bool> = known[200..].iter().map(|f| f.event()).collect();
        let survival = Survival::new(&time, &event).unwrap();
        let seeds = 6;
        let (mut index, mut mortality) = (0.0, 0.0);
        for seed in 0..seeds {
            let answers =
                SurvivalForest::new().predict((&x[..200], &known[..200]), &x[200..], Seed::new(seed));
            let risk = |a: &Answer| match a {
                Answer::Survival { risk, .. } => *risk,
                other => panic!("{other:?}"),
            };
            let risks: Vec<f64> = answers.iter().map(risk).collect();
            index += concordance(&survival, &risks).unwrap().index / seeds as f64;
            mortality += risks.iter().sum::<f64>() / 100.0 / seeds as f64;
        }
        assert!((index - 0.6332).abs() < 0.007, "{index}");
        assert!((mortality - 60.38).abs() < 1.2, "{mortality}");
    }

    #[test]
    fn any_number_of_threads_grows_the_same_forest() {
        let (x, known) = generated();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let forest = SurvivalForest::new().trees(7);
            pool.install(|| forest.predict((&x[..90], &known[..90]), &x[90..120], Seed::new(3)))
        };
        assert_eq!(run(1), run(3));
        let Answer::Survival { years: Some(years), survival: Some(curve), .. } = &run(1)[0] else { panic!() };
        assert!(curve.windows(2).all(|w| w[1] <= w[0]) && (0.0..=12.0).contains(years));
    }
}

use super::logistic::matrix;
use super::{Baseline, Inputs, known_classes, known_times, martingale, one_by_one};
use crate::{Answer, Error, Result, Target, Task};
use smartcore::ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters};

/// A forest of 100 regression trees on `ceil(sqrt(columns))` columns per split and three rows per leaf.
///
/// On 0 and 1 it is a probability forest (Malley et al., *Probability machines*, Methods of Information in Medicine 51,
/// 2012). Times are ranked by a forest on their martingale residuals, after LeBlanc and Crowley, *Relative risk trees for
/// censored survival data*, Biometrics 48, 1992; [`SurvivalForest`](super::SurvivalForest) splits by the log-rank statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RandomForest;

impl RandomForest {
    /// A forest.
    pub fn new() -> Self {
        RandomForest
    }
}

impl Baseline for RandomForest {
    fn name(&self) -> String {
        "random forest".into()
    }

    fn answer(&self, task: &Task, inputs: &Inputs<'_>) -> Result<Option<Vec<Answer>>> {
        let seed = inputs.seed.value();
        let test = inputs.rows(inputs.test);
        let grow = |rows: &[usize], y: &[f64]| trees(&inputs.rows(rows), y, &test, seed);
        let binary = |yes: &[bool]| yes.iter().map(|y| f64::from(u8::from(*y))).collect::<Vec<_>>();
        Ok(Some(match &task.target {
            Target::Survival(times) => {
                let (rows, known) = known_times(times, inputs.train);
                grow(&rows, &martingale(&known)?)?.into_iter().map(Answer::risk).collect()
            }
            Target::Classes { names, classes } => {
                let (rows, known) = known_classes(classes, inputs.train);
                let indicator = |c: usize| known.iter().map(|k| *k == c).collect::<Vec<_>>();
                let columns = (0..names.len())
                    .map(|c| grow(&rows, &binary(&indicator(c))))
                    .collect::<Result<Vec<_>>>()?;
                (0..test.len()).map(|r| normalised(columns.iter().map(|c| c[r]).collect())).collect()
            }
            Target::Labels { names, labels } => {
                one_by_one(labels, names.len(), inputs, |rows, known| grow(rows, &binary(known)))?
            }
        }))
    }
}

/// Shares that sum to 1; none of them 0.
fn normalised(mut row: Vec<f64>) -> Answer {
    let sum: f64 = row.iter().map(|v| v.max(1e-6)).sum();
    row.iter_mut().for_each(|v| *v = v.max(1e-6) / sum);
    Answer::Probabilities(row)
}

fn trees(train: &[Vec<f64>], y: &[f64], test: &[Vec<f64>], seed: u64) -> Result<Vec<f64>> {
    let m = (train.first().map_or(1, Vec::len) as f64).sqrt().ceil() as usize;
    let options = RandomForestRegressorParameters::default()
        .with_n_trees(100)
        .with_m(m)
        .with_min_samples_leaf(3)
        .with_seed(seed % 1_000_003);
    let forest = RandomForestRegressor::fit(&matrix(train)?, &y.to_vec(), options).map_err(Error::system)?;
    forest.predict(&matrix(test)?).map_err(Error::system)
}

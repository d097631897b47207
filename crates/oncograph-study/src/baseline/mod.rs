//! What a statistician would try first, on the same folds.

mod constant;
mod cox;
mod cox_lasso;
mod forest;
mod inner_folds;
mod linear;
mod logistic;
mod ridge_time;
mod risk_score;
mod survival_forest;
mod survival_tree;

pub use constant::Constant;
pub use cox::{CoxRidge, Penalty};
pub use cox_lasso::CoxLasso;
pub use forest::RandomForest;
pub use linear::Linear;
pub use logistic::Logistic;
pub use ridge_time::RidgeTime;
pub use risk_score::RiskScore;
pub use survival_forest::SurvivalForest;

use crate::model::{Model, Outcome};
use crate::{Answer, Answers, Cohort, Error, Job, Result, Task};
use oncograph_core::{Argument, FollowUp, Seed, Split};
use oncograph_datasets::scaler::{Matrix, MissingFlags};
use oncograph_metrics::{self as metrics, NelsonAalen, Survival};
use std::collections::BTreeMap;

/// A model without epochs: it fits the rows of training and validation together, task by task.
pub trait Baseline: Sync {
    /// What tables call it.
    fn name(&self) -> String;

    /// The answers for the rows `inputs.test` of one task; `None` if it cannot predict such a task.
    ///
    /// # Errors
    /// A fit that fails.
    fn answer(&self, task: &Task, inputs: &Inputs<'_>) -> Result<Option<Vec<Answer>>>;

    /// The columns of the design that it uses, each with the flag of its missing values if there is one; by default all.
    fn columns(&self) -> Option<&[String]> {
        None
    }
}

/// What a baseline is given.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The covariates of all rows, scaled by `train`.
    pub design: &'a Matrix,
    /// Rows to fit on.
    pub train: &'a [usize],
    /// Rows to answer for.
    pub test: &'a [usize],
    /// The stream of random numbers of this repetition and fold, the same for all baselines.
    pub seed: Seed,
}

impl Inputs<'_> {
    /// The covariates of some rows.
    pub(crate) fn rows(&self, rows: &[usize]) -> Vec<Vec<f64>> {
        rows.iter().map(|&r| self.design.rows[r].clone()).collect()
    }
}

/// A baseline as a model of a study. Where its fit has no value, for example as no training row has the event, the others go on.
pub(crate) struct Adapter<B>(pub B);

impl<D: Cohort, B: Baseline> Model<D> for Adapter<B> {
    fn run(&self, data: &D, split: &Split, job: &mut Job<'_>) -> Result<Outcome> {
        let mut train = [split.train.clone(), split.validation.clone()].concat();
        train.sort_unstable();
        let design = selected(data.design(&train)?, self.0.columns())?;
        let inputs = Inputs { design: &design, train: &train, test: &split.test, seed: job.fold_seed() };
        let (mut answers, mut unfitted) = (Answers::new(), BTreeMap::new());
        for task in data.tasks() {
            match self.0.answer(task, &inputs) {
                Ok(rows) => answers.extend(rows.map(|rows| (task.name.clone(), rows))),
                Err(Error::Metrics(
                    e @ (metrics::Error::Undefined { .. } | metrics::Error::NotConverged { .. }),
                )) => {
                    unfitted.insert(task.name.clone(), e.to_string());
                }
                Err(e) => return Err(e),
            }
        }
        Ok(Outcome { answers, unfitted, extras: serde_json::Value::Null, parameters: 0 })
    }
}

/// Some columns of a design, in the requested order, then the flags of their missing values: without it a missing age would
/// be the median age.
fn selected(design: Matrix, columns: Option<&[String]>) -> Result<Matrix> {
    let Some(columns) = columns else { return Ok(design) };
    let place = |name: &String| {
        let found = design.names.iter().position(|n| n == name);
        let expected = || format!("among {}", design.names.join(", "));
        found.ok_or_else(|| Argument::new("Baseline", "columns", expected(), name))
    };
    let mut places = columns.iter().map(place).collect::<std::result::Result<Vec<_>, _>>()?;
    let flags = columns.iter().map(|name| MissingFlags::column(name)).filter(|flag| !columns.contains(flag));
    places.extend(flags.filter_map(|flag| design.names.iter().position(|n| *n == flag)));
    let rows = design.rows.iter().map(|r| places.iter().map(|&c| r[c]).collect()).collect();
    Ok(Matrix { names: places.iter().map(|&c| design.names[c].clone()).collect(), rows })
}

/// Times are predicted up to this many years.
pub(crate) const HORIZON: usize = 12;

/// The ends of the years that a survival curve is given at: a hazard is known only as long as its patients were followed.
pub(crate) fn curve_years(followed: f64) -> Vec<f64> {
    (1..=HORIZON).map(|y| y as f64).filter(|y| *y <= followed).collect()
}

/// The training rows whose time is known, with it.
pub(crate) fn known_times(times: &[Option<FollowUp>], rows: &[usize]) -> (Vec<usize>, Vec<FollowUp>) {
    rows.iter().filter_map(|&r| Some((r, times[r]?))).unzip()
}

/// Times in years and whether the event was seen.
pub(crate) fn years_and_events(times: &[FollowUp]) -> (Vec<f64>, Vec<bool>) {
    times.iter().map(|f| (f.in_years(), f.event())).unzip()
}

/// The martingale residual of each row: 1 or 0 for the event minus the Nelson-Aalen cumulative hazard.
pub(crate) fn martingale(times: &[FollowUp]) -> Result<Vec<f64>> {
    let (years, events) = years_and_events(times);
    let hazard = NelsonAalen::fit(&Survival::new(&years, &events)?, 0.95)?;
    let residual = |(t, e): (&f64, &bool)| f64::from(u8::from(*e)) - hazard.at(*t).unwrap_or(0.0);
    Ok(years.iter().zip(&events).map(residual).collect())
}

/// Answers for a target whose outputs are probabilities, from a function that fits one yes/no question.
///
/// `fit` gets training rows, their answers and the stream of the question, and returns a probability per test row.
pub(crate) fn one_by_one(
    labels: &[Vec<Option<bool>>],
    width: usize,
    inputs: &Inputs<'_>,
    fit: impl Fn(&[usize], &[bool]) -> Result<Vec<f64>>,
) -> Result<Vec<Answer>> {
    let mut columns = vec![];
    for l in 0..width {
        let known: (Vec<usize>, Vec<bool>) =
            inputs.train.iter().filter_map(|&r| Some((r, labels[r].get(l).copied().flatten()?))).unzip();
        columns.push(fit(&known.0, &known.1)?);
    }
    let row = |r: usize| Answer::Probabilities(columns.iter().map(|c| c[r]).collect());
    Ok((0..inputs.test.len()).map(row).collect())
}

/// The training rows whose class is known, with it.
pub(crate) fn known_classes(classes: &[Option<usize>], rows: &[usize]) -> (Vec<usize>, Vec<usize>) {
    rows.iter().filter_map(|&r| Some((r, classes[r]?))).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Toy;
    use crate::{Metric, ScoreOptions, Study};
    use oncograph_train::RunDir;

    #[test]
    fn a_chosen_column_brings_the_flag_of_its_missing_values() {
        let names = ["age", "male", "grade", "age_missing", "grade_missing"].map(String::from).to_vec();
        let design = Matrix { names, rows: vec![vec![1.0, 2.0, 3.0, 4.0, 5.0]] };
        let chosen = selected(design, Some(&["male".to_string(), "age".to_string()])).unwrap();
        assert_eq!(
            (chosen.names.join(" "), &chosen.rows[0][..]),
            ("male age age_missing".into(), &[2.0, 1.0, 4.0][..])
        );
    }

    #[test]
    fn baselines_find_what_is_there_and_constants_do_not() {
        let (cohort, folder) = (Toy::new(240), tempfile::tempdir().unwrap());
        let run = RunDir::create(folder.path()).unwrap();
        let results = Study::new(&cohort, &run)
            .baseline(Linear::new(Penalty::PerRow(0.1)))
            .baseline(RandomForest::new())
            .baseline(Constant)
            .baseline(CoxLasso::new())
            .baseline(SurvivalForest::new())
            .baseline(RidgeTime::by_inner_folds())
            .baseline(CoxRidge::new(10.0).columns(["noise"]).named("Cox, noise"))
            .run()
            .unwrap();
        let scores = results.score(&cohort, &ScoreOptions::default().replicates(200)).unwrap();
        for task in ["survival", "response", "toxicity"] {
            for model in ["Cox / logistic regression, ridge", "random forest"] {
                let first = scores.row(model, task).unwrap().first().unwrap();
                assert!(first.low > 0.55, "{model}, {task}: {first:?}");
            }
            let constant = scores.row("constant", task).unwrap();
            assert_eq!(constant.first().unwrap().value, 0.5, "{task}");
        }
        for model in ["Cox, lasso", "random survival forest", "ridge regression on time"] {
            let first = scores.row(model, "survival").unwrap().first().unwrap();
            assert!(first.low > 0.55, "{model}: {first:?}");
        }
        assert!(scores.row("Cox, noise", "survival").unwrap().first().unwrap().low < 0.5);
        assert!(scores.row("Cox, noise", "response").is_none());
        let brier = |m: &str| scores.row(m, "response").unwrap().metric(Metric::Brier).unwrap().value;
        assert!(brier("Cox / logistic regression, ridge") < brier("constant"));
        let absent =
            Study::new(&cohort, &run).baseline(CoxRidge::new(1.0).columns(["age"]).named("age")).run();
        assert!(absent.unwrap_err().to_string().contains("among x, noise, got age"));
    }
}

//! What a statistician would try first, on the same folds: Cox with a ridge, logistic regression, random forests, and
//! the constant.

use crate::cohort::{Cohort, Prepared};
use crate::config::RunConfig;
use crate::folds::{FoldResult, Outputs};
use anyhow::Context;
use oncograph::core::{FollowUp, TimeUnit};
use oncograph::datasets::splits::Fold;
use oncograph::metrics::{Covariates, CoxConfig, CoxModel, NelsonAalen, Survival};
use oncograph::nn::Seed;
use oncograph::omics::{Target, TaskKind};
use oncograph::train::RunDir;
use smartcore::ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters};
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linear::logistic_regression::{LogisticRegression, LogisticRegressionParameters};
use std::collections::BTreeMap;

/// Cox for survival, logistic regression for classes and labels.
pub const LINEAR: &str = "Cox / logistic regression, ridge";
/// A forest of 100 trees.
pub const FOREST: &str = "random forest";
/// The training patients' shares.
pub const CONSTANT: &str = "constant";

/// Columns that Cox is given: with more than training patients it would only fit noise.
const COX_COLUMNS: usize = 50;

/// The baselines of one fold.
pub fn run_fold(
    config: &RunConfig,
    cohort: &Cohort,
    fold: &Fold,
    run: &RunDir,
) -> anyhow::Result<Vec<FoldResult>> {
    let folder = RunDir::open(&run.folder("folds")?)?;
    let name = format!("baselines-{}-{}.result.json", fold.repeat, fold.fold);
    Ok(folder.once(&name, || {
        fit(config, cohort, fold).map_err(|e| oncograph::train::Error::learner(e.into_boxed_dyn_error()))
    })?)
}

fn fit(config: &RunConfig, cohort: &Cohort, fold: &Fold) -> anyhow::Result<Vec<FoldResult>> {
    // All training patients of the fold: nothing is stopped early here.
    let x = Prepared::fit(config, cohort, &fold.train)?.flat;
    let (mut linear, mut forest, mut constant) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let seed = Seed::new(config.seed).stream("forest").at(fold.repeat as u64).at(fold.fold as u64).value();
    for task in &cohort.tasks {
        let target = &cohort.targets[&task.name];
        let known: Vec<usize> = fold.train.iter().copied().filter(|&p| target.known(p)).collect();
        let test: Vec<Vec<f64>> = fold.test.iter().map(|&p| x[p].clone()).collect();
        match target {
            Target::Survival(follow_up) => {
                let seen: Vec<FollowUp> = known.iter().filter_map(|&p| follow_up[p]).collect();
                let survival = Survival::of(&seen, TimeUnit::Years)?;
                let train: Vec<Vec<f64>> = known.iter().map(|&p| x[p].clone()).collect();
                linear.insert(task.name.clone(), cox(&train, &survival, &test)?);
                let residuals = martingale(&survival)?;
                forest.insert(task.name.clone(), column(grow(&train, &residuals, &test, seed)?));
                constant.insert(task.name.clone(), vec![vec![0.0]; test.len()]);
            }
            Target::Class(classes) => {
                let TaskKind::Classes(n) = task.kind else { continue };
                let y: Vec<usize> = known.iter().filter_map(|&p| classes[p]).collect();
                let train: Vec<Vec<f64>> = known.iter().map(|&p| x[p].clone()).collect();
                linear.insert(task.name.clone(), logistic(&train, &y, n, &test)?);
                let of = |c: usize| y.iter().map(|y| f64::from(u8::from(*y == c))).collect::<Vec<f64>>();
                let columns =
                    (0..n).map(|c| grow(&train, &of(c), &test, seed)).collect::<anyhow::Result<Vec<_>>>()?;
                forest.insert(task.name.clone(), normalised(&columns, test.len()));
                let shares: Vec<f64> =
                    (0..n).map(|c| of(c).iter().sum::<f64>() / y.len().max(1) as f64).collect();
                constant.insert(task.name.clone(), vec![shares; test.len()]);
            }
            Target::Labels(labels) => {
                let width = task.kind.width();
                let mut columns = [vec![], vec![], vec![]];
                for l in 0..width {
                    let label = |p: usize| labels[p].get(l).copied().flatten();
                    let rows: Vec<usize> = known.iter().copied().filter(|&p| label(p).is_some()).collect();
                    let y: Vec<usize> = rows.iter().map(|&p| usize::from(label(p) == Some(true))).collect();
                    let train: Vec<Vec<f64>> = rows.iter().map(|&p| x[p].clone()).collect();
                    let f: Vec<f64> = y.iter().map(|y| *y as f64).collect();
                    let p = logistic(&train, &y, 2, &test)?;
                    columns[0].push(p.iter().map(|p| p[1]).collect());
                    columns[1].push(grow(&train, &f, &test, seed)?);
                    columns[2].push(vec![f.iter().sum::<f64>() / f.len().max(1) as f64; test.len()]);
                }
                let [a, b, c] = columns.map(|c: Vec<Vec<f64>>| transposed(&c, test.len()));
                linear.insert(task.name.clone(), a);
                forest.insert(task.name.clone(), b);
                constant.insert(task.name.clone(), c);
            }
        }
    }
    let result = |model: &str, outputs: Outputs| FoldResult { outputs, ..FoldResult::empty(model, fold) };
    Ok(vec![result(LINEAR, linear), result(FOREST, forest), result(CONSTANT, constant)])
}

fn column(values: Vec<f64>) -> Vec<Vec<f64>> {
    values.into_iter().map(|v| vec![v]).collect()
}

fn transposed(columns: &[Vec<f64>], rows: usize) -> Vec<Vec<f64>> {
    (0..rows).map(|r| columns.iter().map(|c| c[r]).collect()).collect()
}

fn normalised(columns: &[Vec<f64>], rows: usize) -> Vec<Vec<f64>> {
    let mut all = transposed(columns, rows);
    for row in &mut all {
        let sum: f64 = row.iter().map(|v| v.max(1e-6)).sum();
        row.iter_mut().for_each(|v| *v = v.max(1e-6) / sum);
    }
    all
}

/// A Cox model with a ridge on the columns that correlate most with the training patients' martingale residuals.
fn cox(train: &[Vec<f64>], survival: &Survival, test: &[Vec<f64>]) -> anyhow::Result<Vec<Vec<f64>>> {
    let residuals = martingale(survival)?;
    let width = train.first().map_or(0, Vec::len);
    let strength = |c: usize| train.iter().zip(&residuals).map(|(r, m)| r[c] * m).sum::<f64>().abs();
    let mut columns: Vec<usize> = (0..width).collect();
    columns.sort_by(|&a, &b| strength(b).total_cmp(&strength(a)).then(a.cmp(&b)));
    columns.truncate(COX_COLUMNS);
    let take =
        |rows: &[Vec<f64>]| rows.iter().flat_map(|r| columns.iter().map(|&c| r[c])).collect::<Vec<f64>>();
    let (fitted, asked) = (take(train), take(test));
    let config = CoxConfig::new().ridge(train.len() as f64 / 10.0);
    let model = CoxModel::fit(survival, &Covariates::new(&fitted, columns.len())?, &config)?;
    Ok(column(model.linear_predictor(&Covariates::new(&asked, columns.len())?)?))
}

/// What is left of each patient's outcome once everybody's hazard is taken off: 1 or 0 minus the cumulative hazard.
fn martingale(survival: &Survival) -> anyhow::Result<Vec<f64>> {
    let hazard = NelsonAalen::fit(survival, 0.95)?;
    let residual = |(t, e): (&f64, &bool)| f64::from(u8::from(*e)) - hazard.at(*t).unwrap_or(0.0);
    Ok(survival.time().iter().zip(survival.event()).map(residual).collect())
}

fn matrix(rows: &[Vec<f64>]) -> anyhow::Result<DenseMatrix<f64>> {
    DenseMatrix::from_2d_vec(&rows.to_vec()).map_err(|e| anyhow::anyhow!("{e}"))
}

/// A regression forest; on 0 and 1 it is a probability forest (Malley et al. 2012).
fn grow(train: &[Vec<f64>], y: &[f64], test: &[Vec<f64>], seed: u64) -> anyhow::Result<Vec<f64>> {
    let m = (train.first().map_or(1, Vec::len) as f64).sqrt().ceil() as usize;
    let options = RandomForestRegressorParameters::default()
        .with_n_trees(100)
        .with_m(m)
        .with_min_samples_leaf(3)
        .with_seed(seed % 1_000_003);
    let forest = RandomForestRegressor::fit(&matrix(train)?, &y.to_vec(), options)
        .map_err(|e| anyhow::anyhow!("{e}"))?;
    forest.predict(&matrix(test)?).map_err(|e| anyhow::anyhow!("{e}"))
}

/// Probabilities of classes by logistic regression with a ridge.
fn logistic(
    train: &[Vec<f64>],
    y: &[usize],
    classes: usize,
    test: &[Vec<f64>],
) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut present = y.to_vec();
    present.sort_unstable();
    present.dedup();
    if present.len() < 2 {
        let only = present.first().copied().unwrap_or(0);
        let row: Vec<f64> = (0..classes).map(|c| f64::from(u8::from(c == only))).collect();
        return Ok(vec![row; test.len()]);
    }
    let options = LogisticRegressionParameters::default().with_alpha(train.len() as f64 / 10.0);
    let labels: Vec<u32> = y.iter().map(|c| *c as u32).collect();
    let model = LogisticRegression::fit(&matrix(train)?, &labels, options)
        .map_err(|e| anyhow::anyhow!("{e}"))
        .context("logistic regression")?;
    let (w, b) = (model.coefficients(), model.intercept());
    let score = |row: &[f64], k: usize| {
        *b.get((k, 0)) + row.iter().enumerate().map(|(c, v)| v * w.get((k, c))).sum::<f64>()
    };
    let one = |row: &Vec<f64>| {
        let mut p = vec![0.0; classes];
        if present.len() == 2 {
            let second = 1.0 / (1.0 + (-score(row, 0)).exp());
            (p[present[0]], p[present[1]]) = (1.0 - second, second);
        } else {
            let scores: Vec<f64> = (0..present.len()).map(|k| score(row, k)).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|s| (s - most).exp()).sum();
            present.iter().zip(&scores).for_each(|(c, s)| p[*c] = (s - most).exp() / sum);
        }
        p
    };
    Ok(test.iter().map(one).collect())
}

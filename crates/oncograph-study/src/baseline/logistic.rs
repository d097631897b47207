use super::{Baseline, Inputs, Penalty, known_classes, one_by_one};
use crate::{Answer, Error, Result, Target, Task};
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linear::logistic_regression::{LogisticRegression as Model, LogisticRegressionParameters};

/// Logistic regression with a ridge penalty, multinomial for more than two classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    name: String,
    penalty: Penalty,
    columns: Option<Vec<String>>,
}

impl Logistic {
    /// A model with the given penalty, on all columns.
    pub fn new(penalty: Penalty) -> Self {
        Logistic { name: "logistic regression, ridge".into(), penalty, columns: None }
    }

    /// Sets what tables call it.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Uses some columns by name.
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }
}

impl Baseline for Logistic {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    fn answer(&self, task: &Task, inputs: &Inputs<'_>) -> Result<Option<Vec<Answer>>> {
        let test = inputs.rows(inputs.test);
        let fit = |rows: &[usize], classes: &[usize], n: usize| {
            let train = inputs.rows(rows);
            probabilities(&train, classes, n, &test, self.penalty.of(train.len()))
        };
        Ok(match &task.target {
            Target::Survival(_) => None,
            Target::Classes { names, classes } => {
                let (rows, known) = known_classes(classes, inputs.train);
                let found = fit(&rows, &known, names.len())?;
                Some(found.into_iter().map(Answer::Probabilities).collect())
            }
            Target::Labels { names, labels } => {
                Some(one_by_one(labels, names.len(), inputs, |rows, known| {
                    let classes: Vec<usize> = known.iter().map(|k| usize::from(*k)).collect();
                    Ok(fit(rows, &classes, 2)?.into_iter().map(|p| p[1]).collect())
                })?)
            }
        })
    }
}

/// Probabilities of `classes` classes for the test rows; a class that no training row has gets none.
fn probabilities(
    train: &[Vec<f64>],
    y: &[usize],
    classes: usize,
    test: &[Vec<f64>],
    penalty: f64,
) -> Result<Vec<Vec<f64>>> {
    let mut present = y.to_vec();
    present.sort_unstable();
    present.dedup();
    if present.len() < 2 {
        let only = present.first().copied().unwrap_or(0);
        let row: Vec<f64> = (0..classes).map(|c| f64::from(u8::from(c == only))).collect();
        return Ok(vec![row; test.len()]);
    }
    let options = LogisticRegressionParameters::default().with_alpha(penalty);
    let labels: Vec<u32> = y.iter().map(|c| *c as u32).collect();
    let model = Model::fit(&matrix(train)?, &labels, options).map_err(Error::system)?;
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

pub(super) fn matrix(rows: &[Vec<f64>]) -> Result<DenseMatrix<f64>> {
    DenseMatrix::from_2d_vec(&rows.to_vec()).map_err(Error::system)
}

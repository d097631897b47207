use oncograph_metrics::{Covariates, LogisticRegression, LogisticRegressionConfig};
use oncograph_study::{Answer, Baseline, Constant, Inputs, Result, Target, Task};

/// Logistic regression of a yes/no question by Newton's method with a ridge penalty on standardised covariates.
#[derive(Debug, Clone, PartialEq)]
pub struct RidgeLogistic {
    name: String,
    ridge: f64,
    columns: Option<Vec<String>>,
}

impl RidgeLogistic {
    /// A model with the given penalty, on all columns.
    pub fn new(ridge: f64) -> Self {
        RidgeLogistic { name: "logistic regression".into(), ridge, columns: None }
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

impl Baseline for RidgeLogistic {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    fn answer(&self, task: &Task, inputs: &Inputs<'_>) -> Result<Option<Vec<Answer>>> {
        let Target::Classes { names, classes } = &task.target else { return Ok(None) };
        if names.len() != 2 {
            return Ok(None);
        }
        let width = inputs.design.names.len();
        if width == 0 {
            // What is left of the model is its intercept.
            return Constant.answer(task, inputs);
        }
        let known: Vec<(usize, bool)> =
            inputs.train.iter().filter_map(|&r| Some((r, classes[r]? == 1))).collect();
        let flat = |rows: &mut dyn Iterator<Item = usize>| {
            rows.flat_map(|r| inputs.design.rows[r].clone()).collect::<Vec<f64>>()
        };
        let train = flat(&mut known.iter().map(|k| k.0));
        let test = flat(&mut inputs.test.iter().copied());
        let labels: Vec<bool> = known.iter().map(|k| k.1).collect();
        let config = LogisticRegressionConfig::new().ridge(self.ridge);
        let model = LogisticRegression::fit(&labels, &Covariates::new(&train, width)?, &config)?;
        let p = model.probability(&Covariates::new(&test, width)?)?;
        Ok(Some(p.into_iter().map(|p| Answer::Probabilities(vec![1.0 - p, p])).collect()))
    }
}

/// The share of mutants among the training patients, for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prevalence;

impl Baseline for Prevalence {
    fn name(&self) -> String {
        super::names::PREVALENCE.into()
    }

    fn answer(&self, task: &Task, inputs: &Inputs<'_>) -> Result<Option<Vec<Answer>>> {
        Constant.answer(task, inputs)
    }
}

use super::{Baseline, CoxRidge, Inputs, Logistic, Penalty};
use crate::{Answer, Result, Task};

/// A Cox model for times and logistic regression for all else, both with a ridge.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    name: String,
    cox: CoxRidge,
    logistic: Logistic,
    columns: Option<Vec<String>>,
}

impl Linear {
    /// Both models with one penalty, on all columns.
    pub fn new(penalty: Penalty) -> Self {
        Linear {
            name: "Cox / logistic regression, ridge".into(),
            cox: CoxRidge::new(0.0).penalty(penalty),
            logistic: Logistic::new(penalty),
            columns: None,
        }
    }

    /// Sets what tables call it.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Gives the Cox model the columns that correlate most with the residuals, as [`CoxRidge::most_correlated`].
    pub fn most_correlated(mut self, columns: usize) -> Self {
        self.cox = self.cox.most_correlated(columns);
        self
    }

    /// Uses some columns by name.
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }
}

impl Baseline for Linear {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    fn answer(&self, task: &Task, inputs: &Inputs<'_>) -> Result<Option<Vec<Answer>>> {
        match self.cox.answer(task, inputs)? {
            Some(answers) => Ok(Some(answers)),
            None => self.logistic.answer(task, inputs),
        }
    }
}

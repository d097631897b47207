use super::{Baseline, Inputs};
use crate::{Answer, Result, Target, Task};

/// One column as it is, of which a larger value means an earlier event: a published score beside what was trained. Nothing is fitted but what the design fills in for a missing value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskScore {
    name: String,
    column: Vec<String>,
}

impl RiskScore {
    /// The column `column`, which tables call `name`.
    pub fn new(name: impl Into<String>, column: impl Into<String>) -> Self {
        RiskScore { name: name.into(), column: vec![column.into()] }
    }
}

impl Baseline for RiskScore {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns(&self) -> Option<&[String]> {
        Some(&self.column)
    }

    fn answer(&self, task: &Task, inputs: &Inputs<'_>) -> Result<Option<Vec<Answer>>> {
        let Target::Survival(_) = &task.target else { return Ok(None) };
        Ok(Some(inputs.test.iter().map(|&row| Answer::risk(inputs.design.rows[row][0])).collect()))
    }
}

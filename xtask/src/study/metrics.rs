//! The `metrics.csv` of a run.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::Path;

/// One line: a metric of a model on a task.
#[derive(Debug, Clone, Deserialize)]
pub struct Line {
    pub model: String,
    pub task: String,
    pub fold: Option<usize>,
    pub parameters: usize,
    pub metric: String,
    pub value: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub behind: Option<f64>,
    pub behind_low: Option<f64>,
    pub behind_high: Option<f64>,
}

/// The lines over all folds.
pub struct Metrics(Vec<Line>);

impl Metrics {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let mut reader = csv::Reader::from_path(path).with_context(|| path.display().to_string())?;
        let lines = reader.deserialize().collect::<Result<Vec<Line>, _>>();
        let lines = lines.with_context(|| path.display().to_string())?;
        Ok(Metrics(lines.into_iter().filter(|l| l.fold.is_none()).collect()))
    }

    /// The models, in the order of the file.
    pub fn models(&self) -> Vec<&str> {
        let mut models: Vec<&str> = vec![];
        for line in &self.0 {
            if !models.contains(&line.model.as_str()) {
                models.push(&line.model);
            }
        }
        models
    }

    /// The line of a model, task and metric.
    pub fn line(&self, model: &str, task: &str, metric: &str) -> Option<&Line> {
        self.0.iter().find(|l| l.model == model && l.task == task && l.metric == metric)
    }

    /// The first line of a model and a task, which is that of its main metric.
    pub fn main(&self, model: &str, task: &str) -> Option<&Line> {
        self.0.iter().find(|l| l.model == model && l.task == task)
    }

    /// The trained parameters of a model.
    pub fn parameters(&self, model: &str) -> usize {
        self.0.iter().find(|l| l.model == model).map_or(0, |l| l.parameters)
    }

    /// The value of a metric.
    pub fn value(&self, model: &str, task: &str, metric: &str) -> Result<f64> {
        let line = self.line(model, task, metric);
        line.and_then(|l| l.value).with_context(|| format!("no {metric} of {model} in {task}"))
    }

    /// The value of a model's first metric.
    pub fn first(&self, model: &str) -> Result<f64> {
        let line = self.0.iter().find(|l| l.model == model);
        line.and_then(|l| l.value).with_context(|| format!("no metric of {model}"))
    }
}

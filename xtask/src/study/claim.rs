//! What the page claims of a run.

use super::metrics::Metrics;
use anyhow::Result;

/// A claim about a run, which holds or does not.
pub enum Claim {
    /// In a task and metric the first model is above the second by at least this.
    Above(&'static str, &'static str, &'static str, &'static str, f64),
    /// In a part of the run a model's first metric is at least this.
    AtLeast(&'static str, &'static str, f64),
    /// In a part of the run a model's first metric is at most this.
    AtMost(&'static str, &'static str, f64),
}

impl Claim {
    /// The folder of the metrics that it is about.
    pub fn part(&self) -> &'static str {
        match self {
            Claim::Above(..) => "",
            Claim::AtLeast(part, ..) | Claim::AtMost(part, ..) => part,
        }
    }

    /// Whether it holds, and the sentence with the figures.
    ///
    /// # Errors
    /// A model that the metrics lack.
    pub fn check(&self, metrics: &Metrics) -> Result<(bool, String)> {
        Ok(match *self {
            Claim::Above(task, metric, one, other, by) => {
                let (a, b) = (metrics.value(one, task, metric)?, metrics.value(other, task, metric)?);
                let margin = if by > 0.0 { format!(" by {by} or more") } else { String::new() };
                (a - b > by, format!("{task}, {metric}: {one} ({a:.3}) is above {other} ({b:.3}){margin}"))
            }
            Claim::AtLeast(part, model, bound) => {
                let value = metrics.first(model)?;
                (value >= bound, format!("{part}: {model} finds it ({value:.2}, at least {bound})"))
            }
            Claim::AtMost(part, model, bound) => {
                let value = metrics.first(model)?;
                (value <= bound, format!("{part}: {model} does not see it ({value:.2}, at most {bound})"))
            }
        })
    }
}

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

    /// The claim in words.
    pub fn text(&self) -> String {
        match self {
            Claim::Above(task, metric, one, other, by) if *by > 0.0 => {
                format!("{task}, {metric}: {one} is above {other} by {by} or more")
            }
            Claim::Above(task, metric, one, other, _) => format!("{task}, {metric}: {one} is above {other}"),
            Claim::AtLeast(part, model, bound) => format!("{part}: {model} finds it (at least {bound})"),
            Claim::AtMost(part, model, bound) => format!("{part}: {model} does not see it (at most {bound})"),
        }
    }

    /// Whether it holds in a run, and the figures.
    ///
    /// # Errors
    /// A model that the metrics lack.
    pub fn check(&self, metrics: &Metrics) -> Result<(bool, String)> {
        Ok(match *self {
            Claim::Above(task, metric, one, other, by) => {
                let (a, b) = (metrics.value(one, task, metric)?, metrics.value(other, task, metric)?);
                (a - b > by, format!("{a:.3} and {b:.3}"))
            }
            Claim::AtLeast(_, model, bound) => {
                let value = metrics.first(model)?;
                (value >= bound, format!("{value:.3}"))
            }
            Claim::AtMost(_, model, bound) => {
                let value = metrics.first(model)?;
                (value <= bound, format!("{value:.3}"))
            }
        })
    }
}

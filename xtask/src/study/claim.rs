//! What the page claims of a run.

use super::Run;
use super::metrics::Metrics;
use anyhow::{Result, ensure};

/// A claim about a run, which holds or does not.
pub enum Claim {
    /// In a task and metric the first model is above the second by at least this.
    Above(&'static str, &'static str, &'static str, &'static str, f64),
    /// In a part of the run a model's first metric is at least this.
    AtLeast(&'static str, &'static str, f64),
    /// In a part of the run a model's first metric is at most this.
    AtMost(&'static str, &'static str, f64),
    /// In the C-index of a task the first model is ahead of the second by as much as lies between two bounds, on average over the
    /// seeds of one line of options.
    Between(&'static str, &'static str, &'static str, &'static str, f64, f64),
}

impl Claim {
    /// The folder of the metrics that it is about.
    pub fn part(&self) -> &'static str {
        match self {
            Claim::Above(..) | Claim::Between(..) => "",
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
            Claim::Between(run, task, one, other, low, high) => {
                let range = match (*low <= -1.0, *high >= 1.0) {
                    (true, _) => format!("by no more than {high}"),
                    (_, true) => format!("by {low} or more"),
                    _ => format!("by {low} to {high}"),
                };
                format!("`{run}`, {task}, C-index: {one} is ahead of {other} {range} on average")
            }
        }
    }

    /// Whether it holds in these runs of a block, and the figures of each.
    pub fn of_runs(&self, runs: &[Run]) -> (bool, Vec<String>) {
        let shown = |checked: Result<(bool, String)>| {
            // A row that is not there is no reason to lose the runs.
            let (here, shown) = checked.unwrap_or_else(|error| (false, error.to_string()));
            (here, if here { shown } else { format!("**not** {shown}") })
        };
        let checked: Vec<(bool, String)> = match self {
            Claim::Between(..) => vec![shown(self.on_average(runs))],
            _ => runs.iter().map(|run| shown(self.check(&run.metrics[self.part()]))).collect(),
        };
        (checked.iter().all(|c| c.0), checked.into_iter().map(|c| c.1).collect())
    }

    /// The mean lead over the seeds, and those of each.
    fn on_average(&self, runs: &[Run]) -> Result<(bool, String)> {
        let Claim::Between(of, task, one, other, low, high) = *self else {
            return Ok((false, String::new()));
        };
        let value = |run: &Run, model: &str| run.metrics[""].value(model, task, "C-index");
        let leads = runs.iter().filter(|run| run.label == of);
        let leads = leads.map(|run| Ok(value(run, one)? - value(run, other)?)).collect::<Result<Vec<_>>>()?;
        ensure!(!leads.is_empty(), "no run with {of}");
        let mean = leads.iter().sum::<f64>() / leads.len() as f64;
        let each = leads.iter().map(|lead| format!("{lead:.3}")).collect::<Vec<_>>().join(", ");
        Ok(((low..=high).contains(&mean), format!("{mean:.3}; by seed {each}")))
    }

    /// Whether it holds in a run, and the figures.
    ///
    /// # Errors
    /// A model that the metrics lack.
    fn check(&self, metrics: &Metrics) -> Result<(bool, String)> {
        Ok(match *self {
            Claim::Between(..) => anyhow::bail!("a claim about several runs"),
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

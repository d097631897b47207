use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a model predicts of one task for one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A right-censored time.
    Survival {
        /// Larger where the event is expected earlier. Only comparable among rows of one fold: two models' log risks have
        /// no common zero.
        risk: f64,
        /// The expected time to the event in years, where the model gives one.
        years: Option<f64>,
        /// The probability to be free of the event at the end of years 1, 2, ..., where the model gives one.
        survival: Option<Vec<f64>>,
    },
    /// The constants, in years, that are best on the training rows by each metric: what a model has to beat. They rank
    /// nobody.
    ConstantTime {
        /// The smallest squared error.
        mean: f64,
        /// The smallest absolute error.
        median: f64,
        /// The highest time-adjacent accuracy.
        adjacent: f64,
        /// The Kaplan-Meier survival at the end of years 1, 2, ..., where it is known.
        #[serde(default)]
        survival: Option<Vec<f64>>,
    },
    /// A probability for each class, or for each label.
    Probabilities(Vec<f64>),
}

impl Answer {
    /// A risk without a time.
    pub fn risk(risk: f64) -> Self {
        Answer::Survival { risk, years: None, survival: None }
    }

    /// The numbers of this answer with their names, as `predictions.csv` lists them.
    pub(crate) fn named(&self, names: &[String]) -> Vec<(String, f64)> {
        let curve = |survival: &Option<Vec<f64>>| {
            let yearly: Vec<f64> = survival.iter().flatten().copied().collect();
            yearly.into_iter().enumerate().map(|(k, p)| (format!("survival_{}y", k + 1), p))
        };
        match self {
            Answer::Survival { risk, years, survival } => {
                let mut all = vec![("risk".to_string(), *risk)];
                all.extend(years.map(|y| ("years".to_string(), y)));
                all.extend(curve(survival));
                all
            }
            Answer::ConstantTime { mean, median, adjacent, survival } => {
                let names = ["mean_years", "median_years", "adjacent_years"].map(String::from);
                names.into_iter().zip([*mean, *median, *adjacent]).chain(curve(survival)).collect()
            }
            Answer::Probabilities(p) => {
                let name = |k: usize| names.get(k).cloned().unwrap_or_else(|| k.to_string());
                p.iter().enumerate().map(|(k, p)| (name(k), *p)).collect()
            }
        }
    }
}

/// A model's predictions by the name of the task, one for each requested row, in their order. A task that the model
/// does not predict is absent.
pub type Answers = BTreeMap<String, Vec<Answer>>;

use crate::Result;
use oncograph_core::FollowUp;
use oncograph_datasets::scaler::Matrix;
use serde::{Deserialize, Serialize};

/// What is known of the outcome of each row; `None` where nothing is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A right-censored time.
    Survival(Vec<Option<FollowUp>>),
    /// One of several classes; of two, the second is the positive one.
    Classes {
        /// The names of the classes.
        names: Vec<String>,
        /// The class of each row, a position in `names`.
        classes: Vec<Option<usize>>,
    },
    /// Yes/no labels that may come together, each of which may be unknown.
    Labels {
        /// The names of the labels.
        names: Vec<String>,
        /// For each row one value per label.
        labels: Vec<Vec<Option<bool>>>,
    },
}

impl Target {
    /// The names of a probability's outputs; times have none.
    pub(crate) fn output_names(&self) -> &[String] {
        match self {
            Target::Survival(_) => &[],
            Target::Classes { names, .. } | Target::Labels { names, .. } => names,
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Target::Survival(v) => v.len(),
            Target::Classes { classes, .. } => classes.len(),
            Target::Labels { labels, .. } => labels.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether anything is known of a row.
    pub fn known(&self, row: usize) -> bool {
        match self {
            Target::Survival(v) => v[row].is_some(),
            Target::Classes { classes, .. } => classes[row].is_some(),
            Target::Labels { labels, .. } => labels[row].iter().any(Option::is_some),
        }
    }

    /// The same outcomes given to other rows: row `i` gets that of row `order[i]`.
    pub fn reordered(&self, order: &[usize]) -> Target {
        match self {
            Target::Survival(v) => Target::Survival(order.iter().map(|&i| v[i]).collect()),
            Target::Classes { names, classes } => {
                Target::Classes { names: names.clone(), classes: order.iter().map(|&i| classes[i]).collect() }
            }
            Target::Labels { names, labels } => Target::Labels {
                names: names.clone(),
                labels: order.iter().map(|&i| labels[i].clone()).collect(),
            },
        }
    }

    /// A stratum per row: whether the event was seen, the class, or the first label; unknown outcomes form one more stratum.
    pub fn strata(&self) -> Vec<usize> {
        let binary = |known: Option<bool>| known.map_or(2, usize::from);
        match self {
            Target::Survival(v) => v.iter().map(|f| binary(f.map(FollowUp::event))).collect(),
            Target::Classes { names, classes } => classes.iter().map(|c| c.unwrap_or(names.len())).collect(),
            Target::Labels { labels, .. } => {
                labels.iter().map(|l| binary(l.first().copied().flatten())).collect()
            }
        }
    }
}

/// One thing to predict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name in tables and files.
    pub name: String,
    /// What is known of it.
    pub target: Target,
}

impl Task {
    /// A task with its target.
    pub fn new(name: impl Into<String>, target: Target) -> Self {
        Task { name: name.into(), target }
    }
}

/// The rows that a study is made on: who they are, what is known of them, and what a baseline is given.
pub trait Cohort: Sync {
    /// The identifier of each row.
    fn ids(&self) -> &[String];

    /// What is predicted; each target has as many rows as there are identifiers.
    fn tasks(&self) -> &[Task];

    /// The covariates of every row as numbers without gaps, imputed and scaled by the rows `train` alone: what baselines
    /// are given.
    ///
    /// # Errors
    /// An error of the scaler.
    fn design(&self, train: &[usize]) -> Result<Matrix>;

    /// A stratum for each row, over which folds are balanced; by default that of the first task.
    fn strata(&self) -> Vec<usize> {
        self.tasks().first().map_or_else(|| vec![0; self.ids().len()], |t| t.target.strata())
    }

    /// A number for each row that rows of one patient share: they are never on two sides of a split. By default every row
    /// is a patient.
    fn groups(&self) -> Option<Vec<usize>> {
        None
    }

    /// Where each row was treated, if that is known.
    fn centres(&self) -> Option<&[String]> {
        None
    }

    /// A hash of the inputs, so that a run is not resumed on other data; outcomes and identifiers are added to it.
    fn fingerprint(&self) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_outcomes_are_a_stratum_of_their_own() {
        let time = |event| Some(FollowUp::years(1.0, event).unwrap());
        assert_eq!(Target::Survival(vec![time(true), None, time(false)]).strata(), [1, 2, 0]);
        let names = vec!["a".into(), "b".into()];
        let classes = Target::Classes { names, classes: vec![Some(1), None, Some(0)] };
        assert_eq!(classes.strata(), [1, 2, 0]);
        assert_eq!(classes.reordered(&[1, 0, 2]).strata(), [2, 1, 0]);
        assert!(!classes.known(1) && classes.known(2));
    }
}

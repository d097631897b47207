use super::inner_folds::CoxRows;
use super::{Baseline, HORIZON, Inputs, curve_years, known_times, martingale, years_and_events};
use crate::{Answer, Result, Target, Task};
use oncograph_core::{FollowUp, Seed};
use oncograph_losses::predicted_time;
use oncograph_metrics::{Covariates, CoxConfig, CoxModel, Survival, Ties};

/// How strong a ridge is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Penalty {
    /// As it is.
    Fixed(f64),
    /// Times the number of training rows.
    PerRow(f64),
}

/// What is tried by [`CoxRidge::by_inner_folds`], per training row, strongest first.
pub(super) const TRIED: [f64; 13] =
    [10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
pub(super) const FOLDS: usize = 5;

impl Penalty {
    pub(crate) fn of(self, rows: usize) -> f64 {
        match self {
            Penalty::Fixed(ridge) => ridge,
            // One division, so that a tenth of 10 rows is 1.
            Penalty::PerRow(share) => rows as f64 / (1.0 / share),
        }
    }
}

/// A Cox model with a ridge penalty.
#[derive(Debug, Clone, PartialEq)]
pub struct CoxRidge {
    name: String,
    /// None is chosen by inner folds.
    penalty: Option<Penalty>,
    most: Option<usize>,
    columns: Option<Vec<String>>,
}

impl CoxRidge {
    /// A model with the penalty `ridge / 2 |beta|^2`, on all columns.
    pub fn new(ridge: f64) -> Self {
        let penalty = Some(Penalty::Fixed(ridge));
        CoxRidge { name: "Cox, ridge".into(), penalty, most: None, columns: None }
    }

    /// A model on all columns whose penalty is the best of 13 between a thousandth and ten times the number of training
    /// rows, by the partial likelihood of five inner folds of them.
    ///
    /// # Reference
    /// Verweij and van Houwelingen, *Cross-validation in survival analysis*, Statistics in Medicine 12, 1993.
    pub fn by_inner_folds() -> Self {
        CoxRidge { penalty: None, ..CoxRidge::new(0.0) }
    }

    /// Sets what tables call it.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the penalty.
    pub fn penalty(mut self, penalty: Penalty) -> Self {
        self.penalty = Some(penalty);
        self
    }

    /// Uses the `columns` that correlate most with the training rows' martingale residuals: with more columns than rows it
    /// would only fit noise.
    pub fn most_correlated(mut self, columns: usize) -> Self {
        self.most = Some(columns);
        self
    }

    /// Uses some columns by name, for example the two that every clinician knows.
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }
}

impl Baseline for CoxRidge {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    fn answer(&self, task: &Task, inputs: &Inputs<'_>) -> Result<Option<Vec<Answer>>> {
        let Target::Survival(times) = &task.target else { return Ok(None) };
        let (rows, known) = known_times(times, inputs.train);
        let (years, events) = years_and_events(&known);
        let (train, test) = (inputs.rows(&rows), inputs.rows(inputs.test));
        let width = inputs.design.names.len();
        let columns: Vec<usize> = match self.most {
            Some(most) => strongest(&train, &martingale(&known)?, width, most),
            None => (0..width).collect(),
        };
        let take = |rows: &[Vec<f64>]| -> Vec<Vec<f64>> {
            rows.iter().map(|r| columns.iter().map(|&c| r[c]).collect()).collect()
        };
        let ridge = match self.penalty {
            Some(penalty) => penalty.of(rows.len()),
            None => by_inner_folds(take(&train), &known, inputs.seed.stream("ridge"))?,
        };
        let (train, test) = (take(&train).concat(), take(&test).concat());
        let config = CoxConfig::new().ridge(ridge);
        let survival = Survival::new(&years, &events)?;
        let model = CoxModel::fit(&survival, &Covariates::new(&train, columns.len())?, &config)?;
        let test = Covariates::new(&test, columns.len())?;
        let risks = model.linear_predictor(&test)?;
        let at = curve_years(model.baseline_time.last().copied().unwrap_or(0.0));
        let curves = model.survival(&test, &at)?;
        let answer = |(row, risk): (usize, f64)| {
            let curve = &curves[row * at.len()..(row + 1) * at.len()];
            Answer::Survival {
                risk,
                years: Some(predicted_time(curve).clamp(0.0, HORIZON as f64)),
                survival: Some(curve.to_vec()),
            }
        };
        Ok(Some(risks.into_iter().enumerate().map(answer).collect()))
    }
}

/// The ridge whose models lose least partial likelihood on the rows that they were not fitted on.
fn by_inner_folds(x: Vec<Vec<f64>>, known: &[FollowUp], seed: Seed) -> Result<f64> {
    let rows = CoxRows::new(x, known);
    let (all, _, _) = rows.pick(&rows.all());
    let all = Covariates::new(&all, rows.width())?;
    let fit = |train: &[usize]| {
        let (x, years, events) = rows.pick(train);
        let (survival, x) = (Survival::new(&years, &events)?, Covariates::new(&x, rows.width())?);
        let risks = |share: &f64| {
            let config = CoxConfig::new().ridge(share * train.len() as f64);
            Ok(CoxModel::fit(&survival, &x, &config)?.linear_predictor(&all)?)
        };
        TRIED.iter().map(risks).collect()
    };
    let best = rows.best_penalty(TRIED.len(), Ties::Efron, (FOLDS, seed), fit)?;
    Ok(TRIED[best] * known.len() as f64)
}

/// The columns whose sums with the residuals are largest, strongest first.
fn strongest(train: &[Vec<f64>], residuals: &[f64], width: usize, most: usize) -> Vec<usize> {
    let strength = |c: usize| train.iter().zip(residuals).map(|(r, m)| r[c] * m).sum::<f64>().abs();
    let strengths: Vec<f64> = (0..width).map(strength).collect();
    let mut columns: Vec<usize> = (0..width).collect();
    columns.sort_by(|&a, &b| strengths[b].total_cmp(&strengths[a]).then(a.cmp(&b)));
    columns.truncate(most);
    columns
}

use super::{Baseline, Inputs, known_times, martingale, years_and_events};
use crate::{Answer, Result, Target, Task};
use oncograph_core::{FollowUp, Seed};
use oncograph_datasets::splits::{merge_small_strata, stratified_k_fold};
use oncograph_losses::predicted_time;
use oncograph_metrics::{Covariates, CoxConfig, CoxModel, Survival, Ties, cox_log_likelihood};

/// How strong a ridge is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Penalty {
    /// As it is.
    Fixed(f64),
    /// Times the number of training rows.
    PerRow(f64),
}

/// What is tried by [`CoxRidge::by_inner_folds`], per training row, strongest first.
const TRIED: [f64; 13] = [10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const FOLDS: usize = 5;

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

/// Times are predicted up to this many years.
const HORIZON: usize = 12;

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
            None => by_inner_folds(&take(&train), &known, inputs.seed.stream("ridge"))?,
        };
        let (train, test) = (take(&train).concat(), take(&test).concat());
        let config = CoxConfig::new().ridge(ridge);
        let survival = Survival::new(&years, &events)?;
        let model = CoxModel::fit(&survival, &Covariates::new(&train, columns.len())?, &config)?;
        let test = Covariates::new(&test, columns.len())?;
        let risks = model.linear_predictor(&test)?;
        // A baseline hazard is known only as long as its patients were followed.
        let followed = model.baseline_time.last().copied().unwrap_or(0.0);
        let at: Vec<f64> = (1..=HORIZON).map(|y| y as f64).filter(|y| *y <= followed).collect();
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
fn by_inner_folds(x: &[Vec<f64>], known: &[FollowUp], seed: Seed) -> Result<f64> {
    let (years, events) = years_and_events(known);
    let width = x.first().map_or(0, Vec::len);
    let strata: Vec<usize> = events.iter().map(|e| usize::from(*e)).collect();
    let folds = stratified_k_fold(&merge_small_strata(&strata, FOLDS), FOLDS, seed)?;
    let all = (Survival::new(&years, &events)?, x.concat());
    let mut likelihood = [0.0; TRIED.len()];
    for fold in folds {
        let pick = |of: &[f64]| fold.train.iter().map(|&r| of[r]).collect::<Vec<f64>>();
        let inner_events: Vec<bool> = fold.train.iter().map(|&r| events[r]).collect();
        let inner_years = pick(&years);
        let survival = Survival::new(&inner_years, &inner_events)?;
        let rows: Vec<f64> = fold.train.iter().flat_map(|&r| x[r].iter().copied()).collect();
        for (sum, share) in likelihood.iter_mut().zip(TRIED) {
            let config = CoxConfig::new().ridge(share * fold.train.len() as f64);
            let model = CoxModel::fit(&survival, &Covariates::new(&rows, width)?, &config)?;
            let eta = model.linear_predictor(&Covariates::new(&all.1, width)?)?;
            let of = |survival: &Survival, eta: &[f64]| -> Result<f64> {
                Ok(cox_log_likelihood(survival, eta, Ties::Efron)?.log_likelihood)
            };
            *sum += of(&all.0, &eta)? - of(&survival, &pick(&eta))?;
        }
    }
    // The first of equals: the strongest.
    let best = (0..TRIED.len()).rev().max_by(|&a, &b| likelihood[a].total_cmp(&likelihood[b])).unwrap_or(0);
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

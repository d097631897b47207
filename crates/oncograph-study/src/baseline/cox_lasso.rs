use super::{Baseline, Inputs, known_times, years_and_events};
use crate::{Answer, Result, Target, Task};
use oncograph_core::FollowUp;
use oncograph_datasets::splits::{merge_small_strata, stratified_k_fold};
use oncograph_metrics::{Covariates, CoxLassoConfig, CoxLassoPath, Survival, Ties, cox_log_likelihood};

/// A Cox model with an absolute penalty, whose strength is chosen by inner folds of the training rows: by the
/// cross-validated partial likelihood of Verweij and van Houwelingen, *Cross-validation in survival analysis*, Statistics in
/// Medicine 12, 1993.
#[derive(Debug, Clone, PartialEq)]
pub struct CoxLasso {
    name: String,
    folds: usize,
    columns: Option<Vec<String>>,
}

impl CoxLasso {
    /// A model on all columns, its penalty chosen by five folds.
    pub fn new() -> Self {
        CoxLasso { name: "Cox, lasso".into(), folds: 5, columns: None }
    }

    /// Sets what tables call it.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Uses some columns by name.
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }
}

impl Default for CoxLasso {
    fn default() -> Self {
        Self::new()
    }
}

/// The smallest penalty tried, over the one at which every coefficient is 0: with more columns than rows smaller ones do not
/// converge, and are not chosen. The first of these with which all do.
const SMALLEST: [f64; 4] = [0.05, 0.1, 0.2, 0.5];
/// Penalties tried.
const PENALTIES: usize = 25;

impl Baseline for CoxLasso {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    fn answer(&self, task: &Task, inputs: &Inputs<'_>) -> Result<Option<Vec<Answer>>> {
        let Target::Survival(times) = &task.target else { return Ok(None) };
        let mut last = self.by(SMALLEST[0], times, inputs);
        for smallest in SMALLEST.into_iter().skip(1) {
            if last.is_ok() {
                break;
            }
            last = self.by(smallest, times, inputs);
        }
        last.map(Some)
    }
}

impl CoxLasso {
    /// The answers with penalties down to the share `smallest` of the largest.
    fn by(&self, smallest: f64, times: &[Option<FollowUp>], inputs: &Inputs<'_>) -> Result<Vec<Answer>> {
        let (rows, known) = known_times(times, inputs.train);
        let (years, events) = years_and_events(&known);
        let train = Rows { x: inputs.rows(&rows), years, events };
        let options = CoxLassoConfig::new().path(PENALTIES, smallest).convergence(10_000, 1e-6);
        let all: Vec<usize> = (0..rows.len()).collect();
        let path = train.path(&all, None, &options)?;
        let strata: Vec<usize> = train.events.iter().map(|e| usize::from(*e)).collect();
        let folds = stratified_k_fold(
            &merge_small_strata(&strata, self.folds),
            self.folds,
            inputs.seed.stream("lasso"),
        )?;
        let mut likelihood = vec![0.0; path.penalties.len()];
        for fold in folds {
            let inner = train.path(&fold.train, Some(&path.penalties), &options)?;
            for (k, sum) in likelihood.iter_mut().enumerate() {
                *sum += train.likelihood(&all, &inner, k)? - train.likelihood(&fold.train, &inner, k)?;
            }
        }
        // The first of equals: the largest penalty.
        let best =
            (0..likelihood.len()).rev().max_by(|&a, &b| likelihood[a].total_cmp(&likelihood[b])).unwrap_or(0);
        let test = inputs.rows(inputs.test).concat();
        let risks = path.linear_predictor(best, &Covariates::new(&test, inputs.design.names.len())?)?;
        Ok(risks.into_iter().map(Answer::risk).collect())
    }
}

/// The training rows.
struct Rows {
    x: Vec<Vec<f64>>,
    years: Vec<f64>,
    events: Vec<bool>,
}

impl Rows {
    fn pick(&self, rows: &[usize]) -> (Vec<f64>, Vec<f64>, Vec<bool>) {
        (
            rows.iter().flat_map(|&r| self.x[r].iter().copied()).collect(),
            rows.iter().map(|&r| self.years[r]).collect(),
            rows.iter().map(|&r| self.events[r]).collect(),
        )
    }

    fn path(&self, rows: &[usize], at: Option<&[f64]>, options: &CoxLassoConfig) -> Result<CoxLassoPath> {
        let (x, years, events) = self.pick(rows);
        let width = self.x.first().map_or(0, Vec::len);
        let (survival, x) = (Survival::new(&years, &events)?, Covariates::new(&x, width)?);
        Ok(match at {
            Some(penalties) => CoxLassoPath::fit_at(&survival, &x, penalties, options)?,
            None => CoxLassoPath::fit(&survival, &x, options)?,
        })
    }

    fn likelihood(&self, rows: &[usize], path: &CoxLassoPath, penalty: usize) -> Result<f64> {
        let (x, years, events) = self.pick(rows);
        let width = self.x.first().map_or(0, Vec::len);
        let eta = path.linear_predictor(penalty, &Covariates::new(&x, width)?)?;
        Ok(cox_log_likelihood(&Survival::new(&years, &events)?, &eta, Ties::Breslow)?.log_likelihood)
    }
}

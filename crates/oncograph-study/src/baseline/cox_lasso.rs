use super::inner_folds::CoxRows;
use super::{Baseline, Inputs, known_times};
use crate::{Answer, Result, Target, Task};
use oncograph_core::FollowUp;
use oncograph_metrics::{Covariates, CoxLassoConfig, CoxLassoPath, Survival, Ties};

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
        let train = CoxRows::new(inputs.rows(&rows), &known);
        let options = CoxLassoConfig::new().path(PENALTIES, smallest).convergence(10_000, 1e-6);
        let (x, ..) = train.pick(&train.all());
        let all = Covariates::new(&x, train.width())?;
        let path = path_on(&train, &train.all(), None, &options)?;
        let fit = |rows: &[usize]| {
            let inner = path_on(&train, rows, Some(&path.penalties), &options)?;
            (0..path.penalties.len()).map(|k| Ok(inner.linear_predictor(k, &all)?)).collect()
        };
        let folds = (self.folds, inputs.seed.stream("lasso"));
        let best = train.best_penalty(path.penalties.len(), Ties::Breslow, folds, fit)?;
        let test = inputs.rows(inputs.test).concat();
        let risks = path.linear_predictor(best, &Covariates::new(&test, inputs.design.names.len())?)?;
        Ok(risks.into_iter().map(Answer::risk).collect())
    }
}

/// The models on some rows, with given penalties or those of `options`.
fn path_on(
    train: &CoxRows,
    rows: &[usize],
    at: Option<&[f64]>,
    options: &CoxLassoConfig,
) -> Result<CoxLassoPath> {
    let (x, years, events) = train.pick(rows);
    let (survival, x) = (Survival::new(&years, &events)?, Covariates::new(&x, train.width())?);
    Ok(match at {
        Some(penalties) => CoxLassoPath::fit_at(&survival, &x, penalties, options)?,
        None => CoxLassoPath::fit(&survival, &x, options)?,
    })
}

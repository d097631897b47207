//! The numbers of a run: every metric with its interval, and the constant predictor beside it.

use crate::cohort::Patients;
use crate::config::RunConfig;
use crate::cross_validation::{Constants, FoldResult, STG, WITHOUT_IMAGES, cox_fold};
use oncograph::core::TimeUnit;
use oncograph::datasets::splits::Fold;
use oncograph::metrics::{
    BootstrapConfig, BootstrapInterval, IntervalMethod, Survival, TimeAdjacentAccuracy, bootstrap,
    concordance, dynamic_auc, mean_absolute_error, mean_squared_error,
};
use oncograph::nn::Seed;
use oncograph::spatiotemporal::Prediction;
use serde::{Deserialize, Serialize};

/// The tasks, in the order of every pair in this program.
pub const TASKS: [&str; 2] = ["recurrence", "survival"];

/// An estimate and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// One model's numbers on one task, over the out-of-fold predictions of all patients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub model: String,
    pub task: String,
    pub patients: usize,
    /// Harrell's C-index; a constant has 0.5.
    pub c_index: Option<Estimate>,
    /// Share within two years, censored patients as if observed.
    pub taa_all: Estimate,
    pub taa_events: Option<f64>,
    /// Share within two years, where a censored patient may be predicted later.
    pub taa_censor_aware: f64,
    /// Squared error in years^2.
    pub mse: Estimate,
    /// Absolute error in years.
    pub mae: Estimate,
    /// Cumulative/dynamic AUC at 3 years.
    pub auc_3y: Option<f64>,
}

/// Out-of-fold predictions of one model, one per patient, averaged over repetitions.
#[derive(Debug, Clone, PartialEq)]
pub struct OutOfFold {
    pub model: String,
    /// Per task and patient.
    pub years: [Vec<f64>; 2],
    pub risk: [Vec<f64>; 2],
}

impl OutOfFold {
    fn new(model: &str, patients: usize, parts: &[(&[usize], [&[Prediction]; 2])]) -> Self {
        let mut sums =
            [[vec![0.0; patients], vec![0.0; patients]], [vec![0.0; patients], vec![0.0; patients]]];
        let mut counts = vec![0usize; patients];
        for (test, predictions) in parts {
            for (k, &i) in test.iter().enumerate() {
                counts[i] += 1;
                for task in 0..2 {
                    // S-30: beyond the horizon there is no data.
                    sums[task][0][i] += predictions[task][k].years.clamp(0.0, 12.0);
                    sums[task][1][i] += predictions[task][k].risk;
                }
            }
        }
        let mean = |s: &[f64]| s.iter().zip(&counts).map(|(s, &n)| s / n.max(1) as f64).collect::<Vec<_>>();
        OutOfFold {
            model: model.into(),
            years: [mean(&sums[0][0]), mean(&sums[1][0])],
            risk: [mean(&sums[0][1]), mean(&sums[1][1])],
        }
    }
}

/// Everything that the report shows.
pub struct Evaluation {
    pub rows: Vec<Row>,
    pub models: Vec<OutOfFold>,
    /// Survival C-index with a share of anatomical nodes removed.
    pub node_drop: Vec<(f64, f64)>,
}

impl Evaluation {
    pub fn row(&self, model: &str, task: usize) -> Option<&Row> {
        self.rows.iter().find(|r| r.model == model && r.task == TASKS[task])
    }
}

/// The name of the trivial baseline.
pub const CONSTANT: &str = "constant";
/// The name of the clinical baseline.
pub const COX: &str = "Cox, clinical covariates";

pub fn evaluate(
    config: &RunConfig,
    patients: &Patients,
    folds: &[Fold],
    results: &[FoldResult],
) -> anyhow::Result<Evaluation> {
    let mut models = vec![];
    for name in [STG, WITHOUT_IMAGES] {
        let of_model: Vec<_> = results.iter().filter(|r| r.model == name).collect();
        let parts: Vec<(&[usize], [&[Prediction]; 2])> =
            of_model.iter().map(|r| (&r.test[..], [&r.predictions[0][..], &r.predictions[1][..]])).collect();
        if !parts.is_empty() {
            models.push(OutOfFold::new(name, patients.len(), &parts));
        }
    }
    let mut cox = vec![];
    for fold in folds {
        cox.push([cox_fold(patients, fold, 0)?, cox_fold(patients, fold, 1)?]);
    }
    let parts: Vec<_> = folds.iter().zip(&cox).map(|(f, p)| (&f.test[..], [&p[0][..], &p[1][..]])).collect();
    models.push(OutOfFold::new(COX, patients.len(), &parts));
    let seed = Seed::new(config.seed).stream("bootstrap");
    let mut rows = vec![];
    for task in 0..2 {
        for (m, model) in models.iter().enumerate() {
            rows.push(row(model, patients, task, seed.at(task as u64).at(m as u64))?);
        }
        rows.push(constant_row(patients, folds, task, seed.at(task as u64).stream(CONSTANT))?);
    }
    let node_drop = node_drop(patients, results)?;
    Ok(Evaluation { rows, models, node_drop })
}

fn row(model: &OutOfFold, patients: &Patients, task: usize, seed: Seed) -> anyhow::Result<Row> {
    let years = &model.years[task][..];
    let said = Said { taa: years, mse: years, mae: years, risk: Some(&model.risk[task]) };
    score(&model.model, &said, patients, task, seed)
}

/// What is scored by each metric: a model says one thing, the constants one for each metric and no ranking.
struct Said<'a> {
    taa: &'a [f64],
    mse: &'a [f64],
    mae: &'a [f64],
    risk: Option<&'a [f64]>,
}

fn score(name: &str, said: &Said, patients: &Patients, task: usize, seed: Seed) -> anyhow::Result<Row> {
    let survival = Survival::of(&patients.task(task), TimeUnit::Years)?;
    let years = survival.time();
    let taa = TimeAdjacentAccuracy::new(&survival, said.taa, 2.0)?;
    let rank = |risk: &[f64]| {
        interval(patients, seed.at(0), |rows| {
            let picked = Survival::of(&patients.follow_up(task, rows), TimeUnit::Years).ok()?;
            Some(concordance(&picked, &at(risk, rows)).ok()?.index)
        })
    };
    let auc = said.risk.and_then(|risk| dynamic_auc(&survival, &survival, risk, &[3.0]).ok());
    Ok(Row {
        model: name.into(),
        task: TASKS[task].into(),
        patients: patients.len(),
        c_index: said.risk.map(rank).transpose()?,
        taa_all: interval(patients, seed.at(1), |rows| {
            let hits = rows.iter().filter(|&&i| (said.taa[i] - years[i]).abs() <= 2.0).count();
            Some(hits as f64 / rows.len() as f64)
        })?,
        taa_events: taa.events_only,
        taa_censor_aware: taa.censor_aware,
        mse: interval(patients, seed.at(2), |rows| {
            mean_squared_error(&at(years, rows), &at(said.mse, rows)).ok()
        })?,
        mae: interval(patients, seed.at(3), |rows| {
            mean_absolute_error(&at(years, rows), &at(said.mae, rows)).ok()
        })?,
        auc_3y: auc.and_then(|a| a.auc.first().copied()),
    })
}

/// For each metric the best constant of each fold's training patients, applied to its held-out ones.
fn constant_row(patients: &Patients, folds: &[Fold], task: usize, seed: Seed) -> anyhow::Result<Row> {
    let n = patients.len();
    let (mut mean, mut median, mut taa) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    for fold in folds.iter().filter(|f| f.repeat == 0) {
        let constants = Constants::fit(&patients.follow_up(task, &fold.train))?;
        for &i in &fold.test {
            (mean[i], median[i], taa[i]) = (constants.mean, constants.median, constants.taa);
        }
    }
    score(CONSTANT, &Said { taa: &taa, mse: &mean, mae: &median, risk: None }, patients, task, seed)
}

fn interval(
    patients: &Patients,
    seed: Seed,
    statistic: impl Fn(&[usize]) -> Option<f64> + Sync,
) -> anyhow::Result<Estimate> {
    let options = BootstrapConfig::new().replicates(1000).method(IntervalMethod::Percentile);
    let BootstrapInterval { estimate, lower, upper, .. } =
        bootstrap(patients.len(), &options, &mut seed.rng(), statistic)?;
    Ok(Estimate { value: estimate, low: lower, high: upper })
}

fn at(values: &[f64], rows: &[usize]) -> Vec<f64> {
    rows.iter().map(|&i| values[i]).collect()
}

fn node_drop(patients: &Patients, results: &[FoldResult]) -> anyhow::Result<Vec<(f64, f64)>> {
    let full = results.iter().filter(|r| r.model == STG && r.repeat == 0 && !r.node_drop.is_empty());
    let full: Vec<_> = full.collect();
    let Some(first) = full.first() else { return Ok(vec![]) };
    let truth = Survival::of(&patients.task(1), TimeUnit::Years)?;
    let mut curve = vec![];
    for step in 0..=first.node_drop.len() {
        let mut risk = vec![0.0; patients.len()];
        for result in &full {
            let undropped: Vec<f64> = result.predictions[1].iter().map(|p| p.risk).collect();
            let values = if step == 0 { &undropped } else { &result.node_drop[step - 1].1 };
            result.test.iter().zip(values).for_each(|(&i, &r)| risk[i] = r);
        }
        let share = if step == 0 { 0.0 } else { first.node_drop[step - 1].0 };
        curve.push((share, concordance(&truth, &risk)?.index));
    }
    Ok(curve)
}

/// `metrics.csv`: one line per model and task over all patients, then one per fold.
pub fn metrics_csv(
    config: &RunConfig,
    patients: &Patients,
    evaluation: &Evaluation,
    results: &[FoldResult],
) -> String {
    let mut csv = String::from(
        "model,task,repeat,fold,seed,patients,c_index,c_index_low,c_index_high,taa_all,taa_events,taa_censor_aware,\
         mse_years2,mae_years,auc_3y\n",
    );
    let cell = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
    for r in &evaluation.rows {
        let c = |f: fn(&Estimate) -> f64| cell(r.c_index.as_ref().map(f));
        csv += &format!(
            "\"{}\",{},,,{},{},{},{},{},{},{},{},{},{},{}\n",
            r.model,
            r.task,
            config.seed,
            r.patients,
            c(|e| e.value),
            c(|e| e.low),
            c(|e| e.high),
            r.taa_all.value,
            cell(r.taa_events),
            r.taa_censor_aware,
            r.mse.value,
            r.mae.value,
            cell(r.auc_3y),
        );
    }
    for r in results {
        for (task, name) in TASKS.iter().enumerate() {
            let seen = patients.follow_up(task, &r.test);
            let truth: Vec<f64> = seen.iter().map(|o| o.in_years()).collect();
            let years: Vec<f64> = r.predictions[task].iter().map(|p| p.years.clamp(0.0, 12.0)).collect();
            let risk: Vec<f64> = r.predictions[task].iter().map(|p| p.risk).collect();
            // A small fold may have no comparable pair: its cell stays empty.
            let survival = Survival::of(&seen, TimeUnit::Years).ok();
            let c = survival.as_ref().and_then(|s| concordance(s, &risk).ok()).map(|c| c.index);
            let taa = survival.as_ref().and_then(|s| TimeAdjacentAccuracy::new(s, &years, 2.0).ok());
            csv += &format!(
                "\"{}\",{},{},{},{},{},{},,,{},{},{},{},{},\n",
                r.model,
                name,
                r.repeat,
                r.fold,
                config.seed,
                r.test.len(),
                cell(c),
                cell(taa.map(|t| t.all)),
                cell(taa.and_then(|t| t.events_only)),
                cell(taa.map(|t| t.censor_aware)),
                cell(mean_squared_error(&truth, &years).ok()),
                cell(mean_absolute_error(&truth, &years).ok()),
            );
        }
    }
    csv
}

/// `predictions.csv`: one line per patient and model.
pub fn predictions_csv(patients: &Patients, evaluation: &Evaluation) -> String {
    let mut csv = String::from(
        "patient,model,recurrence_years_true,recurrence_event,recurrence_years,recurrence_risk,\
         survival_years_true,death,survival_years,survival_risk\n",
    );
    for model in &evaluation.models {
        for (i, id) in patients.ids().iter().enumerate() {
            let [rec, os] = patients.outcomes[i];
            csv += &format!(
                "\"{}\",\"{}\",{},{},{},{},{},{},{},{}\n",
                id.replace('"', "'"),
                model.model,
                rec.in_years(),
                u8::from(rec.event()),
                model.years[0][i],
                model.risk[0][i],
                os.in_years(),
                u8::from(os.event()),
                model.years[1][i],
                model.risk[1][i],
            );
        }
    }
    csv
}

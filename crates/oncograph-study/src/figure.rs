use crate::score::{CALIBRATED_AT, by_fold, survival_at};
use crate::wide::tertiles;
use crate::{Answer, Cohort, Error, Metric, Result, Scores, StudyResults, Target, Task};
use oncograph_core::{Argument, FollowUp, TimeUnit};
use oncograph_metrics::{
    Binning, NetBenefit, RocCurve, Survival, calibration_curve, log_rank, survival_calibration,
    survival_decision_curve,
};
use oncograph_report::chart::{
    LearningCurve, RocSeries, SurvivalGroup, calibration, calibration_at_horizon, kaplan_meier,
    learning_curves, roc,
};
use oncograph_report::{Figure, palette};

/// Groups of a calibration plot of probabilities, and of survival.
const GROUPS: usize = 10;
const QUINTILES: usize = 5;

/// Kaplan-Meier curves by thirds of a model's held-out risk in the first repetition, with the log-rank p, and its range where
/// there are several repetitions.
///
/// Thirds are made within each fold: risks of two folds' models are not comparable.
///
/// # Errors
/// A task without times, a model without risks, too few rows for three groups.
pub fn risk_tertiles(
    results: &StudyResults,
    data: &(impl Cohort + ?Sized),
    model: &str,
    task: &str,
) -> Result<Figure> {
    let (task, times) = with_times(data, task, "risk_tertiles")?;
    let held = results.held(model, task);
    let first = held.first().map(|first| by_third(first, times)).unwrap_or_default();
    let named: Vec<_> = ["low risk", "middle", "high risk"]
        .into_iter()
        .zip(&first)
        .zip(palette::RISK)
        .map(|((name, (time, event)), colour)| SurvivalGroup::new(name, time, event).colour(colour))
        .collect();
    let figure = kaplan_meier(&named, "years", 0.95)?;
    let figure = figure
        .titled(format!("Kaplan-Meier curves, {}: tertiles of the held-out risk of {model}", task.name));
    Ok(match log_rank_of_all(&held, times) {
        Some(remark) => figure.with_remark(remark),
        None => figure,
    })
}

/// Years and events of the rows in each third of a repetition's held-out risk.
fn by_third(held: &[Option<crate::Held>], times: &[Option<FollowUp>]) -> [(Vec<f64>, Vec<bool>); 3] {
    let mut groups: [(Vec<f64>, Vec<bool>); 3] = Default::default();
    for (group, time) in tertiles(held, times).into_iter().zip(times) {
        let (Some(group), Some(time)) = (group, time) else { continue };
        groups[group].0.push(time.in_years());
        groups[group].1.push(time.event());
    }
    groups
}

/// How far the log-rank p of the thirds depends on how patients were divided: one of several repetitions is not to be quoted
/// alone.
fn log_rank_of_all(held: &[Vec<Option<crate::Held>>], times: &[Option<FollowUp>]) -> Option<String> {
    let p = |held: &Vec<Option<crate::Held>>| {
        let known =
            tertiles(held, times).into_iter().zip(times).filter_map(|(group, time)| Some((group?, (*time)?)));
        let (groups, known): (Vec<usize>, Vec<FollowUp>) = known.unzip();
        Some(log_rank(&Survival::of(&known, TimeUnit::Years).ok()?, &groups).ok()?.p_value)
    };
    let mut all: Vec<f64> = held.iter().filter_map(p).collect();
    all.sort_by(f64::total_cmp);
    let (low, high, middle) = (all.first()?, all.last()?, all.get((all.len() - 1) / 2)?);
    (all.len() > 1).then(|| {
        format!(
            "Curves and p are those of the first of {} repetitions of the cross-validation; over all of them p is {low:.3} to {high:.3}, median {middle:.3}.",
            all.len()
        )
    })
}

/// The validation loss of a model by epoch, one curve for each fold of the first repetition, the epoch kept marked.
///
/// # Errors
/// A model that was not trained in epochs.
pub fn learning_curve(results: &StudyResults, model: &str) -> Result<Figure> {
    let shown = results.of_model(model).filter(|j| j.repeat == 0 && !j.history.is_empty());
    let line = |job: &crate::JobResult| {
        let points = job.history.iter().map(|e| (e.epoch as f64 + 1.0, e.score)).collect();
        LearningCurve::new(format!("fold {}", job.fold + 1), points)
            .colour(job.fold)
            .mark(job.best_epoch as f64 + 1.0)
    };
    let series: Vec<LearningCurve> = shown.map(line).collect();
    if series.is_empty() {
        return Err(Argument::new("learning_curve", "model", "one that is trained in epochs", model).into());
    }
    learning_curves(&series, "Epoch", "Validation loss").map_err(Error::from)
}

/// ROC curves of models on a task of two classes, with the areas of `scores` and their intervals in the legend.
///
/// As in the score, rows are compared within a fold: a curve is the mean of those of the folds at each false positive rate,
/// weighted by the folds' pairs of a positive and a negative row (vertical averaging; Fawcett, *An introduction to ROC
/// analysis*, Pattern Recognition Letters 27, 2006, section 8), so that the area under it is the score.
///
/// # Errors
/// A task that does not have two classes; a model without an AUROC.
pub fn roc_curves(
    results: &StudyResults,
    data: &(impl Cohort + ?Sized),
    scores: &Scores,
    models: &[&str],
    task: &str,
) -> Result<Figure> {
    let operation = "roc_curves";
    let (task, _) = two_classes(data, task, operation)?;
    let mut curves = vec![];
    for model in models {
        let area = scores.row(model, &task.name).and_then(|r| r.metric(Metric::Auroc));
        let area = area.ok_or_else(|| Argument::new(operation, "models", "models with an AUROC", *model))?;
        curves.push((*model, area, mean_curve(&positives(results, model, task))?));
    }
    let series = curves.iter().map(|(name, area, curve)| match area.interval() {
        Some((low, high)) => RocSeries::new(name, curve).interval(low.clamp(0.0, 1.0), high.clamp(0.0, 1.0)),
        None => RocSeries::new(name, curve),
    });
    Ok(roc(&series.collect::<Vec<_>>())?)
}

/// Observed against predicted probability of the second class, in ten groups of the held-out rows of the first repetition.
///
/// # Errors
/// A task that does not have two classes; a model without answers for it.
pub fn calibration_plot(
    results: &StudyResults,
    data: &(impl Cohort + ?Sized),
    model: &str,
    task: &str,
) -> Result<Figure> {
    let (task, positive) = two_classes(data, task, "calibration_plot")?;
    let held = positives(results, model, task).into_iter().next().unwrap_or_default().concat();
    let (label, probability): (Vec<bool>, Vec<f64>) = held.into_iter().unzip();
    let bins = calibration_curve(&label, &probability, GROUPS, Binning::Quantile)?;
    let points: Vec<_> = bins.iter().map(Into::into).collect();
    Ok(calibration(&points, &format!("probability of {}, {positive}", task.name))?.titled(model))
}

/// Kaplan-Meier survival at 3 years against the predicted one, in five groups of the held-out rows of the first repetition.
///
/// # Errors
/// A task without times; a model without survival curves.
pub fn survival_calibration_plot(
    results: &StudyResults,
    data: &(impl Cohort + ?Sized),
    model: &str,
    task: &str,
) -> Result<Figure> {
    let operation = "survival_calibration_plot";
    let (task, times) = with_times(data, task, operation)?;
    let held = results.held(model, task);
    let (mut known, mut predicted) = (vec![], vec![]);
    for (held, time) in held.first().into_iter().flatten().zip(times) {
        let (Some(held), Some(time)) = (held, time) else { continue };
        let curve = survival_at(&held.answer, CALIBRATED_AT);
        let expected = "one with survival at 3 years";
        predicted.push(curve.ok_or_else(|| Argument::new(operation, "model", expected, model))?);
        known.push(*time);
    }
    let survival = Survival::of(&known, TimeUnit::Years)?;
    let calibration = survival_calibration(&survival, &predicted, CALIBRATED_AT as f64, QUINTILES)?;
    let figure =
        calibration_at_horizon(&calibration, "years")?.titled(format!("Calibration, {}: {model}", task.name));
    let several = format!(
        "Of the first of {} repetitions; the tables have the mean slope of all repetitions.",
        held.len()
    );
    Ok(if held.len() > 1 { figure.with_remark(several) } else { figure })
}

/// Net benefit of treating by the predicted probability of the event within `years`, over threshold probabilities, beside
/// treating all and none, with censoring (Vickers, Cronin, Elkin and Gonen, *Extensions to decision curve analysis*, BMC Medical
/// Informatics and Decision Making 8, 2008). Models are pairs of their name and what the legend calls them; a curve is
/// the mean over repetitions. Treating all is drawn as far as it harms little.
///
/// # Errors
/// A task without times; a model without survival curves of that length.
pub fn decision_curves(
    results: &StudyResults,
    data: &(impl Cohort + ?Sized),
    models: &[(&str, &str)],
    (task, years): (&str, usize),
) -> Result<Figure> {
    let operation = "decision_curves";
    let (task, times) = with_times(data, task, operation)?;
    let thresholds: Vec<f64> = (1..=45).map(|k| f64::from(k) / 50.0).collect();
    let (mut lines, mut all, mut gaps) = (vec![], vec![], false);
    for (model, name) in models {
        let held = results.held(model, task);
        let mut net = vec![0.0; thresholds.len()];
        for repetition in &held {
            let curve = net_benefit(repetition, times, years, &thresholds)?;
            let curve = curve.ok_or_else(|| {
                Argument::new(operation, "models", format!("models with survival at {years} years"), *model)
            })?;
            net.iter_mut().zip(&curve).for_each(|(sum, point)| *sum += point.model / held.len() as f64);
            all = curve.into_iter().map(|p| (p.threshold, p.treat_all)).collect();
        }
        gaps |= net.iter().any(|v| v.is_nan());
        lines.push(LearningCurve::new(*name, thresholds.iter().copied().zip(net).collect()));
    }
    all.retain(|(_, net): &(f64, f64)| *net > -0.1);
    lines.push(LearningCurve::new("treat all", all).dashed());
    lines.push(LearningCurve::new("treat none", thresholds.iter().map(|t| (*t, 0.0)).collect()).dashed());
    let figure = learning_curves(&lines, "Threshold probability", "Net benefit")?;
    let figure = figure.titled(format!("Decision curves, {} within {years} years", task.name));
    let remark = "A gap: nobody who would be treated at that threshold was followed for so long.";
    Ok(if gaps { figure.with_remark(remark) } else { figure })
}

/// The decision curve of one repetition; `None` if an answer has no survival at that year.
fn net_benefit(
    held: &[Option<crate::Held>],
    times: &[Option<FollowUp>],
    years: usize,
    thresholds: &[f64],
) -> Result<Option<Vec<NetBenefit>>> {
    let (mut known, mut probability) = (vec![], vec![]);
    for (held, time) in held.iter().zip(times) {
        let (Some(held), Some(time)) = (held, time) else { continue };
        let Some(free) = survival_at(&held.answer, years) else { return Ok(None) };
        probability.push(1.0 - free);
        known.push(*time);
    }
    let survival = Survival::of(&known, TimeUnit::Years)?;
    Ok(Some(survival_decision_curve(&survival, &probability, years as f64, thresholds)?))
}

/// A task and its times.
pub(crate) fn with_times<'a>(
    data: &'a (impl Cohort + ?Sized),
    task: &str,
    operation: &'static str,
) -> Result<(&'a Task, &'a [Option<FollowUp>])> {
    match data.tasks().iter().find(|t| t.name == task).map(|t| (t, &t.target)) {
        Some((found, Target::Survival(times))) => Ok((found, times)),
        _ => Err(Argument::new(operation, "task", "one with times", task).into()),
    }
}

/// A task and the name of the second of its two classes.
fn two_classes<'a>(
    data: &'a (impl Cohort + ?Sized),
    task: &str,
    operation: &'static str,
) -> Result<(&'a Task, &'a str)> {
    match data.tasks().iter().find(|t| t.name == task).map(|t| (t, &t.target)) {
        Some((found, Target::Classes { names, .. })) if names.len() == 2 => Ok((found, &names[1])),
        _ => Err(Argument::new(operation, "task", "one of two classes", task).into()),
    }
}

/// By repetition and fold, whether a row is of the second class and the probability that the model gave it.
fn positives(results: &StudyResults, model: &str, task: &Task) -> Vec<Vec<Vec<(bool, f64)>>> {
    let Target::Classes { classes, .. } = &task.target else { return vec![] };
    let repetition = |held: &Vec<Option<crate::Held>>| {
        by_fold(held.iter().zip(classes).filter_map(|(held, class)| {
            let held = held.as_ref()?;
            match &held.answer {
                Answer::Probabilities(p) => Some((held.fold, ((*class)? == 1, *p.get(1)?))),
                _ => None,
            }
        }))
    };
    results.held(model, task).iter().map(repetition).collect()
}

/// The mean of the folds' curves at each false positive rate. A fold with one class alone has none.
fn mean_curve(repetitions: &[Vec<Vec<(bool, f64)>>]) -> Result<RocCurve> {
    let mut curves: Vec<(RocCurve, f64)> = vec![];
    for folds in repetitions {
        let own = folds.iter().filter_map(|fold| {
            let (label, score): (Vec<bool>, Vec<f64>) = fold.iter().copied().unzip();
            let positive = label.iter().filter(|l| **l).count();
            let pairs = (positive * (label.len() - positive)) as f64;
            Some((RocCurve::new(&label, &score).ok()?, pairs))
        });
        let own: Vec<_> = own.collect();
        let pairs: f64 = own.iter().map(|c| c.1).sum();
        curves.extend(own.into_iter().map(|(curve, p)| (curve, p / pairs)));
    }
    let (curves, weights): (Vec<RocCurve>, Vec<f64>) = curves.into_iter().unzip();
    Ok(RocCurve::vertical_average(&curves, &weights)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScoreOptions;
    use crate::testing::Toy;
    use crate::{CoxLasso, CoxRidge, Logistic, Penalty, Study};
    use oncograph_train::RunDir;

    #[test]
    fn survival_is_calibrated_where_a_model_gives_it() {
        let (toy, folder) = (Toy::new(120), tempfile::tempdir().unwrap());
        let run = RunDir::create(folder.path()).unwrap();
        let study = Study::new(&toy, &run).baseline(CoxRidge::new(1.0)).baseline(CoxLasso::new());
        let results = study.run().unwrap();
        let figure = survival_calibration_plot(&results, &toy, "Cox, ridge", "survival").unwrap();
        assert!(figure.alt().contains("survival at 3 years"), "{}", figure.alt());
        let figure = decision_curves(&results, &toy, &[("Cox, ridge", "Cox")], ("survival", 3)).unwrap();
        for part in ["treat all", "treat none", "Cox"] {
            assert!(figure.svg().unwrap().contains(part), "{part}");
        }
        assert!(decision_curves(&results, &toy, &[("Cox, lasso", "l")], ("survival", 3)).is_err());
        let error = survival_calibration_plot(&results, &toy, "Cox, lasso", "survival").unwrap_err();
        assert!(error.to_string().contains("survival at 3 years"), "{error}");
    }

    #[test]
    fn the_page_says_how_far_log_rank_depends_on_the_division() {
        let toy = Toy::new(90);
        let caption = |repeats: usize| {
            let folder = tempfile::tempdir().unwrap();
            let run = RunDir::create(folder.path()).unwrap();
            let study = Study::new(&toy, &run).cross_validation(3, repeats);
            let results = study.baseline(CoxRidge::new(1.0)).run().unwrap();
            risk_tertiles(&results, &toy, "Cox, ridge", "survival").unwrap().caption().to_owned()
        };
        assert!(!caption(1).contains("repetitions"));
        let (said, own) =
            (caption(3), "first of 3 repetitions of the cross-validation; over all of them p is");
        assert!(said.contains("Log-rank test") && said.contains(own), "{said}");
    }

    #[test]
    fn the_area_under_the_drawn_curve_is_the_score() {
        let (toy, folder) = (Toy::new(61), tempfile::tempdir().unwrap());
        let run = RunDir::create(folder.path()).unwrap();
        let study = Study::new(&toy, &run)
            .cross_validation(3, 2)
            .baseline(Logistic::new(Penalty::Fixed(1.0)).named("line"));
        let results = study.run().unwrap();
        let scores = results.score(&toy, &ScoreOptions::default().replicates(20)).unwrap();
        let task = toy.tasks().iter().find(|t| t.name == "response").unwrap();
        let curve = mean_curve(&positives(&results, "line", task)).unwrap();
        let score = scores.row("line", "response").unwrap().first().unwrap().value;
        assert!((curve.auc() - score).abs() < 1e-12, "{} {score}", curve.auc());
        let figure = roc_curves(&results, &toy, &scores, &["line"], "response").unwrap();
        assert!(figure.svg().unwrap().contains(&format!("line: AUC {score:.2}")));
        calibration_plot(&results, &toy, "line", "response").unwrap();
        let error = roc_curves(&results, &toy, &scores, &["line"], "survival").unwrap_err().to_string();
        assert!(error.contains("one of two classes"), "{error}");
    }
}

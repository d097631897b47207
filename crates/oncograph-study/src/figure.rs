use crate::{Answer, Cohort, Error, Result, StudyResults, Target};
use oncograph_core::Argument;
use oncograph_report::Figure;
use oncograph_report::chart::{LearningCurve, SurvivalGroup, kaplan_meier, learning_curves};
use std::collections::BTreeMap;

/// Kaplan-Meier curves by thirds of a model's held-out risk in the first repetition, with the log-rank p.
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
    let found = data.tasks().iter().find(|t| t.name == task);
    let Some((task, Target::Survival(times))) = found.map(|t| (t, &t.target)) else {
        return Err(Argument::new("risk_tertiles", "task", "one with times", task).into());
    };
    let held = results.held(model, task);
    let mut folds: BTreeMap<usize, Vec<(f64, f64, bool)>> = BTreeMap::new();
    for (row, held) in held.first().into_iter().flatten().enumerate() {
        let (Some(time), Some(held)) = (times[row], held) else { continue };
        if let Answer::Survival { risk, .. } = held.answer {
            folds.entry(held.fold).or_default().push((risk, time.in_years(), time.event()));
        }
    }
    let mut groups: [(Vec<f64>, Vec<bool>); 3] = Default::default();
    for mut fold in folds.into_values() {
        fold.sort_by(|a, b| a.0.total_cmp(&b.0));
        let n = fold.len();
        for (i, (_, time, event)) in fold.into_iter().enumerate() {
            let group = &mut groups[3 * i / n];
            group.0.push(time);
            group.1.push(event);
        }
    }
    let named: Vec<_> = ["low risk", "middle", "high risk"]
        .into_iter()
        .zip(&groups)
        .map(|(name, (time, event))| SurvivalGroup::new(name, time, event))
        .collect();
    let figure = kaplan_meier(&named, "years", 0.95)?;
    Ok(figure.titled(format!("Freedom from {} by tertile of held-out risk of {model}", task.name)))
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

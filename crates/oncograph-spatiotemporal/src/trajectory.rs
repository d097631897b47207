//! The risks of a study's held-out patients from step to step.

use crate::missing::extras;
use crate::{Result, STG_TASKS, StgCohort, StgInputs, TrainedStg};
use candle_core::DType;
use oncograph_report::chart::{LearningCurve, learning_curves};
use oncograph_report::{Figure, palette};
use oncograph_study::StudyResults;

/// The risks of a job's held-out patients, by task, patient and step.
pub(crate) type StepRisks = [Vec<Vec<f64>>; 2];

/// What both heads make of the state of each step ([`crate::Stg::step_risks`]); nothing for a network without steps, or whose
/// heads see all steps at once.
pub(crate) fn step_risks(model: &TrainedStg, inputs: &StgInputs) -> Result<StepRisks> {
    let config = model.network.config();
    if !config.architecture.has_steps() || !config.has_step_risks() {
        return Ok(StepRisks::default());
    }
    let output = inputs.table.output(&model.network, &inputs.graphs.iter().collect::<Vec<_>>())?;
    let risks = model.network.step_risks(&output)?.to_dtype(DType::F64)?.to_vec3::<f64>()?;
    let of = |task: usize| risks.iter().map(|steps| steps.iter().map(|both| both[task]).collect()).collect();
    Ok([of(0), of(1)])
}

/// The mean risk at each yearly step by thirds of the held-out risk of a model in the first repetition ([`StudyResults::thirds`]),
/// less the mean of all patients and steps of the same fold: risks of two folds' networks have no common zero. `None` for networks
/// without a risk per step.
///
/// A step is a position of the network, which is embedded as a year. Nothing in the training says what has happened by the end
/// of it: its risk is no forecast for that year.
///
/// # Errors
/// Results that are not those of an [`crate::StgSystem`], an unknown task, an error of the drawing.
pub fn risk_by_step(
    results: &StudyResults,
    cohort: &StgCohort,
    model: &str,
    task: &str,
) -> Result<Option<Figure>> {
    let Some(place) = STG_TASKS.iter().position(|name| *name == task) else { return Ok(None) };
    let thirds = results.thirds(cohort, model, task)?;
    let mut sums: [(Vec<f64>, usize); 3] = Default::default();
    for job in results.of_model(model).filter(|job| job.repeat == 0) {
        let risks = &extras(job)?.step_risks[place];
        let numbers = || risks.iter().flatten();
        let mean = numbers().sum::<f64>() / numbers().count().max(1) as f64;
        for (&row, steps) in job.test.iter().zip(risks) {
            let Some(third) = thirds[row] else { continue };
            let (sum, patients) = &mut sums[third];
            sum.resize(steps.len(), 0.0);
            sum.iter_mut().zip(steps).for_each(|(sum, risk)| *sum += risk - mean);
            *patients += 1;
        }
    }
    if sums.iter().any(|(sum, _)| sum.is_empty()) {
        return Ok(None);
    }
    let curve = |((name, colour), (sum, patients)): ((&str, usize), &(Vec<f64>, usize))| {
        let point = |(step, sum): (usize, &f64)| (step as f64 + 1.0, sum / *patients as f64);
        LearningCurve::new(name, sum.iter().enumerate().map(point).collect()).colour(colour)
    };
    let curves: Vec<LearningCurve> =
        ["low risk", "middle", "high risk"].into_iter().zip(palette::RISK).zip(&sums).map(curve).collect();
    Ok(Some(learning_curves(&curves, "Step", "Risk above the fold's mean")?))
}

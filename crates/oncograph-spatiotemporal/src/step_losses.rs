//! The terms of a training step's loss that depend on who the patients are.

use crate::config::SurvivalLoss;
use crate::{Result, TimeScale};
use candle_core::Tensor;
use oncograph_core::FollowUp;
use oncograph_losses::{
    CoxCohort, Denominator, Ties, censored_hinge, cox, cox_in_cohort, cross_view, discrete_hazard, mse,
};
use oncograph_train::Validation;

/// InfoNCE between views, in which a patient's other copies are no negatives of it; 0 where all are of one patient.
pub(crate) fn infonce(own: &Tensor, other: &Tensor, temperature: f64, patients: &[usize]) -> Result<Tensor> {
    if patients.iter().all(|p| *p == patients[0]) {
        return Ok((own.sum_all()? * 0.0)?);
    }
    let denominator = Denominator::IncludePositive;
    Ok(cross_view(own, other, temperature, denominator, Some(patients))?)
}

pub(crate) fn value(scalar: &Tensor) -> Result<f64> {
    Ok(scalar.to_dtype(candle_core::DType::F64)?.to_scalar()?)
}

/// The losses of both tasks on the validation patients as one score, with equal weights: the schedule moves weights, which must
/// not look like progress.
pub(crate) fn validation([recurrence, survival]: &[Tensor; 2]) -> Result<Validation> {
    let (recurrence, survival) = (value(recurrence)?, value(survival)?);
    let parts = vec![("recurrence", recurrence), ("survival", survival)];
    Ok(Validation { score: 0.5 * (recurrence + survival), parts })
}

/// The patients beyond a batch whom its risk sets hold, as they were when the epoch began (S-16).
#[derive(Debug, Clone)]
pub(crate) struct KnownRisks {
    pub years: Vec<f64>,
    pub events: Vec<bool>,
    pub log_risks: Vec<f64>,
}

/// The loss of one task's head; with `known`, and the place of each row in it, risk sets are those of all its patients.
pub(crate) fn task_loss(
    kind: SurvivalLoss,
    head: &Tensor,
    outcomes: &[FollowUp],
    scale: &TimeScale,
    known: Option<(&KnownRisks, &[usize])>,
) -> Result<Tensor> {
    let years: Vec<f64> = outcomes.iter().map(|o| o.in_years()).collect();
    let events: Vec<bool> = outcomes.iter().map(|o| o.event()).collect();
    let normalized: Vec<f64> = years.iter().map(|&y| scale.normalize(y)).collect();
    let all = vec![1.0; outcomes.len()];
    let observed: Vec<f64> = events.iter().map(|&e| f64::from(u8::from(e))).collect();
    let partial = |log_risk: &Tensor| match known {
        None => cox(log_risk, &years, &events, Ties::Breslow),
        Some((KnownRisks { years, events, log_risks }, places)) => {
            cox_in_cohort(log_risk, places, CoxCohort { time: years, event: events, log_risk: log_risks })
        }
    };
    Ok(match kind {
        SurvivalLoss::Mse => mse(head, &normalized, &all)?,
        SurvivalLoss::MseEvents => mse(head, &normalized, &observed)?,
        SurvivalLoss::Hinge => censored_hinge(head, &normalized, &events)?,
        SurvivalLoss::Cox => partial(head)?,
        SurvivalLoss::MseCox => {
            let time = mse(&head.narrow(1, 0, 1)?, &normalized, &all)?;
            (time + partial(&head.narrow(1, 1, 1)?.contiguous()?)?)?
        }
        SurvivalLoss::DiscreteHazard => discrete_hazard(head, &years, &events)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_losses::info_nce;
    use oncograph_nn::testing::{device, pattern};

    #[test]
    fn another_copy_of_the_patient_is_no_negative() {
        let (a, b) = (pattern(&[4, 3], 1).unwrap(), pattern(&[4, 3], 2).unwrap());
        let loss = |patients: &[usize]| value(&infonce(&a, &b, 0.2, patients).unwrap()).unwrap();
        let all = value(&info_nce(&a, &b, 0.2).unwrap()).unwrap();
        assert!((loss(&[0, 1, 2, 3]) - all).abs() < 1e-12);
        // Fewer negatives, a smaller loss: rows 1 and 3 are of one patient.
        assert!(loss(&[0, 1, 2, 1]) < all);
        let far = Tensor::new(&[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], &device()).unwrap();
        let copies = value(&infonce(&far, &far, 0.1, &[5, 6, 5]).unwrap()).unwrap();
        assert!(copies < 1e-3, "copies of one patient push each other away: {copies}");
        assert_eq!(loss(&[7, 7, 7, 7]), 0.0);
    }
}

use crate::config::SurvivalLoss;
use crate::{Error, Result, TimeScale};
use candle_core::{DType, Tensor};
use oncograph_core::FollowUp;
use oncograph_losses::{predicted_time, survival_curve};
use oncograph_study::Answer;
use serde::{Deserialize, Serialize};

/// One patient's prediction for one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimePrediction {
    /// Years to the event.
    pub years: f64,
    /// The larger, the sooner: what a concordance index ranks.
    pub risk: f64,
    /// The probability to be free of the event at the end of each year, where the loss gives one.
    pub survival: Option<Vec<f64>>,
}

impl From<TimePrediction> for Answer {
    fn from(p: TimePrediction) -> Self {
        Answer::Survival { risk: p.risk, years: Some(p.years), survival: p.survival }
    }
}

/// Predictions of one task from its head's outputs; `training` are the outputs and outcomes of the training split,
/// from which Breslow's baseline turns log risks into times.
///
/// # Shapes
/// `head` \[patients, outputs\], as the configured loss takes them
///
/// # Errors
/// [`Error::Input`] if a Cox model comes without training outputs, or an error of candle.
pub fn predict(
    kind: SurvivalLoss,
    head: &Tensor,
    scale: &TimeScale,
    horizon: usize,
    training: Option<(&Tensor, &[FollowUp])>,
) -> Result<Vec<TimePrediction>> {
    let rows = head.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    Ok(match kind {
        SurvivalLoss::Mse | SurvivalLoss::MseEvents | SurvivalLoss::Hinge => {
            let predict_time =
                |row: Vec<f64>| TimePrediction { years: scale.years(row[0]), risk: -row[0], survival: None };
            rows.into_iter().map(predict_time).collect()
        }
        SurvivalLoss::MseCox => {
            let predict_both =
                |row: Vec<f64>| TimePrediction { years: scale.years(row[0]), risk: row[1], survival: None };
            rows.into_iter().map(predict_both).collect()
        }
        SurvivalLoss::DiscreteHazard => {
            let curves = survival_curve(&head.to_dtype(DType::F64)?)?.to_vec2::<f64>()?;
            let predict_curve = |curve: Vec<f64>| {
                // A curve's mean ranks patients whose medians fall beyond the horizon.
                let mean = curve.iter().sum::<f64>();
                TimePrediction { years: predicted_time(&curve), risk: -mean, survival: Some(curve) }
            };
            curves.into_iter().map(predict_curve).collect()
        }
        SurvivalLoss::Cox => {
            let Some((outputs, outcomes)) = training else {
                return Err(Error::input("Cox prediction", "the training outputs", "none"));
            };
            let eta = outputs.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
            let baseline = breslow(outcomes, &eta, horizon)?;
            let predict_risk = |row: Vec<f64>| {
                let curve: Vec<f64> = baseline.iter().map(|h| (-h * row[0].exp()).exp()).collect();
                TimePrediction { years: predicted_time(&curve), risk: row[0], survival: Some(curve) }
            };
            rows.into_iter().map(predict_risk).collect()
        }
    })
}

/// Breslow's cumulative baseline hazard at the end of each year.
fn breslow(outcomes: &[FollowUp], eta: &[f64], horizon: usize) -> Result<Vec<f64>> {
    if outcomes.len() != eta.len() {
        return Err(Error::input("training outputs", outcomes.len(), eta.len()));
    }
    let hazard = |year: f64| -> f64 {
        let until = outcomes.iter().filter(|o| o.event() && o.in_years() <= year);
        until
            .map(|o| {
                let at_risk = outcomes.iter().zip(eta).filter(|(other, _)| other.in_years() >= o.in_years());
                1.0 / at_risk.map(|(_, eta)| eta.exp()).sum::<f64>()
            })
            .sum()
    };
    Ok((1..=horizon).map(|year| hazard(year as f64)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn outcome(years: f64, event: bool) -> FollowUp {
        FollowUp::years(years, event).unwrap()
    }

    #[test]
    fn times_come_back_in_years_and_risks_fall_with_them() {
        let scale = TimeScale::fit(&[1.0, 11.0]).unwrap();
        let head = Tensor::new(&[[0.1f32], [0.5]], &Device::Cpu).unwrap();
        let p = predict(SurvivalLoss::Mse, &head, &scale, 12, None).unwrap();
        assert!((p[0].years - 2.0).abs() < 1e-6 && (p[1].years - 6.0).abs() < 1e-6);
        assert!(p[0].risk > p[1].risk);
    }

    #[test]
    fn breslow_by_hand() {
        // Risks 1, 1, 1: hazards 1/3 at year 1 and 1/1 at year 3; the patient of year 2 is censored.
        let outcomes = [outcome(1.0, true), outcome(2.0, false), outcome(3.0, true)];
        let h = breslow(&outcomes, &[0.0; 3], 4).unwrap();
        for (got, expected) in h.iter().zip([1.0 / 3.0, 1.0 / 3.0, 4.0 / 3.0, 4.0 / 3.0]) {
            assert!((got - expected).abs() < 1e-12);
        }
        let scale = TimeScale::fit(&[1.0, 3.0]).unwrap();
        let eta = Tensor::new(&[[0f64], [0.0], [0.0]], &Device::Cpu).unwrap();
        let head = Tensor::new(&[[2.0f64], [-2.0]], &Device::Cpu).unwrap();
        let p = predict(SurvivalLoss::Cox, &head, &scale, 4, Some((&eta, &outcomes))).unwrap();
        assert!(p[0].years < p[1].years && p[0].risk > p[1].risk);
        assert!(predict(SurvivalLoss::Cox, &head, &scale, 4, None).is_err());
    }
}

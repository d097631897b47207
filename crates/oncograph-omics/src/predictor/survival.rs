use oncograph_core::{FollowUp, TimeUnit};
use oncograph_deploy::SurvivalAt;
use oncograph_metrics::{Covariates, CoxConfig, CoxModel, Survival};
use oncograph_study::Answer;
use serde::{Deserialize, Serialize};

/// Years of which survival is reported.
const YEARS: [f64; 3] = [1.0, 3.0, 5.0];

/// From a predicted risk to the chance to be alive: a Cox model of the risk alone, on patients that the network was not
/// trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SurvivalCalibration {
    cox: CoxModel,
    /// The longest time that one of them was followed.
    last: f64,
}

impl SurvivalCalibration {
    /// Fits on times and answers; `None` where they are too few for it.
    pub fn fit<'a>(known: impl Iterator<Item = (FollowUp, &'a Answer)>) -> Option<Self> {
        let (follow_up, risk): (Vec<FollowUp>, Vec<f64>) =
            known.filter_map(|(time, answer)| Some((time, risk_of(answer)?))).unzip();
        let last = follow_up.iter().map(|f| f.in_years()).fold(0.0, f64::max);
        let fitted = || {
            let survival = Survival::of(&follow_up, TimeUnit::Years)?;
            CoxModel::fit(&survival, &Covariates::new(&risk, 1)?, &CoxConfig::new().ridge(1.0))
        };
        fitted().ok().map(|cox| SurvivalCalibration { cox, last })
    }

    /// The chance to be alive after some years, as far as the patients were followed.
    pub fn at(&self, risk: f64) -> Vec<SurvivalAt> {
        let years: Vec<f64> = YEARS.into_iter().filter(|y| *y <= self.last).collect();
        let survival = || self.cox.survival(&Covariates::new(&[risk], 1)?, &years);
        let survival: oncograph_metrics::Result<Vec<f64>> = survival();
        let at = |(probability, years): (f64, &f64)| SurvivalAt { years: *years, probability };
        survival.unwrap_or_default().into_iter().zip(&years).map(at).collect()
    }
}

/// The risk of an answer about times.
pub(crate) fn risk_of(answer: &Answer) -> Option<f64> {
    match answer {
        Answer::Survival { risk, .. } => Some(*risk),
        _ => None,
    }
}

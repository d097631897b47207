use oncograph_core::{FollowUp, Seed, TimeUnit};
use oncograph_metrics::{Covariates, CoxConfig, CoxModel, Survival};
use oncograph_study::Answer;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Years of which survival is reported.
pub(super) const YEARS: [f64; 3] = [1.0, 3.0, 5.0];

/// Resamples of the patients that a calibration is fitted on.
const RESAMPLES: usize = 200;

/// From a predicted risk to the chance to be alive: a Cox model of the risk alone, on patients that the network was not
/// trained on, and the same on resamples of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SurvivalCalibration {
    cox: CoxModel,
    /// The longest time that one of them was followed.
    last: f64,
    /// The model on each resample.
    #[serde(default)]
    resamples: Vec<Resample>,
}

/// A Cox model of one covariate at the years that are reported.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Resample {
    slope: f64,
    mean: f64,
    hazard: [f64; YEARS.len()],
}

impl Resample {
    fn of(cox: &CoxModel) -> Option<Self> {
        let hazard = YEARS.map(|year| {
            let steps = cox.baseline_time.partition_point(|t| *t <= year);
            steps.checked_sub(1).map_or(0.0, |i| cox.baseline_cumulative_hazard[i])
        });
        Some(Resample { slope: *cox.coefficients.first()?, mean: *cox.means.first()?, hazard })
    }

    fn survival(&self, risk: f64, year: usize) -> f64 {
        (-self.hazard[year] * (self.slope * (risk - self.mean)).exp()).exp()
    }
}

impl SurvivalCalibration {
    /// Fits on times and answers; `None` where they are too few for it.
    pub fn fit<'a>(known: impl Iterator<Item = (FollowUp, &'a Answer)>, seed: Seed) -> Option<Self> {
        let (follow_up, risk): (Vec<FollowUp>, Vec<f64>) =
            known.filter_map(|(time, answer)| Some((time, risk_of(answer)?))).unzip();
        let last = follow_up.iter().map(|f| f.in_years()).fold(0.0, f64::max);
        let cox = fitted(&follow_up, &risk)?;
        let mut rng = seed.rng();
        // A resample in which nobody had the event fits nothing and is left out.
        let resamples = (0..RESAMPLES).filter_map(|_| {
            let drawn: Vec<usize> = risk.iter().map(|_| rng.random_range(0..risk.len())).collect();
            let follow_up: Vec<FollowUp> = drawn.iter().map(|p| follow_up[*p]).collect();
            let risk: Vec<f64> = drawn.iter().map(|p| risk[*p]).collect();
            Resample::of(&fitted(&follow_up, &risk)?)
        });
        Some(SurvivalCalibration { resamples: resamples.collect(), cox, last })
    }

    /// The years of [`YEARS`] that the patients were followed to, and the chance to be alive after each.
    pub fn at(&self, risk: f64) -> Vec<(f64, f64)> {
        let years: Vec<f64> = YEARS.into_iter().filter(|y| *y <= self.last).collect();
        let survival = || self.cox.survival(&Covariates::new(&[risk], 1)?, &years);
        let survival: oncograph_metrics::Result<Vec<f64>> = survival();
        years.iter().copied().zip(survival.unwrap_or_default()).collect()
    }

    /// The chance to be alive after one of [`YEARS`] by each resample.
    pub fn resampled(&self, risk: f64, year: usize) -> impl Iterator<Item = f64> {
        self.resamples.iter().map(move |r| r.survival(risk, year)).filter(|p| p.is_finite())
    }
}

fn fitted(follow_up: &[FollowUp], risk: &[f64]) -> Option<CoxModel> {
    let fit = || {
        let survival = Survival::of(follow_up, TimeUnit::Years)?;
        CoxModel::fit(&survival, &Covariates::new(risk, 1)?, &CoxConfig::new().ridge(1.0))
    };
    let cox: oncograph_metrics::Result<CoxModel> = fit();
    cox.ok()
}

/// The risk of an answer about times.
pub(crate) fn risk_of(answer: &Answer) -> Option<f64> {
    match answer {
        Answer::Survival { risk, .. } => Some(*risk),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resamples_lie_around_the_fit_and_spread_less_with_more_patients() {
        let spread = |n: usize| {
            let answers: Vec<Answer> = (0..n)
                .map(|p| Answer::Survival { risk: (p % 7) as f64 / 3.0, years: None, survival: None })
                .collect();
            let time =
                |p: usize| FollowUp::years(0.2 + ((p * 37) % 50) as f64 / 8.0, !p.is_multiple_of(3)).unwrap();
            let known = answers.iter().enumerate().map(|(p, a)| (time(p), a));
            let fit = SurvivalCalibration::fit(known, Seed::new(1)).unwrap();
            assert_eq!(fit.resamples.len(), RESAMPLES);
            // One resample that is the sample itself is the fit.
            let at = fit.at(0.5);
            let own = Resample::of(&fit.cox).unwrap();
            for (k, (_, p)) in at.iter().enumerate() {
                assert!((own.survival(0.5, k) - p).abs() < 1e-12);
            }
            let mut all: Vec<f64> = fit.resampled(0.5, 1).collect();
            all.sort_by(f64::total_cmp);
            assert!(all[5] < at[1].1 && at[1].1 < all[195]);
            all[195] - all[5]
        };
        assert!(spread(400) < spread(40));
    }
}

use super::{CensoringDistribution, Survival, check_times};
use crate::{Result, check};
use serde::{Deserialize, Serialize};

/// Brier score of predicted survival at several times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BrierScore {
    /// The requested times.
    pub times: Vec<f64>,
    /// Score at each time; 0 is perfect, 0.25 is a constant prediction of one half.
    pub score: Vec<f64>,
    /// Trapezoid integral over the times divided by their range; `None` for a single time.
    pub integrated: Option<f64>,
}

/// Time-dependent Brier score with inverse-probability-of-censoring weights.
///
/// `BS(t) = 1/n Σ [ S_i(t)² 1(t_i ≤ t, event) / G(t_i) + (1 − S_i(t))² 1(t_i > t) / G(t) ]`, `G` fitted on
/// `train`.
///
/// # Shapes
/// `predicted`: survival probabilities [subjects, times], row-major.
///
/// # Errors
/// Wrong lengths; a prediction outside [0, 1]; `times` not increasing or outside the follow-up of `test`;
/// a weight where `G` is zero or unknown (scikit-survival gives such subjects no weight).
///
/// # Example
/// ```
/// use oncograph_metrics::{Survival, brier_score};
/// let follow_up = Survival::new(&[1.0, 2.0, 3.0, 4.0], &[true; 4])?;
/// let brier = brier_score(&follow_up, &follow_up, &[0.5, 0.5, 0.5, 0.5], &[2.0])?;
/// assert_eq!(brier.score, [0.25]);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Graf et al. 1999. Equals `sksurv.metrics.brier_score` and `integrated_brier_score`.
pub fn brier_score(
    train: &Survival,
    test: &Survival,
    predicted: &[f64],
    times: &[f64],
) -> Result<BrierScore> {
    let operation = "brier_score";
    check_times(operation, test, times)?;
    check::length(operation, "predicted", predicted.len(), test.len() * times.len())?;
    check::probabilities(operation, "predicted", predicted)?;
    let censoring = CensoringDistribution::fit(train)?;
    let last = times.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let case_weight = test
        .time()
        .iter()
        .zip(test.event())
        .map(
            |(&t, &event)| {
                if event && t <= last { censoring.inverse_probability(operation, t) } else { Ok(0.0) }
            },
        )
        .collect::<Result<Vec<f64>>>()?;
    let mut score = Vec::with_capacity(times.len());
    for (column, &t) in times.iter().enumerate() {
        let control_weight = censoring.inverse_probability(operation, t)?;
        let mut sum = 0.0;
        for (i, &observed) in test.time().iter().enumerate() {
            let s = predicted[i * times.len() + column];
            if observed > t {
                sum += (1.0 - s).powi(2) * control_weight;
            } else if test.event()[i] {
                sum += s * s * case_weight[i];
            }
        }
        score.push(sum / test.len() as f64);
    }
    let integrated = (times.len() > 1).then(|| {
        let area: f64 =
            (1..times.len()).map(|i| (times[i] - times[i - 1]) * (score[i] + score[i - 1]) / 2.0).sum();
        area / (last - times[0])
    });
    Ok(BrierScore { times: times.to_vec(), score, integrated })
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn by_hand_with_censoring() {
        // G is 1 until the censoring at 2 and 2/3 after it.
        let survival = Survival::new(&[1.0, 2.0, 3.0, 4.0], &[true, false, true, true]).unwrap();
        let predicted = [0.1, 0.0, 0.9, 0.8, 0.7, 0.6, 0.8, 0.5];
        let brier = brier_score(&survival, &survival, &predicted, &[1.0, 3.0]).unwrap();
        let first = (0.01 + 0.01 + 0.09 + 0.04) / 4.0;
        let second = (0.0 + 0.36 * 1.5 + 0.25 * 1.5) / 4.0;
        assert_relative_eq!(brier.score[0], first, max_relative = 1e-12);
        assert_relative_eq!(brier.score[1], second, max_relative = 1e-12);
        assert_relative_eq!(brier.integrated.unwrap(), (first + second) / 2.0, max_relative = 1e-12);
    }

    #[test]
    fn predictions_must_be_probabilities() {
        let survival = Survival::new(&[1.0, 2.0], &[true, true]).unwrap();
        let error = brier_score(&survival, &survival, &[0.5, 1.5], &[1.0]).unwrap_err().to_string();
        assert_eq!(error, "brier_score: `predicted`[1] is 1.5, expected a probability in [0, 1]");
    }
}

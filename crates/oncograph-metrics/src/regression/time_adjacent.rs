use crate::{Error, Result, Survival, check};
use serde::{Deserialize, Serialize};

/// What time-adjacent accuracy does with censored subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaaMode {
    /// Every subject counts, its last observed time taken for the truth.
    #[default]
    All,
    /// Only subjects with the event count.
    EventsOnly,
    /// A censored subject is right if the prediction is not more than the tolerance before its censoring.
    CensorAware,
}

/// Time-adjacent accuracy: the share of predicted times within `tolerance` (inclusive) of the true time.
///
/// `TAA = 1/N Σ 1(|t̂ − t| ≤ tolerance)`; for a censored subject in [`TaaMode::CensorAware`] the condition is
/// `t̂ ≥ c − tolerance`.
///
/// # Units
/// `predicted` and `tolerance` in the unit of the follow-up.
///
/// # Errors
/// `predicted` of another length or not finite; a negative `tolerance`; no event in [`TaaMode::EventsOnly`].
///
/// # Example
/// ```
/// use oncograph_metrics::{Survival, TaaMode, time_adjacent_accuracy};
/// let years = Survival::new(&[3.0, 5.0, 4.0], &[true, true, false])?;
/// let predicted = [5.0, 2.5, 11.0];
/// assert_eq!(time_adjacent_accuracy(&years, &predicted, 2.0, TaaMode::EventsOnly)?, 0.5);
/// assert_eq!(time_adjacent_accuracy(&years, &predicted, 2.0, TaaMode::CensorAware)?, 2.0 / 3.0);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
pub fn time_adjacent_accuracy(
    survival: &Survival,
    predicted: &[f64],
    tolerance: f64,
    mode: TaaMode,
) -> Result<f64> {
    let operation = "time_adjacent_accuracy";
    check::paired(operation, "predicted", predicted, survival.len())?;
    let expected = "a finite time of at least 0";
    check::scalar(operation, "tolerance", tolerance, expected, |t| t.is_finite() && t >= 0.0)?;
    let (mut right, mut total) = (0usize, 0usize);
    for ((&t, &event), &p) in survival.time().iter().zip(survival.event()).zip(predicted) {
        if mode == TaaMode::EventsOnly && !event {
            continue;
        }
        let adjacent = match mode {
            TaaMode::CensorAware if !event => t - p <= tolerance,
            _ => (p - t).abs() <= tolerance,
        };
        total += 1;
        right += usize::from(adjacent);
    }
    if total == 0 {
        return Err(Error::undefined(operation, "no subject has the event"));
    }
    Ok(right as f64 / total as f64)
}

/// Time-adjacent accuracy in all three modes, as they should be reported together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TimeAdjacentAccuracy {
    /// [`TaaMode::All`].
    pub all: f64,
    /// [`TaaMode::EventsOnly`]; `None` without events.
    pub events_only: Option<f64>,
    /// [`TaaMode::CensorAware`].
    pub censor_aware: f64,
}

impl TimeAdjacentAccuracy {
    /// Evaluates the three modes.
    ///
    /// # Errors
    /// As [`time_adjacent_accuracy`].
    pub fn new(survival: &Survival, predicted: &[f64], tolerance: f64) -> Result<Self> {
        let score = |mode| time_adjacent_accuracy(survival, predicted, tolerance, mode);
        Ok(Self {
            all: score(TaaMode::All)?,
            events_only: if survival.events() > 0 { Some(score(TaaMode::EventsOnly)?) } else { None },
            censor_aware: score(TaaMode::CensorAware)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tolerance_is_inclusive_and_modes_differ() {
        let survival = Survival::new(&[4.0, 4.0, 4.0, 4.0], &[true, true, false, false]).unwrap();
        let taa = TimeAdjacentAccuracy::new(&survival, &[2.0, 6.5, 9.0, 1.5], 2.0).unwrap();
        assert_eq!((taa.all, taa.events_only, taa.censor_aware), (0.25, Some(0.5), 0.5));
        let boundary = TimeAdjacentAccuracy::new(&survival, &[6.0, 2.0, 2.0, 2.0], 2.0).unwrap();
        assert_eq!((boundary.all, boundary.censor_aware), (1.0, 1.0));
    }

    #[test]
    fn no_events_and_bad_tolerance() {
        let survival = Survival::new(&[4.0], &[false]).unwrap();
        assert_eq!(TimeAdjacentAccuracy::new(&survival, &[4.0], 1.0).unwrap().events_only, None);
        assert!(time_adjacent_accuracy(&survival, &[4.0], 1.0, TaaMode::EventsOnly).is_err());
        assert!(time_adjacent_accuracy(&survival, &[4.0], -1.0, TaaMode::All).is_err());
    }
}

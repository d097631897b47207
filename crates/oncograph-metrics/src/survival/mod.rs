//! Survival analysis of right-censored follow-up.

mod brier;
mod calibration;
mod concordance;
mod concordance_ipcw;
mod cox;
mod cox_lasso;
mod cox_likelihood;
mod decision_curve;
mod dynamic_auc;
mod kaplan_meier;
mod log_rank;
mod nelson_aalen;
mod rmst;

pub use brier::{BrierScore, brier_score};
pub use calibration::{CalibrationGroup, SurvivalCalibration, survival_calibration};
pub use concordance::{Concordance, concordance, concordance_with_tolerance};
pub use concordance_ipcw::concordance_ipcw;
pub use cox::{CoxConfig, CoxModel};
pub use cox_lasso::{CoxLassoConfig, CoxLassoPath};
pub use cox_likelihood::{Covariates, CoxLikelihood, cox_log_likelihood};
pub use decision_curve::survival_decision_curve;
pub use dynamic_auc::{DynamicAuc, dynamic_auc, dynamic_auc_varying};
pub use kaplan_meier::{CensoringDistribution, KaplanMeier};
pub use log_rank::{LogRank, LogRankOptions, LogRankWeight, log_rank, log_rank_with};
pub use nelson_aalen::NelsonAalen;
pub use oncograph_core::Ties;
pub use rmst::{RestrictedMean, restricted_mean};

use crate::{Error, Result, check, rank};
use oncograph_core::{FollowUp, TimeUnit};
use std::borrow::Cow;

/// Right-censored follow-up: when each subject was last seen and whether the event happened then.
///
/// Every survival function takes this type, so that the checks are made once and are the same everywhere. It is made
/// from [`FollowUp`]s in one unit, or borrows two slices.
///
/// # Units
/// Times are in any unit, used consistently; results that are times are in it too.
///
/// # Example
/// ```
/// use oncograph_core::{FollowUp, TimeUnit};
/// use oncograph_metrics::Survival;
///
/// let patients = [FollowUp::months(6.0, true)?, FollowUp::years(2.0, false)?];
/// let follow_up = Survival::of(&patients, TimeUnit::Years)?;
/// assert_eq!(follow_up.time(), [0.5, 2.0]);
///
/// let follow_up = Survival::new(&[5.0, 8.0, 3.5], &[true, false, true])?;
/// assert_eq!(follow_up.events(), 2);
/// assert!(Survival::new(&[5.0, -1.0], &[true, true]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Survival<'a> {
    time: Cow<'a, [f64]>,
    event: Cow<'a, [bool]>,
}

impl Survival<'static> {
    /// The times in `unit` and the events of some subjects, in their order.
    ///
    /// # Errors
    /// No subjects, or a time that is too large for `unit`.
    pub fn of(subjects: &[FollowUp], unit: TimeUnit) -> Result<Self> {
        let time = subjects.iter().map(|s| s.time_in(unit)).collect::<Vec<_>>();
        let event = subjects.iter().map(|s| s.event()).collect::<Vec<_>>();
        Survival::checked("Survival::of", time.into(), event.into())
    }
}

impl<'a> Survival<'a> {
    /// Checks and wraps the two slices; `event` is true where the event was seen, false where censored.
    ///
    /// # Errors
    /// No subjects, slices of different lengths, or a time that is negative, infinite or NaN. A time of zero
    /// is allowed, because registries hold patients who died on the day of entry.
    pub fn new(time: &'a [f64], event: &'a [bool]) -> Result<Self> {
        Self::checked("Survival::new", time.into(), event.into())
    }

    fn checked(operation: &'static str, time: Cow<'a, [f64]>, event: Cow<'a, [bool]>) -> Result<Self> {
        check::at_least(operation, "time.len()", time.len(), 1)?;
        check::length(operation, "event", event.len(), time.len())?;
        check::values(operation, "time", &time, "a finite time of at least 0", |t| {
            t.is_finite() && t >= 0.0
        })?;
        Ok(Self { time, event })
    }

    /// Time of the event or of the last observation.
    pub fn time(&self) -> &[f64] {
        &self.time
    }

    /// True where the event was seen.
    pub fn event(&self) -> &[bool] {
        &self.event
    }

    /// Number of subjects, at least one.
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// Always false: a follow-up without subjects cannot be made.
    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }

    /// Number of subjects with the event.
    pub fn events(&self) -> usize {
        self.event.iter().filter(|e| **e).count()
    }

    /// The last time that anyone was observed.
    pub fn last_time(&self) -> f64 {
        self.time.iter().copied().fold(0.0, f64::max)
    }

    pub(crate) fn require_event(&self, operation: &'static str) -> Result<()> {
        if self.event.contains(&true) {
            Ok(())
        } else {
            Err(Error::undefined(operation, "no subject has the event"))
        }
    }

    /// Counts at each distinct time, ascending.
    pub(crate) fn table(&self) -> Vec<TableRow> {
        let order = rank::argsort(&self.time);
        let row = |(start, end): (usize, usize)| {
            let events = order[start..end].iter().filter(|&&i| self.event[i]).count();
            TableRow {
                time: self.time[order[start]],
                at_risk: order.len() - start,
                events,
                censored: end - start - events,
            }
        };
        rank::runs(&self.time, &order).into_iter().map(row).collect()
    }
}

/// One distinct time of a life table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableRow {
    pub(crate) time: f64,
    pub(crate) at_risk: usize,
    pub(crate) events: usize,
    pub(crate) censored: usize,
}

/// Times for time-dependent scores must lie where the test data can answer: in [min, max).
pub(crate) fn check_times(operation: &'static str, test: &Survival, times: &[f64]) -> Result<()> {
    check::increasing(operation, "times", times)?;
    let first = test.time.iter().copied().fold(f64::INFINITY, f64::min);
    let last = test.last_time();
    let expected = "a time within the follow-up of the test data (first <= t < last)";
    check::values(operation, "times", times, expected, |t| t >= first && t < last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_input_is_named() {
        let text = Survival::new(&[1.0, f64::NAN], &[true, true]).unwrap_err().to_string();
        assert_eq!(text, "Survival::new: `time`[1] is NaN, expected a finite time of at least 0");
        assert!(matches!(Survival::new(&[1.0], &[]), Err(Error::Length { expected: 1, got: 0, .. })));
        assert!(Survival::new(&[], &[]).is_err());
    }

    #[test]
    fn follow_ups_of_different_units_are_one_column() {
        let patients = [FollowUp::days(365.25, true).unwrap(), FollowUp::months(30.0, false).unwrap()];
        let years = Survival::of(&patients, TimeUnit::Years).unwrap();
        assert_eq!((years.time(), years.event()), (&[1.0, 2.5][..], &[true, false][..]));
        let text = Survival::of(&[], TimeUnit::Years).unwrap_err().to_string();
        assert!(text.starts_with("Survival::of: time.len() must be at least 1, got 0"), "{text}");
        // A time of this size is finite in years, but not in days.
        assert!(Survival::of(&[FollowUp::years(1e308, true).unwrap()], TimeUnit::Days).is_err());
    }

    #[test]
    fn table_counts_ties() {
        let survival = Survival::new(&[2.0, 1.0, 2.0, 3.0], &[true, true, false, false]).unwrap();
        let rows: Vec<_> =
            survival.table().iter().map(|r| (r.time, r.at_risk, r.events, r.censored)).collect();
        assert_eq!(rows, vec![(1.0, 4, 1, 0), (2.0, 3, 1, 1), (3.0, 1, 0, 1)]);
    }
}

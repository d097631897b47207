use super::Survival;
use crate::{Error, Result, check, distribution};
use serde::{Deserialize, Serialize};

/// How far a product of survival fractions may miss the level of a quantile by rounding.
const ROUNDING: f64 = 1e-12;

/// Kaplan–Meier estimate with a log(−log) confidence band, at each distinct observed time.
///
/// `S(t) = Π_{t_i ≤ t} (1 − d_i / n_i)`; the band is `S^exp(±z σ / ln S)` with Greenwood's
/// `σ² = Σ d_i / (n_i (n_i − d_i))`.
///
/// # Example
/// ```
/// use oncograph_metrics::{KaplanMeier, Survival};
/// let follow_up = Survival::new(&[1.0, 2.0, 3.0, 4.0], &[true, true, false, true])?;
/// let curve = KaplanMeier::fit(&follow_up, 0.95)?;
/// assert_eq!(curve.survival, [0.75, 0.5, 0.5, 0.0]);
/// assert_eq!(curve.median(), Some(2.0));
/// assert_eq!(curve.at(2.5), Some(0.5));
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Kaplan & Meier 1958. Equals `sksurv.nonparametric.kaplan_meier_estimator` with `conf_type = "log-log"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KaplanMeier {
    /// Distinct observed times, ascending.
    pub time: Vec<f64>,
    /// Subjects at risk just before each time.
    pub at_risk: Vec<usize>,
    /// Events at each time.
    pub events: Vec<usize>,
    /// Censored subjects at each time.
    pub censored: Vec<usize>,
    /// Survival probability just after each time.
    pub survival: Vec<f64>,
    /// Greenwood's sum, the variance of ln S, up to the last step above zero.
    pub log_variance: Vec<f64>,
    /// Lower end of the pointwise band.
    pub lower: Vec<f64>,
    /// Upper end of the pointwise band.
    pub upper: Vec<f64>,
    /// Confidence level of the band.
    pub level: f64,
}

impl KaplanMeier {
    /// Estimates the survival of the event.
    ///
    /// # Errors
    /// A `level` outside (0, 1).
    pub fn fit(survival: &Survival, level: f64) -> Result<Self> {
        Self::estimate(survival, level, false)
    }

    /// Estimates the follow-up time by the reverse Kaplan–Meier method: censoring is the event.
    ///
    /// Its [`median`](Self::median) is the median follow-up. Events come before censoring at equal times,
    /// so they are not at risk of being censored then. `events` counts the censored and `censored` the events.
    ///
    /// # Errors
    /// A `level` outside (0, 1).
    ///
    /// # Reference
    /// Schemper & Smith 1996. Equals `sksurv.nonparametric.kaplan_meier_estimator(reverse=True)`.
    pub fn fit_follow_up(survival: &Survival, level: f64) -> Result<Self> {
        Self::estimate(survival, level, true)
    }

    fn estimate(survival: &Survival, level: f64, reverse: bool) -> Result<Self> {
        check::level("KaplanMeier::fit", level)?;
        let z = distribution::critical(level);
        let mut curve = Self {
            time: Vec::new(),
            at_risk: Vec::new(),
            events: Vec::new(),
            censored: Vec::new(),
            survival: Vec::new(),
            log_variance: Vec::new(),
            lower: Vec::new(),
            upper: Vec::new(),
            level,
        };
        let (mut s, mut variance) = (1.0, 0.0);
        for row in survival.table() {
            let (at_risk, events, censored) = if reverse {
                (row.at_risk - row.events, row.censored, row.events)
            } else {
                (row.at_risk, row.events, row.censored)
            };
            if events > 0 {
                let (n, d) = (at_risk as f64, events as f64);
                s *= 1.0 - d / n;
                // At S = 0 the logarithm has no variance; the band there is zero by definition.
                variance += if n > d { d / (n * (n - d)) } else { 0.0 };
            }
            let (lower, upper) = band(s, variance, z);
            curve.time.push(row.time);
            curve.at_risk.push(at_risk);
            curve.events.push(events);
            curve.censored.push(censored);
            curve.survival.push(s);
            curve.log_variance.push(variance);
            curve.lower.push(lower);
            curve.upper.push(upper);
        }
        Ok(curve)
    }

    /// `S(t)`; `None` for NaN and where the curve is unknown: after the last time, unless it reached zero.
    pub fn at(&self, t: f64) -> Option<f64> {
        Some(self.index(t)?.map_or(1.0, |i| self.survival[i]))
    }

    /// `S(t)` with its confidence interval, as (survival, lower, upper).
    pub fn interval_at(&self, t: f64) -> Option<(f64, f64, f64)> {
        Some(self.index(t)?.map_or((1.0, 1.0, 1.0), |i| (self.survival[i], self.lower[i], self.upper[i])))
    }

    /// `P(T > t | T > given)` with its log(−log) interval, as (survival, lower, upper).
    ///
    /// `None` if `t < given`, if nobody survives `given`, or where the curve is unknown.
    pub fn conditional(&self, t: f64, given: f64) -> Option<(f64, f64, f64)> {
        let (end, start) = (self.index(t)?, self.index(given)?);
        let state = |i: Option<usize>| i.map_or((1.0, 0.0), |i| (self.survival[i], self.log_variance[i]));
        let ((s1, v1), (s0, v0)) = (state(end), state(start));
        if t < given || s0 <= 0.0 {
            return None;
        }
        let s = s1 / s0;
        let (lower, upper) = band(s, v1 - v0, distribution::critical(self.level));
        Some((s, lower, upper))
    }

    /// The first time at which survival is one half or less; `None` if it stays above.
    pub fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// The first time at which survival is `p` or less; `None` if it stays above.
    ///
    /// Equals `lifelines.utils.qth_survival_time`, except that survival within 1e-12 of `p` counts as
    /// reached, so that rounding in the product does not move the quantile by a whole step.
    pub fn quantile(&self, p: f64) -> Option<f64> {
        self.first(&self.survival, p)
    }

    /// The confidence interval of the median (Brookmeyer–Crowley): where the band crosses one half.
    ///
    /// An end is `None` where the band does not cross.
    pub fn median_interval(&self) -> (Option<f64>, Option<f64>) {
        (self.first(&self.lower, 0.5), self.first(&self.upper, 0.5))
    }

    fn first(&self, curve: &[f64], p: f64) -> Option<f64> {
        curve.iter().position(|&s| s <= p + ROUNDING).map(|i| self.time[i])
    }

    /// The step that covers `t`: `Some(None)` before the first, `None` where the curve is unknown.
    fn index(&self, t: f64) -> Option<Option<usize>> {
        let last = self.time.last()?;
        if t.is_nan() || (t > *last && self.survival.last()? > &0.0) {
            return None;
        }
        Some(self.time.partition_point(|&x| x <= t).checked_sub(1))
    }
}

/// log(−log) band of one survival probability.
fn band(s: f64, log_variance: f64, z: f64) -> (f64, f64) {
    if s <= f64::EPSILON {
        return (0.0, 0.0);
    }
    let log = s.ln();
    if log >= -f64::EPSILON {
        return (s, s);
    }
    let theta = z * log_variance.sqrt() / log;
    (((-theta).exp() * log).exp(), (theta.exp() * log).exp())
}

/// Kaplan–Meier estimate `G` of the time to censoring, for inverse-probability weights.
///
/// # Example
/// ```
/// use oncograph_metrics::{CensoringDistribution, Survival};
/// let follow_up = Survival::new(&[1.0, 2.0, 3.0], &[true, false, true])?;
/// assert_eq!(CensoringDistribution::fit(&follow_up)?.at(2.0), Some(0.5));
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Equals `sksurv.nonparametric.CensoringDistributionEstimator`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CensoringDistribution(KaplanMeier);

impl CensoringDistribution {
    /// Fits `G` on a follow-up, usually the training data.
    ///
    /// # Errors
    /// None for a valid follow-up.
    pub fn fit(survival: &Survival) -> Result<Self> {
        Ok(Self(KaplanMeier::fit_follow_up(survival, 0.95)?))
    }

    /// The curve itself.
    pub fn curve(&self) -> &KaplanMeier {
        &self.0
    }

    /// `G(t)`, right-continuous; `None` after the last observed time, unless `G` reached zero.
    pub fn at(&self, t: f64) -> Option<f64> {
        self.0.at(t)
    }

    /// `1 / G(t)`, or why there is none.
    pub(super) fn inverse_probability(&self, operation: &'static str, t: f64) -> Result<f64> {
        match self.at(t) {
            Some(g) if g > 0.0 => Ok(1.0 / g),
            Some(_) => {
                Err(Error::undefined(operation, format!("the censoring survival is zero at time {t}")))
            }
            None => {
                let reason = format!("time {t} is after the follow-up of the training data");
                Err(Error::undefined(operation, reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    fn curve(time: &[f64], event: &[bool]) -> KaplanMeier {
        KaplanMeier::fit(&Survival::new(time, event).unwrap(), 0.95).unwrap()
    }

    #[test]
    fn by_hand() {
        // Freireich's 6-MP arm of the leukaemia trial: textbook survival at 6, 7, 10, 13, 16, 22, 23 weeks.
        let time = [
            6., 6., 6., 6., 7., 9., 10., 10., 11., 13., 16., 17., 19., 20., 22., 23., 25., 32., 32., 34., 35.,
        ];
        let event = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0].map(|e| e == 1);
        let km = curve(&time, &event);
        for (t, s) in [(6.0, 0.8571), (7.0, 0.8067), (10.0, 0.7529), (13.0, 0.6902), (16.0, 0.6275)] {
            assert!((km.at(t).unwrap() - s).abs() < 5e-5);
        }
        assert_eq!(km.median(), Some(23.0));
        assert_eq!(km.at(36.0), None);
        assert_eq!(km.at(0.0), Some(1.0));
        assert_relative_eq!(km.at(22.0).unwrap(), 0.5378, epsilon = 5e-5);
    }

    #[test]
    fn conditional_survival_is_the_curve_of_the_survivors() {
        let (time, event) = ([1., 2., 3., 4., 5., 6., 7.], [true, false, true, true, false, true, false]);
        let whole = curve(&time, &event);
        let later = curve(&time[2..], &event[2..]);
        let (s, low, high) = whole.conditional(6.0, 2.0).unwrap();
        let (s2, low2, high2) = later.interval_at(6.0).unwrap();
        assert_relative_eq!(s, s2, max_relative = 1e-12);
        assert_relative_eq!(low, low2, max_relative = 1e-12);
        assert_relative_eq!(high, high2, max_relative = 1e-12);
        assert_eq!(whole.conditional(1.0, 2.0), None);
    }

    #[test]
    fn rounding_does_not_move_the_median() {
        // (1 − 1/6)(1 − 1/5)(1 − 1/4) is one half, but its floating-point product may be above.
        let km = curve(&[1., 2., 3., 4., 5., 6.], &[true; 6]);
        assert_eq!(km.median(), Some(3.0));
        assert_eq!(curve(&[1., 2.], &[false, false]).median(), None);
    }

    #[test]
    fn events_precede_censoring_in_the_follow_up() {
        let survival = Survival::new(&[1., 1., 2.], &[true, false, false]).unwrap();
        let reverse = KaplanMeier::fit_follow_up(&survival, 0.95).unwrap();
        assert_eq!(reverse.survival, [0.5, 0.0]);
        assert_eq!(reverse.median(), Some(1.0));
        assert!(KaplanMeier::fit(&survival, 1.0).is_err());
    }
}

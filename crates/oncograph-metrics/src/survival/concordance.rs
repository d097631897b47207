use super::Survival;
use crate::{Error, Result, check, rank};
use serde::{Deserialize, Serialize};

/// Risks closer than this count as tied, as in scikit-survival.
const TIED_TOLERANCE: f64 = 1e-8;

/// A concordance index with the pair counts behind it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Concordance {
    /// (concordant + ½ tied risk) / comparable, weighted where the estimator is.
    pub index: f64,
    /// Comparable pairs in which the earlier event has the higher risk.
    pub concordant: u64,
    /// Comparable pairs in which the earlier event has the lower risk.
    pub discordant: u64,
    /// Comparable pairs with equal risk.
    pub tied_risk: u64,
    /// Comparable pairs of an event and a censored subject at one time (scikit-survival's `tied_time`).
    pub tied_time: u64,
}

/// Harrell's concordance index of a risk score (higher risk means earlier event).
///
/// `C = (concordant + tied_risk / 2) / (concordant + discordant + tied_risk)`. A pair is comparable if the
/// earlier time is an event; at equal times an event and a censored subject are comparable, two events are
/// not. For a model that predicts a time, pass its negative. O(n log n).
///
/// # Errors
/// `risk` of another length or not finite; no comparable pair.
///
/// # Example
/// ```
/// use oncograph_metrics::{Survival, concordance};
/// let follow_up = Survival::new(&[1.0, 2.0, 3.0, 4.0], &[true, true, false, true])?;
/// let c = concordance(&follow_up, &[0.9, 0.7, 0.8, 0.1])?;
/// assert_eq!((c.concordant, c.discordant), (4, 1));
/// assert_eq!(c.index, 0.8);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Harrell et al. 1982. Equals `sksurv.metrics.concordance_index_censored`, counts included; the index equals
/// `lifelines.utils.concordance_index` of the negated risk.
pub fn concordance(survival: &Survival, risk: &[f64]) -> Result<Concordance> {
    concordance_with_tolerance(survival, risk, TIED_TOLERANCE)
}

/// [`concordance`] in which risks that differ by at most `tolerance` are tied.
///
/// # Errors
/// As [`concordance`]; a negative or non-finite `tolerance`.
pub fn concordance_with_tolerance(survival: &Survival, risk: &[f64], tolerance: f64) -> Result<Concordance> {
    let operation = "concordance";
    let expected = "a finite number of at least 0";
    check::scalar(operation, "tolerance", tolerance, expected, |v| v.is_finite() && v >= 0.0)?;
    weighted(operation, survival, risk, None, tolerance)
}

/// Counts pairs from the latest time backwards: a counting tree over risk ranks holds everyone who outlived
/// the current time, so each event needs two look-ups.
pub(super) fn weighted(
    operation: &'static str,
    survival: &Survival,
    risk: &[f64],
    weights: Option<&[f64]>,
    tolerance: f64,
) -> Result<Concordance> {
    check::paired(operation, "risk", risk, survival.len())?;
    let (time, event) = (survival.time(), survival.event());
    let by_risk = rank::argsort(risk);
    let sorted: Vec<f64> = by_risk.iter().map(|&i| risk[i]).collect();
    let mut place = vec![0; risk.len()];
    by_risk.iter().enumerate().for_each(|(p, &i)| place[i] = p);

    let by_time = rank::argsort(time);
    let mut later = rank::Counts::new(risk.len());
    let mut present = 0u64;
    let (mut concordant, mut tied_risk, mut comparable, mut tied_time) = (0u64, 0u64, 0u64, 0u64);
    let (mut numerator, mut denominator) = (0.0, 0.0);
    for &(start, end) in rank::runs(time, &by_time).iter().rev() {
        let block = &by_time[start..end];
        // Censored subjects outlive the events of the same time, so they enter first.
        for &i in block.iter().filter(|&&i| !event[i]) {
            later.add(place[i]);
            present += 1;
        }
        let censored = block.iter().filter(|&&i| !event[i]).count() as u64;
        for &i in block.iter().filter(|&&i| event[i]) {
            let low = sorted.partition_point(|&r| risk[i] - r > tolerance);
            let high = sorted.partition_point(|&r| r - risk[i] <= tolerance);
            let below = later.below(low);
            let tied = later.below(high) - below;
            let weight = weights.map_or(1.0, |w| w[i]);
            numerator += weight * (below as f64 + 0.5 * tied as f64);
            denominator += weight * present as f64;
            concordant += below;
            tied_risk += tied;
            comparable += present;
            tied_time += censored;
        }
        for &i in block.iter().filter(|&&i| event[i]) {
            later.add(place[i]);
            present += 1;
        }
    }
    if denominator <= 0.0 {
        return Err(Error::undefined(operation, "no pair is comparable"));
    }
    let discordant = comparable - concordant - tied_risk;
    Ok(Concordance { index: numerator / denominator, concordant, discordant, tied_risk, tied_time })
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use proptest::prelude::*;

    fn cohort() -> impl Strategy<Value = Vec<(u8, bool, i8)>> {
        prop::collection::vec((1u8..12, any::<bool>(), -6i8..6), 2..60)
    }

    fn split(rows: &[(u8, bool, i8)]) -> (Vec<f64>, Vec<bool>, Vec<f64>) {
        let time = rows.iter().map(|r| r.0 as f64).collect();
        (time, rows.iter().map(|r| r.1).collect(), rows.iter().map(|r| r.2 as f64 / 3.0).collect())
    }

    /// The definition, pair by pair.
    fn pairs(time: &[f64], event: &[bool], risk: &[f64]) -> (u64, u64, u64, u64) {
        let mut count = (0, 0, 0, 0);
        for i in (0..time.len()).filter(|&i| event[i]) {
            for j in 0..time.len() {
                let same = time[j] == time[i] && !event[j];
                if time[j] > time[i] || same {
                    let difference = risk[i] - risk[j];
                    count.0 += u64::from(difference > 1e-8);
                    count.1 += u64::from(difference < -1e-8);
                    count.2 += u64::from(difference.abs() <= 1e-8);
                    count.3 += u64::from(same);
                }
            }
        }
        count
    }

    proptest! {
        #[test]
        fn equals_the_definition(rows in cohort()) {
            let (time, event, risk) = split(&rows);
            let survival = Survival::new(&time, &event).unwrap();
            let expected = pairs(&time, &event, &risk);
            match concordance(&survival, &risk) {
                Ok(c) => {
                    prop_assert_eq!((c.concordant, c.discordant, c.tied_risk, c.tied_time), expected);
                    prop_assert!((0.0..=1.0).contains(&c.index));
                    let negated: Vec<f64> = risk.iter().map(|r| -r).collect();
                    let opposite = concordance(&survival, &negated).unwrap().index;
                    prop_assert!((c.index + opposite - 1.0).abs() < 1e-12);
                    let monotone: Vec<f64> = risk.iter().map(|r| (r * 2.0).exp() + 7.0).collect();
                    prop_assert_eq!(concordance(&survival, &monotone).unwrap(), c);
                }
                Err(_) => prop_assert_eq!(expected.0 + expected.1 + expected.2, 0),
            }
        }
    }

    #[test]
    fn near_ties_follow_the_tolerance() {
        let survival = Survival::new(&[1.0, 2.0], &[true, false]).unwrap();
        assert_eq!(concordance(&survival, &[1.0, 1.0 + 5e-9]).unwrap().tied_risk, 1);
        assert_eq!(concordance_with_tolerance(&survival, &[1.0, 1.0 + 5e-9], 0.0).unwrap().index, 0.0);
        assert!(concordance_with_tolerance(&survival, &[1.0, 2.0], f64::NAN).is_err());
    }

    #[test]
    fn no_comparable_pair_is_an_error() {
        let survival = Survival::new(&[1.0, 2.0], &[false, true]).unwrap();
        assert!(matches!(concordance(&survival, &[1.0, 2.0]), Err(Error::Undefined { .. })));
        assert!(matches!(concordance(&survival, &[1.0]), Err(Error::Length { .. })));
    }

    #[test]
    fn a_hundred_thousand_subjects() {
        let n = 100_000usize;
        let time: Vec<f64> = (0..n).map(|i| 1.0 + (i * 7919 % n) as f64).collect();
        let event: Vec<bool> = (0..n).map(|i| i % 3 != 0).collect();
        let risk: Vec<f64> = time.iter().map(|t| -t).collect();
        let c = concordance(&Survival::new(&time, &event).unwrap(), &risk).unwrap();
        assert_relative_eq!(c.index, 1.0);
    }
}

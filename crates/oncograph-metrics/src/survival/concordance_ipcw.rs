use super::{CensoringDistribution, Concordance, Survival, concordance::weighted};
use crate::{Result, check};

/// Uno's concordance index: pairs weighted by the inverse probability of not being censored.
///
/// `Σ w_i [concordant + ½ tied] / Σ w_i comparable` with `w_i = G(t_i)⁻²` over events before `tau`, where `G`
/// is the Kaplan–Meier estimate of the censoring distribution on `train`. Unlike Harrell's index it does not
/// drift with the amount of censoring. The pair counts in the result are unweighted.
///
/// # Errors
/// Wrong `risk`; a test event later than the follow-up of `train`, or where `G` is zero (choose a smaller
/// `tau`); no comparable pair.
///
/// # Example
/// ```
/// use oncograph_metrics::{Survival, concordance_ipcw};
/// let follow_up = Survival::new(&[1.0, 2.0, 3.0, 4.0], &[true, false, true, true])?;
/// let c = concordance_ipcw(&follow_up, &follow_up, &[0.4, 0.3, 0.2, 0.9], None)?;
/// // G falls to 2/3 after the censoring at 2, so the pair of the event at 3 weighs 9/4.
/// assert!((c.index - 2.0 / (3.0 + 2.25)).abs() < 1e-12);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Uno et al. 2011. Equals `sksurv.metrics.concordance_index_ipcw`.
pub fn concordance_ipcw(
    train: &Survival,
    test: &Survival,
    risk: &[f64],
    tau: Option<f64>,
) -> Result<Concordance> {
    let operation = "concordance_ipcw";
    let tau = tau.unwrap_or(f64::INFINITY);
    check::scalar(operation, "tau", tau, "a time above 0", |t| t > 0.0)?;
    let censoring = CensoringDistribution::fit(train)?;
    let weights = test
        .time()
        .iter()
        .zip(test.event())
        .map(|(&t, &event)| {
            if event && t < tau { Ok(censoring.inverse_probability(operation, t)?.powi(2)) } else { Ok(0.0) }
        })
        .collect::<Result<Vec<f64>>>()?;
    weighted(operation, test, risk, Some(&weights), 1e-8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::concordance;

    #[test]
    fn without_censoring_it_is_harrells() {
        let (time, event) = ([3.0, 1.0, 4.0, 2.0, 5.0], [true; 5]);
        let survival = Survival::new(&time, &event).unwrap();
        let risk = [0.2, 0.1, 0.4, 0.4, -1.0];
        let uno = concordance_ipcw(&survival, &survival, &risk, None).unwrap();
        assert_eq!(uno, concordance(&survival, &risk).unwrap());
    }

    #[test]
    fn tau_is_exclusive_and_late_events_are_errors() {
        let train = Survival::new(&[1.0, 2.0, 3.0], &[true, false, true]).unwrap();
        let test = Survival::new(&[1.0, 9.0, 10.0], &[true, true, false]).unwrap();
        let error = concordance_ipcw(&train, &test, &[1.0, 2.0, 3.0], None).unwrap_err().to_string();
        assert!(error.contains('9'), "{error}");
        let c = concordance_ipcw(&train, &test, &[1.0, 2.0, 0.0], Some(9.0)).unwrap();
        assert_eq!(c.index, 0.5);
        assert!(concordance_ipcw(&train, &test, &[1.0, 2.0, 0.0], Some(f64::NAN)).is_err());
    }
}

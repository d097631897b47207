use super::Confusion;
use crate::{Result, check};
use serde::{Deserialize, Serialize};

/// Net benefit of treating by a model at one threshold probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NetBenefit {
    /// Threshold probability p_t at which a patient would accept treatment.
    pub threshold: f64,
    /// TP/n − FP/n · p_t / (1 − p_t), treating where the prediction is at least p_t.
    pub model: f64,
    /// Net benefit of treating everyone; treating no one has 0.
    pub treat_all: f64,
}

/// Decision curve: net benefit over threshold probabilities.
///
/// # Errors
/// No subjects, different lengths, a probability outside [0, 1], a threshold outside [0, 1).
///
/// # Example
/// ```
/// let curve = oncograph_metrics::decision_curve(&[true, false], &[0.9, 0.2], &[0.5])?;
/// assert_eq!((curve[0].model, curve[0].treat_all), (0.5, 0.0));
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Vickers & Elkin 2006.
pub fn decision_curve(label: &[bool], probability: &[f64], thresholds: &[f64]) -> Result<Vec<NetBenefit>> {
    let operation = "decision_curve";
    check::probabilities(operation, "probability", probability)?;
    let expected = "a threshold in [0, 1)";
    check::values(operation, "thresholds", thresholds, expected, |t| (0.0..1.0).contains(&t))?;
    let point = |&threshold: &f64| {
        let c = Confusion::at(label, probability, threshold)?;
        let (n, odds) = (label.len() as f64, threshold / (1.0 - threshold));
        let benefit = |tp: usize, fp: usize| (tp as f64 - fp as f64 * odds) / n;
        Ok(NetBenefit {
            threshold,
            model: benefit(c.tp, c.fp),
            treat_all: benefit(c.tp + c.fn_, c.fp + c.tn),
        })
    };
    thresholds.iter().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_zero_everyone_is_treated() {
        let label = [true, false, false, true];
        let curve = decision_curve(&label, &[0.1, 0.2, 0.6, 0.9], &[0.0, 0.2]).unwrap();
        assert_eq!(curve[0].model, curve[0].treat_all);
        assert!((curve[1].model - (1.0 - 2.0 * 0.25) / 4.0).abs() < 1e-15);
        assert!((curve[1].treat_all - (2.0 - 2.0 * 0.25) / 4.0).abs() < 1e-15);
        assert!(decision_curve(&label, &[0.1, 0.2, 0.6, 0.9], &[1.0]).is_err());
    }
}

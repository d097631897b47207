use super::check_binary;
use crate::{Error, Result, check, rank};
use serde::{Deserialize, Serialize};

/// How a calibration curve cuts predictions into bins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binning {
    /// Bins of equal width on [0, 1].
    #[default]
    Uniform,
    /// Bins of about equal size; equal predictions stay together.
    Quantile,
}

/// One non-empty bin of a calibration curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalibrationBin {
    /// Subjects in the bin.
    pub count: usize,
    /// Mean predicted probability.
    pub predicted: f64,
    /// Share of positives.
    pub observed: f64,
}

/// Predicted probability against the observed share, in bins by ascending prediction; empty bins are left out.
///
/// # Errors
/// No subjects, different lengths, a value outside [0, 1], no bins.
///
/// # Example
/// ```
/// use oncograph_metrics::{Binning, calibration_curve};
/// let bins = calibration_curve(&[false, true, true], &[0.1, 0.3, 0.9], 2, Binning::Uniform)?;
/// assert_eq!((bins[0].count, bins[0].observed), (2, 0.5));
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// [`Binning::Uniform`] equals `sklearn.calibration.calibration_curve`, a prediction on an inner edge going to
/// the lower bin.
pub fn calibration_curve(
    label: &[bool],
    probability: &[f64],
    bins: usize,
    binning: Binning,
) -> Result<Vec<CalibrationBin>> {
    let operation = "calibration_curve";
    check::at_least(operation, "label.len()", label.len(), 1)?;
    check::at_least(operation, "bins", bins, 1)?;
    check::length(operation, "probability", probability.len(), label.len())?;
    check::probabilities(operation, "probability", probability)?;
    let n = label.len();
    let mut place = vec![0; n];
    match binning {
        Binning::Uniform => {
            let edges: Vec<f64> = (1..bins).map(|b| b as f64 / bins as f64).collect();
            place.iter_mut().zip(probability).for_each(|(b, p)| *b = edges.partition_point(|e| e < p));
        }
        Binning::Quantile => {
            let order = rank::argsort(probability);
            for (start, end) in rank::runs(probability, &order) {
                order[start..end].iter().for_each(|&i| place[i] = start * bins / n);
            }
        }
    }
    let mut sums = vec![(0usize, 0.0, 0.0); bins];
    for i in 0..n {
        let sum = &mut sums[place[i]];
        sum.0 += 1;
        sum.1 += probability[i];
        sum.2 += if label[i] { 1.0 } else { 0.0 };
    }
    let bin = |&(count, p, y): &(usize, f64, f64)| CalibrationBin {
        count,
        predicted: p / count as f64,
        observed: y / count as f64,
    };
    Ok(sums.iter().filter(|s| s.0 > 0).map(bin).collect())
}

/// Expected calibration error: the mean gap |observed − predicted| over equal-width bins, weighted by size.
///
/// # Errors
/// As [`calibration_curve`].
///
/// # Reference
/// Naeini et al. 2015, for the probability of the positive class.
pub fn expected_calibration_error(label: &[bool], probability: &[f64], bins: usize) -> Result<f64> {
    let curve = calibration_curve(label, probability, bins, Binning::Uniform)?;
    let gap = |b: &CalibrationBin| b.count as f64 * (b.observed - b.predicted).abs();
    Ok(curve.iter().map(gap).sum::<f64>() / label.len() as f64)
}

/// Logistic recalibration of predicted probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalibrationSlope {
    /// b of `logit P(y) = a + b logit p`: 1 is ideal, below 1 the predictions are too extreme.
    pub slope: f64,
    /// a of the same fit.
    pub intercept: f64,
    /// a of `logit P(y) = a + logit p`: 0 is ideal, above 0 the risk is underestimated.
    pub in_the_large: f64,
}

/// Calibration slope and intercepts.
///
/// # Errors
/// One class only, a probability that is not strictly between 0 and 1, equal predictions, or predictions that
/// separate the classes (the slope is infinite).
///
/// # Example
/// ```
/// use oncograph_metrics::calibration_slope;
/// let label = [true, false, false, true, true, false];
/// let c = calibration_slope(&label, &[0.6, 0.4, 0.6, 0.4, 0.6, 0.4])?;
/// // Observed 2/3 against 0.6: the logits are ±ln 2 and ±ln 1.5.
/// assert!((c.slope - 2f64.ln() / 1.5f64.ln()).abs() < 1e-9);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// Cox 1958; Van Calster et al. 2019.
pub fn calibration_slope(label: &[bool], probability: &[f64]) -> Result<CalibrationSlope> {
    let operation = "calibration_slope";
    check_binary(operation, label, probability)?;
    check::values(operation, "probability", probability, "strictly between 0 and 1", |p| p > 0.0 && p < 1.0)?;
    let logit: Vec<f64> = probability.iter().map(|p| p.ln() - (-p).ln_1p()).collect();
    if logit.iter().all(|x| *x == logit[0]) {
        return Err(Error::undefined(operation, "all predictions are equal"));
    }
    if is_separated(label, &logit) {
        return Err(Error::undefined(operation, "the predictions separate the classes"));
    }
    let (intercept, slope) = logistic(operation, label, &logit, true)?;
    let (in_the_large, _) = logistic(operation, label, &logit, false)?;
    Ok(CalibrationSlope { slope, intercept, in_the_large })
}

/// Whether no prediction of one class lies beyond one of the other: the likelihood then grows without end.
///
/// # Reference
/// Albert and Anderson, *On the existence of maximum likelihood estimates in logistic regression models*, Biometrika 71, 1984.
fn is_separated(label: &[bool], x: &[f64]) -> bool {
    let range = |class: bool| {
        let own = label.iter().zip(x).filter(move |(l, _)| **l == class).map(|(_, x)| *x);
        own.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    let (events, others) = (range(true), range(false));
    others.1 <= events.0 || events.1 <= others.0
}

/// Newton's method with step halving for `logit P = a + b x`; where `free` is false b stays 1.
fn logistic(operation: &'static str, label: &[bool], x: &[f64], free: bool) -> Result<(f64, f64)> {
    let (mut a, mut b) = (0.0, 1.0);
    let log_likelihood = |a: f64, b: f64| -> f64 {
        // −ln(1 + e^−m) for the signed margin m, without overflow.
        let term = |(&l, &x): (&bool, &f64)| {
            let margin = if l { a + b * x } else { -(a + b * x) };
            margin.min(0.0) - (-margin.abs()).exp().ln_1p()
        };
        label.iter().zip(x).map(term).sum()
    };
    let mut size = f64::INFINITY;
    for _ in 0..100 {
        let (mut ga, mut gb, mut aa, mut ab, mut bb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (&l, &x) in label.iter().zip(x) {
            let p = 1.0 / (1.0 + (-(a + b * x)).exp());
            let (r, w) = (if l { 1.0 - p } else { -p }, p * (1.0 - p));
            ga += r;
            gb += r * x;
            aa += w;
            ab += w * x;
            bb += w * x * x;
        }
        let determinant = aa * bb - ab * ab;
        let (mut da, mut db) = if free {
            ((bb * ga - ab * gb) / determinant, (aa * gb - ab * ga) / determinant)
        } else {
            (ga / aa, 0.0)
        };
        if !(da.is_finite() && db.is_finite()) {
            return Err(Error::undefined(operation, "the predictions separate the classes"));
        }
        let now = log_likelihood(a, b);
        for _ in 0..40 {
            if log_likelihood(a + da, b + db) >= now - 1e-12 * (1.0 + now.abs()) {
                break;
            }
            (da, db) = (da / 2.0, db / 2.0);
        }
        (a, b) = (a + da, b + db);
        size = da.abs().max(db.abs());
        if size < 1e-11 * (1.0 + a.abs().max(b.abs())) {
            return Ok((a, b));
        }
    }
    Err(Error::NotConverged { operation, iterations: 100, step: size })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Completely, at one value, the wrong way round, and not.
    #[test]
    fn separated_classes_have_no_slope() {
        let slope = |label: &[bool], p: &[f64]| calibration_slope(label, p).map(|c| c.slope);
        let (f, t) = (false, true);
        for p in [[0.1, 0.2, 0.8, 0.9], [0.1, 0.5, 0.5, 0.9], [0.9, 0.8, 0.2, 0.1], [0.4, 0.41, 0.42, 0.43]] {
            let error = slope(&[f, f, t, t], &p).unwrap_err().to_string();
            assert!(error.contains("separate the classes"), "{p:?}: {error}");
        }
        assert!(slope(&[f, t, f, t], &[0.1, 0.4, 0.6, 0.9]).unwrap().is_finite());
    }

    #[test]
    fn edges_and_quantiles() {
        let (label, p) = ([true, false, true, false], [0.0, 0.5, 0.5, 1.0]);
        let uniform = calibration_curve(&label, &p, 2, Binning::Uniform).unwrap();
        assert_eq!(uniform.iter().map(|b| b.count).collect::<Vec<_>>(), vec![3, 1]);
        let quantile = calibration_curve(&label, &p, 4, Binning::Quantile).unwrap();
        assert_eq!(quantile.iter().map(|b| b.count).collect::<Vec<_>>(), vec![1, 2, 1]);
        let ece = expected_calibration_error(&label, &p, 2).unwrap();
        assert!((ece - (3.0 * (2.0f64 / 3.0 - 1.0 / 3.0) + 1.0) / 4.0).abs() < 1e-15);
    }

    #[test]
    fn in_the_large_by_hand() {
        // With one predicted value, a is the difference of logits; the second value only keeps the slope defined.
        let label = [true, true, true, false, true, true, true, false];
        let c = calibration_slope(&label, &[0.5, 0.5, 0.5, 0.5, 0.6, 0.6, 0.6, 0.6]).unwrap();
        assert!(c.slope.abs() < 1e-9 && (c.intercept - 3f64.ln()).abs() < 1e-9);
        let mean = |a: f64| 1.0 / (1.0 + (-a).exp()) + 1.0 / (1.0 + (-a - 1.5f64.ln()).exp());
        assert!((mean(c.in_the_large) - 1.5).abs() < 1e-10);
    }

    #[test]
    fn degenerate_predictions_are_errors() {
        assert!(calibration_slope(&[true, false], &[0.9, 0.1]).is_err());
        assert!(calibration_slope(&[true, false], &[0.5, 0.5]).is_err());
        assert!(calibration_slope(&[true, false], &[1.0, 0.5]).is_err());
        assert!(calibration_curve(&[true], &[0.5], 0, Binning::Uniform).is_err());
    }
}

use crate::error::same_length;
use crate::reduction::constant;
use crate::{Error, Result};
use candle_core::{D, Tensor};

/// Negative log-likelihood of discrete hazards `h_j = sigmoid(phi_j)`:
/// `-(1/n) sum_i [ sum_{j<k_i} log(1-h_ij) + d_i log h_ik + (1-d_i) log(1-h_ik) ]`, `k_i = min(floor(t_i), bins-1)`.
///
/// # Shapes
/// `logits` \[n, bins\]; `time` n values in units of one bin (years for yearly bins), `event` n values -> scalar
///
/// # Errors
/// [`Error::Input`] if the lengths differ or a time is negative or NaN.
///
/// # Reference
/// Gensheimer and Narasimhan, *A scalable discrete-time survival model for neural networks*, 2019. A censored
/// patient survives the bin of its last follow-up here, as STG needs it.
pub fn discrete_hazard(logits: &Tensor, time: &[f64], event: &[bool]) -> Result<Tensor> {
    const LOSS: &str = "discrete_hazard";
    let (n, bins) = logits.dims2()?;
    same_length(LOSS, &logits.narrow(1, 0, 1)?, &[time.len(), event.len()])?;
    if let Some(i) = time.iter().position(|t| t.is_nan() || *t < 0.0) {
        return Err(Error::input(LOSS, "times of 0 or more", format_args!("{} at {i}", time[i])));
    }
    // log(1-h) = -softplus(phi) and log h = phi - softplus(phi): one softplus per bin that was lived through.
    let (mut lived, mut died) = (vec![0.0; n * bins], vec![0.0; n * bins]);
    for (i, (&t, &d)) in time.iter().zip(event).enumerate() {
        let k = (t.floor() as usize).min(bins - 1);
        lived[i * bins..=i * bins + k].fill(1.0);
        died[i * bins + k] = f64::from(u8::from(d));
    }
    let constant = |values| constant(values, (n, bins), logits);
    let sum = ((softplus(logits)? * constant(lived)?)? - (logits * constant(died)?)?)?.sum_all()?;
    Ok((sum / n as f64)?)
}

/// `log(1 + exp(x))` without overflow.
fn softplus(x: &Tensor) -> Result<Tensor> {
    // (x + |x|) / 2 + log(1 + exp(-|x|)), with |x| as a root: its derivative at 0 is 0, which makes the sum's 1/2.
    let half = (x * 0.5)?;
    let abs = (x.sqr()? + 1e-30)?.sqrt()?;
    let log = (abs.neg()?.exp()? + 1.0)?.log()?;
    Ok(((half + (abs * 0.5)?)? + log)?)
}

/// The probability to survive each bin: `S_k = prod_{j<=k} (1 - h_j)`.
///
/// # Shapes
/// `logits` \[n, bins\] -> \[n, bins\]
///
/// # Errors
/// An error of candle.
pub fn survival_curve(logits: &Tensor) -> Result<Tensor> {
    Ok(softplus(logits)?.neg()?.cumsum(D::Minus1)?.exp()?)
}

/// A time from one survival curve: its median, linear between the ends of bins, or, where the curve stays above
/// one half, the restricted mean over all bins.
///
/// # Units
/// `survival[k]` is the probability to live to the end of bin `k`; the result is in bins.
pub fn predicted_time(survival: &[f64]) -> f64 {
    let mut before = 1.0;
    for (k, &s) in survival.iter().enumerate() {
        if s <= 0.5 {
            return k as f64 + (before - 0.5) / (before - s).max(f64::MIN_POSITIVE);
        }
        before = s;
    }
    // Trapezoids from S(0) = 1.
    let starts = std::iter::once(&1.0).chain(survival);
    starts.zip(survival).map(|(a, b)| 0.5 * (a + b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;
    use oncograph_nn::testing::device;

    const TIME: [f64; 3] = [0.5, 2.9, 40.0];
    const EVENT: [bool; 3] = [true, false, true];
    const LOGITS: [[f64; 4]; 3] = [[0.2, -1.0, 0.5, 2.0], [0.0, 0.0, 1.0, -3.0], [-2.0, 0.3, 50.0, -60.0]];

    fn plain(logits: &[[f64; 4]; 3]) -> f64 {
        let h = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut sum = 0.0;
        for i in 0..3 {
            let k = (TIME[i].floor() as usize).min(3);
            sum += (0..k).map(|j| h(-logits[i][j]).ln()).sum::<f64>();
            sum += if EVENT[i] { h(logits[i][k]).ln() } else { h(-logits[i][k]).ln() };
        }
        -sum / 3.0
    }

    #[test]
    fn equals_the_definition_and_its_derivative() {
        let v = Var::new(&LOGITS, &device()).unwrap();
        let loss = discrete_hazard(&v, &TIME, &EVENT).unwrap();
        approx::assert_relative_eq!(loss.to_scalar::<f64>().unwrap(), plain(&LOGITS), epsilon = 1e-12);
        let g = loss.backward().unwrap().get(&v).unwrap().to_vec2::<f64>().unwrap();
        for i in 0..3 {
            for j in 0..4 {
                let at = |d: f64| {
                    let mut l = LOGITS;
                    l[i][j] += d;
                    plain(&l)
                };
                approx::assert_relative_eq!(g[i][j], (at(1e-6) - at(-1e-6)) / 2e-6, epsilon = 1e-7);
            }
        }
    }

    #[test]
    fn curve_and_median_by_hand() {
        let zeros = Tensor::new(&[[0f64, 0., 0.]], &device()).unwrap();
        let s = survival_curve(&zeros).unwrap().to_vec2::<f64>().unwrap();
        for (got, expected) in s[0].iter().zip([0.5, 0.25, 0.125]) {
            approx::assert_relative_eq!(*got, expected, epsilon = 1e-12);
        }
        assert_eq!(predicted_time(&[0.5, 0.25]), 1.0);
        approx::assert_relative_eq!(predicted_time(&[0.75, 0.25]), 1.5);
        approx::assert_relative_eq!(predicted_time(&[0.8, 0.6]), 0.9 + 0.7);
    }

    #[test]
    fn a_negative_time_is_refused() {
        let zeros = Tensor::new(&[[0f64, 0.]], &device()).unwrap();
        let message = discrete_hazard(&zeros, &[-1.0], &[true]).unwrap_err().to_string();
        assert_eq!(message, "discrete_hazard: expected times of 0 or more, got -1 at 0");
    }
}

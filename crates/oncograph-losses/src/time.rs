use crate::Result;
use crate::error::same_length;
use crate::reduction::constant;
use candle_core::Tensor;

/// Mean squared error of predicted times, over the entries with a positive weight: `sum w (p - t)^2 / sum w`.
///
/// Censored patients are scored as if observed with weight 1, or left out with weight 0. Without any weight the
/// loss is 0, with a zero gradient.
///
/// # Shapes
/// `predicted` \[n\] or \[n, 1\], `time` and `weight` n values -> scalar
///
/// # Errors
/// An error if the lengths differ.
pub fn mse(predicted: &Tensor, time: &[f64], weight: &[f64]) -> Result<Tensor> {
    let n = same_length("mse", predicted, &[time.len(), weight.len()])?;
    let predicted = predicted.flatten_all()?;
    let constant = |values: Vec<f64>| constant(values, n, &predicted);
    let total: f64 = weight.iter().sum();
    let scaled = weight.iter().map(|w| if total > 0.0 { w / total } else { 0.0 }).collect();
    Ok(((predicted.clone() - constant(time.to_vec())?)?.sqr()? * constant(scaled)?)?.sum_all()?)
}

/// Squared error for observed times, and for censored ones only what a prediction falls short of the follow-up:
/// `mean( d (p - t)^2 + (1 - d) relu(t - p)^2 )`.
///
/// # Shapes
/// `predicted` \[n\] or \[n, 1\], `time` and `event` n values -> scalar
///
/// # Errors
/// An error if the lengths differ.
///
/// # Reference
/// Zhu et al., *STG*, 2025, arXiv 2505.03123; the option `hinge` of decision S-17 of `oncograph-spatiotemporal`.
pub fn censored_hinge(predicted: &Tensor, time: &[f64], event: &[bool]) -> Result<Tensor> {
    let n = same_length("censored_hinge", predicted, &[time.len(), event.len()])?;
    let predicted = predicted.flatten_all()?;
    let constant = |values: Vec<f64>| constant(values, n, &predicted);
    let observed = constant(event.iter().map(|&e| f64::from(u8::from(e))).collect())?;
    let censored = constant(event.iter().map(|&e| f64::from(u8::from(!e))).collect())?;
    let short = (constant(time.to_vec())? - predicted)?;
    let late = oncograph_nn::relu(&short)?;
    Ok(((short.sqr()? * observed)? + (late.sqr()? * censored)?)?.mean_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;
    use oncograph_nn::testing::device;

    fn scalar(t: Tensor) -> f64 {
        t.to_scalar().unwrap()
    }

    #[test]
    fn by_hand() {
        let p = Tensor::new(&[1f64, 2., 4.], &device()).unwrap();
        assert_eq!(scalar(mse(&p, &[0., 2., 1.], &[1., 1., 0.]).unwrap()), 0.5);
        assert_eq!(scalar(mse(&p, &[0., 2., 1.], &[0.; 3]).unwrap()), 0.0);
        // An event missed by 1, a censored one predicted 3 too early and one predicted late enough.
        let loss = censored_hinge(&p, &[2., 5., 3.], &[true, false, false]).unwrap();
        approx::assert_relative_eq!(scalar(loss), (1.0 + 9.0) / 3.0, epsilon = 1e-12);
    }

    #[test]
    fn a_late_prediction_of_a_censored_patient_has_no_gradient() {
        let p = Var::new(&[5f64, 1.], &device()).unwrap();
        let grads = censored_hinge(&p, &[3., 3.], &[false, false]).unwrap().backward().unwrap();
        assert_eq!(grads.get(&p).unwrap().to_vec1::<f64>().unwrap(), [0.0, -2.0]);
    }

    #[test]
    fn lengths_are_checked() {
        let p = Tensor::new(&[1f64, 2.], &device()).unwrap();
        let message = mse(&p, &[1.], &[1.]).unwrap_err().to_string();
        assert_eq!(message, "mse: expected 2 targets, as many as predictions, got 1");
    }
}

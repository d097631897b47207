use crate::reduction::same_shape;
use crate::{Error, Reduction, Result};
use candle_core::Tensor;

/// `(p - t)^2` of each value.
///
/// # Shapes
/// Two tensors of one shape -> scalar (that shape without reduction)
///
/// # Errors
/// [`Error::Input`] if the shapes differ.
///
/// # Reference
/// `torch.nn.functional.mse_loss`. [`mse`](crate::mse) is the one for times with weights.
pub fn squared_error(predicted: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    same_shape("squared_error", predicted, target)?;
    reduction.apply((predicted - target)?.sqr()?)
}

/// `|p - t|` of each value.
///
/// # Shapes
/// Two tensors of one shape -> scalar (that shape without reduction)
///
/// # Errors
/// [`Error::Input`] if the shapes differ.
///
/// # Reference
/// `torch.nn.functional.l1_loss`.
pub fn absolute_error(predicted: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    same_shape("absolute_error", predicted, target)?;
    reduction.apply((predicted - target)?.abs()?)
}

/// Squared near the target, linear beyond `delta`: `d^2 / 2` for `|d| <= delta`, else `delta (|d| - delta / 2)`.
///
/// # Shapes
/// Two tensors of one shape -> scalar (that shape without reduction)
///
/// # Errors
/// [`Error::Input`] if the shapes differ, [`Error::Argument`] if `delta` is not positive.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_losses::{Reduction, huber};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (p, t) = (Tensor::new(&[1f64, 5.], &Device::Cpu)?, Tensor::new(&[0f64, 0.], &Device::Cpu)?);
/// let losses = huber(&p, &t, 2.0, Reduction::None)?;
/// assert_eq!(losses.to_vec1::<f64>()?, [0.5, 8.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.functional.huber_loss`.
pub fn huber(predicted: &Tensor, target: &Tensor, delta: f64, reduction: Reduction) -> Result<Tensor> {
    same_shape("huber", predicted, target)?;
    if !(delta > 0.0 && delta.is_finite()) {
        return Err(Error::config("huber", "delta", "positive and finite", delta));
    }
    let distance = (predicted - target)?.abs()?;
    // With c = min(|d|, delta) both pieces are c (|d| - c / 2).
    let beyond = oncograph_nn::relu(&(&distance - delta)?)?;
    let within = (&distance - beyond)?;
    let losses = (&within * (&distance - (&within * 0.5)?)?)?;
    reduction.apply(losses)
}

/// [`huber`] over `beta`: `d^2 / (2 beta)` for `|d| < beta`, else `|d| - beta / 2`.
///
/// # Shapes
/// Two tensors of one shape -> scalar (that shape without reduction)
///
/// # Errors
/// [`Error::Input`] if the shapes differ or `beta` is negative; 0 is [`absolute_error`].
///
/// # Reference
/// `torch.nn.functional.smooth_l1_loss`.
pub fn smooth_l1(predicted: &Tensor, target: &Tensor, beta: f64, reduction: Reduction) -> Result<Tensor> {
    if beta == 0.0 {
        return absolute_error(predicted, target, reduction);
    }
    Ok((huber(predicted, target, beta, reduction)? / beta)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;
    use oncograph_nn::testing::device;

    #[test]
    fn gradients_follow_the_definitions() {
        let p = Var::new(&[3f64, -0.5, 0.2, -4.0], &device()).unwrap();
        let t = Tensor::new(&[0f64, 0.0, 0.5, 1.0], &device()).unwrap();
        let gradient = |loss: Tensor| loss.backward().unwrap().get(&p).unwrap().to_vec1::<f64>().unwrap();
        let close = |a: Vec<f64>, b: [f64; 4]| {
            assert!(a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-12), "{a:?} {b:?}");
        };
        close(gradient(squared_error(&p, &t, Reduction::Sum).unwrap()), [6.0, -1.0, -0.6, -10.0]);
        close(gradient(absolute_error(&p, &t, Reduction::Mean).unwrap()), [0.25, -0.25, -0.25, -0.25]);
        close(gradient(huber(&p, &t, 1.5, Reduction::Sum).unwrap()), [1.5, -0.5, -0.3, -1.5]);
        close(gradient(smooth_l1(&p, &t, 0.5, Reduction::Sum).unwrap()), [1.0, -1.0, -0.6, -1.0]);
        assert!(huber(&p, &t, 0.0, Reduction::Mean).is_err());
        assert!(smooth_l1(&p, &t, -1.0, Reduction::Mean).is_err());
        assert!(squared_error(&p, &t.narrow(0, 0, 2).unwrap(), Reduction::Mean).is_err());
    }
}

use crate::reduction::same_shape;
use crate::{Reduction, Result};
use candle_core::Tensor;

/// How [`binary_cross_entropy`] weighs and reduces.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BinaryCrossEntropyOptions {
    /// A weight for each value; of a shape that broadcasts to the logits.
    pub weight: Option<Tensor>,
    /// A weight for the positive part of each value, such as negatives over positives; of a shape that broadcasts.
    pub pos_weight: Option<Tensor>,
    /// Default: the mean over all values.
    pub reduction: Reduction,
}

impl BinaryCrossEntropyOptions {
    /// Everything weighs 1, the mean.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a weight for each value.
    pub fn weight(mut self, weight: Tensor) -> Self {
        self.weight = Some(weight);
        self
    }

    /// Sets a weight for the positive part.
    pub fn pos_weight(mut self, weight: Tensor) -> Self {
        self.pos_weight = Some(weight);
        self
    }

    /// Sets the reduction.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

/// Binary cross-entropy of scores before the logistic function `p = 1 / (1 + exp(-x))`:
/// `-w [q y log p + (1 - y) log(1 - p)]`, `q` the positive weight.
///
/// Computed from `log(1 + exp(-|x|))`, so that large scores neither overflow nor lose their loss. Targets may lie
/// between 0 and 1 and receive a gradient.
///
/// # Shapes
/// `logits` and `target` of one shape -> scalar (that shape without reduction)
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) if the shapes differ; an error of candle for weights that do not broadcast.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_losses::{BinaryCrossEntropyOptions, binary_cross_entropy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (x, y) = (Tensor::new(&[0f64, 800.], &Device::Cpu)?, Tensor::new(&[1f64, 0.], &Device::Cpu)?);
/// let loss = binary_cross_entropy(&x, &y, &BinaryCrossEntropyOptions::new())?.to_scalar::<f64>()?;
/// assert!((loss - (2f64.ln() + 800.0) / 2.0).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.functional.binary_cross_entropy_with_logits`.
pub fn binary_cross_entropy(
    logits: &Tensor,
    target: &Tensor,
    options: &BinaryCrossEntropyOptions,
) -> Result<Tensor> {
    same_shape("binary_cross_entropy", logits, target)?;
    // softplus(-x) = -log p = log(1 + exp(-|x|)) + relu(-x)
    let soft = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    let minus_log_p = (soft + oncograph_nn::relu(&logits.neg()?)?)?;
    let positive = match &options.pos_weight {
        None => (target * &minus_log_p)?,
        Some(q) => (target * &minus_log_p)?.broadcast_mul(q)?,
    };
    // -log(1 - p) = x - log p
    let negative = (target.affine(-1.0, 1.0)? * (logits + minus_log_p)?)?;
    let mut losses = (positive + negative)?;
    if let Some(weight) = &options.weight {
        losses = losses.broadcast_mul(weight)?;
    }
    options.reduction.apply(losses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;
    use oncograph_nn::testing::device;

    #[test]
    fn gradients_by_finite_differences_of_the_definition() {
        let (x, y) = ([0.3f64, -2.0, 1.5], [1.0f64, 0.0, 0.25]);
        let q = [2.0, 0.5, 3.0];
        let plain = |x: &[f64; 3], y: &[f64; 3]| -> f64 {
            let one = |i: usize| {
                let p = 1.0 / (1.0 + (-x[i]).exp());
                -q[i] * y[i] * p.ln() - (1.0 - y[i]) * (1.0 - p).ln()
            };
            (0..3).map(one).sum::<f64>() / 3.0
        };
        let (vx, vy) = (Var::new(&x, &device()).unwrap(), Var::new(&y, &device()).unwrap());
        let options = BinaryCrossEntropyOptions::new().pos_weight(Tensor::new(&q, &device()).unwrap());
        let loss = binary_cross_entropy(&vx, &vy, &options).unwrap();
        approx::assert_relative_eq!(loss.to_scalar::<f64>().unwrap(), plain(&x, &y), epsilon = 1e-12);
        let grads = loss.backward().unwrap();
        let (gx, gy) = (grads.get(&vx).unwrap(), grads.get(&vy).unwrap());
        let (gx, gy) = (gx.to_vec1::<f64>().unwrap(), gy.to_vec1::<f64>().unwrap());
        for i in 0..3 {
            let step = |v: &[f64; 3], h: f64| {
                let mut v = *v;
                v[i] += h;
                v
            };
            let dx = (plain(&step(&x, 1e-6), &y) - plain(&step(&x, -1e-6), &y)) / 2e-6;
            let dy = (plain(&x, &step(&y, 1e-6)) - plain(&x, &step(&y, -1e-6))) / 2e-6;
            approx::assert_relative_eq!(gx[i], dx, epsilon = 1e-8);
            approx::assert_relative_eq!(gy[i], dy, epsilon = 1e-8);
        }
    }

    #[test]
    fn shapes_are_checked() {
        let t = |n: usize| Tensor::zeros(n, candle_core::DType::F64, &device()).unwrap();
        assert!(binary_cross_entropy(&t(2), &t(3), &BinaryCrossEntropyOptions::new()).is_err());
    }
}

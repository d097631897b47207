use super::fused::Rule;
use super::slots::Slots;
use super::{check_at_least_zero, impl_optimizer};
use crate::Result;
use crate::element::Element;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Configuration of [`RmsProp`], with PyTorch's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct RmsPropConfig {
    /// Learning rate; 1e-2.
    pub learning_rate: f64,
    /// Decay of the squared gradients; 0.99.
    pub alpha: f64,
    /// Added to the denominator; 1e-8.
    pub eps: f64,
    /// L2 penalty added to the gradient; 0.
    pub weight_decay: f64,
    /// Momentum factor; 0.
    pub momentum: f64,
    /// Whether to divide by the estimated variance instead of the second moment; false.
    pub centered: bool,
    /// Whether to climb instead of to descend; false.
    pub maximize: bool,
}

impl Default for RmsPropConfig {
    fn default() -> Self {
        RmsPropConfig {
            learning_rate: 1e-2,
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: 0.0,
            centered: false,
            maximize: false,
        }
    }
}

impl RmsPropConfig {
    /// PyTorch's defaults with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        RmsPropConfig { learning_rate, ..Self::default() }
    }

    /// Sets the decay of the squared gradients.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Sets the term that is added to the denominator.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Sets the L2 penalty.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Sets the momentum factor.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Sets whether the mean gradient is removed from the second moment.
    pub fn centered(mut self, centered: bool) -> Self {
        self.centered = centered;
        self
    }

    /// Sets whether to climb instead of to descend.
    pub fn maximize(mut self, maximize: bool) -> Self {
        self.maximize = maximize;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        check_at_least_zero("RmsProp", "learning_rate", self.learning_rate)?;
        check_at_least_zero("RmsProp", "alpha", self.alpha)?;
        check_at_least_zero("RmsProp", "eps", self.eps)?;
        check_at_least_zero("RmsProp", "weight_decay", self.weight_decay)?;
        check_at_least_zero("RmsProp", "momentum", self.momentum)
    }
}

/// Gradient descent with each element divided by a running root mean square of its gradients.
///
/// `s = alpha s + (1 - alpha) g^2`, `p -= lr * g / (sqrt(s) + eps)`; with momentum the quotient is accumulated.
///
/// # Reference
/// Tieleman and Hinton 2012; `torch.optim.RMSprop`.
#[derive(Debug, Clone)]
pub struct RmsProp {
    config: RmsPropConfig,
    slots: Slots,
}

impl RmsProp {
    /// An optimizer without state yet.
    ///
    /// # Errors
    /// As [`RmsPropConfig::validate`].
    pub fn new(config: RmsPropConfig) -> Result<Self> {
        config.validate()?;
        Ok(RmsProp { config, slots: Slots::default() })
    }
}

impl_optimizer!(RmsProp);

impl Rule for RmsPropConfig {
    const NAME: &'static str = "RmsProp";

    // All three are always kept: the memory is small and the update stays one loop.
    fn moments(&self) -> Vec<&'static str> {
        vec!["square_avg", "momentum_buffer", "grad_avg"]
    }

    fn update<T: Element>(&self, _: u64, param: &mut [T], grad: &[T], moments: &mut [&mut [T]]) {
        let [square, buffer, mean] = moments else { return };
        let [lr, alpha, rest, eps, decay, momentum, centered] = [
            self.learning_rate,
            self.alpha,
            1.0 - self.alpha,
            self.eps,
            self.weight_decay,
            self.momentum,
            f64::from(u8::from(self.centered)),
        ]
        .map(T::from_f64);
        for (i, (p, g)) in param.iter_mut().zip(grad).enumerate() {
            let g = *g + decay * *p;
            square[i] = alpha * square[i] + rest * g * g;
            mean[i] += rest * (g - mean[i]);
            // Rounding can take the difference below zero; PyTorch would return NaN there.
            let variance = (square[i] - centered * mean[i] * mean[i]).maximum(T::ZERO);
            buffer[i] = momentum * buffer[i] + g / (variance.sqrt() + eps);
            *p -= lr * buffer[i];
        }
    }

    #[cfg(feature = "cuda")]
    fn kernel(&self, _: u64) -> (&'static str, [f64; 8]) {
        let centered = f64::from(u8::from(self.centered));
        let (rate, alpha, decay) = (self.learning_rate, self.alpha, self.weight_decay);
        ("rmsprop", [rate, alpha, 1.0 - alpha, self.eps, decay, self.momentum, centered, 0.0])
    }

    fn update_tensor(
        &self,
        _: u64,
        param: &Tensor,
        grad: &Tensor,
        moments: &mut [Tensor],
    ) -> candle_core::Result<Tensor> {
        let grad = (grad + (param * self.weight_decay)?)?;
        moments[0] = ((&moments[0] * self.alpha)? + (grad.sqr()? * (1.0 - self.alpha))?)?;
        moments[2] = ((&moments[2] * self.alpha)? + (&grad * (1.0 - self.alpha))?)?;
        let variance =
            if self.centered { (&moments[0] - moments[2].sqr()?)?.maximum(0.0)? } else { moments[0].clone() };
        moments[1] = ((&moments[1] * self.momentum)? + (grad / (variance.sqrt()? + self.eps)?)?)?;
        param - (&moments[1] * self.learning_rate)?
    }
}

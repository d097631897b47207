use super::fused::Rule;
use super::slots::Slots;
use super::{check_at_least_zero, impl_optimizer};
use crate::element::Element;
use crate::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Configuration of [`Sgd`], with PyTorch's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct SgdConfig {
    /// Learning rate; 1e-3.
    pub learning_rate: f64,
    /// Momentum factor; 0.
    pub momentum: f64,
    /// How much of the new gradient is kept out of the momentum buffer; 0.
    pub dampening: f64,
    /// L2 penalty added to the gradient; 0.
    pub weight_decay: f64,
    /// Whether to look ahead along the momentum; false.
    pub nesterov: bool,
    /// Whether to climb instead of to descend; false.
    pub maximize: bool,
}

impl Default for SgdConfig {
    fn default() -> Self {
        SgdConfig {
            learning_rate: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            maximize: false,
        }
    }
}

impl SgdConfig {
    /// Plain gradient descent with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        SgdConfig { learning_rate, ..Self::default() }
    }

    /// Sets the momentum factor.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Sets the dampening of the momentum.
    pub fn dampening(mut self, dampening: f64) -> Self {
        self.dampening = dampening;
        self
    }

    /// Sets the L2 penalty.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Sets whether to use Nesterov momentum.
    pub fn nesterov(mut self, nesterov: bool) -> Self {
        self.nesterov = nesterov;
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
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        check_at_least_zero("Sgd", "learning_rate", self.learning_rate)?;
        check_at_least_zero("Sgd", "momentum", self.momentum)?;
        check_at_least_zero("Sgd", "weight_decay", self.weight_decay)?;
        if !self.dampening.is_finite() {
            return Err(Error::config("Sgd", "dampening", "finite", self.dampening));
        }
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            let expected = "used with a momentum and without dampening";
            return Err(Error::config("Sgd", "nesterov", expected, self.nesterov));
        }
        Ok(())
    }
}

/// Stochastic gradient descent with momentum, dampening, Nesterov's look-ahead and L2 penalty.
///
/// `b = momentum * b + (1 - dampening) * g` (the first step sets `b = g`), `p -= lr * b`, or
/// `p -= lr * (g + momentum * b)` with Nesterov.
///
/// # Reference
/// `torch.optim.SGD`.
#[derive(Debug, Clone)]
pub struct Sgd {
    config: SgdConfig,
    slots: Slots,
}

impl Sgd {
    /// An optimizer without state yet.
    ///
    /// # Errors
    /// As [`SgdConfig::validate`].
    pub fn new(config: SgdConfig) -> Result<Self> {
        config.validate()?;
        Ok(Sgd { config, slots: Slots::default() })
    }
}

impl_optimizer!(Sgd);

impl Rule for SgdConfig {
    const NAME: &'static str = "Sgd";

    fn moments(&self) -> Vec<&'static str> {
        if self.momentum == 0.0 { vec![] } else { vec!["momentum_buffer"] }
    }

    fn update<T: Element>(&self, step: u64, param: &mut [T], grad: &[T], moments: &mut [&mut [T]]) {
        let [lr, decay, momentum] = [self.learning_rate, self.weight_decay, self.momentum].map(T::from_f64);
        let keep = T::from_f64(if step == 1 { 1.0 } else { 1.0 - self.dampening });
        match moments {
            [buffer] => {
                for ((p, g), b) in param.iter_mut().zip(grad).zip(buffer.iter_mut()) {
                    let g = *g + decay * *p;
                    *b = momentum * *b + keep * g;
                    *p -= lr * if self.nesterov { g + momentum * *b } else { *b };
                }
            }
            _ => param.iter_mut().zip(grad).for_each(|(p, g)| *p -= lr * (*g + decay * *p)),
        }
    }

    #[cfg(feature = "cuda")]
    fn kernel(&self, step: u64) -> (&'static str, [f64; 8]) {
        let keep = if step == 1 { 1.0 } else { 1.0 - self.dampening };
        let nesterov = f64::from(u8::from(self.nesterov));
        ("sgd", [self.learning_rate, self.weight_decay, self.momentum, keep, nesterov, 0.0, 0.0, 0.0])
    }

    fn update_tensor(
        &self,
        step: u64,
        param: &Tensor,
        grad: &Tensor,
        moments: &mut [Tensor],
    ) -> candle_core::Result<Tensor> {
        let grad = (grad + (param * self.weight_decay)?)?;
        let direction = match moments {
            [buffer] => {
                let keep = if step == 1 { 1.0 } else { 1.0 - self.dampening };
                *buffer = ((&*buffer * self.momentum)? + (&grad * keep)?)?;
                if self.nesterov { (grad + (&*buffer * self.momentum)?)? } else { buffer.clone() }
            }
            _ => grad,
        };
        param - (direction * self.learning_rate)?
    }
}

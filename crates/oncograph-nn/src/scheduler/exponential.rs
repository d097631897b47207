use super::{check_rate, impl_scheduler};
use crate::Result;
use serde::{Deserialize, Serialize};

/// Multiplies the learning rate by `gamma` at every step: `base * gamma^t`.
///
/// # Reference
/// `torch.optim.lr_scheduler.ExponentialLR`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExponentialLr {
    base: f64,
    gamma: f64,
    steps: u64,
}

impl ExponentialLr {
    /// A schedule that starts at `base`.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] for a rate or factor that is not finite and >= 0.
    pub fn new(base: f64, gamma: f64) -> Result<Self> {
        check_rate("ExponentialLr", "base", base)?;
        check_rate("ExponentialLr", "gamma", gamma)?;
        Ok(ExponentialLr { base, gamma, steps: 0 })
    }

    fn at(&self, t: u64) -> f64 {
        self.base * self.gamma.powf(t as f64)
    }
}

impl_scheduler!(ExponentialLr);

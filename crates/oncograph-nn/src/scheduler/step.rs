use super::{check_positive, check_rate, impl_scheduler};
use crate::Result;
use serde::{Deserialize, Serialize};

/// Multiplies the learning rate by `gamma` every `step_size` steps: `base * gamma^floor(t / step_size)`.
///
/// # Reference
/// `torch.optim.lr_scheduler.StepLR`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepLr {
    base: f64,
    step_size: u64,
    gamma: f64,
    steps: u64,
}

impl StepLr {
    /// A schedule that starts at `base`.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] for a rate or factor that is not finite and >= 0, or a `step_size` of 0.
    pub fn new(base: f64, step_size: u64, gamma: f64) -> Result<Self> {
        check_rate("StepLr", "base", base)?;
        check_positive("StepLr", "step_size", step_size)?;
        check_rate("StepLr", "gamma", gamma)?;
        Ok(StepLr { base, step_size, gamma, steps: 0 })
    }

    fn at(&self, t: u64) -> f64 {
        self.base * self.gamma.powf((t / self.step_size) as f64)
    }
}

impl_scheduler!(StepLr);

use super::{check_positive, check_rate, impl_scheduler};
use crate::Result;
use serde::{Deserialize, Serialize};

/// Goes in a straight line from `base * start_factor` to `base * end_factor` in `total_steps`, then stays.
///
/// # Reference
/// `torch.optim.lr_scheduler.LinearLR`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearLr {
    base: f64,
    start_factor: f64,
    end_factor: f64,
    total_steps: u64,
    steps: u64,
}

impl LinearLr {
    /// A warm-up (or cool-down) of `total_steps`.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] for a rate or factor that is not finite and >= 0, or no steps.
    pub fn new(base: f64, start_factor: f64, end_factor: f64, total_steps: u64) -> Result<Self> {
        check_rate("LinearLr", "base", base)?;
        check_rate("LinearLr", "start_factor", start_factor)?;
        check_rate("LinearLr", "end_factor", end_factor)?;
        check_positive("LinearLr", "total_steps", total_steps)?;
        Ok(LinearLr { base, start_factor, end_factor, total_steps, steps: 0 })
    }

    fn at(&self, t: u64) -> f64 {
        let fraction = t.min(self.total_steps) as f64 / self.total_steps as f64;
        self.base * (self.start_factor + (self.end_factor - self.start_factor) * fraction)
    }
}

impl_scheduler!(LinearLr);

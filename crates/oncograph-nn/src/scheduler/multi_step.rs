use super::{check_rate, impl_scheduler};
use crate::Result;
use serde::{Deserialize, Serialize};

/// Multiplies the learning rate by `gamma` at each milestone: `base * gamma^#{m <= t}`.
///
/// # Reference
/// `torch.optim.lr_scheduler.MultiStepLR`; a milestone that is listed twice counts twice, as there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultiStepLr {
    base: f64,
    milestones: Vec<u64>,
    gamma: f64,
    steps: u64,
}

impl MultiStepLr {
    /// A schedule that starts at `base`; the milestones may come in any order.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] for a rate or factor that is not finite and >= 0.
    pub fn new(base: f64, milestones: &[u64], gamma: f64) -> Result<Self> {
        check_rate("MultiStepLr", "base", base)?;
        check_rate("MultiStepLr", "gamma", gamma)?;
        Ok(MultiStepLr { base, milestones: milestones.to_vec(), gamma, steps: 0 })
    }

    fn at(&self, t: u64) -> f64 {
        let passed = self.milestones.iter().filter(|m| **m <= t).count();
        self.base * self.gamma.powf(passed as f64)
    }
}

impl_scheduler!(MultiStepLr);

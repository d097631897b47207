use super::{check_positive, check_rate, impl_scheduler};
use crate::Result;
use serde::{Deserialize, Serialize};

/// Half a cosine from `base` down to `min` in `period` steps: `min + (base - min)(1 + cos(pi t / period)) / 2`.
///
/// Beyond `period` it follows the cosine up again, as PyTorch does.
///
/// # Reference
/// `torch.optim.lr_scheduler.CosineAnnealingLR` (`T_max` is `period`, `eta_min` is `min`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CosineAnnealingLr {
    base: f64,
    period: u64,
    min: f64,
    steps: u64,
}

impl CosineAnnealingLr {
    /// A schedule that starts at `base`.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] for a rate that is not finite and >= 0, or a `period` of 0.
    pub fn new(base: f64, period: u64, min: f64) -> Result<Self> {
        check_rate("CosineAnnealingLr", "base", base)?;
        check_positive("CosineAnnealingLr", "period", period)?;
        check_rate("CosineAnnealingLr", "min", min)?;
        Ok(CosineAnnealingLr { base, period, min, steps: 0 })
    }

    fn at(&self, t: u64) -> f64 {
        super::cosine(self.base, self.min, t as f64 / self.period as f64)
    }
}

impl_scheduler!(CosineAnnealingLr);

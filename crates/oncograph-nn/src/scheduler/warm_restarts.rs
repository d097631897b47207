use super::{check_positive, check_rate, impl_scheduler};
use crate::Result;
use serde::{Deserialize, Serialize};

/// Half a cosine from `base` to `min` that restarts after `first`, `first * factor`, `first * factor^2` ... steps.
///
/// # Reference
/// Loshchilov and Hutter 2017; `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts` (`T_0` is `first`, `T_mult`
/// is `factor`, `eta_min` is `min`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CosineAnnealingWarmRestarts {
    base: f64,
    first: u64,
    factor: u64,
    min: f64,
    steps: u64,
}

impl CosineAnnealingWarmRestarts {
    /// A schedule that starts at `base`.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] for a rate that is not finite and >= 0, or a `first` or `factor` of 0.
    pub fn new(base: f64, first: u64, factor: u64, min: f64) -> Result<Self> {
        check_rate("CosineAnnealingWarmRestarts", "base", base)?;
        check_positive("CosineAnnealingWarmRestarts", "first", first)?;
        check_positive("CosineAnnealingWarmRestarts", "factor", factor)?;
        check_rate("CosineAnnealingWarmRestarts", "min", min)?;
        Ok(CosineAnnealingWarmRestarts { base, first, factor, min, steps: 0 })
    }

    fn at(&self, t: u64) -> f64 {
        let (mut since, mut length) = (t, self.first);
        if self.factor == 1 {
            since %= length;
        }
        while since >= length {
            since -= length;
            length = length.saturating_mul(self.factor);
        }
        super::cosine(self.base, self.min, since as f64 / length as f64)
    }
}

impl_scheduler!(CosineAnnealingWarmRestarts);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::Scheduler;

    #[test]
    fn restarts_come_after_one_three_and_seven_steps() {
        let mut schedule = CosineAnnealingWarmRestarts::new(1.0, 1, 2, 0.0).unwrap();
        let rates: Vec<f64> = std::iter::once(1.0).chain((0..7).map(|_| schedule.step())).collect();
        let full: Vec<usize> = (0..8).filter(|&i| rates[i] == 1.0).collect();
        assert_eq!(full, [0, 1, 3, 7]);
        approx::assert_relative_eq!(rates[2], 0.5, epsilon = 1e-12);
    }
}

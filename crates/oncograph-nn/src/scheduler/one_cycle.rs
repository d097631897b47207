use super::{check_rate, cosine, impl_scheduler};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Configuration of [`OneCycleLr`], with PyTorch's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OneCycleConfig {
    /// The highest learning rate.
    pub max: f64,
    /// The length of the cycle in steps.
    pub total_steps: u64,
    /// The part of the cycle in which the rate rises; 0.3.
    pub rise: f64,
    /// The rate starts at `max / div_factor`; 25.
    pub div_factor: f64,
    /// The rate ends at its start divided by this; 1e4.
    pub final_div_factor: f64,
}

impl OneCycleConfig {
    /// PyTorch's defaults for a cycle of `total_steps` up to `max`.
    pub fn new(max: f64, total_steps: u64) -> Self {
        OneCycleConfig { max, total_steps, rise: 0.3, div_factor: 25.0, final_div_factor: 1e4 }
    }

    /// Sets the part of the cycle in which the rate rises.
    pub fn rise(mut self, rise: f64) -> Self {
        self.rise = rise;
        self
    }

    /// Sets by how much the first rate is below the highest.
    pub fn div_factor(mut self, div_factor: f64) -> Self {
        self.div_factor = div_factor;
        self
    }

    /// Sets by how much the last rate is below the first.
    pub fn final_div_factor(mut self, final_div_factor: f64) -> Self {
        self.final_div_factor = final_div_factor;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Config`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        check_rate("OneCycleLr", "max", self.max)?;
        if self.total_steps < 2 {
            return Err(Error::config("OneCycleLr", "total_steps", "at least 2", self.total_steps));
        }
        if !(0.0..=1.0).contains(&self.rise) {
            return Err(Error::config("OneCycleLr", "rise", "in [0, 1]", self.rise));
        }
        for (field, value) in [("div_factor", self.div_factor), ("final_div_factor", self.final_div_factor)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::config("OneCycleLr", field, "finite and above 0", value));
            }
        }
        Ok(())
    }
}

/// One rise to the highest rate and one fall far below the first, both half cosines.
///
/// # Reference
/// Smith and Topin 2018; `torch.optim.lr_scheduler.OneCycleLR` with cosine annealing and two phases. PyTorch raises
/// an error when stepped beyond the cycle; here the last rate stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OneCycleLr {
    config: OneCycleConfig,
    steps: u64,
}

impl OneCycleLr {
    /// A schedule at the start of its cycle.
    ///
    /// # Errors
    /// As [`OneCycleConfig::validate`].
    pub fn new(config: OneCycleConfig) -> Result<Self> {
        config.validate()?;
        Ok(OneCycleLr { config, steps: 0 })
    }

    fn at(&self, t: u64) -> f64 {
        let c = &self.config;
        let (start, end) = (c.max / c.div_factor, c.max / c.div_factor / c.final_div_factor);
        let last = (c.total_steps - 1) as f64;
        let (t, top) = ((t as f64).min(last), c.rise * c.total_steps as f64 - 1.0);
        // `top` is 0 or less when the rise is shorter than a step: the cycle then starts at its highest rate.
        if top > 0.0 && t <= top {
            cosine(start, c.max, t / top)
        } else {
            cosine(c.max, end, (t - top) / (last - top).max(1.0))
        }
    }
}

impl_scheduler!(OneCycleLr);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::Scheduler;

    #[test]
    fn the_last_rate_stays() {
        let mut schedule = OneCycleLr::new(OneCycleConfig::new(1.0, 10)).unwrap();
        let rates: Vec<f64> = (0..12).map(|_| schedule.step()).collect();
        approx::assert_relative_eq!(rates[8], 1.0 / 25.0 / 1e4, epsilon = 1e-15);
        assert_eq!(rates[8], rates[11]);
        assert!(rates.iter().all(|r| r.is_finite()));
    }
}

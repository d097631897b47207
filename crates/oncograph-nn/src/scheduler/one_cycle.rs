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
    /// Whether the rate moves in straight lines instead of half cosines; false.
    #[serde(default)]
    pub linear: bool,
    /// Whether the rate falls as slowly as it rose before it ends; false.
    #[serde(default)]
    pub three_phase: bool,
}

impl OneCycleConfig {
    /// PyTorch's defaults for a cycle of `total_steps` up to `max`.
    pub fn new(max: f64, total_steps: u64) -> Self {
        OneCycleConfig {
            max,
            total_steps,
            rise: 0.3,
            div_factor: 25.0,
            final_div_factor: 1e4,
            linear: false,
            three_phase: false,
        }
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

    /// Sets whether the rate moves in straight lines.
    pub fn linear(mut self, linear: bool) -> Self {
        self.linear = linear;
        self
    }

    /// Sets whether the rate falls as slowly as it rose before it ends.
    pub fn three_phase(mut self, three_phase: bool) -> Self {
        self.three_phase = three_phase;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
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

/// One rise to the highest rate and one fall far below the first, half cosines or straight lines.
///
/// # Reference
/// Smith and Topin 2018; `torch.optim.lr_scheduler.OneCycleLR` (`max_lr` is `max`, `pct_start` is `rise`). PyTorch
/// raises an error when stepped beyond the cycle; here the last rate stays.
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
        let between = |from: f64, to: f64, fraction: f64| match c.linear {
            true => from + (to - from) * fraction,
            false => cosine(from, to, fraction),
        };
        // `top` is 0 or less when the rise is shorter than a step: the cycle then starts at its highest rate.
        if top > 0.0 && t <= top {
            return between(start, c.max, t / top);
        }
        let down = if c.three_phase { 2.0 * top } else { last };
        if t <= down {
            return between(
                c.max,
                if c.three_phase { start } else { end },
                (t - top) / (down - top).max(1.0),
            );
        }
        between(start, end, (t - down) / (last - down).max(1.0))
    }
}

impl_scheduler!(OneCycleLr);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::Scheduler;

    #[test]
    fn three_phases_in_straight_lines() {
        // rise * total - 1 = 2 steps up, 2 down to the start, the rest to the end.
        let config = OneCycleConfig::new(1.0, 10).rise(0.3).div_factor(2.0).final_div_factor(10.0);
        let mut schedule = OneCycleLr::new(config.linear(true).three_phase(true)).unwrap();
        let mut rates = vec![schedule.learning_rate()];
        rates.extend((0..9).map(|_| schedule.step()));
        let expected = [0.5, 0.75, 1.0, 0.75, 0.5, 0.41, 0.32, 0.23, 0.14, 0.05];
        for (rate, expected) in rates.iter().zip(expected) {
            approx::assert_relative_eq!(*rate, expected, epsilon = 1e-12);
        }
    }

    #[test]
    fn the_last_rate_stays() {
        let mut schedule = OneCycleLr::new(OneCycleConfig::new(1.0, 10)).unwrap();
        let rates: Vec<f64> = (0..12).map(|_| schedule.step()).collect();
        approx::assert_relative_eq!(rates[8], 1.0 / 25.0 / 1e4, epsilon = 1e-15);
        assert_eq!(rates[8], rates[11]);
        assert!(rates.iter().all(|r| r.is_finite()));
    }
}

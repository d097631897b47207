use super::check_rate;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Whether a smaller or a larger metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlateauMode {
    /// Smaller is better, as for a loss.
    #[default]
    Min,
    /// Larger is better, as for a C-index.
    Max,
}

/// How the threshold of an improvement is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThresholdMode {
    /// As a fraction of the best metric.
    #[default]
    Rel,
    /// In the metric's own unit.
    Abs,
}

/// Configuration of [`ReduceLrOnPlateau`], with PyTorch's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct PlateauConfig {
    /// Whether a smaller or a larger metric is better; `Min`.
    pub mode: PlateauMode,
    /// What the learning rate is multiplied by; 0.1.
    pub factor: f64,
    /// How many epochs without improvement are accepted: the next one reduces the rate; 10.
    pub patience: u64,
    /// How much better a metric must be to count; 1e-4.
    pub threshold: f64,
    /// How the threshold is meant; `Rel`.
    pub threshold_mode: ThresholdMode,
    /// Epochs after a reduction in which nothing is counted; 0.
    pub cooldown: u64,
    /// The rate never falls below this; 0.
    pub min_lr: f64,
    /// A reduction smaller than this is not made; 1e-8.
    pub eps: f64,
}

impl Default for PlateauConfig {
    fn default() -> Self {
        PlateauConfig {
            mode: PlateauMode::Min,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: ThresholdMode::Rel,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
        }
    }
}

impl PlateauConfig {
    /// PyTorch's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether a smaller or a larger metric is better.
    pub fn mode(mut self, mode: PlateauMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets what the learning rate is multiplied by.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets how many epochs without improvement are accepted.
    pub fn patience(mut self, patience: u64) -> Self {
        self.patience = patience;
        self
    }

    /// Sets how much better a metric must be, and how that is meant.
    pub fn threshold(mut self, threshold: f64, mode: ThresholdMode) -> Self {
        self.threshold = threshold;
        self.threshold_mode = mode;
        self
    }

    /// Sets the epochs after a reduction in which nothing is counted.
    pub fn cooldown(mut self, cooldown: u64) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// Sets the lowest rate.
    pub fn min_lr(mut self, min_lr: f64) -> Self {
        self.min_lr = min_lr;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.factor) {
            return Err(Error::config("ReduceLrOnPlateau", "factor", "in [0, 1)", self.factor));
        }
        check_rate("ReduceLrOnPlateau", "threshold", self.threshold)?;
        check_rate("ReduceLrOnPlateau", "min_lr", self.min_lr)?;
        check_rate("ReduceLrOnPlateau", "eps", self.eps)
    }
}

/// Reduces the learning rate when a metric has stopped to improve.
///
/// # Example
///
/// ```
/// use oncograph_nn::scheduler::{PlateauConfig, ReduceLrOnPlateau};
///
/// # fn main() -> oncograph_nn::Result<()> {
/// let mut schedule = ReduceLrOnPlateau::new(0.1, PlateauConfig::new().patience(1).factor(0.5))?;
/// let rates = [1.0, 1.0, 1.0].map(|loss| schedule.step(loss));
/// assert_eq!(rates, [0.1, 0.1, 0.05]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.optim.lr_scheduler.ReduceLROnPlateau`; a NaN counts as no improvement, as there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReduceLrOnPlateau {
    config: PlateauConfig,
    learning_rate: f64,
    // `None` instead of PyTorch's infinity, which JSON cannot hold.
    best: Option<f64>,
    num_bad: u64,
    cooldown_left: u64,
}

impl ReduceLrOnPlateau {
    /// A schedule that starts at `learning_rate`.
    ///
    /// # Errors
    /// As [`PlateauConfig::validate`], or for a rate that is not finite and >= 0.
    pub fn new(learning_rate: f64, config: PlateauConfig) -> Result<Self> {
        config.validate()?;
        check_rate("ReduceLrOnPlateau", "learning_rate", learning_rate)?;
        Ok(ReduceLrOnPlateau { config, learning_rate, best: None, num_bad: 0, cooldown_left: 0 })
    }

    /// Takes the metric of an epoch and returns the learning rate of the next.
    pub fn step(&mut self, metric: f64) -> f64 {
        if self.is_better(metric) {
            self.best = Some(metric);
            self.num_bad = 0;
        } else {
            self.num_bad += 1;
        }
        if self.cooldown_left > 0 {
            self.cooldown_left -= 1;
            self.num_bad = 0;
        }
        if self.num_bad > self.config.patience {
            let reduced = (self.learning_rate * self.config.factor).max(self.config.min_lr);
            if self.learning_rate - reduced > self.config.eps {
                self.learning_rate = reduced;
            }
            self.cooldown_left = self.config.cooldown;
            self.num_bad = 0;
        }
        self.learning_rate
    }

    /// The current learning rate.
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    /// Epochs in a row without improvement.
    pub fn num_bad(&self) -> u64 {
        self.num_bad
    }

    /// The best metric so far; `None` before the first.
    pub fn best(&self) -> Option<f64> {
        self.best
    }

    fn is_better(&self, metric: f64) -> bool {
        let PlateauConfig { mode, threshold, threshold_mode, .. } = self.config;
        let Some(best) = self.best else { return !metric.is_nan() };
        match (mode, threshold_mode) {
            (PlateauMode::Min, ThresholdMode::Rel) => metric < best * (1.0 - threshold),
            (PlateauMode::Min, ThresholdMode::Abs) => metric < best - threshold,
            (PlateauMode::Max, ThresholdMode::Rel) => metric > best * (1.0 + threshold),
            (PlateauMode::Max, ThresholdMode::Abs) => metric > best + threshold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_survives_json() {
        let mut a = ReduceLrOnPlateau::new(0.1, PlateauConfig::new().patience(1).cooldown(1)).unwrap();
        let fresh: ReduceLrOnPlateau = serde_json::from_str(&serde_json::to_string(&a).unwrap()).unwrap();
        assert_eq!(fresh, a);
        a.step(0.3);
        a.step(0.4);
        let mut b: ReduceLrOnPlateau = serde_json::from_str(&serde_json::to_string(&a).unwrap()).unwrap();
        for metric in [0.5, 0.5, 0.2, 0.2, 0.2, 0.2] {
            assert_eq!(a.step(metric), b.step(metric));
        }
        assert!(a.learning_rate() < 0.1);
    }

    #[test]
    fn nan_is_no_improvement() {
        let mut a = ReduceLrOnPlateau::new(1.0, PlateauConfig::new().patience(0).factor(0.5)).unwrap();
        assert_eq!(a.step(f64::NAN), 0.5);
        assert_eq!(a.best(), None);
    }

    #[test]
    fn a_factor_of_one_or_more_is_refused() {
        let error = ReduceLrOnPlateau::new(0.1, PlateauConfig::new().factor(1.0)).unwrap_err();
        assert_eq!(error.to_string(), "ReduceLrOnPlateau: factor must be in [0, 1), got 1");
    }
}

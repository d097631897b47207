use crate::{Error, Result};
use oncograph_nn::Precision;
use oncograph_nn::optim::{Adam, AdamConfig, AdamW, AdamWConfig, Optimizer, Sgd, SgdConfig};
use oncograph_nn::scheduler::PlateauConfig;
use serde::{Deserialize, Serialize};

/// Which optimizer trains, with its options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// Adam with decoupled weight decay.
    AdamW(AdamWConfig),
    /// Adam with coupled weight decay.
    Adam(AdamConfig),
    /// Stochastic gradient descent with momentum.
    Sgd(SgdConfig),
}

impl OptimizerConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// As the `validate` of the options.
    pub fn validate(&self) -> Result<()> {
        match self {
            OptimizerConfig::AdamW(c) => c.validate()?,
            OptimizerConfig::Adam(c) => c.validate()?,
            OptimizerConfig::Sgd(c) => c.validate()?,
        }
        Ok(())
    }

    /// The optimizer.
    ///
    /// # Errors
    /// An error if an option is out of range.
    pub fn build(&self) -> Result<Box<dyn Optimizer>> {
        Ok(match self {
            OptimizerConfig::AdamW(c) => Box::new(AdamW::new(c.clone())?),
            OptimizerConfig::Adam(c) => Box::new(Adam::new(c.clone())?),
            OptimizerConfig::Sgd(c) => Box::new(Sgd::new(c.clone())?),
        })
    }
}

/// Multiplies the learning rate by `factor` after every `every` epochs, as `torch.optim.lr_scheduler.StepLR`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepDecay {
    /// Epochs of one rate.
    pub every: usize,
    /// The factor between them.
    pub factor: f64,
}

/// Which epoch's parameters a [`crate::fit`] leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Those with the best validation score.
    #[default]
    Best,
    /// Those with the best validation score and, beside them, for each of [`crate::Learner::scores`] those with the best
    /// value of it: tasks that learn at different speeds each keep their own epoch. [`crate::fit_each`] returns them.
    /// Early stopping waits for the last of them.
    BestOfEach,
    /// Those of the last epoch, whatever its score.
    Last,
}

/// Raises the learning rate linearly over the first steps and lowers it to 0 along half a cosine over the rest, step by
/// step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WarmupCosine {
    /// The share of all steps over which the rate rises.
    pub warmup: f64,
}

impl WarmupCosine {
    /// The factor of the learning rate at `step` of `steps`, from 0.
    pub fn factor(&self, step: usize, steps: usize) -> f64 {
        let rising = self.warmup * steps as f64;
        let at = step as f64 + 1.0;
        if at < rising {
            return at / rising;
        }
        let along = (at - rising) / (steps as f64 - rising + 1.0);
        0.5 * (1.0 + (std::f64::consts::PI * along.min(1.0)).cos())
    }
}

/// How long and how a [`crate::fit`] trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FitConfig {
    /// Epochs at most.
    pub epochs: usize,
    /// Epochs without a better validation score after which training ends; `None` trains them all.
    pub early_stop: Option<usize>,
    /// Epochs that are trained whatever the score, for example until the weights of several losses have moved.
    #[serde(default)]
    pub at_least: usize,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// Lowers the learning rate when the validation score stalls.
    pub plateau: Option<PlateauConfig>,
    /// Lowers the learning rate on a fixed schedule.
    #[serde(default)]
    pub step_decay: Option<StepDecay>,
    /// Raises, then lowers the learning rate over [`FitConfig::epochs`].
    #[serde(default)]
    pub warmup_cosine: Option<WarmupCosine>,
    /// The learning rate of each epoch, for example those of a training that is repeated on more data; the last one from there
    /// on. Every other schedule is left aside.
    #[serde(default)]
    pub rates: Option<Vec<f64>>,
    /// Which epoch's parameters are kept.
    #[serde(default)]
    pub keep: Keep,
    /// The largest norm of all gradients together; `None` does not clip.
    pub clip_norm: Option<f64>,
    /// Epochs between checkpoints.
    pub checkpoint_every: usize,
    /// What products of training and validation are computed in; others than f32 need a GPU.
    #[serde(default)]
    pub precision: Precision,
    /// How far the first loss in a reduced precision may be from that in f32, relative to it; 0.05.
    #[serde(default = "tolerance")]
    pub precision_tolerance: f64,
}

fn tolerance() -> f64 {
    0.05
}

impl FitConfig {
    /// `epochs` epochs with an optimizer, without early stopping, a checkpoint after each epoch.
    pub fn new(epochs: usize, optimizer: OptimizerConfig) -> Self {
        FitConfig {
            epochs,
            early_stop: None,
            at_least: 0,
            optimizer,
            plateau: None,
            step_decay: None,
            warmup_cosine: None,
            rates: None,
            keep: Keep::Best,
            clip_norm: None,
            checkpoint_every: 1,
            precision: Precision::F32,
            precision_tolerance: tolerance(),
        }
    }

    /// Sets the learning rate of the optimizer, whichever it is.
    pub fn learning_rate(mut self, rate: f64) -> Self {
        match &mut self.optimizer {
            OptimizerConfig::AdamW(config) => config.learning_rate = rate,
            OptimizerConfig::Adam(config) => config.learning_rate = rate,
            OptimizerConfig::Sgd(config) => config.learning_rate = rate,
        }
        self
    }

    /// Ends training after `patience` epochs without a better score.
    pub fn early_stop(mut self, patience: usize) -> Self {
        self.early_stop = Some(patience);
        self
    }

    /// The same training without validation: as many epochs as `rates`, at these learning rates, to the end.
    pub fn replay(mut self, rates: Vec<f64>) -> Self {
        (self.epochs, self.at_least, self.early_stop, self.keep) = (rates.len(), 0, None, Keep::Last);
        (self.plateau, self.step_decay, self.warmup_cosine, self.rates) = (None, None, None, Some(rates));
        self
    }

    /// Trains so many epochs before it may end early.
    pub fn at_least(mut self, epochs: usize) -> Self {
        self.at_least = epochs;
        self
    }

    /// Lowers the learning rate when the score stalls.
    pub fn plateau(mut self, plateau: PlateauConfig) -> Self {
        self.plateau = Some(plateau);
        self
    }

    /// Multiplies the learning rate by `factor` after every `every` epochs.
    pub fn step_decay(mut self, every: usize, factor: f64) -> Self {
        self.step_decay = Some(StepDecay { every, factor });
        self
    }

    /// Raises the learning rate over this share of all steps, then lowers it along half a cosine.
    pub fn warmup_cosine(mut self, warmup: f64) -> Self {
        self.warmup_cosine = Some(WarmupCosine { warmup });
        self
    }

    /// Sets which epoch's parameters are kept.
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Clips the norm of the gradients.
    pub fn clip_norm(mut self, norm: f64) -> Self {
        self.clip_norm = Some(norm);
        self
    }

    /// Sets the epochs between checkpoints.
    pub fn checkpoint_every(mut self, epochs: usize) -> Self {
        self.checkpoint_every = epochs;
        self
    }

    /// Sets what products are computed in.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Sets how far the first loss in a reduced precision may be from that in f32, relative to it.
    pub fn precision_tolerance(mut self, tolerance: f64) -> Self {
        self.precision_tolerance = tolerance;
        self
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Argument`] with the field; as [`OptimizerConfig::validate`] and [`PlateauConfig::validate`].
    pub fn validate(&self) -> Result<()> {
        let refuse = |field: &'static str, expected: &str, got: String| {
            Err(Error::config("FitConfig", field, expected, got))
        };
        let counts = [
            ("epochs", self.epochs),
            ("checkpoint_every", self.checkpoint_every),
            ("early_stop", self.early_stop.unwrap_or(1)),
            ("step_decay.every", self.step_decay.map_or(1, |d| d.every)),
        ];
        if let Some((field, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return refuse(field, "at least 1", "0".into());
        }
        if let Some(StepDecay { factor, .. }) = self.step_decay
            && !(factor > 0.0 && factor.is_finite())
        {
            return refuse("step_decay.factor", "positive", factor.to_string());
        }
        if self.step_decay.is_some() && self.plateau.is_some() {
            return refuse("plateau", "the only schedule", "step_decay as well".into());
        }
        if let Some(rates) = &self.rates {
            if let Some(rate) = rates.iter().find(|rate| !(**rate >= 0.0 && rate.is_finite())) {
                return refuse("rates", "0 or more", rate.to_string());
            }
            if self.step_decay.is_some() || self.plateau.is_some() || self.warmup_cosine.is_some() {
                return refuse("rates", "the only schedule", "another as well".into());
            }
        }
        if let Some(WarmupCosine { warmup }) = self.warmup_cosine {
            if !(0.0..1.0).contains(&warmup) {
                return refuse("warmup_cosine.warmup", "in [0, 1)", warmup.to_string());
            }
            if self.step_decay.is_some() || self.plateau.is_some() {
                return refuse("warmup_cosine", "the only schedule", "another as well".into());
            }
        }
        let positive =
            [("clip_norm", self.clip_norm.unwrap_or(1.0)), ("precision_tolerance", self.precision_tolerance)];
        if let Some((field, value)) = positive.into_iter().find(|(_, v)| v.is_nan() || *v <= 0.0) {
            return refuse(field, "positive", value.to_string());
        }
        self.optimizer.validate()?;
        match &self.plateau {
            Some(plateau) => Ok(plateau.validate()?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_optimizer_and_the_schedule_are_checked_too() {
        let config = |lr| FitConfig::new(1, OptimizerConfig::Adam(AdamConfig::new(lr)));
        config(0.1).validate().unwrap();
        let error = config(f64::NAN).validate().unwrap_err().to_string();
        assert_eq!(error, "Adam: learning_rate must be finite and at least 0, got NaN");
        let mut plateau = PlateauConfig::new();
        plateau.factor = 2.0;
        let error = config(0.1).plateau(plateau).validate().unwrap_err().to_string();
        assert_eq!(error, "ReduceLrOnPlateau: factor must be in [0, 1), got 2");
    }
}

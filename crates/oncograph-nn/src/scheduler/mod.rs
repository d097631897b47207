//! Learning-rate schedules with PyTorch's semantics.
//!
//! A schedule owns its learning rate; hand it to the optimizer after each step with
//! [`crate::optim::Optimizer::set_learning_rate`]. Every schedule serializes with its progress, so a run that is
//! resumed from the saved value continues exactly.

mod cosine;
mod exponential;
mod linear;
mod multi_step;
mod one_cycle;
mod plateau;
mod step;
mod warm_restarts;

pub use cosine::CosineAnnealingLr;
pub use exponential::ExponentialLr;
pub use linear::LinearLr;
pub use multi_step::MultiStepLr;
pub use one_cycle::{OneCycleConfig, OneCycleLr};
pub use plateau::{PlateauConfig, PlateauMode, ReduceLrOnPlateau, ThresholdMode};
pub use step::StepLr;
pub use warm_restarts::CosineAnnealingWarmRestarts;

use crate::{Error, Result};

/// A schedule that depends only on how often it was stepped.
///
/// # Example
///
/// ```
/// use oncograph_nn::scheduler::{Scheduler, StepLr};
///
/// # fn main() -> oncograph_nn::Result<()> {
/// let mut schedule = StepLr::new(0.1, 2, 0.5)?;
/// assert_eq!(schedule.learning_rate(), 0.1);
/// schedule.step();
/// assert_eq!(schedule.step(), 0.05);
/// # Ok(())
/// # }
/// ```
pub trait Scheduler: std::fmt::Debug + Send {
    /// The learning rate of the current epoch or step.
    fn learning_rate(&self) -> f64;

    /// Moves on by one epoch or step and returns the new learning rate.
    fn step(&mut self) -> f64;

    /// How often [`Scheduler::step`] was called.
    fn steps(&self) -> u64;
}

/// Implements [`Scheduler`] for a type with a field `steps` and a method `at(&self, u64) -> f64`.
macro_rules! impl_scheduler {
    ($name:ident) => {
        impl $crate::scheduler::Scheduler for $name {
            fn learning_rate(&self) -> f64 {
                self.at(self.steps)
            }

            fn step(&mut self) -> f64 {
                self.steps += 1;
                self.at(self.steps)
            }

            fn steps(&self) -> u64 {
                self.steps
            }
        }
    };
}
use impl_scheduler;

fn check_rate(op: &'static str, field: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::config(op, field, "finite and at least 0", value))
}

fn check_positive(op: &'static str, field: &'static str, value: u64) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::config(op, field, "at least 1", value))
}

/// Half a cosine from `start` (at 0) to `end` (at 1).
fn cosine(start: f64, end: f64, fraction: f64) -> f64 {
    end + (start - end) * (1.0 + (std::f64::consts::PI * fraction).cos()) / 2.0
}

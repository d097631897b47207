//! Optimizers that follow PyTorch's update rules and whose state can be saved and resumed bit for bit.
//!
//! On the CPU an update is one fused pass over the parameter, its gradient and its moments, in place and in
//! parallel over fixed chunks, so the result does not depend on the number of threads. On a CUDA device one launch updates
//! many parameters; half floats take the same formula written with tensor operations.

mod adam;
mod ema;
mod fused;
mod moment;
mod rmsprop;
mod sgd;
mod slots;

pub use adam::{Adam, AdamConfig, AdamW, AdamWConfig};
pub use ema::Ema;
pub use rmsprop::{RmsProp, RmsPropConfig};
pub use sgd::{Sgd, SgdConfig};

use crate::{Error, Gradients, ParamStore, Result};
use candle_core::Tensor;
use std::collections::HashMap;

/// Updates the trainable parameters of a [`ParamStore`] from their [`Gradients`].
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device};
/// use oncograph_nn::optim::{AdamW, AdamWConfig, Optimizer};
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let w = store.var_builder(DType::F32, &Device::Cpu).get(2, "w")?;
/// let mut optimizer = AdamW::new(AdamWConfig::new(1e-2))?;
/// let loss = (w - 1.0)?.sqr()?.sum_all()?;
/// optimizer.step(&store, &store.backward(&loss)?)?;
/// let saved = optimizer.state()?;
/// assert!(saved.contains_key("exp_avg.w"));
/// # Ok(())
/// # }
/// ```
pub trait Optimizer: std::fmt::Debug + Send {
    /// One update of every parameter that has a gradient; the others are left as they are, as in PyTorch.
    ///
    /// # Errors
    /// [`Error::Shape`] if a gradient has another shape than its parameter; nothing is changed then.
    fn step(&mut self, store: &ParamStore, grads: &Gradients) -> Result<()>;

    /// The current learning rate.
    fn learning_rate(&self) -> f64;

    /// Sets the learning rate of the next steps, for example from a [`crate::scheduler::Scheduler`].
    fn set_learning_rate(&mut self, learning_rate: f64);

    /// Everything that the next step depends on besides the configuration: `<moment>.<parameter>` tensors,
    /// `step.<parameter>` counts (i64 scalars) and `learning_rate` (f64 scalar).
    ///
    /// # Errors
    /// An error of candle.
    fn state(&self) -> Result<HashMap<String, Tensor>>;

    /// Replaces the state by what [`Optimizer::state`] returned.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] names missing and unexpected entries; nothing is changed then.
    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()>;
}

fn check_at_least_zero(op: &'static str, field: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::config(op, field, "finite and at least 0", value))
}

fn check_fraction(op: &'static str, field: &'static str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::config(op, field, "in [0, 1)", value))
}

/// Implements [`Optimizer`] for a type with the fields `config` (a [`fused::Rule`] with `learning_rate` and `maximize`) and
/// `slots`.
macro_rules! impl_optimizer {
    ($name:ident) => {
        impl $crate::optim::Optimizer for $name {
            fn step(&mut self, store: &$crate::ParamStore, grads: &$crate::Gradients) -> $crate::Result<()> {
                if self.config.maximize {
                    return self.slots.step(&self.config, store, &grads.negated()?);
                }
                self.slots.step(&self.config, store, grads)
            }

            fn learning_rate(&self) -> f64 {
                self.config.learning_rate
            }

            fn set_learning_rate(&mut self, learning_rate: f64) {
                self.config.learning_rate = learning_rate;
            }

            fn state(&self) -> $crate::Result<std::collections::HashMap<String, candle_core::Tensor>> {
                self.slots.state(&self.config, self.config.learning_rate)
            }

            fn load_state(
                &mut self,
                state: &std::collections::HashMap<String, candle_core::Tensor>,
            ) -> $crate::Result<()> {
                let (slots, learning_rate) = $crate::optim::slots::Slots::from_state(&self.config, state)?;
                self.slots = slots;
                self.config.learning_rate = learning_rate;
                Ok(())
            }
        }
    };
}
use impl_optimizer;

#[cfg(test)]
mod tests;

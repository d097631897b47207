use candle_core::{DType, Device, Tensor};
use oncograph_nn::{Gradients, ParamStore};
use oncograph_train::{Learner, Result, StepGradients, StepLoss, Validation};
use std::collections::HashMap;

/// A site's learner with FedProx' term, `mu / 2 ||w - w_global||^2`, added to its loss; with `mu` = 0 it is the learner
/// itself, bit for bit.
///
/// A parameter that the step's loss does not depend on is left alone: the term alone would only pull it to where it is.
pub(super) struct Proximal<'a> {
    pub learner: &'a mut dyn Learner,
    pub global: &'a HashMap<String, Tensor>,
    pub mu: f64,
}

impl Learner for Proximal<'_> {
    fn steps(&self, epoch: usize) -> usize {
        self.learner.steps(epoch)
    }

    fn train_step(&mut self, epoch: usize, step: usize) -> Result<StepLoss> {
        self.learner.train_step(epoch, step)
    }

    fn step_gradients(&mut self, store: &ParamStore, epoch: usize, step: usize) -> Result<StepGradients> {
        let mut own = self.learner.step_gradients(store, epoch, step)?;
        if self.mu == 0.0 {
            return Ok(own);
        }
        let (mut pulls, mut distance) = (vec![], 0.0);
        for (name, var) in store.trainable() {
            let (Some(global), Some(gradient)) = (self.global.get(&name), own.gradients.get(&name)) else {
                continue;
            };
            let away = (var.as_tensor() - global.to_dtype(var.dtype())?.to_device(var.device())?)?.detach();
            distance += away.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            pulls.push((name, (away * self.mu)?.to_dtype(gradient.dtype())?));
        }
        own.gradients.add(&pulls.into_iter().collect::<Gradients>())?;
        let term = 0.5 * self.mu * distance;
        own.loss += term;
        own.parts.push(("proximal", Tensor::new(term, &Device::Cpu)?));
        Ok(own)
    }

    fn validate(&mut self, epoch: usize) -> Result<Validation> {
        self.learner.validate(epoch)
    }
}

use crate::Result;
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;

/// The gradients of a loss with respect to the trainable parameters of a [`crate::ParamStore`], by name.
///
/// candle's `GradStore` keeps every activation alive, because its gradients are themselves nodes of a graph. The
/// tensors here are detached: the graph is freed as soon as the loss is dropped.
#[derive(Debug, Clone, Default)]
pub struct Gradients(pub(crate) BTreeMap<String, Tensor>);

impl Gradients {
    /// The gradient of one parameter; `None` if the loss does not depend on it.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Name and gradient, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, grad)| (name.as_str(), grad))
    }

    /// How many parameters received a gradient.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no parameter received a gradient.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The L2 norm of all gradients as one vector, summed in f64.
    ///
    /// # Errors
    /// An error of candle.
    pub fn global_norm(&self) -> Result<f64> {
        let mut sum = 0.0;
        for grad in self.0.values() {
            let values = grad.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            sum += values.iter().map(|v| v * v).sum::<f64>();
        }
        Ok(sum.sqrt())
    }

    /// Scales all gradients so that [`Gradients::global_norm`] is at most `max_norm`; returns the norm before.
    ///
    /// As `torch.nn.utils.clip_grad_norm_`, whose divisor is the norm + 1e-6.
    ///
    /// # Errors
    /// An error of candle.
    pub fn clip_norm(&mut self, max_norm: f64) -> Result<f64> {
        let norm = self.global_norm()?;
        let scale = max_norm / (norm + 1e-6);
        if scale < 1.0 {
            for grad in self.0.values_mut() {
                *grad = (&*grad * scale)?;
            }
        }
        Ok(norm)
    }
}

#[cfg(feature = "cuda")]
use crate::cuda;
use crate::{Error, Result, portable};
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

    /// Adds other gradients, for instance of another part of a batch.
    ///
    /// # Errors
    /// An error of candle for gradients of other shapes.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        for (name, grad) in &other.0 {
            let sum = match self.0.get(name) {
                Some(mine) => (mine + grad)?,
                None => grad.clone(),
            };
            self.0.insert(name.clone(), sum);
        }
        Ok(())
    }

    /// Every gradient with the opposite sign: with it an optimizer climbs.
    ///
    /// # Errors
    /// An error of candle.
    pub fn negated(&self) -> Result<Self> {
        #[cfg(feature = "cuda")]
        if let Some(negated) = self.by_kernel("scale", -1.0)? {
            return Ok(negated);
        }
        self.0.iter().map(|(name, grad)| Ok((name.clone(), grad.neg()?))).collect()
    }

    /// The L2 norm of all gradients as one vector, summed in f64.
    ///
    /// # Errors
    /// An error of candle.
    pub fn global_norm(&self) -> Result<f64> {
        self.norm(2.0)
    }

    /// The norm of this order, `(sum |g|^p)^(1/p)`, of all gradients as one vector, in f64; for an infinite order
    /// the largest magnitude, for 0 how many parameters have a gradient that is not all 0, as in PyTorch.
    ///
    /// # Errors
    /// [`Error::Argument`] for an order that is NaN, or an error of candle.
    pub fn norm(&self, order: f64) -> Result<f64> {
        if order.is_nan() {
            return Err(Error::config("Gradients", "order", "a number", order));
        }
        #[cfg(feature = "cuda")]
        if order != 0.0
            && let Some(grads) = self.on_device()
        {
            return Ok(cuda::optim::norm(&grads, order)?);
        }
        let mut parts = Vec::with_capacity(self.0.len());
        for grad in self.0.values() {
            let values = portable::to_dtype(&grad.flatten_all()?, DType::F64)?.to_vec1::<f64>()?;
            parts.push(norm_of(&values, order));
        }
        Ok(norm_of(&parts, order))
    }

    /// Scales all gradients so that [`Gradients::global_norm`] is at most `max_norm`; returns the norm before.
    ///
    /// As `torch.nn.utils.clip_grad_norm_`, whose divisor is the norm + 1e-6.
    ///
    /// # Errors
    /// An error of candle.
    pub fn clip_norm(&mut self, max_norm: f64) -> Result<f64> {
        self.clip_norm_of_order(max_norm, 2.0)
    }

    /// [`Gradients::clip_norm`] with the norm of another order; see [`Gradients::norm`].
    ///
    /// # Errors
    /// As [`Gradients::norm`].
    pub fn clip_norm_of_order(&mut self, max_norm: f64, order: f64) -> Result<f64> {
        let norm = self.norm(order)?;
        let scale = max_norm / (norm + 1e-6);
        if scale < 1.0 {
            #[cfg(feature = "cuda")]
            if let Some(scaled) = self.by_kernel("scale", scale)? {
                *self = scaled;
                return Ok(norm);
            }
            for grad in self.0.values_mut() {
                *grad = (&*grad * scale)?;
            }
        }
        Ok(norm)
    }

    /// Limits every element to \[-limit, limit\].
    ///
    /// # Errors
    /// An error of candle.
    ///
    /// # Reference
    /// `torch.nn.utils.clip_grad_value_`.
    pub fn clip_value(&mut self, limit: f64) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(limited) = self.by_kernel("limit", limit)? {
            *self = limited;
            return Ok(());
        }
        for grad in self.0.values_mut() {
            *grad = portable::clamp(grad, -limit, limit)?;
        }
        Ok(())
    }

    /// All gradients, if there are any and the kernels of one CUDA device take them.
    #[cfg(feature = "cuda")]
    fn on_device(&self) -> Option<Vec<Tensor>> {
        let device = self.0.values().next()?.device();
        let fits = |grad: &Tensor| cuda::optim::takes(grad) && grad.device().same_device(device);
        self.0.values().all(fits).then(|| self.0.values().cloned().collect())
    }

    /// New gradients by a kernel over many tensors and one number.
    #[cfg(feature = "cuda")]
    fn by_kernel(&self, kernel: &str, number: f64) -> Result<Option<Self>> {
        let Some(grads) = self.on_device() else { return Ok(None) };
        let new = cuda::optim::map(kernel, number, &grads, &[])?;
        Ok(Some(self.0.keys().cloned().zip(new).collect()))
    }
}

/// `(sum |v|^p)^(1/p)`, and its limits.
fn norm_of(values: &[f64], order: f64) -> f64 {
    let magnitudes = values.iter().map(|v| v.abs());
    match order {
        // A NaN must come through.
        p if p == f64::INFINITY => magnitudes.fold(0.0, |a, b| if b.is_nan() || b > a { b } else { a }),
        p if p == f64::NEG_INFINITY => {
            magnitudes.fold(f64::INFINITY, |a, b| if b.is_nan() || b < a { b } else { a })
        }
        0.0 => magnitudes.filter(|v| *v != 0.0).count() as f64,
        2.0 => values.iter().map(|v| v * v).sum::<f64>().sqrt(),
        p => magnitudes.map(|v| v.powf(p)).sum::<f64>().powf(1.0 / p),
    }
}

/// Gradients that were computed elsewhere.
impl FromIterator<(String, Tensor)> for Gradients {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(iter: I) -> Self {
        Gradients(iter.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;

    fn gradients() -> Gradients {
        let tensor = |values: &[f64]| Tensor::from_slice(values, values.len(), &device()).unwrap();
        [("a".to_string(), tensor(&[3.0, -4.0])), ("b".to_string(), tensor(&[0.0, 12.0]))]
            .into_iter()
            .collect()
    }

    #[test]
    fn norms_of_every_order() {
        let g = gradients();
        let norm = |order| g.norm(order).unwrap();
        assert_eq!((norm(2.0), norm(1.0), norm(f64::INFINITY)), (13.0, 19.0, 12.0));
        assert_eq!((norm(f64::NEG_INFINITY), norm(0.0)), (0.0, 2.0));
        approx::assert_relative_eq!(norm(3.0), (27.0 + 64.0 + 1728.0f64).cbrt(), epsilon = 1e-12);
        assert!(g.norm(f64::NAN).is_err());
    }

    #[test]
    fn clipping_by_norm_and_by_value() {
        let mut g = gradients();
        assert_eq!(g.clip_norm_of_order(6.0, f64::INFINITY).unwrap(), 12.0);
        approx::assert_relative_eq!(g.norm(f64::INFINITY).unwrap(), 6.0, epsilon = 1e-6);
        assert_eq!(g.clip_norm(100.0).unwrap(), g.global_norm().unwrap());
        g.clip_value(1.0).unwrap();
        assert_eq!(g.get("a").unwrap().to_vec1::<f64>().unwrap(), [1.0, -1.0]);
        let n = g.negated().unwrap();
        assert_eq!(n.get("a").unwrap().to_vec1::<f64>().unwrap(), [-1.0, 1.0]);
    }
}

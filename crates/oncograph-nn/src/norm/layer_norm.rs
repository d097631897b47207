use super::check_eps;
use super::standardize::{Moments, standardize};
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use serde::{Deserialize, Serialize};

/// Configuration of [`LayerNorm`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerNormConfig {
    /// The size of the last dimension.
    pub size: usize,
    /// Added to the variance; 1e-5.
    pub eps: f64,
    /// Whether the layer has `weight` and `bias`; true.
    pub affine: bool,
    /// Whether a layer with `weight` also has `bias`; true.
    #[serde(default = "yes")]
    pub bias: bool,
}

fn yes() -> bool {
    true
}

impl LayerNormConfig {
    /// A layer for inputs whose last dimension is `size`.
    pub fn new(size: usize) -> Self {
        LayerNormConfig { size, eps: 1e-5, affine: true, bias: true }
    }

    /// Sets the term that is added to the variance.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Sets whether the layer has `weight` and `bias`.
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }

    /// Sets whether a layer with `weight` also has `bias`.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        if self.size == 0 {
            return Err(Error::config("LayerNorm", "size", "at least 1", self.size));
        }
        check_eps("LayerNorm", self.eps)
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// As [`LayerNormConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<LayerNorm> {
        self.validate()?;
        let vector = |wanted: bool, name: &str, value: f64| -> Result<Option<Tensor>> {
            Ok(wanted.then(|| vb.get_with_hints(self.size, name, Init::Const(value))).transpose()?)
        };
        Ok(LayerNorm {
            weight: vector(self.affine, "weight", 1.0)?,
            bias: vector(self.affine && self.bias, "bias", 0.0)?,
            config: self.clone(),
        })
    }
}

/// `(x - mean) / sqrt(var + eps) * weight + bias` over the last dimension.
///
/// candle's own `LayerNorm` returns no gradient on contiguous input; this one does.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::norm::LayerNormConfig;
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let norm = LayerNormConfig::new(2).build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let y = norm.forward(&Tensor::new(&[[1f32, 3.0]], &Device::Cpu)?)?;
/// assert!((y.to_vec2::<f32>()?[0][1] - 1.0).abs() < 1e-4);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// Ba et al. 2016; `torch.nn.LayerNorm` with one normalised dimension.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    config: LayerNormConfig,
    weight: Option<Tensor>,
    bias: Option<Tensor>,
}

impl LayerNorm {
    /// Normalises the last dimension.
    ///
    /// # Shapes
    /// `x` \[.., size\] gives the same shape.
    ///
    /// # Errors
    /// [`Error::Shape`] for another last dimension, or an error of candle.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let size = self.config.size;
        if x.dims().last() != Some(&size) {
            return Err(Error::shape("LayerNorm", format!("[.., {size}]"), x.dims()));
        }
        #[cfg(feature = "cuda")]
        if let Some(y) = self.on_device(x)? {
            return Ok(y);
        }
        let rows = x.reshape((1, x.elem_count() / size, size))?;
        let moments = Moments::of(&rows)?;
        let mut y = standardize(&rows, None, moments, self.config.eps, true)?.reshape(x.shape())?;
        if let Some(weight) = &self.weight {
            y = y.broadcast_mul(weight)?;
        }
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(bias)?;
        }
        Ok(y)
    }

    /// By the kernels of a CUDA device; none where they do not take `x`.
    #[cfg(feature = "cuda")]
    fn on_device(&self, x: &Tensor) -> Result<Option<Tensor>> {
        use super::on_device::{Grouping, Layer, Source, takes};
        if !takes(x, self.weight.iter().chain(&self.bias)) {
            return Ok(None);
        }
        let size = self.config.size;
        let rows = x.elem_count() / size;
        let none =
            self.weight.as_ref().filter(|_| self.bias.is_none()).map(Tensor::zeros_like).transpose()?;
        let layer = Layer {
            groups: Grouping { outer: 1, groups: rows, inner: size },
            weights: Grouping { outer: rows, groups: size, inner: 1 },
            affine: self.weight.as_ref().zip(self.bias.as_ref().or(none.as_ref())),
            eps: self.config.eps,
            relu: false,
        };
        Ok(Some(layer.forward(x, Source::Input)?))
    }
}

impl candle_nn::Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(LayerNorm::forward(self, x)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient_coverage, check_gradients, device, pattern};
    use crate::{ParamStore, Seed};
    use candle_core::DType;

    #[test]
    fn the_gradient_flows_on_contiguous_input() {
        // candle 0.11: `candle_nn::LayerNorm` loses it here.
        let store = ParamStore::new(Seed::new(1));
        let vb = store.var_builder(DType::F64, &device());
        let norm = LayerNormConfig::new(4).build(vb.clone()).unwrap();
        let x = pattern(&[3, 4], 1).unwrap();
        assert!(x.is_contiguous());
        check_gradients(|x| norm.forward(&x[0]), std::slice::from_ref(&x), 1e-6, 1e-7).unwrap();
        let init = Init::Uniform { lo: -1.0, up: 1.0 };
        let w = vb.get_with_hints((3, 4), "x", init).unwrap();
        let loss = (norm.forward(&w).unwrap() * x).unwrap().sum_all().unwrap();
        assert_gradient_coverage(&store, &loss).unwrap();
    }

    #[test]
    fn another_width_is_refused() {
        let store = ParamStore::new(Seed::new(1));
        let norm = LayerNormConfig::new(4).build(store.var_builder(DType::F64, &device())).unwrap();
        let error = norm.forward(&pattern(&[3, 5], 1).unwrap()).unwrap_err().to_string();
        assert_eq!(error, "LayerNorm: expected [.., 4], got [3, 5]");
    }
}

use super::{TransformerEncoderLayer, TransformerEncoderLayerConfig};
use crate::norm::{LayerNorm, LayerNormConfig};
use crate::{AttentionMasks, Error, Mode, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

/// Configuration of [`TransformerEncoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransformerEncoderConfig {
    /// Every layer alike.
    pub layer: TransformerEncoderLayerConfig,
    /// How many layers.
    pub num_layers: usize,
    /// Whether a layer norm ends the stack; usual with `norm_first`; false.
    pub norm: bool,
}

impl TransformerEncoderConfig {
    /// A stack of layers without a norm at its end.
    pub fn new(layer: TransformerEncoderLayerConfig, num_layers: usize) -> Self {
        TransformerEncoderConfig { layer, num_layers, norm: false }
    }

    /// Sets whether a layer norm ends the stack.
    pub fn norm(mut self, norm: bool) -> Self {
        self.norm = norm;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        if self.num_layers == 0 {
            return Err(Error::config("TransformerEncoder", "num_layers", "at least 1", self.num_layers));
        }
        self.layer.validate()
    }

    /// Makes the stack; parameters lie under `layers.{i}` and `norm`.
    ///
    /// # Errors
    /// As [`TransformerEncoderConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<TransformerEncoder> {
        self.validate()?;
        let layers = (0..self.num_layers).map(|i| self.layer.build(vb.pp("layers").pp(i)));
        let norm = LayerNormConfig::new(self.layer.d_model).eps(self.layer.layer_norm_eps);
        Ok(TransformerEncoder {
            layers: layers.collect::<Result<_>>()?,
            norm: self.norm.then(|| norm.bias(self.layer.bias).build(vb.pp("norm"))).transpose()?,
        })
    }
}

/// A stack of [`TransformerEncoderLayer`]s with an optional norm at its end.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::transformer::{TransformerEncoderConfig, TransformerEncoderLayerConfig};
/// use oncograph_nn::{AttentionMasks, Mode, ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let layer = TransformerEncoderLayerConfig::new(8, 2).dim_feedforward(16).norm_first(true);
/// let config = TransformerEncoderConfig::new(layer, 2).norm(true);
/// let encoder = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let x = Tensor::ones((2, 5, 8), DType::F32, &Device::Cpu)?;
/// let padding = Tensor::zeros((2, 5), DType::U8, &Device::Cpu)?;
/// let masks = AttentionMasks::none().key_padding(Some(&padding));
/// assert_eq!(encoder.forward(&x, &masks, Mode::Eval)?.dims(), [2, 5, 8]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// `torch.nn.TransformerEncoder`, without nested tensors. The layers start from different random values; PyTorch
/// copies one layer.
#[derive(Debug, Clone)]
pub struct TransformerEncoder {
    layers: Vec<TransformerEncoderLayer>,
    norm: Option<LayerNorm>,
}

impl TransformerEncoder {
    /// New features of every position.
    ///
    /// # Shapes
    /// As [`TransformerEncoderLayer::forward`].
    ///
    /// # Errors
    /// As [`TransformerEncoderLayer::forward`].
    pub fn forward(&self, x: &Tensor, masks: &AttentionMasks, mode: Mode) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, masks, mode.stream("layers").at(i as u64))?;
        }
        match &self.norm {
            Some(norm) => norm.forward(&x),
            None => Ok(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient_coverage, device, pattern};
    use crate::{ParamStore, Seed};
    use candle_core::DType;

    #[test]
    fn names_and_gradients_of_the_stack() {
        let store = ParamStore::new(Seed::new(1));
        let layer = TransformerEncoderLayerConfig::new(4, 2).dim_feedforward(6);
        let config = TransformerEncoderConfig::new(layer, 2).norm(true);
        let encoder = config.build(store.var_builder(DType::F64, &device())).unwrap();
        let names = store.names();
        assert_eq!(names.len(), 2 * 12 + 2);
        assert!(names.contains(&"layers.1.self_attn.in_proj_weight".to_string()));
        let x = pattern(&[2, 3, 4], 1).unwrap();
        let y = encoder.forward(&x, &AttentionMasks::none(), Mode::Eval).unwrap();
        let loss = (y * pattern(&[2, 3, 4], 2).unwrap()).unwrap().sum_all().unwrap();
        assert_gradient_coverage(&store, &loss).unwrap();
        assert!(TransformerEncoderConfig::new(config.layer, 0).validate().is_err());
    }
}

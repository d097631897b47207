use crate::norm::{LayerNorm, LayerNormConfig};
use crate::{
    Activation, AttentionMasks, Dropout, Error, Linear, Mode, MultiheadAttention, MultiheadAttentionConfig,
    Result, linear, linear_no_bias,
};
use candle_core::Tensor;
use candle_nn::{Module, VarBuilder};
use serde::{Deserialize, Serialize};

/// Configuration of [`TransformerEncoderLayer`], with PyTorch's names, and its defaults but for `batch_first`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransformerEncoderLayerConfig {
    /// The width of input and output.
    pub d_model: usize,
    /// How many attention heads; a divisor of `d_model`.
    pub nhead: usize,
    /// The width of the hidden layer behind the attention; 2048.
    pub dim_feedforward: usize,
    /// The probability of every dropout; 0.1.
    pub dropout: f64,
    /// The activation of the hidden layer; ReLU.
    pub activation: Activation,
    /// Added to the variance in the norms; 1e-5.
    pub layer_norm_eps: f64,
    /// Whether tensors are \[batch, length, width\] instead of \[length, batch, width\]; true.
    pub batch_first: bool,
    /// Whether the norms stand before attention and hidden layer instead of behind them; false.
    pub norm_first: bool,
    /// Whether linear maps and norms have biases; true.
    pub bias: bool,
}

impl TransformerEncoderLayerConfig {
    /// A layer of `d_model` features in `nhead` heads.
    pub fn new(d_model: usize, nhead: usize) -> Self {
        TransformerEncoderLayerConfig {
            d_model,
            nhead,
            dim_feedforward: 2048,
            dropout: 0.1,
            activation: Activation::Relu,
            layer_norm_eps: 1e-5,
            batch_first: true,
            norm_first: false,
            bias: true,
        }
    }

    /// Sets the width of the hidden layer.
    pub fn dim_feedforward(mut self, dim_feedforward: usize) -> Self {
        self.dim_feedforward = dim_feedforward;
        self
    }

    /// Sets the probability of every dropout.
    pub fn dropout(mut self, dropout: f64) -> Self {
        self.dropout = dropout;
        self
    }

    /// Sets the activation of the hidden layer.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Sets the term that the norms add to the variance.
    pub fn layer_norm_eps(mut self, layer_norm_eps: f64) -> Self {
        self.layer_norm_eps = layer_norm_eps;
        self
    }

    /// Sets whether the batch or the length is the first dimension.
    pub fn batch_first(mut self, batch_first: bool) -> Self {
        self.batch_first = batch_first;
        self
    }

    /// Sets whether the norms stand first.
    pub fn norm_first(mut self, norm_first: bool) -> Self {
        self.norm_first = norm_first;
        self
    }

    /// Sets whether linear maps and norms have biases.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        if self.dim_feedforward == 0 {
            return Err(Error::config(OP, "dim_feedforward", "at least 1", self.dim_feedforward));
        }
        self.attention().validate()?;
        self.norm().validate()
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// As [`TransformerEncoderLayerConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<TransformerEncoderLayer> {
        self.validate()?;
        let map = |input, output, vb| match self.bias {
            true => linear(input, output, vb),
            false => linear_no_bias(input, output, vb),
        };
        Ok(TransformerEncoderLayer {
            self_attn: self.attention().build(vb.pp("self_attn"))?,
            linear1: map(self.d_model, self.dim_feedforward, vb.pp("linear1"))?,
            linear2: map(self.dim_feedforward, self.d_model, vb.pp("linear2"))?,
            norm1: self.norm().build(vb.pp("norm1"))?,
            norm2: self.norm().build(vb.pp("norm2"))?,
            dropout: Dropout::new(self.dropout)?,
            config: self.clone(),
        })
    }

    fn attention(&self) -> MultiheadAttentionConfig {
        MultiheadAttentionConfig::new(self.d_model, self.nhead)
            .dropout(self.dropout)
            .bias(self.bias)
            .batch_first(self.batch_first)
    }

    fn norm(&self) -> LayerNormConfig {
        LayerNormConfig::new(self.d_model).eps(self.layer_norm_eps).bias(self.bias)
    }
}

const OP: &str = "TransformerEncoderLayer";

/// Self-attention and a hidden layer, each with a shortcut around it and a norm:
/// `x = norm1(x + attention(x))`, `x = norm2(x + linear2(act(linear1(x))))`; with `norm_first`
/// `x = x + attention(norm1(x))`, `x = x + linear2(act(linear1(norm2(x))))`.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::transformer::TransformerEncoderLayerConfig;
/// use oncograph_nn::{AttentionMasks, Mode, ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let vb = store.var_builder(DType::F32, &Device::Cpu);
/// let layer = TransformerEncoderLayerConfig::new(8, 2).dim_feedforward(16).build(vb)?;
/// let x = Tensor::ones((2, 5, 8), DType::F32, &Device::Cpu)?;
/// assert_eq!(layer.forward(&x, &AttentionMasks::none(), Mode::Eval)?.dims(), [2, 5, 8]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// Vaswani et al. 2017, section 3.1; Xiong et al. 2020 for `norm_first`; `torch.nn.TransformerEncoderLayer`.
#[derive(Debug, Clone)]
pub struct TransformerEncoderLayer {
    config: TransformerEncoderLayerConfig,
    self_attn: MultiheadAttention,
    linear1: Linear,
    linear2: Linear,
    norm1: LayerNorm,
    norm2: LayerNorm,
    dropout: Dropout,
}

impl TransformerEncoderLayer {
    /// The configuration that the layer was built from.
    pub fn config(&self) -> &TransformerEncoderLayerConfig {
        &self.config
    }

    /// New features of every position; `mode` chooses whether dropout acts.
    ///
    /// # Shapes
    /// `x` \[batch, length, d_model\] (or \[length, batch, d_model\] without `batch_first`) gives the same shape.
    ///
    /// # Errors
    /// As [`MultiheadAttention::forward`].
    pub fn forward(&self, x: &Tensor, masks: &AttentionMasks, mode: Mode) -> Result<Tensor> {
        if self.config.norm_first {
            let x = (x + self.attend(&self.norm1.forward(x)?, masks, mode)?)?;
            let hidden = self.feed_forward(&self.norm2.forward(&x)?, mode)?;
            return Ok((x + hidden)?);
        }
        let x = self.norm1.forward(&(x + self.attend(x, masks, mode)?)?)?;
        self.norm2.forward(&(&x + self.feed_forward(&x, mode)?)?)
    }

    fn attend(&self, x: &Tensor, masks: &AttentionMasks, mode: Mode) -> Result<Tensor> {
        let out = self.self_attn.forward(x, x, x, masks, mode.stream("self_attn"))?.output;
        self.dropout.forward(&out, mode.stream("dropout1"))
    }

    fn feed_forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let hidden = self.config.activation.forward(&self.linear1.forward(x)?)?;
        let hidden = self.dropout.forward(&hidden, mode.stream("dropout"))?;
        self.dropout.forward(&self.linear2.forward(&hidden)?, mode.stream("dropout2"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient_coverage, check_gradients, device, pattern};
    use crate::{ParamStore, Seed};
    use candle_core::DType;

    fn build(config: &TransformerEncoderLayerConfig) -> (ParamStore, TransformerEncoderLayer) {
        let store = ParamStore::new(Seed::new(1));
        let layer = config.build(store.var_builder(DType::F64, &device())).unwrap();
        (store, layer)
    }

    fn small() -> TransformerEncoderLayerConfig {
        TransformerEncoderLayerConfig::new(4, 2).dim_feedforward(3).activation(Activation::Gelu)
    }

    #[test]
    fn gradients_of_both_orders() {
        for config in [small(), small().norm_first(true).bias(false)] {
            let (store, layer) = build(&config);
            let x = [pattern(&[2, 3, 4], 1).unwrap()];
            let masks = AttentionMasks::none().causal(true);
            check_gradients(|x| layer.forward(&x[0], &masks, Mode::Eval), &x, 1e-6, 1e-5).unwrap();
            let y = layer.forward(&x[0], &masks, Mode::Eval).unwrap();
            let loss = (y * pattern(&[2, 3, 4], 2).unwrap()).unwrap().sum_all().unwrap();
            assert_gradient_coverage(&store, &loss).unwrap();
        }
        assert!(!build(&small().bias(false)).0.names().iter().any(|name| name.contains("bias")));
    }

    #[test]
    fn dropout_acts_in_training_only_and_from_the_seed() {
        let (_, layer) = build(&small().dropout(0.5));
        let x = pattern(&[2, 3, 4], 1).unwrap();
        let run = |mode| layer.forward(&x, &AttentionMasks::none(), mode).unwrap().to_vec3::<f64>().unwrap();
        let train = |seed| run(Mode::Train(Seed::new(seed)));
        assert_eq!(train(1), train(1));
        assert!(train(1) != train(2) && train(1) != run(Mode::Eval));
    }
}

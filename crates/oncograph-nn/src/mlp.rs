use crate::norm::{LayerNorm, LayerNormConfig};
use crate::{Activation, Dropout, Error, Mode, Result, linear};
use candle_core::Tensor;
use candle_nn::{Linear, Module, VarBuilder};
use serde::{Deserialize, Serialize};

/// Configuration of [`Mlp`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MlpConfig {
    /// The widths from input to output; at least two.
    pub widths: Vec<usize>,
    /// The function behind every layer but the last; ReLU.
    pub activation: Activation,
    /// The dropout behind every activation; 0.
    pub dropout: f64,
    /// Whether a layer norm stands before every activation; false.
    pub layer_norm: bool,
}

impl MlpConfig {
    /// Layers of these widths, from input to output, with ReLU between.
    pub fn new(widths: impl Into<Vec<usize>>) -> Self {
        MlpConfig { widths: widths.into(), activation: Activation::Relu, dropout: 0.0, layer_norm: false }
    }

    /// Sets the function behind every layer but the last.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Sets the dropout behind every activation.
    pub fn dropout(mut self, dropout: f64) -> Self {
        self.dropout = dropout;
        self
    }

    /// Sets whether a layer norm stands before every activation.
    pub fn layer_norm(mut self, layer_norm: bool) -> Self {
        self.layer_norm = layer_norm;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        if self.widths.len() < 2 || self.widths.contains(&0) {
            let got = format!("{:?}", self.widths);
            return Err(Error::config("Mlp", "widths", "two or more numbers above 0", got));
        }
        Dropout::new(self.dropout).map(|_| ())
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// As [`MlpConfig::validate`], or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<Mlp> {
        self.validate()?;
        let pairs = || self.widths.windows(2).enumerate();
        let lins = pairs().map(|(i, w)| linear(w[0], w[1], vb.pp("lins").pp(i))).collect::<Result<_>>()?;
        let hidden = &self.widths[1..self.widths.len() - 1];
        let norms = hidden.iter().enumerate().filter(|_| self.layer_norm);
        let norms = norms
            .map(|(i, w)| LayerNormConfig::new(*w).build(vb.pp("norms").pp(i)))
            .collect::<Result<_>>()?;
        Ok(Mlp { lins, norms, activation: self.activation, dropout: Dropout::new(self.dropout)? })
    }
}

/// Linear layers with an activation, and optionally layer norm and dropout, between them.
///
/// Parameters are `lins.{i}.weight`, `lins.{i}.bias` and `norms.{i}.weight`, `norms.{i}.bias`.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_nn::{MlpConfig, Mode, ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let vb = store.var_builder(DType::F32, &Device::Cpu);
/// let mlp = MlpConfig::new([8, 16, 2]).dropout(0.1).build(vb)?;
/// let y = mlp.forward(&Tensor::ones((3, 8), DType::F32, &Device::Cpu)?, Mode::Eval)?;
/// assert_eq!(y.dims(), [3, 2]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Mlp {
    lins: Vec<Linear>,
    norms: Vec<LayerNorm>,
    activation: Activation,
    dropout: Dropout,
}

impl Mlp {
    /// Runs all layers.
    ///
    /// # Shapes
    /// `x` \[.., first width\] gives \[.., last width\].
    ///
    /// # Errors
    /// An error of candle, for example for another last dimension.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, lin) in self.lins.iter().enumerate() {
            x = lin.forward(&x)?;
            if i + 1 == self.lins.len() {
                break;
            }
            if let Some(norm) = self.norms.get(i) {
                x = norm.forward(&x)?;
            }
            x = self.dropout.forward(&self.activation.forward(&x)?, mode.at(i as u64))?;
        }
        Ok(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient_coverage, device, pattern};
    use crate::{ParamStore, Seed};
    use candle_core::DType;

    #[test]
    fn every_parameter_gets_a_gradient() {
        let store = ParamStore::new(Seed::new(2));
        let vb = store.var_builder(DType::F64, &device());
        let mlp = MlpConfig::new([4, 6, 5, 2]).layer_norm(true).dropout(0.2).build(vb).unwrap();
        let x = pattern(&[7, 4], 1).unwrap();
        let loss = mlp.forward(&x, Mode::Train(Seed::new(1))).unwrap().sqr().unwrap().sum_all().unwrap();
        assert_gradient_coverage(&store, &loss).unwrap();
        assert_eq!(store.parameter_count(), 4 * 6 + 6 + 6 * 5 + 5 + 5 * 2 + 2 + 2 * (6 + 5));
    }

    #[test]
    fn two_layers_by_hand() {
        let store = ParamStore::new(Seed::new(2));
        let mlp = MlpConfig::new([1, 2, 1]).build(store.var_builder(DType::F64, &device())).unwrap();
        let set = |name: &str, values: &[f64], shape: &[usize]| {
            let t = Tensor::from_slice(values, shape, &device()).unwrap();
            store.get(name).unwrap().set(&t).unwrap();
        };
        set("lins.0.weight", &[1.0, -1.0], &[2, 1]);
        set("lins.0.bias", &[0.0, 1.0], &[2]);
        set("lins.1.weight", &[2.0, 3.0], &[1, 2]);
        set("lins.1.bias", &[0.5], &[1]);
        let x = Tensor::new(&[[2f64], [-1.0]], &device()).unwrap();
        let y = mlp.forward(&x, Mode::Eval).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(y, [[2.0 * 2.0 + 0.5], [3.0 * 2.0 + 0.5]]);
    }

    #[test]
    fn a_single_width_is_refused() {
        let error = MlpConfig::new([4]).validate().unwrap_err().to_string();
        assert_eq!(error, "Mlp: widths must be two or more numbers above 0, got [4]");
    }
}

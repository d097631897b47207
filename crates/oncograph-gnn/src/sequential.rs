use crate::{Error, Result};
use candle_core::{Module, Tensor};
use candle_nn::{Linear, VarBuilder};
use oncograph_nn::segment::row_linear;
use oncograph_nn::{Activation, linear};
use serde::{Deserialize, Serialize};

/// Configuration of a [`Sequential`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SequentialConfig {
    /// The widths from input to output; at least two.
    pub widths: Vec<usize>,
    /// The function between the layers; ReLU.
    pub activation: Activation,
    /// The function behind the last layer; none.
    pub output_activation: Activation,
}

impl SequentialConfig {
    /// Layers of these widths, from input to output, with ReLU between.
    pub fn new(widths: impl Into<Vec<usize>>) -> Self {
        SequentialConfig {
            widths: widths.into(),
            activation: Activation::Relu,
            output_activation: Activation::Identity,
        }
    }

    /// Sets the function between the layers.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Sets the function behind the last layer.
    pub fn output_activation(mut self, activation: Activation) -> Self {
        self.output_activation = activation;
        self
    }

    /// Features of the output.
    pub fn out(&self) -> usize {
        self.widths.last().copied().unwrap_or(0)
    }

    /// Checks that there are two widths above 0.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        if self.widths.len() < 2 || self.widths.contains(&0) {
            let got = format!("{:?}", self.widths);
            return Err(Error::config("Sequential", "widths", "two or more numbers above 0", got));
        }
        Ok(())
    }

    /// Builds the layers with parameters from `vb`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the configuration is not valid, or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<Sequential> {
        self.validate()?;
        let pairs = self.widths.windows(2).enumerate();
        let layers =
            pairs.map(|(i, w)| linear(w[0], w[1], vb.pp(2 * i))).collect::<oncograph_nn::Result<_>>()?;
        Ok(Sequential { layers, activation: self.activation, output_activation: self.output_activation })
    }
}

/// Linear layers with an activation between, under the names that `torch.nn.Sequential` gives them: `0.weight`,
/// `0.bias`, `2.weight`, ..., the activations counted too.
///
/// It is the small network that [`NnConv`](crate::NnConv) and
/// [`AttentionalAggregation`](crate::AttentionalAggregation) take; [`oncograph_nn::Mlp`] has dropout and norms.
#[derive(Debug, Clone)]
pub struct Sequential {
    layers: Vec<Linear>,
    activation: Activation,
    output_activation: Activation,
}

impl Sequential {
    /// Runs all layers.
    ///
    /// # Shapes
    /// `x` \[rows, first width\] gives \[rows, last width\].
    ///
    /// # Errors
    /// An error of candle, for example for another last dimension.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.output_activation.forward(&self.last().forward(&self.hidden(x)?)?)?)
    }

    /// All but the last layer, activated.
    pub(crate) fn hidden(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for layer in &self.layers[..self.layers.len() - 1] {
            let narrow = layer.weight().elem_count() <= 1 << 14 && x.rank() == 2;
            x = match self.activation {
                Activation::Relu if narrow && !x.device().is_metal() => {
                    row_linear(&x, layer.weight(), layer.bias(), true)?
                }
                other => other.forward(&layer.forward(&x)?)?,
            };
        }
        Ok(x)
    }

    pub(crate) fn last(&self) -> &Linear {
        &self.layers[self.layers.len() - 1]
    }
}

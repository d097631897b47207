use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use oncograph_gnn::{EdgeFill, GatConfig, GatConv, MessagePassing};
use oncograph_graph::Graph;
use oncograph_nn::{Activation, Dropout, Linear, Mode, Module, linear};
use serde::{Deserialize, Serialize};

/// Configuration of [`PopulationClassifier`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PopulationClassifierConfig {
    /// Features of a patient; 96 for ⟨u^T, u^B⟩ (G-26).
    pub features: usize,
    /// Widths of the graph layers.
    pub channels: Vec<usize>,
    /// Attention heads, which are averaged; 1 (G-13).
    pub heads: usize,
    /// The function behind each graph layer; ELU (G-13).
    pub activation: Activation,
    /// Whether each graph layer adds a linear map of the patient itself; false, as published. Without it a patient
    /// with many neighbours is soon their mean.
    pub residual: bool,
    /// The share of features that is dropped before each graph layer in training; 0.
    pub dropout: f64,
}

impl PopulationClassifierConfig {
    /// The published widths for patients of `features` features.
    pub fn new(features: usize) -> Self {
        PopulationClassifierConfig {
            features,
            channels: vec![64, 128, 128, 128],
            heads: 1,
            activation: Activation::Elu(1.0),
            residual: false,
            dropout: 0.0,
        }
    }

    /// Sets the widths of the graph layers.
    pub fn channels(mut self, channels: impl Into<Vec<usize>>) -> Self {
        self.channels = channels.into();
        self
    }

    /// Sets the attention heads.
    pub fn heads(mut self, heads: usize) -> Self {
        self.heads = heads;
        self
    }

    /// Sets the function behind each graph layer.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Sets whether each graph layer adds a linear map of the patient itself.
    pub fn residual(mut self, residual: bool) -> Self {
        self.residual = residual;
        self
    }

    /// Sets the share of features that is dropped in training.
    pub fn dropout(mut self, dropout: f64) -> Self {
        self.dropout = dropout;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        const NAME: &str = "PopulationClassifier";
        if self.features == 0 {
            return Err(Error::config(NAME, "features", "at least 1", 0));
        }
        if self.channels.is_empty() || self.channels.contains(&0) {
            let got = format!("{:?}", self.channels);
            return Err(Error::config(NAME, "channels", "one or more numbers above 0", got));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::config(NAME, "dropout", "in [0, 1)", self.dropout));
        }
        Ok(())
    }

    /// Makes the classifier.
    ///
    /// # Errors
    /// As [`PopulationClassifierConfig::validate`], or an error of a layer.
    pub fn build(&self, vb: VarBuilder) -> Result<PopulationClassifier> {
        self.validate()?;
        let widths: Vec<usize> =
            std::iter::once(self.features).chain(self.channels.iter().copied()).collect();
        let conv = |(i, w): (usize, &[usize])| {
            let gat = GatConfig::new(w[0], w[1]).heads(self.heads).concat(false).residual(self.residual);
            Ok(gat.edge_attributes(1, EdgeFill::Mean).build(vb.pp("convs").pp(i))?)
        };
        let convs = widths.windows(2).enumerate().map(conv).collect::<Result<_>>()?;
        let last = widths.last().copied().unwrap_or(self.features);
        let lin = linear(last, 1, vb.pp("lin"))?;
        Ok(PopulationClassifier {
            convs,
            lin,
            activation: self.activation,
            dropout: Dropout::new(self.dropout)?,
        })
    }
}

/// The classifier of patients in a population graph: graph attention whose logits see the similarity of two patients,
/// then a linear layer to one logit per patient.
///
/// Parameters: `convs.{i}` as PyTorch Geometric's `GATConv`, `lin`.
///
/// # Reference
/// Wei et al., *Multi-modal learning for predicting the genotype of glioma*, IEEE Transactions on Medical Imaging
/// 42(11), 2023, arXiv 2203.10852.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_brain::{PopulationClassifierConfig, PopulationGraphConfig};
/// use oncograph_nn::{Mode, ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let patients = vec![vec![1.0, 0.1], vec![0.9, 0.0], vec![0.0, 1.0]];
/// let graph = PopulationGraphConfig::default().edges(&patients)?.graph(3, &Device::Cpu)?;
/// let store = ParamStore::new(Seed::new(1));
/// let config = PopulationClassifierConfig::new(2).channels([4]);
/// let classifier = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let x = Tensor::new(&[[1f32, 0.1], [0.9, 0.0], [0.0, 1.0]], &Device::Cpu)?;
/// assert_eq!(classifier.forward(&x, &graph, Mode::Eval)?.dims(), [3]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PopulationClassifier {
    convs: Vec<GatConv>,
    lin: Linear,
    activation: Activation,
    dropout: Dropout,
}

impl PopulationClassifier {
    /// One logit per patient.
    ///
    /// # Shapes
    /// `x` \[patients, features\] -> \[patients\]
    ///
    /// # Errors
    /// An error if a shape does not fit.
    pub fn forward(&self, x: &Tensor, graph: &Graph, mode: Mode) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, conv) in self.convs.iter().enumerate() {
            x = self.dropout.forward(&x, mode.at(i as u64))?;
            x = self.activation.forward(&conv.forward(&x, graph)?)?;
        }
        Ok(self.lin.forward(&x)?.squeeze(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PopulationGraphConfig;
    use candle_core::DType;
    use oncograph_nn::testing::device;
    use oncograph_nn::{ParamStore, Seed, testing};

    /// Section 7.
    #[test]
    fn parameter_count_equals_the_specification() {
        let store = ParamStore::new(Seed::new(0));
        PopulationClassifierConfig::new(96).build(store.var_builder(DType::F32, &device())).unwrap();
        assert_eq!(store.parameter_count(), 49_473);
    }

    #[test]
    fn every_parameter_receives_a_gradient() {
        let rows: Vec<Vec<f64>> = (0..8).map(|i| vec![(i as f64).sin(), (i as f64).cos(), 0.3]).collect();
        let graph = PopulationGraphConfig::default().edges(&rows).unwrap().graph(8, &device()).unwrap();
        for residual in [false, true] {
            let store = ParamStore::new(Seed::new(4));
            let config = PopulationClassifierConfig::new(3).channels([4, 3]).residual(residual).dropout(0.1);
            let model = config.build(store.var_builder(DType::F32, &device())).unwrap();
            let x = testing::pattern(&[8, 3], 2).unwrap().to_dtype(DType::F32).unwrap();
            let logits = model.forward(&x, &graph, Mode::Train(Seed::new(1))).unwrap();
            testing::assert_gradient_coverage(&store, &logits.sqr().unwrap().sum_all().unwrap()).unwrap();
        }
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let error = PopulationClassifierConfig::new(3).channels([]).validate().unwrap_err().to_string();
        assert_eq!(error, "PopulationClassifier: channels must be one or more numbers above 0, got []");
        assert!(PopulationClassifierConfig::new(0).validate().is_err());
        assert!(PopulationClassifierConfig::new(3).dropout(1.0).validate().is_err());
    }
}

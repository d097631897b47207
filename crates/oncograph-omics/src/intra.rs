use crate::{OmicsNetConfig, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use oncograph_gnn::{GatConfig, GatConv};
use oncograph_nn::norm::{LayerNorm, LayerNormConfig};
use oncograph_nn::segment::Adjacency;
use oncograph_nn::{Dropout, Mode, relu};
use std::sync::Arc;

/// The graph layers of one modality: `x <- ReLU(LayerNorm(GAT(x) + x))`, layer after layer, on the samples of a batch
/// over one graph.
///
/// Parameters `convs.{i}.*` (as [`GatConv`]) and `norms.{i}.*`.
#[derive(Debug, Clone)]
pub struct IntraModality {
    layers: Vec<(GatConv, LayerNorm)>,
    dropout: Dropout,
}

impl IntraModality {
    /// The layers that `config` describes.
    ///
    /// # Errors
    /// An error of the configuration or of candle.
    pub fn new(config: &OmicsNetConfig, vb: VarBuilder) -> Result<Self> {
        let h = config.hidden;
        let layer = |i: usize| -> Result<(GatConv, LayerNorm)> {
            let conv = GatConfig::new(h, h / config.heads).heads(config.heads).build(vb.pp("convs").pp(i))?;
            Ok((conv, LayerNormConfig::new(h).build(vb.pp("norms").pp(i))?))
        };
        let layers = (0..config.layers).map(layer).collect::<Result<_>>()?;
        Ok(IntraModality { layers, dropout: Dropout::new(config.attention_dropout)? })
    }

    /// # Shapes
    /// \[nodes, samples, H\] -> \[nodes, samples, H\]
    ///
    /// # Errors
    /// An error of message passing.
    pub fn forward(&self, x: &Tensor, adjacency: &Arc<Adjacency>, mode: Mode) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, (conv, norm)) in self.layers.iter().enumerate() {
            let passed = conv.forward_stacked(&x, adjacency, &self.dropout, mode.at(i as u64))?;
            x = relu(&norm.forward(&(passed + x)?)?)?;
        }
        Ok(x)
    }
}

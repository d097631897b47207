use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use oncograph_gnn::{
    EdgeFill, GatConfig, GatConv, MaskedMessagePassing, MessagePassing, Reduce, global_pool,
};
use oncograph_graph::Graph;
use oncograph_nn::{Activation, Linear, Module, linear, relu};
use serde::{Deserialize, Serialize};

/// Configuration of [`NetworkEncoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NetworkEncoderConfig {
    /// Features of a region; 16.
    pub nodes: usize,
    /// Attributes of a tract; 16.
    pub edges: usize,
    /// Widths of the graph layers.
    pub channels: Vec<usize>,
    /// Attention heads, which are averaged; 1 (G-13).
    pub heads: usize,
    /// The function between graph layers; ELU (G-13).
    pub activation: Activation,
    /// Whether that function stands behind the last graph layer, too; false.
    pub activate_last: bool,
    /// How regions become one vector; their mean (G-17).
    pub pool: Reduce,
    /// Whether the mean attributes of the tracts that the tumour surface crosses stand beside the pooled regions;
    /// false (G-17). In the published network tracts enter the logits of its attention alone, so that little of their
    /// information reaches the prediction.
    #[serde(default)]
    pub pool_tracts: bool,
    /// Widths of the dense layers.
    pub dense: Vec<usize>,
}

impl Default for NetworkEncoderConfig {
    /// The published network: six layers, 16-d regions and tracts to 32 features.
    fn default() -> Self {
        NetworkEncoderConfig {
            nodes: 16,
            edges: 16,
            channels: vec![64, 128, 128, 256, 256, 256],
            heads: 1,
            activation: Activation::Elu(1.0),
            activate_last: false,
            pool: Reduce::Mean,
            pool_tracts: false,
            dense: vec![512, 256, 32],
        }
    }
}

impl NetworkEncoderConfig {
    /// Sets features of regions and attributes of tracts.
    pub fn input(mut self, nodes: usize, edges: usize) -> Self {
        (self.nodes, self.edges) = (nodes, edges);
        self
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

    /// Sets the function between graph layers, and whether it stands behind the last one, too.
    pub fn activation(mut self, activation: Activation, last: bool) -> Self {
        (self.activation, self.activate_last) = (activation, last);
        self
    }

    /// Sets how regions become one vector.
    pub fn pool(mut self, pool: Reduce) -> Self {
        self.pool = pool;
        self
    }

    /// Sets whether crossed tracts stand beside the pooled regions.
    pub fn pool_tracts(mut self, pool: bool) -> Self {
        self.pool_tracts = pool;
        self
    }

    /// Sets the widths of the dense layers.
    pub fn dense(mut self, dense: impl Into<Vec<usize>>) -> Self {
        self.dense = dense.into();
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        for (field, widths) in
            [("nodes", &[self.nodes][..]), ("channels", &self.channels), ("dense", &self.dense)]
        {
            if widths.is_empty() || widths.contains(&0) {
                let got = format!("{widths:?}");
                return Err(Error::config("NetworkEncoder", field, "one or more numbers above 0", got));
            }
        }
        Ok(())
    }

    /// Makes the encoder.
    ///
    /// # Errors
    /// As [`NetworkEncoderConfig::validate`], or an error of a layer.
    pub fn build(&self, vb: VarBuilder) -> Result<NetworkEncoder> {
        self.validate()?;
        let widths: Vec<usize> = std::iter::once(self.nodes).chain(self.channels.iter().copied()).collect();
        let conv = |(i, w): (usize, &[usize])| {
            let gat = GatConfig::new(w[0], w[1]).heads(self.heads).concat(false);
            Ok(gat.edge_attributes(self.edges, EdgeFill::Mean).build(vb.pp("convs").pp(i))?)
        };
        let convs = widths.windows(2).enumerate().map(conv).collect::<Result<_>>()?;
        let tracts = if self.pool_tracts { self.edges } else { 0 };
        let pooled = widths.last().copied().unwrap_or(0) + tracts;
        let widths: Vec<usize> = std::iter::once(pooled).chain(self.dense.iter().copied()).collect();
        let layer = |(i, w): (usize, &[usize])| Ok(linear(w[0], w[1], vb.pp("fc").pp(2 * i))?);
        let dense = widths.windows(2).enumerate().map(layer).collect::<Result<_>>()?;
        let (activation, activate_last) = (self.activation, self.activate_last);
        Ok(NetworkEncoder { convs, dense, activation, activate_last, pool: self.pool, tracts })
    }
}

/// The encoder of the brain network, f^B: attention over regions whose logits see the tracts, then pooling and dense
/// layers with ReLU between.
///
/// Parameters: `convs.{i}` as PyTorch Geometric's `GATConv`, `fc.{2j}` the dense layers.
///
/// # Reference
/// Wei et al., *Multi-modal learning for predicting the genotype of glioma*, IEEE Transactions on Medical Imaging
/// 42(11), 2023, arXiv 2203.10852.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_brain::NetworkEncoderConfig;
/// use oncograph_graph::Graph;
/// use oncograph_nn::{ParamStore, Seed, segment::Adjacency};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(1));
/// let config = NetworkEncoderConfig::default().input(4, 2).channels([8, 8]).dense([3]);
/// let encoder = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
/// // Three regions, one tract between the first two.
/// let tract = Tensor::ones((2, 2), DType::F32, &Device::Cpu)?;
/// let edges = Arc::new(Adjacency::new(3, 3, &[0, 1], &[1, 0])?);
/// let graph = Graph::new(edges, Some(tract), &[0, 0, 0], 1)?;
/// let regions = Tensor::ones((3, 4), DType::F32, &Device::Cpu)?;
/// assert_eq!(encoder.forward(&regions, &graph)?.dims(), [1, 3]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct NetworkEncoder {
    convs: Vec<GatConv>,
    dense: Vec<Linear>,
    activation: Activation,
    activate_last: bool,
    pool: Reduce,
    /// Attributes of the pooled tracts; 0 if they are not pooled.
    tracts: usize,
}

impl NetworkEncoder {
    /// e^N: the embedding of every region before pooling, which node attention scales.
    ///
    /// # Shapes
    /// `regions` \[nodes, F\] -> \[nodes, last channels\]
    ///
    /// # Errors
    /// An error if a shape does not fit.
    pub fn embed(&self, regions: &Tensor, graph: &Graph) -> Result<Tensor> {
        let mut x = regions.clone();
        for (i, conv) in self.convs.iter().enumerate() {
            x = conv.forward(&x, graph)?;
            if self.activate_last || i + 1 < self.convs.len() {
                x = self.activation.forward(&x)?;
            }
        }
        Ok(x)
    }

    /// [`NetworkEncoder::embed`] with the message along each edge multiplied by its factor in every layer.
    ///
    /// # Shapes
    /// `factors` \[edges\]
    ///
    /// # Errors
    /// An error if a shape does not fit.
    pub fn embed_masked(&self, regions: &Tensor, graph: &Graph, factors: &Tensor) -> Result<Tensor> {
        let mut x = regions.clone();
        for (i, conv) in self.convs.iter().enumerate() {
            x = conv.forward_masked(&x, &x, graph.adjacency(), graph.edge_attributes(), factors)?;
            if self.activate_last || i + 1 < self.convs.len() {
                x = self.activation.forward(&x)?;
            }
        }
        Ok(x)
    }

    /// The vector of each network from the embeddings of its regions and, where the configuration pools them, its tracts.
    ///
    /// # Shapes
    /// `embeddings` \[nodes, last channels\], `tracts` \[graphs, edge attributes\] -> \[graphs, last dense width\]
    ///
    /// # Errors
    /// An error if a shape does not fit, or if pooled tracts are missing or given although not configured.
    pub fn head(&self, embeddings: &Tensor, graph: &Graph, tracts: Option<&Tensor>) -> Result<Tensor> {
        let mut x = global_pool(embeddings, graph, self.pool)?;
        match tracts {
            Some(pooled) if self.tracts > 0 => x = Tensor::cat(&[&x, pooled], 1)?,
            None if self.tracts == 0 => {}
            given => {
                let word = |there: bool| if there { "pooled tracts" } else { "no tracts" };
                return Err(Error::input("NetworkEncoder", word(self.tracts > 0), word(given.is_some())));
            }
        }
        for (i, layer) in self.dense.iter().enumerate() {
            x = layer.forward(&x)?;
            if i + 1 < self.dense.len() {
                x = relu(&x)?;
            }
        }
        Ok(x)
    }

    /// u^B without a tumour: neither its attention nor the tracts that it crosses.
    ///
    /// # Errors
    /// An error if a shape does not fit, or the configuration pools tracts.
    pub fn forward(&self, regions: &Tensor, graph: &Graph) -> Result<Tensor> {
        self.head(&self.embed(regions, graph)?, graph, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use oncograph_nn::testing::device;
    use oncograph_nn::{ParamStore, Seed};

    /// Section 4.
    #[test]
    fn parameter_counts_equal_the_specification() {
        let store = ParamStore::new(Seed::new(0));
        NetworkEncoderConfig::default().build(store.var_builder(DType::F32, &device())).unwrap();
        let parameters = |prefix: &str| -> usize {
            let those = store.trainable().into_iter().filter(|(n, _)| n.starts_with(prefix));
            those.map(|(_, v)| v.elem_count()).sum()
        };
        assert_eq!(parameters("convs."), 211_200);
        assert_eq!(parameters("fc."), 256 * 512 + 512 + 512 * 256 + 256 + 256 * 32 + 32);
    }

    #[test]
    fn empty_widths_are_refused() {
        let error = NetworkEncoderConfig::default().channels([]).validate().unwrap_err().to_string();
        assert_eq!(error, "NetworkEncoder: channels must be one or more numbers above 0, got []");
    }
}

use crate::{Aggregation, Error, MessagePassing, Result, Sequential, SequentialConfig};
use candle_core::{Module, Tensor};
use candle_nn::{Linear, VarBuilder};
use oncograph_nn::segment::{Adjacency, edge_conditioned, edge_conditioned_fits, gather_reduce_weighted};
use oncograph_nn::{Activation, linear_no_bias, portable};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Configuration of an [`NnConv`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NnConvConfig {
    /// Features of a source node.
    pub in_source: usize,
    /// Features of a target node.
    pub in_target: usize,
    /// Features of the output.
    pub out: usize,
    /// Attributes per edge, which the edge network reads.
    pub edge_attributes: usize,
    /// The widths between input and output of the edge network; none by default: one linear layer.
    pub hidden: Vec<usize>,
    /// The function between the layers of the edge network; ReLU.
    pub activation: Activation,
    /// How messages are aggregated; their sum by default.
    pub aggr: Aggregation,
    /// Whether the target's own features enter through a separate matrix (`lin`); true by default.
    pub root_weight: bool,
    /// Whether there is a bias; true by default.
    pub bias: bool,
}

impl NnConvConfig {
    /// Sum aggregation from `features` to `out` features on one set of nodes.
    pub fn new(features: usize, out: usize, edge_attributes: usize) -> Self {
        Self::bipartite(features, features, out, edge_attributes)
    }

    /// Sum aggregation from sources to targets with separate features.
    pub fn bipartite(in_source: usize, in_target: usize, out: usize, edge_attributes: usize) -> Self {
        NnConvConfig {
            in_source,
            in_target,
            out,
            edge_attributes,
            hidden: vec![],
            activation: Activation::Relu,
            aggr: Aggregation::Sum,
            root_weight: true,
            bias: true,
        }
    }

    /// Sets the widths between input and output of the edge network.
    pub fn hidden(mut self, widths: impl Into<Vec<usize>>) -> Self {
        self.hidden = widths.into();
        self
    }

    /// Sets the function between the layers of the edge network.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Sets how messages are aggregated.
    pub fn aggr(mut self, aggr: impl Into<Aggregation>) -> Self {
        self.aggr = aggr.into();
        self
    }

    /// Sets whether the target's own features enter.
    pub fn root_weight(mut self, root_weight: bool) -> Self {
        self.root_weight = root_weight;
        self
    }

    /// Sets whether there is a bias.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Checks that the options fit together.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        let widths = [
            ("in_source", self.in_source),
            ("in_target", self.in_target),
            ("out", self.out),
            ("edge_attributes", self.edge_attributes),
        ];
        Error::widths("NnConv", widths)?;
        if self.aggr.out_features(1) != 1 {
            return Err(Error::config(
                "NnConv",
                "aggr",
                "one that keeps the width",
                format!("{:?}", self.aggr),
            ));
        }
        Ok(())
    }

    /// Builds the layer with parameters from `vb`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the configuration is not valid, or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<NnConv> {
        self.validate()?;
        let mut widths = vec![self.edge_attributes];
        widths.extend(&self.hidden);
        widths.push(self.in_source * self.out);
        let nn = SequentialConfig::new(widths).activation(self.activation).build(vb.pp("nn"))?;
        let lin =
            self.root_weight.then(|| linear_no_bias(self.in_target, self.out, vb.pp("lin"))).transpose()?;
        let bias = self.bias.then(|| vb.get(self.out, "bias")).transpose()?;
        let aggregator = self.aggr.build(self.out, vb.pp("aggr_module"))?;
        Ok(NnConv { config: self.clone(), nn, lin, bias, aggregator })
    }
}

/// Edge-conditioned convolution: `h_i = W x_i + aggr_{j -> i} x_j Theta(e_ij) + b`, with `Theta(e)` \[in, out\] the
/// output of a network that reads the attributes of the edge.
///
/// The last layer of the network is linear, so `x_j Theta(e) = sum_k h_k(e) (x_j V_k) + x_j V_0`: the products `x V_k`
/// are made once per node and weighted per edge. No matrix per edge is made, and for sums and means no message either.
///
/// # Shapes
/// \[nodes, F\], edge attributes \[edges, attributes\] -> \[nodes, out\]
///
/// # Reference
/// Gilmer et al., *Neural message passing for quantum chemistry*, 2017, section 5; Simonovsky and Komodakis 2017,
/// equation 1; parameters `nn.{0,2,..}.{weight,bias}`, `lin.weight`, `bias` of PyTorch Geometric's `NNConv` with
/// `nn.Sequential(Linear, ReLU, .., Linear)`.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_gnn::{Adjacency, MessagePassing, NnConvConfig};
/// use oncograph_nn::{ParamStore, Seed};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(0));
/// let conv = NnConvConfig::new(8, 4, 2).hidden([16]).build(store.var_builder(DType::F32, &Device::Cpu))?;
/// let adjacency = Arc::new(Adjacency::new(3, 3, &[0, 1], &[1, 2])?);
/// let x = Tensor::ones((3, 8), DType::F32, &Device::Cpu)?;
/// let bonds = Tensor::new(&[[0.5f32, 1.0], [2.0, 0.0]], &Device::Cpu)?;
/// assert_eq!(conv.forward_bipartite(&x, &x, &adjacency, Some(&bonds))?.dims(), [3, 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct NnConv {
    config: NnConvConfig,
    nn: Sequential,
    lin: Option<Linear>,
    bias: Option<Tensor>,
    aggregator: crate::Aggregator,
}

impl NnConv {
    /// The configuration that the layer was built from.
    pub fn config(&self) -> &NnConvConfig {
        &self.config
    }

    /// All but the last layer of the network on the attributes: \[edges, K\].
    fn hidden(&self, adjacency: &Adjacency, attributes: Option<&Tensor>) -> Result<Tensor> {
        let (edges, width) = (adjacency.edge_count(), self.config.edge_attributes);
        let attributes = match attributes {
            Some(a) if a.elem_count() == edges * width => a.reshape((edges, width))?,
            other => {
                let got = other.map_or("none".into(), |a| format!("{:?}", a.dims()));
                return Err(Error::input("NnConv", format!("{width} attributes per edge"), got));
            }
        };
        self.nn.hidden(&attributes)
    }

    /// Per edge the values that weight `x V_k`, a 1 for the bias of the last layer at the end: \[edges, K + 1\].
    fn edge_weights(&self, hidden: &Tensor) -> Result<Tensor> {
        let edges = hidden.dim(0)?;
        let one = portable::ones((edges, 1), hidden.dtype(), hidden.device())?;
        Ok(Tensor::cat(&[hidden, &one], 1)?)
    }

    /// `x V_k` for every `k`, side by side: \[sources, (K + 1) * out\].
    fn products(&self, source: &Tensor) -> Result<Tensor> {
        let (features, out) = (self.config.in_source, self.config.out);
        let (weight, width) = (self.nn.last().weight(), self.nn.last().weight().dim(1)?);
        let by_hidden = weight.reshape((features, out, width))?.transpose(1, 2)?.contiguous()?;
        let mut parts = vec![by_hidden.reshape((features, width * out))?];
        if let Some(bias) = self.nn.last().bias() {
            parts.push(bias.reshape((features, out))?);
        }
        Ok(source.matmul(&Tensor::cat(&parts, 1)?)?)
    }

    /// \[targets, out\], the products weighted at the edges of `adjacency` and summed over `k`.
    fn sum(&self, products: &Tensor, weights: &Tensor, adjacency: &Arc<Adjacency>) -> Result<Tensor> {
        let summed = gather_reduce_weighted(products, weights, adjacency)?;
        let shape = (adjacency.target_count(), weights.dim(1)?, self.config.out);
        Ok(portable::sum(&summed.reshape(shape)?, 1)?)
    }

    fn aggregate(
        &self,
        source: &Tensor,
        adjacency: &Arc<Adjacency>,
        attributes: Option<&Tensor>,
    ) -> Result<Tensor> {
        let hidden = self.hidden(adjacency, attributes)?;
        let linear = matches!(self.config.aggr, Aggregation::Sum | Aggregation::Mean);
        let (features, out) = (self.config.in_source, self.config.out);
        if let Some(bias) = self.nn.last().bias()
            && linear
            && edge_conditioned_fits(features, hidden.dim(1)?, out)
        {
            let mean = self.config.aggr == Aggregation::Mean;
            return Ok(edge_conditioned(source, &hidden, self.nn.last().weight(), bias, adjacency, mean)?);
        }
        let weights = self.edge_weights(&hidden)?;
        let products = self.products(source)?;
        if linear {
            let sum = self.sum(&products, &weights, adjacency)?;
            if self.config.aggr == Aggregation::Sum {
                return Ok(sum);
            }
            let share: Vec<f64> = adjacency.in_degrees().iter().map(|d| 1.0 / (*d).max(1) as f64).collect();
            let share = Tensor::from_vec(share, (adjacency.target_count(), 1), source.device())?;
            return Ok(sum.broadcast_mul(&share.to_dtype(source.dtype())?)?);
        }
        let edges = adjacency.edge_count();
        let each: Vec<u32> = (0..edges as u32).collect();
        let to_edges = Adjacency::new(adjacency.source_count(), edges, adjacency.sources(), &each)?;
        let messages = self.sum(&products, &weights, &Arc::new(to_edges))?;
        self.aggregator.forward(&messages, adjacency.edges_to_targets())
    }
}

impl MessagePassing for NnConv {
    fn forward_bipartite(
        &self,
        source: &Tensor,
        target: &Tensor,
        adjacency: &Arc<Adjacency>,
        edge_attributes: Option<&Tensor>,
    ) -> Result<Tensor> {
        let mut out = self.aggregate(source, adjacency, edge_attributes)?;
        if let Some(lin) = &self.lin {
            out = (out + lin.forward(target)?)?;
        }
        if let Some(bias) = &self.bias {
            out = out.broadcast_add(bias)?;
        }
        Ok(out)
    }
}

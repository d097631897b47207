use crate::self_loops::AttentionEdges;
use crate::{EdgeFill, Error, MessagePassing, Result};
use candle_core::{D, Module, Tensor};
use candle_nn::{Init, Linear, VarBuilder};
use oncograph_nn::portable::{leaky_relu, mean, sum};
use oncograph_nn::segment::{
    Adjacency, gather_reduce_weighted, graph_attention_v2, row_linear, segment_softmax, with_loop_rows,
};
use oncograph_nn::{linear, linear_no_bias};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Configuration of a [`Gatv2Conv`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Gatv2Config {
    /// Features of a source node.
    pub in_source: usize,
    /// Features of a target node of another set than the sources; `None` for one set of nodes.
    pub in_target: Option<usize>,
    /// Features of the output per head.
    pub out: usize,
    /// Attention heads; 1 by default.
    pub heads: usize,
    /// Whether heads are concatenated (true, the default) or averaged.
    pub concat: bool,
    /// Slope of the leaky ReLU below 0; 0.2 by default.
    pub negative_slope: f64,
    /// Whether self loops are replaced by one per node; true by default. Between two sets of nodes
    /// ([`Gatv2Config::bipartite`]) they join the nodes of the same position, which is rarely meant.
    pub add_self_loops: bool,
    /// Attributes per edge that enter the attention; 0 ignores them.
    pub edge_attributes: usize,
    /// The attributes of added self loops.
    pub edge_fill: EdgeFill,
    /// Whether `lin_l`, `lin_r` and the output have a bias; true by default.
    pub bias: bool,
    /// Whether sources and targets share the matrix `lin_l`; false by default.
    pub share_weights: bool,
    /// Whether `res(x_target)` is added.
    pub residual: bool,
}

impl Gatv2Config {
    /// One head from `features` to `out` features on one set of nodes.
    pub fn new(features: usize, out: usize) -> Self {
        Gatv2Config {
            in_source: features,
            in_target: None,
            out,
            heads: 1,
            concat: true,
            negative_slope: 0.2,
            add_self_loops: true,
            edge_attributes: 0,
            edge_fill: EdgeFill::Mean,
            bias: true,
            share_weights: false,
            residual: false,
        }
    }

    /// One head from sources to targets with separate features, without self loops.
    pub fn bipartite(in_source: usize, in_target: usize, out: usize) -> Self {
        let one = Self::new(in_source, out);
        Gatv2Config { in_target: Some(in_target), add_self_loops: false, ..one }
    }

    /// Sets the number of heads.
    pub fn heads(mut self, heads: usize) -> Self {
        self.heads = heads;
        self
    }

    /// Sets whether heads are concatenated or averaged.
    pub fn concat(mut self, concat: bool) -> Self {
        self.concat = concat;
        self
    }

    /// Sets the slope of the leaky ReLU below 0.
    pub fn negative_slope(mut self, slope: f64) -> Self {
        self.negative_slope = slope;
        self
    }

    /// Sets whether self loops are replaced.
    pub fn add_self_loops(mut self, add: bool) -> Self {
        self.add_self_loops = add;
        self
    }

    /// Lets edge attributes enter the attention.
    pub fn edge_attributes(mut self, count: usize, fill: EdgeFill) -> Self {
        self.edge_attributes = count;
        self.edge_fill = fill;
        self
    }

    /// Sets whether there are biases.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Sets whether sources and targets share a matrix.
    pub fn share_weights(mut self, share: bool) -> Self {
        self.share_weights = share;
        self
    }

    /// Sets whether the target's features are added through `res`.
    pub fn residual(mut self, residual: bool) -> Self {
        self.residual = residual;
        self
    }

    /// Features of the output over all heads.
    pub fn total_out(&self) -> usize {
        if self.concat { self.heads * self.out } else { self.out }
    }

    /// Checks that the options fit together.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        Error::widths("Gatv2Conv", [("in_source", self.in_source), ("in_target", self.target_features())])?;
        Error::widths("Gatv2Conv", [("out", self.out), ("heads", self.heads)])?;
        if self.share_weights && self.in_source != self.target_features() {
            let got = format!("{} and {}", self.in_source, self.target_features());
            return Err(Error::config(
                "Gatv2Conv",
                "share_weights",
                "off unless both sides have the same features",
                got,
            ));
        }
        self.edges().validate()
    }

    fn target_features(&self) -> usize {
        self.in_target.unwrap_or(self.in_source)
    }

    fn edges(&self) -> AttentionEdges<'_> {
        AttentionEdges {
            layer: "Gatv2Conv",
            add_self_loops: self.add_self_loops,
            bipartite: self.in_target.is_some(),
            attributes: self.edge_attributes,
            fill: &self.edge_fill,
        }
    }

    /// Builds the layer with parameters from `vb`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the configuration is not valid, or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<Gatv2Conv> {
        self.validate()?;
        let width = self.heads * self.out;
        let lin = |features: usize, name: &str| match self.bias {
            true => linear(features, width, vb.pp(name)),
            false => linear_no_bias(features, width, vb.pp(name)),
        };
        let lin_l = lin(self.in_source, "lin_l")?;
        let lin_r = if self.share_weights { lin_l.clone() } else { lin(self.target_features(), "lin_r")? };
        let edge = (self.edge_attributes > 0)
            .then(|| linear_no_bias(self.edge_attributes, width, vb.pp("lin_edge")))
            .transpose()?;
        // Glorot over [heads, out], as the peer.
        let bound = (6.0 / (self.heads + self.out) as f64).sqrt();
        let att = (1, self.heads, self.out);
        let total = self.total_out();
        let residual =
            self.residual.then(|| linear_no_bias(self.target_features(), total, vb.pp("res"))).transpose()?;
        Ok(Gatv2Conv {
            att: vb.get_with_hints(att, "att", Init::Uniform { lo: -bound, up: bound })?,
            bias: self.bias.then(|| vb.get(total, "bias")).transpose()?,
            config: self.clone(),
            lin_l,
            lin_r,
            edge,
            residual,
        })
    }
}

/// Graph attention whose ranking of neighbours depends on the receiving node: `h_i = sum_j alpha_ij W_l x_j + b` with
/// `alpha_ij = softmax_j a . leaky_relu(W_l x_j + W_r x_i (+ W_e e_ij))`, per head.
///
/// # Shapes
/// \[nodes, F\], edge attributes \[edges, attributes\] -> \[nodes, heads * out\] or, averaged, \[nodes, out\]
///
/// # Reference
/// Brody, Alon and Yahav, *How attentive are graph attention networks?*, 2022, equation 7; parameters
/// `lin_l.{weight,bias}`, `lin_r.{weight,bias}`, `att`, `lin_edge.weight`, `res.weight`, `bias` of PyTorch Geometric's
/// `GATv2Conv`. Where the matrix is shared there is no `lin_r`; the peer lists `lin_l` under both names.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_gnn::{Adjacency, EdgeFill, Gatv2Config};
/// use oncograph_nn::{ParamStore, Seed};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(0));
/// let vb = store.var_builder(DType::F32, &Device::Cpu);
/// let conv = Gatv2Config::new(8, 4).heads(2).edge_attributes(1, EdgeFill::Mean).build(vb)?;
/// let adjacency = Arc::new(Adjacency::new(3, 3, &[0, 1], &[1, 2])?);
/// let x = Tensor::ones((3, 8), DType::F32, &Device::Cpu)?;
/// let distance = Tensor::new(&[[0.5f32], [2.0]], &Device::Cpu)?;
/// let (y, edges, alpha) = conv.forward_with_attention(&x, &x, &adjacency, Some(&distance))?;
/// assert_eq!((y.dims(), edges.edge_count(), alpha.dims()), (&[3, 8][..], 5, &[5, 2][..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Gatv2Conv {
    config: Gatv2Config,
    lin_l: Linear,
    lin_r: Linear,
    att: Tensor,
    edge: Option<Linear>,
    bias: Option<Tensor>,
    residual: Option<Linear>,
}

impl Gatv2Conv {
    /// The configuration that the layer was built from.
    pub fn config(&self) -> &Gatv2Config {
        &self.config
    }

    /// As [`MessagePassing::forward_bipartite`], with the edges that were attended to and their weights
    /// \[edges, heads\].
    ///
    /// # Errors
    /// As [`MessagePassing::forward_bipartite`].
    pub fn forward_with_attention(
        &self,
        source: &Tensor,
        target: &Tensor,
        adjacency: &Arc<Adjacency>,
        edge_attributes: Option<&Tensor>,
    ) -> Result<(Tensor, Arc<Adjacency>, Tensor)> {
        let c = &self.config;
        let (adjacency, attributes) = c.edges().prepare(adjacency, edge_attributes)?;
        let mapped = self.lin_l.forward(source)?;
        let asking = self.lin_r.forward(target)?;
        let mut pair = (adjacency.of_sources(&mapped)? + adjacency.of_targets(&asking)?)?;
        if let (Some(lin), Some(attributes)) = (&self.edge, &attributes) {
            pair = (pair + lin.forward(attributes)?)?;
        }
        let pair = leaky_relu(&pair, c.negative_slope)?;
        let pair = pair.reshape((adjacency.edge_count(), c.heads, c.out))?;
        let logits = sum(&pair.broadcast_mul(&self.att)?, D::Minus1)?;
        let alpha = segment_softmax(&logits, &adjacency)?;
        let mut out = gather_reduce_weighted(&mapped, &alpha, &adjacency)?;
        out = self.finished(out, target)?;
        Ok((out, adjacency, alpha))
    }

    /// Averages the heads where configured and adds the residual and the bias.
    fn finished(&self, mut out: Tensor, target: &Tensor) -> Result<Tensor> {
        let c = &self.config;
        if !c.concat {
            out = mean(&out.reshape((out.dim(0)?, c.heads, c.out))?, 1)?;
        }
        if let Some(residual) = &self.residual {
            out = (out + residual.forward(target)?)?;
        }
        if let Some(bias) = &self.bias {
            out = out.broadcast_add(bias)?;
        }
        Ok(out)
    }

    /// The result without the weights of edges, in one pass over them.
    fn in_one_pass(
        &self,
        source: &Tensor,
        target: &Tensor,
        adjacency: &Arc<Adjacency>,
        edge_attributes: Option<&Tensor>,
    ) -> Result<Tensor> {
        let c = &self.config;
        let mean = c.edge_fill == EdgeFill::Mean;
        let quick_fill = c.add_self_loops && (mean || c.edge_fill == EdgeFill::Add);
        let (attended, attributes) = if self.edge.is_some() && quick_fill {
            let without = AttentionEdges { add_self_loops: false, ..c.edges() };
            let attributes = without.prepare(adjacency, edge_attributes)?.1;
            let loops = AttentionEdges { attributes: 0, ..c.edges() }.prepare(adjacency, None)?.0;
            (loops, attributes.map(|a| with_loop_rows(&a, adjacency, mean)).transpose()?)
        } else {
            c.edges().prepare(adjacency, edge_attributes)?
        };
        let width = c.heads * c.out;
        let mut parameters = vec![self.att.reshape((1, width))?];
        if let Some(lin) = &self.edge {
            parameters.push(lin.weight().t()?.contiguous()?);
        }
        let parameters = Tensor::cat(&parameters, 0)?;
        let map = |lin: &Linear, x: &Tensor| row_linear(x, lin.weight(), lin.bias(), false);
        let (mapped, asking) = (map(&self.lin_l, source)?, map(&self.lin_r, target)?);
        let (heads, slope) = (c.heads, c.negative_slope);
        let attributes = attributes.as_ref().filter(|_| self.edge.is_some());
        let out = graph_attention_v2(&mapped, &asking, &parameters, attributes, &attended, heads, slope)?;
        self.finished(out, target)
    }
}

impl MessagePassing for Gatv2Conv {
    fn forward_bipartite(
        &self,
        source: &Tensor,
        target: &Tensor,
        adjacency: &Arc<Adjacency>,
        edge_attributes: Option<&Tensor>,
    ) -> Result<Tensor> {
        // The pass has no gradient for attributes.
        let learned = self.edge.is_some() && edge_attributes.is_some_and(Tensor::track_op);
        if !learned {
            return self.in_one_pass(source, target, adjacency, edge_attributes);
        }
        Ok(self.forward_with_attention(source, target, adjacency, edge_attributes)?.0)
    }
}

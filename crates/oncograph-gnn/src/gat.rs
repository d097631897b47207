use crate::self_loops::AttentionEdges;
use crate::{EdgeFill, Error, MessagePassing, Result};
use candle_core::{D, Module, Tensor};
use candle_nn::{Init, Linear, VarBuilder};
use oncograph_nn::portable::{leaky_relu, mean, sum};
use oncograph_nn::segment::{
    Adjacency, gather_reduce_weighted, graph_attention, row_linear, segment_softmax, with_loop_rows,
};
use oncograph_nn::{Dropout, Mode, linear_no_bias};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Configuration of a [`GatConv`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GatConfig {
    /// Features of a source node.
    pub in_source: usize,
    /// Features of a target node, which has a separate matrix; `None` shares one matrix for both.
    pub in_target: Option<usize>,
    /// Features of the output per head.
    pub out: usize,
    /// Attention heads; 1 by default.
    pub heads: usize,
    /// Whether heads are concatenated (true, the default) or averaged.
    pub concat: bool,
    /// Slope of the leaky ReLU below 0; 0.2 by default.
    pub negative_slope: f64,
    /// Whether self loops are replaced by one per node; true by default. Between two sets of nodes with matrices of
    /// their own they join the nodes of the same position, which is rarely meant.
    pub add_self_loops: bool,
    /// Attributes per edge that enter the attention logits; 0 ignores them.
    pub edge_attributes: usize,
    /// The attributes of added self loops.
    pub edge_fill: EdgeFill,
    /// Whether there is a bias; true by default.
    pub bias: bool,
    /// Whether `res(x_target)` is added.
    pub residual: bool,
}

impl GatConfig {
    /// One head from `features` to `out` features on one set of nodes.
    pub fn new(features: usize, out: usize) -> Self {
        GatConfig {
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
            residual: false,
        }
    }

    /// One head from sources to targets, each with its own matrix, without self loops.
    pub fn bipartite(in_source: usize, in_target: usize, out: usize) -> Self {
        let one = Self::new(in_source, out);
        GatConfig { in_target: Some(in_target), add_self_loops: false, ..one }
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

    /// Sets whether there is a bias.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
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
        let in_target = self.in_target.unwrap_or(self.in_source);
        Error::widths("GatConv", [("in_source", self.in_source), ("in_target", in_target)])?;
        Error::widths("GatConv", [("out", self.out), ("heads", self.heads)])?;
        self.edges().validate()
    }

    fn edges(&self) -> AttentionEdges<'_> {
        AttentionEdges {
            layer: "GatConv",
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
    pub fn build(&self, vb: VarBuilder) -> Result<GatConv> {
        self.validate()?;
        let width = self.heads * self.out;
        let name = if self.in_target.is_some() { "lin_src" } else { "lin" };
        let lin = linear_no_bias(self.in_source, width, vb.pp(name))?;
        let lin_target = self.in_target.map(|f| linear_no_bias(f, width, vb.pp("lin_dst"))).transpose()?;
        // Glorot over [heads, out], as the peer.
        let bound = (6.0 / (self.heads + self.out) as f64).sqrt();
        let glorot = Init::Uniform { lo: -bound, up: bound };
        let attention = |name: &str| vb.get_with_hints((1, self.heads, self.out), name, glorot);
        let edge = match self.edge_attributes {
            0 => None,
            count => Some((linear_no_bias(count, width, vb.pp("lin_edge"))?, attention("att_edge")?)),
        };
        let target_width = self.in_target.unwrap_or(self.in_source);
        Ok(GatConv {
            att_source: attention("att_src")?,
            att_target: attention("att_dst")?,
            bias: self.bias.then(|| vb.get(self.total_out(), "bias")).transpose()?,
            residual: self
                .residual
                .then(|| linear_no_bias(target_width, self.total_out(), vb.pp("res")))
                .transpose()?,
            config: self.clone(),
            lin,
            lin_target,
            edge,
        })
    }
}

/// Graph attention: `h_i = sum_j alpha_ij W x_j + b` with
/// `alpha_ij = softmax_j leaky_relu(a_s . W x_j + a_t . W x_i (+ a_e . W_e e_ij))`, per head.
///
/// # Shapes
/// \[nodes, F\], edge attributes \[edges, attributes\] -> \[nodes, heads * out\] or, averaged, \[nodes, out\]
///
/// # Reference
/// Velickovic et al., *Graph attention networks*, 2018, equations 3 to 6; parameters `lin.weight` (or
/// `lin_src.weight`, `lin_dst.weight`), `att_src`, `att_dst`, `att_edge`, `lin_edge.weight`, `res.weight`, `bias`
/// of PyTorch Geometric's `GATConv`. Self loops are removed and one per node is put at the end, as there.
#[derive(Debug, Clone)]
pub struct GatConv {
    config: GatConfig,
    lin: Linear,
    lin_target: Option<Linear>,
    att_source: Tensor,
    att_target: Tensor,
    edge: Option<(Linear, Tensor)>,
    bias: Option<Tensor>,
    residual: Option<Linear>,
}

impl GatConv {
    /// The configuration that the layer was built from.
    pub fn config(&self) -> &GatConfig {
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
        let (mapped, adjacency, alpha) = self.attend(source, target, adjacency, edge_attributes)?;
        let out = self.finished(gather_reduce_weighted(&mapped, &alpha, &adjacency)?, target)?;
        Ok((out, adjacency, alpha))
    }

    /// The mapped sources, the edges that are attended to and their weights.
    pub(crate) fn attend(
        &self,
        source: &Tensor,
        target: &Tensor,
        adjacency: &Arc<Adjacency>,
        edge_attributes: Option<&Tensor>,
    ) -> Result<(Tensor, Arc<Adjacency>, Tensor)> {
        let c = &self.config;
        let (adjacency, attributes) = c.edges().prepare(adjacency, edge_attributes)?;
        let mapped = self.lin.forward(source)?;
        let mapped_target = match &self.lin_target {
            Some(lin) => lin.forward(target)?,
            None => self.lin.forward(target)?,
        };
        let from = adjacency.of_sources(&self.project(&mapped, &self.att_source)?)?;
        let to = adjacency.of_targets(&self.project(&mapped_target, &self.att_target)?)?;
        let mut logits = (from + to)?;
        if let (Some((lin, att)), Some(attributes)) = (&self.edge, &attributes) {
            logits = (logits + self.project(&lin.forward(attributes)?, att)?)?;
        }
        let logits = leaky_relu(&logits, c.negative_slope)?;
        let alpha = segment_softmax(&logits, &adjacency)?;
        Ok((mapped, adjacency, alpha))
    }

    /// The layer on `S` samples that share one graph, which is stored once: sample and head take the place of heads,
    /// so that an edge is walked once for all samples.
    ///
    /// In training, `dropout` drops attention weights (as PyTorch Geometric's `dropout`), each sample's and head's on
    /// its own; the weights of all edges are in memory then.
    ///
    /// # Shapes
    /// `x` \[nodes, S, F\] -> \[nodes, S, heads * out\] or, averaged, \[nodes, S, out\]
    ///
    /// # Errors
    /// [`Error::Input`] for a layer with edge attributes or a separate matrix for targets, or an `x` of another
    /// shape.
    pub fn forward_stacked(
        &self,
        x: &Tensor,
        adjacency: &Arc<Adjacency>,
        dropout: &Dropout,
        mode: Mode,
    ) -> Result<Tensor> {
        let c = &self.config;
        let (nodes, samples) = match x.dims() {
            [nodes, samples, features] if *features == c.in_source => (*nodes, *samples),
            other => {
                let expected = format!("[nodes, samples, {}]", c.in_source);
                return Err(Error::input("GatConv", expected, format!("{other:?}")));
            }
        };
        if self.edge.is_some() || self.lin_target.is_some() {
            return Err(Error::input(
                "GatConv",
                "one matrix and no edge attributes for a stack",
                format!("{c:?}"),
            ));
        }
        let adjacency = AttentionEdges { attributes: 0, ..c.edges() }.prepare(adjacency, None)?.0;
        let flat = x.reshape((nodes * samples, c.in_source))?;
        let rows = |map: &Tensor| -> Result<Tensor> {
            let width = map.dim(0)?;
            Ok(row_linear(&flat, map, None, false)?.reshape((nodes, samples * width))?)
        };
        let values = rows(self.lin.weight())?;
        let from = rows(&self.folded(&self.lin, &self.att_source)?)?;
        let to = rows(&self.folded(&self.lin, &self.att_target)?)?;
        let out = if !(mode.is_train() && dropout.p() > 0.0) {
            graph_attention(&Tensor::cat(&[values, from], 1)?, &to, None, &adjacency, c.negative_slope)?
        } else {
            let (from, to) = (adjacency.of_sources(&from)?, adjacency.of_targets(&to)?);
            let logits = leaky_relu(&(from + to)?, c.negative_slope)?;
            let alpha = dropout.forward(&segment_softmax(&logits, &adjacency)?, mode)?;
            gather_reduce_weighted(&values, &alpha, &adjacency)?
        };
        let out = self.finished(out.reshape((nodes * samples, c.heads * c.out))?, &flat)?;
        Ok(out.reshape((nodes, samples, c.total_out()))?)
    }

    /// Averages the heads where configured and adds the residual and the bias.
    pub(crate) fn finished(&self, mut out: Tensor, target: &Tensor) -> Result<Tensor> {
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

    /// The matrix that maps straight to the logits of a [`Linear`]'s result: `a W`, \[heads, F\].
    fn folded(&self, lin: &Linear, attention: &Tensor) -> Result<Tensor> {
        let (heads, out) = (self.config.heads, self.config.out);
        let weight = lin.weight().reshape((heads, out, lin.weight().dim(1)?))?;
        Ok(weight.broadcast_mul(&attention.reshape((heads, out, 1))?)?.sum(1)?)
    }

    /// The logits that the attributes add to edges, those of added loops among them.
    fn edge_logits(
        &self,
        (lin, attention): &(Linear, Tensor),
        adjacency: &Arc<Adjacency>,
        given: Option<&Tensor>,
    ) -> Result<Tensor> {
        let c = &self.config;
        let map = self.folded(lin, attention)?;
        let mean = c.edge_fill == EdgeFill::Mean;
        if c.add_self_loops && (mean || c.edge_fill == EdgeFill::Add) {
            // A sum or mean of attributes has the sum or mean of the logits, of which there are fewer.
            let without = AttentionEdges { add_self_loops: false, ..c.edges() };
            if let (_, Some(attributes)) = without.prepare(adjacency, given)? {
                return Ok(with_loop_rows(&row_linear(&attributes, &map, None, false)?, adjacency, mean)?);
            }
        }
        match c.edges().prepare(adjacency, given)?.1 {
            Some(attributes) => Ok(row_linear(&attributes, &map, None, false)?),
            None => Err(Error::input("GatConv", "attributes per edge", "none")),
        }
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
        let edge = match &self.edge {
            Some(edge) => Some(self.edge_logits(edge, adjacency, edge_attributes)?),
            None => None,
        };
        let adjacency = AttentionEdges { attributes: 0, ..c.edges() }.prepare(adjacency, None)?.0;
        // The sources' share of the logits is a linear map of their features: it rides behind the values.
        let map = Tensor::cat(&[self.lin.weight(), &self.folded(&self.lin, &self.att_source)?], 0)?;
        let asking = self.folded(self.lin_target.as_ref().unwrap_or(&self.lin), &self.att_target)?;
        let source = row_linear(source, &map, None, false)?;
        let asking = row_linear(target, &asking, None, false)?;
        let out = graph_attention(&source, &asking, edge.as_ref(), &adjacency, c.negative_slope)?;
        self.finished(out, target)
    }

    /// `[rows, heads * out]` -> the product with the attention vector of each head, `[rows, heads]`.
    fn project(&self, mapped: &Tensor, attention: &Tensor) -> Result<Tensor> {
        let heads = mapped.reshape((mapped.dim(0)?, self.config.heads, self.config.out))?;
        Ok(sum(&heads.broadcast_mul(attention)?, D::Minus1)?)
    }
}

impl MessagePassing for GatConv {
    fn forward_bipartite(
        &self,
        source: &Tensor,
        target: &Tensor,
        adjacency: &Arc<Adjacency>,
        edge_attributes: Option<&Tensor>,
    ) -> Result<Tensor> {
        self.in_one_pass(source, target, adjacency, edge_attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use oncograph_nn::testing::{assert_gradient_coverage, check_gradients, device, pattern};
    use oncograph_nn::{ParamStore, Seed};

    fn layer(store: &ParamStore) -> GatConv {
        let vb = store.var_builder(DType::F64, &device());
        GatConfig::new(3, 2).heads(2).residual(true).build(vb).unwrap()
    }

    fn edges() -> Arc<Adjacency> {
        Arc::new(Adjacency::new(4, 4, &[0, 1, 2, 0, 3], &[1, 2, 0, 2, 3]).unwrap())
    }

    #[test]
    fn a_stack_equals_its_samples_one_by_one_on_both_ways() {
        let store = ParamStore::new(Seed::new(1));
        let (layer, edges) = (layer(&store), edges());
        let x = pattern(&[4, 5, 3], 1).unwrap();
        let none = Dropout::new(0.0).unwrap();
        let stacked = layer.forward_stacked(&x, &edges, &none, Mode::Eval).unwrap();
        assert_eq!(stacked.dims(), [4, 5, 4]);
        // So little is dropped that nothing is: this takes the way over the weights of edges.
        let rare = Dropout::new(1e-12).unwrap();
        let unfused = layer.forward_stacked(&x, &edges, &rare, Mode::Train(Seed::new(2))).unwrap();
        for s in 0..5 {
            let sample = x.narrow(1, s, 1).unwrap().squeeze(1).unwrap().contiguous().unwrap();
            let alone = layer.forward_bipartite(&sample, &sample, &edges, None).unwrap();
            for all in [&stacked, &unfused] {
                let got = all.narrow(1, s, 1).unwrap().squeeze(1).unwrap();
                let error =
                    (got - &alone).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
                assert!(error < 1e-12, "sample {s}: {error}");
            }
        }
    }

    #[test]
    fn gradients_of_a_stack() {
        let store = ParamStore::new(Seed::new(1));
        let (layer, edges) = (layer(&store), edges());
        let none = Dropout::new(0.0).unwrap();
        let f = |x: &[Tensor]| {
            layer.forward_stacked(&x[0], &edges, &none, Mode::Eval).map_err(|e| match e {
                Error::Nn(e) => e,
                other => candle_core::Error::wrap(other).into(),
            })
        };
        let x = pattern(&[4, 2, 3], 1).unwrap();
        check_gradients(f, std::slice::from_ref(&x), 1e-6, 1e-6).unwrap();
        let y = layer.forward_stacked(&x, &edges, &none, Mode::Eval).unwrap();
        let loss = (y * pattern(&[4, 2, 4], 2).unwrap()).unwrap().sum_all().unwrap();
        assert_gradient_coverage(&store, &loss).unwrap();
    }

    #[test]
    fn another_width_is_refused() {
        let store = ParamStore::new(Seed::new(1));
        let x = pattern(&[4, 2, 5], 1).unwrap();
        let none = Dropout::new(0.0).unwrap();
        let error = layer(&store).forward_stacked(&x, &edges(), &none, Mode::Eval).unwrap_err();
        assert_eq!(error.to_string(), "GatConv: expected [nodes, samples, 3], got [4, 2, 5]");
    }
}

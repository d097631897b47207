use crate::{Aggregation, Aggregator, Error, MessagePassing, Result};
use candle_core::{D, DType, Module, Tensor};
use candle_nn::{Linear, VarBuilder};
use oncograph_graph::Graph;
use oncograph_nn::segment::{
    Adjacency, Neighbourhood, Reduce, SharedNeighbourhoods, gather_reduce, propagate, propagate_fits,
    row_linear, row_linear_onto, segment_reduce,
};
use oncograph_nn::{linear, linear_no_bias};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Configuration of a [`SageConv`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SageConfig {
    /// Features of a source node.
    pub in_source: usize,
    /// Features of a target node.
    pub in_target: usize,
    /// Features of the output.
    pub out: usize,
    /// How neighbours are aggregated; mean by default.
    pub aggr: Aggregation,
    /// Whether the target's own features enter through a separate matrix (`lin_r`); true by default.
    pub root_weight: bool,
    /// Whether `lin_l` has a bias; true by default.
    pub bias: bool,
    /// Whether sources pass through `relu(lin(x))` first.
    pub project: bool,
    /// Whether outputs are scaled to unit L2 norm.
    pub normalize: bool,
    /// Attributes per edge that are added to the messages through `lin_edge`; 0 ignores them, as the peer does.
    pub edge_attributes: usize,
    /// Whether the node itself is averaged with its neighbours under one matrix (see [`SageConv`]).
    pub closed: bool,
}

impl SageConfig {
    /// Mean aggregation from `features` to `out` features on one set of nodes.
    pub fn new(features: usize, out: usize) -> Self {
        Self::bipartite(features, features, out)
    }

    /// Mean aggregation from sources to targets with separate features.
    pub fn bipartite(in_source: usize, in_target: usize, out: usize) -> Self {
        SageConfig {
            in_source,
            in_target,
            out,
            aggr: Aggregation::Mean,
            root_weight: true,
            bias: true,
            project: false,
            normalize: false,
            edge_attributes: 0,
            closed: false,
        }
    }

    /// Sets how neighbours are aggregated.
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

    /// Sets whether sources are projected first.
    pub fn project(mut self, project: bool) -> Self {
        self.project = project;
        self
    }

    /// Sets whether outputs are scaled to unit norm.
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.normalize = normalize;
        self
    }

    /// Lets edge attributes enter the messages.
    pub fn edge_attributes(mut self, count: usize) -> Self {
        self.edge_attributes = count;
        self
    }

    /// Averages the node with its neighbours under one matrix.
    pub fn closed(mut self, closed: bool) -> Self {
        self.closed = closed;
        self
    }

    /// Checks that the options fit together.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        let widths = [("in_source", self.in_source), ("in_target", self.in_target), ("out", self.out)];
        Error::widths("SageConv", widths)?;
        if self.closed && (self.in_source != self.in_target || self.aggr != Aggregation::Mean || self.project)
        {
            let expected = "off unless the mean is taken over one unprojected set of nodes";
            return Err(Error::config("SageConv", "closed", expected, "on"));
        }
        Ok(())
    }

    /// Builds the layer with parameters from `vb`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the configuration is not valid, or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<SageConv> {
        self.validate()?;
        let edge = (self.edge_attributes > 0)
            .then(|| linear_no_bias(self.edge_attributes, self.out, vb.pp("lin_edge")))
            .transpose()?;
        let project =
            self.project.then(|| linear(self.in_source, self.in_source, vb.pp("lin"))).transpose()?;
        let aggregator = self.aggr.build(self.in_source, vb.pp("aggr_module"))?;
        let width = self.aggr.out_features(self.in_source);
        let lin_l = match self.bias {
            true => linear(width, self.out, vb.pp("lin_l"))?,
            false => linear_no_bias(width, self.out, vb.pp("lin_l"))?,
        };
        let lin_r = (self.root_weight && !self.closed)
            .then(|| linear_no_bias(self.in_target, self.out, vb.pp("lin_r")))
            .transpose()?;
        Ok(SageConv { config: self.clone(), project, aggregator, lin_l, lin_r, edge })
    }
}

/// GraphSAGE: `h_i = W_l aggr_{j -> i} x_j + b + W_r x_i (+ W_e mean_{j -> i} e_ij)`.
///
/// With `closed`, the literal form of several papers: `h_i = W mean(x_i, {x_j}) + b`, the node counted once among
/// its neighbours. A node without neighbours aggregates 0. Where the reduction is linear and the output narrower
/// than the input, the matrix is applied first, so that fewer numbers travel along edges; where many nodes have the same
/// neighbours, their sum goes through the matrix once.
///
/// # Shapes
/// \[nodes, F\] -> \[nodes, out\]
///
/// # Reference
/// Hamilton, Ying and Leskovec, *Inductive representation learning on large graphs*, 2017, algorithm 1;
/// parameters `lin_l.{weight,bias}`, `lin_r.weight`, `lin.{weight,bias}`, `aggr_module.lstm.*` of PyTorch Geometric's
/// `SAGEConv`.
/// `lin_edge.weight` and `closed` are ours.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use oncograph_gnn::{MessagePassing, SageConfig};
/// use oncograph_graph::Graph;
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(Seed::new(0));
/// let conv = SageConfig::new(8, 4).build(store.var_builder(DType::F32, &Device::Cpu))?;
/// // 0 -> 1 -> 2
/// let graph = Graph::from_edges(3, &[0, 1], &[1, 2])?;
/// let x = Tensor::ones((3, 8), DType::F32, &Device::Cpu)?;
/// assert_eq!(conv.forward(&x, &graph)?.dims(), [3, 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SageConv {
    config: SageConfig,
    project: Option<Linear>,
    aggregator: Aggregator,
    lin_l: Linear,
    lin_r: Option<Linear>,
    edge: Option<Linear>,
}

impl SageConv {
    /// The configuration that the layer was built from.
    pub fn config(&self) -> &SageConfig {
        &self.config
    }

    /// The matrix of the neighbours and its bias.
    pub fn lin_l(&self) -> &Linear {
        &self.lin_l
    }

    /// The matrix of the node itself.
    pub fn lin_r(&self) -> Option<&Linear> {
        self.lin_r.as_ref()
    }

    /// As [`MessagePassing::forward`] on `[x_i ; context_s]` for each row `s` of a context that all nodes share, such
    /// as a time step, without multiplying `x` more than once.
    ///
    /// # Shapes
    /// `x` \[nodes, F - K\], `context` \[S, K\] -> \[S, nodes, out\]
    ///
    /// # Errors
    /// [`Error::Input`] if the widths do not add up to the layer's input, or if the layer projects, normalizes or
    /// reduces otherwise than by the mean.
    pub fn forward_with_context(&self, x: &Tensor, context: &Tensor, graph: &Graph) -> Result<Tensor> {
        let c = &self.config;
        let (width, shared) = (x.dim(D::Minus1)?, context.dim(D::Minus1)?);
        if width + shared != c.in_source || c.in_source != c.in_target {
            let expected = format!("{} features with the context", c.in_source);
            return Err(Error::input("SageConv", expected, format!("{width} + {shared}")));
        }
        if c.project || c.normalize || c.aggr != Aggregation::Mean {
            return Err(Error::input("SageConv", "a plain mean with a context", format!("{c:?}")));
        }
        let part = |lin: &Linear, bias: Option<&Tensor>| -> Result<Linear> {
            Ok(Linear::new(lin.weight().narrow(1, 0, width)?.contiguous()?, bias.cloned()))
        };
        let own = SageConv {
            config: SageConfig { in_source: width, in_target: width, ..c.clone() },
            project: None,
            aggregator: self.aggregator.clone(),
            lin_l: part(&self.lin_l, self.lin_l.bias())?,
            lin_r: self.lin_r.as_ref().map(|lin| part(lin, None)).transpose()?,
            edge: self.edge.clone(),
        };
        let own = own.forward(x, graph)?;
        let part = |lin: &Linear| -> Result<Tensor> {
            Ok(context.matmul(&lin.weight().narrow(1, width, shared)?.t()?.contiguous()?)?)
        };
        let mut parts = vec![own, part(&self.lin_l)?];
        parts.extend(self.lin_r.as_ref().map(part).transpose()?);
        let out = Tensor::cat(&parts, 0)?;
        let terms = self.terms_with_context(context.dim(0)?, graph)?;
        let out = gather_reduce(&out, &Arc::new(terms), Reduce::Sum)?;
        Ok(out.reshape((context.dim(0)?, graph.node_count(), c.out))?)
    }

    /// What is summed for each step and node: the node's own row, and the rows of the step's context through `lin_l`
    /// and `lin_r`. The mean of the neighbours' context is the context itself, and 0 where there is no neighbour.
    fn terms_with_context(&self, steps: usize, graph: &Graph) -> Result<Adjacency> {
        let nodes = graph.node_count();
        let rows = graph.adjacency().by_target();
        let (mut sources, mut targets) = (vec![], vec![]);
        for (step, node) in (0..steps).flat_map(|s| (0..nodes).map(move |n| (s, n))) {
            sources.push(node as u32);
            if rows.degree(node) > 0 || self.config.closed {
                sources.push((nodes + step) as u32);
            }
            if self.lin_r.is_some() {
                sources.push((nodes + steps + step) as u32);
            }
            targets.resize(sources.len(), (step * nodes + node) as u32);
        }
        let rows = nodes + steps * (1 + usize::from(self.lin_r.is_some()));
        Ok(Adjacency::new(rows, steps * nodes, &sources, &targets)?)
    }

    pub(crate) fn messages(
        &self,
        adjacency: &Adjacency,
        attributes: Option<&Tensor>,
    ) -> Result<Option<Tensor>> {
        let Some(edge) = &self.edge else { return Ok(None) };
        let Some(attributes) = attributes else {
            let expected = format!("{} attributes per edge", self.config.edge_attributes);
            return Err(Error::input("SageConv", expected, "none"));
        };
        let reduce = if self.config.aggr == Aggregation::Sum { Reduce::Sum } else { Reduce::Mean };
        Ok(Some(edge.forward(&segment_reduce(attributes, adjacency, reduce)?)?))
    }

    /// What is summed at a node, if the sum and the maps around it can be taken in one pass.
    fn neighbourhood(&self) -> Option<Neighbourhood> {
        let c = &self.config;
        let fits = propagate_fits(c.in_source, c.out);
        match &c.aggr {
            _ if !fits => None,
            Aggregation::Mean if c.closed => Some(Neighbourhood::ClosedMean),
            Aggregation::Mean => Some(Neighbourhood::Mean),
            Aggregation::Sum => Some(Neighbourhood::Sum),
            _ => None,
        }
    }

    fn in_one_pass(
        &self,
        how: Neighbourhood,
        source: &Tensor,
        target: &Tensor,
        adjacency: &Arc<Adjacency>,
    ) -> Result<Tensor> {
        let (weight, bias) = (self.lin_l.weight(), self.lin_l.bias());
        let projected = match &self.project {
            Some(lin) => oncograph_nn::relu(&lin.forward(source)?)?,
            None => source.clone(),
        };
        match &self.lin_r {
            // The root's map joins the pass where it reads the same rows.
            Some(lin_r) if projected.id() == target.id() => {
                Ok(propagate(&projected, weight, Some(lin_r.weight()), bias, adjacency, how)?)
            }
            Some(lin_r) => {
                let sums = propagate(&projected, weight, None, bias, adjacency, how)?;
                Ok((sums + lin_r.forward(target)?)?)
            }
            None => Ok(propagate(&projected, weight, None, bias, adjacency, how)?),
        }
    }

    /// Targets that have the same neighbours, if there are enough to take each mean through `lin_l` once.
    fn shared<'a>(&self, source: &Tensor, adjacency: &'a Adjacency) -> Option<&'a SharedNeighbourhoods> {
        let c = &self.config;
        let linear = matches!(c.aggr, Aggregation::Mean | Aggregation::Sum) && !c.closed && !c.project;
        if linear && has_kernel(source) { adjacency.shared_neighbourhoods().map(|s| &**s) } else { None }
    }

    fn by_neighbourhood(
        &self,
        shared: &SharedNeighbourhoods,
        source: &Tensor,
        target: &Tensor,
    ) -> Result<Tensor> {
        let sums = self.config.aggr.apply(source, &shared.distinct)?;
        let base = row_linear(&sums, self.lin_l.weight(), self.lin_l.bias(), false)?;
        match &self.lin_r {
            Some(lin_r) => Ok(row_linear_onto(target, lin_r.weight(), &base, &shared.of_target)?),
            None => Ok(shared.of_target.of_targets(&base)?),
        }
    }

    /// The plain form, for every aggregation, size and device.
    fn composed(&self, source: &Tensor, target: &Tensor, adjacency: &Arc<Adjacency>) -> Result<Tensor> {
        let mut out = if self.config.closed {
            self.closed_mean(source, adjacency)?
        } else {
            match &self.project {
                Some(lin) => self.aggregate(&oncograph_nn::relu(&lin.forward(source)?)?, adjacency)?,
                None => self.aggregate(source, adjacency)?,
            }
        };
        if let Some(bias) = self.lin_l.bias() {
            out = out.broadcast_add(bias)?;
        }
        if let Some(lin_r) = &self.lin_r {
            out = (out + mapped(target, lin_r.weight())?)?;
        }
        Ok(out)
    }

    /// `(x_i + sum_j x_j) / (1 + degree)` through the one matrix.
    fn closed_mean(&self, x: &Tensor, adjacency: &Arc<Adjacency>) -> Result<Tensor> {
        let mapped = mapped(x, self.lin_l.weight())?;
        let sum = (gather_reduce(&mapped, adjacency, Reduce::Sum)? + mapped)?;
        let counts: Vec<f64> = adjacency.in_degrees().iter().map(|d| 1.0 / (d + 1) as f64).collect();
        let counts =
            Tensor::from_vec(counts, (adjacency.target_count(), 1), x.device())?.to_dtype(x.dtype())?;
        Ok(sum.broadcast_mul(&counts)?)
    }

    fn aggregate(&self, source: &Tensor, adjacency: &Arc<Adjacency>) -> Result<Tensor> {
        let weight = self.lin_l.weight();
        let linear = matches!(self.config.aggr, Aggregation::Sum | Aggregation::Mean);
        if linear && self.config.out < self.config.in_source {
            return self.config.aggr.apply(&mapped(source, weight)?, adjacency);
        }
        mapped(&self.aggregator.forward(source, adjacency)?, weight)
    }
}

/// Whether the row operations have a kernel for `x`.
pub(crate) fn has_kernel(x: &Tensor) -> bool {
    !x.device().is_metal() && matches!(x.dtype(), DType::F32 | DType::F64)
}

/// `x W^T`, without a gradient for an `x` that needs none where there is a kernel.
fn mapped(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if has_kernel(x) {
        return Ok(row_linear(x, weight, None, false)?);
    }
    Ok(x.matmul(&weight.t()?)?)
}

impl MessagePassing for SageConv {
    fn forward_bipartite(
        &self,
        source: &Tensor,
        target: &Tensor,
        adjacency: &Arc<Adjacency>,
        edge_attributes: Option<&Tensor>,
    ) -> Result<Tensor> {
        let mut out = match (self.shared(source, adjacency), self.neighbourhood()) {
            (Some(shared), _) => self.by_neighbourhood(shared, source, target)?,
            (_, Some(how)) => self.in_one_pass(how, source, target, adjacency)?,
            _ => self.composed(source, target, adjacency)?,
        };
        if let Some(message) = self.messages(adjacency, edge_attributes)? {
            out = (out + message)?;
        }
        if self.config.normalize {
            // The peer divides by max(norm, 1e-12); under the root the bound also keeps the gradient at 0 finite.
            let norm = (out.sqr()?.sum_keepdim(D::Minus1)? + 1e-24)?.sqrt()?;
            out = out.broadcast_div(&norm)?;
        }
        Ok(out)
    }
}

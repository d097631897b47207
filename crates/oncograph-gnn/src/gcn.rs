use crate::{Error, MessagePassing, Result};
use candle_core::Tensor;
use candle_nn::{Linear, VarBuilder};
use oncograph_nn::linear_no_bias;
use oncograph_nn::portable::{above, ones, where_else};
use oncograph_nn::segment::{
    Adjacency, Neighbourhood, Reduce, gather_reduce, gather_reduce_weighted, propagate, propagate_fits,
    segment_reduce,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Configuration of a [`GcnConv`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GcnConfig {
    /// Features of the input.
    pub features: usize,
    /// Features of the output.
    pub out: usize,
    /// Whether missing self loops are added before the normalisation; true by default, and without effect where
    /// `normalize` is false.
    pub add_self_loops: bool,
    /// Whether edges are scaled by the degrees of both ends; true by default.
    pub normalize: bool,
    /// Whether an added self loop weighs 2 instead of 1. As in the peer only edges with weights are affected: a graph
    /// whose edges have none has loops of weight 1 all the same.
    pub improved: bool,
    /// Whether there is a bias; true by default.
    pub bias: bool,
}

impl GcnConfig {
    /// Symmetric normalisation with self loops, as in the paper.
    pub fn new(features: usize, out: usize) -> Self {
        GcnConfig { features, out, add_self_loops: true, normalize: true, improved: false, bias: true }
    }

    /// Sets whether missing self loops are added.
    pub fn add_self_loops(mut self, add: bool) -> Self {
        self.add_self_loops = add;
        self
    }

    /// Sets whether edges are scaled by degrees.
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.normalize = normalize;
        self
    }

    /// Sets whether added self loops weigh 2.
    pub fn improved(mut self, improved: bool) -> Self {
        self.improved = improved;
        self
    }

    /// Sets whether there is a bias.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Checks that there are features on both sides.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        Error::widths("GcnConv", [("features", self.features), ("out", self.out)])
    }

    /// Builds the layer with parameters from `vb`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the configuration is not valid, or an error of candle.
    pub fn build(&self, vb: VarBuilder) -> Result<GcnConv> {
        self.validate()?;
        let lin = linear_no_bias(self.features, self.out, vb.pp("lin"))?;
        let bias = self.bias.then(|| vb.get(self.out, "bias")).transpose()?;
        Ok(GcnConv { config: self.clone(), lin, bias })
    }
}

/// Graph convolution: `H = D^-1/2 (A + I) D^-1/2 X W + b`, `D` the weighted in-degree with loops.
///
/// An edge that is a self loop already keeps its weight, the last one where there are several; as in the peer, each of
/// those receives the gradient of the one that is kept. The gradient flows to edge weights through the normalisation
/// too. A node of degree 0 gives `b`.
///
/// # Shapes
/// \[nodes, F\], edge weights \[edges\], \[edges, 1\] or none -> \[nodes, out\]
///
/// # Reference
/// Kipf and Welling, *Semi-supervised classification with graph convolutional networks*, 2017, equation 2;
/// parameters `lin.weight`, `bias` of PyTorch Geometric's `GCNConv`.
#[derive(Debug, Clone)]
pub struct GcnConv {
    config: GcnConfig,
    lin: Linear,
    bias: Option<Tensor>,
}

impl GcnConv {
    /// The configuration that the layer was built from.
    pub fn config(&self) -> &GcnConfig {
        &self.config
    }

    /// What is summed at a node where edges have no weights.
    fn neighbourhood(&self) -> Neighbourhood {
        match (self.config.normalize, self.config.add_self_loops) {
            (false, _) => Neighbourhood::Sum,
            (true, false) => Neighbourhood::Symmetric,
            (true, true) => Neighbourhood::SymmetricWithLoops,
        }
    }

    /// The edges with loops and their weights \[edges, 1\] before normalisation.
    fn with_loops(
        &self,
        adjacency: &Arc<Adjacency>,
        weight: Tensor,
        fill: f32,
    ) -> Result<(Arc<Adjacency>, Tensor)> {
        if !(self.config.add_self_loops && self.config.normalize) {
            return Ok((adjacency.clone(), weight));
        }
        let loops = adjacency.self_loops();
        let device = weight.device();
        // The fill rides behind the old weights, so that one gather takes both and the gradient finds its way.
        let fill = Tensor::full(fill, (1, 1), device)?.to_dtype(weight.dtype())?;
        let own = adjacency.own_loops();
        let mut all = own.rows.of(&Tensor::cat(&[&weight, &fill], 0)?)?;
        if let Some(to_loop) = &own.overwritten {
            // Zeros that carry a gradient.
            let zeros = (&weight - weight.detach())?;
            all = (all + gather_reduce(&zeros, to_loop, Reduce::Sum)?)?;
        }
        Ok((loops.adjacency.clone(), all))
    }

    /// `w_e / sqrt(d_source d_target)`, 0 where a degree is 0.
    fn normalized(&self, adjacency: &Arc<Adjacency>, weight: Tensor) -> Result<Tensor> {
        if !self.config.normalize {
            return Ok(weight);
        }
        let degree = segment_reduce(&weight, adjacency, Reduce::Sum)?;
        let positive = above(&degree, 0.0)?;
        // `where` on both sides of the power: the branch that is not taken must not send a NaN back.
        let one = ones(degree.shape(), degree.dtype(), degree.device())?;
        let safe = where_else(&positive, &degree, &one)?;
        let inverse = where_else(&positive, &safe.powf(-0.5)?, &degree.zeros_like()?)?;
        let source = adjacency.of_sources(&inverse)?;
        let target = adjacency.of_targets(&inverse)?;
        Ok(((source * weight)? * target)?)
    }
}

impl GcnConv {
    /// The edges that messages run along, loops at the end, and the factor of each message.
    pub(crate) fn factors(
        &self,
        source: &Tensor,
        adjacency: &Arc<Adjacency>,
        edge_weight: Option<&Tensor>,
    ) -> Result<(Arc<Adjacency>, Tensor)> {
        one_set(adjacency)?;
        let edges = adjacency.edge_count();
        let improved = self.config.improved && edge_weight.is_some();
        let weight = match edge_weight {
            Some(w) if w.dims() == [edges, 1] || w.dims() == [edges] => w.reshape((edges, 1))?,
            Some(w) => {
                let expected = format!("edge weights [{edges}, 1]");
                return Err(Error::input("GcnConv", expected, format!("{:?}", w.dims())));
            }
            None => ones((edges, 1), source.dtype(), source.device())?,
        };
        let (adjacency, weight) = self.with_loops(adjacency, weight, if improved { 2.0 } else { 1.0 })?;
        let weight = self.normalized(&adjacency, weight)?;
        Ok((adjacency, weight))
    }

    /// The sum of the mapped sources, each times its factor, and the bias.
    pub(crate) fn aggregate(
        &self,
        source: &Tensor,
        adjacency: &Arc<Adjacency>,
        factors: &Tensor,
    ) -> Result<Tensor> {
        let mapped = source.matmul(&self.lin.weight().t()?)?;
        let out = gather_reduce_weighted(&mapped, factors, adjacency)?;
        Ok(match &self.bias {
            Some(bias) => out.broadcast_add(bias)?,
            None => out,
        })
    }
}

impl MessagePassing for GcnConv {
    fn forward_bipartite(
        &self,
        source: &Tensor,
        _target: &Tensor,
        adjacency: &Arc<Adjacency>,
        edge_attributes: Option<&Tensor>,
    ) -> Result<Tensor> {
        one_set(adjacency)?;
        if edge_attributes.is_none() && propagate_fits(self.config.features, self.config.out) {
            let how = self.neighbourhood();
            let (weight, bias) = (self.lin.weight(), self.bias.as_ref());
            return Ok(propagate(source, weight, None, bias, adjacency, how)?);
        }
        let (adjacency, factors) = self.factors(source, adjacency, edge_attributes)?;
        self.aggregate(source, &adjacency, &factors)
    }
}

fn one_set(adjacency: &Adjacency) -> Result<()> {
    if adjacency.source_count() == adjacency.target_count() {
        return Ok(());
    }
    let got = format!("{} -> {}", adjacency.source_count(), adjacency.target_count());
    Err(Error::input("GcnConv", "one set of nodes", got))
}

use crate::Result;
use candle_core::Tensor;
use oncograph_graph::Graph;
use oncograph_nn::segment::{Reduce, gather_reduce};

/// One vector per graph of a batch: the sum, mean or maximum over its nodes; an empty graph gives 0.
///
/// # Shapes
/// \[nodes, F\] -> \[graphs, F\]
///
/// # Errors
/// An error if `x` has not one row per node.
///
/// # Reference
/// PyTorch Geometric's `global_add_pool`, `global_mean_pool` and `global_max_pool`.
pub fn global_pool(x: &Tensor, graph: &Graph, reduce: Reduce) -> Result<Tensor> {
    Ok(gather_reduce(x, graph.membership(), reduce)?)
}

use crate::Result;
use candle_core::Tensor;
use oncograph_graph::Graph;
use oncograph_nn::segment::Adjacency;
use std::sync::Arc;

/// A convolution that sends messages along edges.
pub trait MessagePassing: Send + Sync {
    /// New features of the target nodes of a bipartite relation.
    ///
    /// # Shapes
    /// `source` \[sources, F_s\], `target` \[targets, F_t\], `edge_attributes` \[edges, attributes\] in the order
    /// of the edge list -> \[targets, F_out\]
    ///
    /// # Errors
    /// An error if a shape does not fit, or if the layer cannot use or needs edge attributes.
    fn forward_bipartite(
        &self,
        source: &Tensor,
        target: &Tensor,
        adjacency: &Arc<Adjacency>,
        edge_attributes: Option<&Tensor>,
    ) -> Result<Tensor>;

    /// New features of all nodes.
    ///
    /// # Shapes
    /// `x` \[nodes, F_in\] -> \[nodes, F_out\]
    ///
    /// # Errors
    /// As [`MessagePassing::forward_bipartite`].
    fn forward(&self, x: &Tensor, graph: &Graph) -> Result<Tensor> {
        self.forward_bipartite(x, x, graph.adjacency(), graph.edge_attributes())
    }
}

use crate::{Error, Result};
use candle_core::Tensor;
use oncograph_nn::segment::Adjacency;
use std::sync::Arc;

/// One set of nodes, one edge list and the graph that each node belongs to: what a convolution and a pooling take.
///
/// A batch of graphs is one such graph whose parts are not joined.
///
/// # Example
///
/// One graph from its edge list, and the mean over neighbours that a GraphSAGE layer takes on it (the layer itself is
/// `SageConv` of `oncograph-gnn`, whose `forward` takes this graph):
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_graph::Graph;
/// use oncograph_nn::segment::{Reduce, gather_reduce};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // 0 -> 2, 1 -> 2
/// let graph = Graph::from_edges(3, &[0, 1], &[2, 2])?;
/// let x = Tensor::new(&[[1f32], [3.0], [5.0]], &Device::Cpu)?;
/// let mean = gather_reduce(&x, graph.adjacency(), Reduce::Mean)?;
/// assert_eq!(mean.to_vec2::<f32>()?, [[0.0], [0.0], [2.0]]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Graph {
    adjacency: Arc<Adjacency>,
    edge_attributes: Option<Tensor>,
    membership: Arc<Adjacency>,
}

impl Graph {
    /// One graph of `nodes` nodes with the edges `sources[e] -> targets[e]`.
    ///
    /// # Errors
    /// An error of [`Adjacency`] if the lists differ in length or an index is out of range; the edge is named.
    pub fn from_edges(nodes: usize, sources: &[u32], targets: &[u32]) -> Result<Self> {
        let adjacency = Arc::new(Adjacency::new(nodes, nodes, sources, targets)?);
        Graph::new(adjacency, None, &vec![0; nodes], 1)
    }

    /// A graph from its edges and, per node, the graph of the batch that it belongs to.
    ///
    /// # Shapes
    /// `edge_attributes` \[edges, attributes\]; `graph_of_node` one entry per node, below `graph_count`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the lengths differ, or an error of [`Adjacency`] for an index out of range.
    pub fn new(
        adjacency: Arc<Adjacency>,
        edge_attributes: Option<Tensor>,
        graph_of_node: &[u32],
        graph_count: usize,
    ) -> Result<Self> {
        if adjacency.source_count() != graph_of_node.len() || adjacency.target_count() != graph_of_node.len()
        {
            let got = format!("{} x {}", adjacency.source_count(), adjacency.target_count());
            return Err(Error::mismatch("adjacency", format!("{0} x {0} nodes", graph_of_node.len()), got));
        }
        if let Some(a) = &edge_attributes
            && a.dims().first() != Some(&adjacency.edge_count())
        {
            let expected = format!("{} rows", adjacency.edge_count());
            return Err(Error::mismatch("edge attributes", expected, format!("{:?}", a.dims())));
        }
        let membership = Arc::new(Adjacency::from_segments(graph_of_node, graph_count)?);
        Ok(Graph { adjacency, edge_attributes, membership })
    }

    /// The edges.
    pub fn adjacency(&self) -> &Arc<Adjacency> {
        &self.adjacency
    }

    /// \[edges, attributes\], if edges have any.
    pub fn edge_attributes(&self) -> Option<&Tensor> {
        self.edge_attributes.as_ref()
    }

    /// The relation from each node to the graph of the batch that it belongs to; reducing along it is pooling.
    pub fn membership(&self) -> &Arc<Adjacency> {
        &self.membership
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.membership.source_count()
    }

    /// How many graphs the batch has.
    pub fn graph_count(&self) -> usize {
        self.membership.target_count()
    }

    /// `steps` copies of this graph side by side, node `i` of copy `t` at `t * node_count + i`; with `chain`, each
    /// node is also joined to its own copies one step before and after, in both directions.
    ///
    /// Edge attributes are repeated for the copies and zero for the chain's edges. Every copy of a node belongs to
    /// the graph of the node, so that pooling takes all steps together.
    ///
    /// # Errors
    /// An error of candle.
    pub fn unroll(&self, steps: usize, chain: bool) -> Result<Self> {
        let (n, a) = (self.node_count() as u32, &self.adjacency);
        let shifted = |ends: &[u32]| -> Vec<u32> {
            (0..steps as u32).flat_map(|t| ends.iter().map(move |&e| e + t * n).collect::<Vec<_>>()).collect()
        };
        let (mut sources, mut targets) = (shifted(a.sources()), shifted(a.targets()));
        let spatial = sources.len();
        if chain {
            let links = n * (steps.max(1) as u32 - 1);
            sources.extend((0..links).chain(n..n + links));
            targets.extend((n..n + links).chain(0..links));
        }
        let total = n as usize * steps;
        let attributes = match &self.edge_attributes {
            None => None,
            Some(attributes) => {
                let (edges, width) = attributes.dims2()?;
                let repeated = attributes.unsqueeze(0)?.broadcast_as((steps, edges, width))?;
                // One copy, where `repeat` makes one per step.
                let repeated = repeated.contiguous()?.reshape((spatial, width))?;
                Some(repeated.pad_with_zeros(0, 0, sources.len() - spatial)?)
            }
        };
        let graph_of_node = self.membership.targets().repeat(steps);
        let adjacency = Arc::new(Adjacency::new(total, total, &sources, &targets)?);
        Graph::new(adjacency, attributes, &graph_of_node, self.graph_count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn graph() -> Graph {
        let a = Arc::new(Adjacency::new(3, 3, &[0, 2], &[1, 1]).unwrap());
        let attributes = Tensor::new(&[[1f32], [2.]], &Device::Cpu).unwrap();
        Graph::new(a, Some(attributes), &[0, 0, 1], 2).unwrap()
    }

    #[test]
    fn unrolled_copies_are_chained_both_ways() {
        let g = graph().unroll(3, true).unwrap();
        assert_eq!(g.adjacency().sources()[..6], [0, 2, 3, 5, 6, 8]);
        assert_eq!(g.adjacency().targets()[..6], [1, 1, 4, 4, 7, 7]);
        assert_eq!(g.adjacency().sources()[6..], [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8]);
        assert_eq!(g.adjacency().targets()[6..], [3, 4, 5, 6, 7, 8, 0, 1, 2, 3, 4, 5]);
        assert_eq!(g.edge_attributes().unwrap().dims(), [18, 1]);
        assert_eq!(g.membership().targets(), [0, 0, 1, 0, 0, 1, 0, 0, 1]);
        assert_eq!(graph().unroll(3, false).unwrap().adjacency().edge_count(), 6);
    }

    #[test]
    fn an_edge_list_is_one_graph() {
        let g = Graph::from_edges(3, &[0, 2], &[1, 1]).unwrap();
        assert_eq!((g.node_count(), g.graph_count()), (3, 1));
        assert_eq!((g.adjacency().sources(), g.adjacency().targets()), (&[0, 2][..], &[1, 1][..]));
        assert_eq!(g.membership().targets(), [0, 0, 0]);
        let error = Graph::from_edges(3, &[0, 3], &[1, 1]).unwrap_err().to_string();
        assert_eq!(error, "Adjacency: expected sources below 3, got 3 in edge 1");
        assert!(Graph::from_edges(3, &[0], &[]).is_err());
    }

    #[test]
    fn lengths_are_checked() {
        let a = Arc::new(Adjacency::new(3, 3, &[0], &[1]).unwrap());
        assert!(Graph::new(a.clone(), None, &[0, 0], 1).is_err());
        let two = Tensor::new(&[[1f32], [2.]], &Device::Cpu).unwrap();
        let message = Graph::new(a, Some(two), &[0, 0, 0], 1).unwrap_err().to_string();
        assert_eq!(message, "edge attributes: expected 1 rows, got [2, 1]");
    }
}

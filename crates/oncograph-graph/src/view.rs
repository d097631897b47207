use crate::{HeteroGraph, Result};
use petgraph::graph::{DiGraph, NodeIndex};

/// A node of a [`HeteroGraph`] seen from petgraph: its type and its position among the nodes of that type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeRef {
    /// The position of the node type in the schema.
    pub node_type: usize,
    /// The position among the nodes of that type.
    pub index: usize,
}

/// The graph's shape for petgraph's algorithms: nodes type by type, and edges weighted with the position of their
/// type in the schema.
///
/// # Errors
/// An error of the schema; a [`HeteroGraph`] that was built has none.
///
/// # Example
///
/// ```
/// # use oncograph_graph::{HeteroGraph, Schema, to_petgraph};
/// # use std::sync::Arc;
/// # fn main() -> oncograph_graph::Result<()> {
/// let schema = Arc::new(Schema::new().node("organ", 0).edge("organ", "touches", "organ", 0));
/// let graph = HeteroGraph::builder(schema)
///     .nodes("organ", 3, vec![])
///     .edges(("organ", "touches", "organ"), vec![0], vec![1], vec![])
///     .build()?;
/// assert_eq!(petgraph::algo::connected_components(&to_petgraph(&graph)?), 2);
/// # Ok(())
/// # }
/// ```
pub fn to_petgraph(graph: &HeteroGraph) -> Result<DiGraph<NodeRef, usize>> {
    let mut out = DiGraph::with_capacity(graph.node_count(), graph.edge_count());
    let mut starts = vec![];
    for (node_type, set) in graph.node_sets().iter().enumerate() {
        starts.push(out.node_count());
        for index in 0..set.count {
            out.add_node(NodeRef { node_type, index });
        }
    }
    for (edge_type, (kind, set)) in graph.schema().edge_types().iter().zip(graph.edge_sets()).enumerate() {
        let source = starts[graph.schema().node_index(&kind.source)?];
        let target = starts[graph.schema().node_index(&kind.target)?];
        for (&s, &t) in set.sources.iter().zip(&set.targets) {
            let (s, t) = (NodeIndex::new(source + s as usize), NodeIndex::new(target + t as usize));
            out.add_edge(s, t, edge_type);
        }
    }
    Ok(out)
}

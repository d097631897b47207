//! Heterogeneous graphs under a schema: typed nodes and edges, features stored separately, batched as a disjoint union with
//! the CSR adjacency that message passing walks.
//!
//! - [`Graph`]: one node type and one edge list on a device: what a convolution takes; [`Graph::from_edges`] makes one.
//! - [`Schema`]: which node types and edge types exist and how wide their features are.
//! - [`HeteroGraph`]: one graph, in host memory, validated against its schema.
//! - [`NodeStore`]: where the features of a node type are: in the graph, in a table of the cohort, or one value per named
//!   node.
//! - [`HeteroBatch`]: several graphs as one, as tensors on a device.
//! - [`SharedTopology`]: the graph that many patients share, stored once.
//! - [`geometry`]: graphs from points (radius, nearest neighbours) and farthest point sampling.
//!
//! # Example
//!
//! ```
//! use candle_core::Device;
//! use oncograph_graph::{HeteroBatch, HeteroGraph, Schema};
//! use std::sync::Arc;
//!
//! # fn main() -> oncograph_graph::Result<()> {
//! let schema = Arc::new(
//!     Schema::new().node("organ", 2).node("clinical", 3).edge("clinical", "describes", "organ", 0),
//! );
//! let graph = HeteroGraph::builder(schema)
//!     .nodes("organ", 2, vec![0.1, 0.2, 0.3, 0.4])
//!     .nodes("clinical", 1, vec![63.0, 1.0, 0.0])
//!     .edges(("clinical", "describes", "organ"), vec![0, 0], vec![0, 1], vec![])
//!     .build()?;
//! let batch = HeteroBatch::new(&[&graph, &graph], &Device::Cpu)?;
//! assert_eq!(batch.features("organ")?.dims(), [4, 2]);
//! # Ok(())
//! # }
//! ```

mod batch;
mod error;
pub mod geometry;
mod graph;
mod hetero;
mod joint_nodes;
mod schema;
mod shared_topology;
mod store;
mod typed_edges;
mod view;

pub use batch::HeteroBatch;
pub use error::{Error, Result};
pub use graph::Graph;
pub use hetero::{EdgeSet, HeteroGraph, HeteroGraphBuilder, NodeSet};
pub use oncograph_nn::segment::Adjacency;
pub use schema::{EdgeType, NodeType, Schema};
pub use shared_topology::SharedTopology;
pub use store::NodeStore;
pub use typed_edges::TypedEdges;
pub use view::{NodeRef, to_petgraph};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

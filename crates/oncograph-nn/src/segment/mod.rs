//! Reductions over the edges of a graph: the arithmetic under message passing, pooling and attention.
//!
//! An [`Adjacency`] holds the edges twice, sorted by target and by source. Forward passes walk the first and
//! backward passes the second, so that no pass needs an edge-sized intermediate or an atomic addition, and every
//! sum is taken in the order of the edge list whatever the number of threads.
//!
//! The kernels run on the CPU and on CUDA devices in f32 and f64; elsewhere they return an error that names the operation.
//! On a CUDA device the lists of a graph are copied there on first use, and kept.

mod adjacency;
mod attention;
mod attention_v2;
mod edge_conditioned;
mod gather;
mod gather_reduce;
mod kernel;
mod loop_fill;
mod own_loops;
mod propagate;
mod row_linear;
mod selection;
mod simd;
mod softmax;

pub use adjacency::{Adjacency, Csr, SelfLoops, SharedNeighbourhoods};
pub use attention::graph_attention;
pub use attention_v2::graph_attention_v2;
pub use edge_conditioned::{edge_conditioned, edge_conditioned_fits};
pub use gather_reduce::{Reduce, gather_reduce, gather_reduce_weighted, segment_reduce};
pub use loop_fill::with_loop_rows;
pub use own_loops::OwnLoops;
pub use propagate::{Neighbourhood, propagate, propagate_fits};
pub use row_linear::{row_linear, row_linear_onto};
pub use selection::RowSelection;
pub(crate) use simd::{Kernel, vectorized};
pub use softmax::segment_softmax;

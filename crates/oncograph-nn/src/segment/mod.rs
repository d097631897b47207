//! Reductions over the edges of a graph: the arithmetic under message passing, pooling and attention.
//!
//! An [`Adjacency`] holds the edges twice, sorted by target and by source. Forward passes walk the first and
//! backward passes the second, so that no pass needs an edge-sized intermediate or an atomic addition, and every
//! sum is taken in the order of the edge list whatever the number of threads.
//!
//! The kernels run on the CPU in f32 and f64; on another device they return an error that names the operation.

mod adjacency;
mod gather_reduce;
mod kernel;
mod softmax;

pub use adjacency::{Adjacency, Csr};
pub use gather_reduce::{Reduce, gather_reduce, gather_reduce_weighted, segment_reduce};
pub use softmax::segment_softmax;

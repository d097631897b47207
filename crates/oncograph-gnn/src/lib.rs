//! Message passing on candle: convolutions and pooling over the CSR adjacency of `oncograph-graph`.
//!
//! Every convolution implements [`MessagePassing`]: `forward` on a [`Graph`](oncograph_graph::Graph), or
//! `forward_bipartite` from source to target nodes. Names and defaults are PyTorch Geometric's, so that its
//! `state_dict` loads without a map; reductions run in the order of the edge list and give the same bits on any
//! number of threads.
//!
//! | layer | paper | PyTorch Geometric |
//! |---|---|---|
//! | [`SageConv`] | Hamilton et al. 2017 | `SAGEConv` |
//! | [`GcnConv`] | Kipf and Welling 2017 | `GCNConv` |
//! | [`GatConv`] | Velickovic et al. 2018 | `GATConv` |

mod error;
mod gat;
mod gcn;
mod masked;
mod message_passing;
mod pool;
mod sage;
mod self_loops;

pub use error::{Error, Result};
pub use gat::{EdgeFill, GatConfig, GatConv};
pub use gcn::{GcnConfig, GcnConv};
pub use masked::MaskedMessagePassing;
pub use message_passing::MessagePassing;
pub use oncograph_nn::segment::{Adjacency, Reduce};
pub use pool::global_pool;
pub use sage::{SageConfig, SageConv};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

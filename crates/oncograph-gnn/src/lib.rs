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
//! | [`Gatv2Conv`] | Brody et al. 2022 | `GATv2Conv` |
//! | [`NnConv`] | Gilmer et al. 2017 | `NNConv` |
//! | [`HeteroConv`] | Schlichtkrull et al. 2018 | `HeteroConv` |
//! | [`HeteroSage`] | | `to_hetero` of a stack of `SAGEConv` |
//! | [`global_pool`] | | `global_add_pool`, `global_mean_pool`, `global_max_pool` |
//! | [`AttentionalAggregation`] | Li et al. 2019 | `AttentionalAggregation` |

mod aggregation;
mod attentional_aggregation;
mod error;
mod gat;
mod gatv2;
mod gcn;
mod hetero_sage;
mod heteroconv;
mod masked;
mod message_passing;
mod nnconv;
mod pool;
mod sage;
mod sage_pooled;
mod self_loops;
mod sequential;

pub use aggregation::{Aggregation, Aggregator};
pub use attentional_aggregation::{AttentionalAggregation, AttentionalAggregationConfig};
pub use error::{Error, Result};
pub use gat::{GatConfig, GatConv};
pub use gatv2::{Gatv2Config, Gatv2Conv};
pub use gcn::{GcnConfig, GcnConv};
pub use hetero_sage::{HeteroSage, HeteroSageConfig};
pub use heteroconv::{ConvConfig, EdgeKey, HeteroAggregation, HeteroConv, HeteroConvConfig, NodeFeatures};
pub use masked::MaskedMessagePassing;
pub use message_passing::MessagePassing;
pub use nnconv::{NnConv, NnConvConfig};
pub use oncograph_graph::Adjacency;
pub use oncograph_nn::segment::Reduce;
pub use pool::global_pool;
pub use sage::{SageConfig, SageConv};
pub use self_loops::EdgeFill;
pub use sequential::{Sequential, SequentialConfig};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

//! Learning on medical images, omics and clinical records as graphs, on candle.
//!
//! This crate only re-exports; each module is a separate crate that can be used without the rest.
//!
//! | module | crate | what it is for |
//! |---|---|---|
//! | [`core`] | `oncograph-core` | seeds, censored times, splits, patient tables |
//! | [`nn`] | `oncograph-nn` | the layers and optimizers that candle lacks |
//! | [`imaging`] | `oncograph-imaging` | oriented volumes: NIfTI, DICOM, DICOM SEG, resampling |
//! | [`metrics`] | `oncograph-metrics` | statistics for clinical prediction |
//! | [`graph`] | `oncograph-graph` | heterogeneous graphs and batches |
//! | [`encoder`] | `oncograph-encoder` | 3D image encoders |
//! | [`losses`] | `oncograph-losses` | survival, contrastive and temporal losses |
//! | [`gnn`] | `oncograph-gnn` | message passing |
//! | [`datasets`] | `oncograph-datasets` | cohort readers, phantoms, splits, scalers |
//! | [`train`] | `oncograph-train` | training loops that resume bit for bit |
//! | [`study`] | `oncograph-study` | evaluation of any system: folds, one scoring rule, baselines |
//! | [`spatiotemporal`] | `oncograph-spatiotemporal` | STG, the network for colorectal liver metastases |
//! | [`brain`] | `oncograph-brain` | encoders for glioma: tumour image, surface, brain network |
//! | [`omics`] | `oncograph-omics` | the multi-modal network on genes, proteins, laboratory values and images |
//! | [`explain`] | `oncograph-explain` | Grad-CAM, GNNExplainer, integrated gradients |
//! | [`report`] | `oncograph-report` | tables, charts, overlays, connectomes and pages of them |
//! | [`deploy`] | `oncograph-deploy` | bundles of trained models, the clinical report of one patient, FHIR |
//!
//! Each module but `core` and `nn` is a feature of its name; all are on by default. `cli` adds the command line that programs
//! share, `parquet` Parquet tables, `cuda`, `cudnn`, `nccl`, `mkl`, `accelerate` and `metal` choose a backend.

#[cfg(feature = "brain")]
pub use oncograph_brain as brain;
pub use oncograph_core as core;
#[cfg(feature = "datasets")]
pub use oncograph_datasets as datasets;
#[cfg(feature = "deploy")]
pub use oncograph_deploy as deploy;
#[cfg(feature = "encoder")]
pub use oncograph_encoder as encoder;
#[cfg(feature = "explain")]
pub use oncograph_explain as explain;
#[cfg(feature = "gnn")]
pub use oncograph_gnn as gnn;
#[cfg(feature = "graph")]
pub use oncograph_graph as graph;
#[cfg(feature = "imaging")]
pub use oncograph_imaging as imaging;
#[cfg(feature = "losses")]
pub use oncograph_losses as losses;
#[cfg(feature = "metrics")]
pub use oncograph_metrics as metrics;
pub use oncograph_nn as nn;
#[cfg(feature = "omics")]
pub use oncograph_omics as omics;
#[cfg(feature = "report")]
pub use oncograph_report as report;
#[cfg(feature = "spatiotemporal")]
pub use oncograph_spatiotemporal as spatiotemporal;
#[cfg(feature = "study")]
pub use oncograph_study as study;
#[cfg(feature = "train")]
pub use oncograph_train as train;

/// What most programs need: `use oncograph::prelude::*`.
///
/// # Example
///
/// A GraphSAGE layer that learns the classes of six nodes from an edge list:
///
/// ```
/// use oncograph::prelude::*;
///
/// # #[cfg(feature = "gnn")]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     // Two triangles; each node of a triangle has the class of the others.
///     let (sources, targets) = ([0, 1, 2, 3, 4, 5], [1, 2, 0, 4, 5, 3]);
///     let graph = Graph::from_edges(6, &sources, &targets)?;
///     let x = Tensor::new(&[[0.9f32, 0.1], [0.2, 0.3], [0.7, 0.2], [0.1, 0.8], [0.4, 0.3], [0.2, 0.9]], &Device::Cpu)?;
///     let wanted = Tensor::new(&[[1f32], [1.0], [1.0], [-1.0], [-1.0], [-1.0]], &Device::Cpu)?;
///
///     let store = ParamStore::new(Seed::new(7));
///     let layer = SageConfig::new(2, 1).build(store.var_builder(DType::F32, &Device::Cpu))?;
///     let mut optimizer = AdamW::new(AdamWConfig::new(0.05).weight_decay(0.0))?;
///     for _ in 0..200 {
///         let loss = (layer.forward(&x, &graph)? - &wanted)?.sqr()?.mean_all()?;
///         optimizer.step(&store, &store.backward(&loss)?)?;
///     }
///     let scores = layer.forward(&x, &graph)?.flatten_all()?.to_vec1::<f32>()?;
///     assert!(scores[..3].iter().all(|s| *s > 0.0) && scores[3..].iter().all(|s| *s < 0.0));
///     Ok(())
/// }
/// # #[cfg(not(feature = "gnn"))]
/// # fn main() {}
/// ```
pub mod prelude {
    pub use candle_core::{DType, Device, Tensor};
    pub use oncograph_core::{FollowUp, Seed, Split, Table};
    #[cfg(feature = "gnn")]
    pub use oncograph_gnn::{MessagePassing, SageConfig, SageConv};
    #[cfg(feature = "graph")]
    pub use oncograph_graph::{Adjacency, Graph, HeteroBatch, HeteroGraph, Schema};
    #[cfg(feature = "imaging")]
    pub use oncograph_imaging::{Grid, Volume};
    pub use oncograph_nn::optim::{AdamW, AdamWConfig, Optimizer};
    pub use oncograph_nn::{Mode, Module, ParamStore};
    #[cfg(feature = "train")]
    pub use oncograph_train::{FitConfig, Learner, OptimizerConfig, StepLoss, StopFlag, Validation, fit};
}

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

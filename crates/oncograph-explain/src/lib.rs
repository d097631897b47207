//! Explanations of predictions: which voxels, features, nodes and edges a model's output rests on.
//!
//! Every method takes the model as a function from tensors to a tensor, so that it works with any model on candle.
//!
//! | function or type | what it explains by | reference |
//! |---|---|---|
//! | [`grad_cam`] | the feature map of a convolution | Selvaraju et al. 2017, captum's `LayerGradCam` |
//! | [`integrated_gradients`] | the input | Sundararajan et al. 2017, captum's `IntegratedGradients` |
//! | [`saliency`] | the input | Simonyan et al. 2014, captum's `Saliency` |
//! | [`GnnExplainer`] | node features and edges | Ying et al. 2019, PyTorch Geometric's `GNNExplainer` |
//! | [`over_representation`] | sets of genes among the most important ones | `scipy.stats.hypergeom`, gseapy |
//! | [`prerank`] | sets of genes in a ranking | Subramanian et al. 2005, gseapy's `prerank` |
//! | [`rank_stability`] | how alike several rankings are | Kendall's tau |
//!
//! [`cam_volume`] puts a class activation map on the scan and [`cam_point_correlation`] compares it with the attention of
//! surface points; [`mirrored_mean`], [`kept_tracts`], [`tract_density`] and [`compare_tracts`] read the edge masks of brain
//! networks.
//!
//! An explanation shows what the model used, not what is true of the patient. For research only.

mod cam_volume;
mod connectome;
mod enrichment;
mod error;
mod gnn_explainer;
mod grad_cam;
mod integrated_gradients;
mod prerank;
mod quadrature;
mod stability;
mod target;

pub use cam_volume::{cam_point_correlation, cam_volume};
pub use connectome::{
    TractComparison, TractCount, compare_tracts, kept_tracts, mirrored_mean, tract_density,
};
pub use enrichment::{Enriched, EnrichmentConfig, over_representation};
pub use error::{Error, ModelResult, Result};
pub use gnn_explainer::{
    Explanation, GnnExplainer, GnnExplainerCoefficients, GnnExplainerConfig, MaskReduction, Masks,
    NodeMaskType, Objective,
};
pub use grad_cam::grad_cam;
pub use integrated_gradients::{
    IntegratedGradients, IntegratedGradientsConfig, QuadratureMethod, integrated_gradients, saliency,
};
pub use prerank::{Prerank, PrerankConfig, RankedSet, prerank};
pub use stability::{RankStability, rank_stability};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

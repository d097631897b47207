//! 3D image encoders on candle: `r3d_18` and relatives, MONAI's and MedicalNet's ResNets, MONAI's DenseNet, with PyTorch
//! parameter names, and readers of published checkpoints.
//!
//! A scan \[batch, channels, depth, height, width\] becomes a feature map or a vector. For the encoding of a cohort,
//! [`VideoResNet::folded`] gives the same model with every norm folded into its convolution.
//!
//! # Example
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use oncograph_encoder::VideoResNetConfig;
//! use oncograph_nn::{ParamStore, Seed};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = ParamStore::new(Seed::new(7));
//! let config = VideoResNetConfig::r3d_18(1).base_width(2);
//! let model = config.build(store.var_builder(DType::F32, &Device::Cpu))?;
//! let scan = Tensor::zeros((1, 1, 8, 32, 32), DType::F32, &Device::Cpu)?;
//! assert_eq!(model.forward_pooled(&scan, [1; 3], false)?.dims(), [1, config.feature_channels()]);
//! # Ok(())
//! # }
//! ```

mod blocked;
mod chain;
mod checkpoint;
mod dense_net;
mod error;
mod monai_resnet;
mod pth;
mod self_built_cnn;
mod video_resnet;

pub use checkpoint::{Checkpoint, LoadReport, fold_stem};
pub use dense_net::{DenseNet, DenseNetConfig};
pub use error::{Error, Result};
pub use monai_resnet::{FoldedMonaiResNet, MonaiResNet, MonaiResNetConfig, ResNetBlock, ShortcutType};
pub use self_built_cnn::{SelfBuiltCnn, SelfBuiltCnnConfig};
pub use video_resnet::{FoldedVideoResNet, Pyramid, VideoResNet, VideoResNetConfig, VideoResNetKind};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

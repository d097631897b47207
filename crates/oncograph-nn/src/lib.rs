//! The half of `candle-nn` that learning on medical images and graphs needs: 3D convolution and pooling, segment
//! operations on CSR adjacency, recurrent layers, norms and softmax whose gradients flow, seeded parameters, and
//! optimizers and schedulers whose state can be saved.
//!
//! A layer is a struct, a constructor that takes a [`candle_nn::VarBuilder`], and `forward`, as in `candle-nn`.
//! Parameter names are PyTorch's, so a `state_dict` loads without a map.
//!
//! # Example
//!
//! ```
//! use candle_core::{DType, Device};
//! use oncograph_nn::{ParamStore, Seed};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = ParamStore::new(Seed::new(7));
//! let vb = store.var_builder(DType::F32, &Device::Cpu);
//! let layer = candle_nn::linear(3, 2, vb.pp("head"))?;
//! assert_eq!(store.names(), ["head.bias", "head.weight"]);
//! # let _ = layer; Ok(())
//! # }
//! ```

mod activation;
mod attention;
pub mod conv3d;
#[cfg(feature = "cuda")]
#[doc(hidden)]
pub mod cuda;
mod cuda_on_host;
mod device;
mod dropout;
mod element;
mod error;
mod gemm;
mod gradients;
mod interpolate;
pub mod lstm;
mod mlp;
mod mode;
pub mod norm;
pub mod optim;
mod parallel;
mod params;
pub mod pool;
pub mod portable;
mod precision;
mod rows;
pub mod scheduler;
pub mod segment;
#[doc(hidden)]
pub mod testing;
pub mod transformer;
mod vector_math;

pub use activation::{Activation, add_relu, linear, linear_no_bias, log_softmax, relu, softmax};
pub use attention::{AttentionMasks, AttentionOutput, MultiheadAttention, MultiheadAttentionConfig};
pub use candle_nn::{Linear, Module, VarBuilder};
pub use device::{DeviceError, DeviceSpec};
pub use dropout::Dropout;
pub use error::{Error, Result};
pub use gradients::Gradients;
pub use interpolate::{InterpolateConfig, InterpolateMode, interpolate};
pub use mlp::{Mlp, MlpConfig};
pub use mode::Mode;
pub use oncograph_core::Seed;
pub use params::{ParamStore, save_tensors};
pub use precision::{Precision, with_precision};
pub use rows::{log_sum_exp, unit_rows};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

//! The feature `cuda`: how the operations of this workspace run on a CUDA device.
//!
//! [`launch`] has what every kernel needs; a file here launches those of the file of the same name in `oncograph-kernels`.

#[doc(hidden)]
pub mod assemble;
pub(crate) mod attention;
pub(crate) mod attention_v2;
mod bf16;
pub(crate) mod conv3d;
#[doc(hidden)]
pub mod cox;
#[cfg(feature = "cudnn")]
mod cudnn;
mod divide;
pub(crate) mod dropout;
pub(crate) mod edge_conditioned;
pub(crate) mod elementwise;
mod gemm;
pub(crate) mod interpolate;
pub(crate) mod launch;
pub(crate) mod lists;
pub(crate) mod lstm;
pub(crate) mod memory;
pub(crate) mod norm;
mod on_host;
pub(crate) mod optim;
pub(crate) mod pool;
mod profile;
pub(crate) mod propagate;
pub(crate) mod rows;
pub(crate) mod segment;
pub(crate) mod selection;
pub(crate) mod softmax;
pub(crate) mod tensors;

pub use conv3d::without_cudnn;
pub use lists::OnDevice;
pub use on_host::{by_host, on_host};
pub use profile::ProfiledStep;

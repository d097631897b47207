#![doc = include_str!("../README.md")]

/// Kernels that are loaded together, for one type of numbers.
#[derive(Debug, Clone, Copy)]
pub struct Module {
    /// Its name among the modules of a device.
    pub name: &'static str,
    /// What the driver loads.
    pub ptx: &'static str,
}

/// A file of kernels.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    /// Compiled for f32.
    pub f32: Module,
    /// Compiled for f64.
    pub f64: Module,
}

#[cfg(feature = "nvcc")]
macro_rules! module {
    ($name:literal, $suffix:literal) => {
        Module {
            name: concat!("oncograph-", $name, "-", $suffix),
            ptx: include_str!(concat!(env!("OUT_DIR"), "/", $name, "_", $suffix, ".ptx")),
        }
    };
}

#[cfg(feature = "nvcc")]
macro_rules! kernels {
    ($name:literal) => {
        Kernels { f32: module!($name, "f32"), f64: module!($name, "f64") }
    };
}

/// The node features of STG's graphs.
#[cfg(feature = "nvcc")]
pub const ASSEMBLE: Kernels = kernels!("assemble");

/// Attention over the edges of each target.
#[cfg(feature = "nvcc")]
pub const ATTENTION: Kernels = kernels!("attention");

/// Attention whose logits see both ends of an edge.
#[cfg(feature = "nvcc")]
pub const ATTENTION_V2: Kernels = kernels!("attention_v2");

/// 3D convolution as products of matrices.
#[cfg(feature = "nvcc")]
pub const CONV3D: Kernels = kernels!("conv3d");

/// Cox's partial likelihood.
#[cfg(feature = "nvcc")]
pub const COX: Kernels = kernels!("cox");

/// Dropout.
#[cfg(feature = "nvcc")]
pub const DROPOUT: Kernels = kernels!("dropout");

/// Sums of messages under a matrix per edge.
#[cfg(feature = "nvcc")]
pub const EDGE_CONDITIONED: Kernels = kernels!("edge_conditioned");

/// ReLU and what is fused with it.
#[cfg(feature = "nvcc")]
pub const ELEMENTWISE: Kernels = kernels!("elementwise");

/// Interpolation along an axis.
#[cfg(feature = "nvcc")]
pub const INTERPOLATE: Kernels = kernels!("interpolate");

/// The cell of an LSTM.
#[cfg(feature = "nvcc")]
pub const LSTM: Kernels = kernels!("lstm");

/// Batch, layer and group normalisation.
#[cfg(feature = "nvcc")]
pub const NORM: Kernels = kernels!("norm");

/// Optimizers, and gradients as one vector.
#[cfg(feature = "nvcc")]
pub const OPTIM: Kernels = kernels!("optim");

/// Pooling of volumes.
#[cfg(feature = "nvcc")]
pub const POOL: Kernels = kernels!("pool");

/// Sums over neighbours between linear maps.
#[cfg(feature = "nvcc")]
pub const PROPAGATE: Kernels = kernels!("propagate");

/// Softmax and the like of each row of a matrix.
#[cfg(feature = "nvcc")]
pub const ROWS: Kernels = kernels!("rows");

/// Reductions over the edges of a graph, and graph layers.
#[cfg(feature = "nvcc")]
pub const SEGMENT: Kernels = kernels!("segment");

/// Softmax over the edges of each target.
#[cfg(feature = "nvcc")]
pub const SOFTMAX: Kernels = kernels!("softmax");

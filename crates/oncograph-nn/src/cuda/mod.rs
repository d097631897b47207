//! The feature `cuda`: how the operations of this workspace run on a CUDA device. Without it nothing here is compiled
//! but an empty macro.
//!
//! [`launch`] has what every kernel needs; a file here launches those of the file of the same name in `oncograph-kernels`.

#[cfg(feature = "cuda")]
#[doc(hidden)]
pub mod assemble;
#[cfg(feature = "cuda")]
pub(crate) mod attention;
#[cfg(feature = "cuda")]
pub(crate) mod attention_v2;
#[cfg(feature = "cuda")]
pub(crate) mod conv3d;
#[cfg(feature = "cuda")]
#[doc(hidden)]
pub mod cox;
#[cfg(feature = "cudnn")]
mod cudnn;
#[cfg(feature = "cuda")]
mod divide;
#[cfg(feature = "cuda")]
pub(crate) mod dropout;
#[cfg(feature = "cuda")]
pub(crate) mod edge_conditioned;
#[cfg(feature = "cuda")]
pub(crate) mod elementwise;
#[cfg(feature = "cuda")]
mod gemm;
#[cfg(feature = "cuda")]
pub(crate) mod interpolate;
#[cfg(feature = "cuda")]
pub mod launch;
#[cfg(feature = "cuda")]
pub(crate) mod lists;
#[cfg(feature = "cuda")]
pub(crate) mod lstm;
#[cfg(feature = "cuda")]
pub(crate) mod memory;
#[cfg(feature = "cuda")]
pub(crate) mod norm;
#[cfg(feature = "cuda")]
mod on_host;
#[cfg(feature = "cuda")]
pub(crate) mod optim;
#[cfg(feature = "cuda")]
pub(crate) mod pool;
#[cfg(feature = "cuda")]
mod profile;
#[cfg(feature = "cuda")]
pub(crate) mod propagate;
#[cfg(feature = "cuda")]
pub(crate) mod segment;
#[cfg(feature = "cuda")]
pub(crate) mod selection;
#[cfg(feature = "cuda")]
pub(crate) mod softmax;
#[cfg(feature = "cuda")]
pub(crate) mod tensors;

#[cfg(feature = "cuda")]
pub use conv3d::without_cudnn;
#[cfg(feature = "cuda")]
pub use lists::OnDevice;
#[cfg(feature = "cuda")]
pub use on_host::{by_host, on_host};
#[cfg(feature = "cuda")]
pub use profile::ProfiledStep;

/// Gives an operation of the CPU a way to run on a CUDA device, through the memory of the host.
///
/// One line inside an `impl` of candle's `CustomOp1`, `CustomOp2` or `CustomOp3`, which it names. It becomes a
/// `cuda_fwd` where `oncograph-nn` is built with the feature `cuda`, and nothing where it is not. An operation that
/// gets a kernel replaces the line by its own `cuda_fwd`.
///
/// ```
/// use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor};
///
/// struct Twice;
///
/// impl CustomOp1 for Twice {
///     fn name(&self) -> &'static str {
///         "twice"
///     }
///
///     fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
///         let Some((from, to)) = layout.contiguous_offsets() else { candle_core::bail!("not contiguous") };
///         let y = x.as_slice::<f32>()?[from..to].iter().map(|x| 2.0 * x).collect();
///         Ok((CpuStorage::F32(y), layout.shape().clone()))
///     }
///
///     oncograph_nn::cuda_on_host!(CustomOp1);
/// }
///
/// # fn main() -> Result<()> {
/// let x = Tensor::new(&[1f32, 4.0], &Device::Cpu)?;
/// assert_eq!(x.apply_op1_no_bwd(&Twice)?.to_vec1::<f32>()?, [2.0, 8.0]);
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "cuda")]
#[macro_export]
macro_rules! cuda_on_host {
    (CustomOp1) => {
        $crate::cuda_on_host!(CustomOp1: x, x_layout);
    };
    (CustomOp2) => {
        $crate::cuda_on_host!(CustomOp2: x, x_layout, y, y_layout);
    };
    (CustomOp3) => {
        $crate::cuda_on_host!(CustomOp3: x, x_layout, y, y_layout, z, z_layout);
    };
    ($operation:ident: $($operand:ident, $layout:ident),+) => {
        fn cuda_fwd(
            &self,
            $($operand: &candle_core::CudaStorage, $layout: &candle_core::Layout),+
        ) -> candle_core::Result<(candle_core::CudaStorage, candle_core::Shape)> {
            let name = candle_core::$operation::name(self);
            $crate::cuda::on_host(name, [$(($operand, $layout)),+], |[$($operand),+]| {
                candle_core::$operation::cpu_fwd(self, $($operand.0, $operand.1),+)
            })
        }
    };
}

/// Nothing: the feature `cuda` is off.
#[cfg(not(feature = "cuda"))]
#[macro_export]
macro_rules! cuda_on_host {
    ($operation:ident) => {};
}

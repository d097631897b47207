//! The way by the host, for operations without a kernel.

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

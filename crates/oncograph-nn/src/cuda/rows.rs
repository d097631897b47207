//! What is done to each row of a matrix, by the kernels of `rows.cu`.
#![allow(unsafe_code)]

use super::launch::{Operand, Packed, config, function, result, storage};
use crate::cuda::launch::with_real;
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::WrapErr as _;
use candle_core::cuda_backend::cudarc::driver::PushKernelArg as _;
use candle_core::{CudaStorage, Result, Shape};
use oncograph_kernels::ROWS;

/// `kernel` on the rows of the first operand, which lie along its last dimension: a warp for each. The kernel takes
/// `operands`, its result of `shape`, `eps` if there is one, the number of rows and their width.
fn each_row<const N: usize>(
    kernel: &str,
    operands: [Operand; N],
    eps: Option<f64>,
    shape: Shape,
) -> Result<(CudaStorage, Shape)> {
    const WARPS: u32 = 8;
    let (device, layout) = (operands[0].0.device(), operands[0].1);
    let op = kernel.trim_end_matches("_gradient");
    let width = layout.dims().last().copied().unwrap_or(1);
    let rows = (layout.shape().elem_count() / width.max(1)) as u32;
    with_real!(op, operands[0].0.dtype(), T => {
        let mut y = result::<T>(device, op, shape.elem_count())?;
        if rows > 0 {
            let packed = operands.map(|(storage, layout)| Packed::new(storage, layout));
            let packed = packed.into_iter().collect::<Result<Vec<_>>>()?;
            let views = packed.iter().map(Packed::view::<T>).collect::<Result<Vec<_>>>()?;
            let (eps, width) = (eps.map(<T as candle_core::WithDType>::from_f64), width as u32);
            let function = function::<T>(device, &ROWS, kernel)?;
            let mut launch = function.builder();
            views.iter().for_each(|view| {
                launch.arg(view);
            });
            launch.arg(&mut y);
            eps.iter().for_each(|eps| {
                launch.arg(eps);
            });
            launch.arg(&rows).arg(&width);
            // SAFETY: as the kernel declares them: operands have `rows` rows of `width` or a number for each.
            unsafe { launch.launch(config(rows.div_ceil(WARPS), (32, WARPS))) }.w()?;
        }
        Ok((storage(y, device), shape))
    })
}

/// The softmax of each row.
pub(crate) fn softmax(x: Operand) -> Result<(CudaStorage, Shape)> {
    each_row("softmax", [x], None, x.1.shape().clone())
}

/// Its gradient from the softmax `y` and what comes back.
pub(crate) fn softmax_gradient(y: Operand, dy: Operand) -> Result<(CudaStorage, Shape)> {
    each_row("softmax_gradient", [y, dy], None, y.1.shape().clone())
}

/// The logarithm of the sum of the exponentials of each row, of which there is at least one element.
pub(crate) fn log_sum_exp(x: Operand) -> Result<(CudaStorage, Shape)> {
    let dims = x.1.dims();
    each_row("log_sum_exp", [x], None, Shape::from(&dims[..dims.len().saturating_sub(1)]))
}

/// Its gradient from the input, the result and what comes back.
pub(crate) fn log_sum_exp_gradient(x: Operand, y: Operand, dy: Operand) -> Result<(CudaStorage, Shape)> {
    each_row("log_sum_exp_gradient", [x, y, dy], None, x.1.shape().clone())
}

/// Each row over its length, the root of the sum of squares and `eps`.
pub(crate) fn unit_rows(x: Operand, eps: f64) -> Result<(CudaStorage, Shape)> {
    each_row("unit_rows", [x], Some(eps), x.1.shape().clone())
}

/// Its gradient from the input and what comes back.
pub(crate) fn unit_rows_gradient(x: Operand, dy: Operand, eps: f64) -> Result<(CudaStorage, Shape)> {
    each_row("unit_rows_gradient", [x, dy], Some(eps), x.1.shape().clone())
}

//! ReLU and what is fused with it, by the kernels of `elementwise.cu`.
#![allow(unsafe_code)]

use super::launch::{Operand, Packed, function, per_element, result, storage};
use crate::cuda::launch::{launch, with_real};
use candle_core::backend::BackendStorage as _;
use candle_core::{CudaStorage, Result, Shape};
use oncograph_kernels::ELEMENTWISE;

/// `y[i] = kernel(x[i])`.
pub(crate) fn unary(kernel: &str, (x, layout): Operand) -> Result<(CudaStorage, Shape)> {
    let (device, count) = (x.device(), layout.shape().elem_count());
    with_real!(kernel, x.dtype(), T => {
        let mut y = result::<T>(device, kernel, count)?;
        if count > 0 {
            let x = Packed::new(x, layout)?;
            let function = function::<T>(device, &ELEMENTWISE, kernel)?;
            // SAFETY: as the kernel declares them, with `count` elements each.
            unsafe { launch!(function, per_element(count), &x.view::<T>()?, &mut y, &(count as u64)) }?;
        }
        Ok((storage(y, device), layout.shape().clone()))
    })
}

/// `y[i] = kernel(a[i], b[i])`, of one shape.
pub(crate) fn binary(
    kernel: &str,
    (a, a_layout): Operand,
    (b, b_layout): Operand,
) -> Result<(CudaStorage, Shape)> {
    let (device, count) = (a.device(), a_layout.shape().elem_count());
    with_real!(kernel, a.dtype(), T => {
        let mut y = result::<T>(device, kernel, count)?;
        if count > 0 {
            let (a, b) = (Packed::new(a, a_layout)?, Packed::new(b, b_layout)?);
            let (a, b) = (a.view::<T>()?, b.view::<T>()?);
            let function = function::<T>(device, &ELEMENTWISE, kernel)?;
            // SAFETY: as the kernel declares them, with `count` elements each.
            unsafe { launch!(function, per_element(count), &a, &b, &mut y, &(count as u64)) }?;
        }
        Ok((storage(y, device), a_layout.shape().clone()))
    })
}

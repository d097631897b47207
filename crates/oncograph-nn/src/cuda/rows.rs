//! What is done to each row of a matrix, by the kernels of `rows.cu`.
#![allow(unsafe_code)]

use super::launch::{Operand, Packed, Real, config, function, result, storage};
use crate::cuda::launch::{launch, with_real};
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::LaunchConfig;
use candle_core::{CudaStorage, Layout, Result, Shape};
use oncograph_kernels::ROWS;

/// Rows and their width; a row is what lies along the last dimension.
fn matrix(layout: &Layout) -> (u32, u32) {
    let width = layout.dims().last().copied().unwrap_or(1);
    let rows = layout.shape().elem_count() / width.max(1);
    (rows as u32, width as u32)
}

/// A warp for each row.
fn per_warp(rows: u32) -> LaunchConfig {
    const WARPS: u32 = 8;
    config(rows.div_ceil(WARPS), (32, WARPS))
}

/// The softmax of each row.
pub(crate) fn softmax((x, layout): Operand) -> Result<(CudaStorage, Shape)> {
    let (device, (rows, width)) = (x.device(), matrix(layout));
    with_real!("softmax", x.dtype(), T => {
        let mut y = result::<T>(device, "softmax", layout.shape().elem_count())?;
        if rows > 0 {
            let x = Packed::new(x, layout)?;
            let function = function::<T>(device, &ROWS, "softmax")?;
            // SAFETY: as the kernel declares them, with `rows` rows of `width`.
            unsafe { launch!(function, per_warp(rows), &x.view::<T>()?, &mut y, &rows, &width) }?;
        }
        Ok((storage(y, device), layout.shape().clone()))
    })
}

/// Its gradient from the softmax `y` and what comes back.
pub(crate) fn softmax_gradient((y, layout): Operand, dy: Operand) -> Result<(CudaStorage, Shape)> {
    let (device, (rows, width)) = (y.device(), matrix(layout));
    with_real!("softmax", y.dtype(), T => {
        let mut dx = result::<T>(device, "softmax", layout.shape().elem_count())?;
        if rows > 0 {
            let (y, dy) = (Packed::new(y, layout)?, Packed::new(dy.0, dy.1)?);
            let (y, dy) = (y.view::<T>()?, dy.view::<T>()?);
            let function = function::<T>(device, &ROWS, "softmax_gradient")?;
            // SAFETY: as the kernel declares them, each of one shape.
            unsafe { launch!(function, per_warp(rows), &y, &dy, &mut dx, &rows, &width) }?;
        }
        Ok((storage(dx, device), layout.shape().clone()))
    })
}

/// The logarithm of the sum of the exponentials of each row, of which there is at least one element.
pub(crate) fn log_sum_exp((x, layout): Operand) -> Result<(CudaStorage, Shape)> {
    let (device, (rows, width)) = (x.device(), matrix(layout));
    let shape = Shape::from(&layout.dims()[..layout.dims().len().saturating_sub(1)]);
    with_real!("log_sum_exp", x.dtype(), T => {
        let mut y = result::<T>(device, "log_sum_exp", rows as usize)?;
        if rows > 0 {
            let x = Packed::new(x, layout)?;
            let function = function::<T>(device, &ROWS, "log_sum_exp")?;
            // SAFETY: as the kernel declares them, with a number per row.
            unsafe { launch!(function, per_warp(rows), &x.view::<T>()?, &mut y, &rows, &width) }?;
        }
        Ok((storage(y, device), shape))
    })
}

/// Its gradient from the input, the result and what comes back.
pub(crate) fn log_sum_exp_gradient(
    (x, layout): Operand,
    y: Operand,
    dy: Operand,
) -> Result<(CudaStorage, Shape)> {
    let (device, (rows, width)) = (x.device(), matrix(layout));
    with_real!("log_sum_exp", x.dtype(), T => {
        let mut dx = result::<T>(device, "log_sum_exp", layout.shape().elem_count())?;
        if rows > 0 {
            let (x, y) = (Packed::new(x, layout)?, Packed::new(y.0, y.1)?);
            let dy = Packed::new(dy.0, dy.1)?;
            let (x, y, dy) = (x.view::<T>()?, y.view::<T>()?, dy.view::<T>()?);
            let function = function::<T>(device, &ROWS, "log_sum_exp_gradient")?;
            // SAFETY: as the kernel declares them, y and dy with a number per row.
            unsafe { launch!(function, per_warp(rows), &x, &y, &dy, &mut dx, &rows, &width) }?;
        }
        Ok((storage(dx, device), layout.shape().clone()))
    })
}

/// Each row over its length, the root of the sum of squares and `eps`.
pub(crate) fn unit_rows((x, layout): Operand, eps: f64) -> Result<(CudaStorage, Shape)> {
    let (device, (rows, width)) = (x.device(), matrix(layout));
    with_real!("unit_rows", x.dtype(), T => {
        let mut y = result::<T>(device, "unit_rows", layout.shape().elem_count())?;
        if rows > 0 {
            let (x, eps) = (Packed::new(x, layout)?, real::<T>(eps));
            let function = function::<T>(device, &ROWS, "unit_rows")?;
            // SAFETY: as the kernel declares them, of one shape.
            unsafe { launch!(function, per_warp(rows), &x.view::<T>()?, &mut y, &eps, &rows, &width) }?;
        }
        Ok((storage(y, device), layout.shape().clone()))
    })
}

/// Its gradient from the input and what comes back.
pub(crate) fn unit_rows_gradient(
    (x, layout): Operand,
    dy: Operand,
    eps: f64,
) -> Result<(CudaStorage, Shape)> {
    let (device, (rows, width)) = (x.device(), matrix(layout));
    with_real!("unit_rows", x.dtype(), T => {
        let mut dx = result::<T>(device, "unit_rows", layout.shape().elem_count())?;
        if rows > 0 {
            let (x, dy) = (Packed::new(x, layout)?, Packed::new(dy.0, dy.1)?);
            let (x, dy, eps) = (x.view::<T>()?, dy.view::<T>()?, real::<T>(eps));
            let function = function::<T>(device, &ROWS, "unit_rows_gradient")?;
            // SAFETY: as the kernel declares them, each of one shape.
            unsafe { launch!(function, per_warp(rows), &x, &dy, &mut dx, &eps, &rows, &width) }?;
        }
        Ok((storage(dx, device), layout.shape().clone()))
    })
}

fn real<T: Real>(value: f64) -> T {
    T::from_f64(value)
}

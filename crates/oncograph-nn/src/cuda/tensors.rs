//! Kernels on tensors, for gradients, and products of matrices in the memory of a device.
#![allow(unsafe_code)]

use super::launch::{Packed, function, per_row, result, storage};
use super::segment::Operand;
use crate::{launch, with_real};
use candle_core::backend::{BackendDevice as _, BackendStorage as _};
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, Layout, Result, Shape, Storage, Tensor};
use oncograph_kernels::PROPAGATE;

/// What `run` makes of tensors on a CUDA device, without a gradient.
pub(crate) fn on_device<const N: usize>(
    tensors: [&Tensor; N],
    run: impl FnOnce([Operand; N]) -> Result<(CudaStorage, Shape)>,
) -> Result<Tensor> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut operands = Vec::with_capacity(N);
    for (storage, layout) in &guards {
        match &**storage {
            Storage::Cuda(storage) => operands.push((storage, *layout)),
            _ => candle_core::bail!("operands on different devices"),
        }
    }
    let (y, shape) = run(std::array::from_fn(|i| operands[i]))?;
    Ok(Tensor::from_storage(Storage::Cuda(y), shape, BackpropOp::none(), false))
}

/// The (m, n) product of `a` (m, k) and `b` (k, n), each side by side or the transpose of what is.
pub(super) fn product(a: Operand, b: Operand) -> Result<CudaStorage> {
    let ((m, k), n) = (a.1.shape().dims2()?, b.1.shape().dims2()?.1);
    if m * n * k == 0 {
        return a.0.device().zeros_impl(&Shape::from((m, n)), a.0.dtype());
    }
    a.0.matmul(b.0, (1, m, n, k), a.1, b.1)
}

/// The elements of a layout in their order, in memory of their own.
pub(super) fn copied((x, layout): Operand) -> Result<CudaStorage> {
    let device = x.device();
    // SAFETY: written by the copy below, all of it.
    let mut copy = unsafe { device.alloc_uninit(layout.shape(), x.dtype())? };
    x.copy_strided_src(&mut copy, 0, layout)?;
    Ok(copy)
}

/// The sum of the rows of `x` \[rows, width\], by parts of as many rows as one thread adds.
pub(crate) fn column_sums(x: &Tensor) -> Result<Tensor> {
    const PART: usize = 256;
    const OP: &str = "column_sums";
    let width = x.dim(1)?;
    if x.elem_count() == 0 {
        return Tensor::zeros(width, x.dtype(), x.device());
    }
    let mut sums = x.detach();
    loop {
        let rows = sums.dim(0)?;
        let parts = rows.div_ceil(PART);
        sums = on_device([&sums], |[(x, layout)]| {
            let device = x.device();
            with_real!(OP, x.dtype(), T => {
                let mut y = result::<T>(device, OP, parts * width)?;
                let x = Packed::new(x, layout)?;
                let add = function::<T>(device, &PROPAGATE, "column_sums")?;
                let (grid, rows, width) = (per_row(parts as u32, width as u32), rows as u32, width as u32);
                // SAFETY: as the kernel declares them, with a row of y for each part.
                unsafe { launch!(add, grid, &x.view::<T>()?, &mut y, &rows, &width, &(PART as u32)) }?;
                Ok((storage(y, device), Shape::from((parts, width as usize))))
            })
        })?;
        if parts == 1 {
            return sums.squeeze(0);
        }
    }
}

/// The layout of all of a result of this shape.
pub(super) fn whole(shape: impl Into<Shape>) -> Layout {
    Layout::contiguous(shape)
}

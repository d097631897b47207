//! Kernels on tensors, for gradients, and products of matrices in the memory of a device.
#![allow(unsafe_code)]

use super::launch::{Operand, Packed, Real, function, result, storage};
use super::memory::{from_memory, on_cuda};
use super::segment::per_feature;
use crate::cuda::launch::{launch, with_real};
use candle_core::backend::{BackendDevice as _, BackendStorage as _};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{CudaDevice, CudaStorage, Layout, Result, Shape, Tensor};
use oncograph_kernels::PROPAGATE;

/// What `run` makes of tensors on a CUDA device, without a gradient.
pub(crate) fn on_device<const N: usize>(
    tensors: [&Tensor; N],
    run: impl FnOnce([Operand; N]) -> Result<(CudaStorage, Shape)>,
) -> Result<Tensor> {
    let [y] = several(tensors, None, |operands, _| Ok([run(operands)?]))?;
    Ok(y)
}

/// As [`on_device`], for an operand more that may be missing, and several results.
pub(crate) fn several<const N: usize, const M: usize>(
    tensors: [&Tensor; N],
    other: Option<&Tensor>,
    run: impl FnOnce([Operand; N], Option<Operand>) -> Result<[(CudaStorage, Shape); M]>,
) -> Result<[Tensor; M]> {
    let guards: Vec<_> = tensors.into_iter().chain(other).map(Tensor::storage_and_layout).collect();
    let mut operands = Vec::with_capacity(guards.len());
    for (storage, layout) in &guards {
        operands.push((on_cuda(storage)?, *layout));
    }
    let results = run(std::array::from_fn(|i| operands[i]), operands.get(N).copied())?;
    Ok(results.map(|(y, shape)| from_memory(y, shape)))
}

/// Calls `run` with a tensor that an operation holds besides its operands.
pub(crate) fn with_operand<R>(
    tensor: Option<&Tensor>,
    run: impl FnOnce(Option<Operand>) -> Result<R>,
) -> Result<R> {
    let guard = tensor.map(Tensor::storage_and_layout);
    match &guard {
        None => run(None),
        Some((storage, layout)) => run(Some((on_cuda(storage)?, *layout))),
    }
}

/// The (m, n) product of `a` (m, k) and `b` (k, n), each side by side or the transpose of what is.
pub(super) fn product(a: Operand, b: Operand) -> Result<CudaStorage> {
    let ((m, k), n) = (a.1.shape().dims2()?, b.1.shape().dims2()?.1);
    if m * n * k == 0 {
        return a.0.device().zeros_impl(&Shape::from((m, n)), a.0.dtype());
    }
    a.0.matmul(b.0, (1, m, n, k), a.1, b.1)
}

/// The sum of the rows of `x` \[rows, width\].
pub(crate) fn column_sums(x: &Tensor) -> Result<Tensor> {
    const OP: &str = "column_sums";
    on_device([x], |[(x, layout)]| {
        let (device, (rows, width)) = (x.device(), layout.shape().dims2()?);
        with_real!(OP, x.dtype(), T => {
            let x = Packed::new(x, layout)?;
            let sums = match rows * width {
                0 => device.alloc_zeros::<T>(width)?,
                _ => {
                    let (sums, parts) = add_parts(device, &x.view::<T>()?, rows, width)?;
                    add_rows(device, sums, parts, width)?
                }
            };
            Ok((storage(sums, device), Shape::from(width)))
        })
    })
}

/// The sum of the rows of `sums` \[rows, width\]; zeros without rows.
pub(super) fn add_rows<T: Real>(
    device: &CudaDevice,
    mut sums: CudaSlice<T>,
    mut rows: usize,
    width: usize,
) -> Result<CudaSlice<T>> {
    if rows * width == 0 {
        return device.alloc_zeros::<T>(width);
    }
    while rows > 1 {
        (sums, rows) = add_parts(device, &sums.as_view(), rows, width)?;
    }
    Ok(sums)
}

/// The sums of the rows of parts of `x`, as many as one thread adds, and how many parts there are.
fn add_parts<T: Real>(
    device: &CudaDevice,
    x: &CudaView<T>,
    rows: usize,
    width: usize,
) -> Result<(CudaSlice<T>, usize)> {
    const PART: usize = 256;
    let parts = rows.div_ceil(PART);
    let mut y = result::<T>(device, "column_sums", parts * width)?;
    let add = function::<T>(device, &PROPAGATE, "column_sums")?;
    let (grid, rows, width) = (per_feature(parts as u32, width as u32), rows as u32, width as u32);
    // SAFETY: as the kernel declares them, with a row of y for each part.
    unsafe { launch!(add, grid, x, &mut y, &rows, &width, &(PART as u32)) }?;
    Ok((y, parts))
}

/// The layout of all of a result of this shape.
pub(super) fn whole(shape: impl Into<Shape>) -> Layout {
    Layout::contiguous(shape)
}

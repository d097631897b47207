//! Softmax over the edges of each target, by the kernels of `softmax.cu`.
#![allow(unsafe_code)]

use super::launch::{NULL, Operand, Packed, Real, config, function, per_element, result, storage};
use super::segment::{Walk, per_feature, sum_rows};
use crate::cuda::launch::{launch, with_real};
use crate::segment::Adjacency;
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{CudaDevice, CudaStorage, Result, Shape};
use oncograph_kernels::SOFTMAX;

/// The softmax of `z` \[edges, heads\].
pub(crate) fn forward(op: &str, (z, layout): Operand, adjacency: &Adjacency) -> Result<(CudaStorage, Shape)> {
    let (device, heads) = (z.device(), layout.shape().dims2()?.1);
    let count = adjacency.edge_count() * heads;
    with_real!(op, z.dtype(), T => {
        let mut y = result::<T>(device, op, count)?;
        if count > 0 {
            let z = Packed::new(z, layout)?;
            let z = z.view::<T>()?;
            let (stats, ends) = (statistics::<T>(op, device, &z, adjacency, heads)?, adjacency.ends_on(device)?);
            let of_edges = function::<T>(device, &SOFTMAX, "softmax_edges")?;
            let (grid, count, heads) = (per_element(count), count as u64, heads as u32);
            // SAFETY: as the kernel declares them; the statistics have a row for each target.
            unsafe { launch!(of_edges, grid, &z, &stats, &ends.targets, &mut y, &count, &heads) }?;
        }
        Ok((storage(y, device), layout.shape().clone()))
    })
}

/// Per target and head the largest logit and the denominator, \[targets, 2 heads\]; there is an edge and a head.
fn statistics<T: Real>(
    op: &str,
    device: &CudaDevice,
    z: &CudaView<T>,
    adjacency: &Adjacency,
    heads: usize,
) -> Result<CudaSlice<T>> {
    const WARPS: usize = 8;
    let rows = adjacency.target_count();
    let lists = adjacency.by_target().on_device(device)?;
    let walk = Walk::new(&lists, rows, device);
    let mut stats = result::<T>(device, op, walk.count as usize * 2 * heads)?;
    let grid = config((walk.count as usize * heads).div_ceil(WARPS) as u32, (32, WARPS as u32));
    let of_parts = function::<T>(device, &SOFTMAX, "softmax_parts")?;
    let (heads, whole) = (heads as u32, u32::from(walk.whole));
    // SAFETY: as the kernel declares them; z has a row for each edge.
    unsafe {
        launch!(of_parts, grid, z, walk.offsets, &lists.edges, &mut stats, &walk.count, &heads, &whole)
    }?;
    let Some(parts) = &lists.parts else { return Ok(stats) };
    let mut of_rows = result::<T>(device, op, rows * 2 * heads as usize)?;
    let add = function::<T>(device, &SOFTMAX, "softmax_rows")?;
    let grid = per_element(rows * heads as usize);
    // SAFETY: as the kernel declares them; row r has the parts from of_row[r] on.
    unsafe { launch!(add, grid, &stats, &parts.of_row, &mut of_rows, &(rows as u32), &heads) }?;
    Ok(of_rows)
}

/// The gradient of the logits from the softmax and its gradient.
pub(crate) fn backward(
    op: &str,
    (y, y_layout): Operand,
    (dy, dy_layout): Operand,
    adjacency: &Adjacency,
) -> Result<(CudaStorage, Shape)> {
    let (device, heads) = (y.device(), y_layout.shape().dims2()?.1);
    let (rows, count) = (adjacency.target_count(), adjacency.edge_count() * heads);
    with_real!(op, y.dtype(), T => {
        let mut dz = result::<T>(device, op, count)?;
        if count > 0 {
            let (y, dy) = (Packed::new(y, y_layout)?, Packed::new(dy, dy_layout)?);
            let (y, dy) = (y.view::<T>()?, dy.view::<T>()?);
            let (lists, ends) = (adjacency.by_target().on_device(device)?, adjacency.ends_on(device)?);
            let dot = function::<T>(device, &SOFTMAX, "segment_dot")?;
            let dots = sum_rows::<T>(op, device, &lists, (rows, heads), NULL, |walk, out| {
                let (grid, heads) = (per_feature(walk.count, heads as u32), heads as u32);
                // SAFETY: as the kernel declares them; y and dy have a row for each edge.
                unsafe { launch!(dot, grid, &y, &dy, walk.offsets, &lists.edges, out, &walk.count, &heads) }
            })?;
            let back = function::<T>(device, &SOFTMAX, "softmax_backward")?;
            let (grid, count, heads) = (per_element(count), count as u64, heads as u32);
            // SAFETY: as the kernel declares them; there is a dot product for each target.
            unsafe { launch!(back, grid, &y, &dy, &dots, &ends.targets, &mut dz, &count, &heads) }?;
        }
        Ok((storage(dz, device), y_layout.shape().clone()))
    })
}

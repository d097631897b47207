//! Sums and maxima over the edges of a graph, by the kernels of `segment.cu`.
#![allow(unsafe_code)]

use super::launch::{
    NULL, Operand, Packed, Real, address, config, function, per_element, per_row, result, storage,
};
use super::lists::CsrLists;
use crate::cuda::launch::{launch, with_real};
use crate::segment::{Adjacency, Csr};
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaViewMut, LaunchConfig};
use candle_core::{CudaDevice, CudaStorage, Result, Shape};
use oncograph_kernels::SEGMENT;
use std::sync::Arc;

/// What a kernel walks: rows, or where some are long the parts of all.
pub(super) struct Walk<'a> {
    /// Where the edges of each begin, and their end.
    pub(super) offsets: &'a CudaSlice<u32>,
    /// The address of the row of each; [`NULL`] where they are the rows.
    pub(super) rows: u64,
    /// How many there are.
    pub(super) count: u32,
    /// Whether they are the rows.
    pub(super) whole: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(lists: &'a CsrLists, rows: usize, device: &CudaDevice) -> Self {
        match &lists.parts {
            None => Walk { offsets: &lists.offsets, rows: NULL, count: rows as u32, whole: true },
            Some(parts) => Walk {
                offsets: &parts.offsets,
                rows: address(device, Some(&parts.rows)),
                count: parts.count,
                whole: false,
            },
        }
    }
}

/// The (rows, width) that `run` writes with a kernel that sums over the edges of each row: by itself, or where rows are
/// long for the parts of each, which are added and multiplied by 1 / edges of the row in `of_row`.
pub(super) fn sum_rows<T: Real>(
    op: &str,
    device: &CudaDevice,
    lists: &CsrLists,
    (rows, width): (usize, usize),
    of_row: u64,
    run: impl FnOnce(&Walk, &mut CudaViewMut<T>) -> Result<()>,
) -> Result<CudaSlice<T>> {
    let mut y = result::<T>(device, op, rows * width)?;
    sum_rows_into(op, device, lists, ((rows, width), of_row), &mut y.as_view_mut(), run)?;
    Ok(y)
}

/// As [`sum_rows`], into memory that is there.
fn sum_rows_into<T: Real>(
    op: &str,
    device: &CudaDevice,
    lists: &CsrLists,
    ((rows, width), of_row): ((usize, usize), u64),
    y: &mut CudaViewMut<T>,
    run: impl FnOnce(&Walk, &mut CudaViewMut<T>) -> Result<()>,
) -> Result<()> {
    if rows * width == 0 {
        return Ok(());
    }
    let walk = Walk::new(lists, rows, device);
    let Some(parts) = &lists.parts else { return run(&walk, y) };
    let mut sums = result::<T>(device, op, parts.count as usize * width)?;
    run(&walk, &mut sums.as_view_mut())?;
    let add = function::<T>(device, &SEGMENT, "add_parts")?;
    let grid = per_element(rows * width);
    // SAFETY: as the kernel declares them; row r has the parts from of_row[r] on, and of_row is null or has as many rows.
    unsafe { launch!(add, grid, &sums, &parts.of_row, &of_row, y, &(rows as u32), &(width as u32)) }
}

/// A thread for each of `width` features of each of `rows` rows, and as many rows in a block as fill it.
pub(super) fn per_feature(rows: u32, width: u32) -> LaunchConfig {
    const MOST: u32 = u16::MAX as u32;
    let grid = per_row(rows, width);
    let blocks = width.div_ceil(grid.block_dim.0).min(MOST);
    LaunchConfig { grid_dim: (grid.grid_dim.0, blocks, 1), ..grid }
}

/// The number of lanes that share the `width` products of a scalar product, and a grid of them for `count` of these.
pub(super) fn lanes_for(count: usize, width: usize) -> (u32, LaunchConfig) {
    const THREADS: usize = 256;
    let lanes = width.next_power_of_two().min(32);
    (lanes as u32, config((count * lanes).div_ceil(THREADS) as u32, (THREADS as u32, 1)))
}

/// The sum over the edges of each row of `csr`, times 1 / edges of the row in `of_row`, and each term times 1 / edges of its
/// column in `of_column`.
pub(crate) fn gather_sum(
    op: &str,
    (x, layout): Operand,
    csr: &Csr,
    (of_row, of_column): (Option<&Csr>, Option<&Csr>),
) -> Result<(CudaStorage, Shape)> {
    let (rows, width) = (csr.rows(), layout.shape().dims2()?.1);
    let device = x.device();
    let [of_row, of_column] = [of_row, of_column].map(|csr| csr.map(|csr| csr.on_device(device)).transpose());
    let (of_row, of_column) = (of_row?, of_column?);
    let offsets = |lists: &Option<Arc<CsrLists>>| address(device, lists.as_ref().map(|lists| &lists.offsets));
    let (of_row, of_column) = (offsets(&of_row), offsets(&of_column));
    let lists = csr.on_device(device)?;
    with_real!(op, x.dtype(), T => {
        let x = Packed::new(x, layout)?;
        let x = x.view::<T>()?;
        let sum = function::<T>(device, &SEGMENT, "gather_sum")?;
        let y = sum_rows::<T>(op, device, &lists, (rows, width), of_row, |walk, out| {
            let (grid, width) = (per_feature(walk.count, width as u32), width as u32);
            let of_row = if walk.whole { of_row } else { NULL };
            // SAFETY: as the kernel declares them; columns are below the rows of x, which callers check.
            unsafe { launch!(sum, grid, &x, walk.offsets, &lists.columns, &of_row, &of_column, out, &walk.count, &width) }
        })?;
        Ok((storage(y, device), Shape::from((rows, width))))
    })
}

/// The sum of the values \[edges, width\] of the edges of each row of `csr`.
pub(super) fn sum_edges<T: Real>(
    op: &str,
    device: &CudaDevice,
    values: &CudaSlice<T>,
    csr: &Csr,
    width: usize,
) -> Result<CudaSlice<T>> {
    let lists = csr.on_device(device)?;
    let sum = function::<T>(device, &SEGMENT, "gather_sum")?;
    sum_rows(op, device, &lists, (csr.rows(), width), NULL, |walk, out| {
        let (grid, width) = (per_feature(walk.count, width as u32), width as u32);
        // SAFETY: as the kernel declares them, with positions of edges for columns, of which each has values.
        unsafe {
            launch!(sum, grid, values, walk.offsets, &lists.edges, &NULL, &NULL, out, &walk.count, &width)
        }
    })
}

/// The sum over the edges of each row of `csr`, weighted per edge and head.
pub(crate) fn weighted_sum(
    op: &str,
    (x, layout): Operand,
    (weight, w_layout): Operand,
    csr: &Csr,
) -> Result<(CudaStorage, Shape)> {
    let (rows, width, heads) = (csr.rows(), layout.shape().dims2()?.1, w_layout.shape().dims2()?.1);
    let device = x.device();
    let lists = csr.on_device(device)?;
    with_real!(op, x.dtype(), T => {
        let (x, weight) = (Packed::new(x, layout)?, Packed::new(weight, w_layout)?);
        let (x, weight) = (x.view::<T>()?, weight.view::<T>()?);
        let sum = function::<T>(device, &SEGMENT, "weighted_sum")?;
        let y = sum_rows::<T>(op, device, &lists, (rows, width), NULL, |walk, out| {
            let (grid, width, heads) = (per_feature(walk.count, width as u32), width as u32, heads as u32);
            // SAFETY: as the kernel declares them; columns are below the rows of x and edges below those of the
            // weights, which callers check.
            unsafe { launch!(sum, grid, &x, &weight, walk.offsets, &lists.columns, &lists.edges, out, &walk.count, &width, &heads) }
        })?;
        Ok((storage(y, device), Shape::from((rows, width))))
    })
}

/// Per edge and head the product of the features of its source in `x` with those of its target in `y`.
pub(crate) fn edge_dot(
    op: &str,
    (x, x_layout): Operand,
    (y, y_layout): Operand,
    adjacency: &Adjacency,
    heads: usize,
) -> Result<(CudaStorage, Shape)> {
    let (edges, channels) = (adjacency.edge_count(), x_layout.shape().dims2()?.1 / heads);
    let (device, count) = (x.device(), edges * heads);
    with_real!(op, x.dtype(), T => {
        let mut out = result::<T>(device, op, count)?;
        if count > 0 {
            let ends = adjacency.ends_on(device)?;
            let (x, y) = (Packed::new(x, x_layout)?, Packed::new(y, y_layout)?);
            let (x, y) = (x.view::<T>()?, y.view::<T>()?);
            let dot = function::<T>(device, &SEGMENT, "edge_dot")?;
            let (lanes, grid) = lanes_for(count, channels);
            let (count, heads, channels) = (count as u64, heads as u32, channels as u32);
            // SAFETY: as the kernel declares them; the ends of edges are below the rows of x and y, which callers check.
            unsafe { launch!(dot, grid, &x, &y, &ends.sources, &ends.targets, &mut out, &count, &heads, &channels, &lanes) }?;
        }
        Ok((storage(out, device), Shape::from((edges, heads))))
    })
}

/// The largest over the edges of each row of `csr`; 0 without edges.
pub(crate) fn gather_max(op: &str, (x, layout): Operand, csr: &Csr) -> Result<(CudaStorage, Shape)> {
    let (rows, width) = (csr.rows(), layout.shape().dims2()?.1);
    let (device, count) = (x.device(), rows * width);
    let lists = csr.on_device(device)?;
    with_real!(op, x.dtype(), T => {
        let mut y = result::<T>(device, op, count)?;
        if count > 0 {
            let x = Packed::new(x, layout)?;
            let x = x.view::<T>()?;
            let walk = Walk::new(&lists, rows, device);
            let of_edges = function::<T>(device, &SEGMENT, "gather_max")?;
            let (grid, width) = (per_feature(walk.count, width as u32), width as u32);
            let mut parts = result::<T>(device, op, if walk.whole { 0 } else { walk.count as usize * width as usize })?;
            let out = if walk.whole { &mut y } else { &mut parts };
            // SAFETY: as the kernel declares them; columns are below the rows of x, which callers check.
            unsafe { launch!(of_edges, grid, &x, walk.offsets, &lists.columns, out, &walk.count, &width) }?;
            if let Some(of) = &lists.parts {
                let of_parts = function::<T>(device, &SEGMENT, "max_of_parts")?;
                // SAFETY: as the kernel declares them; row r has the parts from of_row[r] on.
                unsafe { launch!(of_parts, per_element(count), &parts, &of.of_row, &mut y, &(rows as u32), &width) }?;
            }
        }
        Ok((storage(y, device), Shape::from((rows, width))))
    })
}

/// The gradient of [`gather_max`] by the sources, from `x`, the maxima and their gradient.
pub(crate) fn max_gradient(
    op: &str,
    [(x, x_layout), (y, y_layout), (dy, dy_layout)]: [Operand; 3],
    adjacency: &Adjacency,
) -> Result<(CudaStorage, Shape)> {
    let (targets, sources) = (adjacency.by_target(), adjacency.by_source());
    let (device, width) = (x.device(), x_layout.shape().dims2()?.1);
    let (forth, back) = (targets.on_device(device)?, sources.on_device(device)?);
    with_real!(op, x.dtype(), T => {
        let (x, y, dy) = (Packed::new(x, x_layout)?, Packed::new(y, y_layout)?, Packed::new(dy, dy_layout)?);
        let (x, y, dy) = (x.view::<T>()?, y.view::<T>()?, dy.view::<T>()?);
        let count = function::<T>(device, &SEGMENT, "count_largest")?;
        let ties = sum_rows::<T>(op, device, &forth, (targets.rows(), width), NULL, |walk, out| {
            let (grid, width) = (per_feature(walk.count, width as u32), width as u32);
            // SAFETY: as the kernel declares them; x has a row for each column, y one for each row.
            unsafe { launch!(count, grid, &x, &y, walk.offsets, &walk.rows, &forth.columns, out, &walk.count, &width) }
        })?;
        let elements = targets.rows() * width;
        let mut shares = result::<T>(device, op, elements)?;
        if elements > 0 {
            let divide = function::<T>(device, &SEGMENT, "share_of_largest")?;
            // SAFETY: as the kernel declares them, with as many elements each.
            unsafe { launch!(divide, per_element(elements), &dy, &ties, &mut shares, &(elements as u64)) }?;
        }
        let gather = function::<T>(device, &SEGMENT, "gather_shares")?;
        let dx = sum_rows::<T>(op, device, &back, (sources.rows(), width), NULL, |walk, out| {
            let (grid, width) = (per_feature(walk.count, width as u32), width as u32);
            // SAFETY: as the kernel declares them; y and the shares have a row for each column, x one for each row.
            unsafe { launch!(gather, grid, &x, &y, &shares, walk.offsets, &walk.rows, &back.columns, out, &walk.count, &width) }
        })?;
        Ok((storage(dx, device), Shape::from((sources.rows(), width))))
    })
}

/// Rows of edges in the order of [`Adjacency::self_loops`], those of the loops sums or means.
pub(crate) fn with_loop_rows(
    op: &str,
    (x, layout): Operand,
    adjacency: &Adjacency,
    mean: bool,
) -> Result<(CudaStorage, Shape)> {
    let (device, width) = (x.device(), layout.shape().dims2()?.1);
    let (loops, lists) = (adjacency.self_loops(), adjacency.loop_rows_on(device)?);
    let (rows, kept) = (loops.adjacency.edge_count(), loops.kept.len());
    with_real!(op, x.dtype(), T => {
        let mut y = result::<T>(device, op, rows * width)?;
        let x = Packed::new(x, layout)?;
        let x = x.view::<T>()?;
        if kept > 0 {
            let copy = function::<T>(device, &SEGMENT, "copy_rows")?;
            let (grid, width) = (per_feature(kept as u32, width as u32), width as u32);
            // SAFETY: as the kernel declares them; y has more rows than are kept.
            unsafe { launch!(copy, grid, &x, &lists.kept, &mut y, &(kept as u32), &width) }?;
        }
        if rows > kept {
            let (nodes, by_node) = (rows - kept, &lists.by_node);
            let of_row = if mean { address(device, Some(&by_node.offsets)) } else { NULL };
            let sum = function::<T>(device, &SEGMENT, "gather_sum")?;
            let out = &mut y.slice_mut(kept * width..rows * width);
            sum_rows_into(op, device, by_node, ((nodes, width), of_row), out, |walk, out| {
                let (grid, width) = (per_feature(walk.count, width as u32), width as u32);
                let of_row = if walk.whole { of_row } else { NULL };
                // SAFETY: as the kernel declares them; columns are positions of edges, of which x has a row each.
                unsafe { launch!(sum, grid, &x, walk.offsets, &by_node.columns, &of_row, &NULL, out, &walk.count, &width) }
            })?;
        }
        Ok((storage(y, device), Shape::from((rows, width))))
    })
}

/// The gradient of [`with_loop_rows`] from that of its result.
pub(crate) fn loop_rows_gradient(
    op: &str,
    (dy, layout): Operand,
    adjacency: &Adjacency,
    mean: bool,
) -> Result<(CudaStorage, Shape)> {
    let (device, width, edges) = (dy.device(), layout.shape().dims2()?.1, adjacency.edge_count());
    let loops = adjacency.self_loops();
    let (kept, nodes) = (loops.kept.len() as u32, (loops.adjacency.edge_count() - loops.kept.len()) as u32);
    with_real!(op, dy.dtype(), T => {
        let mut out = result::<T>(device, op, edges * width)?;
        if edges * width > 0 {
            let (lists, ends) = (adjacency.loop_rows_on(device)?, adjacency.ends_on(device)?);
            let dy = Packed::new(dy, layout)?;
            let dy = dy.view::<T>()?;
            let back = function::<T>(device, &SEGMENT, "loop_rows_backward")?;
            let (grid, edges, width) = (per_feature(edges as u32, width as u32), edges as u32, width as u32);
            let of_row = &lists.by_node.offsets;
            // SAFETY: as the kernel declares them; dy has kept + nodes rows, of_row an entry for each node and the end.
            unsafe { launch!(back, grid, &dy, &lists.places, &ends.targets, of_row, &mut out, &edges, &width, &kept, &nodes, &u32::from(mean)) }?;
        }
        Ok((storage(out, device), Shape::from((edges, width))))
    })
}

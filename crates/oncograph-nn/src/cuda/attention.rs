//! Attention over the edges of each target, by the kernels of `attention.cu`.
#![allow(unsafe_code)]

use super::launch::{NULL, Operand, Packed, Real, function, per_element, result, storage};
use super::segment::{Walk, lanes_for, per_feature, sum_edges, sum_rows};
use crate::cuda::launch::{launch, with_real};
use crate::segment::Adjacency;
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DevicePtr as _};
use candle_core::{CudaDevice, CudaStorage, Result, Shape};
use oncograph_kernels::ATTENTION;

/// Values of sources, and what the logits are made of.
pub(super) struct Inputs<'a, T> {
    pub(super) source: CudaView<'a, T>,
    pub(super) target: Option<CudaView<'a, T>>,
    pub(super) edge: Option<CudaView<'a, T>>,
    pub(super) heads: usize,
    pub(super) channels: usize,
    /// From one row of the source to the next.
    pub(super) stride: usize,
    pub(super) slope: f64,
}

/// Where a part of an operand lies, [`NULL`] for none.
pub(super) fn pointer<T>(device: &CudaDevice, view: Option<&CudaView<T>>) -> u64 {
    view.map_or(NULL, |view| view.device_ptr(&device.cuda_stream()).0)
}

impl<T: Real> Inputs<'_, T> {
    fn pointers(&self, device: &CudaDevice) -> (u64, u64) {
        (pointer(device, self.target.as_ref()), pointer(device, self.edge.as_ref()))
    }

    fn sizes(&self) -> (u32, u32, u32) {
        (self.heads as u32, self.channels as u32, self.stride as u32)
    }
}

/// The weighted sums, and per target and head the largest logit and 1 / sum: \[targets, 2 heads\].
pub(super) fn attend<T: Real>(
    op: &str,
    device: &CudaDevice,
    with: &Inputs<T>,
    adjacency: &Adjacency,
) -> Result<(CudaSlice<T>, CudaSlice<T>)> {
    let (rows, width) = (adjacency.target_count(), with.heads * with.channels);
    let lists = adjacency.by_target().on_device(device)?;
    let walk = Walk::new(&lists, rows, device);
    let room = |rows: usize| -> Result<_> {
        Ok((result::<T>(device, op, rows * width)?, result::<T>(device, op, rows * 2 * with.heads)?))
    };
    let (mut sums, mut stats) = room(walk.count as usize)?;
    if rows == 0 {
        return Ok((sums, stats));
    }
    let ((target, edge), (heads, channels, stride)) = (with.pointers(device), with.sizes());
    let slope = T::from_f64(with.slope);
    if walk.count > 0 {
        let of_edges = function::<T>(device, &ATTENTION, "attend")?;
        let grid = per_feature(walk.count, width as u32);
        // SAFETY: as the kernel declares them; columns, rows and edges are below the rows of the source, the target and
        // the logits of edges, which callers check.
        unsafe {
            launch!(
                of_edges,
                grid,
                &with.source,
                &target,
                &edge,
                walk.offsets,
                &walk.rows,
                &lists.columns,
                &lists.edges,
                &mut sums,
                &mut stats,
                &walk.count,
                &heads,
                &channels,
                &stride,
                &slope
            )
        }?;
    }
    let Some(parts) = &lists.parts else { return Ok((sums, stats)) };
    let (mut y, mut of_rows) = room(rows)?;
    let add = function::<T>(device, &ATTENTION, "attend_parts")?;
    let grid = per_element(rows * width);
    // SAFETY: as the kernel declares them; row r has the parts from of_row[r] on.
    unsafe {
        launch!(
            add,
            grid,
            &sums,
            &stats,
            &parts.of_row,
            &mut y,
            &mut of_rows,
            &(rows as u32),
            &heads,
            &channels
        )
    }?;
    Ok((y, of_rows))
}

/// Per edge and head its weight and the gradient of its logit before the ReLU.
pub(super) fn edge_gradients<T: Real>(
    op: &str,
    device: &CudaDevice,
    with: &Inputs<T>,
    adjacency: &Adjacency,
    (y, dy, stats): (&CudaView<T>, &CudaView<T>, &CudaSlice<T>),
) -> Result<(CudaSlice<T>, CudaSlice<T>)> {
    let count = adjacency.edge_count() * with.heads;
    let (mut weights, mut dz) = (result::<T>(device, op, count)?, result::<T>(device, op, count)?);
    if count > 0 {
        let ends = adjacency.ends_on(device)?;
        let ((target, edge), (heads, channels, stride)) = (with.pointers(device), with.sizes());
        let slope = T::from_f64(with.slope);
        let (lanes, grid) = lanes_for(count, with.channels);
        let back = function::<T>(device, &ATTENTION, "attend_backward_edges")?;
        // SAFETY: as the kernel declares them; y, dy and the statistics have a row for each target.
        unsafe {
            launch!(
                back,
                grid,
                &with.source,
                &target,
                &edge,
                y,
                dy,
                stats,
                &ends.sources,
                &ends.targets,
                &mut weights,
                &mut dz,
                &(count as u64),
                &heads,
                &channels,
                &stride,
                &slope,
                &lanes
            )
        }?;
    }
    Ok((weights, dz))
}

/// The operands of graph attention: source \[sources, heads (channels + 1)\], target \[targets, heads\], logits of edges.
pub(crate) struct Attention<'a> {
    pub(crate) adjacency: &'a Adjacency,
    pub(crate) heads: usize,
    pub(crate) stride: usize,
    pub(crate) slope: f64,
}

const OP: &str = "graph attention";

impl Attention<'_> {
    fn inputs<'a, T: Real>(
        &self,
        source: &'a Packed,
        target: &'a Packed,
        edge: Option<&'a Packed>,
    ) -> Result<Inputs<'a, T>> {
        let (heads, stride, slope) = (self.heads, self.stride, self.slope);
        let (target, edge) = (Some(target.view()?), edge.map(Packed::view).transpose()?);
        Ok(Inputs {
            source: source.view()?,
            target,
            edge,
            heads,
            channels: stride / heads - 1,
            stride,
            slope,
        })
    }

    /// The result, and what [`Attention::backward`] needs of it.
    pub(crate) fn forward(
        &self,
        [source, target]: [Operand; 2],
        edge: Option<Operand>,
    ) -> Result<((CudaStorage, Shape), CudaStorage)> {
        let device = source.0.device();
        let shape = Shape::from((self.adjacency.target_count(), self.stride - self.heads));
        with_real!(OP, source.0.dtype(), T => {
            let (source, target) = (Packed::new(source.0, source.1)?, Packed::new(target.0, target.1)?);
            let edge = edge.map(|(edge, layout)| Packed::new(edge, layout)).transpose()?;
            let with = self.inputs::<T>(&source, &target, edge.as_ref())?;
            let (y, stats) = attend(OP, device, &with, self.adjacency)?;
            Ok(((storage(y, device), shape), storage(stats, device)))
        })
    }

    /// The gradients of the source, the target and the logits of edges.
    pub(crate) fn backward(
        &self,
        [source, target, y, dy]: [Operand; 4],
        edge: Option<Operand>,
        stats: &CudaStorage,
    ) -> Result<[(CudaStorage, Shape); 3]> {
        let device = source.0.device();
        let (heads, adjacency) = (self.heads, self.adjacency);
        let csr = adjacency.by_source();
        let lists = csr.on_device(device)?;
        with_real!(OP, source.0.dtype(), T => {
            let [source, target, y, dy] = [source, target, y, dy].map(|(t, layout)| Packed::new(t, layout));
            let (source, target, y, dy) = (source?, target?, y?, dy?);
            let edge = edge.map(|(edge, layout)| Packed::new(edge, layout)).transpose()?;
            let with = self.inputs::<T>(&source, &target, edge.as_ref())?;
            let (y, dy) = (y.view::<T>()?, dy.view::<T>()?);
            let kept = (&y, &dy, stats.as_cuda_slice::<T>()?);
            let (weights, dz) = edge_gradients(OP, device, &with, adjacency, kept)?;
            let back = function::<T>(device, &ATTENTION, "attend_backward_sources")?;
            let size = (csr.rows(), self.stride);
            let ds = sum_rows::<T>(OP, device, &lists, size, NULL, |walk, out| {
                let (grid, (heads, channels, _)) = (per_feature(walk.count, self.stride as u32), with.sizes());
                // SAFETY: as the kernel declares them; dy has a row for each column, the others for each edge.
                unsafe { launch!(back, grid, &weights, &dz, &dy, walk.offsets, &lists.columns, &lists.edges, out, &walk.count, &heads, &channels) }
            })?;
            let dt = sum_edges::<T>(OP, device, &dz, adjacency.by_target(), heads)?;
            Ok([
                (storage(ds, device), Shape::from(size)),
                (storage(dt, device), Shape::from((adjacency.target_count(), heads))),
                (storage(dz, device), Shape::from((adjacency.edge_count(), heads))),
            ])
        })
    }
}

//! Attention whose logits see both ends of an edge, by the kernels of `attention_v2.cu` and `attention.cu`.
#![allow(unsafe_code)]

use super::attention::{Inputs, attend, edge_gradients, pointer};
use super::launch::{NULL, Operand, Packed, Real, function, result, storage};
use super::segment::{lanes_for, per_feature, sum_rows};
use super::tensors::add_rows;
use crate::cuda::launch::{launch, with_real};
use crate::segment::{Adjacency, Csr};
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{CudaDevice, CudaStorage, Result, Shape};
use oncograph_kernels::ATTENTION_V2;

const OP: &str = "graph attention v2";

/// As the operation of the CPU, with `count` attributes per edge.
pub(crate) struct AttentionV2<'a> {
    pub(crate) adjacency: &'a Adjacency,
    pub(crate) heads: usize,
    pub(crate) width: usize,
    pub(crate) count: usize,
    pub(crate) slope: f64,
}

/// What the pairs are made of.
struct Pairs<'a, T> {
    l: CudaView<'a, T>,
    r: CudaView<'a, T>,
    parameters: CudaView<'a, T>,
    /// An address, [`NULL`] without attributes.
    attributes: u64,
}

impl AttentionV2<'_> {
    fn sizes<T: Real>(&self) -> (u32, u32, u32, T) {
        let channels = self.width / self.heads;
        (self.heads as u32, channels as u32, self.count as u32, T::from_f64(self.slope))
    }

    /// What the weighted sums take: the logits are those of edges.
    fn weighted<'a, T: Real>(&self, l: CudaView<'a, T>, z: CudaView<'a, T>) -> Inputs<'a, T> {
        let (heads, channels, stride) = (self.heads, self.width / self.heads, self.width);
        Inputs { source: l, target: None, edge: Some(z), heads, channels, stride, slope: 1.0 }
    }

    fn logits<T: Real>(&self, device: &CudaDevice, pairs: &Pairs<T>) -> Result<CudaSlice<T>> {
        let count = self.adjacency.edge_count() * self.heads;
        let mut z = result::<T>(device, OP, count)?;
        if count > 0 {
            let ends = self.adjacency.ends_on(device)?;
            let (heads, channels, attributes, slope) = self.sizes::<T>();
            let (lanes, grid) = lanes_for(count, channels as usize);
            let logits = function::<T>(device, &ATTENTION_V2, "pair_logits")?;
            let Pairs { l, r, parameters, attributes: of_edges } = pairs;
            // SAFETY: as the kernel declares them; ends of edges are below the rows of l and r, which callers check.
            unsafe {
                launch!(
                    logits,
                    grid,
                    l,
                    r,
                    parameters,
                    of_edges,
                    &ends.sources,
                    &ends.targets,
                    &mut z,
                    &(count as u64),
                    &heads,
                    &channels,
                    &attributes,
                    &slope,
                    &lanes
                )
            }?;
        }
        Ok(z)
    }

    /// The result, and what [`AttentionV2::backward`] needs of it.
    pub(crate) fn forward(
        &self,
        [l, r, parameters]: [Operand; 3],
        attributes: Option<Operand>,
    ) -> Result<((CudaStorage, Shape), [CudaStorage; 2])> {
        let device = l.0.device();
        let shape = Shape::from((self.adjacency.target_count(), self.width));
        with_real!(OP, l.0.dtype(), T => {
            let [l, r, parameters] = [l, r, parameters].map(|(t, layout)| Packed::new(t, layout));
            let (l, r, parameters) = (l?, r?, parameters?);
            let attributes = attributes.map(|(t, layout)| Packed::new(t, layout)).transpose()?;
            let attributes = attributes.as_ref().map(Packed::view::<T>).transpose()?;
            let attributes = pointer(device, attributes.as_ref());
            let pairs = Pairs { l: l.view()?, r: r.view()?, parameters: parameters.view()?, attributes };
            let z = self.logits::<T>(device, &pairs)?;
            let (y, stats) = attend(OP, device, &self.weighted(l.view()?, z.as_view()), self.adjacency)?;
            Ok(((storage(y, device), shape), [storage(stats, device), storage(z, device)]))
        })
    }

    /// The gradients of `l`, `r` and the parameters.
    pub(crate) fn backward(
        &self,
        [l, r, parameters, y, dy]: [Operand; 5],
        attributes: Option<Operand>,
        [stats, z]: &[CudaStorage; 2],
    ) -> Result<[(CudaStorage, Shape); 3]> {
        let (device, adjacency) = (l.0.device(), self.adjacency);
        with_real!(OP, l.0.dtype(), T => {
            let [l, r, parameters] = [l, r, parameters].map(|(t, layout)| Packed::new(t, layout));
            let (l, r, parameters) = (l?, r?, parameters?);
            let (y, dy) = (Packed::new(y.0, y.1)?, Packed::new(dy.0, dy.1)?);
            let (y, dy) = (y.view::<T>()?, dy.view::<T>()?);
            let attributes = attributes.map(|(t, layout)| Packed::new(t, layout)).transpose()?;
            let attributes = attributes.as_ref().map(Packed::view::<T>).transpose()?;
            let attributes = pointer(device, attributes.as_ref());
            let pairs = Pairs { l: l.view()?, r: r.view()?, parameters: parameters.view()?, attributes };
            let with = self.weighted(l.view()?, z.as_cuda_slice::<T>()?.as_view());
            let (weights, dz) =
                edge_gradients(OP, device, &with, adjacency, (&y, &dy, stats.as_cuda_slice::<T>()?))?;
            let dr = self.rows(device, &pairs, adjacency.by_target(), (&dz, &weights, None))?;
            let dl = self.rows(device, &pairs, adjacency.by_source(), (&dz, &weights, Some(&dy)))?;
            let dp = self.parameters(device, &pairs, &dz)?;
            let of = |rows: usize| Shape::from((rows, self.width));
            Ok([
                (storage(dl, device), of(adjacency.source_count())),
                (storage(dr, device), of(adjacency.target_count())),
                (storage(dp, device), of(1 + self.count)),
            ])
        })
    }

    /// The gradients of the rows that edges lead to, or with `dy` of those that they leave.
    fn rows<T: Real>(
        &self,
        device: &CudaDevice,
        pairs: &Pairs<T>,
        csr: &Csr,
        (dz, weights, dy): (&CudaSlice<T>, &CudaSlice<T>, Option<&CudaView<T>>),
    ) -> Result<CudaSlice<T>> {
        let (lists, dy) = (csr.on_device(device)?, pointer(device, dy));
        let sum = function::<T>(device, &ATTENTION_V2, "pair_gradients")?;
        sum_rows(OP, device, &lists, (csr.rows(), self.width), NULL, |walk, out| {
            let (heads, channels, attributes, slope) = self.sizes::<T>();
            let grid = per_feature(walk.count, self.width as u32);
            let Pairs { l, r, parameters, attributes: of_edges } = pairs;
            // SAFETY: as the kernel declares them; without dy rows are targets, with it sources.
            unsafe {
                launch!(
                    sum,
                    grid,
                    l,
                    r,
                    parameters,
                    of_edges,
                    dz,
                    weights,
                    &dy,
                    walk.offsets,
                    &walk.rows,
                    &lists.columns,
                    &lists.edges,
                    out,
                    &walk.count,
                    &heads,
                    &channels,
                    &attributes,
                    &slope
                )
            }
        })
    }

    fn parameters<T: Real>(
        &self,
        device: &CudaDevice,
        pairs: &Pairs<T>,
        dz: &CudaSlice<T>,
    ) -> Result<CudaSlice<T>> {
        const PART: usize = 256;
        let (edges, all) = (self.adjacency.edge_count(), (1 + self.count) * self.width);
        let parts = edges.div_ceil(PART);
        let mut sums = result::<T>(device, OP, parts * all)?;
        if parts > 0 {
            let ends = self.adjacency.ends_on(device)?;
            let (heads, channels, attributes, slope) = self.sizes::<T>();
            let sum = function::<T>(device, &ATTENTION_V2, "pair_parameters")?;
            let grid = per_feature(parts as u32, all as u32);
            let Pairs { l, r, parameters, attributes: of_edges } = pairs;
            // SAFETY: as the kernel declares them, with a row of sums for each part.
            unsafe {
                launch!(
                    sum,
                    grid,
                    l,
                    r,
                    parameters,
                    of_edges,
                    dz,
                    &ends.sources,
                    &ends.targets,
                    &mut sums,
                    &(edges as u32),
                    &heads,
                    &channels,
                    &attributes,
                    &slope,
                    &(PART as u32)
                )
            }?;
        }
        add_rows(device, sums, parts, all)
    }
}

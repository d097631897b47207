//! Sums of messages under a matrix per edge, by the kernels of `edge_conditioned.cu` and cuBLAS.
#![allow(unsafe_code)]

use super::launch::{NULL, Operand, Packed, Real, address, copied, function, result, storage};
use super::lists::CsrLists;
use super::segment::{per_feature, sum_rows};
use super::tensors::product;
use crate::cuda::launch::{launch, with_real};
use crate::segment::{Adjacency, Csr};
use candle_core::backend::{BackendDevice as _, BackendStorage as _};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{CudaDevice, CudaStorage, Layout, Result, Shape};
use oncograph_kernels::EDGE_CONDITIONED;
use std::ops::Range;

const OP: &str = "edge-conditioned sum";

/// A quarter of a gigabyte in f32.
pub(crate) const SLAB: usize = 1 << 26;

/// As the operation of the CPU; parameters are \[features * out, hidden + 1\].
pub(crate) struct Conditioned<'a> {
    pub(crate) adjacency: &'a Adjacency,
    pub(crate) mean: bool,
    pub(crate) features: usize,
    pub(crate) hidden: usize,
    pub(crate) out: usize,
    /// Elements of outer products that are in memory at a time.
    pub(crate) slab: usize,
}

/// The two sides of a message, \[nodes, width\] and \[edges, hidden\].
struct Sides<'a, T> {
    nodes: CudaView<'a, T>,
    width: usize,
    edges: CudaView<'a, T>,
    hidden: usize,
}

/// Ranges of rows of this width, all of them in one if they are not many.
fn slabs(slab: usize, rows: usize, width: usize) -> impl Iterator<Item = Range<usize>> {
    let step = (slab / width.max(1)).max(1);
    (0..rows).step_by(step).map(move |first| first..(first + step).min(rows))
}

impl<T: Real> Sides<'_, T> {
    /// The sums of outer products of `rows`, \[rows, (hidden + 1) width\]. Long rows are cut into parts where all rows
    /// are wanted; else the products of one are many enough to occupy the device.
    fn outer_sums(
        &self,
        device: &CudaDevice,
        (csr, lists): (&Csr, &CsrLists),
        rows: Range<usize>,
        (of_row, of_column): (u64, u64),
    ) -> Result<CudaSlice<T>> {
        let width = (self.hidden + 1) * self.width;
        let sum = function::<T>(device, &EDGE_CONDITIONED, "outer_sums")?;
        let (features, hidden) = (self.width as u32, self.hidden as u32);
        if rows.len() == csr.rows() {
            return sum_rows::<T>(OP, device, lists, (rows.len(), width), of_row, |walk, out| {
                let grid = per_feature(walk.count, width as u32);
                let of_row = if walk.whole { of_row } else { NULL };
                // SAFETY: as the kernel declares them; columns and edges are below the rows of both sides.
                unsafe {
                    launch!(
                        sum,
                        grid,
                        &self.nodes,
                        &self.edges,
                        walk.offsets,
                        &lists.columns,
                        &lists.edges,
                        &of_row,
                        &of_column,
                        out,
                        &0u32,
                        &walk.count,
                        &features,
                        &hidden
                    )
                }
            });
        }
        let mut out = result::<T>(device, OP, rows.len() * width)?;
        let (first, count) = (rows.start as u32, rows.len() as u32);
        let grid = per_feature(count, width as u32);
        // SAFETY: as above, for a range of rows.
        unsafe {
            launch!(
                sum,
                grid,
                &self.nodes,
                &self.edges,
                &lists.offsets,
                &lists.columns,
                &lists.edges,
                &of_row,
                &of_column,
                &mut out,
                &first,
                &count,
                &features,
                &hidden
            )
        }?;
        Ok(out)
    }
}

impl Conditioned<'_> {
    fn terms(&self) -> usize {
        self.hidden + 1
    }

    /// The parameters \[features, out, hidden + 1\] with their dimensions in another order, and of the last the first
    /// `len`.
    fn matrix(&self, (p, layout): Operand, order: [usize; 3], len: usize) -> Result<CudaStorage> {
        let Some((start, _)) = layout.contiguous_offsets() else {
            candle_core::bail!("{OP} needs contiguous parameters")
        };
        let all = Layout::contiguous_with_offset((self.features, self.out, self.terms()), start);
        copied((p, &all.narrow(2, 0, len)?.permute(&order)?))
    }

    /// The address of what 1 / edges of a target are counted from.
    fn shares(&self, device: &CudaDevice) -> Result<u64> {
        let lists = self.adjacency.by_target().on_device(device)?;
        // The adjacency keeps the lists.
        Ok(if self.mean { address(device, Some(&lists.offsets)) } else { NULL })
    }

    pub(crate) fn forward(&self, [x, hidden, parameters]: [Operand; 3]) -> Result<(CudaStorage, Shape)> {
        let (device, csr) = (x.0.device(), self.adjacency.by_target());
        let (lists, width) = (csr.on_device(device)?, self.terms() * self.features);
        let shape = Shape::from((csr.rows(), self.out));
        let matrix = self.matrix(parameters, [2, 0, 1], self.terms())?;
        let of_matrix = Layout::contiguous((width, self.out));
        let mut y = device.zeros_impl(&shape, x.0.dtype())?;
        with_real!(OP, x.0.dtype(), T => {
            let (x, hidden) = (Packed::new(x.0, x.1)?, Packed::new(hidden.0, hidden.1)?);
            let (nodes, edges) = (x.view::<T>()?, hidden.view::<T>()?);
            let sides = Sides { nodes, width: self.features, edges, hidden: self.hidden };
            for rows in slabs(self.slab, csr.rows(), width) {
                let sums = sides.outer_sums(device, (csr, &lists), rows.clone(), (self.shares(device)?, NULL))?;
                let of_sums = Layout::contiguous((rows.len(), width));
                let part = product((&storage(sums, device), &of_sums), (&matrix, &of_matrix))?;
                if rows.len() == csr.rows() {
                    y = part;
                } else {
                    part.copy_strided_src(&mut y, rows.start * self.out, &Layout::contiguous((rows.len(), self.out)))?;
                }
            }
        });
        Ok((y, shape))
    }

    /// The gradients of `x` (zeros unless wanted), of the hidden features and of the parameters.
    pub(crate) fn backward(
        &self,
        [x, hidden, parameters, dy]: [Operand; 4],
        wants_x: bool,
    ) -> Result<[(CudaStorage, Shape); 3]> {
        let (device, csr) = (x.0.device(), self.adjacency.by_source());
        let (rows, wide, maps) = (csr.rows(), self.terms() * self.out, self.out * self.hidden);
        let lists = csr.on_device(device)?;
        let back = self.matrix(parameters, [2, 1, 0], self.terms())?;
        let across = self.matrix(parameters, [0, 1, 2], self.hidden)?;
        let (of_back, of_across) =
            (Layout::contiguous((wide, self.features)), Layout::contiguous((self.features, maps)));
        let of_x = Shape::from((rows, self.features));
        let mut dx = device.zeros_impl(&of_x, x.0.dtype())?;
        let sum_shape = Shape::from((self.features, wide));
        let of_sum = Layout::contiguous(&sum_shape);
        let mut dp = device.zeros_impl(&sum_shape, x.0.dtype())?;
        with_real!(OP, x.0.dtype(), T => {
            let (edges, targets) = (Packed::new(hidden.0, hidden.1)?, Packed::new(dy.0, dy.1)?);
            let sides = Sides { nodes: targets.view::<T>()?, width: self.out, edges: edges.view::<T>()?, hidden: self.hidden };
            let mut dh = result::<T>(device, OP, self.adjacency.edge_count() * self.hidden)?;
            for slab in slabs(self.slab, rows, wide.max(maps)) {
                let part = x.1.narrow(0, slab.start, slab.len())?;
                let products = product((x.0, &part), (&across, &of_across))?;
                self.hidden_gradients(device, (csr, &lists), slab.clone(), (products.as_cuda_slice::<T>()?, &sides.nodes), &mut dh)?;
                let sums = sides.outer_sums(device, (csr, &lists), slab.clone(), (NULL, self.shares(device)?))?;
                let (sums, of_sums) = (storage(sums, device), Layout::contiguous((slab.len(), wide)));
                let of_slab = product((x.0, &part.transpose(0, 1)?), (&sums, &of_sums))?;
                dp = dp.binary_impl::<candle_core::op::Add>(&of_slab, &of_sum, &of_sum)?;
                if wants_x {
                    let of_slab = product((&sums, &of_sums), (&back, &of_back))?;
                    of_slab.copy_strided_src(&mut dx, slab.start * self.features, &Layout::contiguous((slab.len(), self.features)))?;
                }
            }
            let order = Layout::contiguous((self.features, self.terms(), self.out)).permute(&[0, 2, 1])?;
            let of_p = Shape::from((self.features * self.out, self.terms()));
            let of_h = Shape::from((self.adjacency.edge_count(), self.hidden));
            Ok([(dx, of_x), (storage(dh, device), of_h), (copied((&dp, &order))?, of_p)])
        })
    }

    /// Those of the edges that leave the sources of a slab.
    fn hidden_gradients<T: Real>(
        &self,
        device: &CudaDevice,
        (csr, lists): (&Csr, &CsrLists),
        slab: Range<usize>,
        (maps, dy): (&CudaSlice<T>, &CudaView<T>),
        dh: &mut CudaSlice<T>,
    ) -> Result<()> {
        let (first, last) = (csr.offsets()[slab.start] as u32, csr.offsets()[slab.end] as u32);
        let (count, first_row) = (last - first, slab.start as u32);
        if count as usize * self.hidden == 0 {
            return Ok(());
        }
        let (ends, shares) = (self.adjacency.ends_on(device)?, self.shares(device)?);
        let (out, hidden) = (self.out as u32, self.hidden as u32);
        let back = function::<T>(device, &EDGE_CONDITIONED, "hidden_gradients")?;
        let grid = per_feature(count, hidden);
        // SAFETY: as the kernel declares them; there is a map for each source of the slab, whose edges these are.
        unsafe {
            launch!(
                back,
                grid,
                maps,
                dy,
                &ends.sources,
                &lists.columns,
                &lists.edges,
                &shares,
                dh,
                &first,
                &count,
                &first_row,
                &out,
                &hidden
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::tensors::several;
    use crate::testing::pattern;
    use candle_core::Tensor;

    #[test]
    fn slabs_change_nothing_but_rounding() {
        let ids = |k: u32, n: u32| (0..40).map(|i| i * k % 17 % n).collect::<Vec<u32>>();
        let adjacency = Adjacency::new(11, 7, &ids(5, 11), &ids(7, 7)).unwrap();
        let shapes = [[11, 3], [40, 2], [12, 3], [7, 4]];
        let inputs = [0, 1, 2, 3].map(|k| pattern(&shapes[k], k as u64).unwrap());
        let run = |slab: usize| {
            let adjacency = &adjacency;
            let op = Conditioned { adjacency, mean: true, features: 3, hidden: 2, out: 4, slab };
            let [x, hidden, parameters, dy] = inputs.each_ref();
            let [y] = several([x, hidden, parameters], None, |t, _| Ok([op.forward(t)?])).unwrap();
            let gradients = several([x, hidden, parameters, dy], None, |t, _| op.backward(t, true)).unwrap();
            [y].into_iter().chain(gradients).collect::<Vec<Tensor>>()
        };
        for (a, b) in run(SLAB).iter().zip(&run(30)) {
            let gap = (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(gap < 1e-13, "{gap}");
        }
    }
}

use super::Adjacency;
use super::kernel::{Real, dispatch, slice};
#[cfg(feature = "cuda")]
use crate::cuda::segment;
use crate::parallel::build_rows;
use crate::{Error, Result};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor, WithDType};
use std::sync::Arc;

/// Rows of edges brought into the order of [`Adjacency::self_loops`]: those of the edges that are kept, then one per
/// loop, the sum or, with `mean`, the mean of the rows of the other edges that arrive at its node; 0 where none does.
///
/// # Shapes
/// `values` \[edges, F\] -> \[edges with loops, F\]
///
/// # Errors
/// [`Error::Shape`] if there is not one row per edge; an error of candle for another type than f32 and f64 or a
/// device without a kernel.
pub fn with_loop_rows(values: &Tensor, adjacency: &Arc<Adjacency>, mean: bool) -> Result<Tensor> {
    match values.dims() {
        [e, width] if *e == adjacency.edge_count() && *width > 0 => {}
        other => {
            let expected = format!("[{}, features]", adjacency.edge_count());
            return Err(Error::shape("with_loop_rows", expected, other));
        }
    }
    let op = LoopRows { adjacency: adjacency.clone(), mean, reverse: false };
    Ok(values.contiguous()?.apply_op1(op)?)
}

struct LoopRows {
    adjacency: Arc<Adjacency>,
    mean: bool,
    reverse: bool,
}

const BLOCK: usize = 1024;

impl LoopRows {
    /// The weight of an edge in the row of its target's loop.
    fn share<T: Real>(&self, degree: usize) -> T {
        if self.mean { T::of(1.0 / degree.max(1) as f64) } else { T::one() }
    }

    fn forward<T: Real>(&self, values: &[T], width: usize) -> Vec<T> {
        let loops = self.adjacency.self_loops();
        let (kept, by_target) = (&loops.kept, loops.adjacency.by_target());
        build_rows(loops.adjacency.edge_count(), width, BLOCK, |first, out: &mut [T]| {
            for (i, out) in out.chunks_mut(width).enumerate() {
                let row = first + i;
                if let Some(&e) = kept.get(row) {
                    out.copy_from_slice(&values[e as usize * width..][..width]);
                    continue;
                }
                let node = row - kept.len();
                for e in by_target.edges(node).iter().filter_map(|&e| kept.get(e as usize)) {
                    let value = &values[*e as usize * width..][..width];
                    out.iter_mut().zip(value).for_each(|(o, &v)| *o += v);
                }
                let share = self.share(by_target.degree(node) - 1);
                out.iter_mut().for_each(|o| *o *= share);
            }
        })
    }

    fn backward<T: Real>(&self, dy: &[T], width: usize) -> Vec<T> {
        let loops = self.adjacency.self_loops();
        let (kept, by_target) = (loops.kept.len(), loops.adjacency.by_target());
        let (targets, nodes) = (self.adjacency.targets(), loops.adjacency.edge_count() - kept);
        build_rows(self.adjacency.edge_count(), width, BLOCK, |first, out: &mut [T]| {
            for (i, out) in out.chunks_mut(width).enumerate() {
                // How many loops were taken out before this edge.
                let edge = first + i;
                let before = loops.loops.partition_point(|&l| (l as usize) < edge);
                if loops.loops.get(before).is_some_and(|&l| l as usize == edge) {
                    continue;
                }
                out.copy_from_slice(&dy[(edge - before) * width..][..width]);
                let node = targets[edge] as usize;
                if node < nodes {
                    let share: T = self.share(by_target.degree(node) - 1);
                    let of_loop = &dy[(kept + node) * width..][..width];
                    out.iter_mut().zip(of_loop).for_each(|(o, &d)| *o += d * share);
                }
            }
        })
    }
}

impl CustomOp1 for LoopRows {
    fn name(&self) -> &'static str {
        "loop rows"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let width = layout.shape().dims2()?.1;
        let dtype = candle_core::backend::BackendStorage::dtype(x);
        dispatch!(self.name(), dtype, T => {
            let x = slice::<T>(x, layout)?;
            let out = if self.reverse { self.backward(x, width) } else { self.forward(x, width) };
            let rows = match self.reverse {
                true => self.adjacency.edge_count(),
                false => self.adjacency.self_loops().adjacency.edge_count(),
            };
            Ok((T::to_cpu_storage_owned(out), Shape::from((rows, width))))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        match self.reverse {
            false => segment::with_loop_rows(self.name(), (x, layout), &self.adjacency, self.mean),
            true => segment::loop_rows_gradient(self.name(), (x, layout), &self.adjacency, self.mean),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let op = LoopRows { adjacency: self.adjacency.clone(), mean: self.mean, reverse: true };
        Ok(Some(dy.contiguous()?.apply_op1_no_bwd(&op)?))
    }
}

//! Attention over the edges of each target.
#![allow(unsafe_code)]
// One index walks several rows of heads side by side.
#![allow(clippy::needless_range_loop)]

use super::gather::{AHEAD, Own, Rows, Sum, add_scaled, dot};
use super::kernel::{Real, dispatch, slice, with_values};
use super::simd::{Kernel, Scattered, prefetch, vectorized};
use super::{Adjacency, Csr};
#[cfg(feature = "cuda")]
use crate::cuda::{attention as cuda, tensors};
use crate::parallel::build_rows;
use crate::{Error, Result};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};
use std::any::Any;
use std::sync::{Arc, OnceLock};

/// Attention of each target to the sources of its edges, per head, in one pass:
/// `y_i = sum_j alpha_ij v_j`, `alpha_ij = softmax_j leaky_relu(s_j + t_i (+ z_e))`.
///
/// Backward recomputes the weights; no features are copied to edges, forward or backward.
/// A target without edges gives 0.
///
/// # Shapes
/// `source` \[sources, H * C + H\]: the values `v` and behind them `s`; `target` \[targets, H\]: `t`; `edge`
/// \[edges, H\] in the order of the edge list: `z` -> \[targets, H * C\]
///
/// # Errors
/// [`Error::Shape`] if a shape does not fit; an error of candle for another type than f32 and f64 or a device without
/// a kernel.
pub fn graph_attention(
    source: &Tensor,
    target: &Tensor,
    edge: Option<&Tensor>,
    adjacency: &Arc<Adjacency>,
    negative_slope: f64,
) -> Result<Tensor> {
    const OP: &str = "graph_attention";
    let (sources, targets) = (adjacency.source_count(), adjacency.target_count());
    let (stride, heads) = match (source.dims(), target.dims()) {
        ([s, stride], [t, heads])
            if *s == sources && *t == targets && *heads > 0 && stride % heads == 0 && stride > heads =>
        {
            (*stride, *heads)
        }
        other => {
            let expected = format!("[{sources}, heads * (channels + 1)] and [{targets}, heads]");
            return Err(Error::shape(OP, expected, other));
        }
    };
    let saved = OnceLock::new();
    let op = Attention { adjacency: adjacency.clone(), heads, stride, slope: negative_slope, saved };
    let (source, target) = (source.contiguous()?, target.contiguous()?);
    let Some(edge) = edge else { return Ok(source.apply_op2(&target, op)?) };
    if edge.dims() != [adjacency.edge_count(), heads] {
        let expected = format!("[{}, {heads}] logits of edges", adjacency.edge_count());
        return Err(Error::shape(OP, expected, edge.dims()));
    }
    Ok(source.apply_op3(&target, &edge.contiguous()?, op)?)
}

struct Attention {
    adjacency: Arc<Adjacency>,
    heads: usize,
    stride: usize,
    slope: f64,
    /// Per target and head the largest logit and 1 / sum, from the forward to the backward pass.
    saved: OnceLock<Box<dyn Any + Send + Sync>>,
}

const BLOCK: usize = 64;

impl Attention {
    fn width(&self) -> usize {
        self.stride - self.heads
    }

    /// The result, and per target and head the largest logit and 1 / sum.
    fn forward<T: Real>(&self, source: &[T], target: &[T], edge: Option<&[T]>) -> (Vec<T>, Vec<T>) {
        let csr = self.adjacency.by_target();
        let (heads, stride, width) = (self.heads, self.stride, self.width());
        let slope = T::of(self.slope);
        let mut saved = vec![T::zero(); csr.rows() * 2 * heads];
        let mut y = vec![];
        Scattered::over(&mut saved, |saved| {
            y = build_rows(csr.rows(), width, BLOCK, |first, out: &mut [T]| {
                vectorized(Attend { source, target, edge, csr, heads, stride, slope, first, out, saved });
            });
        });
        (y, saved)
    }

    /// [`Attention::forward`], which leaves behind what the backward pass needs.
    fn output<T: Real>(&self, source: &[T], target: &[T], edge: Option<&[T]>) -> (CpuStorage, Shape) {
        let (y, saved) = self.forward(source, target, edge);
        let _ = self.saved.set(Box::new(saved));
        (T::to_cpu_storage_owned(y), Shape::from((self.adjacency.target_count(), self.width())))
    }

    /// Per target and head `t`, the largest logit, 1 / sum, and `dy . y`: \[targets, 4 H\].
    fn statistics<T: Real>(
        &self,
        (source, target, edge): (&[T], &[T], Option<&[T]>),
        y: &[T],
        dy: &[T],
    ) -> Vec<T> {
        let (heads, width) = (self.heads, self.width());
        let again;
        let saved = match self.saved.get().and_then(|s| s.downcast_ref::<Vec<T>>()) {
            Some(kept) => kept,
            None => {
                again = self.forward(source, target, edge).1;
                &again
            }
        };
        build_rows(self.adjacency.target_count(), 4 * heads, BLOCK, |first, out: &mut [T]| {
            vectorized(Statistics { target, saved, heads, width, first, y, dy, out });
        })
    }

    /// The gradients of the sources, the targets and the logits of edges.
    fn backward<T: Real>(
        &self,
        (source, target, edge): (&[T], &[T], Option<&[T]>),
        y: &[T],
        dy: &[T],
    ) -> (Vec<T>, Vec<T>, Vec<T>) {
        let (heads, stride) = (self.heads, self.stride);
        let statistics = self.statistics((source, target, edge), y, dy);
        let statistics = &statistics;
        let csr = self.adjacency.by_source();
        let slope = T::of(self.slope);
        let mut draws = vec![T::zero(); self.adjacency.edge_count() * heads];
        let mut ds = vec![];
        Scattered::over(&mut draws, |draws| {
            ds = build_rows(csr.rows(), stride, BLOCK, |first, out: &mut [T]| {
                vectorized(Back {
                    source,
                    statistics,
                    edge,
                    dy,
                    csr,
                    heads,
                    stride,
                    slope,
                    first,
                    out,
                    draws,
                });
            });
        });
        let rows = Rows::edges(self.adjacency.by_target());
        let dt = build_rows(self.adjacency.target_count(), heads, 4 * BLOCK, |first, out: &mut [T]| {
            let count = out.len() / heads;
            let (x, width, of_row, of_column) = (&draws[..], heads, None, None);
            vectorized(Sum { x, width, rows, first, count, of_row, of_column, own: Own::Kept, out });
        });
        (ds, dt, draws)
    }
}

#[cfg(feature = "cuda")]
impl Attention {
    fn on_cuda(&self) -> cuda::Attention<'_> {
        let (heads, stride, slope) = (self.heads, self.stride, self.slope);
        cuda::Attention { adjacency: &self.adjacency, heads, stride, slope }
    }

    fn cuda_output(
        &self,
        operands: [(&CudaStorage, &Layout); 2],
        edge: Option<(&CudaStorage, &Layout)>,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let (y, saved) = self.on_cuda().forward(operands, edge)?;
        let _ = self.saved.set(Box::new(saved));
        Ok(y)
    }

    /// The gradients of the sources, the targets and the logits of edges.
    fn cuda_bwd(&self, tensors: [&Tensor; 4], edge: Option<&Tensor>) -> candle_core::Result<[Tensor; 3]> {
        tensors::several(tensors, edge, |operands, edge| {
            let again;
            let saved = match self.saved.get().and_then(|s| s.downcast_ref::<CudaStorage>()) {
                Some(kept) => kept,
                None => {
                    again = self.on_cuda().forward([operands[0], operands[1]], edge)?.1;
                    &again
                }
            };
            self.on_cuda().backward(operands, edge, saved)
        })
    }
}

/// `leaky_relu(s + t (+ z))` per head.
#[inline(always)]
fn logits<T: Real>(s: &[T], t: &[T], z: Option<&[T]>, slope: T, out: &mut [T]) {
    for h in 0..out.len() {
        out[h] = s[h] + t[h];
    }
    if let Some(z) = z {
        for h in 0..out.len() {
            out[h] += z[h];
        }
    }
    for v in out.iter_mut() {
        *v = if *v > T::zero() { *v } else { *v * slope };
    }
}

/// The logits of a target's edges, and the largest of each head.
#[inline(always)]
fn row_logits<T: Real, const H: usize>(
    (source, edge): (&[T], Option<&[T]>),
    (columns, edges): (&[u32], &[u32]),
    t: &[T],
    (stride, slope): (usize, T),
    z: &mut Vec<T>,
    max: &mut [T],
) {
    let heads = if H > 0 { H } else { max.len() };
    z.clear();
    z.resize(columns.len() * heads, T::zero());
    for (n, (&c, &e)) in columns.iter().zip(edges).enumerate() {
        let s = &source[c as usize * stride + stride - heads..][..heads];
        let z = &mut z[n * heads..][..heads];
        logits(s, &t[..heads], edge.map(|edge| &edge[e as usize * heads..][..heads]), slope, z);
        let max = &mut max[..heads];
        for h in 0..heads {
            max[h] = if n == 0 || z[h] > max[h] { z[h] } else { max[h] };
        }
    }
}

/// Exponentials of logits less their largest, in place; their sum per head.
#[inline(always)]
fn exponentials<T: Real, const H: usize>(z: &mut [T], max: &[T], sum: &mut [T]) {
    let heads = if H > 0 { H } else { max.len() };
    let (max, sum) = (&max[..heads], &mut sum[..heads]);
    sum.fill(T::zero());
    for z in z.chunks_exact_mut(heads) {
        for h in 0..heads {
            z[h] = (z[h] - max[h]).exp_negative();
            sum[h] += z[h];
        }
    }
}

struct Attend<'a, T> {
    source: &'a [T],
    target: &'a [T],
    edge: Option<&'a [T]>,
    csr: &'a Csr,
    heads: usize,
    stride: usize,
    slope: T,
    first: usize,
    out: &'a mut [T],
    saved: &'a Scattered<T>,
}

impl<T: Real> Kernel for Attend<'_, T> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        match (self.heads, (self.stride - self.heads) / self.heads) {
            (8, 8) => self.heads::<FMA, 8, 8>(),
            (4, 16) => self.heads::<FMA, 4, 16>(),
            (8, _) => self.heads::<FMA, 8, 0>(),
            (4, _) => self.heads::<FMA, 4, 0>(),
            (1, _) => self.heads::<FMA, 1, 0>(),
            _ => self.heads::<FMA, 0, 0>(),
        }
    }
}

impl<T: Real> Attend<'_, T> {
    #[inline(always)]
    fn heads<const FMA: bool, const H: usize, const C: usize>(self) {
        let heads = if H > 0 { H } else { self.heads };
        let channels = if C > 0 { C } else { (self.stride - heads) / heads };
        let (width, stride) = (heads * channels, heads * channels + heads);
        let (offsets, columns, edges) = (self.csr.offsets(), self.csr.all_columns(), self.csr.all_edges());
        let mut z = vec![];
        for (i, out) in self.out.chunks_exact_mut(width).enumerate() {
            let out = &mut out[..width];
            let target = self.first + i;
            let (from, to) = (offsets[target], offsets[target + 1]);
            for &c in &columns[to.min(columns.len())..(to + AHEAD).min(columns.len())] {
                prefetch(self.source, c as usize * stride, stride);
            }
            let (columns, edges) = (&columns[from..to], &edges[from..to]);
            let t = &self.target[target * heads..][..heads];
            let with = (stride, self.slope);
            // SAFETY: a target belongs to one block: nobody else has this row.
            let (max, sum) = unsafe { self.saved.row(target, 2 * heads) }.split_at_mut(heads);
            row_logits::<T, H>((self.source, self.edge), (columns, edges), t, with, &mut z, max);
            exponentials::<T, H>(&mut z, max, sum);
            for (&c, z) in columns.iter().zip(z.chunks_exact(heads)) {
                let v = &self.source[c as usize * stride..][..width];
                for h in 0..heads {
                    let head = h * channels..(h + 1) * channels;
                    add_scaled::<FMA, T>(&mut out[head.clone()], &v[head], z[h]);
                }
            }
            for h in 0..heads {
                sum[h] = T::one() / (sum[h] + T::of(1e-16));
                // Without edges the scale is huge and the sum 0.
                for o in &mut out[h * channels..(h + 1) * channels] {
                    *o *= sum[h];
                }
            }
        }
    }
}

struct Statistics<'a, T> {
    target: &'a [T],
    saved: &'a [T],
    heads: usize,
    width: usize,
    first: usize,
    y: &'a [T],
    dy: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel for Statistics<'_, T> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let heads = self.heads;
        let channels = self.width / heads;
        for (i, out) in self.out.chunks_mut(4 * heads).enumerate() {
            let target = self.first + i;
            out[..heads].copy_from_slice(&self.target[target * heads..][..heads]);
            out[heads..3 * heads].copy_from_slice(&self.saved[target * 2 * heads..][..2 * heads]);
            let (y, dy) = (&self.y[target * self.width..], &self.dy[target * self.width..]);
            for h in 0..heads {
                let head = h * channels..(h + 1) * channels;
                out[3 * heads + h] = dot::<FMA, T>(&y[head.clone()], &dy[head]);
            }
        }
    }
}

/// Walks the edges that leave each source; `draws` receives the gradient of the logit of each edge before the ReLU.
struct Back<'a, T> {
    source: &'a [T],
    statistics: &'a [T],
    edge: Option<&'a [T]>,
    dy: &'a [T],
    csr: &'a Csr,
    heads: usize,
    stride: usize,
    slope: T,
    first: usize,
    out: &'a mut [T],
    draws: &'a Scattered<T>,
}

impl<T: Real> Kernel for Back<'_, T> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        match (self.heads, (self.stride - self.heads) / self.heads) {
            (8, 8) => self.heads::<FMA, 8, 8>(),
            (4, 16) => self.heads::<FMA, 4, 16>(),
            (8, _) => self.heads::<FMA, 8, 0>(),
            (4, _) => self.heads::<FMA, 4, 0>(),
            (1, _) => self.heads::<FMA, 1, 0>(),
            _ => self.heads::<FMA, 0, 0>(),
        }
    }
}

impl<T: Real> Back<'_, T> {
    #[inline(always)]
    fn heads<const FMA: bool, const H: usize, const C: usize>(self) {
        let heads = if H > 0 { H } else { self.heads };
        let channels = if C > 0 { C } else { (self.stride - heads) / heads };
        let (width, stride, slope) = (heads * channels, heads * channels + heads, self.slope);
        let (offsets, columns, edges) = (self.csr.offsets(), self.csr.all_columns(), self.csr.all_edges());
        let (mut z, mut alpha) = (vec![T::zero(); heads], vec![T::zero(); heads]);
        for (i, out) in self.out.chunks_exact_mut(stride).enumerate() {
            let row = self.first + i;
            // Lengths that are constant for the compiler, so that it unrolls the loops over heads and channels.
            let (dv, ds) = out.split_at_mut(width);
            let (v, s) = self.source[row * stride..][..stride].split_at(width);
            let (dv, ds, v, s) = (&mut dv[..width], &mut ds[..heads], &v[..width], &s[..heads]);
            let (z, alpha) = (&mut z[..heads], &mut alpha[..heads]);
            for at in offsets[row]..offsets[row + 1] {
                if let (Some(&c), Some(&e)) = (columns.get(at + AHEAD), edges.get(at + AHEAD)) {
                    prefetch(self.dy, c as usize * width, width);
                    prefetch(self.statistics, c as usize * 4 * heads, 4 * heads);
                    if let Some(edge) = self.edge {
                        prefetch(edge, e as usize * heads, heads);
                    }
                }
                let (target, e) = (columns[at] as usize, edges[at] as usize);
                let dy = &self.dy[target * width..][..width];
                let (t, rest) = self.statistics[target * 4 * heads..][..4 * heads].split_at(heads);
                let (max, rest) = rest.split_at(heads);
                let (scale, product) = rest.split_at(heads);
                let (t, max, scale, product) =
                    (&t[..heads], &max[..heads], &scale[..heads], &product[..heads]);
                logits(s, t, self.edge.map(|edge| &edge[e * heads..][..heads]), slope, z);
                for h in 0..heads {
                    alpha[h] = (z[h] - max[h]).exp_negative() * scale[h];
                }
                // SAFETY: an edge leaves one source, and a source belongs to one block: nobody else has this row.
                let draw = &mut unsafe { self.draws.row(e, heads) }[..heads];
                for h in 0..heads {
                    let head = h * channels..(h + 1) * channels;
                    let dalpha = dot::<FMA, T>(&v[head.clone()], &dy[head.clone()]);
                    let dz = alpha[h] * (dalpha - product[h]);
                    draw[h] = dz;
                    add_scaled::<FMA, T>(&mut dv[head.clone()], &dy[head], alpha[h]);
                }
                let raw = |h: usize| {
                    let raw = s[h] + t[h];
                    self.edge.map_or(raw, |edge| raw + edge[e * heads + h])
                };
                for h in 0..heads {
                    draw[h] = if raw(h) > T::zero() { draw[h] } else { draw[h] * slope };
                    ds[h] += draw[h];
                }
            }
        }
    }
}

impl CustomOp2 for Attention {
    fn name(&self) -> &'static str {
        "graph attention"
    }

    fn cpu_fwd(
        &self,
        source: &CpuStorage,
        s_layout: &Layout,
        target: &CpuStorage,
        t_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let dtype = candle_core::backend::BackendStorage::dtype(source);
        dispatch!("graph attention", dtype, T => {
            Ok(self.output::<T>(slice(source, s_layout)?, slice(target, t_layout)?, None))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        source: &CudaStorage,
        s_layout: &Layout,
        target: &CudaStorage,
        t_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        self.cuda_output([(source, s_layout), (target, t_layout)], None)
    }

    fn bwd(
        &self,
        source: &Tensor,
        target: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        #[cfg(feature = "cuda")]
        if source.device().is_cuda() {
            let [ds, dt, _] = self.cuda_bwd([source, target, y, &dy], None)?;
            return Ok((Some(ds), Some(dt)));
        }
        dispatch!("graph attention", source.dtype(), T => {
            let (ds, dt, _) = with_values::<T, _>(source, |s| with_values(target, |t| with_values(y, |y| {
                with_values(&dy, |dy| Ok(self.backward((s, t, None), y, dy)))
            })))?;
            let ds = Tensor::from_vec(ds, source.shape(), source.device())?;
            Ok((Some(ds), Some(Tensor::from_vec(dt, target.shape(), source.device())?)))
        })
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "graph attention"
    }

    fn cpu_fwd(
        &self,
        source: &CpuStorage,
        s_layout: &Layout,
        target: &CpuStorage,
        t_layout: &Layout,
        edge: &CpuStorage,
        e_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let dtype = candle_core::backend::BackendStorage::dtype(source);
        dispatch!("graph attention", dtype, T => {
            let (s, t) = (slice(source, s_layout)?, slice(target, t_layout)?);
            Ok(self.output::<T>(s, t, Some(slice(edge, e_layout)?)))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        source: &CudaStorage,
        s_layout: &Layout,
        target: &CudaStorage,
        t_layout: &Layout,
        edge: &CudaStorage,
        e_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        self.cuda_output([(source, s_layout), (target, t_layout)], Some((edge, e_layout)))
    }

    fn bwd(
        &self,
        source: &Tensor,
        target: &Tensor,
        edge: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        #[cfg(feature = "cuda")]
        if source.device().is_cuda() {
            let [ds, dt, de] = self.cuda_bwd([source, target, y, &dy], Some(edge))?;
            return Ok((Some(ds), Some(dt), Some(de)));
        }
        dispatch!("graph attention", source.dtype(), T => {
            let run = |s: &[T], t: &[T], e: &[T]| with_values(y, |y| {
                with_values(&dy, |dy| Ok(self.backward((s, t, Some(e)), y, dy)))
            });
            let (ds, dt, de) = with_values::<T, _>(source, |s| {
                with_values(target, |t| with_values(edge, |e| run(s, t, e)))
            })?;
            let back = |d: Vec<T>, like: &Tensor| Tensor::from_vec(d, like.shape(), like.device());
            Ok((Some(back(ds, source)?), Some(back(dt, target)?), Some(back(de, edge)?)))
        })
    }
}

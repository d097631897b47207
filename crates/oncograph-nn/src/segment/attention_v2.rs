//! Attention whose logits see both ends of an edge before the ReLU.
#![allow(unsafe_code)]
// One index walks several rows of heads side by side.
#![allow(clippy::needless_range_loop)]

use super::gather::{AHEAD, add_scaled, dot};
use super::kernel::{Real, dispatch, slice, with_values};
use super::simd::{Kernel, Scattered, prefetch, vectorized};
use super::{Adjacency, Csr};
#[cfg(feature = "cuda")]
use crate::cuda::{attention_v2 as cuda, tensors};
use crate::parallel::{build_rows, build_rows_and_sums};
use crate::{Error, Result};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor, WithDType};
use std::any::Any;
use std::sync::{Arc, OnceLock};

/// Attention of each target to the sources of its edges, per head, in one pass: `y_i = sum_j alpha_ij l_j`,
/// `alpha_ij = softmax_j a . leaky_relu(l_j + r_i (+ W_e e))`.
///
/// Features of edges are made where they are needed, forward and backward, and not kept. The attributes receive no
/// gradient. A target without edges gives 0.
///
/// # Shapes
/// `source` \[sources, H * C\]: `l`; `target` \[targets, H * C\]: `r`; `parameters` \[1 + A, H * C\]: `a`, then the
/// transpose of `W_e`; `attributes` \[edges, A\] in the order of the edge list -> \[targets, H * C\]
///
/// # Errors
/// [`Error::Shape`] if a shape does not fit; an error of candle for another type than f32 and f64 or a device without
/// a kernel.
#[expect(clippy::too_many_arguments, reason = "the tensors of one operation, as in its formula")]
pub fn graph_attention_v2(
    source: &Tensor,
    target: &Tensor,
    parameters: &Tensor,
    attributes: Option<&Tensor>,
    adjacency: &Arc<Adjacency>,
    heads: usize,
    negative_slope: f64,
) -> Result<Tensor> {
    const OP: &str = "graph_attention_v2";
    let (sources, targets) = (adjacency.source_count(), adjacency.target_count());
    let width = match (source.dims(), target.dims()) {
        ([s, w], [t, v])
            if *s == sources && *t == targets && w == v && *w > 0 && heads > 0 && w % heads == 0 =>
        {
            *w
        }
        other => {
            let expected = format!("[{sources}, {heads} * channels] and [{targets}, {heads} * channels]");
            return Err(Error::shape(OP, expected, other));
        }
    };
    let attributes = match attributes {
        Some(a) if a.rank() != 2 || a.dim(0)? != adjacency.edge_count() || a.dtype() != source.dtype() => {
            let expected = format!("[{}, attributes] of {:?}", adjacency.edge_count(), source.dtype());
            return Err(Error::shape(OP, expected, a));
        }
        Some(a) => Some(a.detach().contiguous()?),
        None => None,
    };
    let count = attributes.as_ref().map_or(Ok(0), |a| a.dim(1))?;
    if parameters.dims() != [1 + count, width] {
        return Err(Error::shape(OP, format!("parameters [{}, {width}]", 1 + count), parameters.dims()));
    }
    let saved = OnceLock::new();
    let op = Attention {
        adjacency: adjacency.clone(),
        attributes,
        count,
        heads,
        width,
        slope: negative_slope,
        saved,
    };
    Ok(source.contiguous()?.apply_op3(&target.contiguous()?, &parameters.contiguous()?, op)?)
}

struct Attention {
    adjacency: Arc<Adjacency>,
    attributes: Option<Tensor>,
    /// Attributes per edge.
    count: usize,
    heads: usize,
    width: usize,
    slope: f64,
    /// Per target and head the largest logit and 1 / sum, from the forward to the backward pass.
    saved: OnceLock<Box<dyn Any + Send + Sync>>,
}

const BLOCK: usize = 64;

/// What every pass reads.
#[derive(Clone, Copy)]
struct Inputs<'a, T> {
    source: &'a [T],
    target: &'a [T],
    /// `a`, then the rows of `W_e^T`.
    parameters: &'a [T],
    attributes: &'a [T],
    count: usize,
    heads: usize,
    width: usize,
    slope: T,
}

impl<'a, T: Real> Inputs<'a, T> {
    /// Heads, channels and their product, compile-time constants where `H` and `C` are not 0.
    #[inline(always)]
    fn sizes<const H: usize, const C: usize>(&self) -> (usize, usize, usize) {
        let heads = if H > 0 { H } else { self.heads };
        let channels = if C > 0 { C } else { self.width / self.heads };
        (heads, channels, heads * channels)
    }

    /// `l_j + r_i (+ W_e e)`.
    #[inline(always)]
    fn pair<const FMA: bool, const H: usize, const C: usize>(
        &self,
        l: &[T],
        r: &[T],
        edge: usize,
        u: &mut [T],
    ) {
        let width = self.sizes::<H, C>().2;
        let (l, r, u) = (&l[..width], &r[..width], &mut u[..width]);
        for k in 0..width {
            u[k] = l[k] + r[k];
        }
        if self.count > 0 {
            let attributes = &self.attributes[edge * self.count..][..self.count];
            for a in 0..self.count {
                add_scaled::<FMA, T>(u, &self.parameters[(1 + a) * width..][..width], attributes[a]);
            }
        }
    }

    #[inline(always)]
    fn activate<const H: usize, const C: usize>(&self, u: &[T], active: &mut [T]) {
        let width = self.sizes::<H, C>().2;
        let (u, active) = (&u[..width], &mut active[..width]);
        for k in 0..width {
            active[k] = if u[k] > T::zero() { u[k] } else { u[k] * self.slope };
        }
    }

    /// The product of two rows per head.
    #[inline(always)]
    fn dots<const FMA: bool, const H: usize, const C: usize>(&self, x: &[T], y: &[T], out: &mut [T]) {
        let (heads, channels, width) = self.sizes::<H, C>();
        let (x, y, out) = (&x[..width], &y[..width], &mut out[..heads]);
        for h in 0..heads {
            let head = h * channels..(h + 1) * channels;
            out[h] = dot::<FMA, T>(&x[head.clone()], &y[head]);
        }
    }

    /// `dz_h a_k` where the ReLU was open, its slope times that elsewhere; `u` is overwritten by it.
    #[inline(always)]
    fn pair_gradient<const H: usize, const C: usize>(&self, u: &mut [T], dz: &[T]) {
        let (heads, channels, width) = self.sizes::<H, C>();
        let (u, dz) = (&mut u[..width], &dz[..heads]);
        for h in 0..heads {
            let head = h * channels..(h + 1) * channels;
            let (u, a, dz) = (&mut u[head.clone()], &self.parameters[head], dz[h]);
            for k in 0..u.len().min(a.len()) {
                let open = if u[k] > T::zero() { T::one() } else { self.slope };
                u[k] = dz * a[k] * open;
            }
        }
    }

    #[inline(always)]
    fn l(&self, row: u32) -> &'a [T] {
        &self.source[row as usize * self.width..][..self.width]
    }

    #[inline(always)]
    fn r(&self, row: usize) -> &'a [T] {
        &self.target[row * self.width..][..self.width]
    }
}

/// Fetches the rows that the edge `AHEAD` places after `$at` needs.
macro_rules! fetch {
    ($csr:expr, $at:expr, $(($data:expr, $width:expr)),*; $(($by_edge:expr, $w:expr)),*) => {
        if let (Some(&c), Some(&e)) = ($csr.all_columns().get($at + AHEAD), $csr.all_edges().get($at + AHEAD)) {
            $(prefetch($data, c as usize * $width, $width);)*
            $(prefetch($by_edge, e as usize * $w, $w);)*
        }
    };
}

/// The weighted sums of `out.len() / width` targets; `saved` receives the largest logit and 1 / sum of each head.
struct Attend<'a, T> {
    with: Inputs<'a, T>,
    csr: &'a Csr,
    first: usize,
    out: &'a mut [T],
    saved: &'a Scattered<T>,
}

impl<T: Real> Kernel for Attend<'_, T> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        match (self.with.heads, self.with.width) {
            (8, 64) => self.heads::<FMA, 8, 8>(),
            (4, 64) => self.heads::<FMA, 4, 16>(),
            _ => self.heads::<FMA, 0, 0>(),
        }
    }
}

impl<T: Real> Attend<'_, T> {
    #[inline(always)]
    fn heads<const FMA: bool, const H: usize, const C: usize>(self) {
        let Attend { with, csr, first, out, saved } = self;
        let (heads, channels, width) = with.sizes::<H, C>();
        let (mut z, mut u, mut active) = (vec![], vec![T::zero(); width], vec![T::zero(); width]);
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            let out = &mut out[..width];
            let target = first + i;
            // SAFETY: a target belongs to one block: nobody else has this row.
            let (max, scale) = unsafe { saved.row(target, 2 * heads) }.split_at_mut(heads);
            let part = csr.offsets()[target]..csr.offsets()[target + 1];
            z.clear();
            z.resize(part.len() * heads, T::zero());
            for (n, at) in part.clone().enumerate() {
                fetch!(csr, at, (with.source, width); (with.attributes, with.count));
                let (column, edge) = (csr.all_columns()[at], csr.all_edges()[at] as usize);
                with.pair::<FMA, H, C>(with.l(column), with.r(target), edge, &mut u);
                with.activate::<H, C>(&u, &mut active);
                let z = &mut z[n * heads..][..heads];
                with.dots::<FMA, H, C>(&active, with.parameters, z);
                for h in 0..heads {
                    max[h] = if n == 0 || z[h] > max[h] { z[h] } else { max[h] };
                }
            }
            scale.fill(T::zero());
            for (z, at) in z.chunks_exact_mut(heads).zip(part.clone()) {
                for h in 0..heads {
                    z[h] = (z[h] - max[h]).exp_negative();
                    scale[h] += z[h];
                }
                let l = with.l(csr.all_columns()[at]);
                for h in 0..heads {
                    let head = h * channels..(h + 1) * channels;
                    add_scaled::<FMA, T>(&mut out[head.clone()], &l[head], z[h]);
                }
            }
            for h in 0..heads {
                scale[h] = T::one() / (scale[h] + T::of(1e-16));
                if !part.is_empty() {
                    out[h * channels..(h + 1) * channels].iter_mut().for_each(|o| *o *= scale[h]);
                }
            }
        }
    }
}

/// Walks the edges that reach each target: the gradients of `r` and of the parameters, and for each edge its weight
/// and the gradient of its logit.
struct ToTargets<'a, T> {
    with: Inputs<'a, T>,
    saved: &'a [T],
    y: &'a [T],
    dy: &'a [T],
    csr: &'a Csr,
    first: usize,
    dr: &'a mut [T],
    dp: &'a mut [T],
    edges: &'a Scattered<T>,
}

impl<T: Real> Kernel for ToTargets<'_, T> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        match (self.with.heads, self.with.width) {
            (8, 64) => self.heads::<FMA, 8, 8>(),
            (4, 64) => self.heads::<FMA, 4, 16>(),
            _ => self.heads::<FMA, 0, 0>(),
        }
    }
}

impl<T: Real> ToTargets<'_, T> {
    #[inline(always)]
    fn heads<const FMA: bool, const H: usize, const C: usize>(self) {
        let ToTargets { with, saved, y, dy, csr, first, dr, dp, edges } = self;
        let (heads, channels, width) = with.sizes::<H, C>();
        let row = || vec![T::zero(); width];
        let (mut u, mut active, mut product, mut dalpha) =
            (row(), row(), vec![T::zero(); heads], vec![T::zero(); heads]);
        for (i, dr) in dr.chunks_exact_mut(width).enumerate() {
            let dr = &mut dr[..width];
            let target = first + i;
            let (max, scale) = saved[target * 2 * heads..][..2 * heads].split_at(heads);
            let dy = &dy[target * width..][..width];
            with.dots::<FMA, H, C>(&y[target * width..][..width], dy, &mut product);
            for at in csr.offsets()[target]..csr.offsets()[target + 1] {
                fetch!(csr, at, (with.source, width); (with.attributes, with.count));
                let (column, edge) = (csr.all_columns()[at], csr.all_edges()[at] as usize);
                let l = with.l(column);
                with.pair::<FMA, H, C>(l, with.r(target), edge, &mut u);
                with.activate::<H, C>(&u, &mut active);
                // SAFETY: an edge reaches one target, and a target belongs to one block: nobody else has this row.
                let (alpha, dz) = unsafe { edges.row(edge, 2 * heads) }.split_at_mut(heads);
                with.dots::<FMA, H, C>(&active, with.parameters, alpha);
                with.dots::<FMA, H, C>(l, dy, &mut dalpha);
                for h in 0..heads {
                    alpha[h] = (alpha[h] - max[h]).exp_negative() * scale[h];
                    dz[h] = alpha[h] * (dalpha[h] - product[h]);
                }
                for h in 0..heads {
                    let head = h * channels..(h + 1) * channels;
                    add_scaled::<FMA, T>(&mut dp[head.clone()], &active[head], dz[h]);
                }
                with.pair_gradient::<H, C>(&mut u, dz);
                add_scaled::<FMA, T>(dr, &u[..width], T::one());
                for a in 0..with.count {
                    let value = with.attributes[edge * with.count + a];
                    add_scaled::<FMA, T>(&mut dp[(1 + a) * width..][..width], &u[..width], value);
                }
            }
        }
    }
}

/// Walks the edges that leave each source: the gradient of `l`.
struct ToSources<'a, T> {
    with: Inputs<'a, T>,
    edges: &'a [T],
    dy: &'a [T],
    csr: &'a Csr,
    first: usize,
    dl: &'a mut [T],
}

impl<T: Real> Kernel for ToSources<'_, T> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        match (self.with.heads, self.with.width) {
            (8, 64) => self.heads::<FMA, 8, 8>(),
            (4, 64) => self.heads::<FMA, 4, 16>(),
            _ => self.heads::<FMA, 0, 0>(),
        }
    }
}

impl<T: Real> ToSources<'_, T> {
    #[inline(always)]
    fn heads<const FMA: bool, const H: usize, const C: usize>(self) {
        let ToSources { with, edges, dy, csr, first, dl } = self;
        let (heads, channels, width) = with.sizes::<H, C>();
        let mut u = vec![T::zero(); width];
        for (i, dl) in dl.chunks_exact_mut(width).enumerate() {
            let dl = &mut dl[..width];
            let row = first + i;
            let l = with.l(row as u32);
            for at in csr.offsets()[row]..csr.offsets()[row + 1] {
                fetch!(csr, at, (dy, width), (with.target, width); (edges, 2 * heads), (with.attributes, with.count));
                let (target, edge) = (csr.all_columns()[at] as usize, csr.all_edges()[at] as usize);
                let (alpha, dz) = edges[edge * 2 * heads..][..2 * heads].split_at(heads);
                let dy = &dy[target * width..][..width];
                with.pair::<FMA, H, C>(l, with.r(target), edge, &mut u);
                with.pair_gradient::<H, C>(&mut u, dz);
                for h in 0..heads {
                    let head = h * channels..(h + 1) * channels;
                    add_scaled::<FMA, T>(&mut u[head.clone()], &dy[head], alpha[h]);
                }
                add_scaled::<FMA, T>(dl, &u[..width], T::one());
            }
        }
    }
}

impl Attention {
    fn inputs<'a, T: Real>(
        &self,
        (source, target, parameters): (&'a [T], &'a [T], &'a [T]),
        attributes: &'a [T],
    ) -> Inputs<'a, T> {
        let (count, heads, width) = (self.count, self.heads, self.width);
        Inputs { source, target, parameters, attributes, count, heads, width, slope: T::of(self.slope) }
    }

    /// Calls `run` with the attributes, or nothing.
    fn with_attributes<T: Real, R>(
        &self,
        run: impl FnOnce(&[T]) -> candle_core::Result<R>,
    ) -> candle_core::Result<R> {
        match &self.attributes {
            Some(a) => with_values(a, run),
            None => run(&[]),
        }
    }

    /// The result, and per target and head the largest logit and 1 / sum.
    fn forward<T: Real>(&self, with: Inputs<T>) -> (Vec<T>, Vec<T>) {
        let csr = self.adjacency.by_target();
        let mut saved = vec![T::zero(); csr.rows() * 2 * self.heads];
        let mut y = vec![];
        Scattered::over(&mut saved, |saved| {
            y = build_rows(csr.rows(), self.width, BLOCK, |first, out: &mut [T]| {
                vectorized(Attend { with, csr, first, out, saved });
            });
        });
        (y, saved)
    }

    /// The gradients of `l`, `r` and the parameters.
    fn backward<T: Real>(&self, with: Inputs<T>, y: &[T], dy: &[T]) -> (Vec<T>, Vec<T>, Vec<T>) {
        let again;
        let saved = match self.saved.get().and_then(|s| s.downcast_ref::<Vec<T>>()) {
            Some(kept) => kept,
            None => {
                again = self.forward(with).1;
                &again
            }
        };
        let (width, csr) = (self.width, self.adjacency.by_target());
        let mut edges = vec![T::zero(); self.adjacency.edge_count() * 2 * self.heads];
        let mut result = (vec![], vec![]);
        let group = csr.rows().div_ceil(64).max(BLOCK);
        Scattered::over(&mut edges, |edges| {
            let len = (1 + self.count) * width;
            result = build_rows_and_sums(csr.rows(), width, group, len, |first, dr: &mut [T], dp| {
                vectorized(ToTargets { with, saved, y, dy, csr, first, dr, dp, edges });
            });
        });
        let csr = self.adjacency.by_source();
        let dl = build_rows(csr.rows(), width, BLOCK, |first, dl: &mut [T]| {
            vectorized(ToSources { with, edges: &edges, dy, csr, first, dl });
        });
        (dl, result.0, result.1)
    }
}

#[cfg(feature = "cuda")]
impl Attention {
    fn on_cuda(&self) -> cuda::AttentionV2<'_> {
        let (heads, width, count, slope) = (self.heads, self.width, self.count, self.slope);
        cuda::AttentionV2 { adjacency: &self.adjacency, heads, width, count, slope }
    }

    /// The gradients of `l`, `r` and the parameters.
    fn cuda_bwd(&self, tensors: [&Tensor; 5]) -> candle_core::Result<[Tensor; 3]> {
        tensors::several(tensors, self.attributes.as_ref(), |operands, attributes| {
            let again;
            let saved = match self.saved.get().and_then(|s| s.downcast_ref::<[CudaStorage; 2]>()) {
                Some(kept) => kept,
                None => {
                    let [l, r, parameters, ..] = operands;
                    again = self.on_cuda().forward([l, r, parameters], attributes)?.1;
                    &again
                }
            };
            self.on_cuda().backward(operands, attributes, saved)
        })
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "graph attention v2"
    }

    fn cpu_fwd(
        &self,
        source: &CpuStorage,
        s_layout: &Layout,
        target: &CpuStorage,
        t_layout: &Layout,
        parameters: &CpuStorage,
        p_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let dtype = candle_core::backend::BackendStorage::dtype(source);
        dispatch!(self.name(), dtype, T => {
            let (s, t, p) = (slice(source, s_layout)?, slice(target, t_layout)?, slice(parameters, p_layout)?);
            let (y, saved) = self.with_attributes::<T, _>(|a| Ok(self.forward(self.inputs((s, t, p), a))))?;
            let _ = self.saved.set(Box::new(saved));
            Ok((T::to_cpu_storage_owned(y), Shape::from((self.adjacency.target_count(), self.width))))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        source: &CudaStorage,
        s_layout: &Layout,
        target: &CudaStorage,
        t_layout: &Layout,
        parameters: &CudaStorage,
        p_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let operands = [(source, s_layout), (target, t_layout), (parameters, p_layout)];
        let (y, saved) =
            tensors::with_operand(self.attributes.as_ref(), |a| self.on_cuda().forward(operands, a))?;
        let _ = self.saved.set(Box::new(saved));
        Ok(y)
    }

    fn bwd(
        &self,
        source: &Tensor,
        target: &Tensor,
        parameters: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        #[cfg(feature = "cuda")]
        if source.device().is_cuda() {
            let [dl, dr, dp] = self.cuda_bwd([source, target, parameters, y, &dy])?;
            return Ok((Some(dl), Some(dr), Some(dp)));
        }
        dispatch!(self.name(), source.dtype(), T => {
            let run = |s: &[T], t: &[T], p: &[T]| self.with_attributes(|a| with_values(y, |y| {
                with_values(&dy, |dy| Ok(self.backward(self.inputs((s, t, p), a), y, dy)))
            }));
            let (dl, dr, dp) = with_values::<T, _>(source, |s| {
                with_values(target, |t| with_values(parameters, |p| run(s, t, p)))
            })?;
            let back = |d: Vec<T>, like: &Tensor| Tensor::from_vec(d, like.shape(), like.device());
            Ok((Some(back(dl, source)?), Some(back(dr, target)?), Some(back(dp, parameters)?)))
        })
    }
}

//! Sums of messages under a matrix per edge.
#![allow(unsafe_code)]

use super::gather::{AHEAD, add_scaled};
use super::kernel::{Real, dispatch, slice, with_values};
use super::simd::{Kernel, Scattered, madd, prefetch, vectorized};
use super::{Adjacency, Csr};
#[cfg(feature = "cuda")]
use crate::cuda::{edge_conditioned as cuda, tensors};
use crate::element::Element;
use crate::gemm::{Mat, matmul};
use crate::parallel::{build_rows, build_rows_and_sums};
use crate::{Error, Result};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, D, Layout, Shape, Tensor, WithDType};
use std::sync::Arc;

/// Whether [`edge_conditioned`] is meant for these widths: each of its threads keeps a gradient of the matrices.
pub fn edge_conditioned_fits(features: usize, hidden: usize, out: usize) -> bool {
    features * (hidden + 1) * out <= 1 << 17
}

/// Sums messages that were multiplied by a matrix per edge, without making one:
/// `y_i = sum_{e = (j -> i)} x_j Theta(e)` with `Theta(e) = sum_k h_k(e) V_k + V_0`, or with `mean` their mean.
///
/// The outer products of the hidden edge features with the neighbour are summed per node, and multiplied once per
/// node by the last matrix of the edge network; backward does the same along the reversed edges.
///
/// # Shapes
/// `x` \[sources, F\], `hidden` \[edges, K\], `weight` \[F * out, K\], `bias` \[F * out\] -> \[targets, out\]
///
/// # Errors
/// [`Error::Shape`] if a shape does not fit; an error of candle for another type than f32 and f64 or a device without
/// a kernel.
pub fn edge_conditioned(
    x: &Tensor,
    hidden: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    adjacency: &Arc<Adjacency>,
    mean: bool,
) -> Result<Tensor> {
    const OP: &str = "edge_conditioned";
    let (sources, edges) = (adjacency.source_count(), adjacency.edge_count());
    let (features, k) = match (x.dims(), hidden.dims()) {
        ([s, features], [e, k]) if *s == sources && *e == edges => (*features, *k),
        other => {
            let expected = format!("[{sources}, features] and [{edges}, hidden]");
            return Err(Error::shape(OP, expected, other));
        }
    };
    let entries = bias.elem_count();
    if features == 0 || entries == 0 || !entries.is_multiple_of(features) || weight.dims() != [entries, k] {
        let expected = format!("weight [{features} * out, {k}] and bias [{features} * out]");
        return Err(Error::shape(OP, expected, (weight.dims(), bias.dims())));
    }
    let parameters = Tensor::cat(&[weight, &bias.reshape((entries, 1))?], D::Minus1)?;
    let op = Conditioned { adjacency: adjacency.clone(), mean, features, k, out: entries / features };
    Ok(x.contiguous()?.apply_op3(&hidden.contiguous()?, &parameters, op)?)
}

struct Conditioned {
    adjacency: Arc<Adjacency>,
    mean: bool,
    features: usize,
    k: usize,
    out: usize,
}

/// Nodes whose outer products are in the cache at a time.
const BLOCK: usize = 32;

impl Conditioned {
    fn shares<T: Real>(&self) -> Option<Vec<T>> {
        let rows = self.adjacency.by_target();
        self.mean.then(|| (0..rows.rows()).map(|t| T::of(1.0 / rows.degree(t).max(1) as f64)).collect())
    }

    fn forward<T: Real + Element>(&self, x: &[T], hidden: &[T], parameters: &[T]) -> Vec<T> {
        let (features, out, terms) = (self.features, self.out, self.k + 1);
        // `V[(k, f), o]` from `[(f, o), k]`.
        let at = |k: usize, f: usize, o: usize| parameters[(f * out + o) * terms + k];
        let rows = (0..terms).flat_map(|k| (0..features).map(move |f| (k, f)));
        let matrix: Vec<T> = rows.flat_map(|(k, f)| (0..out).map(move |o| at(k, f, o))).collect();
        let shares = self.shares::<T>();
        let csr = self.adjacency.by_target();
        let width = terms * features;
        build_rows(csr.rows(), out, BLOCK, |first, y: &mut [T]| {
            let count = y.len() / out;
            let mut products = vec![T::ZERO; count * width];
            let op = Products { x, hidden, features, k: self.k, csr, first, out: &mut products };
            vectorized(op);
            matmul((count, width, out), Mat::rows(&products, width), Mat::rows(&matrix, out), y, false);
            if let Some(shares) = &shares {
                for (y, &share) in y.chunks_mut(out).zip(&shares[first..]) {
                    y.iter_mut().for_each(|y| *y *= share);
                }
            }
        })
    }

    /// The gradients of `x`, of the hidden features and of the parameters.
    ///
    /// With `Q_j = sum_e h(e) (x) dy_i` over the edges that leave `j`: `dx_j = sum_k V_k Q_j[k]`, `dV_k = sum_j x_j (x)
    /// Q_j[k]`, and `dh_k(e) = (x_j V_k) . dy_i`.
    fn backward<T: Real + Element>(
        &self,
        (x, hidden, parameters, dy): (&[T], &[T], &[T], &[T]),
        wants_x: bool,
    ) -> (Vec<T>, Vec<T>, Vec<T>) {
        let (features, out, k, terms) = (self.features, self.out, self.k, self.k + 1);
        let at = |f: usize, k: usize, o: usize| parameters[(f * out + o) * terms + k];
        let columns = (0..features).flat_map(|f| (0..terms).map(move |k| (f, k)));
        let matrix: Vec<T> = columns.flat_map(|(f, k)| (0..out).map(move |o| at(f, k, o))).collect();
        let wide = terms * out;
        let matrix = Mat::rows(&matrix, wide);
        // The same with the hidden features side by side, so that their gradients are sums of rows.
        let columns = (0..features).flat_map(|f| (0..out).map(move |o| (f, o)));
        let across: Vec<T> = columns.flat_map(|(f, o)| (0..k).map(move |k| at(f, k, o))).collect();
        let across = Mat::rows(&across, out * k);
        let shares = self.shares::<T>();
        let csr = self.adjacency.by_source();
        let sources = csr.rows();
        let group = sources.div_ceil(64).next_multiple_of(BLOCK).max(4 * BLOCK);
        let width = if wants_x { features } else { 0 };
        let mut dh = vec![T::ZERO; self.adjacency.edge_count() * k];
        let mut result = (vec![], vec![]);
        Scattered::over(&mut dh, |dh| {
            let fill = |first: usize, dx: &mut [T], sum: &mut [T]| {
                let last = (first + group).min(sources);
                let mut maps = vec![T::ZERO; BLOCK * out * k];
                let mut sums = vec![T::ZERO; BLOCK * wide];
                for row in (first..last).step_by(BLOCK) {
                    let count = BLOCK.min(last - row);
                    let (maps, sums) = (&mut maps[..count * out * k], &mut sums[..count * wide]);
                    let x = Mat::rows(&x[row * features..], features);
                    matmul((count, features, out * k), x, across, maps, false);
                    sums.fill(T::ZERO);
                    let shares = shares.as_deref();
                    vectorized(Back { dy, hidden, out, k, csr, first: row, shares, maps, sums, dh });
                    let sums = Mat::rows(&*sums, wide);
                    matmul((features, count, wide), x.t(), sums, sum, true);
                    if wants_x {
                        let dx = &mut dx[(row - first) * features..];
                        matmul((count, wide, features), sums, matrix.t(), dx, false);
                    }
                }
            };
            result = build_rows_and_sums(sources, width, group, features * wide, fill);
        });
        let (dx, sums) = result;
        let entry = |(f, o): (usize, usize), k: usize| sums[(f * terms + k) * out + o];
        let entries = (0..features).flat_map(|f| (0..out).map(move |o| (f, o)));
        let dp =
            entries.flat_map(|fo| (0..terms).map(move |k| (fo, k))).map(|(fo, k)| entry(fo, k)).collect();
        (dx, dh, dp)
    }
}

/// Per target the sum of `[h ; 1] (x) x` over its edges.
struct Products<'a, T> {
    x: &'a [T],
    hidden: &'a [T],
    features: usize,
    k: usize,
    csr: &'a Csr,
    first: usize,
    out: &'a mut [T],
}

impl<T: Real> Kernel for Products<'_, T> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Products { x, hidden, features, k, csr, first, out } = self;
        let (offsets, columns, edges) = (csr.offsets(), csr.all_columns(), csr.all_edges());
        for (i, out) in out.chunks_mut((k + 1) * features).enumerate() {
            for at in offsets[first + i]..offsets[first + i + 1] {
                if let (Some(&c), Some(&e)) = (columns.get(at + AHEAD), edges.get(at + AHEAD)) {
                    prefetch(x, c as usize * features, features);
                    prefetch(hidden, e as usize * k, k);
                }
                let x = &x[columns[at] as usize * features..][..features];
                let h = &hidden[edges[at] as usize * k..][..k];
                let mut row = 0;
                while row < k {
                    add_scaled::<FMA, T>(&mut out[row * features..][..features], x, h[row]);
                    row += 1;
                }
                add_scaled::<FMA, T>(&mut out[k * features..][..features], x, T::one());
            }
        }
    }
}

struct Back<'a, T> {
    dy: &'a [T],
    hidden: &'a [T],
    out: usize,
    k: usize,
    csr: &'a Csr,
    first: usize,
    shares: Option<&'a [T]>,
    maps: &'a [T],
    sums: &'a mut [T],
    dh: &'a Scattered<T>,
}

impl<T: Real> Kernel for Back<'_, T> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Back { dy, hidden, out, k, csr, first, shares, maps, sums, dh } = self;
        let (offsets, columns, edges) = (csr.offsets(), csr.all_columns(), csr.all_edges());
        let wide = (k + 1) * out;
        for (i, sums) in sums.chunks_mut(wide).enumerate() {
            let maps = &maps[i * out * k..][..out * k];
            for at in offsets[first + i]..offsets[first + i + 1] {
                if let (Some(&c), Some(&e)) = (columns.get(at + AHEAD), edges.get(at + AHEAD)) {
                    prefetch(dy, c as usize * out, out);
                    prefetch(hidden, e as usize * k, k);
                }
                let (target, edge) = (columns[at] as usize, edges[at] as usize);
                let dy = &dy[target * out..][..out];
                let share = shares.map_or(T::one(), |s| s[target]);
                let h = &hidden[edge * k..][..k];
                // SAFETY: an edge leaves one source, and a source belongs to one block: nobody else has this row.
                let dh = unsafe { dh.row(edge, k) };
                let mut row = 0;
                while row < k {
                    add_scaled::<FMA, T>(&mut sums[row * out..][..out], dy, h[row] * share);
                    row += 1;
                }
                add_scaled::<FMA, T>(&mut sums[k * out..][..out], dy, share);
                let mut at = 0;
                while at + 16 <= k {
                    row_sum::<FMA, 16, T>(maps, k, at, dy, share, dh);
                    at += 16;
                }
                while at + 4 <= k {
                    row_sum::<FMA, 4, T>(maps, k, at, dy, share, dh);
                    at += 4;
                }
                while at < k {
                    row_sum::<FMA, 1, T>(maps, k, at, dy, share, dh);
                    at += 1;
                }
            }
        }
    }
}

/// `N` columns from `at` on of the sum of the rows of `maps`, weighted by `dy` and then by `share`.
#[inline(always)]
fn row_sum<const FMA: bool, const N: usize, T: Real>(
    maps: &[T],
    width: usize,
    at: usize,
    dy: &[T],
    share: T,
    out: &mut [T],
) {
    let mut sum = [T::zero(); N];
    for (row, &d) in maps.chunks_exact(width).zip(dy) {
        if let Some(row) = row[at..].first_chunk::<N>() {
            for k in 0..N {
                sum[k] = madd::<FMA, T>(row[k], d, sum[k]);
            }
        }
    }
    if let Some(out) = out[at..].first_chunk_mut::<N>() {
        for k in 0..N {
            out[k] = sum[k] * share;
        }
    }
}

#[cfg(feature = "cuda")]
impl Conditioned {
    fn on_cuda(&self) -> cuda::Conditioned<'_> {
        let (mean, features, hidden, out) = (self.mean, self.features, self.k, self.out);
        cuda::Conditioned { adjacency: &self.adjacency, mean, features, hidden, out, slab: cuda::SLAB }
    }
}

impl CustomOp3 for Conditioned {
    fn name(&self) -> &'static str {
        "edge-conditioned sum"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        hidden: &CpuStorage,
        h_layout: &Layout,
        parameters: &CpuStorage,
        p_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let dtype = candle_core::backend::BackendStorage::dtype(x);
        dispatch!(self.name(), dtype, T => {
            let (x, h, p) = (slice(x, x_layout)?, slice(hidden, h_layout)?, slice(parameters, p_layout)?);
            let y = self.forward::<T>(x, h, p);
            Ok((T::to_cpu_storage_owned(y), Shape::from((self.adjacency.target_count(), self.out))))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        hidden: &CudaStorage,
        h_layout: &Layout,
        parameters: &CudaStorage,
        p_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        self.on_cuda().forward([(x, x_layout), (hidden, h_layout), (parameters, p_layout)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        hidden: &Tensor,
        parameters: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let wants_x = x.track_op();
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            let [dx, dh, dp] = tensors::several([x, hidden, parameters, &dy], None, |operands, _| {
                self.on_cuda().backward(operands, wants_x)
            })?;
            return Ok((wants_x.then_some(dx), Some(dh), Some(dp)));
        }
        dispatch!(self.name(), x.dtype(), T => {
            let (dx, dh, dp) = with_values::<T, _>(x, |x| with_values(hidden, |h| {
                with_values(parameters, |p| with_values(&dy, |dy| Ok(self.backward((x, h, p, dy), wants_x))))
            }))?;
            let device = x.device();
            let dx = wants_x.then(|| Tensor::from_vec(dx, x.shape(), device)).transpose()?;
            let dh = Tensor::from_vec(dh, hidden.shape(), device)?;
            Ok((dx, Some(dh), Some(Tensor::from_vec(dp, parameters.shape(), device)?)))
        })
    }
}

use super::Adjacency;
use super::gather::{Own, Rows, Sum};
use super::kernel::{Real, dispatch, fill_rows, slice};
use super::simd::vectorized;
#[cfg(feature = "cuda")]
use crate::cuda::segment;
use crate::parallel::build_rows;
use crate::{Error, Result};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Shape, Tensor};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How the messages that arrive at one node become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduce {
    /// Their sum; 0 where none arrives.
    Sum,
    /// Their mean; 0 where none arrives.
    #[default]
    Mean,
    /// Their largest value per feature; 0 where none arrives. Ties share the gradient evenly, as in
    /// PyTorch's `scatter_reduce(amax)`.
    Max,
}

/// Reduces, at each target, the features of the sources of its edges: `y_i = reduce_{(j -> i)} x_j`.
///
/// No edge-sized intermediate is made; duplicate edges count as often as they occur.
///
/// # Shapes
/// `x` \[sources, F\] -> \[targets, F\]
///
/// # Errors
/// [`Error::Shape`] if `x` is not a matrix with one row per source; an error of candle for another type than
/// f32 and f64 or a device without a kernel.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_nn::segment::{Adjacency, Reduce, gather_reduce};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let adjacency = Arc::new(Adjacency::new(3, 3, &[0, 1, 2], &[2, 2, 0])?);
/// let x = Tensor::new(&[[1f32], [2.], [4.]], &Device::Cpu)?;
/// let y = gather_reduce(&x, &adjacency, Reduce::Mean)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[4.], [0.], [1.5]]);
/// # Ok(())
/// # }
/// ```
pub fn gather_reduce(x: &Tensor, adjacency: &Arc<Adjacency>, reduce: Reduce) -> Result<Tensor> {
    check("gather_reduce", x, adjacency.source_count())?;
    let x = x.contiguous()?;
    let adjacency = adjacency.clone();
    Ok(match reduce {
        Reduce::Sum => x.apply_op1(Gather { adjacency, mean: false, reverse: false })?,
        Reduce::Mean => x.apply_op1(Gather { adjacency, mean: true, reverse: false })?,
        Reduce::Max => x.apply_op1(Max(adjacency))?,
    })
}

/// Sums, at each target, the features of its sources weighted per edge and head:
/// `y_i[h] = sum_{e = (j -> i)} w_e[h] x_j[h]`.
///
/// # Shapes
/// `x` \[sources, H * C\], `weight` \[edges, H\] in the order of the edge list -> \[targets, H * C\]
///
/// # Errors
/// As [`gather_reduce`]; [`Error::Shape`] also if `weight` has another number of rows than edges or if H does
/// not divide the features.
pub fn gather_reduce_weighted(x: &Tensor, weight: &Tensor, adjacency: &Arc<Adjacency>) -> Result<Tensor> {
    const OP: &str = "gather_reduce_weighted";
    check(OP, x, adjacency.source_count())?;
    check(OP, weight, adjacency.edge_count())?;
    let (features, heads) = (x.dim(1)?, weight.dim(1)?);
    if heads == 0 || features % heads != 0 {
        return Err(Error::shape(OP, format!("features divisible by {heads} heads"), features));
    }
    let op = Weighted { adjacency: adjacency.clone(), reverse: false };
    Ok(x.contiguous()?.apply_op2(&weight.contiguous()?, op)?)
}

/// Reduces values of edges at the target of each: `y_i = reduce_{e = (. -> i)} v_e`.
///
/// # Shapes
/// `values` \[edges, F\] in the order of the edge list -> \[targets, F\]
///
/// # Errors
/// As [`gather_reduce`].
pub fn segment_reduce(values: &Tensor, adjacency: &Adjacency, reduce: Reduce) -> Result<Tensor> {
    gather_reduce(values, adjacency.edges_to_targets(), reduce)
}

fn check(op: &'static str, x: &Tensor, rows: usize) -> Result<()> {
    match x.dims() {
        [r, _] if *r == rows => Ok(()),
        other => Err(Error::shape(op, format!("[{rows}, features]"), other)),
    }
}

/// Sum or mean over the sources of each target; `reverse` is the transposed map, which is its gradient.
struct Gather {
    adjacency: Arc<Adjacency>,
    mean: bool,
    reverse: bool,
}

impl Gather {
    fn run<T: Real>(&self, x: &[T], width: usize) -> (CpuStorage, Shape) {
        let a = &*self.adjacency;
        let shares: Option<Vec<T>> = self.mean.then(|| {
            let targets = a.by_target();
            (0..targets.rows()).map(|t| T::of(1.0 / targets.degree(t).max(1) as f64)).collect()
        });
        let csr = if self.reverse { a.by_source() } else { a.by_target() };
        let (of_row, of_column) =
            if self.reverse { (None, shares.as_deref()) } else { (shares.as_deref(), None) };
        let rows = csr.rows();
        let out = build_rows(rows, width, 128, |first, out: &mut [T]| {
            let count = out.len() / width.max(1);
            let own = Own::Kept;
            let rows = Rows::ends(csr);
            vectorized(Sum { x, width, rows, first, count, of_row, of_column, own, out });
        });
        (T::to_cpu_storage_owned(out), Shape::from((rows, width)))
    }
}

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "gather-reduce"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let width = layout.shape().dims2()?.1;
        dispatch!(self.name(), candle_core::backend::BackendStorage::dtype(x), T => Ok(self.run::<T>(slice(x, layout)?, width)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        let targets = self.adjacency.by_target();
        let shares = self.mean.then_some(targets);
        match self.reverse {
            false => segment::gather_sum(self.name(), (x, layout), targets, (shares, None)),
            true => segment::gather_sum(self.name(), (x, layout), self.adjacency.by_source(), (None, shares)),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let op = Gather { adjacency: self.adjacency.clone(), mean: self.mean, reverse: !self.reverse };
        Ok(Some(dy.contiguous()?.apply_op1_no_bwd(&op)?))
    }
}

/// Weighted sum; `reverse` sums over the targets of each source instead.
struct Weighted {
    adjacency: Arc<Adjacency>,
    reverse: bool,
}

impl Weighted {
    fn run<T: Real>(&self, x: &[T], weight: &[T], width: usize, heads: usize) -> (CpuStorage, Shape) {
        let a = &*self.adjacency;
        let rows = if self.reverse { a.by_source() } else { a.by_target() };
        let channels = width / heads;
        let work = width * a.edge_count() / rows.rows().max(1);
        fill_rows(rows.rows(), width, work, |row, out: &mut [T]| {
            for (&c, &e) in rows.columns(row).iter().zip(rows.edges(row)) {
                let values = x[c as usize * width..][..width].chunks(channels.max(1));
                let weights = &weight[e as usize * heads..][..heads];
                for ((o, v), &w) in out.chunks_mut(channels.max(1)).zip(values).zip(weights) {
                    o.iter_mut().zip(v).for_each(|(o, &v)| *o += v * w);
                }
            }
        })
    }
}

impl CustomOp2 for Weighted {
    fn name(&self) -> &'static str {
        "weighted gather-reduce"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        w_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (width, heads) = (x_layout.shape().dims2()?.1, w_layout.shape().dims2()?.1);
        dispatch!(self.name(), candle_core::backend::BackendStorage::dtype(x), T => {
            Ok(self.run::<T>(slice(x, x_layout)?, slice(weight, w_layout)?, width, heads))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let csr = if self.reverse { self.adjacency.by_source() } else { self.adjacency.by_target() };
        segment::weighted_sum(self.name(), (x, x_layout), (weight, weight_layout), csr)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let back = Weighted { adjacency: self.adjacency.clone(), reverse: true };
        let dx = if x.track_op() { Some(dy.apply_op2_no_bwd(weight, &back)?) } else { None };
        let dot = EdgeDot { adjacency: self.adjacency.clone(), heads: weight.dim(1)? };
        let dw = if weight.track_op() { Some(x.apply_op2_no_bwd(&dy, &dot)?) } else { None };
        Ok((dx, dw))
    }
}

/// Per edge and head the product of the features of its source with those of its target.
struct EdgeDot {
    adjacency: Arc<Adjacency>,
    heads: usize,
}

impl CustomOp2 for EdgeDot {
    fn name(&self) -> &'static str {
        "edge dot product"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        dy: &CpuStorage,
        dy_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let a = &*self.adjacency;
        let width = x_layout.shape().dims2()?.1;
        let channels = width / self.heads;
        dispatch!(self.name(), candle_core::backend::BackendStorage::dtype(x), T => {
            let (x, dy) = (slice::<T>(x, x_layout)?, slice::<T>(dy, dy_layout)?);
            Ok(fill_rows(a.edge_count(), self.heads, width, |e, out: &mut [T]| {
                let s = &x[a.sources()[e] as usize * width..][..width];
                let t = &dy[a.targets()[e] as usize * width..][..width];
                for (h, o) in out.iter_mut().enumerate() {
                    let head = h * channels..(h + 1) * channels;
                    *o = s[head.clone()].iter().zip(&t[head]).map(|(&a, &b)| a * b).sum();
                }
            }))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        dy: &CudaStorage,
        dy_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        segment::edge_dot(self.name(), (x, x_layout), (dy, dy_layout), &self.adjacency, self.heads)
    }
}

/// Largest value over the sources of each target.
struct Max(Arc<Adjacency>);

impl CustomOp1 for Max {
    fn name(&self) -> &'static str {
        "gather-max"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let width = layout.shape().dims2()?.1;
        let rows = self.0.by_target();
        let work = width * self.0.edge_count() / rows.rows().max(1);
        dispatch!(self.name(), candle_core::backend::BackendStorage::dtype(x), T => {
            let x = slice::<T>(x, layout)?;
            Ok(fill_rows(rows.rows(), width, work, |row, out: &mut [T]| {
                for (i, &c) in rows.columns(row).iter().enumerate() {
                    let values = &x[c as usize * width..][..width];
                    // A NaN must come through, not vanish.
                    let wins = |v: T, o: T| i == 0 || v > o || v.partial_cmp(&v).is_none();
                    out.iter_mut().zip(values).for_each(|(o, &v)| if wins(v, *o) { *o = v });
                }
            }))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        segment::gather_max(self.name(), (x, layout), self.0.by_target())
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(x.apply_op3_no_bwd(y, &dy.contiguous()?, &MaxGradient(self.0.clone()))?))
    }
}

/// Gives each source its share of the gradient of every target whose largest value it holds.
struct MaxGradient(Arc<Adjacency>);

impl MaxGradient {
    fn run<T: Real>(&self, x: &[T], y: &[T], dy: &[T], width: usize) -> (CpuStorage, Shape) {
        let (targets, sources) = (self.0.by_target(), self.0.by_source());
        let work = width * self.0.edge_count() / targets.rows().max(1);
        // The share of one winner: the gradient over the number of ties.
        let (shares, _) = fill_rows(targets.rows(), width, work, |t, share: &mut [T]| {
            for &s in targets.columns(t) {
                let values = &x[s as usize * width..][..width];
                let largest = &y[t * width..][..width];
                share.iter_mut().zip(values).zip(largest).for_each(|((n, v), l)| {
                    if v == l {
                        *n += T::one()
                    }
                });
            }
            share.iter_mut().zip(&dy[t * width..]).for_each(|(n, &d)| {
                if *n > T::zero() {
                    *n = d / *n
                }
            });
        });
        let shares = shares.as_slice::<T>().unwrap_or(&[]);
        fill_rows(sources.rows(), width, work, |s, out: &mut [T]| {
            let values = &x[s * width..][..width];
            for &t in sources.columns(s) {
                let at = t as usize * width;
                for (f, o) in out.iter_mut().enumerate() {
                    if values[f] == y[at + f] {
                        *o += shares[at + f];
                    }
                }
            }
        })
    }
}

impl CustomOp3 for MaxGradient {
    fn name(&self) -> &'static str {
        "gather-max gradient"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
        dy: &CpuStorage,
        dy_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let width = x_layout.shape().dims2()?.1;
        dispatch!(self.name(), candle_core::backend::BackendStorage::dtype(x), T => {
            Ok(self.run::<T>(slice(x, x_layout)?, slice(y, y_layout)?, slice(dy, dy_layout)?, width))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        y: &CudaStorage,
        y_layout: &Layout,
        dy: &CudaStorage,
        dy_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let operands = [(x, x_layout), (y, y_layout), (dy, dy_layout)];
        segment::max_gradient(self.name(), operands, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;
    use candle_core::{DType, Var};

    fn adjacency() -> Arc<Adjacency> {
        // Node 3 has no incoming edge, node 4 no edge at all, 1 -> 0 occurs twice.
        Arc::new(Adjacency::new(5, 5, &[1, 1, 2, 0, 3, 2], &[0, 0, 0, 1, 2, 1]).unwrap())
    }

    fn var(values: &[f64], shape: (usize, usize)) -> Var {
        Var::from_tensor(&Tensor::from_slice(values, shape, &device()).unwrap()).unwrap()
    }

    /// The largest difference of the analytic gradient from central differences of `sum(f(v) * cotangent)`.
    fn gradient_error(v: &Var, f: impl Fn(&Tensor) -> Tensor) -> f64 {
        let shape = f(v).shape().clone();
        let cotangent: Vec<f64> =
            (0..shape.elem_count()).map(|i| ((i * 7 + 3) % 11) as f64 / 5.0 - 1.0).collect();
        let cotangent = Tensor::from_vec(cotangent, shape, &device()).unwrap();
        let loss = |x: &Tensor| (f(x) * &cotangent).unwrap().sum_all().unwrap();
        let grads = loss(v).backward().unwrap();
        let analytic = grads.get(v).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let x = v.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let at = |i: usize, h: f64| {
            let mut moved = x.clone();
            moved[i] += h;
            let moved = Tensor::from_vec(moved, v.shape(), &device()).unwrap();
            loss(&moved).to_scalar::<f64>().unwrap()
        };
        let h = 1e-5;
        (0..x.len()).map(|i| ((at(i, h) - at(i, -h)) / (2.0 * h) - analytic[i]).abs()).fold(0.0, f64::max)
    }

    fn x() -> Var {
        var(&[0.3, -1.2, 0.7, 0.1, -0.4, 2.0, 1.1, -0.9, 0.2, 0.5], (5, 2))
    }

    #[test]
    fn by_hand() {
        let x = var(&[1., 2., 4., 8., 16.], (5, 1));
        let run =
            |r| gather_reduce(&x, &adjacency(), r).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(run(Reduce::Sum), [8., 5., 8., 0., 0.]);
        assert_eq!(run(Reduce::Mean), [8. / 3., 2.5, 8., 0., 0.]);
        assert_eq!(run(Reduce::Max), [4., 4., 8., 0., 0.]);
    }

    #[test]
    fn gradients_by_finite_differences() {
        for reduce in [Reduce::Sum, Reduce::Mean, Reduce::Max] {
            let error = gradient_error(&x(), |x| gather_reduce(x, &adjacency(), reduce).unwrap());
            assert!(error < 1e-8, "{reduce:?}: {error}");
        }
        let w = var(&[0.5, -1., 2., 0.3, 0.9, -0.7, 1.2, 0.4, -0.6, 0.8, 0.1, 1.5], (6, 2));
        let run = |x: &Tensor, w: &Tensor| gather_reduce_weighted(x, w, &adjacency()).unwrap();
        assert!(gradient_error(&x(), |x| run(x, &w)) < 1e-8);
        assert!(gradient_error(&w, |w| run(&x(), w)) < 1e-8);
    }

    #[test]
    fn ties_share_the_gradient() {
        let x = var(&[0., 1., 1., 0., 0.], (5, 1));
        let y = gather_reduce(&x, &adjacency(), Reduce::Max).unwrap();
        let grads = y.sum_all().unwrap().backward().unwrap();
        let g = grads.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        // Target 0 has three edges of value 1 (two from node 1); target 1 has 2 as its only largest.
        approx::assert_relative_eq!(g[1], 2.0 / 3.0, epsilon = 1e-12);
        approx::assert_relative_eq!(g[2], 1.0 / 3.0 + 1.0, epsilon = 1e-12);
    }

    #[test]
    fn weights_of_one_are_a_sum_and_heads_split_the_features() {
        let ones = Tensor::ones((6, 1), DType::F64, &device()).unwrap();
        let a = gather_reduce_weighted(&x(), &ones, &adjacency()).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(a, gather_reduce(&x(), &adjacency(), Reduce::Sum).unwrap().to_vec2::<f64>().unwrap());
        let first = Tensor::from_slice(&[1f64, 0.].repeat(6), (6, 2), &device()).unwrap();
        let b = gather_reduce_weighted(&x(), &first, &adjacency()).unwrap().to_vec2::<f64>().unwrap();
        assert!(b.iter().zip(&a).all(|(b, a)| b[0] == a[0] && b[1] == 0.0));
    }

    #[test]
    fn segments_of_edges() {
        let v = Tensor::new(&[[1f32], [2.], [3.], [4.], [5.], [6.]], &device()).unwrap();
        let y = segment_reduce(&v, &adjacency(), Reduce::Sum).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [6., 10., 5., 0., 0.]);
    }

    #[test]
    fn threads_do_not_change_the_bits() {
        let n = 400;
        let edges = 6000u32;
        let hash = |i: u32, k: u32| (i.wrapping_mul(2654435761).rotate_left(k)) % n;
        let (s, t): (Vec<_>, Vec<_>) = (0..edges).map(|i| (hash(i, 3), hash(i, 11) / 7)).unzip();
        let a = Arc::new(Adjacency::new(n as usize, n as usize, &s, &t).unwrap());
        let x: Vec<f32> = (0..n * 33).map(|i| (i as f32 * 0.37).sin()).collect();
        let x = Tensor::from_vec(x, (n as usize, 33), &device()).unwrap();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| gather_reduce(&x, &a, Reduce::Mean).unwrap().to_vec2::<f32>().unwrap())
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let x = Tensor::zeros((4, 2), DType::F32, &device()).unwrap();
        let message = gather_reduce(&x, &adjacency(), Reduce::Sum).unwrap_err().to_string();
        assert_eq!(message, "gather_reduce: expected [5, features], got [4, 2]");
    }
}

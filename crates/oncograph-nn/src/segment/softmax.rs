use super::kernel::{Real, dispatch, slice};
use super::{Adjacency, Csr};
#[cfg(feature = "cuda")]
use crate::cuda::softmax;
use crate::{Error, Result};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use std::sync::Arc;

/// Softmax of edge logits over the edges that share a target, per column:
/// `y_e = exp(z_e - m_i) / (sum_{e' -> i} exp(z_e' - m_i) + 1e-16)` with `m_i` the largest logit at the target.
///
/// # Shapes
/// `logits` \[edges, H\] in the order of the edge list -> \[edges, H\]
///
/// # Errors
/// [`Error::Shape`] if there is not one row per edge; an error of candle for another type than f32 and f64 or a
/// device without a kernel.
///
/// # Reference
/// `torch_geometric.utils.softmax`, its 1e-16 included.
pub fn segment_softmax(logits: &Tensor, adjacency: &Arc<Adjacency>) -> Result<Tensor> {
    match logits.dims() {
        [e, _] if *e == adjacency.edge_count() => {}
        other => {
            let expected = format!("[{}, heads]", adjacency.edge_count());
            return Err(Error::shape("segment_softmax", expected, other));
        }
    }
    Ok(logits.contiguous()?.apply_op1(Softmax(adjacency.clone()))?)
}

struct Softmax(Arc<Adjacency>);

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "segment softmax"
    }

    fn cpu_fwd(&self, z: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let heads = layout.shape().dims2()?.1;
        dispatch!(self.name(), candle_core::backend::BackendStorage::dtype(z), T => {
            let z = slice::<T>(z, layout)?;
            Ok(per_target(self.0.by_target(), heads, |edges, h, put| {
                let at = |e: u32| z[e as usize * heads + h];
                let Some(&first) = edges.first() else { return };
                let max = edges.iter().fold(at(first), |m, &e| if at(e) > m { at(e) } else { m });
                let sum: T = edges.iter().map(|&e| Real::exp(at(e) - max)).sum();
                let sum = sum + T::of(1e-16);
                edges.iter().for_each(|&e| put(e, Real::exp(at(e) - max) / sum));
            }))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, z: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        softmax::forward(self.name(), (z, layout), &self.0)
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(y.apply_op2_no_bwd(&dy.contiguous()?, &SoftmaxGradient(self.0.clone()))?))
    }
}

/// `dz_e = y_e (dy_e - sum_{e'} y_e' dy_e')` over the edges of a target.
struct SoftmaxGradient(Arc<Adjacency>);

impl CustomOp2 for SoftmaxGradient {
    fn name(&self) -> &'static str {
        "segment softmax gradient"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        y_layout: &Layout,
        dy: &CpuStorage,
        dy_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let heads = y_layout.shape().dims2()?.1;
        dispatch!(self.name(), candle_core::backend::BackendStorage::dtype(y), T => {
            let (y, dy) = (slice::<T>(y, y_layout)?, slice::<T>(dy, dy_layout)?);
            Ok(per_target(self.0.by_target(), heads, |edges, h, put| {
                let at = |e: u32| e as usize * heads + h;
                let dot: T = edges.iter().map(|&e| y[at(e)] * dy[at(e)]).sum();
                edges.iter().for_each(|&e| put(e, y[at(e)] * (dy[at(e)] - dot)));
            }))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        y: &CudaStorage,
        y_layout: &Layout,
        dy: &CudaStorage,
        dy_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        softmax::backward(self.name(), (y, y_layout), (dy, dy_layout), &self.0)
    }
}

/// An \[edges, heads\] matrix whose entries `run(edges of a target, head, put)` sets.
fn per_target<T: Real>(
    by_target: &Csr,
    heads: usize,
    run: impl Fn(&[u32], usize, &mut dyn FnMut(u32, T)) + Sync,
) -> (CpuStorage, Shape) {
    let edge_count: usize = (0..by_target.rows()).map(|t| by_target.degree(t)).sum();
    let mut out = vec![T::zero(); edge_count * heads];
    for target in 0..by_target.rows() {
        let edges = by_target.edges(target);
        for h in 0..heads {
            run(edges, h, &mut |e, v| out[e as usize * heads + h] = v);
        }
    }
    (T::to_cpu_storage_owned(out), Shape::from((edge_count, heads)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;
    use candle_core::Var;

    fn run(logits: &Tensor) -> Tensor {
        let a = Arc::new(Adjacency::new(3, 3, &[0, 1, 2, 0], &[1, 2, 1, 1]).unwrap());
        segment_softmax(logits, &a).unwrap()
    }

    #[test]
    fn sums_to_one_and_survives_large_logits() {
        let z = Tensor::new(&[[1000f32], [-3.], [1000.], [999.]], &device()).unwrap();
        let y = run(&z).flatten_all().unwrap().to_vec1::<f32>().unwrap();
        approx::assert_relative_eq!(y[0] + y[2] + y[3], 1.0, epsilon = 1e-6);
        assert_eq!(y[0], y[2]);
        approx::assert_relative_eq!(y[3] / y[0], (-1f32).exp(), epsilon = 1e-6);
        assert_eq!(y[1], 1.0);
    }

    #[test]
    fn gradient_by_finite_differences() {
        let values = [0.3f64, -1.0, 2.0, 0.5, -0.2, 0.8, 1.1, 0.0];
        let cotangent = Tensor::new(&[1.0f64, -2.0, 0.5, 0.3, 0.9, -0.4, 0.7, 1.3], &device()).unwrap();
        let loss = |z: &Tensor| (run(z).flatten_all().unwrap() * &cotangent).unwrap().sum_all().unwrap();
        let tensor = |v: &[f64]| Tensor::from_slice(v, (4, 2), &device()).unwrap();
        let z = Var::from_tensor(&tensor(&values)).unwrap();
        let grads = loss(&z).backward().unwrap();
        let g = grads.get(&z).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for i in 0..8 {
            let at = |h: f64| {
                let mut v = values;
                v[i] += h;
                loss(&tensor(&v)).to_scalar::<f64>().unwrap()
            };
            approx::assert_relative_eq!(g[i], (at(1e-5) - at(-1e-5)) / 2e-5, epsilon = 1e-8);
        }
    }
}

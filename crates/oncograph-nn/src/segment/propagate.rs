use super::Adjacency;
use super::gather::{Own, Rows, Sum};
use super::kernel::{Real, dispatch, slice, with_values};
use super::row_linear::column_sums;
use super::simd::vectorized;
#[cfg(feature = "cuda")]
use crate::cuda::{propagate as cuda, tensors};
use crate::element::Element;
use crate::gemm::{Mat, matmul};
use crate::parallel::{build_rows, build_rows_and_sums};
#[cfg(feature = "cuda")]
use crate::portable::matmul as product;
use crate::{Error, Result};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, D, Layout, Shape, Tensor, WithDType};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Which nodes are summed at a node and how they are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Neighbourhood {
    /// The sum of the neighbours.
    Sum,
    /// Their mean; 0 where there is none.
    Mean,
    /// The mean of the neighbours and of the node itself, which is counted once more than it has self loops.
    ClosedMean,
    /// `sum_j x_j / sqrt(d_i d_j)` with `d` the in-degree; 0 where a degree is 0.
    Symmetric,
    /// The same with every self loop replaced by one per node.
    SymmetricWithLoops,
}

impl Neighbourhood {
    fn own(self) -> Own {
        match self {
            Neighbourhood::ClosedMean => Own::Added,
            Neighbourhood::SymmetricWithLoops => Own::Replaced,
            _ => Own::Kept,
        }
    }

    /// What scales each target, and each source.
    fn scales<T: Real>(self, adjacency: &Adjacency) -> (Option<Vec<T>>, Option<Vec<T>>) {
        let degrees = |f: &dyn Fn(usize, u32) -> f64| {
            let rows = adjacency.by_target();
            let loops = (self == Neighbourhood::SymmetricWithLoops).then(|| adjacency.loop_counts());
            let loops = |t: usize| loops.map_or(0, |l| l[t]);
            Some((0..rows.rows()).map(|t| T::of(f(rows.degree(t), loops(t)))).collect::<Vec<_>>())
        };
        let root = |d: usize| if d == 0 { 0.0 } else { 1.0 / (d as f64).sqrt() };
        match self {
            Neighbourhood::Sum => (None, None),
            Neighbourhood::Mean => (degrees(&|d, _| 1.0 / d.max(1) as f64), None),
            Neighbourhood::ClosedMean => (degrees(&|d, _| 1.0 / (d + 1) as f64), None),
            Neighbourhood::Symmetric => {
                let both = degrees(&|d, _| root(d));
                (both.clone(), both)
            }
            Neighbourhood::SymmetricWithLoops => {
                let both = degrees(&|d, loops| root(d - loops as usize + 1));
                (both.clone(), both)
            }
        }
    }
}

/// Whether [`propagate`] is meant for these widths: each of its threads keeps a gradient of the matrices, so that
/// large ones are better multiplied on their own.
pub fn propagate_fits(features: usize, out: usize) -> bool {
    features * out <= 1 << 17
}

/// A sum over neighbours and the linear maps around it in one pass: `y = A x W^T (+ x W_r^T) (+ b)`, `A` the scaled
/// adjacency given by `neighbourhood`.
///
/// Neither the sums nor a product is kept in memory, forward or backward. The sum is taken on the narrower side of `W`.
///
/// # Shapes
/// `x` \[sources, F\], `weight` and `root` \[out, F\], `bias` \[out\] -> \[targets, out\]
///
/// # Errors
/// [`Error::Shape`] if a shape does not fit, or if there is a root, a symmetric or a closed neighbourhood between sets
/// of different size; an error of candle for another type than f32 and f64 or a device without a kernel.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_nn::segment::{Adjacency, Neighbourhood, propagate};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let adjacency = Arc::new(Adjacency::new(3, 3, &[0, 1, 2], &[2, 2, 0])?);
/// let x = Tensor::new(&[[1f32], [2.], [4.]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[10f32]], &Device::Cpu)?;
/// let y = propagate(&x, &weight, None, None, &adjacency, Neighbourhood::Mean)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[40.], [0.], [15.]]);
/// # Ok(())
/// # }
/// ```
pub fn propagate(
    x: &Tensor,
    weight: &Tensor,
    root: Option<&Tensor>,
    bias: Option<&Tensor>,
    adjacency: &Arc<Adjacency>,
    neighbourhood: Neighbourhood,
) -> Result<Tensor> {
    const OP: &str = "propagate";
    let (sources, targets) = (adjacency.source_count(), adjacency.target_count());
    let (out, features) = match weight.dims() {
        [out, features] if *out > 0 && *features > 0 => (*out, *features),
        other => return Err(Error::shape(OP, "weight [out, features]", other)),
    };
    if x.dims() != [sources, features] {
        return Err(Error::shape(OP, format!("[{sources}, {features}]"), x.dims()));
    }
    if let Some(root) = root
        && root.dims() != [out, features]
    {
        return Err(Error::shape(OP, format!("root [{out}, {features}]"), root.dims()));
    }
    let square = root.is_some() || !matches!(neighbourhood, Neighbourhood::Sum | Neighbourhood::Mean);
    if square && sources != targets {
        return Err(Error::shape(OP, "one set of nodes", (sources, targets)));
    }
    let mut parts = vec![weight.clone()];
    parts.extend(root.cloned());
    if let Some(bias) = bias {
        parts.push(bias.reshape((out, 1))?);
    }
    let parameters = Tensor::cat(&parts, D::Minus1)?.contiguous()?;
    let op = Propagate {
        adjacency: adjacency.clone(),
        neighbourhood,
        features,
        out,
        root: root.is_some(),
        bias: bias.is_some(),
    };
    Ok(x.contiguous()?.apply_op2(&parameters, op)?)
}

/// The rows that are summed and multiplied at a time: few enough to stay in the cache between both, more where the
/// matrices are large, which every product brings into the order of its kernel.
fn block(features: usize, out: usize) -> usize {
    if features * out > 1 << 14 { 512 } else { 128 }
}

struct Propagate {
    adjacency: Arc<Adjacency>,
    neighbourhood: Neighbourhood,
    features: usize,
    out: usize,
    root: bool,
    bias: bool,
}

impl Propagate {
    /// Columns of the parameters `[weight | root | bias]`.
    fn columns(&self) -> usize {
        self.features * (1 + usize::from(self.root)) + usize::from(self.bias)
    }

    /// The transposes of the matrices, one below the other, and the bias.
    fn unpacked<T: Element>(&self, parameters: &[T]) -> (Vec<T>, Vec<T>) {
        let (out, columns) = (self.out, self.columns());
        let maps = self.features * (1 + usize::from(self.root));
        let at = |o: usize, c: usize| parameters[o * columns + c];
        let matrices = (0..maps).flat_map(|c| (0..out).map(move |o| at(o, c))).collect();
        let bias = (0..out).map(|o| if self.bias { at(o, maps) } else { T::ZERO }).collect();
        (matrices, bias)
    }

    fn forward<T: Real + Element>(&self, x: &[T], parameters: &[T]) -> Vec<T> {
        let (features, out) = (self.features, self.out);
        let (maps, bias) = self.unpacked(parameters);
        let (weight, root) = maps.split_at(features * out);
        let (of_row, of_column) = self.neighbourhood.scales::<T>(&self.adjacency);
        let (of_row, of_column) = (of_row.as_deref(), of_column.as_deref());
        let (rows, own) = (Rows::ends(self.adjacency.by_target()), self.neighbourhood.own());
        let (first_map, block) = (out < features, block(features, out));
        let (sources, targets) = (self.adjacency.source_count(), self.adjacency.target_count());
        let mapped = match first_map {
            true => build_rows(sources, out, block, |first, y: &mut [T]| {
                let rows = y.len() / out.max(1);
                let x = Mat::rows(&x[first * features..], features);
                matmul((rows, features, out), x, Mat::rows(weight, out), y, false);
            }),
            false => vec![],
        };
        build_rows(targets, out, block, |first, y: &mut [T]| {
            let count = y.len() / out.max(1);
            if first_map {
                let x = &mapped;
                vectorized(Sum { x, width: out, rows, first, count, of_row, of_column, own, out: y });
                y.chunks_mut(out).for_each(|y| y.iter_mut().zip(&bias).for_each(|(y, b)| *y += *b));
            } else {
                let mut sums = vec![T::ZERO; count * features];
                let width = features;
                vectorized(Sum { x, width, rows, first, count, of_row, of_column, own, out: &mut sums });
                y.chunks_mut(out).for_each(|y| y.copy_from_slice(&bias));
                let sums = Mat::rows(&sums, features);
                matmul((count, features, out), sums, Mat::rows(weight, out), y, true);
            }
            if self.root {
                let x = Mat::rows(&x[first * features..], features);
                matmul((count, features, out), x, Mat::rows(root, out), y, true);
            }
        })
    }

    /// The gradients of `x`, if it is needed, and of the parameters.
    ///
    /// With `g = A^T dy`: `dx = g W + dy W_r`, `dW = g^T x`, `dW_r = dy^T x`: one pass over the sources.
    fn backward<T: Real + Element>(
        &self,
        x: &[T],
        parameters: &[T],
        dy: &[T],
        wants_x: bool,
    ) -> (Vec<T>, Vec<T>) {
        let (features, out, columns) = (self.features, self.out, self.columns());
        let (of_column, of_row) = self.neighbourhood.scales::<T>(&self.adjacency);
        let (of_row, of_column) = (of_row.as_deref(), of_column.as_deref());
        let (rows, own) = (Rows::ends(self.adjacency.by_source()), self.neighbourhood.own());
        let sources = self.adjacency.source_count();
        let weights = Mat { data: parameters, row_stride: columns, col_stride: 1 };
        let roots = Mat { data: parameters.get(features..).unwrap_or(&[]), ..weights };
        // A matrix of gradients per group of blocks: few groups, but enough for many threads.
        let block = block(features, out);
        let group = sources.div_ceil(64).next_multiple_of(block).max(512);
        let width = if wants_x { features } else { 0 };
        let fill = |first: usize, dx: &mut [T], sum: &mut [T]| {
            let last = (first + group).min(sources);
            let mut sums = vec![T::ZERO; block * out];
            // Row-major [out, features] each; the root's after the weight's.
            let (dw, droot) = sum.split_at_mut(features * out);
            for first_row in (first..last).step_by(block) {
                let count = block.min(last - first_row);
                let g = &mut sums[..count * out];
                vectorized(Sum {
                    x: dy,
                    width: out,
                    rows,
                    first: first_row,
                    count,
                    of_row,
                    of_column,
                    own,
                    out: g,
                });
                let g = Mat::rows(&*g, out);
                let x = Mat::rows(&x[first_row * features..], features);
                matmul((out, count, features), g.t(), x, dw, true);
                let mut dx = dx.get_mut((first_row - first) * width..);
                if let (true, Some(dx)) = (wants_x, &mut dx) {
                    matmul((count, out, features), g, weights, dx, false);
                }
                if self.root {
                    let dy = Mat::rows(&dy[first_row * out..], out);
                    matmul((out, count, features), dy.t(), x, droot, true);
                    if let (true, Some(dx)) = (wants_x, &mut dx) {
                        matmul((count, out, features), dy, roots, dx, true);
                    }
                }
            }
        };
        let maps = 1 + usize::from(self.root);
        let (dx, sums) = build_rows_and_sums(sources, width, group, maps * features * out, fill);
        let dbias = if self.bias { column_sums(dy, out) } else { vec![] };
        let mut packed = Vec::with_capacity(out * columns);
        for o in 0..out {
            for map in sums.chunks(features * out) {
                packed.extend_from_slice(&map[o * features..][..features]);
            }
            packed.extend(dbias.get(o));
        }
        (dx, packed)
    }

    /// As [`Propagate::backward`], by products of whole matrices.
    #[cfg(feature = "cuda")]
    fn cuda_bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        dy: &Tensor,
        wants_x: bool,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let map = |k: usize| parameters.narrow(1, k * self.features, self.features);
        let (adjacency, neighbourhood) = (&self.adjacency, self.neighbourhood);
        let sums = tensors::on_device([dy], |[dy]| {
            cuda::neighbour_sum("propagate", dy, adjacency, neighbourhood, true)
        })?;
        let mut dx = wants_x.then(|| product(&sums, &map(0)?)).transpose()?;
        let mut parts = vec![product(&sums.t()?, x)?];
        if self.root {
            dx = dx.map(|dx| dx + product(dy, &map(1)?)?).transpose()?;
            parts.push(product(&dy.t()?, x)?);
        }
        if self.bias {
            parts.push(tensors::column_sums(dy)?.reshape((self.out, 1))?);
        }
        Ok((dx, Some(Tensor::cat(&parts, 1)?)))
    }
}

impl CustomOp2 for Propagate {
    fn name(&self) -> &'static str {
        "propagate"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        parameters: &CpuStorage,
        p_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let dtype = candle_core::backend::BackendStorage::dtype(x);
        dispatch!(self.name(), dtype, T => {
            let y = self.forward::<T>(slice(x, x_layout)?, slice(parameters, p_layout)?);
            Ok((T::to_cpu_storage_owned(y), Shape::from((self.adjacency.target_count(), self.out))))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        parameters: &CudaStorage,
        p_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let operands = ((x, x_layout), (parameters, p_layout));
        cuda::propagate(self.name(), operands, &self.adjacency, self.neighbourhood, (self.root, self.bias))
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let wants_x = x.track_op();
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return self.cuda_bwd(&x.detach(), &parameters.detach(), &dy, wants_x);
        }
        dispatch!(self.name(), x.dtype(), T => {
            let (dx, dp) = with_values::<T, _>(x, |x| with_values(parameters, |p| {
                with_values(&dy, |dy| Ok(self.backward(x, p, dy, wants_x)))
            }))?;
            let dx = wants_x.then(|| Tensor::from_vec(dx, x.shape(), x.device())).transpose()?;
            Ok((dx, Some(Tensor::from_vec(dp, parameters.shape(), x.device())?)))
        })
    }
}

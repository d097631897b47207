use super::Adjacency;
use super::gather::{Own, Rows, Sum};
use super::kernel::{Real, dispatch, slice, with_values};
use super::simd::vectorized;
#[cfg(feature = "cuda")]
use crate::cuda::{elementwise, propagate, segment, tensors};
use crate::element::Element;
use crate::gemm::{Mat, matmul};
use crate::parallel::{build, build_rows, build_rows_and_sums};
#[cfg(feature = "cuda")]
use crate::portable;
use crate::{Error, Result};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor, WithDType};
use std::sync::Arc;

/// A linear map of rows, `y = x W^T (+ b)`, or `relu(y)`: one pass forward and one backward, on all threads, without a
/// gradient for an `x` that needs none.
///
/// The gradient of the ReLU at 0 is 0.
///
/// # Shapes
/// `x` \[rows, F\], `weight` \[out, F\], `bias` \[out\] -> \[rows, out\]
///
/// # Errors
/// [`Error::Shape`] if a shape does not fit; an error of candle for another type than f32 and f64 or a device without
/// a kernel.
pub fn row_linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, relu: bool) -> Result<Tensor> {
    let op = RowLinear::new("row_linear", x, weight, None, relu)?;
    let base = match bias {
        Some(bias) if bias.dims() != [op.out] => {
            return Err(Error::shape("row_linear", format!("bias [{}]", op.out), bias.dims()));
        }
        Some(bias) => bias.contiguous()?,
        None => Tensor::zeros(op.out, x.dtype(), x.device())?,
    };
    Ok(x.contiguous()?.apply_op3(&weight.contiguous()?, &base, op)?)
}

/// A linear map of rows that is added to rows of another matrix, `y_i = base_k + W x_i` for each edge `i -> k` of
/// `base_of_row`, which gives one `k` for every row in order.
///
/// # Shapes
/// `x` \[rows, F\], `weight` \[out, F\], `base` \[targets of `base_of_row`, out\] -> \[rows, out\]
///
/// # Errors
/// As [`row_linear`], and [`Error::Shape`] if `base_of_row` is not of one target for each row.
pub fn row_linear_onto(
    x: &Tensor,
    weight: &Tensor,
    base: &Tensor,
    base_of_row: &Arc<Adjacency>,
) -> Result<Tensor> {
    const OP: &str = "row_linear_onto";
    let op = RowLinear::new(OP, x, weight, Some(base_of_row.clone()), false)?;
    let (rows, sources) = (x.dim(0)?, base_of_row.sources());
    if base_of_row.source_count() != rows || !sources.iter().map(|&s| s as usize).eq(0..rows) {
        return Err(Error::shape(OP, format!("one row of the base for each of {rows}"), sources.len()));
    }
    if base.dims() != [base_of_row.target_count(), op.out] {
        let expected = format!("base [{}, {}]", base_of_row.target_count(), op.out);
        return Err(Error::shape(OP, expected, base.dims()));
    }
    Ok(x.contiguous()?.apply_op3(&weight.contiguous()?, &base.contiguous()?, op)?)
}

/// `base` is the bias, or the rows that `onto` chooses from.
struct RowLinear {
    features: usize,
    out: usize,
    onto: Option<Arc<Adjacency>>,
    relu: bool,
}

/// The gradients of `x`, the weight and the base; the first and the last only where needed.
type Gradients<T> = (Option<Vec<T>>, Vec<T>, Option<Vec<T>>);

/// Rows at a time; few rows are spread over some threads all the same.
fn block(rows: usize) -> usize {
    rows.div_ceil(4).clamp(64, 256)
}

impl RowLinear {
    fn new(
        op: &'static str,
        x: &Tensor,
        weight: &Tensor,
        onto: Option<Arc<Adjacency>>,
        relu: bool,
    ) -> Result<Self> {
        let (out, features) = match weight.dims() {
            [out, features] if *out > 0 && *features > 0 => (*out, *features),
            other => return Err(Error::shape(op, "weight [out, features]", other)),
        };
        if x.rank() != 2 || x.dim(1)? != features {
            return Err(Error::shape(op, format!("[rows, {features}]"), x.dims()));
        }
        Ok(RowLinear { features, out, onto, relu })
    }

    /// Whether a gradient of the matrix for each thread is small enough to be made.
    fn narrow(&self) -> bool {
        self.features * self.out <= 1 << 14
    }

    fn forward<T: Real + Element>(&self, x: &[T], weight: &[T], base: &[T], rows: usize) -> Vec<T> {
        let (features, out) = (self.features, self.out);
        // A product of few columns reads its matrix again for each block, better in the order of its rows.
        let columns: Vec<T> = match self.narrow() {
            true => (0..features).flat_map(|f| (0..out).map(move |o| weight[o * features + f])).collect(),
            false => vec![],
        };
        let map = if self.narrow() { Mat::rows(&columns, out) } else { Mat::rows(weight, features).t() };
        build_rows(rows, out, block(rows), |first, y: &mut [T]| {
            for (row, y) in (first..).zip(y.chunks_mut(out)) {
                let from = self.onto.as_ref().map_or(0, |onto| onto.targets()[row] as usize * out);
                y.copy_from_slice(&base[from..from + out]);
            }
            let x = Mat::rows(&x[first * features..], features);
            matmul((y.len() / out, features, out), x, map, y, true);
            if self.relu {
                // A NaN is not below 0 and comes through.
                y.iter_mut().for_each(|y| *y = if *y < T::ZERO { T::ZERO } else { *y });
            }
        })
    }

    fn backward<T: Real + Element>(
        &self,
        values: (&[T], &[T], &[T], &[T]),
        rows: usize,
        (wants_x, wants_base): (bool, bool),
    ) -> Gradients<T> {
        let (dx, dw, db) = match self.narrow() {
            true => self.backward_narrow(values, rows, wants_x),
            false => self.backward_wide(values, rows, wants_x),
        };
        let base = || match &self.onto {
            None => db,
            Some(onto) => {
                let (x, width, rows) = (values.3, self.out, Rows::ends(onto.by_target()));
                build_rows(onto.target_count(), width, 128, |first, out: &mut [T]| {
                    let (count, own) = (out.len() / width, Own::Kept);
                    vectorized(Sum { x, width, rows, first, count, of_row: None, of_column: None, own, out });
                })
            }
        };
        (wants_x.then_some(dx), dw, wants_base.then(base))
    }

    /// The gradients on a CUDA device, by products of whole matrices.
    #[cfg(feature = "cuda")]
    fn cuda_bwd(
        &self,
        [x, weight, y, dy]: [&Tensor; 4],
        (wants_x, wants_base): (bool, bool),
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let masked = match self.relu {
            true => tensors::on_device([dy, y], |[dy, y]| elementwise::binary("relu_backward", dy, y))?,
            false => dy.clone(),
        };
        let dx = wants_x.then(|| portable::matmul(&masked, &weight.detach())).transpose()?;
        let dw = portable::matmul(&masked.t()?, &x.detach())?;
        let db = || match &self.onto {
            None => tensors::column_sums(&masked),
            Some(onto) => {
                let rows = onto.by_target();
                tensors::on_device([&masked], |[d]| segment::gather_sum("row linear", d, rows, (None, None)))
            }
        };
        Ok((dx, Some(dw), wants_base.then(db).transpose()?))
    }

    /// One pass over groups of rows, each of which accumulates its own gradient of the matrix.
    fn backward_narrow<T: Real + Element>(
        &self,
        (x, weight, y, dy): (&[T], &[T], &[T], &[T]),
        rows: usize,
        wants_x: bool,
    ) -> (Vec<T>, Vec<T>, Vec<T>) {
        let (features, out, block) = (self.features, self.out, block(rows));
        let weight = Mat::rows(weight, features);
        let group = rows.div_ceil(64).next_multiple_of(block);
        let width = if wants_x { features } else { 0 };
        let fill = |first: usize, dx: &mut [T], sum: &mut [T]| {
            let last = (first + group).min(rows);
            let (dw, db) = sum.split_at_mut(out * features);
            let mut masked = vec![T::ZERO; block * out];
            for row in (first..last).step_by(block) {
                let count = block.min(last - row);
                let part = row * out..(row + count) * out;
                let masked = &mut masked[..count * out];
                self.mask(&y[part.clone()], &dy[part], masked);
                for row in masked.chunks(out) {
                    db.iter_mut().zip(row).for_each(|(s, &v)| *s += v);
                }
                let d = Mat::rows(&*masked, out);
                let x = Mat::rows(&x[row * features..], features);
                matmul((out, count, features), d.t(), x, dw, true);
                if wants_x {
                    matmul((count, out, features), d, weight, &mut dx[(row - first) * features..], false);
                }
            }
        };
        let (dx, mut dw) = build_rows_and_sums(rows, width, group, (features + 1) * out, fill);
        let db = dw.split_off(out * features);
        (dx, dw, db)
    }

    /// Products of whole matrices, by blocks of what they give.
    fn backward_wide<T: Real + Element>(
        &self,
        (x, weight, y, dy): (&[T], &[T], &[T], &[T]),
        rows: usize,
        wants_x: bool,
    ) -> (Vec<T>, Vec<T>, Vec<T>) {
        let (features, out) = (self.features, self.out);
        let masked = match self.relu {
            true => build(dy.len(), |first, d: &mut [T]| self.mask(&y[first..], &dy[first..], d)),
            false => vec![],
        };
        let d = if self.relu { &masked[..] } else { dy };
        let weight = Mat::rows(weight, features);
        let dx = build_rows(if wants_x { rows } else { 0 }, features, block(rows), |first, dx: &mut [T]| {
            let d = Mat::rows(&d[first * out..], out);
            matmul((dx.len() / features, out, features), d, weight, dx, false);
        });
        let dw = build_rows(out, features, 64, |first, dw: &mut [T]| {
            // The columns of `d` from `first` on, as rows.
            let d = Mat { data: &d[first.min(d.len())..], row_stride: 1, col_stride: out };
            matmul((dw.len() / features, rows, features), d, Mat::rows(x, features), dw, false);
        });
        let db = if self.onto.is_some() { vec![] } else { column_sums(d, out) };
        (dx, dw, db)
    }

    /// The gradient before the ReLU.
    fn mask<T: Real>(&self, y: &[T], dy: &[T], masked: &mut [T]) {
        for ((m, &d), &y) in masked.iter_mut().zip(dy).zip(y) {
            *m = if self.relu && y <= T::zero() { T::zero() } else { d };
        }
    }
}

/// The sum of the rows of a matrix.
pub(super) fn column_sums<T: Real>(values: &[T], width: usize) -> Vec<T> {
    const ROWS: usize = 4096;
    let rows = values.len() / width.max(1);
    let add = |first: usize, _: &mut [T], sum: &mut [T]| {
        for row in values[first * width..].chunks(width).take(ROWS) {
            sum.iter_mut().zip(row).for_each(|(s, &v)| *s += v);
        }
    };
    build_rows_and_sums(rows, 0, ROWS, width, add).1
}

impl CustomOp3 for RowLinear {
    fn name(&self) -> &'static str {
        "row linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        w_layout: &Layout,
        base: &CpuStorage,
        b_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let rows = x_layout.shape().dims2()?.0;
        let dtype = candle_core::backend::BackendStorage::dtype(x);
        dispatch!(self.name(), dtype, T => {
            let (x, weight, base) = (slice(x, x_layout)?, slice(weight, w_layout)?, slice(base, b_layout)?);
            let y = self.forward::<T>(x, weight, base, rows);
            Ok((T::to_cpu_storage_owned(y), Shape::from((rows, self.out))))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        w_layout: &Layout,
        base: &CudaStorage,
        b_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let operands = [(x, x_layout), (weight, w_layout), (base, b_layout)];
        propagate::row_linear("row linear", operands, self.onto.as_deref(), self.relu)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        base: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let wanted = (x.track_op(), base.track_op());
        let rows = x.dim(0)?;
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return self.cuda_bwd([x, weight, y, &dy], wanted);
        }
        dispatch!(self.name(), x.dtype(), T => {
            let (dx, dw, db) = with_values::<T, _>(x, |x| with_values(weight, |w| with_values(y, |y| {
                with_values(&dy, |dy| Ok(self.backward((x, w, y, dy), rows, wanted)))
            })))?;
            let like = |values: Option<Vec<T>>, tensor: &Tensor| {
                values.map(|v| Tensor::from_vec(v, tensor.shape(), tensor.device())).transpose()
            };
            Ok((like(dx, x)?, like(Some(dw), weight)?, like(db, base)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, pattern};
    use crate::{ParamStore, Seed};
    use candle_core::{DType, Var};

    fn gap(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap()
    }

    fn gradients(y: &Tensor) -> candle_core::backprop::GradStore {
        y.sqr().unwrap().sum_all().unwrap().backward().unwrap()
    }

    /// The composed form, on one row, several and none, as a graph without edges has no rows, and with matrices on both
    /// sides of the border between the two ways back.
    #[test]
    fn equals_the_composed_form_even_without_rows() {
        let cases =
            [(0, 3, 5, false), (1, 3, 5, true), (7, 3, 5, false), (300, 3, 5, true), (600, 3, 5, true)];
        for (rows, features, out, relu) in
            cases.into_iter().chain([(0, 133, 131, true), (1, 133, 131, false), (300, 133, 131, true)])
        {
            let store = ParamStore::new(Seed::new(1));
            let layer = crate::linear(features, out, store.var_builder(DType::F64, &device())).unwrap();
            let x = match rows {
                0 => Tensor::zeros((0, features), DType::F64, &device()).unwrap(),
                _ => pattern(&[rows, features], 2).unwrap(),
            };
            let x = Var::from_tensor(&x).unwrap();
            let composed = crate::Module::forward(&layer, &x).unwrap();
            let composed = if relu { crate::relu(&composed).unwrap() } else { composed };
            let fused = row_linear(&x, layer.weight(), layer.bias(), relu).unwrap();
            assert_eq!(fused.dims(), [rows, out]);
            if rows == 0 {
                let found = fused.sum_all().unwrap().backward().unwrap();
                assert_eq!(found.get(layer.weight()).unwrap().dims(), [out, features]);
                continue;
            }
            // Ten times as much where sums are longer.
            let bound = if features * out > 1 << 14 || rows > 300 { 1e-11 } else { 1e-12 };
            assert!(gap(&fused, &composed) < bound);
            let (a, b) = (gradients(&fused), gradients(&composed));
            assert!(gap(a.get(&x).unwrap(), b.get(&x).unwrap()) < 10.0 * bound);
            for (name, var) in store.trainable() {
                assert!(gap(a.get(&var).unwrap(), b.get(&var).unwrap()) < 100.0 * bound, "{name}");
            }
            // An input that needs no gradient costs none.
            let fixed = row_linear(&x.detach(), layer.weight(), layer.bias(), relu).unwrap();
            let c = gradients(&fixed);
            assert!(gap(c.get(layer.weight()).unwrap(), b.get(layer.weight()).unwrap()) < 100.0 * bound);
        }
    }

    #[test]
    fn rows_are_added_to_the_rows_of_a_base() {
        let of_row = Arc::new(Adjacency::from_segments(&[2, 0, 2, 1, 0], 4).unwrap());
        for (features, out) in [(3, 2), (130, 129)] {
            let make = |dims: &[usize], salt| Var::from_tensor(&pattern(dims, salt).unwrap()).unwrap();
            let (x, w, base) = (make(&[5, features], 1), make(&[out, features], 2), make(&[4, out], 3));
            let index = Tensor::new(&[2u32, 0, 2, 1, 0], &device()).unwrap();
            let plain = (x.matmul(&w.t().unwrap()).unwrap() + base.index_select(&index, 0).unwrap()).unwrap();
            let fused = row_linear_onto(&x, &w, &base, &of_row).unwrap();
            assert!(gap(&plain, &fused) < 1e-12);
            let (a, b) = (gradients(&plain), gradients(&fused));
            for var in [&x, &w, &base] {
                assert!(gap(a.get(var).unwrap(), b.get(var).unwrap()) < 1e-10);
            }
        }
        let x = pattern(&[5, 3], 1).unwrap();
        let (w, base) = (pattern(&[2, 3], 2).unwrap(), pattern(&[4, 2], 3).unwrap());
        let double = Arc::new(Adjacency::new(5, 4, &[0, 1, 2, 3, 3], &[0, 0, 0, 0, 1]).unwrap());
        let message = row_linear_onto(&x, &w, &base, &double).unwrap_err().to_string();
        assert_eq!(message, "row_linear_onto: expected one row of the base for each of 5, got 5");
        assert!(row_linear_onto(&x, &w, &x, &of_row).is_err());
    }
}

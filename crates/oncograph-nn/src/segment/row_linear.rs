use super::kernel::{Real, dispatch, slice, with_values};
use crate::element::Element;
use crate::gemm::{Mat, matmul};
use crate::parallel::{build_rows, build_rows_and_sums};
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp2, D, Layout, Shape, Tensor, WithDType};

/// A narrow linear map of many rows, `y = x W^T (+ b)`, or `relu(y)`: one pass forward and one backward, on all
/// threads, without a gradient for an `x` that needs none.
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
    const OP: &str = "row_linear";
    let (out, features) = match weight.dims() {
        [out, features] if *out > 0 && *features > 0 => (*out, *features),
        other => return Err(Error::shape(OP, "weight [out, features]", other)),
    };
    if x.rank() != 2 || x.dim(1)? != features {
        return Err(Error::shape(OP, format!("[rows, {features}]"), x.dims()));
    }
    let parameters = match bias {
        Some(bias) => Tensor::cat(&[weight, &bias.reshape((out, 1))?], D::Minus1)?,
        None => weight.contiguous()?,
    };
    let op = RowLinear { features, out, bias: bias.is_some(), relu };
    Ok(x.contiguous()?.apply_op2(&parameters, op)?)
}

struct RowLinear {
    features: usize,
    out: usize,
    bias: bool,
    relu: bool,
}

const BLOCK: usize = 256;

impl RowLinear {
    fn columns(&self) -> usize {
        self.features + usize::from(self.bias)
    }

    fn forward<T: Real + Element>(&self, x: &[T], parameters: &[T], rows: usize) -> Vec<T> {
        let (features, out, columns) = (self.features, self.out, self.columns());
        let weight: Vec<T> =
            (0..features).flat_map(|f| (0..out).map(move |o| parameters[o * columns + f])).collect();
        let weight = &weight;
        build_rows(rows, out, BLOCK, |first, y: &mut [T]| {
            if self.bias {
                let bias = |o: usize| parameters[o * columns + features];
                y.chunks_mut(out).for_each(|y| y.iter_mut().enumerate().for_each(|(o, y)| *y = bias(o)));
            }
            let x = Mat::rows(&x[first * features..], features);
            matmul((y.len() / out, features, out), x, Mat::rows(weight, out), y, true);
            if self.relu {
                // A NaN is not below 0 and comes through.
                y.iter_mut().for_each(|y| *y = if *y < T::ZERO { T::ZERO } else { *y });
            }
        })
    }

    fn backward<T: Real + Element>(
        &self,
        (x, parameters, y, dy): (&[T], &[T], &[T], &[T]),
        rows: usize,
        wants_x: bool,
    ) -> (Vec<T>, Vec<T>) {
        let (features, out, columns) = (self.features, self.out, self.columns());
        let weight = Mat { data: parameters, row_stride: columns, col_stride: 1 };
        let group = rows.div_ceil(64).next_multiple_of(BLOCK);
        let width = if wants_x { features } else { 0 };
        let fill = |first: usize, dx: &mut [T], sum: &mut [T]| {
            let last = (first + group).min(rows);
            let (dw, db) = sum.split_at_mut(out * features);
            let mut masked = vec![T::ZERO; BLOCK * out];
            for row in (first..last).step_by(BLOCK) {
                let count = BLOCK.min(last - row);
                let part = row * out..(row + count) * out;
                let (dy, y) = (&dy[part.clone()], &y[part]);
                let masked = &mut masked[..count * out];
                for ((m, &d), &y) in masked.iter_mut().zip(dy).zip(y) {
                    *m = if self.relu && y <= T::ZERO { T::ZERO } else { d };
                }
                if self.bias {
                    for row in masked.chunks(out) {
                        db.iter_mut().zip(row).for_each(|(s, &v)| *s += v);
                    }
                }
                let d = Mat::rows(&*masked, out);
                let x = Mat::rows(&x[row * features..], features);
                matmul((out, count, features), d.t(), x, dw, true);
                if wants_x {
                    matmul((count, out, features), d, weight, &mut dx[(row - first) * features..], false);
                }
            }
        };
        let (dx, sums) = build_rows_and_sums(rows, width, group, columns * out, fill);
        let (dw, db) = sums.split_at(out * features);
        let mut packed = Vec::with_capacity(out * columns);
        for o in 0..out {
            packed.extend_from_slice(&dw[o * features..][..features]);
            packed.extend(db.get(o));
        }
        (dx, packed)
    }
}

impl CustomOp2 for RowLinear {
    fn name(&self) -> &'static str {
        "row linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        parameters: &CpuStorage,
        p_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let rows = x_layout.shape().dims2()?.0;
        let dtype = candle_core::backend::BackendStorage::dtype(x);
        dispatch!(self.name(), dtype, T => {
            let y = self.forward::<T>(slice(x, x_layout)?, slice(parameters, p_layout)?, rows);
            Ok((T::to_cpu_storage_owned(y), Shape::from((rows, self.out))))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (wants_x, rows) = (x.track_op(), x.dim(0)?);
        dispatch!(self.name(), x.dtype(), T => {
            let (dx, dp) = with_values::<T, _>(x, |x| with_values(parameters, |p| with_values(y, |y| {
                with_values(&dy, |dy| Ok(self.backward((x, p, y, dy), rows, wants_x)))
            })))?;
            let dx = wants_x.then(|| Tensor::from_vec(dx, x.shape(), x.device())).transpose()?;
            Ok((dx, Some(Tensor::from_vec(dp, parameters.shape(), x.device())?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pattern;
    use crate::{ParamStore, Seed};
    use candle_core::{DType, Device};

    /// The composed form, on one row, several and none: a graph without edges has no rows.
    #[test]
    fn equals_the_composed_form_even_without_rows() {
        for (rows, relu) in [(0, false), (1, true), (7, false), (300, true)] {
            let store = ParamStore::new(Seed::new(1));
            let layer = crate::linear(3, 5, store.var_builder(DType::F64, &Device::Cpu)).unwrap();
            let x = match rows {
                0 => Tensor::zeros((0, 3), DType::F64, &Device::Cpu).unwrap(),
                _ => pattern(&[rows, 3], 2).unwrap(),
            };
            let x = candle_core::Var::from_tensor(&x).unwrap();
            let composed = crate::Module::forward(&layer, &x).unwrap();
            let composed = if relu { crate::relu(&composed).unwrap() } else { composed };
            let fused = row_linear(&x, layer.weight(), layer.bias(), relu).unwrap();
            assert_eq!(fused.dims(), [rows, 5]);
            if rows == 0 {
                fused.sum_all().unwrap().backward().unwrap();
                continue;
            }
            let gap = |a: &Tensor, b: &Tensor| {
                (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap()
            };
            assert!(gap(&fused, &composed) < 1e-12);
            let gradients = |y: &Tensor| y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let (a, b) = (gradients(&fused), gradients(&composed));
            assert!(gap(a.get(&x).unwrap(), b.get(&x).unwrap()) < 1e-11);
            for (name, var) in store.trainable() {
                assert!(gap(a.get(&var).unwrap(), b.get(&var).unwrap()) < 1e-10, "{name}");
            }
        }
    }
}

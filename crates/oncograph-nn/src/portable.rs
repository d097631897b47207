//! Operations of candle that its CUDA backend answers differently from the CPU: here with the CPU's result on every
//! device, gradients included.
//!
//! On CUDA, candle 0.11 fails on tensors without elements, reads strided ids as if they lay side by side, drops NaN in
//! maxima and minima, and refuses products of operands that are parts of a larger matrix. `tests/cuda/tests/candle` in
//! the repository has the list, with a test for each. On the CPU these functions are candle's own, but that rows are selected by
//! strided ids and of strided tensors too, which candle refuses there.

use crate::Result;
use candle_core::shape::Dim;
use candle_core::{DType, Device, Shape, Tensor};

/// Whether candle's own operation is left alone.
fn is_plain(x: &Tensor) -> bool {
    x.device().is_cpu()
}

fn is_empty(x: &Tensor) -> bool {
    x.elem_count() == 0
}

/// The rows of `x` with the numbers `ids`, in their order.
///
/// # Shapes
/// `x` \[rows, ..\], `ids` \[n\] -> \[n, ..\]
///
/// # Errors
/// An error of candle, for example for a row that does not exist.
pub fn select_rows(x: &Tensor, ids: &Tensor) -> Result<Tensor> {
    if is_plain(x) {
        // The CPU refuses what does not lie side by side.
        return Ok(x.contiguous()?.index_select(&ids.contiguous()?, 0)?);
    }
    if is_empty(ids) {
        // Not zeros: a part of `x` sends a gradient to it.
        return Ok(x.narrow(0, 0, 0)?);
    }
    if is_empty(x) {
        let mut dims = x.dims().to_vec();
        dims[0] = ids.elem_count();
        return Ok(Tensor::zeros(dims, x.dtype(), x.device())?);
    }
    Ok(x.contiguous()?.index_select(&ids.contiguous()?, 0)?)
}

/// As [`select_rows`], for numbers in the memory of the host.
///
/// # Shapes
/// `x` \[rows, ..\] -> \[ids, ..\]
///
/// # Errors
/// As [`select_rows`].
pub fn rows_at(x: &Tensor, ids: &[u32]) -> Result<Tensor> {
    select_rows(x, &Tensor::from_slice(ids, ids.len(), x.device())?)
}

/// `a` where `mask` is not 0, else `b`.
///
/// # Shapes
/// Three tensors of one shape, which the result has.
///
/// # Errors
/// An error of candle, for example for different shapes.
pub fn where_else(mask: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if is_plain(a) || !is_empty(a) { Ok(mask.where_cond(a, b)?) } else { Ok((a + b)?) }
}

/// 1 where `x` is above `bound`, else 0, also for NaN.
///
/// # Errors
/// An error of candle.
pub fn above(x: &Tensor, bound: f64) -> Result<Tensor> {
    if is_plain(x) || !is_empty(x) {
        return Ok(x.gt(bound)?);
    }
    Ok(Tensor::zeros(x.shape(), DType::U8, x.device())?)
}

/// A tensor of ones.
///
/// # Errors
/// An error of candle.
pub fn ones(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
    let shape = shape.into();
    if device.is_cpu() || shape.elem_count() > 0 {
        return Ok(Tensor::ones(shape, dtype, device)?);
    }
    Ok(Tensor::zeros(shape, dtype, device)?)
}

/// `x` as numbers of another type.
///
/// # Errors
/// An error of candle.
pub fn to_dtype(x: &Tensor, dtype: DType) -> Result<Tensor> {
    if is_plain(x) || !is_empty(x) {
        return Ok(x.to_dtype(dtype)?);
    }
    Ok(Tensor::zeros(x.shape(), dtype, x.device())?)
}

/// The sum over a dimension, which the result lacks.
///
/// # Errors
/// An error of candle, for example for a dimension that `x` does not have.
pub fn sum<D: Dim>(x: &Tensor, dim: D) -> Result<Tensor> {
    let dim = dim.to_index(x.shape(), "sum")?;
    if is_plain(x) || !is_empty(x) || x.dim(dim)? == 0 {
        return Ok(x.sum(dim)?);
    }
    // A part of `x`, so that a gradient goes there.
    Ok(x.narrow(dim, 0, 1)?.squeeze(dim)?)
}

/// The mean over a dimension, which the result lacks.
///
/// # Errors
/// As [`sum`].
pub fn mean<D: Dim>(x: &Tensor, dim: D) -> Result<Tensor> {
    let dim = dim.to_index(x.shape(), "mean")?;
    if is_plain(x) || !is_empty(x) {
        return Ok(x.mean(dim)?);
    }
    sum(x, dim)
}

/// `x` with the elements outside of \[low, high\] replaced by the bound that is nearer; NaN stays.
///
/// # Errors
/// An error of candle.
pub fn clamp(x: &Tensor, low: f64, high: f64) -> Result<Tensor> {
    if is_plain(x) {
        return Ok(x.clamp(low, high)?);
    }
    if is_empty(x) {
        return Ok(x.clone());
    }
    Ok(x.ne(x)?.where_cond(x, &x.clamp(low, high)?)?)
}

/// The larger of two elements, the first among equals; a NaN in either is the result.
///
/// # Shapes
/// Two tensors of one shape, which the result has.
///
/// # Errors
/// An error of candle, for example for different shapes.
pub fn maximum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if is_empty(a) && !is_plain(a) {
        return Ok((a + b)?);
    }
    // A comparison with a NaN is false: it comes through from `b`, and `a != a` keeps that of `a`.
    Ok((a.ge(b)? + a.ne(a)?)?.where_cond(a, b)?)
}

/// The smaller of two elements, as [`maximum`].
///
/// # Shapes
/// Two tensors of one shape, which the result has.
///
/// # Errors
/// As [`maximum`].
pub fn minimum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if is_empty(a) && !is_plain(a) {
        return Ok((a + b)?);
    }
    Ok((a.le(b)? + a.ne(a)?)?.where_cond(a, b)?)
}

/// `x` where positive, else `slope` times `x`; NaN stays.
///
/// # Errors
/// An error of candle.
///
/// # Reference
/// `torch.nn.functional.leaky_relu`.
pub fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor> {
    if is_plain(x) {
        return Ok(candle_nn::ops::leaky_relu(x, slope)?);
    }
    if is_empty(x) {
        return Ok(x.clone());
    }
    Ok(x.le(0.0)?.where_cond(&(x * slope)?, x)?)
}

/// `max(x, 0)`; NaN stays.
pub(crate) fn relu(x: &Tensor) -> Result<Tensor> {
    if is_empty(x) {
        return Ok(x.clone());
    }
    Ok(x.le(0.0)?.where_cond(&x.zeros_like()?, x)?)
}

/// The matrix product `a b`, for any strides.
///
/// # Shapes
/// \[.., m, k\], \[.., k, n\] -> \[.., m, n\], of one rank, at most 4
///
/// # Errors
/// An error of candle, for example for shapes that do not fit.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if is_plain(a) {
        return Ok(a.matmul(b)?);
    }
    let packed = |x: &Tensor| -> Result<Tensor> {
        let as_it_is = x.is_contiguous() || (x.rank() > 1 && x.t()?.is_contiguous());
        Ok(if as_it_is { x.clone() } else { x.contiguous()? })
    };
    Ok(packed(a)?.matmul(&packed(b)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, pattern};
    use candle_core::Var;

    fn values(t: &Tensor) -> Vec<f32> {
        t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    fn same(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())), "{a:?} {b:?}");
    }

    fn none() -> Tensor {
        Tensor::zeros((0, 3), DType::F32, &device()).unwrap()
    }

    #[test]
    fn rows_are_selected_by_any_ids() {
        let x = Tensor::new(&[[0f32, 1.], [2., 3.], [4., 5.]], &device()).unwrap();
        let column =
            Tensor::new(&[[9u32, 2], [9, 0]], &device()).unwrap().narrow(1, 1, 1).unwrap().squeeze(1);
        same(&values(&select_rows(&x, &column.unwrap()).unwrap()), &[4., 5., 0., 1.]);
        same(&values(&rows_at(&x.t().unwrap(), &[1]).unwrap()), &[1., 3., 5.]);
        assert_eq!(rows_at(&x, &[]).unwrap().dims(), [0, 2]);
        let thin = Tensor::zeros((3, 0), DType::F32, &device()).unwrap();
        assert_eq!(rows_at(&thin, &[0, 2, 2]).unwrap().dims(), [3, 0]);
    }

    #[test]
    fn no_rows_send_a_gradient_of_zeros() {
        let x = Var::from_tensor(&pattern(&[4, 3], 1).unwrap().to_device(&device()).unwrap()).unwrap();
        let loss = Tensor::cat(&[rows_at(&x, &[]).unwrap(), rows_at(&x, &[2]).unwrap()], 0).unwrap();
        let gradients = loss.sum_all().unwrap().backward().unwrap();
        let want = [0., 0., 0., 0., 0., 0., 1., 1., 1., 0., 0., 0.];
        same(&values(gradients.get(&x).unwrap()), &want);
    }

    #[test]
    fn nothing_stays_nothing() {
        let x = none();
        let mask = above(&x, 0.0).unwrap();
        for y in [
            where_else(&mask, &x, &x).unwrap(),
            ones((0, 3), DType::F32, &device()).unwrap(),
            to_dtype(&x, DType::F64).unwrap(),
            clamp(&x, 0.0, 1.0).unwrap(),
            leaky_relu(&x, 0.1).unwrap(),
            maximum(&x, &x).unwrap(),
            minimum(&x, &x).unwrap(),
            crate::relu(&x).unwrap(),
        ] {
            assert_eq!(y.dims(), [0, 3]);
        }
        assert_eq!(to_dtype(&x, DType::F64).unwrap().dtype(), DType::F64);
        assert_eq!(sum(&x, 1).unwrap().dims(), [0]);
        assert_eq!(mean(&x, 1).unwrap().dims(), [0]);
        same(&values(&sum(&x, 0).unwrap()), &[0.0; 3]);
        assert_eq!(mask.dtype(), DType::U8);
    }

    #[test]
    fn a_nan_stays() {
        let x = Tensor::new(&[f32::NAN, -2.0, 0.0, 3.0], &device()).unwrap();
        same(&values(&clamp(&x, -1.0, 1.0).unwrap()), &[f32::NAN, -1.0, 0.0, 1.0]);
        same(&values(&leaky_relu(&x, 0.5).unwrap()), &[f32::NAN, -1.0, 0.0, 3.0]);
        same(&values(&crate::relu(&x).unwrap()), &[f32::NAN, 0.0, 0.0, 3.0]);
        same(&values(&crate::add_relu(&x, &x).unwrap()), &[f32::NAN, 0.0, 0.0, 6.0]);
        let other = Tensor::new(&[1.0, f32::NAN, -1.0, 4.0], &device()).unwrap();
        same(&values(&maximum(&x, &other).unwrap()), &[f32::NAN, f32::NAN, 0.0, 4.0]);
        same(&values(&minimum(&x, &other).unwrap()), &[f32::NAN, f32::NAN, -1.0, 3.0]);
        same(&values(&above(&x, 0.0).unwrap()), &[0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn parts_of_matrices_are_multiplied() {
        let whole = pattern(&[4, 6], 2).unwrap().to_device(&device()).unwrap();
        let parts = [whole.narrow(1, 1, 4).unwrap(), whole.narrow(1, 2, 4).unwrap().t().unwrap()];
        let copies = parts.each_ref().map(|p| p.copy().unwrap());
        let (a, b) = (matmul(&parts[0], &parts[1]).unwrap(), matmul(&copies[0], &copies[1]).unwrap());
        same(&values(&a), &values(&b));
        assert_eq!(
            matmul(&none(), &Tensor::zeros((3, 2), DType::F32, &device()).unwrap()).unwrap().dims(),
            [0, 2]
        );
    }
}

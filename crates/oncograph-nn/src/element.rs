use crate::{Error, vector_math};
use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, DType, Layout, Storage, Tensor, WithDType};
use std::borrow::Cow;

/// The floating-point types that the CPU kernels are written for: f32 and f64.
///
/// candle's `WithDType` also holds integers and has neither mutable access to a storage nor `sqrt`.
pub(crate) trait Element: WithDType + std::ops::Neg<Output = Self> + std::iter::Sum {
    const ZERO: Self;
    const ONE: Self;
    fn sqrt(self) -> Self;
    /// Replaces every value by its logistic function.
    fn sigmoid_all(values: &mut [Self]);
    /// Replaces every value by its hyperbolic tangent.
    fn tanh_all(values: &mut [Self]);
    fn maximum(self, other: Self) -> Self;
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
    /// The same values, if they are f32: for kernels that exist for this type alone.
    fn as_floats(values: &[Self]) -> Option<&[f32]>;
    fn from_floats(values: Vec<f32>) -> Vec<Self>;

    /// The elements of `storage` in the order of `layout`; borrowed where they lie in one piece.
    fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<Cow<'a, [Self]>> {
        let data = Self::cpu_storage_as_slice(storage)?;
        Ok(match layout.contiguous_offsets() {
            Some((start, end)) => Cow::Borrowed(&data[start..end]),
            None => Cow::Owned(gather(data, layout)),
        })
    }
}

/// The elements of a layout with any strides, row by row.
fn gather<T: Copy>(data: &[T], layout: &Layout) -> Vec<T> {
    let (dims, strides) = (layout.dims(), layout.stride());
    let mut out = Vec::with_capacity(layout.shape().elem_count());
    let Some((&inner, outer)) = dims.split_last() else { return vec![data[layout.start_offset()]] };
    if dims.contains(&0) {
        return out;
    }
    let mut index = vec![0; outer.len()];
    loop {
        let start = layout.start_offset() + index.iter().zip(strides).map(|(i, s)| i * s).sum::<usize>();
        let step = strides[outer.len()];
        out.extend((0..inner).map(|i| data[start + i * step]));
        // The next row: count up like an odometer.
        let Some(d) = (0..outer.len()).rev().find(|&d| index[d] + 1 < outer[d]) else { return out };
        index[d] += 1;
        index[d + 1..].fill(0);
    }
}

macro_rules! element {
    ($ty:ident, $variant:ident, $as_floats:expr, $from_floats:expr, $sigmoid:expr, $tanh:expr) => {
        impl Element for $ty {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            fn sqrt(self) -> Self {
                $ty::sqrt(self)
            }
            fn sigmoid_all(values: &mut [Self]) {
                $sigmoid(values);
            }
            fn tanh_all(values: &mut [Self]) {
                $tanh(values);
            }
            fn maximum(self, other: Self) -> Self {
                $ty::max(self, other)
            }
            fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
                match storage {
                    CpuStorage::$variant(data) => Some(data),
                    _ => None,
                }
            }
            fn as_floats(values: &[Self]) -> Option<&[f32]> {
                $as_floats(values)
            }
            fn from_floats(values: Vec<f32>) -> Vec<Self> {
                $from_floats(values)
            }
        }
    };
}

element!(f32, F32, Some, |values| values, vector_math::sigmoid_all, vector_math::tanh_all);
element!(
    f64,
    F64,
    |_| None,
    |values: Vec<f32>| values.into_iter().map(f64::from).collect(),
    |values: &mut [f64]| values.iter_mut().for_each(|v| *v = 1.0 / (1.0 + (-*v).exp())),
    |values: &mut [f64]| values.iter_mut().for_each(|v| *v = v.tanh())
);

/// The error of a kernel that was given integers or half floats.
pub(crate) fn unsupported(op: &'static str, dtype: DType) -> Error {
    Error::config(op, "dtype", "f32 or f64", format!("{dtype:?}"))
}

/// Runs `$body` with the type `$T` set to the Rust type of `$dtype`.
macro_rules! with_element {
    ($op:expr, $dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                #[allow(unused_imports)]
                use candle_core::WithDType as _;
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                #[allow(unused_imports)]
                use candle_core::WithDType as _;
                type $T = f64;
                $body
            }
            other => Err($crate::element::unsupported($op, other).into()),
        }
    };
}
pub(crate) use with_element;

/// The elements of a tensor's memory: borrowed on the CPU, a copy of another device's.
pub(crate) fn on_cpu(storage: &Storage) -> candle_core::Result<Cow<'_, CpuStorage>> {
    match storage {
        Storage::Cpu(storage) => Ok(Cow::Borrowed(storage)),
        Storage::Cuda(storage) => Ok(Cow::Owned(storage.to_cpu_storage()?)),
        Storage::Metal(storage) => Ok(Cow::Owned(storage.to_cpu_storage()?)),
    }
}

/// Calls `run` with the elements of a tensor in order, whatever its layout and device.
pub(crate) fn with_values<T: Element, R>(
    tensor: &Tensor,
    run: impl FnOnce(&[T]) -> R,
) -> candle_core::Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    Ok(run(&T::values(&*on_cpu(&storage)?, layout)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;

    #[test]
    fn any_layout_is_read_in_order() {
        let base = Tensor::arange(0f32, 120.0, &device()).unwrap().reshape((2, 3, 4, 5)).unwrap();
        let views = [
            base.permute((3, 1, 0, 2)).unwrap(),
            base.narrow(2, 1, 2).unwrap().transpose(0, 1).unwrap(),
            base.get(1).unwrap().narrow(0, 1, 1).unwrap().broadcast_as((2, 1, 4, 5)).unwrap(),
            base.flatten_all().unwrap().get(7).unwrap(),
        ];
        for view in views {
            let expected = view.contiguous().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(with_values(&view, <[f32]>::to_vec).unwrap(), expected);
        }
    }
}

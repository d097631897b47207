//! What the kernels of this module share.

use crate::element::on_cpu;
use candle_core::{CpuStorage, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;

/// f32 and f64, with what candle's `WithDType` lacks.
pub(super) trait Real: WithDType {
    fn exp(self) -> Self;
    /// The exponential of a number that is not positive, in a form that loops can be vectorised over; below -87 it
    /// may be 0.
    fn exp_negative(self) -> Self;
    fn of(value: f64) -> Self;
    /// `self * b + c`, rounded once.
    fn fused(self, b: Self, c: Self) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn exp(self) -> Self {
        f32::exp(self)
    }

    #[inline(always)]
    fn exp_negative(self) -> Self {
        crate::vector_math::exp_negative(self)
    }

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn fused(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
}

impl Real for f64 {
    #[inline(always)]
    fn exp(self) -> Self {
        f64::exp(self)
    }

    #[inline(always)]
    fn exp_negative(self) -> Self {
        f64::exp(self)
    }

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn fused(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
}

/// The values of a contiguous tensor.
pub(super) fn slice<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("a segment operation needs contiguous input")
    };
    Ok(&storage.as_slice::<T>()?[from..to])
}

/// Calls `run` with the values of a contiguous tensor, on whatever device.
pub(super) fn with_values<T: WithDType, R>(
    tensor: &Tensor,
    run: impl FnOnce(&[T]) -> Result<R>,
) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    run(slice(&*on_cpu(&storage)?, layout)?)
}

/// A matrix of `rows` x `width` zeros, each row of which `fill(row, values)` fills on its own.
///
/// Rows never share a sum, so the bits do not depend on how rayon hands them out.
pub(super) fn fill_rows<T: WithDType>(
    rows: usize,
    width: usize,
    work_per_row: usize,
    fill: impl Fn(usize, &mut [T]) + Sync,
) -> (CpuStorage, Shape) {
    // Below about a microsecond of work per task, handing it out costs more than doing it.
    const MIN_WORK: usize = 4096;
    let mut out = vec![T::zero(); rows * width];
    if width > 0 {
        let chunk = (MIN_WORK / work_per_row.max(1)).max(1);
        if rows <= chunk {
            out.chunks_mut(width).enumerate().for_each(|(r, values)| fill(r, values));
        } else {
            out.par_chunks_mut(width).with_min_len(chunk).enumerate().for_each(|(r, values)| fill(r, values));
        }
    }
    (T::to_cpu_storage_owned(out), Shape::from((rows, width)))
}

/// Calls `$body` with `$t` bound to the float type `$dtype`.
macro_rules! dispatch {
    ($op:expr, $dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                type $t = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $t = f64;
                $body
            }
            other => candle_core::bail!("{} runs in f32 and f64, got {other:?}", $op),
        }
    };
}
pub(super) use dispatch;

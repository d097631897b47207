//! What the kernels of this module share.

use candle_core::{CpuStorage, Layout, Result, Shape, WithDType};
use rayon::prelude::*;

/// f32 and f64, with what candle's `WithDType` lacks.
pub(super) trait Real: WithDType {
    fn exp(self) -> Self;
    fn of(value: f64) -> Self;
}

impl Real for f32 {
    fn exp(self) -> Self {
        f32::exp(self)
    }

    fn of(value: f64) -> Self {
        value as f32
    }
}

impl Real for f64 {
    fn exp(self) -> Self {
        f64::exp(self)
    }

    fn of(value: f64) -> Self {
        value
    }
}

/// The values of a contiguous tensor.
pub(super) fn slice<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("a segment operation needs contiguous input")
    };
    Ok(&storage.as_slice::<T>()?[from..to])
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

/// Calls `$body` with `$t` bound to the storage's float type.
macro_rules! dispatch {
    ($op:expr, $storage:expr, $t:ident => $body:expr) => {
        match candle_core::backend::BackendStorage::dtype($storage) {
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

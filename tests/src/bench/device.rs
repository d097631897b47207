//! The device itself.

use super::Bench;
use anyhow::Result;
use candle_core::{DType, Tensor};

type Run = fn(&mut Bench) -> Result<()>;

pub(super) const CASES: &[(&str, Run)] = &[("device/copy", copy)];

/// A gigabyte from one place of the device's memory to another.
fn copy(bench: &mut Bench) -> Result<()> {
    let count = bench.size(1 << 28, 1 << 18);
    let x = Tensor::zeros(count, DType::F32, &bench.settings.device)?;
    bench.bytes = Some(2 * count * size_of::<f32>());
    bench.time(|| Ok(x.copy()?))?;
    Ok(())
}

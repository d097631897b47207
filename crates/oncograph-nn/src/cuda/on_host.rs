//! Operations of the CPU on a CUDA device: the operands are copied to the host, the result back.

use crate::device;
use candle_core::backend::{BackendDevice as _, BackendStorage as _};
use candle_core::{CpuStorage, CudaStorage, Layout, Result, Shape};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Runs an operation of the CPU on operands in the memory of a CUDA device, and copies its result there.
///
/// The first call for each `name` warns: two copies and a wait are the price of a kernel that does not exist yet.
/// [`crate::cuda_on_host`] makes a `cuda_fwd` of it.
///
/// # Errors
/// An error of `run` or of a copy.
pub fn on_host<const N: usize>(
    name: &'static str,
    operands: [(&CudaStorage, &Layout); N],
    run: impl FnOnce([(&CpuStorage, &Layout); N]) -> Result<(CpuStorage, Shape)>,
) -> Result<(CudaStorage, Shape)> {
    let Some((first, _)) = operands.first() else {
        candle_core::bail!("{name}: no operand says which device the result belongs to")
    };
    if is_first(name) {
        tracing::warn!("{name} has no CUDA kernel yet: it runs on the CPU, with a copy there and back");
    }
    let device = first.device();
    let copies = operands.iter().map(|(storage, _)| storage.to_cpu_storage()).collect::<Result<Vec<_>>>()?;
    let (y, shape) = run(std::array::from_fn(|i| (&copies[i], operands[i].1)))?;
    let bytes = shape.elem_count() * y.dtype().size_in_bytes();
    let y =
        device.storage_from_cpu_storage_owned(y).map_err(|e| device::with_memory(e, name, bytes, device))?;
    Ok((y, shape))
}

static SEEN: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// Whether no operation of this name has run here before.
fn is_first(name: &'static str) -> bool {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(name)
}

/// The operations that have run by way of the host in this process.
pub fn by_host() -> Vec<&'static str> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_warns_once() {
        assert!(is_first("an operation of this test"));
        assert!(!is_first("an operation of this test"));
        assert!(is_first("another operation of this test"));
    }
}

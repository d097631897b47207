//! Tensors as kernels see them, where an operation has more operands or results than candle's interface takes.
#![allow(unsafe_code)]

use super::launch::{NULL, Real, storage};
use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr as _};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, Layout, Result, Shape, Storage, Tensor};

/// Where the elements of `x` begin in the memory of its device; they lie side by side.
///
/// Memory is freed in the order of the stream, so that a kernel that was launched before `x` is dropped still reads it.
///
/// # Errors
/// If they do not lie side by side, are of another type or on another device.
pub(crate) fn place<T: CudaDType>(x: &Tensor) -> Result<u64> {
    let (storage, layout) = x.storage_and_layout();
    place_of::<T>(on_cuda(&storage)?, layout)
}

/// The memory of a tensor on a CUDA device.
///
/// # Errors
/// For a tensor elsewhere.
pub(super) fn on_cuda(storage: &Storage) -> Result<&CudaStorage> {
    match storage {
        Storage::Cuda(storage) => Ok(storage),
        other => {
            candle_core::bail!("a kernel expects a tensor on a CUDA device, got one on {:?}", other.device())
        }
    }
}

/// [`place`] of what an operation of candle is handed.
///
/// # Errors
/// As [`place`].
pub(crate) fn place_of<T: CudaDType>(storage: &CudaStorage, layout: &Layout) -> Result<u64> {
    let Some((from, _)) = layout.contiguous_offsets() else {
        candle_core::bail!("a kernel expects elements side by side, got {layout:?}")
    };
    let slice = storage.as_cuda_slice::<T>()?;
    let (place, _guard) = slice.device_ptr(slice.stream());
    Ok(place + (from * size_of::<T>()) as u64)
}

/// [`place`], or [`NULL`] for none.
pub(crate) fn place_or_null<T: CudaDType>(x: Option<&Tensor>) -> Result<u64> {
    x.map_or(Ok(NULL), place::<T>)
}

/// `values` as a tensor that no gradient goes through.
pub(crate) fn tensor<T: Real>(values: CudaSlice<T>, shape: impl Into<Shape>, device: &CudaDevice) -> Tensor {
    from_memory(storage(values, device), shape)
}

/// The result of an operation as a tensor that no gradient goes through.
pub(super) fn from_memory(memory: CudaStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(memory), shape, BackpropOp::none(), false)
}

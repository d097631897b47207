//! Opening a GPU.
#![allow(unsafe_code)]

use super::DeviceError;
use candle_core::cuda_backend::cudarc::driver::sys::{CUmemPool_attribute, CUresult};
use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError, result};
use candle_core::cuda_backend::{CudaError, kernels};
use candle_core::{CudaDevice, Device};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

type Result<T> = std::result::Result<T, DeviceError>;

/// The device of this number: the same one for everybody, since tensors of two do not meet in one operation.
pub(super) fn open(ordinal: usize) -> Result<Device> {
    static OPENED: Mutex<BTreeMap<usize, Device>> = Mutex::new(BTreeMap::new());
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = opened.get(&ordinal) {
        return Ok(device.clone());
    }
    let device = start(ordinal)?;
    opened.insert(ordinal, device.clone());
    Ok(device)
}

fn start(ordinal: usize) -> Result<Device> {
    let count = CudaContext::device_count().map_err(|e| match e.0 {
        CUresult::CUDA_ERROR_NO_DEVICE => DeviceError::NoGpu,
        CUresult::CUDA_ERROR_STUB_LIBRARY => {
            DeviceError::NoDriver { cause: "libcuda.so.1 is a stub for linking".into() }
        }
        _ => DeviceError::NoDriver { cause: e.to_string() },
    })?;
    match usize::try_from(count).unwrap_or(0) {
        0 => return Err(DeviceError::NoGpu),
        count if ordinal >= count => return Err(DeviceError::NoSuchGpu { ordinal, count }),
        _ => {}
    }
    // Not `Device::new_cuda`, whose stream is another one for each thread: what one thread writes, another could read
    // before it is there.
    let device = Device::new_cuda_with_stream(ordinal).map_err(DeviceError::Driver)?;
    let cuda = device.as_cuda_device().map_err(DeviceError::Driver)?;
    // SAFETY: all tensors of the device are made, used and freed on its one stream, in whose order they happen.
    unsafe { cuda.disable_event_tracking() };
    let context = cuda.cuda_stream().context().clone();
    keep_freed_memory(&context).map_err(driver)?;
    try_kernels(cuda, &context)?;
    Ok(device)
}

/// Lets the pool of the device keep what is freed: by default every synchronisation gives it back to the system, and
/// the next step asks for it again.
fn keep_freed_memory(context: &CudaContext) -> std::result::Result<(), DriverError> {
    if !context.has_async_alloc() {
        return Ok(());
    }
    let mut threshold = u64::MAX;
    let value = (&raw mut threshold).cast::<c_void>();
    let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the context holds a device; its default pool lives as long as it does, and this attribute is an unsigned
    // number of 64 bits, which the driver copies.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device())?;
        result::mem_pool::set_attribute(pool, attribute, value)
    }
}

/// Loads one of candle's kernels: those that do not fit the GPU or its driver fail here, and not in the middle of a run.
fn try_kernels(cuda: &CudaDevice, context: &CudaContext) -> Result<()> {
    let Err(error) = cuda.get_or_load_func("fill_f32", &kernels::FILL) else { return Ok(()) };
    let refused = matches!(
        status(&error),
        Some(
            CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
                | CUresult::CUDA_ERROR_INVALID_PTX
                | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
                | CUresult::CUDA_ERROR_INVALID_IMAGE
                | CUresult::CUDA_ERROR_JIT_COMPILER_NOT_FOUND
        )
    );
    if !refused {
        return Err(DeviceError::Driver(error));
    }
    let (major, minor) = context.compute_capability().map_err(driver)?;
    let gpu = context.name().map_err(driver)?;
    Err(DeviceError::Kernels { gpu, major, minor, cause: words(&error) })
}

/// What an allocation asked for, where it failed for lack of memory; the error as it is otherwise.
pub(crate) fn with_memory(
    error: candle_core::Error,
    what: &str,
    asked: usize,
    device: &CudaDevice,
) -> candle_core::Error {
    if status(&error) != Some(CUresult::CUDA_ERROR_OUT_OF_MEMORY) {
        return error;
    }
    match device.cuda_stream().context().mem_get_info() {
        Ok((free, total)) => {
            crate::Error::from(DeviceError::OutOfMemory { what: what.into(), asked, free, total }).into()
        }
        Err(_) => error,
    }
}

/// The driver's status behind an error of candle.
fn status(error: &candle_core::Error) -> Option<CUresult> {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => status(inner),
        candle_core::Error::Cuda(cause) => match cause.downcast_ref()? {
            CudaError::Cuda(driver) | CudaError::Load { cuda: driver, .. } => Some(driver.0),
            _ => None,
        },
        _ => None,
    }
}

/// An error of candle without its backtrace.
fn words(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => words(inner),
        other => other.to_string(),
    }
}

fn driver(error: DriverError) -> DeviceError {
    DeviceError::Driver(CudaError::from(error).into())
}

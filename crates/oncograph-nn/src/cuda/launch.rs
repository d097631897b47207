//! What every launch of a kernel needs: its function, operands that lie side by side, memory for its result, a grid.
#![allow(unsafe_code)]

use crate::device;
use candle_core::backend::{BackendDevice as _, BackendStorage as _};
use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, CudaView, DevicePtr as _, DeviceRepr, LaunchArgs, LaunchConfig,
    ValidAsZeroBits,
};
use candle_core::{CudaDevice, CudaStorage, Layout, Result};
use oncograph_kernels::{Kernels, Module};
use std::ops::Range;
use std::sync::Arc;

/// An operand as candle hands it to an operation.
pub(crate) type Operand<'a> = (&'a CudaStorage, &'a Layout);

/// The types that kernels are compiled for.
pub(crate) trait Real: CudaDType + DeviceRepr + ValidAsZeroBits + candle_core::WithDType {
    /// The part of `kernels` for this type.
    fn module(kernels: &Kernels) -> Module;
}

impl Real for f32 {
    fn module(kernels: &Kernels) -> Module {
        kernels.f32
    }
}

impl Real for f64 {
    fn module(kernels: &Kernels) -> Module {
        kernels.f64
    }
}

/// Runs `$body` with the type `$T` set to the Rust type of `$dtype`, f32 or f64; an error that names `$op` otherwise.
macro_rules! with_real {
    ($op:expr, $dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => candle_core::bail!("{}: expected f32 or f64, got {other:?}", $op),
        }
    };
}

/// Launches a kernel: its [`Function`], a
/// [`LaunchConfig`](candle_core::cuda_backend::cudarc::driver::LaunchConfig), its arguments. Inside `unsafe`.
macro_rules! launch {
    // A `match` keeps each argument until the launch.
    (@ $launch:ident, $config:expr $(,)?) => {{
        use candle_core::cuda_backend::WrapErr as _;
        $launch.launch($config).w().map(|_| ())
    }};
    (@ $launch:ident, $config:expr, $argument:expr $(, $rest:expr)* $(,)?) => {
        match $argument {
            argument => {
                $launch.arg(argument);
                $crate::cuda::launch::launch!(@ $launch, $config $(, $rest)*)
            }
        }
    };
    ($function:expr, $config:expr, $($argument:expr),+ $(,)?) => {{
        use candle_core::cuda_backend::cudarc::driver::PushKernelArg as _;
        let function = &$function;
        let mut launch = function.builder();
        $crate::cuda::launch::launch!(@ launch, $config, $($argument),+)
    }};
}

pub(crate) use {launch, with_real};

/// A pointer to nothing, where a kernel takes none.
pub(crate) const NULL: u64 = 0;

/// A kernel on the stream of its device.
pub(crate) struct Function {
    function: CudaFunction,
    stream: Arc<CudaStream>,
}

impl Function {
    /// A launch, to which the arguments are added; [`launch!`] does both.
    pub(crate) fn builder(&self) -> LaunchArgs<'_> {
        self.stream.launch_builder(&self.function)
    }
}

/// The kernel of this name.
///
/// # Errors
/// An error of the driver, for example for a name that the file does not have.
pub(crate) fn function<T: Real>(device: &CudaDevice, kernels: &Kernels, name: &str) -> Result<Function> {
    let module = T::module(kernels);
    let function = device.get_or_load_custom_func(name, module.name, module.ptx)?.into_cuda_function();
    Ok(Function { function, stream: device.cuda_stream() })
}

/// An operand whose elements lie side by side: as it is where they do, else a copy.
pub(crate) struct Packed<'a> {
    storage: Owned<'a>,
    range: Range<usize>,
}

enum Owned<'a> {
    Not(&'a CudaStorage),
    Copy(CudaStorage),
}

impl<'a> Packed<'a> {
    /// The elements of `storage` in the order of `layout`.
    ///
    /// # Errors
    /// An error of candle.
    pub(crate) fn new(storage: &'a CudaStorage, layout: &Layout) -> Result<Self> {
        if let Some((from, to)) = layout.contiguous_offsets() {
            return Ok(Packed { storage: Owned::Not(storage), range: from..to });
        }
        let count = layout.shape().elem_count();
        Ok(Packed { storage: Owned::Copy(copied((storage, layout))?), range: 0..count })
    }

    /// The elements.
    ///
    /// # Errors
    /// If they are of another type.
    pub(crate) fn view<T: Real>(&self) -> Result<CudaView<'_, T>> {
        let storage = match &self.storage {
            Owned::Not(storage) => storage,
            Owned::Copy(storage) => storage,
        };
        Ok(storage.as_cuda_slice::<T>()?.slice(self.range.clone()))
    }
}

/// The elements of a layout in their order, in memory of their own.
///
/// # Errors
/// An error of candle.
pub(crate) fn copied((x, layout): Operand) -> Result<CudaStorage> {
    // SAFETY: written by the copy below, all of it.
    let mut copy = unsafe { x.device().alloc_uninit(layout.shape(), x.dtype())? };
    x.copy_strided_src(&mut copy, 0, layout)?;
    Ok(copy)
}

/// Where a list lies in the memory of the device, [`NULL`] for none: what a kernel takes that may go without it.
pub(crate) fn address<T>(device: &CudaDevice, list: Option<&CudaSlice<T>>) -> u64 {
    list.map_or(NULL, |list| list.device_ptr(&device.cuda_stream()).0)
}

/// Where a part lies in the memory of the device.
#[cfg(feature = "cudnn")]
pub(crate) fn address_of<T>(device: &CudaDevice, part: &CudaView<'_, T>) -> u64 {
    part.device_ptr(&device.cuda_stream()).0
}

/// Memory for the result of `op`, to be written by a kernel.
///
/// # Errors
/// [`DeviceError::OutOfMemory`](crate::DeviceError) with the bytes that were asked for, or another error of the driver.
pub(crate) fn result<T: DeviceRepr>(device: &CudaDevice, op: &str, count: usize) -> Result<CudaSlice<T>> {
    let bytes = count * size_of::<T>();
    // SAFETY: a kernel writes every element before one is read; of no element nothing is read.
    unsafe { device.alloc::<T>(count) }.map_err(|e| device::with_memory(e, op, bytes, device))
}

/// `result` as what an operation returns.
pub(crate) fn storage<T: Real>(result: CudaSlice<T>, device: &CudaDevice) -> CudaStorage {
    CudaStorage::wrap_cuda_slice(result, device.clone())
}

/// One thread for each of `count` elements, of which there is at least one; each takes several where they are many.
pub(crate) fn per_element(count: usize) -> LaunchConfig {
    const THREADS: usize = 256;
    const BLOCKS: usize = 1 << 16;
    config(count.div_ceil(THREADS).min(BLOCKS) as u32, (THREADS as u32, 1))
}

/// A row of threads along `width` and as many rows in a block as fill it, for each of `rows` rows.
pub(crate) fn per_row(rows: u32, width: u32) -> LaunchConfig {
    const THREADS: u32 = 256;
    let lanes = width.next_power_of_two().min(32);
    let per_block = THREADS / lanes;
    config(rows.div_ceil(per_block), (lanes, per_block))
}

/// A grid of `blocks` blocks of (x, y) threads.
pub(crate) fn config(blocks: u32, (x, y): (u32, u32)) -> LaunchConfig {
    LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (x, y, 1), shared_mem_bytes: 0 }
}

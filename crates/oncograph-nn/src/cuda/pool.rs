//! Pooling, by the kernels of `pool.cu`.
#![allow(unsafe_code)]

use super::divide::Divider;
use super::launch::{Operand, Packed, config, function, per_element, result, storage};
use crate::cuda::launch::{launch, with_real};
use crate::pool::{Windows, WindowsAlong};
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr, LaunchConfig};
use candle_core::{CudaStorage, Layout, Result, Shape};
use oncograph_kernels::POOL;

/// `Axis` of `pool.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Axis {
    input: u32,
    output: u32,
    reach: u32,
    stride: u32,
    pad: u32,
    step: u32,
    adaptive: u32,
    count_pad: u32,
    by_stride: Divider,
    by_output: Divider,
    by_input: Divider,
}

/// `Pool` of `pool.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Pool {
    axes: [Axis; 3],
    divisor: u32,
}

// SAFETY: numbers in the order of the fields of the structure that the kernels declare.
unsafe impl DeviceRepr for Pool {}

impl Pool {
    /// For an operand of as many elements, and the number of its outputs: offsets are 32 bits in these kernels.
    fn new(op: &str, windows: &Windows, volumes: usize) -> Result<(Self, usize)> {
        let output = windows.output();
        let count = volumes * output.iter().product::<usize>();
        let largest = count.max(volumes * windows.input.iter().product::<usize>());
        if u32::try_from(largest).is_err() {
            candle_core::bail!("{op}: expected fewer than 2^32 elements, got {largest}");
        }
        let axis = |a: usize| {
            let (reach, stride, pad, step, adaptive, count_pad) = match windows.along[a] {
                WindowsAlong::Adaptive => (0, 1, 0, 1, true, false),
                WindowsAlong::Sliding { reach, stride, pad, step, count_pad } => {
                    (reach, stride, pad, step, false, count_pad)
                }
            };
            Axis {
                input: windows.input[a] as u32,
                output: output[a] as u32,
                reach: reach as u32,
                stride: stride as u32,
                pad: pad as u32,
                step: step as u32,
                adaptive: u32::from(adaptive),
                count_pad: u32::from(count_pad),
                by_stride: Divider::new(stride),
                by_output: Divider::new(output[a]),
                by_input: Divider::new(windows.input[a]),
            }
        };
        let divisor = windows.divisor.unwrap_or(0) as u32;
        Ok((Pool { axes: [0, 1, 2].map(axis), divisor }, count))
    }
}

/// A thread for each output, or a warp where windows are large.
fn teams(windows: &Windows, count: usize) -> LaunchConfig {
    let longest = |axis: &Vec<_>| axis.iter().map(crate::pool::Window::len).max().unwrap_or(0);
    let largest: usize = windows.axes.iter().map(longest).product();
    if largest < 128 {
        return config(count.div_ceil(256) as u32, (1, 256));
    }
    config(count.div_ceil(8) as u32, (32, 8))
}

fn volumes(layout: &Layout) -> Result<(usize, usize)> {
    let (batch, channels, ..) = layout.shape().dims5()?;
    Ok((batch, channels))
}

/// The result of `kernel`, `avg_pool` or `max_pool`.
pub(crate) fn forward(kernel: &str, (x, layout): Operand, windows: &Windows) -> Result<(CudaStorage, Shape)> {
    let (batch, channels) = volumes(layout)?;
    let (pool, count) = Pool::new(kernel, windows, batch * channels)?;
    let ([d, h, w], device) = (windows.output(), x.device());
    with_real!(kernel, x.dtype(), T => {
        let mut y = result::<T>(device, kernel, count)?;
        if count > 0 {
            let x = Packed::new(x, layout)?;
            let function = function::<T>(device, &POOL, kernel)?;
            // SAFETY: as the kernel declares them; windows lie inside of the volumes of x.
            unsafe { launch!(function, teams(windows, count), &x.view::<T>()?, &mut y, &(count as u32), &pool) }?;
        }
        Ok((storage(y, device), Shape::from((batch, channels, d, h, w))))
    })
}

/// The gradient of an average for its input.
pub(crate) fn avg_gradient((dy, layout): Operand, windows: &Windows) -> Result<(CudaStorage, Shape)> {
    let (batch, channels) = volumes(layout)?;
    let (pool, _) = Pool::new("avg_pool", windows, batch * channels)?;
    let ([d, h, w], device) = (windows.input, dy.device());
    let shape = Shape::from((batch, channels, d, h, w));
    let count = shape.elem_count();
    with_real!("avg_pool", dy.dtype(), T => {
        let mut dx = result::<T>(device, "avg_pool", count)?;
        if count > 0 {
            let dy = Packed::new(dy, layout)?;
            let function = function::<T>(device, &POOL, "avg_pool_gradient")?;
            // SAFETY: as the kernel declares them, with `count` elements in dx; windows are those that dy has.
            unsafe { launch!(function, per_element(count), &dy.view::<T>()?, &mut dx, &(count as u32), &pool) }?;
        }
        Ok((storage(dx, device), shape))
    })
}

/// Where the largest elements lie (i64).
pub(crate) fn max_indices((x, layout): Operand, windows: &Windows) -> Result<(CudaStorage, Shape)> {
    let (batch, channels) = volumes(layout)?;
    let [d, h, w] = windows.output();
    let indices = indices((x, layout), windows)?;
    Ok((CudaStorage::wrap_cuda_slice(indices, x.device().clone()), Shape::from((batch, channels, d, h, w))))
}

fn indices((x, layout): Operand, windows: &Windows) -> Result<CudaSlice<i64>> {
    let (batch, channels) = volumes(layout)?;
    let (pool, count) = Pool::new("max_pool", windows, batch * channels)?;
    let device = x.device();
    with_real!("max_pool", x.dtype(), T => {
        let mut indices = result::<i64>(device, "max_pool", count)?;
        if count > 0 {
            let x = Packed::new(x, layout)?;
            let function = function::<T>(device, &POOL, "max_pool_indices")?;
            // SAFETY: as the kernel declares them; windows lie inside of the volumes of x.
            unsafe { launch!(function, teams(windows, count), &x.view::<T>()?, &mut indices, &(count as u32), &pool) }?;
        }
        Ok(indices)
    })
}

/// The gradient of a maximum for its input `x`.
pub(crate) fn max_gradient(
    (x, layout): Operand,
    (dy, dy_layout): Operand,
    windows: &Windows,
) -> Result<(CudaStorage, Shape)> {
    let (batch, channels) = volumes(layout)?;
    let (pool, _) = Pool::new("max_pool", windows, batch * channels)?;
    let (device, count) = (x.device(), layout.shape().elem_count());
    with_real!("max_pool", x.dtype(), T => {
        let mut dx = result::<T>(device, "max_pool", count)?;
        if count > 0 {
            let (indices, dy) = (indices((x, layout), windows)?, Packed::new(dy, dy_layout)?);
            let function = function::<T>(device, &POOL, "max_pool_gradient")?;
            // SAFETY: as the kernel declares them, with `count` elements in dx, and an index for each of dy.
            unsafe { launch!(function, per_element(count), &indices, &dy.view::<T>()?, &mut dx, &(count as u32), &pool) }?;
        }
        Ok((storage(dx, device), layout.shape().clone()))
    })
}

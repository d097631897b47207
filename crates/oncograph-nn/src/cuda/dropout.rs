//! Dropout, by the kernel of `dropout.cu`.
#![allow(unsafe_code)]

use super::launch::{Packed, config, function, result, storage};
use crate::cuda::launch::{launch, with_real};
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{CudaStorage, Layout, Result, Shape};
use oncograph_kernels::DROPOUT;

/// `Key` of `dropout.cu`: the seed of a generator of `rand_chacha`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Key([u32; 8]);

// SAFETY: numbers, as the kernel declares them.
unsafe impl DeviceRepr for Key {}

/// `x` times 0 where the generator's next number is below `threshold`, else times `keep`.
pub(crate) fn dropout(
    (x, layout): (&CudaStorage, &Layout),
    seed: [u8; 32],
    threshold: u64,
    keep: f32,
) -> Result<(CudaStorage, Shape)> {
    const THREADS: u32 = 128;
    const BLOCKS: usize = 1 << 16;
    let (device, count) = (x.device(), layout.shape().elem_count());
    with_real!("dropout", x.dtype(), T => {
        let mut y = result::<T>(device, "dropout", count)?;
        if count > 0 {
            let word = |i: usize| u32::from_le_bytes(std::array::from_fn(|k| seed[4 * i + k]));
            let (key, x) = (Key(std::array::from_fn(word)), Packed::new(x, layout)?);
            let grid = config(count.div_ceil(16 * THREADS as usize).min(BLOCKS) as u32, (THREADS, 1));
            let function = function::<T>(device, &DROPOUT, "dropout")?;
            // SAFETY: as the kernel declares them, with `count` elements each.
            unsafe { launch!(function, grid, &x.view::<T>()?, &mut y, &(count as u64), &key, &threshold, &keep) }?;
        }
        Ok((storage(y, device), layout.shape().clone()))
    })
}

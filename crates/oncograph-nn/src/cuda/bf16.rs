//! bf16 in the memory of a device: `u16` for cuDNN, f32 that are rounded for products of matrices.
#![allow(unsafe_code)]

#[cfg(feature = "cudnn")]
use super::launch::{NULL, address_of};
use super::launch::{Real, function, per_element, result};
use crate::cuda::launch::launch;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{CudaDevice, Result};
use oncograph_kernels::CONV3D;

/// Copies of values, each rounded to the nearest bf16.
pub(super) fn rounded<T: Real>(device: &CudaDevice, x: &CudaView<'_, T>) -> Result<CudaSlice<T>> {
    let mut copy = result::<T>(device, "conv3d", x.len())?;
    if !x.is_empty() {
        device.memcpy_dtod(x, &mut copy)?;
        round(device, &mut copy)?;
    }
    Ok(copy)
}

/// Rounds values to the nearest bf16.
pub(super) fn round<T: Real>(device: &CudaDevice, x: &mut CudaSlice<T>) -> Result<()> {
    if x.is_empty() {
        return Ok(());
    }
    let function = function::<T>(device, &CONV3D, "round_bf16")?;
    let count = x.len();
    // SAFETY: as the kernel declares them, with `count` elements.
    unsafe { launch!(function, per_element(count), x, &(count as u64)) }
}

/// Values as bf16.
#[cfg(feature = "cudnn")]
pub(super) fn pack<T: Real>(device: &CudaDevice, x: &CudaView<'_, T>) -> Result<CudaSlice<u16>> {
    let count = x.len();
    let mut y = result::<u16>(device, "conv3d", count)?;
    if count > 0 {
        let function = function::<T>(device, &CONV3D, "pack_bf16")?;
        // SAFETY: as the kernel declares them, with `count` elements each.
        unsafe { launch!(function, per_element(count), x, &mut y, &(count as u64)) }?;
    }
    Ok(y)
}

/// The values of bf16 \[batch, channels, voxels\], plus `bias` per channel.
#[cfg(feature = "cudnn")]
pub(super) fn unpack<T: Real>(
    device: &CudaDevice,
    x: &CudaSlice<u16>,
    bias: Option<&CudaView<'_, T>>,
    voxels: usize,
) -> Result<CudaSlice<T>> {
    let count = x.len();
    let mut y = result::<T>(device, "conv3d", count)?;
    if count > 0 {
        let function = function::<T>(device, &CONV3D, "unpack_bf16")?;
        let (channels, voxels) = (bias.map_or(1, CudaView::len) as u32, voxels as u32);
        let bias = bias.map_or(NULL, |bias| address_of(device, bias));
        // SAFETY: as the kernel declares them, with `count` elements each; the bias outlives the launch on its stream.
        unsafe {
            launch!(function, per_element(count), x, &mut y, &bias, &channels, &voxels, &(count as u64))
        }?;
    }
    Ok(y)
}

#[cfg(all(test, feature = "cudnn"))]
mod tests {
    use super::*;
    use crate::testing::device;
    use candle_core::{DType, Device, Tensor};

    /// Every upper half with the lower halves around a tie: NaN, infinities, zeros and subnormal numbers are among them.
    #[test]
    fn values_are_packed_as_the_cpu_casts_them() {
        let gpu = device();
        let device = gpu.as_cuda_device().unwrap();
        let lower = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
        let values: Vec<f32> =
            (0..=u16::MAX).flat_map(|h| lower.map(|l| f32::from_bits(u32::from(h) << 16 | l))).collect();
        let wide = Tensor::from_slice(&values, values.len(), &Device::Cpu).unwrap();
        let halves = wide.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap();
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let expected = bits(&halves.to_vec1::<f32>().unwrap());

        let x = device.clone_htod(&values).unwrap();
        let packed = pack(device, &x.slice(..)).unwrap();
        let upper: Vec<u32> =
            device.clone_dtoh(&packed).unwrap().into_iter().map(|h| u32::from(h) << 16).collect();
        assert_eq!(upper, expected);
        let unpacked = unpack::<f32>(device, &packed, None, 1).unwrap();
        assert_eq!(bits(&device.clone_dtoh(&unpacked).unwrap()), expected);
        let copy = rounded(device, &x.slice(..)).unwrap();
        assert_eq!(bits(&device.clone_dtoh(&copy).unwrap()), expected);
        assert_eq!(bits(&device.clone_dtoh(&x).unwrap()), bits(&values), "operands are left as they are");
    }
}

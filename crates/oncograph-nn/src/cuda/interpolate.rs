//! Interpolation along an axis, by the kernels of `interpolate.cu`.
#![allow(unsafe_code)]

use super::divide::Divider;
use super::launch::{Operand, Packed, Real, function, per_element, result, storage};
use crate::cuda::launch::{launch, with_real};
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{CudaDevice, CudaStorage, Result, Shape};
use oncograph_kernels::INTERPOLATE;

/// What each output element lies between, in the memory of a device.
#[derive(Debug)]
pub(crate) struct Taps {
    first: CudaSlice<u32>,
    second: CudaSlice<u32>,
    /// The outputs in whose sums an input element is: from one to another.
    begin: CudaSlice<u32>,
    end: CudaSlice<u32>,
    shares: Shares,
}

#[derive(Debug)]
enum Shares {
    F32(CudaSlice<f32>),
    F64(CudaSlice<f64>),
}

impl Taps {
    /// Of (first, second, share), which rise from output to output; shares are exact in the type of the elements.
    pub(crate) fn new(
        device: &CudaDevice,
        taps: &[(u32, u32, f64)],
        input: usize,
        wide: bool,
    ) -> Result<Self> {
        let (begin, end) = ranges(taps, input);
        let first: Vec<u32> = taps.iter().map(|t| t.0).collect();
        let second: Vec<u32> = taps.iter().map(|t| t.1).collect();
        let shares: Vec<f64> = taps.iter().map(|t| t.2).collect();
        let shares = match wide {
            true => Shares::F64(device.clone_htod(&shares)?),
            false => Shares::F32(device.clone_htod(&shares.iter().map(|s| *s as f32).collect::<Vec<_>>())?),
        };
        Ok(Taps {
            first: device.clone_htod(&first)?,
            second: device.clone_htod(&second)?,
            begin: device.clone_htod(&begin)?,
            end: device.clone_htod(&end)?,
            shares,
        })
    }

    /// Where the shares lie.
    fn shares(&self, device: &CudaDevice) -> u64 {
        match &self.shares {
            Shares::F32(shares) => super::launch::address(device, Some(shares)),
            Shares::F64(shares) => super::launch::address(device, Some(shares)),
        }
    }
}

/// For each input element the first output that takes it, and the one behind the last.
fn ranges(taps: &[(u32, u32, f64)], input: usize) -> (Vec<u32>, Vec<u32>) {
    let (mut begin, mut end) = (vec![0; input], vec![0; input]);
    for (i, &(first, second, _)) in taps.iter().enumerate() {
        for at in [first as usize, second as usize] {
            if end[at] == 0 {
                begin[at] = i as u32;
            }
            end[at] = i as u32 + 1;
        }
    }
    (begin, end)
}

/// An axis of `input` elements, of which `size` are made, with as many elements behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) input: usize,
    pub(crate) size: usize,
    pub(crate) inner: usize,
}

/// The result, of shape `out`.
pub(crate) fn forward(
    (x, layout): Operand,
    taps: &Taps,
    axis: Axis,
    out: Shape,
) -> Result<(CudaStorage, Shape)> {
    with_real!("interpolate", x.dtype(), T => run::<T>((x, layout), taps, axis, out, false))
}

/// The gradient for the input, of shape `out`.
pub(crate) fn backward(
    (dy, layout): Operand,
    taps: &Taps,
    axis: Axis,
    out: Shape,
) -> Result<(CudaStorage, Shape)> {
    with_real!("interpolate", dy.dtype(), T => run::<T>((dy, layout), taps, axis, out, true))
}

fn run<T: Real>(
    (x, layout): Operand,
    taps: &Taps,
    axis: Axis,
    out: Shape,
    gradient: bool,
) -> Result<(CudaStorage, Shape)> {
    let (device, count) = (x.device(), out.elem_count());
    let mut y = result::<T>(device, "interpolate", count)?;
    if count > 0 {
        if u32::try_from(count.max(layout.shape().elem_count())).is_err() {
            candle_core::bail!("interpolate: expected fewer than 2^32 elements, got {count}");
        }
        let (x, n, grid, shares) =
            (Packed::new(x, layout)?, count as u32, per_element(count), taps.shares(device));
        let (x, inner) = (x.view::<T>()?, Divider::new(axis.inner));
        if gradient {
            let (size, input) = (axis.size as u32, Divider::new(axis.input));
            let function = function::<T>(device, &INTERPOLATE, "interpolate_gradient")?;
            // SAFETY: as the kernel declares them, with taps for `size` outputs and ranges for `input` elements.
            unsafe {
                launch!(
                    function,
                    grid,
                    &x,
                    &taps.first,
                    &taps.second,
                    &shares,
                    &taps.begin,
                    &taps.end,
                    &mut y,
                    &n,
                    &size,
                    &input,
                    &inner
                )
            }?;
        } else {
            let (input, size) = (axis.input as u32, Divider::new(axis.size));
            let function = function::<T>(device, &INTERPOLATE, "interpolate")?;
            // SAFETY: as the kernel declares them, with taps for `size` outputs, which lie among `input` elements.
            unsafe {
                launch!(
                    function,
                    grid,
                    &x,
                    &taps.first,
                    &taps.second,
                    &shares,
                    &mut y,
                    &n,
                    &input,
                    &size,
                    &inner
                )
            }?;
        }
    }
    Ok((storage(y, device), out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_taken_by_outputs_side_by_side() {
        let taps = [(0, 1, 0.0), (0, 1, 0.5), (1, 2, 0.2), (4, 4, 0.0)];
        assert_eq!(ranges(&taps, 5), (vec![0, 0, 2, 0, 3], vec![2, 3, 3, 0, 4]));
    }
}

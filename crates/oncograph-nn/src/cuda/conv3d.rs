//! 3D convolutions: by cuDNN where it is built in and takes the call, else as products of matrices.
#![allow(unsafe_code)]

use super::bf16;
#[cfg(feature = "cudnn")]
use super::cudnn::{Call, Math, Pass};
use super::gemm::{Matrix, gemm_in};
use super::launch::{Operand, Packed, Real, config, function, per_element, result, storage};
use crate::Precision;
use crate::conv3d::Geometry;
use crate::cuda::launch::{launch, with_real};
#[cfg(feature = "cudnn")]
use candle_core::DType;
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, CudaViewMut, DeviceRepr};
use candle_core::{CudaDevice, CudaStorage, Layout, Result, Shape};
use oncograph_kernels::CONV3D;
use std::cell::Cell;
use std::ops::Range;

/// How many elements the columns of a slab have at most: 256 MiB in f32.
const SLAB: usize = 1 << 26;

const OP: &str = "conv3d";

thread_local! {
    static WITH_CUDNN: Cell<bool> = const { Cell::new(true) };
}

/// Runs `run` with convolutions as products of matrices, as without the feature `cudnn`.
pub fn without_cudnn<R>(run: impl FnOnce() -> R) -> R {
    let before = WITH_CUDNN.replace(false);
    let result = run();
    WITH_CUDNN.set(before);
    result
}

/// The convolution of `x` with `w`, plus `bias`.
pub(crate) fn forward(
    g: &Geometry,
    precision: Precision,
    x: Operand,
    w: Operand,
    bias: Option<Operand>,
) -> Result<CudaStorage> {
    let device = x.0.device();
    with_real!(OP, x.0.dtype(), T => {
        let (x, w) = (Packed::new(x.0, x.1)?, Packed::new(w.0, w.1)?);
        let bias = bias.map(|(s, l)| Packed::new(s, l)).transpose()?;
        let bias = bias.as_ref().map(Packed::view::<T>).transpose()?;
        let y = Passes { device, g, precision, slab: SLAB }.forward(x.view::<T>()?, w.view()?, bias)?;
        Ok(storage(y, device))
    })
}

/// The gradient of the input: the transposed convolution of `dy`, plus `bias` per channel of the result.
pub(crate) fn input_gradient(
    g: &Geometry,
    precision: Precision,
    w: Operand,
    dy: Operand,
    bias: Option<Operand>,
) -> Result<CudaStorage> {
    let device = dy.0.device();
    with_real!(OP, dy.0.dtype(), T => {
        let (w, dy) = (Packed::new(w.0, w.1)?, Packed::new(dy.0, dy.1)?);
        let mut dx = Passes { device, g, precision, slab: SLAB }.input_gradient(w.view::<T>()?, dy.view()?)?;
        if let Some((bias, layout)) = bias {
            let bias = Packed::new(bias, layout)?;
            per_channel("add_channels", device, &bias.view::<T>()?, &mut dx, g.in_pixels())?;
        }
        Ok(storage(dx, device))
    })
}

/// The gradient of the weight.
pub(crate) fn weight_gradient(
    g: &Geometry,
    precision: Precision,
    x: Operand,
    dy: Operand,
) -> Result<CudaStorage> {
    let device = x.0.device();
    with_real!(OP, x.0.dtype(), T => {
        let (x, dy) = (Packed::new(x.0, x.1)?, Packed::new(dy.0, dy.1)?);
        let dw = Passes { device, g, precision, slab: SLAB }.weight_gradient(x.view::<T>()?, dy.view()?)?;
        Ok(storage(dw, device))
    })
}

/// The sum of each channel of `dy` \[batch, channels, D, H, W\] over batch and volume.
pub(crate) fn channel_sums(dy: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let (batch, channels, d, h, w) = layout.shape().dims5()?;
    let device = dy.device();
    with_real!(OP, dy.dtype(), T => {
        let mut sums = result::<T>(device, OP, channels)?;
        if channels > 0 {
            let dy = Packed::new(dy, layout)?;
            let function = function::<T>(device, &CONV3D, "channel_sums")?;
            let sizes = [batch, channels, d * h * w].map(|n| n as u32);
            let grid = config(channels as u32, (512, 1));
            // SAFETY: as the kernel declares them, with one block per channel of a multiple of 32 threads.
            unsafe { launch!(function, grid, &dy.view::<T>()?, &mut sums, &sizes[0], &sizes[1], &sizes[2]) }?;
        }
        Ok((storage(sums, device), Shape::from(channels)))
    })
}

/// `kernel` with one value per channel of `y` \[batch, channels, voxels\].
fn per_channel<T: Real>(
    kernel: &str,
    device: &CudaDevice,
    values: &CudaView<'_, T>,
    y: &mut CudaSlice<T>,
    voxels: usize,
) -> Result<()> {
    if y.is_empty() {
        return Ok(());
    }
    let function = function::<T>(device, &CONV3D, kernel)?;
    let (channels, voxels, count) = (values.len() as u32, voxels as u32, y.len() as u64);
    // SAFETY: as the kernel declares them: there is a value for each channel.
    unsafe { launch!(function, per_element(count as usize), values, y, &channels, &voxels, &count) }
}

/// The three passes of a convolution, one sample and group after the other, in slabs of output voxels.
struct Passes<'a> {
    device: &'a CudaDevice,
    g: &'a Geometry,
    precision: Precision,
    /// How many elements columns may have.
    slab: usize,
}

/// A slab of one sample and one group.
struct Slab {
    /// Sample and group, as one number.
    part: usize,
    /// The group.
    group: usize,
    /// Its output voxels.
    voxels: Range<usize>,
}

impl Passes<'_> {
    fn forward<T: Real>(
        &self,
        x: CudaView<'_, T>,
        w: CudaView<'_, T>,
        bias: Option<CudaView<'_, T>>,
    ) -> Result<CudaSlice<T>> {
        #[cfg(feature = "cudnn")]
        if let Some(y) = self.cudnn(Pass::Forward, [&x, &w], bias.as_ref())? {
            return Ok(y);
        }
        if !self.precision.rounds(T::DTYPE) {
            return self.forward_in_slabs([x, w], bias);
        }
        // What is rounded is the sum of the products.
        let mut y = self.rounded([x, w], |operands| self.forward_in_slabs(operands, None))?;
        if let Some(bias) = bias {
            per_channel("add_channels", self.device, &bias, &mut y, self.g.out_pixels())?;
        }
        Ok(y)
    }

    fn input_gradient<T: Real>(&self, w: CudaView<'_, T>, dy: CudaView<'_, T>) -> Result<CudaSlice<T>> {
        #[cfg(feature = "cudnn")]
        if let Some(dx) = self.cudnn(Pass::Data, [&w, &dy], None)? {
            return Ok(dx);
        }
        self.rounded([w, dy], |operands| self.input_gradient_in_slabs(operands))
    }

    fn weight_gradient<T: Real>(&self, x: CudaView<'_, T>, dy: CudaView<'_, T>) -> Result<CudaSlice<T>> {
        #[cfg(feature = "cudnn")]
        if let Some(dw) = self.cudnn(Pass::Filter, [&x, &dy], None)? {
            return Ok(dw);
        }
        self.rounded([x, dy], |operands| self.weight_gradient_in_slabs(operands))
    }

    /// The result of `run`, with it and the operands rounded to bf16 where the precision asks for it.
    fn rounded<'b, T: Real>(
        &self,
        [a, b]: [CudaView<'b, T>; 2],
        run: impl FnOnce([CudaView<'_, T>; 2]) -> Result<CudaSlice<T>>,
    ) -> Result<CudaSlice<T>> {
        if !self.precision.rounds(T::DTYPE) {
            return run([a, b]);
        }
        let (a, b) = (bf16::rounded(self.device, &a)?, bf16::rounded(self.device, &b)?);
        let mut result = run([a.slice(..), b.slice(..)])?;
        bf16::round(self.device, &mut result)?;
        Ok(result)
    }

    fn forward_in_slabs<T: Real>(
        &self,
        [x, w]: [CudaView<'_, T>; 2],
        bias: Option<CudaView<'_, T>>,
    ) -> Result<CudaSlice<T>> {
        let (g, pixels, taps) = (self.g, self.g.out_pixels(), self.g.ci * self.g.taps());
        let count = g.batch * g.groups * g.co * pixels;
        let mut y = result::<T>(self.device, OP, count)?;
        if let Some(bias) = &bias {
            per_channel("fill_channels", self.device, bias, &mut y, pixels)?;
        }
        let mut columns = self.columns::<T>()?;
        for slab in self.slabs() {
            let x = x.slice(slab.part * g.ci * g.in_pixels()..).slice(..g.ci * g.in_pixels());
            let columns = self.to_columns(x, &slab, columns.as_mut())?;
            let w = Matrix::rows(w.slice(slab.group * g.co * taps..), taps);
            let mut y = y.slice_mut(slab.part * g.co * pixels + slab.voxels.start..);
            let sizes = (g.co, slab.voxels.len(), taps);
            self.product([&w, &columns], (&mut y, pixels), sizes, f64::from(u8::from(bias.is_some())))?;
        }
        Ok(y)
    }

    fn input_gradient_in_slabs<T: Real>(&self, [w, dy]: [CudaView<'_, T>; 2]) -> Result<CudaSlice<T>> {
        let (g, pixels, taps) = (self.g, self.g.out_pixels(), self.g.ci * self.g.taps());
        let (part, count) = (g.ci * g.in_pixels(), g.batch * g.groups * g.ci * g.in_pixels());
        let mut columns = self.columns::<T>()?;
        let mut dx = match columns {
            // Slabs add to it.
            Some(_) => self.device.alloc_zeros::<T>(count)?,
            None => result::<T>(self.device, OP, count)?,
        };
        for slab in self.slabs() {
            let (first, voxels) = (slab.voxels.start, slab.voxels.len());
            let w = Matrix::rows(w.slice(slab.group * g.co * taps..), taps).t();
            let dy = Matrix::rows(dy.slice(slab.part * g.co * pixels + first..), pixels);
            let mut dx = dx.slice_mut(slab.part * part..(slab.part + 1) * part);
            let sizes = (taps, voxels, g.co);
            match &mut columns {
                None => self.product([&w, &dy], (&mut dx.slice_mut(first..), pixels), sizes, 0.0)?,
                Some(columns) => {
                    self.product([&w, &dy], (&mut columns.slice_mut(..), voxels), sizes, 0.0)?;
                    let function = function::<T>(self.device, &CONV3D, "columns_to_volume")?;
                    let (sizes, channels) = (Sizes::new(g), g.ci as u32);
                    let (first, voxels) = (first as u32, voxels as u32);
                    // SAFETY: as the kernel declares them: columns are those of this slab.
                    unsafe {
                        launch!(
                            function,
                            per_element(part),
                            &*columns,
                            &mut dx,
                            &sizes,
                            &channels,
                            &first,
                            &voxels
                        )
                    }?;
                }
            }
        }
        Ok(dx)
    }

    fn weight_gradient_in_slabs<T: Real>(&self, [x, dy]: [CudaView<'_, T>; 2]) -> Result<CudaSlice<T>> {
        let (g, pixels, taps) = (self.g, self.g.out_pixels(), self.g.ci * self.g.taps());
        let count = g.groups * g.co * taps;
        // Slabs and samples add to it.
        let mut dw = self.device.alloc_zeros::<T>(count)?;
        let mut columns = self.columns::<T>()?;
        for slab in self.slabs() {
            let x = x.slice(slab.part * g.ci * g.in_pixels()..).slice(..g.ci * g.in_pixels());
            let columns = self.to_columns(x, &slab, columns.as_mut())?.t();
            let dy = Matrix::rows(dy.slice(slab.part * g.co * pixels + slab.voxels.start..), pixels);
            let mut dw = dw.slice_mut(slab.group * g.co * taps..);
            self.product([&dy, &columns], (&mut dw, taps), (g.co, taps, slab.voxels.len()), 1.0)?;
        }
        Ok(dw)
    }

    /// The result of a pass by cuDNN, plus `bias`, if it takes the call. Of no element there is nothing that it would take.
    #[cfg(feature = "cudnn")]
    fn cudnn<T: Real>(
        &self,
        pass: Pass,
        operands: [&CudaView<'_, T>; 2],
        bias: Option<&CudaView<'_, T>>,
    ) -> Result<Option<CudaSlice<T>>> {
        let g = self.g;
        let count = match pass {
            Pass::Forward => g.batch * g.groups * g.co * g.out_pixels(),
            Pass::Data => g.batch * g.groups * g.ci * g.in_pixels(),
            Pass::Filter => g.groups * g.co * g.ci * g.taps(),
        };
        if self.slab < SLAB
            || !WITH_CUDNN.get()
            || count == 0
            || operands.iter().any(|operand| operand.is_empty())
        {
            return Ok(None);
        }
        let math = match T::DTYPE {
            DType::F64 => Math::F64,
            dtype if self.precision.rounds(dtype) => Math::Bf16,
            _ if self.precision.tf32() => Math::Tf32,
            _ => Math::F32,
        };
        let Some(call) = Call::new(self.device, g, pass, math)? else { return Ok(None) };
        if math == Math::Bf16 {
            let [a, b] = operands.map(|operand| bf16::pack(self.device, operand));
            let y = call.run::<u16>([&a?.slice(..), &b?.slice(..)], count)?;
            return bf16::unpack(self.device, &y, bias, g.out_pixels()).map(Some);
        }
        let mut y = call.run(operands, count)?;
        if let Some(bias) = bias {
            per_channel("add_channels", self.device, bias, &mut y, g.out_pixels())?;
        }
        Ok(Some(y))
    }

    /// `out = a b + beta out`, as [`gemm_in`]; bf16 are numbers of TF32, too.
    fn product<T: Real>(
        &self,
        operands: [&Matrix<'_, T>; 2],
        out: (&mut CudaViewMut<'_, T>, usize),
        sizes: (usize, usize, usize),
        beta: f64,
    ) -> Result<()> {
        gemm_in(self.device, operands, out, sizes, beta, self.precision.tf32())
    }

    /// Whether the volume is its own columns.
    fn pointwise(&self) -> bool {
        self.g.taps() == 1 && self.g.stride == [1; 3] && self.g.padding == [0; 3]
    }

    /// How many output voxels a slab has.
    fn width(&self) -> usize {
        let all = self.g.out_pixels();
        if self.pointwise() { all } else { (self.slab / (self.g.ci * self.g.taps())).clamp(1, all.max(1)) }
    }

    /// Room for the columns of a slab, where there are to be some.
    fn columns<T: Real>(&self) -> Result<Option<CudaSlice<T>>> {
        let count = self.g.ci * self.g.taps() * self.width();
        (!self.pointwise()).then(|| result::<T>(self.device, OP, count)).transpose()
    }

    fn slabs(&self) -> Vec<Slab> {
        let (g, pixels, width) = (self.g, self.g.out_pixels(), self.width());
        let parts = 0..g.batch * g.groups;
        let slabs = |part| {
            (0..pixels).step_by(width).map(move |first| Slab {
                part,
                group: part % g.groups,
                voxels: first..(first + width).min(pixels),
            })
        };
        parts.flat_map(slabs).collect()
    }

    /// The columns \[ci x taps, voxels\] of a slab of the sample and group `x` \[ci, D, H, W\].
    fn to_columns<'a, T: Real>(
        &self,
        x: CudaView<'a, T>,
        slab: &Slab,
        room: Option<&'a mut CudaSlice<T>>,
    ) -> Result<Matrix<'a, T>> {
        let (g, count) = (self.g, slab.voxels.len());
        let Some(columns) = room else {
            let end = x.len();
            return Ok(Matrix::rows(x.slice(slab.voxels.start..end), g.in_pixels()));
        };
        let function = function::<T>(self.device, &CONV3D, "volume_to_columns")?;
        let (sizes, channels) = (Sizes::new(g), g.ci as u32);
        let (first, voxels) = (slab.voxels.start as u32, count as u32);
        let grid = per_element(g.ci * count);
        // SAFETY: as the kernel declares them: columns have room for a slab of this width.
        unsafe { launch!(function, grid, &x, &mut *columns, &sizes, &channels, &first, &voxels) }?;
        Ok(Matrix::rows(columns.slice(..), count))
    }
}

/// `Geometry` of `conv3d.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sizes([[u32; 3]; 6]);

// SAFETY: numbers without gaps, as the kernel declares them.
unsafe impl DeviceRepr for Sizes {}

impl Sizes {
    fn new(g: &Geometry) -> Self {
        Sizes([g.input, g.kernel, g.output, g.stride, g.padding, g.dilation].map(|a| a.map(|n| n as u32)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv3d::Conv3dConfig;
    use crate::testing::device;

    /// A convolution whose columns do not fit is cut, inside of rows and planes, and has the same result.
    #[test]
    fn slabs_make_no_difference() {
        let gpu = device();
        let device = gpu.as_cuda_device().unwrap();
        let config = Conv3dConfig::new().padding([1, 0, 1]).stride([1, 2, 1]).groups(2);
        let g = Geometry::new(&[2, 4, 5, 6, 7], &[6, 2, 3, 2, 3], &config).unwrap();
        let values = |n: usize, salt: usize| -> CudaSlice<f64> {
            device
                .clone_htod(&(0..n).map(|i| ((i * 37 + salt) % 23) as f64 - 11.0).collect::<Vec<_>>())
                .unwrap()
        };
        let (x, w, dy) = (values(2 * 4 * 210, 1), values(6 * 2 * 18, 2), values(2 * 6 * g.out_pixels(), 3));
        let all = |slab| {
            let passes = Passes { device, g: &g, precision: Precision::F32, slab };
            let y = passes.forward(x.slice(..), w.slice(..), None).unwrap();
            let dx = passes.input_gradient(w.slice(..), dy.slice(..)).unwrap();
            let dw = passes.weight_gradient(x.slice(..), dy.slice(..)).unwrap();
            [y, dx, dw].map(|slice| device.clone_dtoh(&slice).unwrap())
        };
        let whole = all(1 << 20);
        // One voxel at a time, and seven.
        for slab in [1, 7 * 36] {
            assert_eq!(all(slab), whole);
        }
    }
}

//! Volumes with sixteen channels side by side, the layout of the kernels here.
#![allow(unsafe_code)]

use super::lanes::LANES;
use crate::element::{self, unsupported};
use crate::parallel::zeros;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

/// Mutable memory shared by tasks that write to different elements.
#[derive(Clone, Copy)]
pub(super) struct Shared(*mut f32);

// SAFETY: every use gives each element to exactly one task at a time.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(super) fn of(data: &mut [f32]) -> Self {
        Shared(data.as_mut_ptr())
    }

    pub(super) fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

/// A batch of f32 volumes on the CPU in the layout \[batch, channels / 16, D, H + border, W + border, 16\].
///
/// Missing channels of the last block and the border of the planes (one row or column before, three or more behind)
/// are zeros, so that a 3x3 window or a Winograd tile can be read at any place. Convolutions of
/// [`BlockedConv3d`](super::BlockedConv3d) read and write it without a change of layout in between.
#[derive(Debug, Clone)]
pub struct BlockedVolume {
    pub(super) data: Vec<f32>,
    pub(super) batch: usize,
    pub(super) channels: usize,
    pub(super) size: [usize; 3],
}

impl BlockedVolume {
    pub(super) fn zeros(batch: usize, channels: usize, size: [usize; 3]) -> Self {
        let mut volume = BlockedVolume { data: Vec::new(), batch, channels, size };
        volume.data = zeros(batch * volume.blocks() * volume.block_stride());
        volume
    }

    /// Batch, channels, depth, height and width.
    pub fn dims(&self) -> (usize, usize, usize, usize, usize) {
        let [d, h, w] = self.size;
        (self.batch, self.channels, d, h, w)
    }

    pub(super) fn blocks(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    /// Numbers of one row of a plane.
    pub(super) fn row_stride(&self) -> usize {
        (self.size[2].next_multiple_of(4) + 3) * LANES
    }

    /// Numbers of one plane.
    pub(super) fn plane_stride(&self) -> usize {
        (self.size[1].next_multiple_of(4) + 3) * self.row_stride()
    }

    /// Numbers of one block of channels of one volume of the batch.
    pub(super) fn block_stride(&self) -> usize {
        self.size[0] * self.plane_stride()
    }

    /// Where the first value of a plane lies, behind the border.
    pub(super) fn plane(&self, n: usize, block: usize, z: usize) -> usize {
        (n * self.blocks() + block) * self.block_stride()
            + z * self.plane_stride()
            + self.row_stride()
            + LANES
    }

    /// From values in the order \[batch, channels, D, H, W\].
    pub(super) fn from_values(x: &[f32], batch: usize, channels: usize, size: [usize; 3]) -> Self {
        let mut volume = Self::zeros(batch, channels, size);
        let pixels = size.iter().product::<usize>();
        let (blocks, plane, row) = (volume.blocks(), volume.plane_stride(), volume.row_stride());
        let [depth, height, width] = size;
        if pixels == 0 {
            return volume;
        }
        volume.data.par_chunks_mut(plane).enumerate().for_each(|(i, to)| {
            let (z, block, n) = (i % depth, i / depth % blocks, i / depth / blocks);
            let first = block * LANES;
            let count = LANES.min(channels - first);
            for y in 0..height {
                let from = ((n * channels + first) * depth + z) * height * width + y * width;
                let to = &mut to[(y + 1) * row + LANES..][..width * LANES];
                if count == LANES {
                    let rows: [&[f32]; LANES] = std::array::from_fn(|c| &x[from + c * pixels..][..width]);
                    for (q, to) in to.chunks_exact_mut(LANES).enumerate() {
                        for (to, row) in to.iter_mut().zip(&rows) {
                            *to = row[q];
                        }
                    }
                } else {
                    for c in 0..count {
                        let row = &x[from + c * pixels..][..width];
                        to[c..].iter_mut().step_by(LANES).zip(row).for_each(|(to, from)| *to = *from);
                    }
                }
            }
        });
        volume
    }

    /// The values in the order \[batch, channels, D, H, W\].
    pub(super) fn to_values(&self) -> Vec<f32> {
        let [depth, height, width] = self.size;
        let pixels = depth * height * width;
        let mut out = zeros(self.batch * self.channels * pixels);
        if out.is_empty() {
            return out;
        }
        let to = Shared::of(&mut out);
        let blocks = self.blocks();
        (0..self.batch * blocks * depth).into_par_iter().for_each(|i| {
            let (z, block, n) = (i % depth, i / depth % blocks, i / depth / blocks);
            let first = block * LANES;
            for y in 0..height {
                let from = &self.data[self.plane(n, block, z) + y * self.row_stride()..][..width * LANES];
                for c in 0..LANES.min(self.channels - first) {
                    let at = ((n * self.channels + first + c) * depth + z) * height * width + y * width;
                    // SAFETY: this row of this channel belongs to this task alone and lies inside `out`.
                    let row = unsafe { std::slice::from_raw_parts_mut(to.at(at), width) };
                    row.iter_mut().zip(from[c..].iter().step_by(LANES)).for_each(|(to, from)| *to = *from);
                }
            }
        });
        out
    }

    /// From a tensor of f32.
    ///
    /// # Shapes
    /// \[batch, channels, D, H, W\].
    ///
    /// # Errors
    /// [`Error::Shape`] for another rank, [`Error::Argument`] for another type.
    pub fn from_tensor(x: &Tensor) -> Result<Self> {
        let &[batch, channels, d, h, w] = x.dims() else {
            return Err(Error::shape("BlockedVolume", "[batch, channels, D, H, W]", x.dims()));
        };
        with_values(x, |values| Self::from_values(values, batch, channels, [d, h, w]))
    }

    /// A tensor \[batch, channels, D, H, W\] with these values.
    ///
    /// # Errors
    /// An error of candle.
    pub fn to_tensor(&self) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.to_values(), self.dims(), &Device::Cpu)?)
    }
}

/// Calls `f` with the values of `x` in order.
pub(in crate::conv3d) fn with_values<T>(x: &Tensor, f: impl FnOnce(&[f32]) -> T) -> Result<T> {
    if x.dtype() != DType::F32 {
        return Err(unsupported("BlockedVolume", x.dtype()));
    }
    Ok(element::with_values(x, f)?)
}

//! Convolution as matrix products over tiles of the output: the patches of one tile are laid out as a matrix that
//! stays in the cache (implicit im2col), so memory does not grow with the volume.
//!
//! Tiles and channel blocks depend on the sizes alone, and every sum is taken by one task in a fixed order: the
//! result has the same bits with any number of threads.
#![allow(unsafe_code)]

use super::config::Geometry;
use crate::element::Element;
use crate::gemm::{Mat, matmul, matmul_into};
use crate::parallel::zeros;
use rayon::prelude::*;
use std::ops::Range;

/// The patch matrix of a tile has about this many elements: 1 MiB of f32, half of a usual L2 cache.
const TILE_ELEMENTS: usize = 1 << 18;

/// As many tasks the weight gradient is cut into at least, where the sizes allow.
const TASKS: usize = 8;

/// With fewer tiles than this a forward pass shares out the output channels instead, [`CHANNELS`] to a task.
const FEW_TILES: usize = 4;
const CHANNELS: usize = 64;

/// Mutable memory shared by tasks that write to different elements.
struct Shared<T>(*mut T);

// SAFETY: every use below gives each element to exactly one task at a time.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn at(&self, offset: usize) -> *mut T {
        self.0.wrapping_add(offset)
    }
}

/// A run of whole output rows (a row has one depth and height), the unit of work.
#[derive(Clone, Copy)]
struct Tile {
    first: usize,
    end: usize,
}

impl Tile {
    fn all(g: &Geometry, depth_of_product: usize) -> Vec<Tile> {
        let (rows, width) = (g.output[0] * g.output[1], g.output[2]);
        let per_tile = (TILE_ELEMENTS / (depth_of_product * width).max(1)).clamp(1, rows.max(1));
        // At least 48 columns where there are as many: narrower products waste the processor's registers.
        let per_tile = per_tile.max(48usize.div_ceil(width.max(1))).min(rows.max(1));
        (0..rows).step_by(per_tile).map(|first| Tile { first, end: (first + per_tile).min(rows) }).collect()
    }

    fn columns(&self, g: &Geometry) -> usize {
        (self.end - self.first) * g.output[2]
    }
}

/// Where row elements `lo..hi` of an output row with kernel element `k` along the width lie inside the input, and
/// the input column of `lo`.
fn valid_columns(g: &Geometry, k: usize) -> (usize, usize, usize) {
    let (shift, stride) = (k * g.dilation[2], g.stride[2]);
    let lo = g.padding[2].saturating_sub(shift).div_ceil(stride).min(g.output[2]);
    let hi = (g.input[2] + g.padding[2]).saturating_sub(shift).div_ceil(stride).clamp(lo, g.output[2]);
    (lo, hi, (lo * stride + shift).saturating_sub(g.padding[2]))
}

/// Calls `f(matrix offset, input offset or None, lo, hi)` for each row of a tile's patch matrix of `channels`.
fn for_each_patch_row(
    g: &Geometry,
    tile: Tile,
    channels: usize,
    mut f: impl FnMut(usize, Option<usize>, usize, usize),
) {
    let (width, [_, ih, iw], columns) = (g.output[2], g.input, tile.columns(g));
    let mut row = 0;
    for c in 0..channels {
        for a in 0..g.kernel[0] {
            for b in 0..g.kernel[1] {
                for e in 0..g.kernel[2] {
                    let (lo, hi, start) = valid_columns(g, e);
                    for r in tile.first..tile.end {
                        let (d, h) = (g.source(0, r / g.output[1], a), g.source(1, r % g.output[1], b));
                        let source = d.zip(h).map(|(d, h)| ((c * g.input[0] + d) * ih + h) * iw + start);
                        f(row * columns + (r - tile.first) * width, source, lo, hi);
                    }
                    row += 1;
                }
            }
        }
    }
}

/// Lays out the patches of `x` \[channels, D, H, W\] as `matrix` \[channels * taps, columns\].
fn pack<T: Element>(g: &Geometry, tile: Tile, x: &[T], channels: usize, matrix: &mut [T]) {
    let (width, stride) = (g.output[2], g.stride[2]);
    for_each_patch_row(g, tile, channels, |at, source, lo, hi| {
        let row = &mut matrix[at..at + width];
        let Some(source) = source.filter(|_| lo < hi) else {
            row.fill(T::ZERO);
            return;
        };
        row[..lo].fill(T::ZERO);
        row[hi..].fill(T::ZERO);
        if stride == 1 {
            row[lo..hi].copy_from_slice(&x[source..source + hi - lo]);
        } else {
            let values = x[source..].iter().step_by(stride);
            row[lo..hi].iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        }
    });
}

/// The transpose of [`pack`]: adds every element of `matrix` to the place in `dx` that it comes from.
fn unpack_add<T: Element>(g: &Geometry, tile: Tile, matrix: &[T], channels: usize, dx: &mut [T]) {
    let stride = g.stride[2];
    for_each_patch_row(g, tile, channels, |at, source, lo, hi| {
        let Some(source) = source.filter(|_| lo < hi) else { return };
        let places = dx[source..].iter_mut().step_by(stride);
        places.zip(&matrix[at + lo..at + hi]).for_each(|(to, from)| *to += *from);
    });
}

/// Whether the patch matrix is the input itself.
fn is_pointwise(g: &Geometry) -> bool {
    g.kernel == [1; 3] && g.stride == [1; 3] && g.padding == [0; 3]
}

pub(super) fn forward<T: Element>(g: &Geometry, x: &[T], weight: &[T], bias: Option<&[T]>) -> Vec<T> {
    let (depth, volume) = (g.ci * g.taps(), g.ci * g.in_pixels());
    let tiles = Tile::all(g, depth);
    let mut y: Vec<T> = zeros(g.batch * g.groups * g.co * g.out_pixels());
    let out = Output { g, weight, bias, y: Shared(y.as_mut_ptr()) };
    let tasks = g.batch * g.groups * tiles.len();
    let at = |task: usize| (task / tiles.len(), tiles[task % tiles.len()]);
    if tasks >= FEW_TILES || is_pointwise(g) {
        (0..tasks).into_par_iter().for_each_init(Vec::new, |matrix: &mut Vec<T>, task| {
            let (v, tile) = at(task);
            let x = &x[v * volume..(v + 1) * volume];
            if is_pointwise(g) {
                let patches = Mat::rows(&x[tile.first * g.output[2]..], g.out_pixels());
                // SAFETY: this task alone has this tile of this volume.
                unsafe { out.write(v, tile, 0..g.co, patches) };
                return;
            }
            matrix.resize(depth * tile.columns(g), T::ZERO);
            pack(g, tile, x, g.ci, matrix);
            // SAFETY: as above.
            unsafe { out.write(v, tile, 0..g.co, Mat::rows(matrix, tile.columns(g))) };
        });
        return y;
    }
    // A small volume with many channels: the tiles come one by one, their channels are shared out.
    let mut matrix = Vec::new();
    for (v, tile) in (0..tasks).map(at) {
        let columns = tile.columns(g);
        matrix.resize(depth * columns, T::ZERO);
        let of_channels =
            matrix.par_chunks_mut(g.taps() * columns).zip(x[v * volume..].par_chunks(g.in_pixels().max(1)));
        of_channels.for_each(|(matrix, x)| pack(g, tile, x, 1, matrix));
        (0..g.co.div_ceil(CHANNELS)).into_par_iter().for_each(|part| {
            let channels = part * CHANNELS..((part + 1) * CHANNELS).min(g.co);
            // SAFETY: this task alone has these channels, and the tiles come one by one.
            unsafe { out.write(v, tile, channels, Mat::rows(&matrix, columns)) };
        });
    }
    y
}

/// The output of a forward pass and what its parts are computed from.
struct Output<'a, T> {
    g: &'a Geometry,
    weight: &'a [T],
    bias: Option<&'a [T]>,
    y: Shared<T>,
}

impl<T: Element> Output<'_, T> {
    /// Computes `channels` (of the group) of a volume at the columns of `tile` from its `patches`.
    ///
    /// # Safety
    /// The memory behind `y` must hold the whole output, and no other thread may touch this part of it.
    unsafe fn write(&self, volume: usize, tile: Tile, channels: Range<usize>, patches: Mat<T>) {
        let (g, pixels, columns) = (self.g, self.g.out_pixels(), tile.columns(self.g));
        let depth = g.ci * g.taps();
        let channel = volume % g.groups * g.co + channels.start;
        let start = self.y.at((volume * g.co + channels.start) * pixels + tile.first * g.output[2]);
        // SAFETY: the caller's promise covers rows `channels` at this tile's columns, which is what is written.
        unsafe {
            for (i, b) in self.bias.iter().flat_map(|b| &b[channel..channel + channels.len()]).enumerate() {
                std::slice::from_raw_parts_mut(start.add(i * pixels), columns).fill(*b);
            }
            let kernel = Mat::rows(&self.weight[channel * depth..], depth);
            let shape = (channels.len(), depth, columns);
            matmul_into(shape, kernel, patches, start, pixels, self.bias.is_some());
        }
    }
}

pub(super) fn input_gradient<T: Element>(g: &Geometry, weight: &[T], dy: &[T]) -> Vec<T> {
    let reach = |a: usize| g.dilation[a] * (g.kernel[a] - 1);
    if g.stride == [1; 3] && (0..3).all(|a| g.padding[a] <= reach(a)) {
        let padding = [0, 1, 2].map(|a| reach(a) - g.padding[a]);
        let back = Geometry { ci: g.co, co: g.ci, input: g.output, output: g.input, padding, ..*g };
        return forward(&back, dy, &flipped(g, weight), None);
    }
    let (taps, pixels, depth) = (g.taps(), g.out_pixels(), g.ci * g.taps());
    let block = channel_block(g);
    let blocks = g.ci.div_ceil(block);
    let mut dx: Vec<T> = zeros(g.batch * g.groups * g.ci * g.in_pixels());
    // A task owns a block of input channels of one volume and goes through all tiles in order.
    let mut tasks: Vec<(usize, usize, &mut [T])> = Vec::with_capacity(g.batch * g.groups * blocks);
    for (volume, part) in dx.chunks_mut((g.ci * g.in_pixels()).max(1)).enumerate() {
        let parts = part.chunks_mut((block * g.in_pixels()).max(1)).enumerate();
        tasks.extend(parts.map(|(b, part)| (volume, b * block, part)));
    }
    let tiles = Tile::all(g, block * taps);
    tasks.into_par_iter().for_each_init(Vec::new, |matrix: &mut Vec<T>, (volume, first, dx)| {
        let channels = block.min(g.ci - first);
        let kernel = &weight[volume % g.groups * g.co * depth + first * taps..];
        let kernel = Mat { data: kernel, row_stride: 1, col_stride: depth };
        for tile in &tiles {
            let columns = tile.columns(g);
            let dy = &dy[volume * g.co * pixels + tile.first * g.output[2]..];
            matrix.resize(channels * taps * columns, T::ZERO);
            matmul((channels * taps, g.co, columns), kernel, Mat::rows(dy, pixels), matrix, false);
            unpack_add(g, *tile, matrix, channels, dx);
        }
    });
    dx
}

/// The weight \[out, in, taps\] of each group as \[in, out, reversed taps\].
fn flipped<T: Element>(g: &Geometry, weight: &[T]) -> Vec<T> {
    let taps = g.taps();
    let mut out = vec![T::ZERO; weight.len()];
    out.par_chunks_mut((g.co * taps).max(1)).enumerate().for_each(|(row, out)| {
        let (group, c) = (row / g.ci, row % g.ci);
        for (o, to) in out.chunks_mut(taps).enumerate() {
            let from = &weight[((group * g.co + o) * g.ci + c) * taps..][..taps];
            to.iter_mut().zip(from.iter().rev()).for_each(|(to, from)| *to = *from);
        }
    });
    out
}

/// How many input channels a task takes: about 216 rows of the patch matrix, 8 channels of a 3x3x3 kernel.
fn channel_block(g: &Geometry) -> usize {
    216usize.div_ceil(g.taps()).clamp(1, g.ci.max(1))
}

pub(super) fn weight_gradient<T: Element>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let (taps, pixels, depth) = (g.taps(), g.out_pixels(), g.ci * g.taps());
    let block = channel_block(g);
    let blocks = g.ci.div_ceil(block);
    let tiles = Tile::all(g, block * taps);
    // All tiles of all volumes of the batch, cut into parts where there are few channel blocks. Each part has its
    // own sum; the sums are added in the order of the parts.
    let total = g.batch * tiles.len();
    let parts = TASKS.div_ceil((g.groups * blocks).max(1)).min(total).max(1);
    let size = g.groups * g.co * depth;
    let mut sums = vec![T::ZERO; parts * size];
    let out = Shared(sums.as_mut_ptr());
    (0..parts * g.groups * blocks).into_par_iter().for_each_init(Vec::new, |matrix: &mut Vec<T>, task| {
        let (b, group, part) = (task % blocks, task / blocks % g.groups, task / blocks / g.groups);
        let first = b * block;
        let channels = block.min(g.ci - first);
        let dst = out.at(part * size + group * g.co * depth + first * taps);
        for (step, at) in (part * total / parts..(part + 1) * total / parts).enumerate() {
            let (volume, tile) = (at / tiles.len() * g.groups + group, tiles[at % tiles.len()]);
            let columns = tile.columns(g);
            let x = &x[(volume * g.ci + first) * g.in_pixels()..][..channels * g.in_pixels()];
            let patches = if is_pointwise(g) {
                Mat::rows(&x[tile.first * g.output[2]..], pixels)
            } else {
                matrix.resize(channels * taps * columns, T::ZERO);
                pack(g, tile, x, channels, matrix);
                Mat::rows(matrix, columns)
            };
            let dy = Mat::rows(&dy[volume * g.co * pixels + tile.first * g.output[2]..], pixels);
            // SAFETY: `sums` outlives the loop, and columns `first * taps..` of this group in this part's sum
            // belong to this task alone.
            unsafe { matmul_into((g.co, columns, channels * taps), dy, patches.t(), dst, depth, step > 0) };
        }
    });
    let (total, rest) = sums.split_at_mut(size);
    for part in rest.chunks(size.max(1)) {
        total.iter_mut().zip(part).for_each(|(a, b)| *a += *b);
    }
    sums.truncate(size);
    sums
}

//! The gradient of the weight through the same transforms: tiles of the input and of the cotangent are transformed,
//! multiplied point by point and summed over all tiles; one transform back per weight.
#![allow(unsafe_code)]
// An index here names a row or column of a tile, in several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::forward::each;
use super::lanes::{Isa, LANES};
use super::product::{Product, product};
use super::transform::{G2, G4, Tiles, transform_cotangent, transform_input};
use super::volume::{BlockedVolume, Shared};
use super::weights::GROUP;
use rayon::prelude::*;

/// Numbers of transformed input and cotangent in one round.
const ROUND: usize = 4 << 20;

/// The gradient \[out, in, 9 taps\] of the weight of a convolution of `x` with `taps` 3x3 planes and stride 1 whose output has the
/// gradient `dy`; `padding` is 0 or 1 along each axis.
///
/// Rounds are cut by the sizes alone and added in their order, so the bits do not depend on the threads.
pub(super) fn weight_gradient(
    isa: Isa,
    m: usize,
    x: &BlockedVolume,
    dy: &BlockedVolume,
    taps: usize,
    padding: [usize; 3],
) -> Vec<f32> {
    let points = (m + 2) * (m + 2);
    let (inputs, outputs) = (x.blocks() * LANES, dy.blocks() * LANES);
    let mut sums = vec![0.0; points * taps * inputs * outputs];
    let [depth, height, width] = dy.size;
    let (across, tiles) = (width.div_ceil(m), height.div_ceil(m) * width.div_ceil(m));
    if tiles * depth * dy.batch > 0 {
        let room = |slabs: usize| points * ((slabs + taps - 1) * inputs + slabs * outputs);
        let strip = (ROUND / room(1)).clamp(1, tiles);
        let slabs = (1..=depth).rev().find(|s| room(*s) * strip <= ROUND).unwrap_or(1);
        let mut buffers = (Vec::new(), Vec::new());
        for n in 0..dy.batch {
            for t0 in (0..tiles).step_by(strip) {
                for z0 in (0..depth).step_by(slabs) {
                    let (t1, z1) = ((t0 + strip).min(tiles), (z0 + slabs).min(depth));
                    let round = Round { isa, m, x, dy, taps, padding, across, n, t0, t1, z0, z1 };
                    round.add(&mut buffers, &mut sums);
                }
            }
        }
    }
    back(m, taps, &sums, (x.channels, inputs), (dy.channels, outputs))
}

/// Some tiles of some planes of one volume.
struct Round<'a> {
    isa: Isa,
    m: usize,
    x: &'a BlockedVolume,
    dy: &'a BlockedVolume,
    taps: usize,
    padding: [usize; 3],
    across: usize,
    n: usize,
    t0: usize,
    t1: usize,
    z0: usize,
    z1: usize,
}

impl Round<'_> {
    fn add(&self, (v, c): &mut (Vec<f32>, Vec<f32>), sums: &mut [f32]) {
        let points = (self.m + 2) * (self.m + 2);
        let (inputs, outputs) = (self.x.blocks() * LANES, self.dy.blocks() * LANES);
        let (tiles, planes) = (self.t1 - self.t0, self.z1 - self.z0);
        let v_point = tiles * (planes + self.taps - 1) * inputs + LANES;
        let c_point = tiles * planes * outputs + LANES;
        v.resize((points * v_point).max(v.len()), 0.0);
        c.resize((points * c_point).max(c.len()), 0.0);
        let (v, c) = (Shared::of(v), Shared::of(c));
        self.transform(v, v_point, c, c_point);
        let (in_blocks, groups) = (self.x.blocks(), self.dy.blocks().div_ceil(GROUP));
        let sums = Shared::of(sums);
        each(true, points * groups * in_blocks, |i| {
            let (block, group, p) = (i % in_blocks, i / in_blocks % groups, i / in_blocks / groups);
            for tap in 0..self.taps {
                // Planes of the output whose input plane under this tap lies in the volume.
                let first = self.z0.max(self.padding[0].saturating_sub(tap));
                let end = self.z1.min((self.x.size[0] + self.padding[0]).saturating_sub(tap));
                if first >= end {
                    continue;
                }
                let at = ((p * self.taps + tap) * inputs + block * LANES) * outputs + group * GROUP * LANES;
                let job = Product {
                    a: v.at(p * v_point + (first - self.z0 + tap) * tiles * inputs + block * LANES),
                    a_row: 1,
                    a_step: inputs,
                    b: c.at(p * c_point + (first - self.z0) * tiles * outputs + group * GROUP * LANES),
                    b_row: outputs,
                    parts: &[(0, 0)],
                    depth: (end - first) * tiles,
                    rows: LANES,
                    blocks: GROUP.min(self.dy.blocks() - group * GROUP),
                    c: sums.at(at),
                    c_row: outputs,
                    c_block: LANES,
                    bias: std::ptr::null(),
                    addend: sums.at(at),
                    relu: false,
                };
                // SAFETY: the planes lie inside the buffers; this point, block and group of the sums belong to this
                // task alone.
                unsafe { product(self.isa, &job) };
            }
        });
    }

    fn transform(&self, v: Shared, v_point: usize, c: Shared, c_point: usize) {
        let (tiles, planes) = (self.t1 - self.t0, self.z1 - self.z0);
        let (in_blocks, out_blocks) = (self.x.blocks(), self.dy.blocks());
        let common = |volume: *const f32, row, points, point_stride, tile_stride| Tiles {
            m: self.m,
            across: self.across,
            first: self.t0,
            end: self.t1,
            volume,
            row,
            points,
            point_stride,
            tile_stride,
            height: self.dy.size[1],
            width: self.dy.size[2],
        };
        each(true, (planes + self.taps - 1) * in_blocks, |i| {
            let (block, s) = (i % in_blocks, i / in_blocks);
            let x = self.x;
            let Some(z) = (self.z0 + s).checked_sub(self.padding[0]).filter(|z| *z < x.size[0]) else {
                return;
            };
            let row = x.row_stride();
            let corner = x.plane(self.n, block, z) - self.padding[1] * row - self.padding[2] * LANES;
            let stride = in_blocks * LANES;
            let to = v.at(s * tiles * stride + block * LANES);
            let tiles = common(x.data[corner..].as_ptr(), row, to, v_point, stride);
            // SAFETY: the border of a volume holds whole tiles; the place belongs to this task alone.
            unsafe { transform_input(self.isa, &tiles) };
        });
        each(true, planes * out_blocks, |i| {
            let (block, s) = (i % out_blocks, i / out_blocks);
            let from = self.dy.plane(self.n, block, self.z0 + s);
            let stride = out_blocks * LANES;
            let to = c.at(s * tiles * stride + block * LANES);
            let tiles = common(self.dy.data[from..].as_ptr(), self.dy.row_stride(), to, c_point, stride);
            // SAFETY: only values of the plane are read; the place belongs to this task alone.
            unsafe { transform_cotangent(self.isa, &tiles) };
        });
    }
}

/// `G^T s G` of all sums \[points, taps, inputs, outputs\], in the order \[out, in, 9 taps\].
fn back(
    m: usize,
    taps: usize,
    sums: &[f32],
    (ci, inputs): (usize, usize),
    (co, outputs): (usize, usize),
) -> Vec<f32> {
    let n = m + 2;
    let mut out = vec![0.0; co * ci * 9 * taps];
    let to = Shared::of(&mut out);
    let g = |a: usize| if m == 2 { G2[a] } else { G4[a] };
    // Sixteen outputs at a time, which lie side by side in the sums.
    (0..outputs / LANES * ci).into_par_iter().with_min_len(16).for_each(|i| {
        let (c, first) = (i % ci, i / ci * LANES);
        for tap in 0..taps {
            let mut half = [[[0f64; LANES]; 3]; 6];
            for a in 0..n {
                for b in 0..n {
                    let row = g(b);
                    let s = &sums[(((a * n + b) * taps + tap) * inputs + c) * outputs + first..][..LANES];
                    for (half, g) in half[a].iter_mut().zip(row) {
                        half.iter_mut().zip(s).for_each(|(h, s)| *h += g * f64::from(*s));
                    }
                }
            }
            for y in 0..3 {
                for x in 0..3 {
                    for o in 0..LANES.min(co - first) {
                        let value: f64 = (0..n).map(|a| g(a)[y] * half[a][x][o]).sum();
                        let at = to.at(((first + o) * ci + c) * 9 * taps + (tap * 3 + y) * 3 + x);
                        // SAFETY: this weight belongs to this task alone and lies inside `out`.
                        unsafe { at.write(value as f32) };
                    }
                }
            }
        }
    });
    out
}

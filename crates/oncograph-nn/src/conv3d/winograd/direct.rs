//! The convolution by its definition on volumes with sixteen channels side by side: for strides, kernels of other
//! sizes and volumes with few tiles; and from plain planes, for the first layer of a network.
#![allow(unsafe_code)]

use super::forward::Extra;
use super::lanes::{Isa, LANES};
use super::product::{Product, product};
use super::volume::{BlockedVolume, Shared};
use super::weights::GROUP;
use crate::conv3d::config::Geometry;
use crate::parallel::zeros;
use rayon::prelude::*;

/// Weights that one pass over the rows of a plane reads: about 256 KiB, part of a second-level cache.
const PASS: usize = 64 << 10;

/// Weights \[groups of four blocks of outputs, parts, depth of a part, outputs of the group\].
///
/// A part is a kernel element and a block of sixteen inputs, or, from plain planes, a row of the kernel and an input.
#[derive(Debug)]
pub(super) struct DirectWeights {
    out_blocks: usize,
    parts: usize,
    depth: usize,
    data: Vec<f32>,
}

impl DirectWeights {
    /// From \[out, in, taps\]; `planes` for input in plain planes.
    pub(super) fn new(g: &Geometry, weight: &[f32], planes: bool) -> Self {
        let (taps, columns) = (g.taps(), g.kernel[2]);
        let (parts, depth) = match planes {
            true => (g.ci * taps / columns, columns),
            false => (taps * g.ci.div_ceil(LANES), LANES),
        };
        let out_blocks = g.co.div_ceil(LANES);
        let mut w =
            DirectWeights { out_blocks, parts, depth, data: vec![0.0; out_blocks * LANES * parts * depth] };
        for o in 0..g.co {
            let (group, within) = (o / (GROUP * LANES), o % (GROUP * LANES));
            let (start, width) = (w.group(group), w.width(group));
            for c in 0..g.ci {
                for tap in 0..taps {
                    let (part, k) = match planes {
                        true => (c * (taps / columns) + tap / columns, tap % columns),
                        // The blocks of inputs are outermost, so that passes over the rows can share them out.
                        false => (c / LANES * taps + tap, c % LANES),
                    };
                    w.data[start + (part * depth + k) * width + within] = weight[(o * g.ci + c) * taps + tap];
                }
            }
        }
        w
    }

    fn width(&self, group: usize) -> usize {
        GROUP.min(self.out_blocks - group * GROUP) * LANES
    }

    fn group(&self, group: usize) -> usize {
        group * GROUP * LANES * self.parts * self.depth
    }
}

/// What the kernel reads: a padded copy of plain planes, or a blocked volume.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    data: &'a [f32],
    /// The start of volume `n`, block (or channel) `b`, plane `z` at the padded corner is
    /// `first + n * volume + b * block + z * plane`.
    first: usize,
    volume: usize,
    block: usize,
    plane: usize,
    row: usize,
    /// Numbers from one column to the next.
    column: usize,
}

impl<'a> Input<'a> {
    pub(super) fn blocked(x: &'a BlockedVolume, padding: [usize; 3]) -> Self {
        let (block, plane, row) = (x.block_stride(), x.plane_stride(), x.row_stride());
        let first = (1 - padding[1]) * row + (1 - padding[2]) * LANES;
        Input { data: &x.data, first, volume: x.blocks() * block, block, plane, row, column: LANES }
    }

    /// Of `data` made by [`pad_planes`].
    pub(super) fn planes(g: &Geometry, data: &'a [f32]) -> Self {
        let [height, row] = padded(g);
        let plane = height * row;
        let block = g.input[0] * plane;
        Input { data, first: 0, volume: g.ci * block, block, plane, row, column: 1 }
    }
}

fn padded(g: &Geometry) -> [usize; 2] {
    [g.input[1] + 2 * g.padding[1], g.input[2] + 2 * g.padding[2]]
}

/// Plain planes with zeros around each.
pub(super) fn pad_planes(g: &Geometry, x: &[f32]) -> Vec<f32> {
    let ([height, row], [_, h, w]) = (padded(g), g.input);
    let mut out: Vec<f32> = zeros(g.batch * g.ci * g.input[0] * height * row);
    if h * w > 0 {
        out.par_chunks_mut(height * row).zip(x.par_chunks(h * w)).for_each(|(to, from)| {
            for (y, from) in from.chunks(w).enumerate() {
                to[(y + g.padding[1]) * row + g.padding[2]..][..w].copy_from_slice(from);
            }
        });
    }
    out
}

/// Writes the convolution into `y`, whose shape must be that of the result. Dilation and groups must be 1.
pub(super) fn direct(
    isa: Isa,
    g: &Geometry,
    x: Input,
    w: &DirectWeights,
    extra: Extra,
    y: &mut BlockedVolume,
) {
    let groups = w.out_blocks.div_ceil(GROUP);
    let shape = BlockedVolume { data: Vec::new(), ..*y };
    let to = Shared::of(&mut y.data);
    (0..groups * g.batch * g.output[0]).into_par_iter().for_each_init(Vec::new, |parts, i| {
        let (z, n, group) = (i % g.output[0], i / g.output[0] % g.batch, i / g.output[0] / g.batch);
        let width = w.width(group);
        offsets(g, &x, z, w.depth * width, parts);
        let plane = shape.plane(n, group * GROUP, z);
        let null = std::ptr::null();
        let start = x.first + n * x.volume + (z * g.stride[0]) * x.plane;
        // Inputs before the volume's first plane are skipped in `parts`; the offsets stay positive.
        let start = start.wrapping_sub(g.padding[0] * x.plane);
        let per_pass = (PASS / (w.depth * width)).max(1);
        let passes = parts.len().div_ceil(per_pass).max(1);
        for pass in 0..passes {
            let parts = &parts[(pass * per_pass).min(parts.len())..((pass + 1) * per_pass).min(parts.len())];
            let (first, last) = (pass == 0, pass + 1 == passes);
            for row in 0..g.output[1] {
                let at = plane + row * shape.row_stride();
                let job = Product {
                    a: x.data.as_ptr().wrapping_add(start.wrapping_add(row * g.stride[1] * x.row)),
                    a_row: g.stride[2] * x.column,
                    a_step: 1,
                    b: w.data[w.group(group)..].as_ptr(),
                    b_row: width,
                    parts,
                    depth: w.depth,
                    rows: g.output[2],
                    blocks: width / LANES,
                    c: to.at(at),
                    c_row: LANES,
                    c_block: shape.block_stride(),
                    bias: extra.bias.filter(|_| first).map_or(null, |b| b[group * GROUP * LANES..].as_ptr()),
                    addend: match first {
                        true => extra.residual.map_or(null, |r| r.data[at..].as_ptr()),
                        false => to.at(at).cast_const(),
                    },
                    relu: extra.relu && last,
                };
                // SAFETY: `parts` names planes inside the volume, its border holds the kernel's reach in a plane;
                // this plane and group of the output belong to this task alone.
                unsafe { product(isa, &job) };
            }
        }
    });
}

/// The parts that meet the volume from output plane `z`, as offsets in input and weights.
fn offsets(g: &Geometry, x: &Input, z: usize, part: usize, parts: &mut Vec<(usize, usize)>) {
    parts.clear();
    let (planes, columns) = (x.column == 1, g.kernel[2]);
    let blocks = if planes { g.ci } else { g.ci.div_ceil(LANES) };
    let steps = if planes { 1 } else { columns };
    let mut number = 0;
    for b in 0..blocks {
        for kd in 0..g.kernel[0] {
            let inside = g.source(0, z, kd).is_some();
            for kh in 0..g.kernel[1] {
                for kw in 0..steps {
                    if inside {
                        let at = b * x.block + kd * x.plane + kh * x.row + kw * x.column;
                        parts.push((at, number * part));
                    }
                    number += 1;
                }
            }
        }
    }
}

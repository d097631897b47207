//! The convolution: tiles of the input are transformed, multiplied point by point with the transformed weights
//! while the three depth taps are summed, and transformed back.
//!
//! Work is cut so that the transformed tiles stay in a cache: in strips of tiles through the whole depth, a strip to
//! a thread, where the weights are few; else in rounds in which all threads share each of the three steps. How it is
//! cut changes no sum, so the bits do not depend on it.
#![allow(unsafe_code)]

use super::lanes::{Isa, LANES};
use super::product::{Product, product};
use super::transform::{Finish, Tiles, transform_input, transform_output};
use super::volume::{BlockedVolume, Shared};
use super::weights::{GROUP, Weights};
use rayon::prelude::*;

/// Numbers of transformed input and sums that one thread keeps in its second-level cache.
const STRIP: usize = 220 << 10;
/// The same for one round of all threads, in the last-level cache.
const ROUND: usize = 4 << 20;
/// Weights above this are read from memory as seldom as possible.
const FEW_WEIGHTS: usize = 600 << 10;

/// What is added to the convolution.
#[derive(Clone, Copy)]
pub(super) struct Extra<'a> {
    /// Per output channel, with zeros up to a multiple of sixteen.
    pub bias: Option<&'a [f32]>,
    /// Of the shape of the output.
    pub residual: Option<&'a BlockedVolume>,
    pub relu: bool,
}

/// A convolution in work.
pub(super) struct Run<'a> {
    pub isa: Isa,
    pub x: &'a BlockedVolume,
    pub weights: &'a Weights,
    /// 0 or 1 along each axis.
    pub padding: [usize; 3],
    pub extra: Extra<'a>,
}

/// Tiles `t0..t1` of the planes of volumes `n0..n1`, `slabs` planes at a time.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub n0: usize,
    pub n1: usize,
    pub t0: usize,
    pub t1: usize,
    pub slabs: usize,
    pub shared: bool,
}

/// What [`parts`] cuts.
pub(super) struct Work {
    pub points: usize,
    /// Depth taps.
    pub taps: usize,
    /// Channels, filled up to blocks.
    pub inputs: usize,
    pub outputs: usize,
    pub batch: usize,
    pub depth: usize,
    pub tiles: usize,
}

impl Part {
    pub(super) fn tiles(&self) -> usize {
        self.t1 - self.t0
    }

    pub(super) fn volumes(&self) -> usize {
        self.n1 - self.n0
    }
}

/// Calls `f` for every task, on all threads if the work is shared.
pub(super) fn each(shared: bool, tasks: usize, f: impl Fn(usize) + Send + Sync) {
    if shared { (0..tasks).into_par_iter().for_each(f) } else { (0..tasks).for_each(f) }
}

/// Cuts the work. `few` where the weights fit into a cache beside the tiles.
pub(super) fn parts(work: &Work, few: bool) -> Vec<Part> {
    let Work { points, taps, inputs, outputs, batch, depth, tiles } = *work;
    // Numbers per tile with `s` planes at a time; a plane more of the input per further tap is needed.
    let room = |s: usize| points * ((s + taps - 1) * inputs + s * outputs);
    let slabs = depth.min(4);
    let strip = (STRIP / room(slabs)).clamp(1, tiles);
    let strips = tiles.div_ceil(strip);
    let threads = rayon::current_num_threads();
    if few && strip >= 3.min(tiles) && (threads == 1 || batch * strips >= 4 * threads) {
        let strip = tiles.div_ceil(strips);
        let cut = |n| (0..tiles).step_by(strip).map(move |t0| (n, t0));
        let part = |(n0, t0): (usize, usize)| {
            let t1 = (t0 + strip).min(tiles);
            Part { n0, n1: n0 + 1, t0, t1, slabs, shared: false }
        };
        return (0..batch).flat_map(cut).map(part).collect();
    }
    let strip = (ROUND / room(1)).clamp(1, tiles);
    let mut slabs = 1;
    while slabs < depth && room(slabs + 1) * strip <= ROUND {
        slabs += 1;
    }
    let volumes = if slabs == depth { (ROUND / (room(slabs) * strip)).clamp(1, batch) } else { 1 };
    let mut parts = Vec::new();
    for n0 in (0..batch).step_by(volumes) {
        for t0 in (0..tiles).step_by(strip) {
            let (n1, t1) = ((n0 + volumes).min(batch), (t0 + strip).min(tiles));
            parts.push(Part { n0, n1, t0, t1, slabs, shared: true });
        }
    }
    parts
}

impl Run<'_> {
    fn tiles(&self, size: [usize; 3]) -> (usize, usize) {
        (size[1].div_ceil(self.weights.m), size[2].div_ceil(self.weights.m))
    }

    /// Writes the convolution into `y`, whose shape must be that of the result.
    pub(super) fn write(&self, y: &mut BlockedVolume) {
        let (down, across) = self.tiles(y.size);
        let (w, [depth, ..]) = (self.weights, y.size);
        let tiles = down * across;
        if tiles * depth * y.batch * y.channels == 0 {
            return;
        }
        let few = w.points() * w.depth * w.inputs * w.out_blocks * LANES <= FEW_WEIGHTS;
        let (inputs, outputs) = (w.inputs, w.out_blocks * LANES);
        let work = Work { points: w.points(), taps: w.depth, inputs, outputs, batch: y.batch, depth, tiles };
        let parts = parts(&work, few);
        let shape = BlockedVolume { data: Vec::new(), ..*y };
        let to = Shared::of(&mut y.data);
        if parts[0].shared {
            let mut room = Room::default();
            parts.iter().for_each(|part| self.part(*part, &shape, to, &mut room));
        } else {
            let run = |room: &mut Room, part: &Part| self.part(*part, &shape, to, room);
            parts.par_iter().for_each_init(Room::default, run);
        }
    }

    fn part(&self, part: Part, shape: &BlockedVolume, to: Shared, room: &mut Room) {
        let (w, depth) = (self.weights, shape.size[0]);
        let (rows, width) = (part.volumes() * part.tiles(), w.out_blocks * LANES);
        // Sixteen numbers more per point: else all points fall into the same set of a cache.
        let v_point = rows * (part.slabs + w.depth - 1) * w.inputs + LANES;
        let m_point = rows * part.slabs * width + LANES;
        room.v.resize((w.points() * v_point).max(room.v.len()), 0.0);
        room.m.resize((w.points() * m_point).max(room.m.len()), 0.0);
        let (v, m) = (Shared::of(&mut room.v), Shared::of(&mut room.m));
        for z0 in (0..depth).step_by(part.slabs) {
            let step =
                Step { run: self, part, shape, z0, z1: (z0 + part.slabs).min(depth), v, v_point, m, m_point };
            step.inputs();
            step.products();
            step.outputs(to);
        }
    }
}

/// Memory for transformed tiles and sums.
#[derive(Default)]
struct Room {
    v: Vec<f32>,
    m: Vec<f32>,
}

/// Planes `z0..z1` of the output of a part.
struct Step<'a> {
    run: &'a Run<'a>,
    part: Part,
    shape: &'a BlockedVolume,
    z0: usize,
    z1: usize,
    /// \[points, volumes, slabs + taps - 1, tiles, inputs\]
    v: Shared,
    v_point: usize,
    /// \[points, volumes, slabs, tiles, outputs\]
    m: Shared,
    m_point: usize,
}

impl Step<'_> {
    /// Numbers of one plane of transformed input.
    fn v_slab(&self) -> usize {
        self.part.tiles() * self.run.weights.inputs
    }

    /// Planes of input beyond those of the output.
    fn halo(&self) -> usize {
        self.run.weights.depth - 1
    }

    /// Transforms the planes that the step before did not; its last ones are moved to the front.
    fn inputs(&self) {
        let (run, part, slab) = (self.run, self.part, self.v_slab());
        let points = run.weights.points();
        let halo = self.halo();
        let kept = if self.z0 == 0 { 0 } else { halo };
        if kept > 0 {
            each(part.shared, points * part.volumes(), |i| {
                let (p, n) = (i % points, i / points);
                let to = self.v.at(p * self.v_point + n * (part.slabs + halo) * slab);
                // SAFETY: planes of this point and volume belong to this task; both ranges lie inside the buffer.
                unsafe { std::ptr::copy(to.wrapping_add(part.slabs * slab), to, halo * slab) };
            });
        }
        let (new, blocks) = (self.z1 - self.z0 + halo - kept, run.x.blocks());
        let across = run.tiles(self.shape.size).1;
        each(part.shared, part.volumes() * new * blocks, |i| {
            let (block, s, n) = (i % blocks, kept + i / blocks % new, i / blocks / new);
            let Some(z) = (self.z0 + s).checked_sub(run.padding[0]).filter(|z| *z < run.x.size[0]) else {
                return;
            };
            let row = run.x.row_stride();
            let corner = run.x.plane(part.n0 + n, block, z) - run.padding[1] * row - run.padding[2] * LANES;
            let tiles = Tiles {
                m: run.weights.m,
                across,
                first: part.t0,
                end: part.t1,
                volume: run.x.data[corner..].as_ptr(),
                row,
                points: self.v.at((n * (part.slabs + halo) + s) * slab + block * LANES),
                point_stride: self.v_point,
                tile_stride: run.weights.inputs,
                height: 0,
                width: 0,
            };
            // SAFETY: the border of a volume holds whole tiles (see `BlockedVolume`); this plane and block of the
            // buffer belong to this task alone.
            unsafe { transform_input(run.isa, &tiles) };
        });
    }

    /// Multiplies with the weights; the depth taps add up.
    fn products(&self) {
        let (run, part, w) = (self.run, self.part, self.run.weights);
        let (tiles, width) = (part.tiles(), w.out_blocks * LANES);
        each(part.shared, w.points() * w.groups(), |i| {
            let (p, group) = (i / w.groups(), i % w.groups());
            let b_row = w.group_blocks(group) * LANES;
            for n in 0..part.volumes() {
                let v = p * self.v_point + n * (part.slabs + self.halo()) * self.v_slab();
                let m = p * self.m_point + n * part.slabs * tiles * width + group * GROUP * LANES;
                let mut z = self.z0;
                while z < self.z1 {
                    let taps = self.taps(z);
                    let end = (z + 1..self.z1).find(|z| self.taps(*z) != taps).unwrap_or(self.z1);
                    let offsets = [0, 1, 2].map(|t| (t * self.v_slab(), t * w.inputs * b_row));
                    let job = Product {
                        a: self.v.at(v + (z - self.z0) * self.v_slab()),
                        a_row: w.inputs,
                        a_step: 1,
                        b: w.data[w.at(p, group)..].as_ptr(),
                        b_row,
                        parts: &offsets[taps.0..taps.1],
                        depth: w.inputs,
                        rows: (end - z) * tiles,
                        blocks: w.group_blocks(group),
                        c: self.m.at(m + (z - self.z0) * tiles * width),
                        c_row: width,
                        c_block: LANES,
                        bias: std::ptr::null(),
                        addend: std::ptr::null(),
                        relu: false,
                    };
                    // SAFETY: rows of the planes z..end and their neighbours in depth lie inside the buffers; the
                    // sums of this point and group belong to this task alone.
                    unsafe { product(run.isa, &job) };
                    z = end;
                }
            }
        });
    }

    /// The depth taps of output plane `z` that meet the volume.
    fn taps(&self, z: usize) -> (usize, usize) {
        let (padding, depth) = (self.run.padding[0], self.run.x.size[0]);
        (padding.saturating_sub(z), (depth + padding - z).min(self.run.weights.depth))
    }

    /// Transforms the sums back.
    fn outputs(&self, to: Shared) {
        let (run, part, shape) = (self.run, self.part, self.shape);
        let (w, planes) = (run.weights, self.z1 - self.z0);
        let width = w.out_blocks * LANES;
        each(part.shared, part.volumes() * planes * w.out_blocks, |i| {
            let (block, z, n) = (i % w.out_blocks, i / w.out_blocks % planes, i / w.out_blocks / planes);
            let plane = shape.plane(part.n0 + n, block, self.z0 + z);
            let null = std::ptr::null();
            let finish = Finish {
                bias: run.extra.bias.map_or(null, |b| b[block * LANES..][..LANES].as_ptr()),
                residual: run.extra.residual.map_or(null, |r| r.data[plane..].as_ptr()),
                relu: run.extra.relu,
            };
            let tiles = Tiles {
                m: w.m,
                across: run.tiles(shape.size).1,
                first: part.t0,
                end: part.t1,
                volume: to.at(plane),
                row: shape.row_stride(),
                points: self.m.at((n * part.slabs + z) * part.tiles() * width + block * LANES),
                point_stride: self.m_point,
                tile_stride: width,
                height: shape.size[1],
                width: shape.size[2],
            };
            // SAFETY: these tiles of this plane and block belong to this task alone.
            unsafe { transform_output(run.isa, &tiles, &finish) };
        });
    }
}

//! Weights in the order in which the products read them.
#![allow(unsafe_code)]
// An index here names a row or column of a tile, in several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::lanes::{Isa, LANES, for_each_isa};
use super::transform::{G2, G4};
use super::volume::Shared;
use rayon::prelude::*;

/// Blocks of output channels that one product computes.
pub(super) const GROUP: usize = 4;

/// Where weight `(out, in, tap)` of a kernel of `depth` 3x3 planes lies in \[out, in, 9 depth\], or, for the gradient of
/// the input, in the transposed and flipped kernel.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub outputs: usize,
    pub inputs: usize,
    /// 1 or 3.
    pub depth: usize,
    pub flipped: bool,
}

impl Source {
    #[inline(always)]
    fn at(&self, out: usize, input: usize, tap: usize) -> usize {
        match self.flipped {
            false => (out * self.inputs + input) * 9 * self.depth + tap,
            true => ((input * self.outputs + out) + 1) * 9 * self.depth - 1 - tap,
        }
    }
}

/// Transformed weights \[points, groups of four blocks of outputs, depth taps, padded inputs, outputs of the group\].
#[derive(Debug)]
pub(super) struct Weights {
    pub m: usize,
    /// Depth taps.
    pub depth: usize,
    pub inputs: usize,
    pub out_blocks: usize,
    pub data: Vec<f32>,
}

impl Weights {
    /// `G g G^T` of every 3x3 plane, in f64, rounded once.
    pub(super) fn new(isa: Isa, m: usize, weight: &[f32], source: Source) -> Self {
        let (inputs, out_blocks) = (source.inputs.next_multiple_of(LANES), source.outputs.div_ceil(LANES));
        let (points, depth) = ((m + 2) * (m + 2), source.depth);
        let data = vec![0.0; points * depth * inputs * out_blocks * LANES];
        let mut out = Weights { m, depth, inputs, out_blocks, data };
        let data = Shared::of(&mut out.data);
        (0..out_blocks * source.inputs).into_par_iter().with_min_len(16).for_each(|i| {
            let (block, input) = (i / source.inputs, i % source.inputs);
            let group = block / GROUP;
            let width = out.group_blocks(group) * LANES;
            let job = Job {
                m,
                weight,
                source,
                block,
                input,
                to: data.at(group * GROUP * LANES * depth * inputs + input * width + block % GROUP * LANES),
                tap_stride: inputs * width,
                point_stride: depth * inputs * out_blocks * LANES,
            };
            // SAFETY: this block of outputs at this input belongs to this task alone.
            unsafe { transform_weights(isa, &job) };
        });
        out
    }

    pub(super) fn points(&self) -> usize {
        (self.m + 2) * (self.m + 2)
    }

    pub(super) fn groups(&self) -> usize {
        self.out_blocks.div_ceil(GROUP)
    }

    pub(super) fn group_blocks(&self, group: usize) -> usize {
        GROUP.min(self.out_blocks - group * GROUP)
    }

    /// Where the weights of a point and a group start.
    pub(super) fn at(&self, point: usize, group: usize) -> usize {
        self.depth * self.inputs * LANES * (point * self.out_blocks + group * GROUP)
    }
}

/// One block of outputs at one input.
pub(super) struct Job<'a> {
    m: usize,
    weight: &'a [f32],
    source: Source,
    block: usize,
    input: usize,
    to: *mut f32,
    tap_stride: usize,
    point_stride: usize,
}

// `V` only selects the instructions that the function is compiled for.
// SAFETY: called with room for all points of a block at `to`.
#[allow(clippy::extra_unused_type_parameters)]
#[inline(always)]
unsafe fn transform<V>(job: &Job) {
    let n = job.m + 2;
    let first = job.block * LANES;
    let count = LANES.min(job.source.outputs - first);
    for kd in 0..job.source.depth {
        let mut g = [[[0f64; LANES]; 3]; 3];
        for o in 0..count {
            for y in 0..3 {
                for x in 0..3 {
                    let at = job.source.at(first + o, job.input, (kd * 3 + y) * 3 + x);
                    g[y][x][o] = f64::from(job.weight[at]);
                }
            }
        }
        for a in 0..n {
            let row = if job.m == 2 { G2[a] } else { G4[a] };
            let half: [[f64; LANES]; 3] = std::array::from_fn(|x| {
                std::array::from_fn(|o| row[0] * g[0][x][o] + row[1] * g[1][x][o] + row[2] * g[2][x][o])
            });
            for b in 0..n {
                let column = if job.m == 2 { G2[b] } else { G4[b] };
                let to = job.to.wrapping_add((a * n + b) * job.point_stride + kd * job.tap_stride);
                let values: [f32; LANES] = std::array::from_fn(|o| {
                    (column[0] * half[0][o] + column[1] * half[1][o] + column[2] * half[2][o]) as f32
                });
                // SAFETY: sixteen outputs of one point, tap and input, which the caller gave to this job alone.
                unsafe { to.cast::<[f32; LANES]>().write(values) };
            }
        }
    }
}

for_each_isa! {
    /// Writes all points of a job.
    ///
    /// # Safety
    /// The places of the job must be writable by this thread alone; `isa` must be what the processor has.
    transform_weights = transform(job: &Job)
}

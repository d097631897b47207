//! 3x3x3 and 1x3x3 convolutions with Winograd's minimal filtering in the plane, and direct kernels on the same layout.
//!
//! `F(4x4, 3x3)` needs 36 products per channel pair, depth tap and 16 outputs where the definition needs 144,
//! `F(2x2, 3x3)` 16 where it needs 36; the three depth taps are summed among the transformed tiles.
//!
//! # Error
//! The transforms multiply and cancel, so rounding grows with the tile. Measured against f64 on 64 channels of numbers
//! of size 1, relative to the largest output: matrix products in f32 6e-7, tiles of 2 6e-7, tiles of 4 1.2e-5;
//! `tests.rs` holds the tiles to 2e-6 and 3e-5 over all shapes there, the gradients too, except that the weight's
//! with tiles of 2 is held to 1e-5: it is a sum over the whole volume.
//!
//! # Reference
//! Lavin and Gray 2016, "Fast algorithms for convolutional neural networks".

mod choice;
mod conv;
mod direct;
mod forward;
mod gradient;
mod lanes;
mod pool;
mod product;
mod spare;
mod transform;
mod volume;
mod weights;

pub use conv::BlockedConv3d;
pub use spare::SpareVolumes;
pub use volume::BlockedVolume;

pub(super) use choice::{fastest_among_tensors, same_size, winograd_fits};
pub(super) use volume::with_values;

use super::config::Geometry;
use forward::{Extra, Run};
use lanes::{Isa, LANES};
use weights::{Source, Weights};

/// A bias with zeros up to a multiple of sixteen.
fn padded_bias(bias: &[f32]) -> Vec<f32> {
    let mut padded = bias.to_vec();
    padded.resize(bias.len().next_multiple_of(LANES), 0.0);
    padded
}

/// The convolution among values in the order \[batch, channels, D, H, W\] with tiles of `m`.
pub(super) fn forward(g: &Geometry, m: usize, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let source = Source { outputs: g.co, inputs: g.ci, depth: g.kernel[0], flipped: false };
    run(g, m, x, weight, source, bias)
}

/// The gradient of the input; the output must be as large as the input ([`same_size`]).
pub(super) fn input_gradient(g: &Geometry, m: usize, weight: &[f32], dy: &[f32]) -> Vec<f32> {
    let dy = BlockedVolume::from_values(dy, g.batch, g.co, g.output);
    blocked_input_gradient(g, m, weight, &dy)
}

fn blocked_input_gradient(g: &Geometry, m: usize, weight: &[f32], dy: &BlockedVolume) -> Vec<f32> {
    let back = Geometry { ci: g.co, co: g.ci, input: g.output, output: g.input, ..*g };
    let source = Source { outputs: g.ci, inputs: g.co, depth: g.kernel[0], flipped: true };
    run_blocked(&back, m, dy, weight, source, None)
}

/// The gradients of input and weight, for which `dy` is brought into the kernels' layout once; as there.
pub(super) fn gradients(
    g: &Geometry,
    m: usize,
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let dy = BlockedVolume::from_values(dy, g.batch, g.co, g.output);
    let dx = blocked_input_gradient(g, m, weight, &dy);
    let x = BlockedVolume::from_values(x, g.batch, g.ci, g.input);
    (dx, gradient::weight_gradient(Isa::detect(), m, &x, &dy, g.kernel[0], g.padding))
}

fn run(g: &Geometry, m: usize, x: &[f32], weight: &[f32], source: Source, bias: Option<&[f32]>) -> Vec<f32> {
    let x = BlockedVolume::from_values(x, g.batch, g.ci, g.input);
    run_blocked(g, m, &x, weight, source, bias)
}

fn run_blocked(
    g: &Geometry,
    m: usize,
    x: &BlockedVolume,
    weight: &[f32],
    source: Source,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let isa = Isa::detect();
    let weights = Weights::new(isa, m, weight, source);
    let bias = bias.map(padded_bias);
    let extra = Extra { bias: bias.as_deref(), residual: None, relu: false };
    let mut y = BlockedVolume::zeros(g.batch, g.co, g.output);
    Run { isa, x, weights: &weights, padding: g.padding, extra }.write(&mut y);
    y.to_values()
}

/// The gradient of the weight.
pub(super) fn weight_gradient(g: &Geometry, m: usize, x: &[f32], dy: &[f32]) -> Vec<f32> {
    let x = BlockedVolume::from_values(x, g.batch, g.ci, g.input);
    let dy = BlockedVolume::from_values(dy, g.batch, g.co, g.output);
    gradient::weight_gradient(Isa::detect(), m, &x, &dy, g.kernel[0], g.padding)
}

#[cfg(test)]
mod tests;

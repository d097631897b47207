//! Grids at an angle: every target voxel gathers its neighbours.

use super::ResampleOptions;
use super::separable::coefficients;
use super::spline::{OUTSIDE, Taps, taps};
use crate::volume::Volume;
use crate::voxel::Voxel;
use nalgebra::Matrix4;
use rayon::prelude::*;

/// `map` takes a target index to a source index.
pub(super) fn resample<T: Voxel>(
    volume: &Volume<T>,
    target_shape: [usize; 3],
    map: &Matrix4<f64>,
    options: &ResampleOptions,
) -> Vec<T> {
    let [nx, ny, _] = target_shape;
    let position = |offset: usize| {
        let (x, rest) = ((offset % nx) as f64, offset / nx);
        let (y, z) = ((rest % ny) as f64, (rest / ny) as f64);
        let at = |r: usize| map[(r, 3)] + map[(r, 0)] * x + map[(r, 1)] * y + map[(r, 2)] * z;
        [at(0), at(1), at(2)]
    };
    at_positions(volume, target_shape.iter().product(), position, options)
}

/// The volume at `count` source indices.
pub(super) fn at_positions<T: Voxel>(
    volume: &Volume<T>,
    count: usize,
    position: impl Fn(usize) -> [f64; 3] + Sync,
    options: &ResampleOptions,
) -> Vec<T> {
    if options.filters() {
        let (data, shape) = coefficients(volume, options);
        sample(|offset| data[offset], volume.shape(), shape, count, position, options)
    } else {
        let read = |offset: usize| volume.as_slice()[offset].to_f64();
        sample(read, volume.shape(), volume.shape(), count, position, options)
    }
}

/// Samples stored values of shape `stored` (the source's, padded or not) that belong to a source of shape `shape`.
fn sample<T: Voxel>(
    read: impl Fn(usize) -> f64 + Sync,
    shape: [usize; 3],
    stored: [usize; 3],
    count: usize,
    position: impl Fn(usize) -> [f64; 3] + Sync,
    options: &ResampleOptions,
) -> Vec<T> {
    /// Positions that one task computes.
    const BLOCK: usize = 256;
    let outside = T::from_f64(options.border.outside_value());
    let constant = options.border.outside_value();
    let width = options.interpolation.order() + 1;
    let mut out = vec![outside; count];
    out.par_chunks_mut(BLOCK).enumerate().for_each(|(block, values)| {
        for (i, value) in values.iter_mut().enumerate() {
            let at = position(block * BLOCK + i);
            let axis = |r: usize| taps(at[r], shape[r], options);
            if let (Some(a), Some(b), Some(c)) = (axis(0), axis(1), axis(2)) {
                *value = T::from_f64(weigh(&read, stored, width, constant, &[a, b, c]));
            }
        }
    });
    out
}

fn weigh(
    read: &impl Fn(usize) -> f64,
    stored: [usize; 3],
    width: usize,
    constant: f64,
    taps: &[Taps; 3],
) -> f64 {
    let [a, b, c] = taps;
    let mut sum = 0.0;
    for k in 0..width {
        for j in 0..width {
            let line: f64 = if b.index[j] == OUTSIDE || c.index[k] == OUTSIDE {
                constant
            } else {
                let row = stored[0] * (b.index[j] + stored[1] * c.index[k]);
                let value = |i: usize| if i == OUTSIDE { constant } else { read(row + i) };
                (0..width).map(|i| a.weight[i] * value(a.index[i])).sum()
            };
            sum += line * b.weight[j] * c.weight[k];
        }
    }
    sum
}

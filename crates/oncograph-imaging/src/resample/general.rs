//! Grids at an angle: every target voxel gathers its neighbours.

use super::separable::coefficients;
use super::spline::{Taps, taps, width};
use super::{Interpolation, ResampleOptions};
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
    if options.interpolation == Interpolation::Cubic {
        let (data, shape) = coefficients(volume, options);
        sample(|offset| data[offset], volume.shape(), shape, target_shape, map, options)
    } else {
        let read = |offset: usize| volume.as_slice()[offset].to_f64();
        sample(read, volume.shape(), volume.shape(), target_shape, map, options)
    }
}

/// Samples stored values of shape `stored` (the source's, padded or not) that belong to a source of shape `shape`.
fn sample<T: Voxel>(
    read: impl Fn(usize) -> f64 + Sync,
    shape: [usize; 3],
    stored: [usize; 3],
    target_shape: [usize; 3],
    map: &Matrix4<f64>,
    options: &ResampleOptions,
) -> Vec<T> {
    let [nx, ny, _] = target_shape;
    let outside = T::from_f64(options.border.outside_value());
    let width = width(options.interpolation);
    let mut out = vec![outside; target_shape.iter().product()];
    out.par_chunks_mut(nx).enumerate().for_each(|(row, line)| {
        let (y, z) = ((row % ny) as f64, (row / ny) as f64);
        for (x, value) in line.iter_mut().enumerate() {
            let at = |r: usize| map[(r, 0)] * x as f64 + map[(r, 1)] * y + map[(r, 2)] * z + map[(r, 3)];
            let axis = |r: usize| taps(at(r), shape[r], options.interpolation, options.border);
            if let (Some(a), Some(b), Some(c)) = (axis(0), axis(1), axis(2)) {
                *value = T::from_f64(weigh(&read, stored, width, &[a, b, c]));
            }
        }
    });
    out
}

fn weigh(read: &impl Fn(usize) -> f64, stored: [usize; 3], width: usize, taps: &[Taps; 3]) -> f64 {
    let [a, b, c] = taps;
    let mut sum = 0.0;
    for k in 0..width {
        for j in 0..width {
            let row = stored[0] * (b.index[j] + stored[1] * c.index[k]);
            let line: f64 = (0..width).map(|i| a.weight[i] * read(row + a.index[i])).sum();
            sum += line * b.weight[j] * c.weight[k];
        }
    }
    sum
}

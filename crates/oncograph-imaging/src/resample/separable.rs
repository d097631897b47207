//! Grids with parallel axes: one axis after the other.

use super::spline::{OUTSIDE, Taps, padding, prefilter, taps};
use super::{AxisMap, Border, Interpolation, ResampleOptions};
use crate::lines::{LANES, LineKernel, along};
use crate::volume::Volume;
use crate::voxel::Voxel;
use rayon::prelude::*;

pub(super) fn resample<T: Voxel>(
    volume: &Volume<T>,
    target_shape: [usize; 3],
    axes: &[AxisMap; 3],
    options: &ResampleOptions,
) -> Vec<T> {
    let source_shape = volume.shape();
    let tables: [Vec<Option<Taps>>; 3] = std::array::from_fn(|axis| {
        let map = axes[axis];
        let count = target_shape[map.target_axis];
        let at = |i| map.at(i);
        (0..count).map(|i| taps(at(i), source_shape[axis], options)).collect()
    });
    let outside = T::from_f64(options.border.outside_value());
    if options.interpolation == Interpolation::Nearest {
        return gather(target_shape, axes, &tables, outside, source_shape, |offset| {
            volume.as_slice()[offset]
        });
    }
    let (data, shape) = interpolate(volume, &tables, options);
    // The interpolated block still has the source's axis order; this pass permutes, fills and converts.
    let plain: [Vec<Option<Taps>>; 3] = std::array::from_fn(|axis| {
        let own = |(i, t): (usize, &Option<Taps>)| t.map(|_| Taps::own(i));
        tables[axis].iter().enumerate().map(own).collect()
    });
    match &data {
        Some(data) => gather(target_shape, axes, &plain, outside, shape, |offset| T::from_f64(data[offset])),
        None => gather(target_shape, axes, &tables, outside, shape, |offset| volume.as_slice()[offset]),
    }
}

/// Reads one source element for each target voxel.
pub(super) fn gather<T: Voxel>(
    target_shape: [usize; 3],
    axes: &[AxisMap; 3],
    tables: &[Vec<Option<Taps>>; 3],
    outside: T,
    shape: [usize; 3],
    read: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let strides = [1, shape[0], shape[0] * shape[1]];
    // For each target axis the element offset of each of its positions.
    let mut offsets: [Vec<Option<usize>>; 3] = Default::default();
    for (axis, map) in axes.iter().enumerate() {
        offsets[map.target_axis] =
            tables[axis].iter().map(|t| t.map(|t| t.index[0] * strides[axis])).collect();
    }
    let [nx, ny, _] = target_shape;
    let mut out = vec![outside; target_shape.iter().product()];
    out.par_chunks_mut(nx).enumerate().for_each(|(row, line)| {
        if let (Some(y), Some(z)) = (offsets[1][row % ny], offsets[2][row / ny]) {
            for (value, x) in line.iter_mut().zip(&offsets[0]) {
                if let Some(x) = x {
                    *value = read(x + y + z);
                }
            }
        }
    });
    out
}

/// Interpolates along each axis that needs it, the one that shrinks most first. `None`: no axis needed it.
fn interpolate<T: Voxel>(
    volume: &Volume<T>,
    tables: &[Vec<Option<Taps>>; 3],
    options: &ResampleOptions,
) -> (Option<Vec<f64>>, [usize; 3]) {
    let mut shape = volume.shape();
    let mut order: Vec<usize> = (0..3).collect();
    let growth = |axis: usize| tables[axis].len() as f64 / volume.shape()[axis] as f64;
    order.sort_by(|&a, &b| growth(a).total_cmp(&growth(b)));
    // An axis whose samples all lie on voxel centres only selects; but once one axis is interpolated, the plain
    // gather at the end expects every axis in target positions.
    if (0..3).all(|axis| on_centres(&tables[axis], options)) {
        return (None, shape);
    }
    let mut data: Option<Vec<f64>> = None;
    for axis in order {
        let exact = on_centres(&tables[axis], options);
        let next = match &data {
            None => pass(volume.as_slice(), shape, axis, &tables[axis], exact, options),
            Some(data) => pass(data, shape, axis, &tables[axis], exact, options),
        };
        data = Some(next);
        shape[axis] = tables[axis].len();
    }
    (data, shape)
}

/// Whether every sample is a voxel's own value, so that neither filter nor weights are needed.
///
/// Linear taps then have weight 1 at the first index, cubic ones need the index at the second place: they are
/// reported as exact for linear only, cubic lines on centres are filtered as any other.
fn on_centres(table: &[Option<Taps>], options: &ResampleOptions) -> bool {
    options.interpolation == Interpolation::Linear
        && table.iter().flatten().all(|t| t.weight[0] == 1.0 && t.index[0] != OUTSIDE)
}

/// Interpolates along one axis; positions outside become 0 and are filled by the caller.
fn pass<S: Voxel>(
    data: &[S],
    shape: [usize; 3],
    axis: usize,
    table: &[Option<Taps>],
    exact: bool,
    options: &ResampleOptions,
) -> Vec<f64> {
    along(data, shape, axis, &Line { n: shape[axis], table, exact, options })
}

/// What all lines along one axis share.
struct Line<'a> {
    n: usize,
    table: &'a [Option<Taps>],
    exact: bool,
    options: &'a ResampleOptions,
}

impl<S: Voxel> LineKernel<S, f64> for Line<'_> {
    type Scratch = Vec<f64>;

    fn outputs(&self) -> usize {
        self.table.len()
    }

    fn run(
        &self,
        lanes: usize,
        buffer: &mut Vec<f64>,
        read: impl Fn(usize, usize) -> S,
        mut write: impl FnMut(usize, usize, f64),
    ) {
        let pad = padding(self.options);
        let n = self.n + 2 * pad;
        buffer.clear();
        buffer.resize(n * LANES, 0.0);
        for (i, row) in buffer.chunks_exact_mut(LANES).enumerate() {
            match source(i, pad, self.n, self.options.border) {
                Some(i) => {
                    row.iter_mut().enumerate().take(lanes).for_each(|(lane, v)| *v = read(i, lane).to_f64())
                }
                None => row.fill(self.options.border.outside_value()),
            }
        }
        if self.options.filters() {
            prefilter(buffer, n, LANES, self.options);
        }
        let width = if self.exact { 1 } else { self.options.interpolation.order() + 1 };
        for (i, taps) in self.table.iter().enumerate() {
            let mut sum = [0.0; LANES];
            if let Some(taps) = taps {
                for k in 0..width {
                    let weight = taps.weight[k];
                    if taps.index[k] == OUTSIDE {
                        let value = self.options.border.outside_value();
                        sum.iter_mut().for_each(|s| *s += weight * value);
                        continue;
                    }
                    let row = &buffer[taps.index[k] * LANES..(taps.index[k] + 1) * LANES];
                    sum.iter_mut().zip(row).for_each(|(s, v)| *s += weight * v);
                }
            }
            // A single sample is its own coefficient: the taps all name it and their weights sum to one.
            sum.iter().enumerate().take(lanes).for_each(|(lane, v)| write(i, lane, *v));
        }
    }
}

/// Sample `i` of a padded line in the line itself, or `None` for the constant value.
fn source(i: usize, pad: usize, n: usize, border: Border) -> Option<usize> {
    let inside = i >= pad && i < pad + n;
    (inside || !matches!(border, Border::GridConstant(_))).then(|| i.saturating_sub(pad).min(n - 1))
}

/// The samples of a volume as spline coefficients: the filter alone, without a pad.
pub(super) fn filtered<T: Voxel>(volume: &Volume<T>, options: &ResampleOptions) -> Vec<f64> {
    coefficients(volume, options).0
}

/// The spline coefficients of a whole volume (padded where the border requires it) and their shape.
pub(super) fn coefficients<T: Voxel>(
    volume: &Volume<T>,
    options: &ResampleOptions,
) -> (Vec<f64>, [usize; 3]) {
    let pad = padding(options);
    let mut shape = volume.shape();
    let mut data: Option<Vec<f64>> = None;
    for axis in 0..3 {
        let own = |i| Some(Taps::own(i));
        let table: Vec<Option<Taps>> = (0..shape[axis] + 2 * pad).map(own).collect();
        let next = match &data {
            None => pass(volume.as_slice(), shape, axis, &table, true, options),
            Some(data) => pass(data, shape, axis, &table, true, options),
        };
        data = Some(next);
        shape[axis] += 2 * pad;
    }
    (data.unwrap_or_default(), shape)
}

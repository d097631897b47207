//! Grids with parallel axes: one axis after the other.

use super::spline::{Taps, padding, prefilter, taps, width};
use super::{AxisMap, Interpolation, ResampleOptions};
use crate::volume::Volume;
use crate::voxel::Voxel;
use rayon::prelude::*;

/// Signals that are filtered side by side: enough for the processor's vector units, few enough to stay in cache.
const LANES: usize = 16;

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
        let at = |i| map.offset + map.step * i as f64;
        (0..count).map(|i| taps(at(i), source_shape[axis], options.interpolation, options.border)).collect()
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
        let own = |(i, t): (usize, &Option<Taps>)| {
            t.map(|_| Taps { index: [i, 0, 0, 0], weight: [1.0, 0.0, 0.0, 0.0] })
        };
        tables[axis].iter().enumerate().map(own).collect()
    });
    match &data {
        Some(data) => gather(target_shape, axes, &plain, outside, shape, |offset| T::from_f64(data[offset])),
        None => gather(target_shape, axes, &tables, outside, shape, |offset| volume.as_slice()[offset]),
    }
}

/// Reads one source element for each target voxel.
fn gather<T: Voxel>(
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
    options.interpolation == Interpolation::Linear && table.iter().flatten().all(|t| t.weight[0] == 1.0)
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
    let n = shape[axis];
    let inner: usize = shape[..axis].iter().product();
    let outer: usize = shape[axis + 1..].iter().product();
    let line = Line { n, inner, table, exact, options };
    let m = table.len();
    let mut out = vec![0.0; inner * m * outer];
    if axis == 0 {
        // Lines are contiguous: 16 of them are read transposed.
        out.par_chunks_mut(m * LANES).zip(data.par_chunks(n * LANES)).for_each_init(
            Vec::new,
            |buffer, (out, data)| {
                let lanes = data.len() / n;
                line.run(lanes, buffer, |i, lane| data[lane * n + i], |i, lane, v| out[lane * m + i] = v);
            },
        );
    } else if outer > 1 {
        out.par_chunks_mut(m * inner).zip(data.par_chunks(n * inner)).for_each_init(
            Vec::new,
            |buffer, (out, data)| {
                for first in (0..inner).step_by(LANES) {
                    let lanes = LANES.min(inner - first);
                    let read = |i: usize, lane: usize| data[i * inner + first + lane];
                    line.run(lanes, buffer, read, |i, lane, v| out[i * inner + first + lane] = v);
                }
            },
        );
    } else {
        // One slab: columns are computed in blocks, then laid out slice by slice, both in parallel.
        let width = LANES * 8;
        let blocks: Vec<Vec<f64>> = (0..inner.div_ceil(width))
            .into_par_iter()
            .map_init(Vec::new, |buffer, block| {
                let (start, end) = (block * width, inner.min((block + 1) * width));
                let mut columns = vec![0.0; m * (end - start)];
                for first in (start..end).step_by(LANES) {
                    let lanes = LANES.min(end - first);
                    let read = |i: usize, lane: usize| data[i * inner + first + lane];
                    let at = |i: usize, lane: usize| i * (end - start) + first - start + lane;
                    line.run(lanes, buffer, read, |i, lane, v| columns[at(i, lane)] = v);
                }
                columns
            })
            .collect();
        out.par_chunks_mut(inner).enumerate().for_each(|(i, slice)| {
            for (part, block) in slice.chunks_mut(width).zip(&blocks) {
                part.copy_from_slice(&block[i * part.len()..(i + 1) * part.len()]);
            }
        });
    }
    out
}

/// What all lines along one axis share.
struct Line<'a> {
    n: usize,
    inner: usize,
    table: &'a [Option<Taps>],
    exact: bool,
    options: &'a ResampleOptions,
}

impl Line<'_> {
    /// Filters and samples `lanes` signals side by side.
    fn run<S: Voxel>(
        &self,
        lanes: usize,
        buffer: &mut Vec<f64>,
        read: impl Fn(usize, usize) -> S,
        mut write: impl FnMut(usize, usize, f64),
    ) {
        debug_assert!(self.inner > 0 && lanes <= LANES);
        let pad = padding(self.options.interpolation, self.options.border);
        let n = self.n + 2 * pad;
        buffer.clear();
        buffer.resize(n * LANES, 0.0);
        for (i, row) in buffer.chunks_exact_mut(LANES).enumerate() {
            let i = i.saturating_sub(pad).min(self.n - 1);
            row.iter_mut().enumerate().take(lanes).for_each(|(lane, v)| *v = read(i, lane).to_f64());
        }
        let cubic = self.options.interpolation == Interpolation::Cubic;
        if cubic {
            prefilter(buffer, n, LANES, self.options.border);
        }
        let width = if self.exact { 1 } else { width(self.options.interpolation) };
        for (i, taps) in self.table.iter().enumerate() {
            let Some(taps) = taps else { continue };
            let mut sum = [0.0; LANES];
            for k in 0..width {
                let row = &buffer[taps.index[k] * LANES..(taps.index[k] + 1) * LANES];
                let weight = taps.weight[k];
                sum.iter_mut().zip(row).for_each(|(s, v)| *s += weight * v);
            }
            // A single sample is its own coefficient: the four taps all name it and their weights sum to one.
            sum.iter().enumerate().take(lanes).for_each(|(lane, v)| write(i, lane, *v));
        }
    }
}

/// The cubic coefficients of a whole volume (padded where the border asks for it) and their shape.
pub(super) fn coefficients<T: Voxel>(
    volume: &Volume<T>,
    options: &ResampleOptions,
) -> (Vec<f64>, [usize; 3]) {
    let pad = padding(options.interpolation, options.border);
    let mut shape = volume.shape();
    let mut data: Option<Vec<f64>> = None;
    for axis in 0..3 {
        let own = |i| Some(Taps { index: [i, 0, 0, 0], weight: [1.0, 0.0, 0.0, 0.0] });
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

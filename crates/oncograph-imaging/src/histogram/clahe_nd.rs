//! Contrast-limited adaptive histogram equalisation in three dimensions.

use crate::error::{Error, Result};
use crate::volume::Volume;
use crate::voxel::Voxel;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Grey levels that the volume is rounded to.
const LEVELS: usize = 1 << 14;

/// How [`clahe_nd`] equalises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct ClaheNdOptions {
    /// Voxels of a tile along x, y, z; default an eighth of the volume, at least 1.
    pub kernel: Option<[usize; 3]>,
    /// Largest bin of a tile's histogram as a fraction of the tile's voxels. Default 0.01; 0 means no limit.
    pub clip_limit: f64,
    /// Number of bins. Default 256.
    pub bins: usize,
}

impl Default for ClaheNdOptions {
    fn default() -> Self {
        Self { kernel: None, clip_limit: 0.01, bins: 256 }
    }
}

impl ClaheNdOptions {
    /// An eighth of the volume, limit 0.01, 256 bins.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the voxels of a tile along x, y, z.
    pub fn kernel(mut self, kernel: [usize; 3]) -> Self {
        self.kernel = Some(kernel);
        self
    }

    /// Sets the limit as a fraction of a tile's voxels; 0 means none.
    pub fn clip_limit(mut self, limit: f64) -> Self {
        self.clip_limit = limit;
        self
    }

    /// Sets the number of bins.
    pub fn bins(mut self, bins: usize) -> Self {
        self.bins = bins;
        self
    }

    /// Checks the options.
    ///
    /// # Errors
    /// A tile of size 0, fewer than 2 or more than 16384 bins, a limit that is negative or not finite.
    pub fn validate(&self) -> Result<()> {
        let fail = |argument, expected, got| Err(Error::argument("clahe_nd", argument, expected, got));
        if let Some(kernel) = self.kernel.filter(|k| k.contains(&0)) {
            return fail("kernel", "at least 1 along each axis", format!("{kernel:?}"));
        }
        if !(2..=LEVELS).contains(&self.bins) {
            return fail("bins", "2 to 16384", self.bins.to_string());
        }
        if !(self.clip_limit.is_finite() && self.clip_limit >= 0.0) {
            return fail("clip_limit", "0 or more", self.clip_limit.to_string());
        }
        Ok(())
    }
}

/// Equalises the volume tile by tile in three dimensions; values from 0 to 1 in, 0 to 1 out.
///
/// The volume is stretched to 16384 levels, extended by mirroring to whole tiles with half a tile around, and each
/// tile's clipped histogram maps levels to levels; a voxel takes the trilinear mean of the maps of the eight nearest
/// tile centres. The result is stretched to [0, 1]. [`clahe`](crate::clahe()) is the two-dimensional operation with
/// OpenCV's definition of the limit.
///
/// # Errors
/// Options out of range, a voxel that is not between 0 and 1, an axis too short to mirror to whole tiles.
///
/// # Example
/// ```
/// use oncograph_imaging::{ClaheNdOptions, Frame, Grid, Volume, clahe_nd};
///
/// let grid = Grid::axis_aligned([16, 16, 8], [1.0; 3], [0.0; 3])?;
/// let dull = Volume::from_fn(grid, Frame::default(), |[i, j, k]| 0.4 + 0.001 * ((i + j + k) % 16) as f32);
/// let out = clahe_nd(&dull, &ClaheNdOptions::new().kernel([8, 8, 4]))?;
/// assert_eq!(out.as_slice().iter().fold(0.0_f32, |m, v| m.max(*v)), 1.0);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `skimage.exposure.equalize_adapthist`.
pub fn clahe_nd(volume: &Volume<f32>, options: &ClaheNdOptions) -> Result<Volume<f32>> {
    options.validate()?;
    let shape = volume.shape();
    let kernel = options.kernel.unwrap_or(shape.map(|n| (n / 8).max(1)));
    let levels = levels(volume)?;
    let bin = 1 + LEVELS / options.bins;
    let bins = levels.iter().map(|l| (l / bin) as u16).collect::<Vec<_>>();
    let tiles = Tiles::new(&bins, shape, kernel, options)?;
    let [nx, ny, _] = shape;
    let mut mapped = vec![0_u16; bins.len()];
    mapped.par_chunks_mut(nx).enumerate().for_each(|(row, out)| {
        let (y, z) = (tiles.place(1, row % ny), tiles.place(2, row / ny));
        for (x, value) in out.iter_mut().enumerate() {
            *value = tiles.level(&[tiles.place(0, x), y, z], bins[row * nx + x] as usize);
        }
    });
    let (low, high) = mapped.iter().fold((u16::MAX, 0), |(l, h), v| (l.min(*v), h.max(*v)));
    // A flat result stays as it is, clamped.
    let stretch = |v: &u16| match high - low {
        0 => f32::from(*v).min(1.0),
        range => (f32::from(*v) - f32::from(low)) / f32::from(range),
    };
    Volume::new(volume.grid().clone(), volume.frame().clone(), mapped.iter().map(stretch).collect())
}

/// The voxels as levels: rounded to 16 bits, then stretched.
fn levels(volume: &Volume<f32>) -> Result<Vec<usize>> {
    volume.require_finite("clahe_nd")?;
    if let Some(value) = volume.as_slice().iter().find(|v| !(-1.0..=1.0).contains(*v)) {
        return Err(Error::argument("clahe_nd", "voxels", "between 0 and 1", value));
    }
    let wide = |v: &f32| (v * 65535.0).round_ties_even().max(0.0).to_f64();
    let wide: Vec<f64> = volume.as_slice().iter().map(wide).collect();
    let (low, high) = wide.iter().fold((f64::INFINITY, 0.0_f64), |(l, h), v| (l.min(*v), h.max(*v)));
    let top = (LEVELS - 1) as f64;
    let level = |v: &f64| {
        let scaled = if high > low { (v - low) / (high - low) * top } else { v.min(top) };
        scaled.round_ties_even() as usize
    };
    Ok(wide.iter().map(level).collect())
}

/// The grey-level maps of all tiles, the outermost repeated once on each side.
struct Tiles {
    kernel: [usize; 3],
    /// Tiles along each axis.
    count: [usize; 3],
    bins: usize,
    maps: Vec<u16>,
}

/// The two tiles around a voxel along one axis and the second one's weight.
#[derive(Clone, Copy)]
struct Place {
    tiles: [usize; 2],
    weight: f64,
}

impl Tiles {
    fn new(bins: &[u16], shape: [usize; 3], kernel: [usize; 3], options: &ClaheNdOptions) -> Result<Self> {
        let count: [usize; 3] = std::array::from_fn(|a| shape[a].div_ceil(kernel[a]));
        if let Some(a) = (0..3).find(|&a| shape[a] == 1 && kernel[a] > 1) {
            return Err(Error::argument("clahe_nd", "kernel", "1 along an axis of one voxel", kernel[a]));
        }
        let size: usize = kernel.iter().product();
        let limit = if options.clip_limit > 0.0 {
            ((options.clip_limit * size as f64) as i64).max(1)
        } else {
            size as i64
        };
        let scale = (LEVELS - 1) as f64 / size as f64;
        let tile = |number: usize| {
            let (x, rest) = (number % count[0], number / count[0]);
            let corner = [x * kernel[0], rest % count[1] * kernel[1], rest / count[1] * kernel[2]];
            let mut histogram = vec![0_i64; options.bins];
            for z in corner[2]..corner[2] + kernel[2] {
                for y in corner[1]..corner[1] + kernel[1] {
                    let row = shape[0] * (mirrored(y, shape[1]) + shape[1] * mirrored(z, shape[2]));
                    for x in corner[0]..corner[0] + kernel[0] {
                        histogram[bins[row + mirrored(x, shape[0])] as usize] += 1;
                    }
                }
            }
            clip(&mut histogram, limit);
            let mut sum = 0;
            let map = histogram.into_iter().map(|n| {
                sum += n;
                (sum as f64 * scale).min((LEVELS - 1) as f64) as u16
            });
            map.collect::<Vec<_>>()
        };
        let maps: Vec<Vec<u16>> = (0..count.iter().product()).into_par_iter().map(tile).collect();
        Ok(Self { kernel, count, bins: options.bins, maps: maps.concat() })
    }

    fn place(&self, axis: usize, i: usize) -> Place {
        let k = self.kernel[axis];
        // Counted from half a tile before the first voxel, where the tile before the first begins.
        let (tile, within) = ((i + k / 2) / k, (i + k / 2) % k);
        let last = self.count[axis] - 1;
        Place { tiles: [tile.saturating_sub(1).min(last), tile.min(last)], weight: within as f64 / k as f64 }
    }

    fn level(&self, place: &[Place; 3], bin: usize) -> u16 {
        let mut sum = 0.0_f32;
        for corner in 0..8_usize {
            // Summed in single precision with z slowest, the peer's order: the result is cut to a whole level.
            let pick = |a: usize| corner >> a & 1;
            let weight = |a: usize| if pick(a) == 1 { place[a].weight } else { 1.0 - place[a].weight };
            let tile = |a: usize| place[a].tiles[pick(a)];
            let number = tile(0) + self.count[0] * (tile(1) + self.count[1] * tile(2));
            let share = weight(0) * weight(1) * weight(2);
            sum += (f64::from(self.maps[number * self.bins + bin]) * share) as f32;
        }
        sum as u16
    }
}

/// Index of a voxel of the extended axis: mirrored at the last voxel, which is not repeated.
fn mirrored(i: usize, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let i = i % (2 * n - 2);
    if i < n { i } else { 2 * n - 2 - i }
}

/// Cuts the histogram at `limit` and spreads what was cut over all bins below it, evenly first, then over every n-th
/// bin until none is left or all are full.
fn clip(histogram: &mut [i64], limit: i64) {
    let bins = histogram.len() as i64;
    let mut excess: i64 = histogram.iter().map(|n| (n - limit).max(0)).sum();
    let share = excess / bins;
    let nearly = limit - share;
    for n in histogram.iter_mut() {
        *n = (*n).min(limit);
        if *n < nearly {
            *n += share;
            excess -= share;
        }
        // Bins that are almost full by then are filled.
        if *n >= nearly {
            excess -= limit - *n;
            *n = limit;
        }
    }
    while excess > 0 {
        let before = excess;
        for first in 0..histogram.len() {
            let room = histogram.iter().filter(|n| **n < limit).count() as i64;
            let stride = (room / excess).max(1) as usize;
            for n in histogram[first..].iter_mut().step_by(stride).filter(|n| **n < limit) {
                *n += 1;
                excess -= 1;
            }
            if excess <= 0 {
                break;
            }
        }
        if excess == before {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Grid};

    #[test]
    fn clipping_keeps_the_count_where_there_is_room() {
        let mut histogram = vec![40, 0, 1, 2, 0, 17, 0, 0];
        clip(&mut histogram, 12);
        assert!(histogram.iter().all(|n| *n <= 12));
        assert_eq!(histogram.iter().sum::<i64>(), 60);
    }

    #[test]
    fn one_tile_without_a_limit_is_the_cumulative_histogram() {
        let grid = Grid::axis_aligned([4, 2, 1], [1.0; 3], [0.0; 3]).unwrap();
        let volume =
            Volume::new(grid, Frame::default(), vec![0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 1.0]).unwrap();
        let options = ClaheNdOptions::new().kernel([4, 2, 1]).clip_limit(0.0);
        let out = clahe_nd(&volume, &options).unwrap();
        for (i, v) in out.as_slice().iter().enumerate() {
            assert!((v - i as f32 / 7.0).abs() < 1e-3, "{i} {v}");
        }
        assert!(clahe_nd(&volume, &ClaheNdOptions::new().kernel([4, 2, 2])).is_err());
        assert!(clahe_nd(&volume.map(|v| v * 2.0), &options).is_err());
    }
}

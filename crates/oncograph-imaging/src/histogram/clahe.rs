//! Contrast-limited adaptive histogram equalisation of slices.

use crate::error::{Error, Result};
use crate::volume::Volume;
use crate::voxel::Voxel;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How [`clahe`] equalises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClaheOptions {
    /// Number of tiles along x and y. Default 8 x 8.
    pub tiles: [usize; 2],
    /// Largest bin of a tile's histogram, in multiples of its mean bin. Default 2; 0 means no limit.
    pub clip_limit: f64,
    /// Number of grey levels. Default 256.
    pub bins: usize,
}

impl Default for ClaheOptions {
    fn default() -> Self {
        Self { tiles: [8, 8], clip_limit: 2.0, bins: 256 }
    }
}

impl ClaheOptions {
    /// 8 x 8 tiles, limit 2, 256 levels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of tiles along x and y.
    pub fn tiles(mut self, tiles: [usize; 2]) -> Self {
        self.tiles = tiles;
        self
    }

    /// Sets the limit in multiples of the mean bin; 0 means none.
    pub fn clip_limit(mut self, limit: f64) -> Self {
        self.clip_limit = limit;
        self
    }

    /// Sets the number of grey levels.
    pub fn bins(mut self, bins: usize) -> Self {
        self.bins = bins;
        self
    }

    /// Checks the options.
    ///
    /// # Errors
    /// No tiles, fewer than 2 or more than 65536 levels, a negative limit.
    pub fn validate(&self) -> Result<()> {
        let fail = |argument, expected, got| Err(Error::argument("clahe", argument, expected, got));
        if self.tiles.iter().any(|&t| t == 0 || t > 4096) {
            return fail("tiles", "1 to 4096 along each axis", format!("{:?}", self.tiles));
        }
        if !(2..=1 << 16).contains(&self.bins) {
            return fail("bins", "2 to 65536", self.bins.to_string());
        }
        if !(self.clip_limit.is_finite() && self.clip_limit >= 0.0) {
            return fail("clip_limit", "0 or more", self.clip_limit.to_string());
        }
        Ok(())
    }
}

/// Equalises every axial slice on its own; input and output in [0, 1].
///
/// Values are put into `bins` grey levels (`round(v * (bins - 1))`, clamped). The slice is extended by mirroring
/// (without repeating the edge) to a whole number of equal tiles. Each tile's histogram is cut at
/// `max(1, floor(clip_limit * tile pixels / bins))`, the excess spread evenly and the remainder over every n-th bin;
/// its cumulative sum maps levels to levels. A pixel takes the bilinear mean of the maps of the four nearest tile
/// centres, rounded to a level.
///
/// This is OpenCV's semantics (`cv::createCLAHE(2.0, (8, 8))` on 8-bit images), not scikit-image's, whose limit is a
/// fraction of the tile's pixels and which rescales the image's range first.
///
/// # Errors
/// Options out of range, or a voxel that is not finite.
///
/// # Example
/// ```
/// use oncograph_imaging::{ClaheOptions, Frame, Grid, Volume, clahe};
///
/// let grid = Grid::axis_aligned([64, 64, 2], [1.0; 3], [0.0; 3])?;
/// let flat = Volume::from_fn(grid, Frame::default(), |[i, j, _]| 0.4 + 0.001 * ((i + j) % 16) as f32);
/// let out = clahe(&flat, &ClaheOptions::new().clip_limit(8.0))?;
/// let spread = |v: &Volume<f32>| v.as_slice().iter().fold(0.0_f32, |m, x| m.max((x - v.as_slice()[0]).abs()));
/// assert!(spread(&out) > 2.0 * spread(&flat));
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV (1994).
pub fn clahe(volume: &Volume<f32>, options: &ClaheOptions) -> Result<Volume<f32>> {
    options.validate()?;
    volume.require_finite("clahe")?;
    let [nx, ny, _] = volume.shape();
    let top = (options.bins - 1) as f64;
    let mut data = vec![0.0_f32; volume.grid().len()];
    data.par_chunks_mut(nx * ny).zip(volume.as_slice().par_chunks(nx * ny)).for_each(|(out, slice)| {
        let levels: Vec<usize> =
            slice.iter().map(|v| (v.to_f64().clamp(0.0, 1.0) * top).round() as usize).collect();
        let tiles = Tiles::new(&levels, [nx, ny], options);
        let (columns, rows) = (tiles.neighbours(0, nx), tiles.neighbours(1, ny));
        for (j, row) in out.chunks_exact_mut(nx).enumerate() {
            for (i, value) in row.iter_mut().enumerate() {
                let level = tiles.level(&columns[i], &rows[j], levels[j * nx + i]);
                *value = (level / top) as f32;
            }
        }
    });
    Volume::new(volume.grid().clone(), volume.frame().clone(), data)
}

/// The grey-level maps of all tiles of a slice.
struct Tiles {
    count: [usize; 2],
    size: [usize; 2],
    bins: usize,
    /// `maps[(tile_y * tiles_x + tile_x) * bins + level]`, already scaled to 0 ..= bins - 1.
    maps: Vec<f64>,
}

/// The two tiles on each side of a pixel along one axis and the second one's weight.
struct Neighbours {
    first: usize,
    second: usize,
    weight: f64,
}

impl Tiles {
    fn new(levels: &[usize], shape: [usize; 2], options: &ClaheOptions) -> Self {
        let count = options.tiles;
        let size: [usize; 2] = std::array::from_fn(|a| shape[a].div_ceil(count[a]));
        let area = size[0] * size[1];
        let limit = if options.clip_limit > 0.0 {
            ((options.clip_limit * area as f64 / options.bins as f64) as usize).max(1)
        } else {
            area
        };
        let mut maps = Vec::with_capacity(count[0] * count[1] * options.bins);
        let mut histogram = vec![0_usize; options.bins];
        for ty in 0..count[1] {
            for tx in 0..count[0] {
                histogram.fill(0);
                for j in ty * size[1]..(ty + 1) * size[1] {
                    let row = mirrored(j, shape[1]) * shape[0];
                    for i in tx * size[0]..(tx + 1) * size[0] {
                        histogram[levels[row + mirrored(i, shape[0])]] += 1;
                    }
                }
                clip(&mut histogram, limit);
                let mut sum = 0;
                let scale = (options.bins - 1) as f64 / area as f64;
                maps.extend(histogram.iter().map(|n| {
                    sum += n;
                    (sum as f64 * scale).round_ties_even()
                }));
            }
        }
        Self { count, size, bins: options.bins, maps }
    }

    fn neighbours(&self, axis: usize, n: usize) -> Vec<Neighbours> {
        let last = self.count[axis] as i64 - 1;
        let place = |i: usize| {
            let at = i as f64 / self.size[axis] as f64 - 0.5;
            let first = at.floor();
            let tile = |t: i64| t.clamp(0, last) as usize;
            Neighbours { first: tile(first as i64), second: tile(first as i64 + 1), weight: at - first }
        };
        (0..n).map(place).collect()
    }

    fn level(&self, x: &Neighbours, y: &Neighbours, level: usize) -> f64 {
        let map = |ty: usize, tx: usize| self.maps[(ty * self.count[0] + tx) * self.bins + level];
        let row = |ty: usize| map(ty, x.first) * (1.0 - x.weight) + map(ty, x.second) * x.weight;
        (row(y.first) * (1.0 - y.weight) + row(y.second) * y.weight).round_ties_even()
    }
}

/// Index of a pixel of the extended slice: mirrored at the last pixel, which is not repeated.
fn mirrored(i: usize, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let i = i % (2 * n - 2);
    if i < n { i } else { 2 * n - 2 - i }
}

/// Cuts the bins at `limit` and spreads the excess.
fn clip(histogram: &mut [usize], limit: usize) {
    let bins = histogram.len();
    let excess: usize = histogram.iter().map(|n| n.saturating_sub(limit)).sum();
    let each = excess / bins;
    histogram.iter_mut().for_each(|n| *n = (*n).min(limit) + each);
    let rest = excess - each * bins;
    if let Some(step) = bins.checked_div(rest) {
        histogram.iter_mut().step_by(step.max(1)).take(rest).for_each(|n| *n += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Grid};

    fn slice(shape: [usize; 2], f: impl Fn(usize, usize) -> f32) -> Volume<f32> {
        let grid = Grid::axis_aligned([shape[0], shape[1], 1], [1.0; 3], [0.0; 3]).unwrap();
        Volume::from_fn(grid, Frame::default(), |[i, j, _]| f(i, j))
    }

    #[test]
    fn one_tile_without_limit_is_histogram_equalisation() {
        // Four levels, one pixel each: level n maps to round(255 * n / 4).
        let volume = slice([2, 2], |i, j| (i + 2 * j) as f32 / 3.0);
        let options = ClaheOptions::new().tiles([1, 1]).clip_limit(0.0);
        let out = clahe(&volume, &options).unwrap();
        let levels: Vec<f32> = out.as_slice().iter().map(|v| (v * 255.0).round()).collect();
        assert_eq!(levels, [64.0, 128.0, 191.0, 255.0]);
    }

    #[test]
    fn the_excess_is_spread_over_the_bins() {
        let mut histogram = vec![10, 0, 0, 1, 0];
        clip(&mut histogram, 3);
        // Excess 7: one to each bin, the remaining two to every second bin.
        assert_eq!(histogram, [5, 1, 2, 2, 1]);
        assert_eq!(histogram.iter().sum::<usize>(), 11);
    }

    #[test]
    fn mirroring_does_not_repeat_the_edge() {
        let indices: Vec<usize> = (0..8).map(|i| mirrored(i, 4)).collect();
        assert_eq!(indices, [0, 1, 2, 3, 2, 1, 0, 1]);
    }

    #[test]
    fn order_is_kept_slices_are_independent_and_results_stay_in_range() {
        let grid = Grid::axis_aligned([37, 29, 3], [1.0; 3], [0.0; 3]).unwrap();
        let volume = Volume::from_fn(grid, Frame::default(), |[i, j, k]| {
            ((i * i + 3 * j + 11 * k) % 97) as f32 / 96.0
        });
        let out = clahe(&volume, &ClaheOptions::new()).unwrap();
        assert!(out.as_slice().iter().all(|v| (0.0..=1.0).contains(v)));
        let size = 37 * 29;
        let one = Grid::axis_aligned([37, 29, 1], [1.0; 3], [0.0; 3]).unwrap();
        let alone = Volume::new(one, Frame::default(), volume.as_slice()[size..2 * size].to_vec()).unwrap();
        let alone = clahe(&alone, &ClaheOptions::new()).unwrap();
        assert_eq!(alone.as_slice(), &out.as_slice()[size..2 * size]);
        // One tile: the map is monotone.
        let single = clahe(&alone, &ClaheOptions::new().tiles([1, 1])).unwrap();
        for (a, x) in alone.as_slice().iter().zip(single.as_slice()) {
            for (b, y) in alone.as_slice().iter().zip(single.as_slice()).take(40) {
                assert!(a >= b || x <= y);
            }
        }
    }

    #[test]
    fn bad_options_and_nan_are_refused() {
        let volume = slice([4, 4], |_, _| f32::NAN);
        assert!(clahe(&volume, &ClaheOptions::new()).unwrap_err().to_string().contains("16 voxels"));
        assert!(ClaheOptions::new().tiles([0, 8]).validate().is_err());
        assert!(ClaheOptions::new().bins(1).validate().is_err());
        assert!(ClaheOptions::new().clip_limit(-1.0).validate().is_err());
    }
}

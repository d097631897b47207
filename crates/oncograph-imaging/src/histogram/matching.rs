use super::distinct::Distinct;
use super::interpolate;
use crate::error::{Error, Result};
use crate::volume::{Mask, Volume};
use crate::voxel::Voxel;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The volume with the distribution of values of `reference`.
///
/// A value is replaced by the one of the reference that as large a share of voxels does not exceed; between the
/// reference's values linearly. With masks only their voxels are counted, and voxels outside the volume's mask stay
/// as they are. The volumes need not have one grid.
///
/// # Errors
/// An empty mask or one on another grid, a voxel that is not finite.
///
/// # Example
/// ```
/// use oncograph_imaging::{Frame, Grid, Volume, match_histogram};
///
/// let grid = Grid::axis_aligned([3, 1, 1], [1.0; 3], [0.0; 3])?;
/// let of = |v: [f64; 3]| Volume::new(grid.clone(), Frame::default(), v.to_vec());
/// let out = match_histogram(&of([5.0, 1.0, 2.0])?, None, &of([10.0, 20.0, 30.0])?, None)?;
/// assert_eq!(out.as_slice(), &[30.0, 10.0, 20.0]);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `skimage.exposure.match_histograms`, which has no masks.
pub fn match_histogram<T: Voxel, R: Voxel>(
    volume: &Volume<T>,
    mask: Option<&Mask>,
    reference: &Volume<R>,
    reference_mask: Option<&Mask>,
) -> Result<Volume<f64>> {
    let operation = "match_histogram";
    let (own, target) = rayon::join(
        || Distinct::new(operation, volume, mask),
        || Distinct::new(operation, reference, reference_mask),
    );
    let (own, target) = (own?, target?);
    let shares = target.shares();
    let images: Vec<f64> = own.shares().iter().map(|p| interpolate(*p, &shares, &target.values)).collect();
    mapped(volume, mask, |v| images[own.place(v)])
}

/// The volume with `image` applied to its foreground.
pub(super) fn mapped<T: Voxel>(
    volume: &Volume<T>,
    mask: Option<&Mask>,
    image: impl Fn(f64) -> f64 + Sync,
) -> Result<Volume<f64>> {
    let data = volume.as_slice().par_iter().with_min_len(CHUNK);
    let data: Vec<f64> = match mask {
        None => data.map(|v| image(v.to_f64())).collect(),
        Some(mask) => {
            let one = |(v, m): (&T, &u8)| if *m != 0 { image(v.to_f64()) } else { v.to_f64() };
            data.zip(mask.as_slice()).map(one).collect()
        }
    };
    Volume::new(volume.grid().clone(), volume.frame().clone(), data)
}

/// Voxels of a task; fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1 << 16;

/// How [`match_quantiles`] matches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct MatchOptions {
    /// Bins of the histograms. Default 256.
    pub levels: usize,
    /// Quantiles that are matched, besides the ends. Default 1 (the median).
    pub match_points: usize,
    /// Leave out values below the mean (of each volume), which in most scans are background. Default yes.
    pub threshold_at_mean: bool,
}

impl Default for MatchOptions {
    fn default() -> Self {
        Self { levels: 256, match_points: 1, threshold_at_mean: true }
    }
}

impl MatchOptions {
    /// 256 bins, one quantile, above the mean.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the bins of the histograms.
    pub fn levels(mut self, levels: usize) -> Self {
        self.levels = levels;
        self
    }

    /// Sets the quantiles that are matched, besides the ends.
    pub fn match_points(mut self, points: usize) -> Self {
        self.match_points = points;
        self
    }

    /// Sets whether values below the mean are left out.
    pub fn threshold_at_mean(mut self, on: bool) -> Self {
        self.threshold_at_mean = on;
        self
    }

    /// Checks that the histograms have bins.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        if self.levels == 0 {
            return Err(Error::argument("match_quantiles", "levels", "at least 1", 0));
        }
        Ok(())
    }
}

/// The volume mapped so that some quantiles of its histogram fall on those of `reference`: piecewise linear between
/// them and beyond the last one.
///
/// Quantiles are read from histograms of `levels` bins above the threshold, linear within a bin, the first of which
/// reaches down to the volume's minimum. Beyond the first and
/// last landmark the map goes on towards the volumes' own extremes.
///
/// # Errors
/// No bins, volumes that are empty above their threshold or not finite.
///
/// # Reference
/// `SimpleITK.HistogramMatching`.
pub fn match_quantiles<T: Voxel, R: Voxel>(
    volume: &Volume<T>,
    reference: &Volume<R>,
    options: &MatchOptions,
) -> Result<Volume<f64>> {
    options.validate()?;
    let from = Landmarks::new(volume, options)?;
    let to = Landmarks::new(reference, options)?;
    let last = from.quantiles.len() - 1;
    let slope = |dx: f64, dy: f64| if dx != 0.0 { dy / dx } else { 0.0 };
    let below = slope(from.quantiles[0] - from.low, to.quantiles[0] - to.low);
    let above = slope(from.quantiles[last] - from.high, to.quantiles[last] - to.high);
    let image = |v: f64| {
        // Landmarks in the first bin may lie below the threshold, so the list need not be sorted: the peer takes the
        // first one above the value.
        let j = from.quantiles.iter().position(|q| v < *q).unwrap_or(last + 1);
        if j == 0 {
            to.low + (v - from.low) * below
        } else if j > last {
            to.high + (v - from.high) * above
        } else {
            let gradient =
                slope(from.quantiles[j] - from.quantiles[j - 1], to.quantiles[j] - to.quantiles[j - 1]);
            to.quantiles[j - 1] + (v - from.quantiles[j - 1]) * gradient
        }
    };
    mapped(volume, None, image)
}

/// What is matched of one volume.
struct Landmarks {
    low: f64,
    high: f64,
    /// From the threshold to the maximum.
    quantiles: Vec<f64>,
}

impl Landmarks {
    fn new<T: Voxel>(volume: &Volume<T>, options: &MatchOptions) -> Result<Self> {
        volume.require_finite("match_quantiles")?;
        let of_chunk = |chunk: &[T]| {
            chunk
                .iter()
                .map(|v| v.to_f64())
                .fold((f64::INFINITY, f64::NEG_INFINITY, 0.0), |(low, high, sum): (f64, f64, f64), v| {
                    (low.min(v), high.max(v), sum + v)
                })
        };
        let chunks: Vec<_> = volume.as_slice().par_chunks(CHUNK).map(of_chunk).collect();
        let join = |(l, h, s): (f64, f64, f64), c: (f64, f64, f64)| (l.min(c.0), h.max(c.1), s + c.2);
        let (low, high, sum) = chunks.into_iter().fold((f64::INFINITY, f64::NEG_INFINITY, 0.0), join);
        let mean = sum / volume.as_slice().len() as f64;
        let threshold = if options.threshold_at_mean { mean } else { low };
        let points = options.match_points + 1;
        let histogram = Histogram::new(volume.as_slice(), low, threshold, high, options.levels);
        let mut quantiles = vec![threshold];
        quantiles.extend((1..points).map(|j| histogram.quantile(j as f64 / points as f64)));
        quantiles.push(high);
        Ok(Self { low, high, quantiles })
    }
}

/// Counts in equal bins from `start`.
struct Histogram {
    low: f64,
    start: f64,
    width: f64,
    counts: Vec<f64>,
}

impl Histogram {
    fn new<T: Voxel>(values: &[T], low: f64, start: f64, end: f64, bins: usize) -> Self {
        let width = (end - start) / bins as f64;
        let of_chunk = |chunk: &[T]| {
            let mut counts = vec![0_u32; bins];
            for v in chunk.iter().map(|v| v.to_f64()).filter(|v| *v >= start && *v <= end) {
                let bin = if width > 0.0 { ((v - start) / width) as usize } else { 0 };
                counts[bin.min(bins - 1)] += 1;
            }
            counts
        };
        let mut counts = vec![0.0; bins];
        let chunks: Vec<Vec<u32>> = values.par_chunks(CHUNK.max(bins)).map(of_chunk).collect();
        for chunk in chunks {
            counts.iter_mut().zip(chunk).for_each(|(sum, n)| *sum += f64::from(n));
        }
        Self { low, start, width, counts }
    }

    /// Linear within a bin.
    fn quantile(&self, p: f64) -> f64 {
        let total: f64 = self.counts.iter().sum();
        let edge = |i: usize| self.start + i as f64 * self.width;
        let mut before = 0.0;
        for (i, count) in self.counts.iter().enumerate() {
            if before + count >= p * total && *count > 0.0 {
                // The first bin reaches down to the volume's own minimum, in the peer as well.
                let lower = if i == 0 { self.low } else { edge(i) };
                return lower + (p * total - before) / count * (edge(i + 1) - lower);
            }
            before += count;
        }
        edge(self.counts.len())
    }
}

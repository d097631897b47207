use super::{interpolate, quantile, sorted};
use crate::error::{Error, Result};
use crate::volume::{Mask, Volume};
use crate::voxel::Voxel;

/// Replaces every voxel by the share of (foreground) voxels up to its bin, so that values spread evenly over [0, 1].
///
/// The cumulative histogram of `bins` equal bins between the smallest and the largest voxel is interpolated between
/// the bins' middles.
///
/// # Errors
/// No bins, an empty mask or one on another grid, a voxel that is not finite.
///
/// # Example
/// ```
/// use oncograph_imaging::{Frame, Grid, Volume, equalize_histogram};
///
/// let grid = Grid::axis_aligned([4, 1, 1], [1.0; 3], [0.0; 3])?;
/// let skewed = Volume::new(grid, Frame::default(), vec![0.0_f64, 0.01, 0.02, 1.0])?;
/// let out = equalize_histogram(&skewed, 256, None)?;
/// assert!(out.as_slice()[2] > 0.6 && out.as_slice()[3] == 1.0);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `skimage.exposure.equalize_hist`.
pub fn equalize_histogram<T: Voxel>(
    volume: &Volume<T>,
    bins: usize,
    mask: Option<&Mask>,
) -> Result<Volume<f64>> {
    let operation = "equalize_histogram";
    if bins == 0 {
        return Err(Error::argument(operation, "bins", "at least 1", "0"));
    }
    let values = sorted(operation, volume, mask)?;
    let (mut low, mut high) = (values[0], values[values.len() - 1]);
    if low == high {
        (low, high) = (low - 0.5, high + 0.5);
    }
    let width = (high - low) / bins as f64;
    let edges: Vec<f64> = (0..=bins).map(|i| if i == bins { high } else { low + i as f64 * width }).collect();
    let total = values.len() as f64;
    // The last bin holds its upper edge.
    let upto = |i: usize| match i {
        i if i == bins => values.len(),
        i => values.partition_point(|v| *v < edges[i]),
    };
    let share: Vec<f64> = (1..=bins).map(|i| upto(i) as f64 / total).collect();
    let middles: Vec<f64> = edges.windows(2).map(|w| (w[0] + w[1]) / 2.0).collect();
    Ok(volume.map(|v| interpolate(v.to_f64(), &middles, &share)))
}

/// Maps `[from.0, from.1]` linearly to `[to.0, to.1]`, clamping what lies outside.
///
/// # Errors
/// Limits that are not finite or not in ascending order.
///
/// # Reference
/// `skimage.exposure.rescale_intensity`.
pub fn rescale_intensity<T: Voxel>(
    volume: &Volume<T>,
    from: (f64, f64),
    to: (f64, f64),
) -> Result<Volume<f64>> {
    let finite = [from.0, from.1, to.0, to.1].iter().all(|v| v.is_finite());
    if !(finite && from.0 < from.1 && to.0 <= to.1) {
        return Err(Error::argument(
            "rescale_intensity",
            "from and to",
            "finite and ascending",
            format!("{from:?} and {to:?}"),
        ));
    }
    let scale = |v: T| (v.to_f64().clamp(from.0, from.1) - from.0) / (from.1 - from.0);
    Ok(volume.map(|v| scale(v) * (to.1 - to.0) + to.0))
}

/// The value below which `percent` of the (foreground) voxels lie, linear between voxels.
///
/// # Errors
/// A percentage outside 0 to 100, an empty mask or one on another grid, a voxel that is not finite.
///
/// # Reference
/// `numpy.percentile`.
pub fn percentile<T: Voxel>(volume: &Volume<T>, percent: f64, mask: Option<&Mask>) -> Result<f64> {
    if !(0.0..=100.0).contains(&percent) {
        return Err(Error::argument("percentile", "percent", "0 to 100", percent));
    }
    Ok(quantile(&sorted("percentile", volume, mask)?, percent / 100.0))
}

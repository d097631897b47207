//! Intensity windows.

use crate::error::{Error, Result};
use crate::volume::Volume;
use crate::voxel::Voxel;

/// Maps `[low, high]` linearly to [0, 1] and clamps what lies outside: `(v - low) / (high - low)`.
///
/// A CT window with centre c and width w is `low = c - w / 2`, `high = c + w / 2`. NaN stays NaN.
///
/// # Units
/// `low` and `high` in the volume's own units (HU for CT).
///
/// # Errors
/// Limits that are not finite or not in ascending order.
///
/// # Example
/// ```
/// use oncograph_imaging::{Frame, Grid, Volume, window};
///
/// let grid = Grid::axis_aligned([4, 1, 1], [1.0; 3], [0.0; 3])?;
/// let ct = Volume::new(grid, Frame::default(), vec![-1000_i16, -100, 25, 300])?;
/// assert_eq!(window(&ct, -100.0, 150.0)?.as_slice(), &[0.0, 0.0, 0.5, 1.0]);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
pub fn window<T: Voxel>(volume: &Volume<T>, low: f64, high: f64) -> Result<Volume<f32>> {
    if !(low.is_finite() && high.is_finite() && low < high) {
        return Err(Error::argument(
            "window",
            "low and high",
            "finite and low < high",
            format!("{low} and {high}"),
        ));
    }
    Ok(volume.map(|v| ((v.to_f64() - low) / (high - low)).clamp(0.0, 1.0) as f32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Grid};

    #[test]
    fn limits_are_checked() {
        let volume =
            Volume::filled(Grid::axis_aligned([1; 3], [1.0; 3], [0.0; 3]).unwrap(), Frame::default(), 0_i16);
        for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert!(window(&volume, low, high).is_err());
        }
    }
}

//! Scaling by a factor, as scipy counts coordinates.

use super::{AxisMap, ResampleOptions, separable};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::volume::Volume;
use crate::voxel::Voxel;
use nalgebra::Matrix4;
use serde::{Deserialize, Serialize};

/// How [`zoom`] places and interpolates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ZoomOptions {
    /// Interpolation and border.
    pub resample: ResampleOptions,
    /// Off (default): the centres of the outermost voxels stay where they are. On: the outer faces do, as in
    /// [`resize`](crate::resize()).
    pub grid_mode: bool,
}

impl ZoomOptions {
    /// Outermost centres kept.
    pub fn new(resample: ResampleOptions) -> Self {
        Self { resample, grid_mode: false }
    }

    /// Sets whether the faces are kept rather than the centres.
    pub fn grid_mode(mut self, on: bool) -> Self {
        self.grid_mode = on;
        self
    }

    /// Checks the interpolation's options.
    ///
    /// # Errors
    /// As [`ResampleOptions::validate`].
    pub fn validate(&self) -> Result<()> {
        self.resample.validate()
    }
}

/// The volume with `round(size * factor)` voxels along x, y, z; halves round to even.
///
/// Coordinates are computed as scipy computes them, rounding errors included: with `Border::Constant` and without
/// `grid_mode` the last voxel along an axis may by such an error lie outside and take the constant. Prefer
/// [`resize`](crate::resize()) where this is not wanted.
///
/// # Errors
/// A factor that is not positive or leaves no voxel; an outside value that is not finite.
///
/// # Example
/// ```
/// use oncograph_imaging::{Border, Frame, Grid, Interpolation, ResampleOptions, Volume, ZoomOptions, zoom};
///
/// let grid = Grid::axis_aligned([3, 1, 1], [1.0; 3], [0.0; 3])?;
/// let line = Volume::new(grid, Frame::default(), vec![1.0_f64, 2.0, 4.0])?;
/// let linear = ResampleOptions::new(Interpolation::Linear).border(Border::Nearest);
/// let out = zoom(&line, [5.0 / 3.0, 1.0, 1.0], &ZoomOptions::new(linear))?;
/// assert_eq!(out.as_slice(), &[1.0, 1.5, 2.0, 3.0, 4.0]);
/// assert_eq!(out.grid().spacing()[0], 0.5);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `scipy.ndimage.zoom`.
pub fn zoom<T: Voxel>(volume: &Volume<T>, factor: [f64; 3], options: &ZoomOptions) -> Result<Volume<T>> {
    options.validate()?;
    let resample = options.resample.exact_coordinates(true);
    if factor.iter().any(|f| !(f.is_finite() && *f > 0.0)) {
        return Err(Error::argument("zoom", "factor", "positive along each axis", format!("{factor:?}")));
    }
    let old = volume.shape();
    let shape: [usize; 3] = std::array::from_fn(|a| (old[a] as f64 * factor[a]).round_ties_even() as usize);
    let axes: [AxisMap; 3] = std::array::from_fn(|axis| {
        let (n, m) = (old[axis] as f64, shape[axis] as f64);
        let (step, half) = if options.grid_mode {
            (n / m, 0.5)
        } else if shape[axis] == 1 {
            (1.0, 0.0)
        } else {
            ((n - 1.0) / (m - 1.0), 0.0)
        };
        AxisMap { target_axis: axis, step, shift: half, offset: -half }
    });
    // An axis of one voxel that stays one, or a single sample of many, still needs a step for the grid.
    let mut map = Matrix4::identity();
    for (axis, placed) in axes.iter().enumerate() {
        map[(axis, axis)] = if placed.step == 0.0 { 1.0 } else { placed.step };
        map[(axis, 3)] = placed.at(0);
    }
    let grid = Grid::new(shape, volume.grid().affine() * map)?;
    let data = separable::resample(volume, shape, &axes, &resample);
    Volume::new(grid, volume.frame().clone(), data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Border, Frame, Interpolation, resize};

    #[test]
    fn grid_mode_is_resize_and_the_corners_stay_without_it() {
        let grid = Grid::axis_aligned([5, 4, 3], [1.0, 2.0, 3.0], [1.0; 3]).unwrap();
        let volume =
            Volume::from_fn(grid, Frame::default(), |[i, j, k]| ((3 * i + 5 * j + 7 * k) % 11) as f64);
        let options = ZoomOptions::new(ResampleOptions::new(Interpolation::Cubic).border(Border::Nearest));
        let faces = zoom(&volume, [2.0, 1.5, 1.0], &options.grid_mode(true)).unwrap();
        let resized = resize(&volume, [10, 6, 3], Interpolation::Cubic).unwrap();
        for (a, b) in faces.as_slice().iter().zip(resized.as_slice()) {
            assert!((a - b).abs() < 1e-12);
        }
        let corners = zoom(&volume, [2.0, 1.5, 1.0], &options).unwrap();
        assert!((corners.get([9, 5, 2]).unwrap() - volume.get([4, 3, 2]).unwrap()).abs() < 1e-6);
        assert_eq!(corners.grid().origin(), volume.grid().origin());
        assert!(zoom(&volume, [0.0, 1.0, 1.0], &options).is_err());
        assert!(zoom(&volume, [0.05, 1.0, 1.0], &options).is_err());
    }
}

//! Another number of voxels over the same physical extent.

use crate::error::Result;
use crate::grid::Grid;
use crate::resample::{Border, Interpolation, ResampleOptions, resample};
use crate::volume::Volume;
use crate::voxel::Voxel;
use nalgebra::Matrix4;

impl Grid {
    /// The grid with `shape` voxels that covers the same extent, from the outer face of the first voxel to that of
    /// the last.
    ///
    /// # Errors
    /// A size of 0.
    pub fn resized(&self, shape: [usize; 3]) -> Result<Self> {
        let mut map = Matrix4::identity();
        for (axis, (&new, old)) in shape.iter().zip(self.shape()).enumerate() {
            let zoom = old as f64 / new as f64;
            map[(axis, axis)] = zoom;
            map[(axis, 3)] = 0.5 * zoom - 0.5;
        }
        // A size of 0 makes the map infinite; the constructor names the shape.
        Self::new(shape, self.affine() * map)
    }

    /// The grid with voxels of about `spacing` mm that covers the same extent.
    ///
    /// The number of voxels is rounded, then the spacing adjusted so that the extent stays exactly the same.
    ///
    /// # Errors
    /// A spacing that is not positive.
    pub fn with_spacing(&self, spacing: [f64; 3]) -> Result<Self> {
        if spacing.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
            let detail = format!("spacing must be positive, got {spacing:?} mm");
            return Err(crate::Error::geometry("Grid::with_spacing", detail));
        }
        let own = self.spacing();
        let size =
            |axis: usize| (self.shape()[axis] as f64 * own[axis] / spacing[axis]).round().max(1.0) as usize;
        self.resized(std::array::from_fn(size))
    }
}

/// The volume resampled to `shape` voxels over the same physical extent.
///
/// Values beyond the outermost centres are those of the edge voxels, so that no fill value leaks in.
///
/// # Errors
/// A size of 0.
///
/// # Example
/// ```
/// use oncograph_imaging::{Frame, Grid, Interpolation, Volume, resize};
///
/// let grid = Grid::axis_aligned([4, 4, 2], [1.0, 1.0, 5.0], [0.0; 3])?;
/// let ct = Volume::filled(grid, Frame::default(), 40.0_f32);
/// let small = resize(&ct, [2, 2, 2], Interpolation::Cubic)?;
/// assert_eq!(small.grid().spacing(), [2.0, 2.0, 5.0]);
/// assert_eq!(small.grid().origin(), [0.5, 0.5, 0.0]);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `scipy.ndimage.zoom(..., mode="nearest", grid_mode=True)`.
pub fn resize<T: Voxel>(
    volume: &Volume<T>,
    shape: [usize; 3],
    interpolation: Interpolation,
) -> Result<Volume<T>> {
    let target = volume.grid().resized(shape)?;
    resample(volume, &target, &ResampleOptions::new(interpolation).border(Border::Nearest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;
    use crate::grid::tests::any_grid;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_extent_stays(grid in any_grid(), shape in [1_usize..9, 1_usize..9, 1_usize..9]) {
            let resized = grid.resized(shape)?;
            let face = |g: &Grid, high: bool| {
                g.index_to_world(g.shape().map(|n| if high { n as f64 - 0.5 } else { -0.5 }))
            };
            for high in [false, true] {
                let (a, b) = (face(&grid, high), face(&resized, high));
                prop_assert!((0..3).all(|i| (a[i] - b[i]).abs() < 1e-9));
            }
        }
    }

    #[test]
    fn halving_averages_linearly_and_bad_sizes_are_refused() {
        let grid = Grid::axis_aligned([4, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let volume = Volume::new(grid, Frame::default(), vec![0.0_f32, 2.0, 4.0, 10.0]).unwrap();
        let half = resize(&volume, [2, 1, 1], Interpolation::Linear).unwrap();
        assert_eq!(half.as_slice(), &[1.0, 7.0]);
        assert!(resize(&volume, [0, 1, 1], Interpolation::Linear).is_err());
        assert!(volume.grid().with_spacing([0.0, 1.0, 1.0]).is_err());
        assert_eq!(volume.grid().with_spacing([2.0, 9.0, 0.5]).unwrap().shape(), [2, 1, 2]);
    }
}

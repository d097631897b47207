//! Sampling by voxel indices instead of world positions.

use super::{Border, ResampleOptions, general, separable};
use crate::error::Result;
use crate::grid::Grid;
use crate::volume::Volume;
use crate::voxel::Voxel;
use nalgebra::{Matrix3, Matrix4, Vector3};

/// The volume at `matrix * index + offset` for every voxel index of a volume of `shape`.
///
/// Indices are (x, y, z); scipy's matrix of array axes is this one with rows and columns reversed. The result lies
/// where it was sampled: its grid is the volume's with the map applied.
///
/// # Errors
/// An outside value that is not finite, a matrix that cannot be inverted, a size of 0.
///
/// # Example
/// ```
/// use nalgebra::{Matrix3, Vector3};
/// use oncograph_imaging::{Border, Frame, Grid, Interpolation, ResampleOptions, Volume, affine_transform};
///
/// let grid = Grid::axis_aligned([3, 1, 1], [1.0; 3], [0.0; 3])?;
/// let line = Volume::new(grid, Frame::default(), vec![1.0_f64, 2.0, 4.0])?;
/// let options = ResampleOptions::new(Interpolation::Linear).border(Border::Constant(-1.0));
/// let moved = affine_transform(&line, Matrix3::identity(), Vector3::new(0.5, 0.0, 0.0), [3, 1, 1], &options)?;
/// assert_eq!(moved.as_slice(), &[1.5, 3.0, -1.0]);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `scipy.ndimage.affine_transform`.
pub fn affine_transform<T: Voxel>(
    volume: &Volume<T>,
    matrix: Matrix3<f64>,
    offset: Vector3<f64>,
    shape: [usize; 3],
    options: &ResampleOptions,
) -> Result<Volume<T>> {
    options.validate()?;
    let mut map = Matrix4::identity();
    map.fixed_view_mut::<3, 3>(0, 0).copy_from(&matrix);
    map.fixed_view_mut::<3, 1>(0, 3).copy_from(&offset);
    let grid = Grid::new(shape, volume.grid().affine() * map)?;
    let data = general::resample(volume, shape, &map, options);
    Volume::new(grid, volume.frame().clone(), data)
}

/// The volume's values at voxel indices (x, y, z) that need not be whole.
///
/// # Errors
/// An outside value that is not finite.
///
/// # Reference
/// `scipy.ndimage.map_coordinates`.
pub fn map_coordinates<T: Voxel>(
    volume: &Volume<T>,
    indices: &[[f64; 3]],
    options: &ResampleOptions,
) -> Result<Vec<T>> {
    options.validate()?;
    Ok(general::at_positions(volume, indices.len(), |i| indices[i], options))
}

/// The volume as the coefficients of the interpolating spline, by `options.interpolation` and `options.border`.
///
/// The border is a mirrored or periodic one; the others are filtered as scipy's `spline_filter` does: `Nearest` like
/// `Reflect`, constants and `Wrap` like `Mirror`. Orders 0 and 1 give the samples.
///
/// # Errors
/// None for options that are valid.
///
/// # Reference
/// `scipy.ndimage.spline_filter`.
pub fn spline_filter<T: Voxel>(volume: &Volume<T>, options: &ResampleOptions) -> Result<Volume<f64>> {
    options.validate()?;
    // Without the padding that those two borders need for sampling.
    let border = match options.border {
        Border::Nearest => Border::Reflect,
        Border::GridConstant(_) => Border::Mirror,
        other => other,
    };
    let data = separable::filtered(volume, &options.border(border));
    Volume::new(volume.grid().clone(), volume.frame().clone(), data)
}

use super::Correlation;
use crate::error::{Error, Result};
use crate::lines::along;
use crate::resample::Border;
use crate::volume::Volume;
use crate::voxel::Voxel;

/// The mean over a box of `size` voxels along x, y, z.
///
/// An even box reaches one voxel further towards index 0.
///
/// # Errors
/// A size of 0, a constant that is not finite.
///
/// # Reference
/// `scipy.ndimage.uniform_filter`.
pub fn uniform<T: Voxel>(volume: &Volume<T>, size: [usize; 3], border: Border) -> Result<Volume<f64>> {
    correlate(volume, size.map(|n| vec![1.0 / n as f64; n]), border)
}

/// The volume correlated with one kernel after the other along z, y, x; `[1.0]` leaves an axis alone.
///
/// The middle of a kernel of n weights is number `n / 2`.
///
/// # Errors
/// An empty kernel, a weight or constant that is not finite.
///
/// # Example
/// ```
/// use oncograph_imaging::filters::correlate;
/// use oncograph_imaging::{Border, Frame, Grid, Volume};
///
/// let grid = Grid::axis_aligned([4, 1, 1], [1.0; 3], [0.0; 3])?;
/// let line = Volume::new(grid, Frame::default(), vec![1.0_f64, 2.0, 4.0, 8.0])?;
/// let slope = correlate(&line, [vec![-0.5, 0.0, 0.5], vec![1.0], vec![1.0]], Border::Nearest)?;
/// assert_eq!(slope.as_slice(), &[0.5, 1.5, 3.0, 2.0]);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `scipy.ndimage.correlate1d`.
pub fn correlate<T: Voxel>(
    volume: &Volume<T>,
    kernels: [Vec<f64>; 3],
    border: Border,
) -> Result<Volume<f64>> {
    let finite = kernels.iter().flatten().all(|w| w.is_finite()) && border.outside_value().is_finite();
    if !finite || kernels.iter().any(Vec::is_empty) {
        return Err(Error::argument(
            "correlate",
            "kernels and border",
            "at least one weight along each axis, all finite",
            format!("{:?} weights, {border:?}", kernels.each_ref().map(Vec::len)),
        ));
    }
    let shape = volume.shape();
    let mut data: Vec<f64> = volume.as_slice().iter().map(|v| v.to_f64()).collect();
    for axis in [2, 1, 0] {
        let weights = &kernels[axis];
        if weights.as_slice() != [1.0] {
            let pass = Correlation { n: shape[axis], before: weights.len() / 2, weights, border };
            data = along(&data, shape, axis, &pass);
        }
    }
    Volume::new(volume.grid().clone(), volume.frame().clone(), data)
}

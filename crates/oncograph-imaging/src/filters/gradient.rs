use crate::error::Result;
use crate::volume::Volume;
use crate::voxel::Voxel;
use rayon::prelude::*;

/// The length of the gradient per millimetre: central differences along the three axes, the edge voxel repeated.
///
/// # Units
/// The volume's unit per mm.
///
/// # Errors
/// None for a valid volume.
///
/// # Example
/// ```
/// use oncograph_imaging::filters::gradient_magnitude;
/// use oncograph_imaging::{Frame, Grid, Volume};
///
/// let grid = Grid::axis_aligned([5, 5, 5], [1.0, 2.0, 1.0], [0.0; 3])?;
/// let ramp = Volume::from_fn(grid, Frame::default(), |[i, j, _]| (3 * i + 8 * j) as f64);
/// assert_eq!(gradient_magnitude(&ramp)?.get([2, 2, 2]), Some(5.0));
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `SimpleITK.GradientMagnitude`.
pub fn gradient_magnitude<T: Voxel>(volume: &Volume<T>) -> Result<Volume<f64>> {
    let [nx, ny, nz] = volume.shape();
    let spacing = volume.grid().spacing();
    let source = volume.as_slice();
    let mut data = vec![0.0; source.len()];
    data.par_chunks_mut(nx).enumerate().for_each(|(row, line)| {
        let (y, z) = (row % ny, row / ny);
        let at = |x: usize, y: usize, z: usize| source[x + nx * (y + ny * z)].to_f64();
        for (x, out) in line.iter_mut().enumerate() {
            let slopes = [
                at((x + 1).min(nx - 1), y, z) - at(x.saturating_sub(1), y, z),
                at(x, (y + 1).min(ny - 1), z) - at(x, y.saturating_sub(1), z),
                at(x, y, (z + 1).min(nz - 1)) - at(x, y, z.saturating_sub(1)),
            ];
            let square = |(d, s): (&f64, &f64)| (d / (2.0 * s)).powi(2);
            *out = slopes.iter().zip(&spacing).map(square).sum::<f64>().sqrt();
        }
    });
    Volume::new(volume.grid().clone(), volume.frame().clone(), data)
}

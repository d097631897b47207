use crate::{Error, Result};
use candle_core::{DType, Tensor};
use oncograph_imaging::{Border, Frame, Grid, Interpolation, ResampleOptions, Volume, map_coordinates};
use oncograph_metrics::{Correlation, spearman};
use oncograph_nn::{InterpolateConfig, InterpolateMode, interpolate};

/// A class activation map on the grid of the image that the encoder saw, linear between the cells of the map; written with
/// `oncograph_imaging::nifti::write` it lies on the scan in any viewer.
///
/// # Shapes
/// `cam` \[1, 1, D, H, W\] as [`grad_cam`](crate::grad_cam) gives it, D along the grid's z
///
/// # Errors
/// [`Error::Input`] for another shape, or an error of the interpolation.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_explain::cam_volume;
/// use oncograph_imaging::Grid;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cam = Tensor::new(&[0f32, 4.0], &Device::Cpu)?.reshape((1, 1, 1, 1, 2))?;
/// let grid = Grid::axis_aligned([4, 1, 1], [2.0; 3], [0.0; 3])?;
/// assert_eq!(cam_volume(&cam, &grid)?.as_slice(), &[0.0, 1.0, 3.0, 4.0]);
/// # Ok(())
/// # }
/// ```
pub fn cam_volume(cam: &Tensor, grid: &Grid) -> Result<Volume<f32>> {
    let [x, y, z] = grid.shape();
    if cam.rank() != 5 || cam.dims()[..2] != [1, 1] {
        return Err(Error::input("cam_volume", "one map [1, 1, D, H, W]", cam.dims()));
    }
    let config = InterpolateConfig::to_size(&[z, y, x]).mode(InterpolateMode::Linear);
    let values = interpolate(cam, &config)?.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    Ok(Volume::new(grid.clone(), Frame::default(), values)?)
}

/// Whether image and surface agree on what matters: Spearman's correlation of the map at each surface point with the
/// attention of that point.
///
/// # Units
/// `points` in world millimetres.
///
/// # Errors
/// [`Error::Input`] for other numbers of points than of weights; an error where one of the two is constant.
pub fn cam_point_correlation(
    cam: &Volume<f32>,
    points: &[[f32; 3]],
    attention: &[f64],
) -> Result<Correlation> {
    if points.len() != attention.len() {
        let expected = format!("{} weights", points.len());
        return Err(Error::input("cam_point_correlation", expected, attention.len()));
    }
    let at: Vec<[f64; 3]> = points.iter().map(|p| cam.grid().world_to_index(p.map(f64::from))).collect();
    let options = ResampleOptions::new(Interpolation::Linear).border(Border::Nearest);
    let values = map_coordinates(cam, &at, &options)?;
    Ok(spearman(&values.into_iter().map(f64::from).collect::<Vec<_>>(), attention)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::testing::device;

    #[test]
    fn agreement_is_that_of_the_ranks() {
        // The map grows along x.
        let cam: Vec<f32> = (0..8).map(|i| (i % 2) as f32).collect();
        let cam = Tensor::from_vec(cam, (1, 1, 2, 2, 2), &device()).unwrap();
        let grid = Grid::axis_aligned([8, 8, 8], [2.0; 3], [-7.0; 3]).unwrap();
        let volume = cam_volume(&cam, &grid).unwrap();
        let points = [[-4.0f32, 1.0, 2.0], [-1.5, 0.0, 0.0], [0.5, -3.0, 1.0], [3.0, 3.0, 3.0]];
        let found = cam_point_correlation(&volume, &points, &[0.1, 0.3, 0.8, 0.9]).unwrap();
        approx::assert_relative_eq!(found.coefficient, 1.0, epsilon = 1e-12);
        let found = cam_point_correlation(&volume, &points, &[0.9, 0.8, 0.3, 0.1]).unwrap();
        approx::assert_relative_eq!(found.coefficient, -1.0, epsilon = 1e-12);
        assert!(cam_point_correlation(&volume, &points, &[0.1]).is_err());
        assert!(cam_volume(&cam.squeeze(0).unwrap(), &grid).is_err());
    }
}

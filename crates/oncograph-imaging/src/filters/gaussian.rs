use super::Correlation;
use crate::error::{Error, Result};
use crate::lines::along;
use crate::resample::Border;
use crate::volume::Volume;
use crate::voxel::Voxel;
use serde::{Deserialize, Serialize};

/// How [`gaussian`] smooths.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct GaussianOptions {
    /// Derivative along x, y, z: 0 (default) smooths, 1 is the slope of the smoothed volume, and so on.
    pub order: [usize; 3],
    /// What lies beyond the edge. Default `Reflect`.
    pub border: Border,
    /// The kernel ends at this many standard deviations. Default 4.
    pub truncate: f64,
    /// Voxels on each side of the kernel along x, y, z, instead of `truncate`.
    pub radius: Option<[usize; 3]>,
}

impl Default for GaussianOptions {
    fn default() -> Self {
        Self { order: [0; 3], border: Border::Reflect, truncate: 4.0, radius: None }
    }
}

impl GaussianOptions {
    /// Smoothing, reflected border, kernel cut at four standard deviations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the derivative along x, y, z.
    pub fn order(mut self, order: [usize; 3]) -> Self {
        self.order = order;
        self
    }

    /// Sets what lies beyond the edge.
    pub fn border(mut self, border: Border) -> Self {
        self.border = border;
        self
    }

    /// Sets where the kernel ends, in standard deviations.
    pub fn truncate(mut self, truncate: f64) -> Self {
        self.truncate = truncate;
        self
    }

    /// Sets the voxels on each side of the kernel.
    pub fn radius(mut self, radius: [usize; 3]) -> Self {
        self.radius = Some(radius);
        self
    }

    /// Checks the options.
    ///
    /// # Errors
    /// A `truncate` that is negative or not finite, a constant that is not finite, a derivative above 8.
    pub fn validate(&self) -> Result<()> {
        let fail =
            |argument, expected, got: String| Err(Error::argument("gaussian", argument, expected, got));
        if !(self.truncate.is_finite() && self.truncate >= 0.0) {
            return fail("truncate", "0 or more", self.truncate.to_string());
        }
        if !self.border.outside_value().is_finite() {
            return fail("border value", "finite", self.border.outside_value().to_string());
        }
        if self.order.iter().any(|o| *o > 8) {
            return fail("order", "0 to 8", format!("{:?}", self.order));
        }
        Ok(())
    }
}

/// The volume smoothed with a Gaussian of `sigma` voxels along x, y, z (0 leaves an axis alone).
///
/// Separable: the cost grows with the kernel's length, not its cube. Computed in `f64`.
///
/// # Units
/// `sigma` in voxels. For millimetres divide by `grid().spacing()`.
///
/// # Errors
/// A sigma that is negative or not finite, invalid options.
///
/// # Example
/// ```
/// use oncograph_imaging::filters::{GaussianOptions, gaussian};
/// use oncograph_imaging::{Frame, Grid, Volume};
///
/// let grid = Grid::axis_aligned([9, 9, 9], [1.0; 3], [0.0; 3])?;
/// let mut spot = Volume::filled(grid, Frame::default(), 0.0_f32);
/// spot.set([4, 4, 4], 1.0);
/// let smooth = gaussian(&spot, [1.0; 3], &GaussianOptions::new())?;
/// assert!((smooth.as_slice().iter().sum::<f64>() - 1.0).abs() < 1e-12);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `scipy.ndimage.gaussian_filter`.
pub fn gaussian<T: Voxel>(
    volume: &Volume<T>,
    sigma: [f64; 3],
    options: &GaussianOptions,
) -> Result<Volume<f64>> {
    options.validate()?;
    if sigma.iter().any(|s| !(s.is_finite() && *s >= 0.0)) {
        return Err(Error::argument("gaussian", "sigma", "0 or more along each axis", format!("{sigma:?}")));
    }
    let shape = volume.shape();
    let mut data: Vec<f64> = volume.as_slice().iter().map(|v| v.to_f64()).collect();
    // From the slowest axis to the fastest, the order of scipy's array axes.
    for axis in [2, 1, 0] {
        if sigma[axis] <= 1e-15 {
            continue;
        }
        let radius = match options.radius {
            Some(radius) => radius[axis],
            None => (options.truncate * sigma[axis] + 0.5) as usize,
        };
        let mut weights = kernel(sigma[axis], options.order[axis], radius);
        // The kernel is convolved, the pass below correlates.
        weights.reverse();
        let pass = Correlation { n: shape[axis], before: radius, weights: &weights, border: options.border };
        data = along(&data, shape, axis, &pass);
    }
    Volume::new(volume.grid().clone(), volume.frame().clone(), data)
}

/// A sampled Gaussian of sum 1, or its derivative: the same times the polynomial q with
/// `q_{k+1} = q_k' - (x / sigma^2) q_k`.
fn kernel(sigma: f64, order: usize, radius: usize) -> Vec<f64> {
    let variance = sigma * sigma;
    let places = || (0..=2 * radius).map(|i| i as f64 - radius as f64);
    let bell: Vec<f64> = places().map(|x| (-0.5 / variance * x * x).exp()).collect();
    let total: f64 = bell.iter().sum();
    let mut polynomial = vec![1.0];
    for _ in 0..order {
        let mut next = vec![0.0; polynomial.len() + 1];
        for (power, c) in polynomial.iter().enumerate() {
            next[power + 1] -= c / variance;
            if power > 0 {
                next[power - 1] += power as f64 * c;
            }
        }
        polynomial = next;
    }
    let value = |x: f64| polynomial.iter().rev().fold(0.0, |sum, c| sum * x + c);
    places().zip(bell).map(|(x, b)| value(x) * b / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Grid};

    #[test]
    fn a_derivative_measures_the_slope_and_curvature() {
        let grid = Grid::axis_aligned([40, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let line = Volume::from_fn(grid, Frame::default(), |[i, _, _]| 0.5 * (i * i) as f64);
        let at = |order| {
            let options = GaussianOptions::new().order([order, 0, 0]).truncate(8.0);
            gaussian(&line, [1.5, 0.0, 0.0], &options).unwrap().get([20, 0, 0]).unwrap()
        };
        assert!((at(0) - (200.0 + 0.5 * 2.25)).abs() < 1e-3);
        assert!((at(1) - 20.0).abs() < 1e-3);
        assert!((at(2) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn a_kernel_wider_than_the_volume_still_means() {
        let grid = Grid::axis_aligned([2, 3, 1], [1.0; 3], [0.0; 3]).unwrap();
        let flat = Volume::filled(grid, Frame::default(), 3_u8);
        for border in [Border::Reflect, Border::Mirror, Border::Nearest, Border::Wrap, Border::Constant(3.0)]
        {
            let out = gaussian(&flat, [9.0; 3], &GaussianOptions::new().border(border)).unwrap();
            assert!(out.as_slice().iter().all(|v| (v - 3.0).abs() < 1e-12), "{border:?}");
        }
        assert!(gaussian(&flat, [-1.0, 0.0, 0.0], &GaussianOptions::new()).is_err());
    }
}

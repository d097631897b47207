use super::matching::mapped;
use super::{quantile, sorted};
use crate::error::{Error, Result};
use crate::volume::{Mask, Volume};
use crate::voxel::Voxel;
use serde::{Deserialize, Serialize};

/// A standard intensity scale learned from several volumes, so that tissues have the same values in all of them.
///
/// MRI intensities have no unit. Percentiles of each volume's foreground (landmarks) are brought to a common range
/// and averaged; a new volume is mapped piecewise linearly from its own landmarks to the averages. The scale is
/// fitted on training volumes only and saved with the model.
///
/// # Example
/// ```
/// use oncograph_imaging::{Frame, Grid, NyulScale, Volume};
///
/// let grid = Grid::axis_aligned([100, 1, 1], [1.0; 3], [0.0; 3])?;
/// let scan = |gain: f64| Volume::from_fn(grid.clone(), Frame::default(), move |[i, ..]| gain * i as f64);
/// let volumes = [scan(1.0), scan(7.0)];
/// let scale = NyulScale::fit(volumes.iter().map(|v| (v, None)))?;
/// let (a, b) = (scale.apply(&volumes[0], None)?, scale.apply(&volumes[1], None)?);
/// assert!(a.as_slice().iter().zip(b.as_slice()).all(|(x, y)| (x - y).abs() < 1e-9));
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// Nyúl, Udupa, Zhang, "New variants of a method of MRI scale standardization", IEEE Trans. Medical Imaging 19
/// (2000). Landmarks at 1, 10, 20, ..., 90, 99 percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NyulScale {
    /// The percentiles that are matched, ascending, 0 to 100.
    pub percentiles: Vec<f64>,
    /// The standard value of each.
    pub landmarks: Vec<f64>,
}

impl NyulScale {
    /// Fits the scale with landmarks at 1, 10, 20, ..., 90, 99 percent and the range 0 to 100.
    ///
    /// # Errors
    /// As [`NyulScale::fit_with`].
    pub fn fit<'a, T: Voxel>(
        volumes: impl IntoIterator<Item = (&'a Volume<T>, Option<&'a Mask>)>,
    ) -> Result<Self> {
        let tens = (1..10).map(|i| 10.0 * f64::from(i));
        let percentiles: Vec<f64> = std::iter::once(1.0).chain(tens).chain([99.0]).collect();
        Self::fit_with(volumes, &percentiles, (0.0, 100.0))
    }

    /// Fits the scale with the given landmarks, the first and last of which fall on `range`.
    ///
    /// # Errors
    /// No volumes, fewer than two percentiles or not ascending within 0 to 100, a range that is not ascending, an
    /// empty or foreign mask, a volume whose first and last landmark are equal.
    pub fn fit_with<'a, T: Voxel>(
        volumes: impl IntoIterator<Item = (&'a Volume<T>, Option<&'a Mask>)>,
        percentiles: &[f64],
        range: (f64, f64),
    ) -> Result<Self> {
        let fail =
            |argument, expected, got: String| Err(Error::argument("NyulScale::fit", argument, expected, got));
        let ascending = percentiles.len() >= 2 && percentiles.windows(2).all(|w| w[0] < w[1]);
        if !ascending || percentiles.iter().any(|p| !(0.0..=100.0).contains(p)) {
            return fail("percentiles", "two or more, ascending within 0 to 100", format!("{percentiles:?}"));
        }
        if !(range.0 < range.1 && range.0.is_finite() && range.1.is_finite()) {
            return fail("range", "finite and ascending", format!("{range:?}"));
        }
        let mut sums = vec![0.0; percentiles.len()];
        let mut count = 0.0;
        for (volume, mask) in volumes {
            let own = landmarks(volume, mask, percentiles)?;
            let (low, high) = (own[0], own[own.len() - 1]);
            if low >= high {
                return fail("volumes", "different values in the foreground", format!("{low} only"));
            }
            let scale = (range.1 - range.0) / (high - low);
            sums.iter_mut().zip(&own).for_each(|(s, v)| *s += range.0 + (v - low) * scale);
            count += 1.0;
        }
        if count == 0.0 {
            return fail("volumes", "at least one", "none".into());
        }
        let landmarks = sums.into_iter().map(|s| s / count).collect();
        Ok(Self { percentiles: percentiles.to_vec(), landmarks })
    }

    /// The volume on the standard scale; beyond the outermost landmarks the last pieces go on.
    ///
    /// Voxels outside the mask are mapped as well, because they share the scanner's gain.
    ///
    /// # Errors
    /// An empty or foreign mask, a voxel that is not finite, a foreground of one value.
    pub fn apply<T: Voxel>(&self, volume: &Volume<T>, mask: Option<&Mask>) -> Result<Volume<f64>> {
        let own = landmarks(volume, mask, &self.percentiles)?;
        // Between landmarks that coincide there is no slope: the last of them is kept.
        let mut points: Vec<(f64, f64)> = Vec::new();
        for (x, y) in own.into_iter().zip(self.landmarks.iter().copied()) {
            if points.last().is_some_and(|p| p.0 >= x) {
                points.pop();
            }
            points.push((x, y));
        }
        if points.len() < 2 {
            return Err(Error::argument(
                "NyulScale::apply",
                "volume",
                "different values in the foreground",
                "one value",
            ));
        }
        let image = |v: f64| {
            let piece = points.partition_point(|p| p.0 <= v).clamp(1, points.len() - 1);
            let ((x0, y0), (x1, y1)) = (points[piece - 1], points[piece]);
            y0 + (v - x0) * (y1 - y0) / (x1 - x0)
        };
        mapped(volume, None, image)
    }
}

fn landmarks<T: Voxel>(volume: &Volume<T>, mask: Option<&Mask>, percentiles: &[f64]) -> Result<Vec<f64>> {
    let values = sorted("NyulScale", volume, mask)?;
    Ok(percentiles.iter().map(|p| quantile(&values, p / 100.0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Grid};

    #[test]
    fn the_mask_sets_the_landmarks_and_the_ends_go_on() {
        let grid = Grid::axis_aligned([11, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let volume =
            Volume::from_fn(grid.clone(), Frame::default(), |[i, ..]| if i == 10 { 1e6 } else { i as f64 });
        let mask = Mask::from_fn(grid, Frame::default(), |[i, ..]| u8::from(i < 9));
        let scale = NyulScale::fit_with([(&volume, Some(&mask))], &[0.0, 50.0, 100.0], (0.0, 80.0)).unwrap();
        assert_eq!(scale.landmarks, [0.0, 40.0, 80.0]);
        assert_eq!(scale.apply(&volume, Some(&mask)).unwrap().as_slice()[9], 90.0);
        let flat = volume.map(|_| 1.0);
        assert!(scale.apply(&flat, None).is_err());
        assert!(NyulScale::fit::<f64>([]).is_err());
    }
}

use super::distance::squared;
use crate::{Error, Result, check, rank};
use serde::{Deserialize, Serialize};

/// Distances between the surfaces of two masks.
///
/// The surface of a mask is its voxels that have a face neighbour outside it (or lie at the edge of the volume);
/// distances are from voxel centre to voxel centre.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SurfaceDistances {
    /// From each surface voxel of the prediction to the nearest of the target, ascending.
    pub prediction_to_target: Vec<f64>,
    /// From each surface voxel of the target to the nearest of the prediction, ascending.
    pub target_to_prediction: Vec<f64>,
}

/// The distances between the surfaces of two masks.
///
/// # Shapes
/// Masks of `shape`, the last axis fastest in memory (row-major); `spacing` in the same order.
///
/// # Units
/// Those of `spacing`: millimetres for millimetres, voxels for `[1.0; 3]`.
///
/// # Errors
/// Masks that do not fit the shape, a spacing that is not positive, an empty mask (a distance to nothing has no
/// value).
///
/// # Example
/// ```
/// use oncograph_metrics::surface_distances;
/// let prediction = [true, true, false, false, false, false];
/// let target = [true, true, true, true, false, false];
/// let d = surface_distances(&prediction, &target, [1, 1, 6], [1.0, 1.0, 0.5])?;
/// assert_eq!(d.hausdorff(), 1.0);
/// assert_eq!(d.average_symmetric(), (0.5 + 1.0) / 6.0);
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// `monai.metrics.compute_hausdorff_distance`, `compute_average_surface_distance`, `compute_surface_dice`
/// (without subvoxels).
pub fn surface_distances(
    prediction: &[bool],
    target: &[bool],
    shape: [usize; 3],
    spacing: [f64; 3],
) -> Result<SurfaceDistances> {
    let operation = "surface_distances";
    let voxels = shape.iter().product();
    check::length(operation, "prediction", prediction.len(), voxels)?;
    check::length(operation, "target", target.len(), voxels)?;
    check::values(operation, "spacing", &spacing, "a finite distance above 0", |s| s.is_finite() && s > 0.0)?;
    for (name, mask) in [("prediction", prediction), ("target", target)] {
        if !mask.contains(&true) {
            return Err(Error::undefined(operation, format!("the {name} is empty")));
        }
    }
    let (p, t) = (surface(prediction, shape), surface(target, shape));
    let distances = |from: &[bool], to: &[bool]| {
        let all = squared(to, shape, spacing);
        let mut own: Vec<f64> = from.iter().zip(all).filter(|(s, _)| **s).map(|(_, d)| d.sqrt()).collect();
        own.sort_unstable_by(f64::total_cmp);
        own
    };
    Ok(SurfaceDistances { prediction_to_target: distances(&p, &t), target_to_prediction: distances(&t, &p) })
}

/// The voxels of the mask with a face neighbour outside it.
fn surface(mask: &[bool], shape: [usize; 3]) -> Vec<bool> {
    let strides = [shape[1] * shape[2], shape[2], 1];
    let on_surface = |(i, inside): (usize, &bool)| {
        *inside
            && (0..3).any(|a| {
                let at = i / strides[a] % shape[a];
                at == 0 || at + 1 == shape[a] || !mask[i - strides[a]] || !mask[i + strides[a]]
            })
    };
    mask.iter().enumerate().map(on_surface).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

impl SurfaceDistances {
    /// The largest distance from either surface to the other.
    pub fn hausdorff(&self) -> f64 {
        let last = |v: &[f64]| v.last().copied().unwrap_or(0.0);
        last(&self.prediction_to_target).max(last(&self.target_to_prediction))
    }

    /// The larger of the two directed percentiles: `hausdorff_percentile(95.0)` is HD95.
    ///
    /// # Errors
    /// A percentage outside 0 to 100.
    pub fn hausdorff_percentile(&self, percent: f64) -> Result<f64> {
        let forth = self.directed_percentile(percent)?;
        let back = rank::quantile(&self.target_to_prediction, percent / 100.0).unwrap_or(0.0);
        Ok(forth.max(back))
    }

    /// The percentile of the distances from the prediction to the target, linear between values.
    ///
    /// # Errors
    /// A percentage outside 0 to 100.
    pub fn directed_percentile(&self, percent: f64) -> Result<f64> {
        let expected = "a percentage from 0 to 100";
        check::scalar("hausdorff", "percent", percent, expected, |p| (0.0..=100.0).contains(&p))?;
        Ok(rank::quantile(&self.prediction_to_target, percent / 100.0).unwrap_or(0.0))
    }

    /// Mean distance from the prediction's surface to the target's (ASD).
    pub fn average(&self) -> f64 {
        mean(&self.prediction_to_target)
    }

    /// Mean over the distances of both directions (ASSD).
    pub fn average_symmetric(&self) -> f64 {
        let count = self.prediction_to_target.len() + self.target_to_prediction.len();
        let sum: f64 = self.prediction_to_target.iter().chain(&self.target_to_prediction).sum();
        sum / count as f64
    }

    /// Share of both surfaces that lies within `tolerance` of the other (normalised surface Dice).
    pub fn surface_dice(&self, tolerance: f64) -> f64 {
        let both = [&self.prediction_to_target, &self.target_to_prediction];
        let near: usize = both.iter().map(|v| v.iter().filter(|d| **d <= tolerance).count()).sum();
        near as f64 / both.iter().map(|v| v.len()).sum::<usize>() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masks() -> impl Strategy<Value = ([usize; 3], Vec<(bool, bool)>, [f64; 3])> {
        ([1usize..6, 1usize..6, 1usize..6], [0.3..3.0f64, 0.3..3.0, 0.3..3.0]).prop_flat_map(
            |(shape, spacing)| {
                let n = shape.iter().product::<usize>();
                (Just(shape), prop::collection::vec(any::<(bool, bool)>(), n), Just(spacing))
            },
        )
    }

    proptest! {
        #[test]
        fn equals_the_definition((shape, voxels, spacing) in masks()) {
            let (p, t): (Vec<bool>, Vec<bool>) = voxels.iter().copied().unzip();
            let Ok(d) = surface_distances(&p, &t, shape, spacing) else {
                prop_assert!(!p.contains(&true) || !t.contains(&true));
                return Ok(());
            };
            let place = |i: usize| {
                [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]]
            };
            let edge = |m: &[bool]| {
                let (m, s) = (m.to_vec(), surface(m, shape));
                prop_assert!(s.iter().zip(&m).all(|(s, m)| *m || !*s));
                Ok((0..s.len()).filter(|i| s[*i]).map(place).collect::<Vec<_>>())
            };
            let (pe, te) = (edge(&p)?, edge(&t)?);
            let nearest = |from: &[[usize; 3]], to: &[[usize; 3]]| {
                let length = |a: &[usize; 3], b: &[usize; 3]| {
                    (0..3).map(|k| ((a[k] as f64 - b[k] as f64) * spacing[k]).powi(2)).sum::<f64>().sqrt()
                };
                let one = |a: &[usize; 3]| to.iter().map(|b| length(a, b)).fold(f64::INFINITY, f64::min);
                let mut all: Vec<f64> = from.iter().map(one).collect();
                all.sort_by(f64::total_cmp);
                all
            };
            for (got, expected) in [(&d.prediction_to_target, nearest(&pe, &te)), (&d.target_to_prediction, nearest(&te, &pe))] {
                prop_assert_eq!(got.len(), expected.len());
                prop_assert!(got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-9));
            }
            prop_assert!(d.hausdorff_percentile(95.0).unwrap() <= d.hausdorff());
        }
    }

    #[test]
    fn equal_masks_have_no_distance() {
        let mask = [false, true, true, true, false, true, false, false];
        let d = surface_distances(&mask, &mask, [2, 2, 2], [1.0, 2.0, 3.0]).unwrap();
        assert_eq!((d.hausdorff(), d.average_symmetric(), d.surface_dice(0.0)), (0.0, 0.0, 1.0));
        assert!(d.hausdorff_percentile(101.0).is_err());
        assert!(surface_distances(&mask, &[false; 8], [2, 2, 2], [1.0; 3]).is_err());
    }
}

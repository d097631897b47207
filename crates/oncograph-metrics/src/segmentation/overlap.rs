use crate::{Error, Result, check};
use serde::{Deserialize, Serialize};

/// Voxels of two masks, counted by which of them holds them.
///
/// # Example
/// ```
/// use oncograph_metrics::Overlap;
/// let o = Overlap::new(&[true, true, false, false], &[true, false, true, false])?;
/// assert_eq!((o.dice(), o.jaccard()), (Some(0.5), Some(1.0 / 3.0)));
/// # Ok::<(), oncograph_metrics::Error>(())
/// ```
///
/// # Reference
/// `monai.metrics.DiceMetric`, `MeanIoU`; where both masks are empty these give NaN, here `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Overlap {
    /// In both masks.
    pub both: usize,
    /// In the prediction only.
    pub predicted_only: usize,
    /// In the target only.
    pub target_only: usize,
    /// In neither.
    pub neither: usize,
}

impl Overlap {
    /// Counts the voxels.
    ///
    /// # Errors
    /// Masks of different or no length.
    pub fn new(prediction: &[bool], target: &[bool]) -> Result<Self> {
        check::at_least("Overlap", "target.len()", target.len(), 1)?;
        check::length("Overlap", "prediction", prediction.len(), target.len())?;
        let count = |p: bool, t: bool| prediction.iter().zip(target).filter(|v| *v == (&p, &t)).count();
        Ok(Self {
            both: count(true, true),
            predicted_only: count(true, false),
            target_only: count(false, true),
            neither: count(false, false),
        })
    }

    /// `2 |P ∩ T| / (|P| + |T|)`; `None` where both masks are empty.
    pub fn dice(&self) -> Option<f64> {
        let sum = 2 * self.both + self.predicted_only + self.target_only;
        (sum > 0).then(|| 2.0 * self.both as f64 / sum as f64)
    }

    /// `|P ∩ T| / |P ∪ T|` (intersection over union); `None` where both masks are empty.
    pub fn jaccard(&self) -> Option<f64> {
        let union = self.both + self.predicted_only + self.target_only;
        (union > 0).then(|| self.both as f64 / union as f64)
    }

    /// Share of the target that is found; `None` for an empty target.
    pub fn sensitivity(&self) -> Option<f64> {
        let target = self.both + self.target_only;
        (target > 0).then(|| self.both as f64 / target as f64)
    }

    /// Share of the prediction that is right; `None` for an empty prediction.
    pub fn precision(&self) -> Option<f64> {
        let predicted = self.both + self.predicted_only;
        (predicted > 0).then(|| self.both as f64 / predicted as f64)
    }

    /// Share of what lies outside the target that is left out; `None` where the target is everything.
    pub fn specificity(&self) -> Option<f64> {
        let outside = self.neither + self.predicted_only;
        (outside > 0).then(|| self.neither as f64 / outside as f64)
    }

    /// `(|P| - |T|) / |T|`, the relative error of the volume; `None` for an empty target.
    pub fn volume_error(&self) -> Option<f64> {
        let target = self.both + self.target_only;
        (target > 0).then(|| (self.predicted_only as f64 - self.target_only as f64) / target as f64)
    }
}

/// The Dice coefficient of two masks.
///
/// # Errors
/// Masks of different or no length, or both empty.
///
/// # Reference
/// `monai.metrics.compute_dice`.
pub fn dice(prediction: &[bool], target: &[bool]) -> Result<f64> {
    let overlap = Overlap::new(prediction, target)?;
    overlap.dice().ok_or_else(|| Error::undefined("dice", "both masks are empty"))
}

/// The Jaccard index (intersection over union) of two masks.
///
/// # Errors
/// Masks of different or no length, or both empty.
///
/// # Reference
/// `monai.metrics.compute_iou`.
pub fn jaccard(prediction: &[bool], target: &[bool]) -> Result<f64> {
    let overlap = Overlap::new(prediction, target)?;
    overlap.jaccard().ok_or_else(|| Error::undefined("jaccard", "both masks are empty"))
}

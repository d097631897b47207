//! Whether images are what they should be, and whether a registration found the brain.

use super::SEQUENCES;
use crate::{Error, Result};
use oncograph_datasets::glioma::{BrainAtlas, GliomaImages, StandardBrain};
use oncograph_imaging::{Interpolation, Mask, ResampleOptions, Volume, nifti, resample};
use oncograph_metrics::{dice, pearson};
use serde::{Deserialize, Serialize};

/// How well a brain lies on the brain of the atlas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrainOverlap {
    /// What brought it there.
    pub tool: String,
    /// Dice of the brain masks by the files' own coordinates.
    pub before: f64,
    /// Dice after registration.
    pub after: f64,
    /// Pearson correlation of T1 with that of the standard brain, over the brain of the atlas; `None` for a generated head.
    #[serde(default)]
    pub correlation: Option<f64>,
}

/// Below this Dice, or this correlation, the brain is not where the regions are: the patient cannot be used.
const FAILED: (f64, f64) = (0.7, 0.1);
/// Below this Dice, or this correlation, somebody should look at it.
const DOUBTED: (f64, f64) = (0.85, 0.4);

impl BrainOverlap {
    /// Why the brain does not lie where the regions are, if it does not.
    pub fn failure(&self) -> Option<String> {
        self.below(FAILED).map(|what| format!("the brain does not lie on the standard brain: {what}"))
    }

    /// What somebody should look at, of a brain that lies where the regions are.
    pub fn doubt(&self) -> Option<String> {
        let doubt =
            || self.below(DOUBTED).map(|what| format!("the registration should be looked at: {what}"));
        if self.failure().is_some() { None } else { doubt() }
    }

    fn below(&self, (dice, correlation): (f64, f64)) -> Option<String> {
        if self.after < dice {
            return Some(format!("the masks overlap with a Dice of {:.3} (at least {dice})", self.after));
        }
        let found = self.correlation.filter(|r| *r < correlation)?;
        Some(format!("T1 correlates with that of the standard brain by {found:.3} (at least {correlation})"))
    }
}

impl std::fmt::Display for BrainOverlap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; Dice of the brain masks {:.3}", self.tool, self.after)?;
        self.correlation.map_or(Ok(()), |r| write!(f, ", correlation of T1 with the standard brain {r:.3}"))
    }
}

/// The Dice of the brain of a T1 whose background is 0, and that of the atlas, on the grid of the atlas.
pub(super) fn brain_dice(t1: &Volume<f32>, atlas: &BrainAtlas) -> Result<f64> {
    let nearest = ResampleOptions::new(Interpolation::Nearest).outside(0.0);
    let brain: Mask = resample(&t1.map(|v| u8::from(v != 0.0)), &atlas.grid, &nearest)?;
    let bits: Vec<bool> = brain.as_slice().iter().map(|v| *v > 0).collect();
    Ok(dice(&bits, &atlas.brain)?)
}

/// The correlation of a T1 on the grid of the atlas with that of the standard brain.
pub(super) fn correlation(t1: &Volume<f32>, atlas: &BrainAtlas, standard: &StandardBrain) -> Result<f64> {
    let linear = ResampleOptions::new(Interpolation::Linear).outside(0.0);
    let template = resample(&nifti::read::<f32>(standard.brain())?, &atlas.grid, &linear)?;
    let inside = |volume: &Volume<f32>| -> Vec<f64> {
        let values = volume.as_slice().iter().zip(&atlas.brain);
        values.filter(|(_, brain)| **brain).map(|(v, _)| f64::from(*v)).collect()
    };
    // A constant image correlates with nothing.
    Ok(pearson(&inside(t1), &inside(&template)).map_or(0.0, |r| r.coefficient))
}

/// A head has more than this times the volume of a brain.
const HEAD: f64 = 1.3;
/// Corners of a stripped image that may differ from the others: a brain may reach into one.
const OTHER_CORNERS: usize = 2;
/// More than this share of negative values is no noise around 0.
const NEGATIVE: f64 = 0.05;

/// The images with a background of 0, and remarks on values that are not as a scanner gives them.
///
/// # Errors
/// Images of a head with its skull, or whose surroundings are not blank.
pub(super) fn examined(images: GliomaImages, atlas: &BrainAtlas) -> Result<GliomaImages> {
    let images = blanked(images)?;
    let millilitres =
        |voxels: usize, spacing: [f64; 3]| voxels as f64 * spacing.iter().product::<f64>() / 1e3;
    let t1 = &images.sequences[0];
    let found = millilitres(t1.as_slice().iter().filter(|v| **v != 0.0).count(), t1.grid().spacing());
    let brain = millilitres(atlas.brain.iter().filter(|b| **b).count(), atlas.grid.spacing());
    if found > HEAD * brain {
        let what = "a brain without skull (BET, HD-BET or SynthStrip remove it)";
        let got = format!("T1 of {found:.0} ml that are not blank; the standard brain has {brain:.0} ml");
        return Err(Error::input("GliomaImages", what, got));
    }
    Ok(images)
}

/// The images with a background of 0, and remarks on negative values.
///
/// # Errors
/// Images whose surroundings are not blank.
pub(super) fn blanked(mut images: GliomaImages) -> Result<GliomaImages> {
    let mut standardised = vec![];
    for (volume, name) in images.sequences.iter_mut().zip(SEQUENCES) {
        let Some(background) = background(volume) else {
            let what = "images without skull and surroundings, which are blank there";
            let got = format!("{name} with different values in its corners");
            return Err(Error::input("GliomaImages", what, got));
        };
        let brain = volume.as_slice().iter().filter(|v| **v != background);
        let (negative, all) =
            brain.fold((0usize, 0usize), |(n, all), v| (n + usize::from(*v < 0.0), all + 1));
        let share = negative as f64 / all.max(1) as f64;
        if share > NEGATIVE {
            standardised.push(format!("{name} ({:.0} %)", 100.0 * share));
        }
        if background != 0.0 {
            *volume = volume.map(|v| v - background);
        }
    }
    if !standardised.is_empty() {
        images.flags.push(format!(
            "negative values within the brain, as of images that were standardised (z-scores) before: {}",
            standardised.join(", ")
        ));
    }
    Ok(images)
}

/// The value around the brain: what the corners have in common.
fn background(volume: &Volume<f32>) -> Option<f32> {
    let [x, y, z] = volume.shape().map(|n| n - 1);
    let corners = [0, x].into_iter().flat_map(|i| [0, y].map(|j| [i, j]));
    let corners: Vec<f32> = corners
        .flat_map(|[i, j]| [0, z].map(|k| [i, j, k]))
        .filter_map(|at| volume.grid().offset(at).map(|o| volume.as_slice()[o]))
        .collect();
    let alike = |value: f32| corners.iter().filter(|v| **v == value).count();
    let most = corners.iter().copied().max_by_key(|v| alike(*v))?;
    (alike(most) + OTHER_CORNERS >= corners.len()).then_some(most)
}

use super::GliomaSubject;
use crate::{Error, Result};
use oncograph_core::Argument;
use oncograph_datasets::glioma::{BrainAtlas, GliomaImages, StandardBrain};
use oncograph_imaging::registration::{Elastix, Registrar, Transform};
use oncograph_imaging::{Grid, Interpolation, Mask, ResampleOptions, Volume, nifti, resample};
use oncograph_metrics::dice;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How well a brain lies on the brain of the atlas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrainOverlap {
    /// What brought it there.
    pub tool: String,
    /// Dice of the brain masks by the files' own coordinates.
    pub before: f64,
    /// Dice after registration.
    pub after: f64,
}

/// Where a patient's images lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatientSpace {
    /// Where the scanner put them: T1 is registered to the standard brain, and all else follows it.
    Native,
    /// On the brain of the atlas already.
    Standard,
}

/// What the files of the four sequences are called.
pub(super) const NAMES: [&str; 4] = ["t1", "t1c", "t2", "flair"];

/// Grids whose corners are nearer than this, in mm, are one.
const SAME: f64 = 1e-4;

/// A patient on the grid of the atlas; `work` receives the files and logs of the registration of native images, for which
/// `standard` is needed.
///
/// # Errors
/// Native images without a standard brain; an error of the registration.
pub fn place_on_atlas(
    raw: &GliomaImages,
    space: PatientSpace,
    atlas: &BrainAtlas,
    standard: Option<&StandardBrain>,
    work: &Path,
) -> Result<(GliomaSubject, BrainOverlap)> {
    let before = overlap(&raw.sequences[0], atlas)?;
    if space == PatientSpace::Standard {
        let tool = "none: the images are on the standard brain".to_string();
        return Ok((subject(raw, &atlas.grid)?, BrainOverlap { tool, before, after: before }));
    }
    let missing = || {
        let expected = "the folder of templates (--templates), which native images are registered to";
        Error::from(Argument::new("place_on_atlas", "standard", expected, "none"))
    };
    let template: Volume<f32> = nifti::read(standard.ok_or_else(missing)?.brain())?;
    let registrar = Elastix::new();
    let transform = registrar.register(&template, &raw.sequences[0], work)?;
    let moved = moved(raw, transform.as_ref())?;
    let after = overlap(&moved.sequences[0], atlas)?;
    Ok((subject(&moved, &atlas.grid)?, BrainOverlap { tool: registrar.version()?, before, after }))
}

fn moved(raw: &GliomaImages, transform: &dyn Transform) -> Result<GliomaImages> {
    let [t1, t1c, t2, flair] = [0, 1, 2, 3].map(|k| transform.apply(&raw.sequences[k], NAMES[k]));
    Ok(GliomaImages {
        id: raw.id.clone(),
        sequences: [t1?, t1c?, t2?, flair?],
        tumour: transform.apply_labels(&raw.tumour, "tumour")?,
        anisotropy: raw.anisotropy.as_ref().map(|fa| transform.apply(fa, "fa")).transpose()?,
        flags: raw.flags.clone(),
    })
}

fn subject(images: &GliomaImages, grid: &Grid) -> Result<GliomaSubject> {
    let linear = ResampleOptions::new(Interpolation::Linear).outside(0.0);
    // What lies on the grid already keeps its values to the last bit.
    let on_grid = |volume: &Volume<f32>| match volume.grid().approx_eq(grid, SAME) {
        true => Ok(volume.clone()),
        false => resample(volume, grid, &linear),
    };
    let [t1, t1c, t2, flair] = &images.sequences;
    Ok(GliomaSubject {
        id: images.id.clone(),
        age: None,
        male: None,
        volumes: [on_grid(t1)?, on_grid(t1c)?, on_grid(t2)?, on_grid(flair)?],
        // Linear, so that a voxel of the coarse grid is tumour where half of it is.
        tumour: on_grid(&images.tumour.cast::<f32>())?.map(|v| u8::from(v >= 0.5)),
        anisotropy: images.anisotropy.as_ref().map(on_grid).transpose()?,
        flags: images.flags.clone(),
    })
}

/// Dice of a skull-stripped brain and the brain of the atlas, on the grid of the atlas.
fn overlap(t1: &Volume<f32>, atlas: &BrainAtlas) -> Result<f64> {
    let nearest = ResampleOptions::new(Interpolation::Nearest).outside(0.0);
    let brain: Mask = resample(&t1.map(|v| u8::from(v > 0.0)), &atlas.grid, &nearest)?;
    let bits: Vec<bool> = brain.as_slice().iter().map(|v| *v > 0).collect();
    Ok(dice(&bits, &atlas.brain)?)
}

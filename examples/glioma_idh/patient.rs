//! One real patient: brought to the standard brain and onto the grid of a run.

use crate::cohort::Subject;
use crate::templates;
use oncograph::datasets::glioma::GliomaImages;
use oncograph::imaging::registration::{Elastix, Registrar, Transform};
use oncograph::imaging::{Grid, Interpolation, Mask, ResampleOptions, Volume, nifti, resample};
use oncograph::metrics::dice;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How well the brain lies on the standard brain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    pub tool: String,
    /// Dice of the brain masks by the files' own coordinates.
    pub before: f64,
    /// Dice after registration.
    pub after: f64,
}

/// What files of the four sequences are called.
pub const NAMES: [&str; 4] = ["t1", "t1c", "t2", "flair"];

/// Where the patient's images lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// Where the scanner put them: T1 is registered to the standard brain, and all else follows it.
    Native,
    /// On the standard brain already.
    Standard,
}

/// The patient on the grid of a run; `work` receives the files and logs of the registration, `folder` has the templates.
pub fn normalise(
    raw: &GliomaImages,
    space: Space,
    folder: &Path,
    grid: &Grid,
    work: &Path,
) -> anyhow::Result<(Subject, Overlap)> {
    let standard = templates::brain_mask(folder)?;
    let before = overlap(&raw.sequences[0], &standard)?;
    if space == Space::Standard {
        let tool = "none: the images are on the standard brain".to_string();
        return Ok((subject(raw, grid)?, Overlap { tool, before, after: before }));
    }
    let template: Volume<f32> = nifti::read(templates::brain(folder))?;
    let registrar = Elastix::new();
    let transform = registrar.register(&template, &raw.sequences[0], work)?;
    let moved = moved(raw, transform.as_ref())?;
    let after = overlap(&moved.sequences[0], &standard)?;
    Ok((subject(&moved, grid)?, Overlap { tool: registrar.version()?, before, after }))
}

fn moved(raw: &GliomaImages, transform: &dyn Transform) -> anyhow::Result<GliomaImages> {
    let [t1, t1c, t2, flair] = [0, 1, 2, 3].map(|k| transform.apply(&raw.sequences[k], NAMES[k]));
    Ok(GliomaImages {
        id: raw.id.clone(),
        sequences: [t1?, t1c?, t2?, flair?],
        tumour: transform.apply_labels(&raw.tumour, "tumour")?,
        anisotropy: raw.anisotropy.as_ref().map(|fa| transform.apply(fa, "fa")).transpose()?,
        flags: raw.flags.clone(),
    })
}

fn subject(images: &GliomaImages, grid: &Grid) -> anyhow::Result<Subject> {
    let linear = ResampleOptions::new(Interpolation::Linear).outside(0.0);
    let on_grid = |volume: &Volume<f32>| resample(volume, grid, &linear);
    let [t1, t1c, t2, flair] = &images.sequences;
    Ok(Subject {
        id: images.id.clone(),
        idh: None,
        age: None,
        male: None,
        volumes: [on_grid(t1)?, on_grid(t1c)?, on_grid(t2)?, on_grid(flair)?],
        // Linear, so that a voxel of the coarse grid is tumour where half of it is.
        tumour: on_grid(&images.tumour.cast::<f32>())?.map(|v| u8::from(v >= 0.5)),
        fa: images.anisotropy.as_ref().map(on_grid).transpose()?,
        flags: images.flags.clone(),
    })
}

/// Dice of a skull-stripped brain and the standard brain.
fn overlap(t1: &Volume<f32>, standard: &Mask) -> anyhow::Result<f64> {
    let nearest = ResampleOptions::new(Interpolation::Nearest).outside(0.0);
    let brain = resample(&t1.map(|v| u8::from(v > 0.0)), standard.grid(), &nearest)?;
    let bits = |mask: &Mask| mask.as_slice().iter().map(|v| *v > 0).collect::<Vec<_>>();
    Ok(dice(&bits(&brain), &bits(standard))?)
}

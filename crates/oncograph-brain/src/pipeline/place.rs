use super::quality::{BrainOverlap, brain_dice, correlation, examined};
use super::{GliomaGroups, GliomaSubject, IntensityConfig};
use crate::Result;
use oncograph_datasets::glioma::{BrainAtlas, GliomaImages, StandardBrain};
use oncograph_imaging::registration::{Ants, Elastix, Registrar, Transform};
use oncograph_imaging::{Grid, Interpolation, ResampleOptions, Volume, nifti, resample};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where a patient's images lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatientSpace {
    /// Where the scanner put them: T1 is registered to the standard brain, and all else follows it.
    Native,
    /// On the brain of the atlas already.
    Standard,
}

/// The programs that register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationTool {
    /// Affine, then B-splines: [`Elastix`].
    #[default]
    Elastix,
    /// Affine, then symmetric normalisation: [`Ants`].
    Ants,
}

/// How native images are registered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RegistrationConfig {
    /// By which program.
    pub tool: RegistrationTool,
    /// The folder of the programs; from the PATH where this is `None`.
    #[serde(default)]
    pub programs: Option<PathBuf>,
}

impl RegistrationConfig {
    /// The program with its parameters.
    pub fn registrar(&self) -> Box<dyn Registrar + Sync> {
        match (self.tool, &self.programs) {
            (RegistrationTool::Elastix, None) => Box::new(Elastix::new()),
            (RegistrationTool::Elastix, Some(folder)) => Box::new(Elastix::new().programs(folder)),
            (RegistrationTool::Ants, None) => Box::new(Ants::new()),
            (RegistrationTool::Ants, Some(folder)) => Box::new(Ants::new().programs(folder)),
        }
    }
}

/// How a patient comes to the grid of the atlas.
#[derive(Clone, Copy)]
pub enum Placement<'a> {
    /// The images are on the brain of the atlas; T1 is compared with that of a standard brain, if there is one.
    Standard(Option<&'a StandardBrain>),
    /// The images are where the scanner put them.
    Native {
        /// What they are registered to.
        standard: &'a StandardBrain,
        /// The program.
        registrar: &'a dyn Registrar,
        /// Keeps the transform and its logs; a transform that is there already is used again.
        work: &'a Path,
    },
}

/// What the files of the four sequences are called.
pub(super) const NAMES: [&str; 4] = ["t1", "t1c", "t2", "flair"];

/// Grids whose corners are nearer than this, in mm, are one.
const SAME: f64 = 1e-4;

/// A patient on the grid of the atlas, with values as `intensities` makes them. Whether the brain lies where the regions are is in [`GliomaSubject::overlap`].
///
/// # Errors
/// Images with a skull; an error of the registration.
pub fn place_on_atlas(
    raw: GliomaImages,
    atlas: &BrainAtlas,
    placement: Placement<'_>,
    intensities: &IntensityConfig,
) -> Result<GliomaSubject> {
    let raw = intensities.applied(examined(raw, atlas)?)?;
    let before = brain_dice(&raw.sequences[0], atlas)?;
    let (moved, standard, tool) = match placement {
        Placement::Standard(standard) => (raw, standard, "none: the images are on the standard brain".into()),
        Placement::Native { standard, registrar, work } => {
            let template: Volume<f32> = nifti::read(standard.brain())?;
            let transform = match registrar.restore(&template, work)? {
                Some(transform) => transform,
                None => registrar.register(&template, &raw.sequences[0], work)?,
            };
            (moved(&raw, transform.as_ref())?, Some(standard), registrar.version()?)
        }
    };
    let after = brain_dice(&moved.sequences[0], atlas)?;
    let subject = subject(&moved, &atlas.grid, BrainOverlap { tool, before, after, correlation: None })?;
    let correlation = standard.map(|s| correlation(&subject.volumes[0], atlas, s)).transpose()?;
    let overlap = BrainOverlap { correlation, ..subject.overlap.clone() };
    let flags = subject.flags.iter().cloned().chain(overlap.doubt()).collect();
    Ok(GliomaSubject { overlap, flags, ..subject })
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

fn subject(images: &GliomaImages, grid: &Grid, overlap: BrainOverlap) -> Result<GliomaSubject> {
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
        groups: GliomaGroups::default(),
        volumes: [on_grid(t1)?, on_grid(t1c)?, on_grid(t2)?, on_grid(flair)?],
        // Linear, so that a voxel of the coarse grid is tumour where half of it is.
        tumour: on_grid(&images.tumour.cast::<f32>())?.map(|v| u8::from(v >= 0.5)),
        anisotropy: images.anisotropy.as_ref().map(on_grid).transpose()?,
        flags: images.flags.clone(),
        overlap,
    })
}

//! From files to what the network takes: the cohort, one patient on the grid of the atlas, and the tumour image, surface and
//! voxels of regions and tracts of that patient. Training and prediction of one new patient go through the same functions.

mod cohort;
mod files;
mod intensity;
mod place;
mod prepare;
mod quality;
mod source;
mod surface;

pub use cohort::{GliomaCohort, GliomaGroups, GliomaSubject, SEQUENCES};
pub use files::GliomaFilesConfig;
pub use intensity::{IntensityConfig, IntensityReference, SusanConfig};
pub use place::{PatientSpace, Placement, RegistrationConfig, RegistrationTool, place_on_atlas};
pub use prepare::{GliomaPrepareOptions, MaskMode, crop_grid};
pub(crate) use prepare::{Prepared, Voxels, prepare, voxels};
pub use quality::BrainOverlap;
pub use source::GliomaSource;
pub use surface::surface_points;

use oncograph_train::EpochRecord;

/// How far a stage is.
#[derive(Debug, Clone, Copy)]
pub struct StageProgress<'a> {
    /// The stage.
    pub stage: &'a str,
    /// Patients or epochs that are done.
    pub done: usize,
    /// How many there are.
    pub of: usize,
    /// The epoch that is over, for a stage that is trained.
    pub epoch: Option<&'a EpochRecord>,
}

/// What is called as a stage goes on.
pub type StageWatch<'a> = dyn Fn(&StageProgress<'_>) + Sync + 'a;

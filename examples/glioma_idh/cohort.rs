//! The patients of a run as volumes on one grid, and the atlas that regions and tracts come from.

use crate::phantom::{PhantomConfig, generate};
use oncograph::imaging::{Mask, Volume};
use serde::{Deserialize, Serialize};

/// The sequences, in the order of every array of four in this program.
pub const SEQUENCES: [&str; 4] = ["T1", "contrast T1", "T2", "FLAIR"];

/// A tract between two regions.
#[derive(Debug, Clone, PartialEq)]
pub struct Tract {
    pub pair: [u32; 2],
    /// Voxels in raster order with the probability that the tract is there; tracts overlap.
    pub voxels: Vec<(u32, f32)>,
}

/// Regions and tracts on the grid of the patients.
#[derive(Debug, Clone, PartialEq)]
pub struct Atlas {
    pub names: Vec<String>,
    /// The centre of each region in mm.
    pub centres: Vec<[f64; 3]>,
    /// Voxels of each region in raster order.
    pub regions: Vec<Vec<u32>>,
    pub tracts: Vec<Tract>,
    pub brain: Vec<bool>,
    /// Where there is grey matter.
    pub grey: Vec<bool>,
    /// Where it comes from; said on every page.
    pub source: String,
}

/// One patient.
#[derive(Debug, Clone)]
pub struct Subject {
    pub id: String,
    /// `None`: the patient trains the encoders of regions and tracts, or is to be predicted.
    pub idh: Option<bool>,
    pub age: Option<f64>,
    pub male: Option<bool>,
    /// T1, contrast T1, T2, FLAIR.
    pub volumes: [Volume<f32>; 4],
    pub tumour: Mask,
    /// Fractional anisotropy, of the patients who train the encoder of tracts.
    pub fa: Option<Volume<f32>>,
    /// What a reader must know of this patient.
    pub flags: Vec<String>,
}

/// Everything that a run needs.
pub struct Cohort {
    pub atlas: Atlas,
    pub subjects: Vec<Subject>,
    pub phantom: bool,
    pub notes: Vec<String>,
}

/// Where the patients come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Generated.
    Phantom(PhantomConfig),
}

impl Cohort {
    pub fn open(source: &Source) -> anyhow::Result<Self> {
        match source {
            Source::Phantom(config) => generate(config),
        }
    }
}

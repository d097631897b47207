//! The patients of a run as volumes on one grid, and the atlas that regions and tracts come from.

use crate::files::{self, FilesConfig};
use crate::phantom::{PhantomConfig, generate};
use oncograph::imaging::{Mask, Volume};
use oncograph::train::StopFlag;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

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
    /// `None`: not known.
    pub idh: Option<bool>,
    pub age: Option<f64>,
    pub male: Option<bool>,
    /// T1, contrast T1, T2, FLAIR.
    pub volumes: [Volume<f32>; 4],
    pub tumour: Mask,
    /// Fractional anisotropy, which the encoder of tracts learns from.
    pub fa: Option<Volume<f32>>,
    /// What a reader must know of this patient.
    pub flags: Vec<String>,
}

/// Everything that a run needs.
pub struct Cohort {
    pub atlas: Atlas,
    pub subjects: Vec<Subject>,
    pub phantom: bool,
    /// Where the patients come from, in words.
    pub origin: String,
    /// What a reader must know of all of them.
    pub notes: Vec<String>,
    /// Changes whenever the content of a patient's files does.
    pub fingerprint: String,
}

/// Where the patients come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Generated.
    Phantom(PhantomConfig),
    /// Images in a folder.
    Files(FilesConfig),
}

/// The standard brain that patients are on.
pub struct Standard<'a> {
    pub templates: &'a Path,
    /// Millimetres per voxel.
    pub spacing: f64,
    /// Tracts to generate, where there are no maps of them.
    pub tracts: usize,
    pub tract_maps: Option<&'a TractMaps>,
}

/// A probabilistic atlas of tracts on the standard brain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TractMaps {
    /// A volume of four dimensions, one tract after the other.
    pub maps: PathBuf,
    /// The AAL numbers of the regions that each joins.
    pub ends: PathBuf,
    /// The probability from which a voxel belongs to a tract.
    pub threshold: f32,
}

impl Cohort {
    /// `kept` is the folder in which patients on the standard brain are kept.
    pub fn open(source: &Source, kept: &Path, stop: &StopFlag) -> anyhow::Result<Self> {
        match source {
            Source::Phantom(config) => generate(config),
            Source::Files(config) => files::open(config, kept, stop),
        }
    }
}

impl Source {
    /// The standard brain, if the patients are on one: those of a generated head are not.
    pub fn standard(&self) -> Option<Standard<'_>> {
        match self {
            Source::Phantom(p) => p.standard(),
            Source::Files(f) => Some(f.standard()),
        }
    }
}

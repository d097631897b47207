//! A generated cohort: heads with regions and tracts, and tumours whose shape, texture and spread along tracts depend on a
//! made-up IDH status, each signal by itself. Nothing in it was measured on a person.

mod head;
mod patient;
mod write;

pub use write::write_glioma_phantom;

use super::{BrainAtlas, StandardBrain, TractSource};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Configuration of [`GliomaPhantom`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GliomaPhantomConfig {
    /// Patients without a label, who train the encoders of regions and tracts.
    pub unlabelled: usize,
    /// Patients with a label.
    pub labelled: usize,
    /// The root of all random draws.
    pub seed: u64,
    /// A folder with templates and atlases whose regions the heads have; without one the head is generated as well.
    pub templates: Option<PathBuf>,
    /// Where tracts come from in place of generated ones; it needs `templates`.
    #[serde(default)]
    pub tract_maps: Option<TractSource>,
    /// Voxels along x, y and z of a generated head.
    pub shape: [usize; 3],
    /// Millimetres per voxel.
    pub spacing: f64,
    /// Regions of a generated head, half of them in each hemisphere.
    pub regions: usize,
    /// Tracts: the shortest pairs of regions.
    pub tracts: usize,
    /// How far the mean of the shape signal lies from 0 in its standard deviations: mutants on one side, wild types on the
    /// other.
    pub shape_signal: f64,
    /// The same of the texture signal.
    pub texture_signal: f64,
    /// The same of the spread along tracts.
    pub tract_signal: f64,
    /// The share of mutants.
    pub prevalence: f64,
}

impl GliomaPhantomConfig {
    /// `labelled` patients with a label and twelve without one, at 5 mm, with all three signals.
    pub fn new(labelled: usize, seed: u64) -> Self {
        GliomaPhantomConfig {
            unlabelled: 12,
            labelled,
            seed,
            templates: None,
            tract_maps: None,
            shape: [30, 36, 30],
            spacing: 5.0,
            regions: 90,
            tracts: 240,
            shape_signal: 0.8,
            texture_signal: 0.8,
            tract_signal: 0.8,
            prevalence: 0.4,
        }
    }

    /// Sets how strong the signals of shape, texture and spread along tracts are.
    pub fn signals(mut self, shape: f64, texture: f64, tract: f64) -> Self {
        (self.shape_signal, self.texture_signal, self.tract_signal) = (shape, texture, tract);
        self
    }

    /// The standard brain, if the heads are copies of one.
    pub fn standard(&self) -> Option<StandardBrain> {
        Some(StandardBrain {
            folder: self.templates.clone()?,
            spacing: self.spacing,
            tracts: self.tracts,
            tract_maps: self.tract_maps.clone(),
        })
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        let refuse = |argument, expected: &str, got: String| {
            Err(Error::argument("GliomaPhantom", argument, expected, got))
        };
        if self.unlabelled + self.labelled == 0 {
            return refuse("labelled", "at least one patient", "0".into());
        }
        if !(self.spacing > 0.0 && self.spacing.is_finite()) || self.shape.contains(&0) {
            return refuse("spacing", "above 0, with voxels along each axis", self.spacing.to_string());
        }
        if self.regions < 4 || self.tracts == 0 {
            return refuse("regions", "at least 4, with a tract", self.regions.to_string());
        }
        if !(0.0..=1.0).contains(&self.prevalence) {
            return refuse("prevalence", "in [0, 1]", self.prevalence.to_string());
        }
        Ok(())
    }
}

/// A generated cohort: its atlas, and patients that are made when they are written.
#[derive(Debug, Clone)]
pub struct GliomaPhantom {
    config: GliomaPhantomConfig,
    atlas: BrainAtlas,
}

impl GliomaPhantom {
    /// Makes the atlas: that of the standard brain where there are templates, else a generated one.
    ///
    /// # Errors
    /// As [`GliomaPhantomConfig::validate`] and [`StandardBrain::atlas`].
    pub fn new(config: GliomaPhantomConfig) -> Result<Self> {
        config.validate()?;
        let atlas = match config.standard() {
            Some(standard) => standard.atlas()?,
            None => head::tessellated(&config, head::grid(&config)?),
        };
        Ok(GliomaPhantom { config, atlas })
    }

    /// Regions and tracts of all heads.
    pub fn atlas(&self) -> &BrainAtlas {
        &self.atlas
    }

    /// How it was made.
    pub fn config(&self) -> &GliomaPhantomConfig {
        &self.config
    }
}

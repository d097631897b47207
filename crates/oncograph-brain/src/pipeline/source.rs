use super::files::open_files;
use super::{
    GliomaCohort, GliomaFilesConfig, GliomaSubject, IntensityConfig, Placement, StageProgress, StageWatch,
    place_on_atlas,
};
use crate::Result;
use oncograph_datasets::cache::CacheKey;
use oncograph_datasets::glioma::{
    GliomaFiles, GliomaPhantom, GliomaPhantomConfig, GliomaTable, LabelConvention, StandardBrain, TumourLabel,
};
use oncograph_train::StopFlag;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Where the patients come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GliomaSource {
    /// Generated, written to disk and read like any other.
    Phantom(GliomaPhantomConfig),
    /// Images in a folder.
    Files(GliomaFilesConfig),
}

impl GliomaSource {
    /// The standard brain, if the patients are on one: those of a generated head are not.
    pub fn standard(&self) -> Option<StandardBrain> {
        match self {
            GliomaSource::Phantom(p) => p.standard(),
            GliomaSource::Files(f) => Some(f.standard.clone()),
        }
    }

    /// What is done to the values of images.
    pub fn intensities(&self) -> IntensityConfig {
        match self {
            GliomaSource::Phantom(_) => IntensityConfig::default(),
            GliomaSource::Files(f) => f.intensities.clone(),
        }
    }

    /// Opens the cohort. Below `root`, generated patients are written to `phantom_glioma`, and patients who were brought to
    /// the standard brain are kept in `cache/glioma_idh/patients`.
    ///
    /// # Errors
    /// Names the file and what is wrong with it: a table that cannot be read, labels of another convention than the stated one; too
    /// few patients of a genotype; with [`GliomaFilesConfig::strict`] every scan that cannot be used; a request to stop.
    pub fn open(&self, root: &Path, stop: &StopFlag, watch: &StageWatch<'_>) -> Result<GliomaCohort> {
        match self {
            GliomaSource::Phantom(config) => open_phantom(config, &root.join("phantom_glioma"), watch),
            GliomaSource::Files(config) => {
                open_files(config, &root.join("cache").join("glioma_idh").join("patients"), stop, watch)
            }
        }
    }
}

fn open_phantom(config: &GliomaPhantomConfig, root: &Path, watch: &StageWatch<'_>) -> Result<GliomaCohort> {
    let phantom = GliomaPhantom::new(config.clone())?;
    // The atlas is part of the name: the same templates path may hold others another day.
    let folder =
        root.join(&CacheKey::of(&(config, phantom.atlas().to_safetensors()?), "phantom 1")?.hex()[..16]);
    let total = config.unlabelled + config.labelled;
    let progress = |stage, done| watch(&StageProgress { stage, done, of: total, epoch: None });
    phantom.write(&folder, |done| progress("phantom cohort", done))?;
    let table = GliomaTable::read(folder.join("idh.csv"))?;
    let (mut subjects, mut idh) = (vec![], vec![]);
    for (i, row) in table.patients.iter().enumerate() {
        let files = GliomaFiles::find(folder.join(&row.id), None)?;
        let raw = files.read(LabelConvention::Brats2020, TumourLabel::Core)?;
        let subject =
            place_on_atlas(raw, phantom.atlas(), Placement::Standard(None), &IntensityConfig::default())?;
        subjects.push(GliomaSubject { age: row.age, male: row.male, ..subject });
        idh.push(row.idh);
        progress("reading", i + 1);
    }
    let mut cohort = GliomaCohort::new(phantom.atlas().clone(), subjects, &idh)?;
    (cohort.phantom, cohort.origin, cohort.folder) = (true, "phantom cohort".into(), folder);
    Ok(cohort)
}

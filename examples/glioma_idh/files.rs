//! A cohort from files: every patient is read, checked, brought to the standard brain and kept there.

use crate::cohort::{Cohort, Standard, Subject, TractMaps};
use crate::patient::{NAMES, Overlap, Space, normalise};
use crate::templates;
use anyhow::{Context, bail};
use oncograph::datasets::cache::{CacheKey, FeatureCache, Features};
use oncograph::datasets::glioma::{BratsNames, GliomaFiles, GliomaTable, LabelConvention, TumourLabel};
use oncograph::imaging::{Frame, Grid, Volume};
use oncograph::train::StopFlag;
use oncograph_examples::progress;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where the files of a cohort are and what they mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilesConfig {
    /// A folder for each patient.
    pub folder: PathBuf,
    /// What the numbers of the segmentations mean.
    pub labels: LabelConvention,
    /// G-35.
    pub tumour: TumourLabel,
    /// What the names of the segmentations end in, where it is not `seg` or `tumor_segmentation`.
    pub segmentation: Option<String>,
    /// The table of IDH status, age and sex.
    pub idh: PathBuf,
    /// A folder with templates and atlases.
    pub templates: PathBuf,
    pub space: Space,
    /// Millimetres per voxel.
    pub spacing: f64,
    /// Generated tracts.
    pub tracts: usize,
    /// Tracts of the user's in place of generated ones.
    #[serde(default)]
    pub tract_maps: Option<TractMaps>,
}

impl FilesConfig {
    /// The standard brain that the patients are brought to.
    pub fn standard(&self) -> Standard<'_> {
        Standard {
            templates: &self.templates,
            spacing: self.spacing,
            tracts: self.tracts,
            tract_maps: self.tract_maps.as_ref(),
        }
    }
}

/// Patients of each class: a third of them train the classifiers, of which the SVM's inner folds need five.
const FEWEST: usize = 15;

/// Below this the brain is not where the regions are.
const ON_THE_BRAIN: f64 = 0.8;

pub fn open(config: &FilesConfig, kept: &Path, stop: &StopFlag) -> anyhow::Result<Cohort> {
    let patients = GliomaFiles::find_all(&config.folder, config.segmentation.as_deref())?;
    let mapping = config.folder.join("name_mapping.csv");
    let names = if mapping.is_file() { BratsNames::read(&mapping)? } else { BratsNames::default() };
    let table = GliomaTable::read(&config.idh)?;
    let status = |mutant: bool| {
        let of = |p: &&GliomaFiles| table.of_images(&p.id, &names).and_then(|r| r.idh) == Some(mutant);
        patients.iter().filter(of).count()
    };
    let (mutants, wild_types) = (status(true), status(false));
    if mutants.min(wild_types) < FEWEST {
        bail!(
            "{}: {mutants} mutants and {wild_types} wild types by {} among {} patients; a split needs {FEWEST} of each",
            config.folder.display(),
            config.idh.display(),
            patients.len()
        );
    }
    let (grid, atlas) = templates::atlas(&config.standard())?;
    let cache = FeatureCache::open(kept)?;
    let bar = progress(patients.len() as u64, "standard brain");
    let (mut subjects, mut keys) = (vec![], vec![templates::fingerprint(config.tract_maps.as_ref())?]);
    for files in &patients {
        if stop.is_requested() {
            return Err(oncograph::train::Error::Stopped.into());
        }
        let (mut subject, key) = on_the_standard_brain(config, files, &grid, &cache, kept)
            .with_context(|| format!("patient {}", files.id))?;
        if let Some(record) = table.of_images(&files.id, &names) {
            (subject.idh, subject.age, subject.male) = (record.idh, record.age, record.male);
        }
        subjects.push(subject);
        keys.push(key);
        bar.inc(1);
    }
    bar.finish();
    let mut notes = vec![];
    if subjects.iter().all(|s| s.fa.is_none()) {
        let fa = templates::anisotropy(&config.templates, &grid)?;
        subjects.iter_mut().for_each(|s| s.fa = Some(fa.clone()));
        notes.push(
            "No patient has diffusion MRI: the encoder of tracts learns from the anisotropy of a group mean"
                .into(),
        );
    }
    let unknown = subjects.iter().filter(|s| s.idh.is_none()).count();
    if unknown > 0 {
        notes.push(format!("{unknown} patients have no IDH status in {}", config.idh.display()));
    }
    let none: [&Path; 0] = [];
    Ok(Cohort {
        atlas,
        subjects,
        phantom: false,
        origin: config.folder.display().to_string(),
        notes,
        fingerprint: CacheKey::new(&none, &keys, "cohort")?.hex(),
    })
}

/// A patient from the cache, or read, checked and normalised.
fn on_the_standard_brain(
    config: &FilesConfig,
    files: &GliomaFiles,
    grid: &Grid,
    cache: &FeatureCache,
    kept: &Path,
) -> anyhow::Result<(Subject, String)> {
    let inputs: Vec<PathBuf> =
        files.paths().map(Path::to_owned).chain([templates::brain(&config.templates)]).collect();
    let settings = (config.labels, config.tumour, config.space, config.spacing);
    let key = CacheKey::new(&inputs, &settings, "glioma patient 1")?;
    let compute = || -> anyhow::Result<Features> {
        let raw = files.read(config.labels, config.tumour)?;
        let work = kept.join(format!("registration-{}", &key.hex()[..16]));
        // What an earlier run left when it was killed.
        std::fs::remove_dir_all(&work).ok();
        let (mut subject, overlap) = normalise(&raw, config.space, &config.templates, grid, &work)?;
        if overlap.after < ON_THE_BRAIN {
            subject.flags.push(format!(
                "the brain overlaps the standard brain with a Dice of {:.2} alone",
                overlap.after
            ));
        }
        features(&subject, &overlap)
    };
    let stored = cache.get_or_compute(&key, compute)?;
    Ok((restored(&files.id, &stored, grid)?, key.hex()))
}

fn features(subject: &Subject, overlap: &Overlap) -> anyhow::Result<Features> {
    let [x, y, z] = subject.tumour.shape();
    let mut stored = Features::new()
        .array("tumour", &[z, y, x], subject.tumour.as_slice().iter().map(|v| f32::from(*v)).collect())?
        .text("flags", serde_json::to_string(&subject.flags)?)
        .text("registration", serde_json::to_string(overlap)?);
    let volumes = NAMES.into_iter().zip(&subject.volumes).chain(subject.fa.iter().map(|fa| ("fa", fa)));
    for (name, volume) in volumes {
        stored = stored.array(name, &[z, y, x], volume.as_slice().to_vec())?;
    }
    Ok(stored)
}

fn restored(id: &str, stored: &Features, grid: &Grid) -> anyhow::Result<Subject> {
    let frame = Frame::described("standard brain");
    let volume = |name: &str| -> anyhow::Result<Option<Volume<f32>>> {
        let Some(array) = stored.arrays.get(name) else { return Ok(None) };
        Ok(Some(Volume::new(grid.clone(), frame.clone(), array.data.clone())?))
    };
    let needed = |name: &str| volume(name)?.with_context(|| format!("the cache has no {name}"));
    let [t1, t1c, t2, flair] = NAMES;
    Ok(Subject {
        id: id.into(),
        idh: None,
        age: None,
        male: None,
        volumes: [needed(t1)?, needed(t1c)?, needed(t2)?, needed(flair)?],
        tumour: needed("tumour")?.map(|v| u8::from(v > 0.0)),
        fa: volume("fa")?,
        flags: serde_json::from_str(stored.metadata.get("flags").map_or("[]", String::as_str))?,
    })
}

use super::place::NAMES;
use super::{
    BrainOverlap, GliomaCohort, GliomaSubject, PatientSpace, StageProgress, StageWatch, place_on_atlas,
};
use crate::{Error, Result};
use oncograph_core::AtFile;
use oncograph_datasets::cache::{CacheKey, FeatureCache, Features};
use oncograph_datasets::glioma::{
    BrainAtlas, BratsNames, GliomaFiles, GliomaPhantom, GliomaPhantomConfig, GliomaTable, LabelConvention,
    StandardBrain, TumourLabel,
};
use oncograph_imaging::{Frame, Volume};
use oncograph_train::StopFlag;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where the patients come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GliomaSource {
    /// Generated, written to disk and read like any other.
    Phantom(GliomaPhantomConfig),
    /// Images in a folder.
    Files(GliomaFilesConfig),
}

/// Where the files of a cohort are and what they mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GliomaFilesConfig {
    /// A folder with a folder for each patient; with `name_mapping.csv` where the images have names of BraTS.
    pub folder: PathBuf,
    /// What the numbers of the segmentations mean.
    pub labels: LabelConvention,
    /// The part of the tumour that is looked at (decision G-35).
    pub tumour: TumourLabel,
    /// What the names of the segmentations end in, where it is not `seg` or `tumor_segmentation`.
    pub segmentation: Option<String>,
    /// The table of IDH status, age and sex.
    pub idh: PathBuf,
    /// The brain that the patients are brought to.
    pub standard: StandardBrain,
    /// Where the images lie.
    pub space: PatientSpace,
}

/// Patients of each class that a cohort needs: a third of them train the classifiers, of which the SVM's inner folds need
/// five.
const FEWEST: usize = 15;

/// Below this Dice the brain is not where the regions are.
const ON_THE_BRAIN: f64 = 0.8;

impl GliomaSource {
    /// The standard brain, if the patients are on one: those of a generated head are not.
    pub fn standard(&self) -> Option<StandardBrain> {
        match self {
            GliomaSource::Phantom(p) => p.standard(),
            GliomaSource::Files(f) => Some(f.standard.clone()),
        }
    }

    /// Opens the cohort. Below `root`, generated patients are written to `phantom_glioma`, and patients who were brought to
    /// the standard brain are kept in `cache/glioma_idh/patients`.
    ///
    /// # Errors
    /// Names the file and what is wrong with it; too few patients of a genotype; a request to stop.
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
        let (subject, _) = place_on_atlas(&raw, PatientSpace::Standard, phantom.atlas(), None, &folder)?;
        subjects.push(GliomaSubject { age: row.age, male: row.male, ..subject });
        idh.push(row.idh);
        progress("reading", i + 1);
    }
    let mut cohort = GliomaCohort::new(phantom.atlas().clone(), subjects, &idh)?;
    (cohort.phantom, cohort.origin, cohort.folder) = (true, "phantom cohort".into(), folder);
    Ok(cohort)
}

fn open_files(
    config: &GliomaFilesConfig,
    kept: &Path,
    stop: &StopFlag,
    watch: &StageWatch<'_>,
) -> Result<GliomaCohort> {
    let patients = GliomaFiles::find_all(&config.folder, config.segmentation.as_deref())?;
    let mapping = config.folder.join("name_mapping.csv");
    let names = if mapping.is_file() { BratsNames::read(&mapping)? } else { BratsNames::default() };
    let table = GliomaTable::read(&config.idh)?;
    let records: Vec<_> = patients.iter().map(|p| table.of_images(&p.id, &names)).collect();
    let idh: Vec<Option<bool>> = records.iter().map(|r| r.and_then(|r| r.idh)).collect();
    enough(config, &idh)?;
    let atlas = config.standard.atlas()?;
    let cache = FeatureCache::open(kept)?;
    let mut subjects = vec![];
    for (i, (files, record)) in patients.iter().zip(&records).enumerate() {
        if stop.is_requested() {
            return Err(oncograph_train::Error::Stopped.into());
        }
        let mut subject =
            placed(config, files, &atlas, (&cache, kept)).map_err(|e| e.of_patient(&files.id))?;
        if let Some(record) = record {
            (subject.age, subject.male) = (record.age, record.male);
        }
        subjects.push(subject);
        watch(&StageProgress { stage: "standard brain", done: i + 1, of: patients.len(), epoch: None });
    }
    let mut notes = table.notes.clone();
    if subjects.iter().all(|s| s.anisotropy.is_none()) {
        let fa = config.standard.anisotropy(&atlas.grid)?;
        subjects.iter_mut().for_each(|s| s.anisotropy = Some(fa.clone()));
        notes.push(
            "No patient has diffusion MRI: the encoder of tracts learns from the anisotropy of a group mean"
                .into(),
        );
    }
    let unknown = idh.iter().filter(|m| m.is_none()).count();
    if unknown > 0 {
        notes.push(format!("{unknown} patients have no IDH status in {}", config.idh.display()));
    }
    let of_patients: Vec<String> = patients.iter().map(|p| table.patient_of_images(&p.id, &names)).collect();
    let mut cohort = GliomaCohort::new(atlas, subjects, &idh)?.of_patients(&of_patients)?;
    let all: Vec<usize> = (0..patients.len()).collect();
    let count = cohort.patients(&all).members().len();
    if count < all.len() {
        notes.push(format!("{} scans of {count} patients: all scans of a patient go to one part", all.len()));
    }
    (cohort.origin, cohort.folder) = (config.folder.display().to_string(), config.folder.clone());
    cohort.notes.extend(notes);
    Ok(cohort)
}

/// Whether a split has patients of both classes in each part.
fn enough(config: &GliomaFilesConfig, idh: &[Option<bool>]) -> Result<()> {
    let count = |mutant: bool| idh.iter().filter(|m| **m == Some(mutant)).count();
    let (mutants, wild_types) = (count(true), count(false));
    if mutants.min(wild_types) >= FEWEST {
        return Ok(());
    }
    let cause = format!(
        "{mutants} mutants and {wild_types} wild types by {} among {} patients; a split needs {FEWEST} of each",
        config.idh.display(),
        idh.len()
    );
    Err(AtFile::new(&config.folder, cause).into())
}

/// The key of a patient on the standard brain: the files with what each of them is, the standard brain and its grid, and the
/// settings. Names of files stand in a patient's remarks, and belong to it, too.
fn placed_key(config: &GliomaFilesConfig, files: &GliomaFiles, atlas: &BrainAtlas) -> Result<CacheKey> {
    let inputs: Vec<PathBuf> = files.paths().map(Path::to_owned).chain([config.standard.brain()]).collect();
    let names: Vec<_> = files.paths().map(Path::file_name).collect();
    let roles = (files.segmentation.is_some(), files.anisotropy.is_some(), names);
    let settings = (config.labels, config.tumour, config.space);
    let target = (atlas.grid.shape(), atlas.grid.affine().as_slice(), &atlas.brain);
    Ok(CacheKey::new(&inputs, &(settings, roles, target), "glioma patient 3")?)
}

/// A patient on the standard brain, from the cache, or read, checked and brought there.
fn placed(
    config: &GliomaFilesConfig,
    files: &GliomaFiles,
    atlas: &BrainAtlas,
    (cache, kept): (&FeatureCache, &Path),
) -> Result<GliomaSubject> {
    let key = placed_key(config, files, atlas)?;
    let compute = || -> Result<Features> {
        let raw = files.read(config.labels, config.tumour)?;
        let work = kept.join(format!("registration-{}", &key.hex()[..16]));
        // What an earlier run left when it was killed.
        std::fs::remove_dir_all(&work).ok();
        let (mut subject, overlap) =
            place_on_atlas(&raw, config.space, atlas, Some(&config.standard), &work)?;
        if overlap.after < ON_THE_BRAIN {
            let dice = overlap.after;
            subject
                .flags
                .push(format!("the brain overlaps the standard brain with a Dice of {dice:.2} alone"));
        }
        features(&subject, &overlap)
    };
    let stored = cache.get_or_compute(&key, compute)?;
    restored(&files.id, &stored, atlas)
}

fn features(subject: &GliomaSubject, overlap: &BrainOverlap) -> Result<Features> {
    let [x, y, z] = subject.tumour.shape();
    let text = |value: serde_json::Result<String>| {
        value.map_err(|e| Error::input("patient", "what JSON can hold", e))
    };
    let mut stored = Features::new()
        .array("tumour", &[z, y, x], subject.tumour.as_slice().iter().map(|v| f32::from(*v)).collect())?
        .text("flags", text(serde_json::to_string(&subject.flags))?)
        .text("registration", text(serde_json::to_string(overlap))?);
    let anisotropy = subject.anisotropy.iter().map(|fa| ("fa", fa));
    for (name, volume) in NAMES.into_iter().zip(&subject.volumes).chain(anisotropy) {
        stored = stored.array(name, &[z, y, x], volume.as_slice().to_vec())?;
    }
    Ok(stored)
}

fn restored(id: &str, stored: &Features, atlas: &BrainAtlas) -> Result<GliomaSubject> {
    let frame = Frame::described("standard brain");
    let volume = |name: &str| -> Result<Option<Volume<f32>>> {
        let Some(array) = stored.arrays.get(name) else { return Ok(None) };
        Ok(Some(Volume::new(atlas.grid.clone(), frame.clone(), array.data.clone())?))
    };
    let absent = |name: &str| Error::input("patient", name, "a cache entry without it");
    let needed = |name: &str| volume(name)?.ok_or_else(|| absent(name));
    let [t1, t1c, t2, flair] = NAMES;
    let flags = stored.metadata.get("flags").ok_or_else(|| absent("flags"))?;
    Ok(GliomaSubject {
        id: id.into(),
        age: None,
        male: None,
        volumes: [needed(t1)?, needed(t1c)?, needed(t2)?, needed(flair)?],
        tumour: needed("tumour")?.map(|v| u8::from(v > 0.0)),
        anisotropy: volume("fa")?,
        flags: serde_json::from_str(flags).map_err(|e| Error::input("patient", "flags", e))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_datasets::glioma::GliomaPhantomConfig;

    /// Every input of a patient on the standard brain, changed one at a time, is another entry of the cache.
    #[test]
    fn a_patient_on_the_standard_brain_is_that_of_its_inputs() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let write = |name: &str, bytes: &str| std::fs::write(at(name), bytes).unwrap();
        std::fs::create_dir(at("templates")).unwrap();
        for name in ["p_t1.nii", "p_t1ce.nii", "p_t2.nii", "p_flair.nii", "p_seg.nii"] {
            write(name, name);
        }
        let standard = StandardBrain { folder: at(""), spacing: 5.0, tracts: 12, tract_maps: None };
        std::fs::write(standard.brain(), "brain").unwrap();
        let config = GliomaFilesConfig {
            folder: at(""),
            labels: LabelConvention::Brats2020,
            tumour: TumourLabel::Core,
            segmentation: None,
            idh: at("idh.csv"),
            standard,
            space: PatientSpace::Native,
        };
        let mut phantom = GliomaPhantomConfig::new(3, 1);
        (phantom.shape, phantom.regions, phantom.tracts) = ([8, 9, 8], 6, 4);
        let atlas = GliomaPhantom::new(phantom).unwrap().atlas().clone();
        let files = || GliomaFiles::find(root.path(), None).unwrap();
        let key = |config: &GliomaFilesConfig, files: &GliomaFiles, atlas: &BrainAtlas| {
            placed_key(config, files, atlas).unwrap().hex()
        };
        let base = || key(&config, &files(), &atlas);
        let mut seen = vec![base()];
        assert_eq!(base(), seen[0]);
        let mut new = |what: &str, key: String| {
            assert!(!seen.contains(&key), "{what}");
            seen.push(key);
        };
        for (change, what) in [
            ((|c| c.labels = LabelConvention::Decathlon) as fn(&mut GliomaFilesConfig), "convention"),
            (|c| c.tumour = TumourLabel::Whole, "part of the tumour"),
            (|c| c.space = PatientSpace::Standard, "space"),
        ] {
            let mut other = config.clone();
            change(&mut other);
            new(what, key(&other, &files(), &atlas));
        }
        let mut other = atlas.clone();
        other.brain[0] ^= true;
        new("mask of the brain", key(&config, &files(), &other));
        let mut swapped = files();
        swapped.sequences.swap(2, 3);
        new("which sequence is which", key(&config, &swapped, &atlas));
        // The same file as anisotropy in place of a segmentation.
        let mut moved = files();
        moved.anisotropy = moved.segmentation.take();
        new("what a file is", key(&config, &moved, &atlas));
        for name in ["p_t1.nii", "p_flair.nii", "p_seg.nii", "templates/MNI152_T1_2mm_brain.nii.gz"] {
            write(name, "other");
            new(name, base());
        }
    }
}

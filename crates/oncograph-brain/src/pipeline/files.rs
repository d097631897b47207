//! A cohort of images on disk: every file is looked at before the first registration, and one bad scan is listed, not fatal.

use super::place::NAMES;
use super::quality::{BrainOverlap, examined};
use super::{
    GliomaCohort, GliomaGroups, GliomaSubject, IntensityConfig, PatientSpace, Placement, RegistrationConfig,
    StageProgress, StageWatch, place_on_atlas,
};
use crate::{Error, Result};
use oncograph_core::AtFile;
use oncograph_datasets::cache::{CacheKey, FeatureCache, Features};
use oncograph_datasets::glioma::{
    BrainAtlas, BratsNames, GliomaFiles, GliomaFolder, GliomaTable, LabelConvention, LabelFit, LabelLook,
    ScanName, StandardBrain, TumourLabel, check_convention,
};
use oncograph_imaging::registration::Registrar;
use oncograph_imaging::{Frame, Volume};
use oncograph_study::side_by_side;
use oncograph_train::StopFlag;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the files of a cohort are and what they mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GliomaFilesConfig {
    /// A folder with the scans, at any depth. Tables of names with `mapping` in their own, down to two folders deep, are read
    /// ([`BratsNames`]).
    pub folder: PathBuf,
    /// What the numbers of the segmentations mean.
    pub labels: LabelConvention,
    /// The part of the tumour that is looked at (decision G-35).
    pub tumour: TumourLabel,
    /// What the names of the segmentations end in, where it is none of the usual ones.
    pub segmentation: Option<String>,
    /// The table of IDH status, age and sex.
    pub idh: PathBuf,
    /// Further tables of names.
    #[serde(default)]
    pub names: Vec<PathBuf>,
    /// The brain that the patients are brought to.
    pub standard: StandardBrain,
    /// Where the images lie.
    pub space: PatientSpace,
    /// How native images are registered.
    #[serde(default)]
    pub registration: RegistrationConfig,
    /// What is done to the values of images.
    #[serde(default)]
    pub intensities: IntensityConfig,
    /// Whether one scan that cannot be used ends the run, instead of being left out and listed.
    #[serde(default)]
    pub strict: bool,
    /// Whether the segmentations are used even where most of them look as if they followed another convention.
    #[serde(default)]
    pub trust_labels: bool,
}

/// Patients of each class that a cohort needs: a third of them train the classifiers, of which the SVM's inner folds need
/// five.
const FEWEST: usize = 15;

/// Bytes for each voxel of a native scan while it is registered: the images here and in the program, with its pyramids.
const BYTES_PER_VOXEL: u64 = 110;

/// Opens the cohort; patients who were brought to the standard brain are kept in the folder `kept`.
pub(super) fn open_files(
    config: &GliomaFilesConfig,
    kept: &Path,
    stop: &StopFlag,
    watch: &StageWatch<'_>,
) -> Result<GliomaCohort> {
    config.intensities.validate()?;
    let mut found = GliomaFiles::find_all(&config.folder, config.segmentation.as_deref())?;
    leave_out_reference(config, &mut found);
    let names = names(config)?;
    let table = GliomaTable::read(&config.idh)?;
    let idh_of = |scan: &GliomaFiles| table.of_images(&scan.id, &names).and_then(|r| r.idh);
    enough(config, found.scans.iter().map(idh_of))?;
    let of = found.scans.len() + found.faults.len();
    let (atlas, of_tracts) = config.standard.atlas_noted()?;
    let (cache, registrar) = (FeatureCache::open(kept)?, config.registration.registrar());
    let opening = Opening { config, atlas: &atlas, cache, registrar, kept, stop, watch };

    let mut left_out = found.faults;
    let looked = opening.looked(&found.scans, &mut left_out)?;
    let checked = opening.checked(&looked, &mut left_out)?;
    refuse_if_strict(config, of, &left_out)?;
    enough(config, checked.iter().map(|c| idh_of(&c.scan)))?;
    let mut subjects = opening.placed(&checked, &mut left_out)?;
    refuse_if_strict(config, of, &left_out)?;
    let records: Vec<_> = subjects.iter().map(|s| table.of_images(&s.id, &names)).collect();
    let idh: Vec<Option<bool>> = records.iter().map(|r| r.and_then(|r| r.idh)).collect();
    enough(config, idh.iter().copied())?;

    for (subject, record) in subjects.iter_mut().zip(records) {
        let Some(record) = record else { continue };
        (subject.age, subject.male) = (record.age, record.male);
        (subject.groups.site, subject.groups.grade) = (record.site.clone(), record.grade);
    }
    let mut notes = [table.notes.clone(), of_tracts].concat();
    if !left_out.is_empty() {
        notes.push(format!("{} of {of} scans cannot be used and are left out", left_out.len()));
    }
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
        notes.push(format!("{unknown} scans have no IDH status in {}", config.idh.display()));
    }
    let of_patients: Vec<String> = subjects.iter().map(|s| table.patient_of_images(&s.id, &names)).collect();
    let mut cohort = GliomaCohort::new(atlas, subjects, &idh)?.of_patients(&of_patients)?;
    let all: Vec<usize> = (0..of_patients.len()).collect();
    let count = cohort.patients(&all).members().len();
    if count < all.len() {
        notes.push(format!("{} scans of {count} patients: all scans of a patient go to one part", all.len()));
    }
    (cohort.origin, cohort.folder) = (config.folder.display().to_string(), config.folder.clone());
    cohort.notes.extend(notes);
    cohort.left_out = left_out;
    Ok(cohort)
}

/// Leaves out the patient whose histograms the others get.
fn leave_out_reference(config: &GliomaFilesConfig, found: &mut GliomaFolder) {
    let Some(reference) = &config.intensities.reference else { return };
    let patient = ScanName::of(&reference.id).patient;
    let is_other = |scan: &GliomaFiles| scan.scan_name().patient != patient;
    let (others, own): (Vec<GliomaFiles>, Vec<_>) = found.scans.drain(..).partition(is_other);
    let why = |scan: &GliomaFiles| format!("{}: the other scans get the histograms of this patient", scan.id);
    found.faults.extend(own.iter().map(why));
    found.scans = others;
}

/// What scans are called elsewhere.
fn names(config: &GliomaFilesConfig) -> Result<BratsNames> {
    let mut names = BratsNames::in_folder(&config.folder)?;
    for path in &config.names {
        names.extend(BratsNames::read(path)?)?;
    }
    Ok(names)
}

fn refuse_if_strict(config: &GliomaFilesConfig, of: usize, faults: &[String]) -> Result<()> {
    match config.strict && !faults.is_empty() {
        true => Err(Error::Patients { of, faults: faults.to_vec() }),
        false => Ok(()),
    }
}

/// Whether a split has patients of both classes in each part.
fn enough(config: &GliomaFilesConfig, idh: impl Iterator<Item = Option<bool>>) -> Result<()> {
    let idh: Vec<Option<bool>> = idh.collect();
    let count = |mutant: bool| idh.iter().filter(|m| **m == Some(mutant)).count();
    let (mutants, wild_types) = (count(true), count(false));
    if mutants.min(wild_types) >= FEWEST {
        return Ok(());
    }
    let cause = format!(
        "{mutants} mutants and {wild_types} wild types by {} among {} scans that can be used; a split needs {FEWEST} of each",
        config.idh.display(),
        idh.len()
    );
    Err(AtFile::new(&config.folder, cause).into())
}

/// A scan that can be read.
struct Checked {
    scan: GliomaFiles,
    key: CacheKey,
    /// Whether its segmentation has an enhancing part.
    enhancing: bool,
    /// Voxels of T1; 0 for a scan that is on the standard brain already.
    voxels: usize,
}

struct Opening<'a> {
    config: &'a GliomaFilesConfig,
    atlas: &'a BrainAtlas,
    cache: FeatureCache,
    registrar: Box<dyn Registrar + Sync>,
    kept: &'a Path,
    stop: &'a StopFlag,
    watch: &'a StageWatch<'a>,
}

impl Opening<'_> {
    /// `job` for each item by `workers` threads: the results, with the errors of scans added to `faults`.
    fn each<T: Sync, R: Send>(
        &self,
        stage: &'static str,
        items: &[T],
        workers: usize,
        faults: &mut Vec<String>,
        job: impl Fn(&T) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let done = AtomicUsize::new(0);
        let one = |item: &T| -> oncograph_study::Result<Result<R>> {
            let result = (!self.stop.is_requested()).then(|| job(item));
            // A program that is interrupted fails: the request is the cause.
            let result = result.filter(|_| !self.stop.is_requested());
            let result = result.ok_or(oncograph_train::Error::Stopped)?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            (self.watch)(&StageProgress { stage, done, of: items.len(), epoch: None });
            Ok(result)
        };
        let mut kept = vec![];
        for result in side_by_side(items, workers, one)? {
            match result {
                Ok(found) => kept.push(found),
                Err(error) => faults.push(error.to_string()),
            }
        }
        Ok(kept)
    }

    /// The scans with a segmentation, and how it looks; all of them tell whether the convention is the stated one.
    fn looked<'s>(
        &self,
        scans: &'s [GliomaFiles],
        faults: &mut Vec<String>,
    ) -> Result<Vec<(&'s GliomaFiles, LabelLook)>> {
        let scans: Vec<&GliomaFiles> = scans.iter().collect();
        let look = |scan: &&'s GliomaFiles| match scan.labels() {
            Ok(look) => Ok((*scan, look)),
            Err(error) => Err(Error::from(error).of_patient(&scan.id)),
        };
        let looked = self.each("checking labels", &scans, rayon::current_num_threads(), faults, look)?;
        if !self.config.trust_labels {
            let refused = |why| {
                let cause = format!("labels: {why}; trust_labels takes them as they are");
                Error::from(AtFile::new(&self.config.folder, cause))
            };
            check_convention(looked.iter().map(|l| &l.1), self.config.labels).map_err(refused)?;
        }
        Ok(looked)
    }

    /// The scans whose files can all be read and are what they should be.
    fn checked(
        &self,
        looked: &[(&GliomaFiles, LabelLook)],
        faults: &mut Vec<String>,
    ) -> Result<Vec<Checked>> {
        let check = |(scan, look): &(&GliomaFiles, LabelLook)| {
            self.check(scan, look).map_err(|e| e.of_patient(&scan.id))
        };
        self.each("checking files", looked, rayon::current_num_threads(), faults, check)
    }

    fn check(&self, scan: &GliomaFiles, look: &LabelLook) -> Result<Checked> {
        if let LabelFit::Impossible(why) = look.fit(self.config.labels) {
            let path = scan.segmentation.as_deref().unwrap_or(&scan.sequences[0]);
            return Err(AtFile::new(path, why).into());
        }
        let key = placed_key(self.config, scan, self.atlas, &self.registrar.settings())?;
        let mut voxels = 0;
        if !self.cache.path(&key).is_file() {
            let raw = scan.read(self.config.labels, self.config.tumour)?;
            voxels = examined(raw, self.atlas)?.sequences[0].grid().len();
        }
        Ok(Checked { scan: scan.clone(), key, enhancing: look.enhances(self.config.labels), voxels })
    }

    /// The scans on the standard brain, without those whose registration failed.
    fn placed(&self, scans: &[Checked], faults: &mut Vec<String>) -> Result<Vec<GliomaSubject>> {
        let largest = scans.iter().map(|c| c.voxels).max().unwrap_or(0) as u64;
        let workers = workers(rayon::current_num_threads(), largest * BYTES_PER_VOXEL, free_memory());
        let place = |c: &Checked| self.place(c).map_err(|e| e.of_patient(&c.scan.id));
        self.each("standard brain", scans, workers, faults, place)
    }

    /// A patient on the standard brain, from the cache, or read and brought there.
    fn place(&self, checked: &Checked) -> Result<GliomaSubject> {
        let Checked { scan, key, enhancing, .. } = checked;
        let compute = || -> Result<Features> {
            let raw = scan.read(self.config.labels, self.config.tumour)?;
            let (standard, work) = (&self.config.standard, self.work(checked)?);
            let registrar = self.registrar.as_ref();
            let placement = match self.config.space {
                PatientSpace::Standard => Placement::Standard(Some(standard)),
                PatientSpace::Native => Placement::Native { standard, registrar, work: &work },
            };
            features(&place_on_atlas(raw, self.atlas, placement, &self.config.intensities)?)
        };
        let mut subject = restored(&scan.id, &self.cache.get_or_compute(key, compute)?, self.atlas)?;
        subject.groups.enhancing = Some(*enhancing);
        match subject.overlap.failure() {
            Some(why) => Err(AtFile::new(&scan.sequences[0], why).into()),
            None => Ok(subject),
        }
    }

    /// Where the transform of a scan is kept. It depends on T1 and what is done to it: another mask or
    /// another label needs no other.
    fn work(&self, checked: &Checked) -> Result<PathBuf> {
        let inputs = [checked.scan.sequences[0].clone(), self.config.standard.brain()];
        let key = CacheKey::new(
            &inputs,
            &(&checked.scan.id, self.registrar.settings(), &self.config.intensities),
            "registration 1",
        )?;
        Ok(self.kept.join(format!("registration-{}", &key.hex()[..16])))
    }
}

/// The key of a patient on the standard brain: the files with what each of them is, the standard brain and its grid, the program
/// that registers, and the settings. Names of files stand in a patient's remarks, and belong to it, too.
fn placed_key(
    config: &GliomaFilesConfig,
    files: &GliomaFiles,
    atlas: &BrainAtlas,
    registrar: &str,
) -> Result<CacheKey> {
    let inputs: Vec<PathBuf> = files.paths().map(Path::to_owned).chain([config.standard.brain()]).collect();
    let names: Vec<_> = files.paths().map(Path::file_name).collect();
    let roles = (files.segmentation.is_some(), files.anisotropy.is_some(), names);
    let settings = (config.labels, config.tumour, config.space, registrar, &config.intensities);
    let target = (atlas.grid.shape(), atlas.grid.affine().as_slice(), &atlas.brain);
    Ok(CacheKey::new(&inputs, &(settings, roles, target), "glioma patient 4")?)
}

/// As many patients at once as there are threads and memory for.
fn workers(threads: usize, bytes_each: u64, free: Option<u64>) -> usize {
    let fitting = free.and_then(|free| free.checked_div(bytes_each));
    fitting.map_or(threads, |n| threads.min(n as usize)).max(1)
}

/// Bytes of memory that programs may still take, where the system tells.
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(1024 * line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

fn features(subject: &GliomaSubject) -> Result<Features> {
    let [x, y, z] = subject.tumour.shape();
    let text = |value: serde_json::Result<String>| {
        value.map_err(|e| Error::input("patient", "what JSON can hold", e))
    };
    let mut stored = Features::new()
        .array("tumour", &[z, y, x], subject.tumour.as_slice().iter().map(|v| f32::from(*v)).collect())?
        .text("flags", text(serde_json::to_string(&subject.flags))?)
        .text("registration", text(serde_json::to_string(&subject.overlap))?);
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
    let text = |name: &str| stored.metadata.get(name).ok_or_else(|| absent(name));
    let json = |name: &'static str| move |e| Error::input("patient", name, e);
    let [t1, t1c, t2, flair] = NAMES;
    let overlap: BrainOverlap = serde_json::from_str(text("registration")?).map_err(json("registration"))?;
    Ok(GliomaSubject {
        id: id.into(),
        age: None,
        male: None,
        groups: GliomaGroups::default(),
        volumes: [needed(t1)?, needed(t1c)?, needed(t2)?, needed(flair)?],
        tumour: needed("tumour")?.map(|v| u8::from(v > 0.0)),
        anisotropy: volume("fa")?,
        flags: serde_json::from_str(text("flags")?).map_err(json("flags"))?,
        overlap,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_datasets::glioma::{GliomaPhantom, GliomaPhantomConfig};

    #[test]
    fn as_many_patients_at_once_as_memory_holds() {
        assert_eq!(workers(8, 1 << 30, Some(3 << 30)), 3);
        assert_eq!((workers(8, 1 << 30, None), workers(8, 0, Some(1))), (8, 8));
        // One always: a system that reports less than it needs may still give it.
        assert_eq!(workers(8, 1 << 30, Some(1)), 1);
        if cfg!(target_os = "linux") {
            assert!(free_memory().is_some_and(|bytes| bytes > 1 << 20));
        }
    }

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
            names: vec![],
            standard,
            space: PatientSpace::Native,
            registration: RegistrationConfig::default(),
            intensities: IntensityConfig::default(),
            strict: false,
            trust_labels: false,
        };
        let mut phantom = GliomaPhantomConfig::new(3, 1);
        (phantom.shape, phantom.regions, phantom.tracts) = ([8, 9, 8], 6, 4);
        let atlas = GliomaPhantom::new(phantom).unwrap().atlas().clone();
        let files = || GliomaFiles::find(root.path(), None).unwrap();
        let key = |config: &GliomaFilesConfig, files: &GliomaFiles, atlas: &BrainAtlas| {
            placed_key(config, files, atlas, "elastix 5").unwrap().hex()
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
        new("program", placed_key(&config, &files(), &atlas, "elastix 6").unwrap().hex());
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

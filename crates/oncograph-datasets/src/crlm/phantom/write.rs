//! Writing a phantom cohort to disk.

use super::anatomy::Anatomy;
use super::config::PhantomConfig;
use super::outcome::{FORMULA, ImageFactors, generate};
use super::render::{Rendered, render};
use super::{GENERATED, MARKER};
use crate::crlm::columns::{ID, NOTES, OUTCOMES, POSTOPERATIVE, PREOPERATIVE, SCOUT};
use crate::crlm::structure::Structure;
use crate::error::{Error, Result};
use oncograph_core::{Seed, write_file};
use oncograph_imaging::nifti;
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Changes with every change to what is generated, so that cohorts of older versions are not taken for current.
const VERSION: u32 = 1;

/// What is known of one generated patient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PatientTruth {
    /// Identifier.
    pub id: String,
    /// Every factor of the generating model, raw and standardised (`z_*`), by name.
    pub factors: BTreeMap<String, f64>,
    /// True log hazard ratio of recurrence.
    pub lp_recurrence: f64,
    /// True log hazard ratio of death.
    pub lp_death: f64,
    /// Voxels along each axis.
    pub shape: [usize; 3],
    /// Voxel spacing, mm.
    pub spacing: [f64; 3],
    /// Orientation code of the voxel axes, e.g. `LPS`.
    pub orientation: String,
    /// The clinical row by column; -999 where missing.
    pub clinical: BTreeMap<String, f64>,
}

/// What is known of a generated cohort.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhantomTruth {
    /// Says that the data is generated.
    pub notice: String,
    /// The configuration.
    pub config: PhantomConfig,
    /// The generating model in words.
    pub formula: String,
    /// The patients, in the order of the clinical table.
    pub patients: Vec<PatientTruth>,
}

const NOTICE: &str = "GENERATED DATA. No image, value or outcome in this folder was measured on a person. \
    For software tests, examples and benchmarks only; results on it say nothing about patients.";

/// A patient's own record: which configuration made it.
#[derive(Debug, Serialize, Deserialize)]
struct PatientRecord {
    key: String,
    truth: PatientTruth,
}

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    notice: String,
    key: String,
    config: PhantomConfig,
}

/// Writes a phantom cohort into `folder` in the NIfTI layout, and returns the truth about it.
///
/// Written are `clinical.csv` (the columns of the released workbook), `<id>/ct.nii.gz`, `<id>/<structure>.nii.gz`,
/// `truth.csv` and `truth.json` (every factor, the linear predictors, the formula), `PHANTOM.txt` and the marker
/// `phantom.json`. [`CrlmCohort::open`](crate::crlm::CrlmCohort::open) reads it back.
///
/// # Model
/// Nothing is measured on a person. Log hazards of recurrence and of death are weighted sums of standardised
/// factors: total tumour volume (0.60 for either), number of tumours (0.40, 0.25), their density (0.50) and texture
/// (0.40), the remnant's share of the liver (-0.35, -0.60), and with small weights CEA, nodal status, synchronous and
/// extrahepatic disease, age and comorbidity; all times [`strength`](PhantomConfig::strength). The images carry more
/// than 85 % of the variance. Times are Weibull: recurrence, then death after it, or death before it; follow-up ends
/// between 68 and 132 months. [`PhantomTruth::formula`] has every number. The workbook's `max_tumor_size` carries an
/// error of about 50 % and `multiple_metastases` is wrong in 10 %, so that they do not give the images away.
///
/// # Files
/// Patients that are already there from the same configuration are kept (a different number of patients is the
/// same configuration), so that an interrupted run is finished by the next; a cohort of another configuration is
/// replaced. Each patient appears under its name only when it is complete. `progress` is called with the number of
/// patients done and the total, from any thread. The same configuration gives the same bytes with any number of
/// threads.
///
/// # Errors
/// A configuration out of range, a folder that holds other files than a phantom cohort, or a file that cannot be
/// written.
///
/// # Example
/// ```
/// use oncograph_datasets::crlm::{CrlmCohort, PhantomConfig, write_phantom};
///
/// let folder = tempfile::tempdir()?;
/// let config = PhantomConfig::new(2, 7).matrix(32);
/// let truth = write_phantom(folder.path(), &config, |done, total| println!("{done}/{total}"))?;
/// let cohort = CrlmCohort::open(folder.path())?;
/// assert!(cohort.phantom);
/// assert_eq!(cohort.subjects[1].id, truth.patients[1].id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_phantom(
    folder: impl AsRef<Path>,
    config: &PhantomConfig,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<PhantomTruth> {
    config.validate()?;
    let folder = folder.as_ref();
    let key = key_of(config);
    prepare(folder, config, &key)?;
    let done = AtomicUsize::new(0);
    let one = |index: usize| {
        let truth = patient(folder, config, &key, index)?;
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, config.patients);
        Ok(truth)
    };
    // Collected before the first error is taken: which patient is reported does not depend on the threads.
    let results: Vec<Result<PatientTruth>> = (0..config.patients).into_par_iter().map(one).collect();
    let patients = results.into_iter().collect::<Result<Vec<_>>>()?;
    let truth = PhantomTruth {
        notice: NOTICE.to_owned(),
        config: config.clone(),
        formula: FORMULA.to_owned(),
        patients,
    };
    write_file(folder.join("clinical.csv"), &clinical_csv(&truth))?;
    write_file(folder.join("truth.csv"), &truth_csv(&truth))?;
    write_file(folder.join("PHANTOM.txt"), format!("{NOTICE}\n\n{FORMULA}\n").as_bytes())?;
    write_file(folder.join("truth.json"), &json(&truth, folder)?)?;
    Ok(truth)
}

/// Identifies what is generated for a patient; the number of patients has no part in it.
fn key_of(config: &PhantomConfig) -> String {
    let mut config = config.clone();
    config.patients = 0;
    let text = serde_json::to_string(&config).unwrap_or_default();
    blake3::hash(format!("phantom {VERSION} {text}").as_bytes()).to_hex().to_string()
}

fn id_of(index: usize) -> String {
    format!("PHANTOM-{:04}", index + 1)
}

/// Creates or takes over the folder: other people's files are never touched.
fn prepare(folder: &Path, config: &PhantomConfig, key: &str) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    let marker = folder.join(MARKER);
    let list =
        || std::fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<PathBuf>>>();
    let entries = list().map_err(|e| Error::io("read", folder, e))?;
    if !marker.is_file() && !entries.is_empty() {
        let detail = format!("holds other files and no {MARKER}: a phantom cohort needs a folder of its own");
        return Err(Error::at(folder, detail));
    }
    for path in entries {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let surplus = name.strip_prefix("PHANTOM-").and_then(|n| n.parse::<usize>().ok());
        // Drafts that a killed run left: folders of patients, and files of the whole cohort.
        let draft = name.starts_with(".writing-");
        if path.is_dir() && (surplus.is_some_and(|n| n > config.patients) || draft) {
            std::fs::remove_dir_all(&path).map_err(|e| Error::io("remove", &path, e))?;
        } else if draft {
            std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
    }
    let record = Marker { notice: NOTICE.to_owned(), key: key.to_owned(), config: config.clone() };
    Ok(write_file(&marker, &json(&record, &marker)?)?)
}

/// Writes one patient unless it is already there.
fn patient(folder: &Path, config: &PhantomConfig, key: &str, index: usize) -> Result<PatientTruth> {
    let id = id_of(index);
    let place = folder.join(&id);
    if let Some(truth) = existing(&place, key) {
        return Ok(truth);
    }
    let (rendered, truth) = make(config, index)?;
    let draft = folder.join(format!(".writing-{id}"));
    std::fs::create_dir_all(&draft).map_err(|e| Error::io("create", &draft, e))?;
    let options = nifti::WriteOptions::new().compression(1).description("phantom: generated data");
    nifti::write_with(draft.join("ct.nii.gz"), &rendered.ct, &options)?;
    for (structure, mask) in &rendered.masks {
        nifti::write_with(draft.join(format!("{}.nii.gz", structure.file_stem())), mask, &options)?;
    }
    let record = PatientRecord { key: key.to_owned(), truth };
    write_file(draft.join("patient.json"), &json(&record, &draft)?)?;
    if place.exists() {
        std::fs::remove_dir_all(&place).map_err(|e| Error::io("replace", &place, e))?;
    }
    std::fs::rename(&draft, &place).map_err(|e| Error::io("rename", &place, e))?;
    Ok(record.truth)
}

/// Generates one patient.
fn make(config: &PhantomConfig, index: usize) -> Result<(Rendered, PatientTruth)> {
    let seed = Seed::new(config.seed).stream("phantom").at(index as u64);
    let anatomy = Anatomy::draw(config, seed)?;
    let rendered = render(&anatomy, seed)?;
    let count = |s: Structure| rendered.masks.get(&s).map_or(0, |m| m.count());
    let voxel_ml = rendered.ct.grid().voxel_volume() / 1000.0;
    let mut tumor = vec![false; rendered.ct.grid().len()];
    for (_, mask) in rendered.masks.iter().filter(|(s, _)| s.is_tumor()) {
        tumor.iter_mut().zip(mask.as_slice()).for_each(|(t, m)| *t |= *m != 0);
    }
    let image = ImageFactors {
        tumor_volume_ml: tumor.iter().filter(|t| **t).count() as f64 * voxel_ml,
        tumor_count: anatomy.lesions.len(),
        remnant_fraction: count(Structure::LiverRemnant) as f64 / count(Structure::Liver).max(1) as f64,
        hypodensity: anatomy.hypodensity,
        texture: anatomy.texture,
        liver_volume_ml: count(Structure::Liver) as f64 * voxel_ml,
        largest_mm: rendered.largest,
        bilobar: rendered.bilobar,
        body_mass_index: anatomy.body_mass_index,
    };
    let generated = generate(&image, (config.strength, &config.signals), seed);
    let grid = rendered.ct.grid();
    let truth = PatientTruth {
        id: id_of(index),
        factors: generated.factors,
        lp_recurrence: generated.lp_recurrence,
        lp_death: generated.lp_death,
        shape: grid.shape(),
        spacing: grid.spacing(),
        orientation: grid.orientation(),
        clinical: generated.row,
    };
    Ok((rendered, truth))
}

/// The record of a complete patient of the same configuration.
fn existing(place: &Path, key: &str) -> Option<PatientTruth> {
    let record: PatientRecord = read_json(&place.join("patient.json"))?;
    let tumors = record.truth.factors.get("tumor_count").map_or(0, |n| *n as u16);
    let stems =
        Structure::EXPECTED.into_iter().chain((1..=tumors).map(Structure::Tumor)).map(Structure::file_stem);
    let mut files = stems.chain(["ct".to_owned()]).map(|s| place.join(format!("{s}.nii.gz")));
    (record.key == key && files.all(|f| f.is_file())).then_some(record.truth)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn json(value: &impl Serialize, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| Error::format(path, "JSON", e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn clinical_csv(truth: &PhantomTruth) -> Vec<u8> {
    let columns: Vec<&str> = PREOPERATIVE.into_iter().chain(POSTOPERATIVE).chain(OUTCOMES).collect();
    let mut text = format!("{ID},{SCOUT},{},{NOTES}\n", columns.join(","));
    for (number, patient) in truth.patients.iter().enumerate() {
        let cells: Vec<String> = columns.iter().map(|c| patient.clinical[*c].to_string()).collect();
        text += &format!("{},{:03}_phantom,{},{GENERATED}\n", patient.id, number + 1, cells.join(","));
    }
    text.into_bytes()
}

fn truth_csv(truth: &PhantomTruth) -> Vec<u8> {
    let names: Vec<&String> = truth.patients.first().map(|p| p.factors.keys().collect()).unwrap_or_default();
    let list: Vec<&str> = names.iter().map(|n| n.as_str()).collect();
    let mut text = format!("{ID},{},lp_recurrence,lp_death\n", list.join(","));
    for patient in &truth.patients {
        let cells: Vec<String> = names.iter().map(|n| patient.factors[*n].to_string()).collect();
        text +=
            &format!("{},{},{},{}\n", patient.id, cells.join(","), patient.lp_recurrence, patient.lp_death);
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crlm::{CrlmCohort, Endpoint, FeatureSet, Layout, LoadOptions};

    fn small(patients: usize) -> PhantomConfig {
        PhantomConfig::new(patients, 11).matrix(48).slice_spacing(5.0, 7.5)
    }

    fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                all.extend(bytes(&path).into_iter().map(|(n, b)| (format!("{name}/{n}"), b)));
            } else {
                all.insert(name, std::fs::read(&path).unwrap());
            }
        }
        all
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_with_one_and_two_threads() {
        let write = |threads: usize, config: &PhantomConfig| {
            let folder = tempfile::tempdir().unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| write_phantom(folder.path(), config, |_, _| ()).unwrap());
            bytes(folder.path())
        };
        let one = write(1, &small(3));
        assert_eq!(one, write(2, &small(3)));
        assert_ne!(one, write(1, &PhantomConfig { seed: 12, ..small(3) }));
        assert!(one.keys().all(|name| !name.contains("writing")));
        for name in ["PHANTOM.txt", "truth.csv", "truth.json", "clinical.csv", "PHANTOM-0003/tumor_1.nii.gz"]
        {
            assert!(one.contains_key(name), "{name}");
        }
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn marginals_are_those_of_the_published_cohort() {
        let config = PhantomConfig::new(900, 5).matrix(32);
        let all: Vec<PatientTruth> =
            (0..config.patients).into_par_iter().map(|i| make(&config, i).unwrap().1).collect();
        let column = |name: &str| -> Vec<f64> {
            all.iter().map(|p| p.clinical[name]).filter(|v| *v != crate::crlm::columns::MISSING).collect()
        };
        for (name, expected, tolerance) in [
            ("vital_status", 0.543, 0.05),
            ("progression_or_recurrence", 0.665, 0.05),
            ("vital_status_DFS", 0.70, 0.05),
            ("progression_or_recurrence_liveronly", 0.41, 0.05),
            ("age", 59.7, 1.5),
            ("sex", 1.41, 0.05),
            ("body_mass_index", 27.3, 1.0),
            ("clinrisk_score", 1.97, 0.3),
            ("multiple_metastases", 0.58, 0.06),
            ("max_tumor_size", 3.5, 0.6),
            ("overall_survival_months", 66.5, 4.0),
            ("months_to_DFS_progression", 41.2, 5.0),
        ] {
            let got = mean(&column(name));
            assert!((got - expected).abs() < tolerance, "{name}: {got}, published {expected}");
        }
        let known = column("carcinoembryonic_antigen").len() as f64 / all.len() as f64;
        assert!((known - 168.0 / 197.0).abs() < 0.04, "{known}");
        let within = |name: &str, low: f64, high: f64| column(name).iter().all(|m| (low..=high).contains(m));
        assert!(
            within("months_to_DFS_progression", 0.9, 132.0) && within("overall_survival_months", 3.7, 132.0)
        );
        let mut slices: Vec<usize> = all.iter().map(|p| p.shape[2]).collect();
        slices.sort_unstable();
        assert!(slices[0] >= 21 && slices[slices.len() - 1] <= 240, "{slices:?}");
        let mut spacing: Vec<f64> = all.iter().map(|p| p.spacing[2]).collect();
        spacing.sort_by(f64::total_cmp);
        assert!((spacing[450] - 5.0).abs() < 1e-9 && spacing[0] >= 0.8 && spacing[899] <= 7.5);
        assert!(all.iter().all(|p| (0.61..=0.98).contains(&(p.spacing[0] * 32.0 / 512.0))));
        // The factors are standardised, so that the weights are log hazards of one standard deviation.
        for name in all[0].factors.keys().filter(|n| n.starts_with("z_")) {
            let values: Vec<f64> = all.iter().map(|p| p.factors[name]).collect();
            let centre = mean(&values);
            let sd = mean(&values.iter().map(|v| (v - centre).powi(2)).collect::<Vec<_>>()).sqrt();
            assert!(centre.abs() < 0.2 && (sd - 1.0).abs() < 0.2, "{name}: {centre} {sd}");
        }
    }

    #[test]
    fn a_cohort_is_read_back_and_means_what_the_truth_says() {
        let folder = tempfile::tempdir().unwrap();
        let truth = write_phantom(folder.path(), &small(6), |_, _| ()).unwrap();
        let cohort = CrlmCohort::open(folder.path()).unwrap();
        assert_eq!((cohort.layout, cohort.phantom, cohort.subjects.len()), (Layout::Nifti, true, 6));
        assert!(cohort.clinical.audit().is_empty(), "{:?}", cohort.clinical.audit());
        assert_eq!(cohort.clinical.features(FeatureSet::All).unwrap().width(), 25);
        assert_eq!(cohort.clinical.outcomes(Endpoint::Recurrence).len(), 6);
        let mut orientations = std::collections::BTreeSet::new();
        for (subject, truth) in cohort.subjects.iter().zip(&truth.patients) {
            let images = subject.load(&LoadOptions::new()).unwrap();
            assert!(images.missing.is_empty());
            assert_eq!(images.ct.shape(), truth.shape);
            orientations.insert(images.ct.grid().orientation());
            let volume = |s: Structure| images.masks[&s].foreground_volume() / 1000.0;
            let liver = volume(Structure::Liver);
            assert!((600.0..3000.0).contains(&liver), "liver {liver} ml");
            assert!((liver / truth.factors["liver_volume_ml"] - 1.0).abs() < 1e-3);
            let remnant = volume(Structure::LiverRemnant) / liver;
            assert!((remnant - truth.factors["remnant_fraction"]).abs() < 1e-3);
            let tumor = images.tumor_union().foreground_volume() / 1000.0;
            assert!((tumor / truth.factors["tumor_volume_ml"] - 1.0).abs() < 1e-3);
            assert_eq!(images.tumors().count() as f64, truth.factors["tumor_count"]);
            // Every structure lies within the liver, and the liver on the patient's right (+x of the world).
            let inside = &images.masks[&Structure::Liver];
            for (structure, mask) in &images.masks {
                let pairs = mask.as_slice().iter().zip(inside.as_slice());
                assert!(pairs.clone().all(|(m, l)| m <= l), "{structure} leaves the liver");
            }
            let centre = |index: [f64; 3]| images.ct.grid().index_to_world(index);
            let liver_x = centre(inside.centroid_index().unwrap())[0];
            let body = images.ct.map(|v| u8::from(v > -900.0));
            assert!(liver_x > centre(body.centroid_index().unwrap())[0] + 15.0);
        }
        assert!(orientations.len() > 1, "{orientations:?}");
    }

    #[test]
    fn hounsfield_units_are_where_they_belong() {
        let folder = tempfile::tempdir().unwrap();
        write_phantom(folder.path(), &small(4).matrix(96), |_, _| ()).unwrap();
        let cohort = CrlmCohort::open(folder.path()).unwrap();
        for subject in &cohort.subjects {
            let images = subject.load(&LoadOptions::new()).unwrap();
            let tumor = images.tumor_union();
            let mean = |keep: &dyn Fn(usize) -> bool| {
                let values: Vec<f64> = (0..tumor.grid().len())
                    .filter(|&i| keep(i))
                    .map(|i| f64::from(images.ct.as_slice()[i]))
                    .collect();
                values.iter().sum::<f64>() / values.len() as f64
            };
            let at = |s: Structure, i: usize| images.masks[&s].as_slice()[i] != 0;
            let portal = mean(&|i| at(Structure::PortalVeins, i) && tumor.as_slice()[i] == 0);
            let vessel = |i| at(Structure::PortalVeins, i) || at(Structure::HepaticVeins, i);
            let liver = mean(&|i| at(Structure::Liver, i) && tumor.as_slice()[i] == 0 && !vessel(i));
            let dark = mean(&|i| tumor.as_slice()[i] != 0);
            assert!(portal > liver + 30.0 && dark < liver - 8.0, "{portal} {liver} {dark}");
            assert!((80.0..140.0).contains(&liver));
            assert_eq!(images.ct.as_slice().iter().copied().fold(f32::INFINITY, f32::min), -1024.0);
        }
    }

    #[test]
    fn complete_patients_are_kept_half_written_ones_finished_and_other_files_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = write_phantom(folder.path(), &small(2), |_, _| ()).unwrap();
        let whole = bytes(folder.path());
        let kept = folder.path().join("PHANTOM-0001/ct.nii.gz");
        let time = || std::fs::metadata(&kept).unwrap().modified().unwrap();
        let before = time();
        // As after a crash: a mask gone, drafts left over.
        std::fs::remove_file(folder.path().join("PHANTOM-0002/liver.nii.gz")).unwrap();
        std::fs::remove_file(folder.path().join("truth.json")).unwrap();
        std::fs::create_dir(folder.path().join(".writing-PHANTOM-0002")).unwrap();
        std::fs::write(folder.path().join(".writing-a1b2c3"), "half").unwrap();
        let again = write_phantom(folder.path(), &small(2), |_, _| ()).unwrap();
        assert_eq!((again, bytes(folder.path()), time()), (first, whole.clone(), before));
        // More patients keep the first ones, fewer remove the last.
        write_phantom(folder.path(), &small(3), |_, _| ()).unwrap();
        assert_eq!(time(), before);
        write_phantom(folder.path(), &small(2), |_, _| ()).unwrap();
        assert_eq!(bytes(folder.path()), whole);
        // Another configuration replaces them.
        write_phantom(folder.path(), &small(2).strength(0.5), |_, _| ()).unwrap();
        assert_ne!(time(), before);
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("thesis.txt"), "mine").unwrap();
        let error = write_phantom(other.path(), &small(2), |_, _| ()).unwrap_err().to_string();
        assert!(error.contains("folder of its own"), "{error}");
    }
}

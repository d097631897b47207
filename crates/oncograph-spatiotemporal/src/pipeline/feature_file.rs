//! The image features of a cohort in one file, so that training needs no images.

use super::encoder::{CtFeatures, from_arrays, to_arrays};
use super::encoder_settings::EncoderSettings;
use crate::{ANATOMY, Error, Result};
use oncograph_core::AtFile;
use oncograph_datasets::cache::{Array, Features};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// What the file is, as it says itself.
const KIND: &str = "oncograph: image features of an STG cohort";
/// The names of its texts.
const PATIENTS: &str = "patients";
const SETTINGS: &str = "settings";
const PHANTOM: &str = "phantom";
const NODES: &str = "nodes";
/// The remarks of each patient; files of older versions have none.
const NOTES: &str = "notes";

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FeatureFile {
    /// Whether the patients were generated.
    pub phantom: bool,
    pub patients: BTreeMap<String, CtFeatures>,
}

impl FeatureFile {
    /// Writes the features of patients in their order, whole or not at all: each array of a patient becomes one of the cohort, with
    /// the patients as its first axis.
    pub fn write(
        path: &Path,
        settings: &EncoderSettings,
        phantom: bool,
        (ids, images): (&[String], &[CtFeatures]),
    ) -> Result<()> {
        let mut file = Features::new()
            .text(PATIENTS, json(path, &ids)?)
            .text(SETTINGS, json(path, settings)?)
            .text(PHANTOM, json(path, &phantom)?)
            .text(NODES, ANATOMY.join(", ") + ", CT")
            .text(NOTES, json(path, &images.iter().map(|patient| &patient.notes).collect::<Vec<_>>())?);
        let [levels, width] = settings.shape();
        for patient in images {
            for (name, array) in to_arrays(patient, levels, width)?.arrays {
                let all = file.arrays.entry(name).or_insert_with(|| Array {
                    shape: [&[0], &array.shape[..]].concat(),
                    data: Vec::with_capacity(images.len() * array.data.len()),
                });
                all.shape[0] += 1;
                all.data.extend(array.data);
            }
        }
        Ok(file.write(path, KIND)?)
    }

    /// Reads what [`FeatureFile::write`] wrote, if it was made with these settings.
    pub fn read(path: &Path, wanted: &EncoderSettings) -> Result<Self> {
        let file = Features::read(path, KIND)?;
        let refused = |why: String| Error::from(AtFile::new(path, why));
        let text = |name: &str| {
            let text = file.metadata.get(name).ok_or_else(|| refused(format!("no text `{name}`")))?;
            serde_json::from_str::<Value>(text).map_err(|e| refused(format!("`{name}`: {e}")))
        };
        // Before anything else: another version may keep other things.
        check(text(SETTINGS)?, wanted).map_err(refused)?;
        let ids: Vec<String> =
            serde_json::from_value(text(PATIENTS)?).map_err(|e| refused(format!("`{PATIENTS}`: {e}")))?;
        let mut notes: Vec<Vec<String>> = match file.metadata.contains_key(NOTES) {
            true => serde_json::from_value(text(NOTES)?).map_err(|e| refused(format!("`{NOTES}`: {e}")))?,
            false => vec![],
        };
        notes.resize(ids.len(), vec![]);
        let mut patients = BTreeMap::new();
        for (row, id) in ids.iter().enumerate() {
            let features = of_row(&file, row, ids.len(), wanted.shape());
            let features =
                features.ok_or_else(|| refused("its arrays are not those of its patients".into()))?;
            let features = CtFeatures { notes: std::mem::take(&mut notes[row]), ..features };
            if patients.insert(id.clone(), features).is_some() {
                return Err(refused(format!("patient {id} is in it twice")));
            }
        }
        Ok(FeatureFile { phantom: text(PHANTOM)? == true, patients })
    }
}

fn json(path: &Path, value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(value).map_err(|e| AtFile::new(path, e))?)
}

/// The features in one row of the arrays; `None` where these are of another shape.
fn of_row(file: &Features, row: usize, rows: usize, [levels, width]: [usize; 2]) -> Option<CtFeatures> {
    let mut one = Features::new();
    for (name, array) in &file.arrays {
        let (&first, shape) = array.shape.split_first()?;
        let size = shape.iter().product::<usize>();
        let data = array.data.get(row * size..(row + 1) * size).filter(|_| first == rows)?;
        one.arrays.insert(name.clone(), Array { shape: shape.to_vec(), data: data.to_vec() });
    }
    from_arrays(&one).filter(|features| features.values.len() == 6 * levels * width)
}

/// Refuses features of another version or with other settings, and names the first that differs.
fn check(found: Value, wanted: &EncoderSettings) -> std::result::Result<(), String> {
    if found["version"] != wanted.version.as_str() {
        return Err(format!(
            "features of version {}, this program makes {}",
            found["version"], wanted.version
        ));
    }
    // Settings that came later have their defaults.
    let settings = serde_json::from_value::<EncoderSettings>(found)
        .and_then(|found| Ok((serde_json::to_value(found)?, serde_json::to_value(wanted)?)));
    let (found, wanted) = settings.map_err(|e| format!("`{SETTINGS}`: {e}"))?;
    match difference(&found, &wanted, "") {
        None => Ok(()),
        Some((place, found, wanted)) => Err(format!(
            "its features were made with another setting: {place} is {found}, the run has {wanted}"
        )),
    }
}

/// The first place in which two values differ, and what they have there; an entry that one of them lacks is null.
fn difference<'a>(a: &'a Value, b: &'a Value, place: &str) -> Option<(String, &'a Value, &'a Value)> {
    let (Value::Object(one), Value::Object(other)) = (a, b) else {
        return (a != b).then(|| (place.to_string(), a, b));
    };
    one.keys().chain(other.keys()).find_map(|key| {
        let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
        difference(one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null), &place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StgPreset, StgSystemConfig};
    use oncograph_core::Seed;

    fn settings(edit: impl Fn(StgSystemConfig) -> StgSystemConfig, seed: u64) -> EncoderSettings {
        let config = edit(StgSystemConfig::new(StgPreset::Quick).size(4, 16).encoder_width(4));
        EncoderSettings::new(&config, Seed::new(seed)).unwrap()
    }

    fn patient(p: usize) -> CtFeatures {
        CtFeatures {
            values: (0..6 * 3 * 8 * 32).map(|i| (i * (p + 3)) as f32 * 0.37).collect(),
            centroids: [[0.25 * p as f32; 3]; 5],
            empty: [p == 1, false, false, true, false],
            kept: [None, Some(1.0), Some(0.5), None, Some(0.0)],
            numbers: [Some(12.5), None, Some(0.0), Some(f64::from(0.1_f32))],
            intensities: [Some([p as f32 - 1.0, 0.5]), None, Some([-0.0, 0.0]), None, Some([-90.0, 1e-3])],
            notes: vec![format!("a remark on {p}"); p],
        }
    }

    fn written(folder: &Path) -> (std::path::PathBuf, Vec<String>, Vec<CtFeatures>) {
        let path = folder.join("features.safetensors");
        let (ids, images) = (vec!["B".to_string(), "A".to_string()], vec![patient(0), patient(1)]);
        FeatureFile::write(&path, &settings(|c| c, 1), true, (&ids, &images)).unwrap();
        (path, ids, images)
    }

    #[test]
    fn features_come_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let (path, ids, images) = written(folder.path());
        let file = FeatureFile::read(&path, &settings(|c| c, 1)).unwrap();
        assert!(file.phantom);
        for (id, features) in ids.iter().zip(&images) {
            assert_eq!(&file.patients[id], features);
        }
        // The file by itself, as other programs read it.
        let stored = Features::read(&path, KIND).unwrap();
        assert_eq!(stored.arrays["features"].shape, [2, 6, 3, 256]);
        assert_eq!(stored.metadata[PATIENTS], r#"["B","A"]"#);
    }

    #[test]
    fn other_settings_another_version_and_damage_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (path, ..) = written(folder.path());
        let error = |wanted: &EncoderSettings| FeatureFile::read(&path, wanted).unwrap_err().to_string();
        let narrow = error(&settings(|c| c.encoder_width(8), 1));
        assert!(narrow.contains("encoder.base_width is 4, the run has 8"), "{narrow}");
        let large = error(&settings(|c| c.size(4, 24), 1));
        assert!(large.contains("preprocess.") && large.contains("24"), "{large}");
        let seed = error(&settings(|c| c, 2));
        assert!(seed.contains("seed is 1, the run has 2"), "{seed}");
        let mut other = settings(|c| c, 1);
        other.version = "0".into();
        assert!(error(&other).contains("\", this program makes 0"), "{}", error(&other));
        let good = std::fs::read(&path).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bad in [&good[..good.len() / 2], &flipped, b"no features"] {
            std::fs::write(&path, bad).unwrap();
            let error = error(&settings(|c| c, 1));
            assert!(error.contains("features.safetensors: not a readable safetensors file"), "{error}");
        }
    }
}

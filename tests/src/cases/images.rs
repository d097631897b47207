//! DICOM series and segmentations, NIfTI, surfaces, cohorts with images, registration.

use super::{Missing, flag, number, text, volume};
use anyhow::{Context, Result};
use oncograph_datasets::crlm::{CrlmCohort, ImageFiles, LoadOptions};
use oncograph_datasets::glioma::{GliomaFiles, LabelConvention, TumourLabel};
use oncograph_imaging::dicom::{SeriesOptions, read_series};
use oncograph_imaging::mesh::{MarchingCubesOptions, marching_cubes};
use oncograph_imaging::registration::{Elastix, Registrar};
use oncograph_imaging::{Mask, Volume, nifti, seg};
use oncograph_metrics::pearson;
use serde_json::{Map, Value, json};
use std::path::Path;

pub fn series(folder: &Path, options: &Value) -> Result<Value> {
    let mut wanted = SeriesOptions::new();
    if let Some(fraction) = number(options, "spacing_tolerance") {
        wanted = wanted.spacing_tolerance(fraction);
    }
    if let Some(number) = number(options, "acquisition") {
        wanted = wanted.acquisition(number as i64);
    }
    wanted = wanted.skip_unreadable(flag(options, "skip_unreadable"));
    let series = read_series(folder, &wanted)?;
    let mut facts = volume(&series.volume);
    let slices: Vec<_> = series.slices.iter().map(|s| s.position).collect();
    facts["slices"] = json!(slices.len());
    facts["first_position"] = json!(slices.first());
    facts["modality"] = json!(series.modality);
    Ok(facts)
}

/// By segment the voxels of each slice of the CT.
pub fn seg(folder: &Path, options: &Value) -> Result<Value> {
    let ct = read_series(folder.join("ct"), &SeriesOptions::new())?;
    let decode = seg::DecodeOptions::new().resample(flag(options, "resample"));
    let decoded = seg::read(folder.join("seg.dcm"))?.decode_onto_series(&ct, &decode)?;
    let mut segments = Map::new();
    for found in decoded {
        segments.insert(
            found.segment.number.to_string(),
            json!({
                "label": found.segment.label, "by_slice": by_slice(&found.mask()), "voxels": found.mask().count(),
                "resampled": found.resampled, "outside": found.outside,
            }),
        );
    }
    Ok(Value::Object(segments))
}

fn by_slice(mask: &Mask) -> Vec<usize> {
    let [nx, ny, _] = mask.shape();
    mask.as_slice().chunks(nx * ny).map(|slice| slice.iter().filter(|v| **v != 0).count()).collect()
}

pub fn nifti(path: &Path, options: &Value) -> Result<Value> {
    if flag(options, "mask") {
        let (mask, notes) = nifti::read_noted::<u8>(path, &nifti::ReadOptions::new())?;
        let labels: std::collections::BTreeSet<u8> = mask.as_slice().iter().copied().collect();
        return Ok(json!({"shape": mask.shape(), "labels": labels, "voxels": mask.count(), "notes": notes}));
    }
    let (read, notes) = nifti::read_noted::<f32>(path, &nifti::ReadOptions::new())?;
    let mut facts = volume(&read);
    facts["notes"] = json!(notes);
    Ok(facts)
}

pub fn mesh(path: &Path) -> Result<Value> {
    let volume: Volume<f32> = nifti::read(path)?;
    let mesh = marching_cubes(&volume, &MarchingCubesOptions::new(0.0))?;
    Ok(
        json!({"closed": mesh.is_closed(), "euler": mesh.euler_characteristic(), "volume": mesh.volume(), "area": mesh.area()}),
    )
}

/// The layout, and of each patient with images the size of the CT and the voxels of each structure.
pub fn crlm(root: &Path, options: &Value) -> Result<Value> {
    let cohort = CrlmCohort::open(root)?;
    let mut patients = Map::new();
    let load = LoadOptions::new().empty_as_missing(flag(options, "empty_as_missing"));
    for subject in cohort.subjects.iter().filter(|s| s.images.is_some()) {
        let images = subject.load(&load)?;
        let masks: Map<String, Value> =
            images.masks.iter().map(|(s, mask)| (s.to_string(), json!(mask.count()))).collect();
        let kind = match &subject.images {
            Some(ImageFiles::Dicom { .. }) => "dicom",
            Some(ImageFiles::Nifti { .. }) => "nifti",
            _ => "other",
        };
        patients.insert(subject.id.clone(), json!({"kind": kind, "ct": images.ct.shape(), "masks": masks}));
    }
    Ok(
        json!({"layout": format!("{:?}", cohort.layout), "patients": cohort.subjects.len(), "images": patients}),
    )
}

pub fn glioma(root: &Path, options: &Value) -> Result<Value> {
    let convention = match text(options, "convention") {
        None | Some("brats2020") => LabelConvention::Brats2020,
        Some(name) => serde_json::from_value(json!(name)).context("convention")?,
    };
    let mut patients = Map::new();
    let found = GliomaFiles::find_all(root, None)?;
    anyhow::ensure!(found.faults.is_empty(), "{}", found.faults.join("; "));
    for files in found.scans {
        let images = files.read(convention, TumourLabel::Core)?;
        let facts =
            json!({"tumour": images.tumour.count(), "shape": images.tumour.shape(), "flags": images.flags});
        patients.insert(files.id.clone(), facts);
    }
    Ok(Value::Object(patients))
}

/// Moves one image onto the other in a folder with the case's kind of name, and says how alike they are then.
pub fn elastix(folder: &Path) -> Result<Value> {
    let engine = Elastix::new();
    engine.version().map_err(|absent| Missing(absent.to_string()))?;
    let inner = folder.join("a b");
    let (images, name) = match inner.is_dir() {
        true => (inner, "oncograph cases"),
        false => (folder.to_path_buf(), "oncograph_cases"),
    };
    let read = |name: &str| nifti::read::<f32>(images.join(name));
    let (fixed, moving) = (read("fixed.nii.gz")?, read("moving.nii.gz")?);
    let scratch = std::env::temp_dir().join(format!("{name}_{}", std::process::id()));
    let moved = engine.register(&fixed, &moving, &scratch).and_then(|t| t.apply(&moving, "moved"));
    std::fs::remove_dir_all(&scratch).ok();
    let moved = moved?;
    let values = |volume: &Volume<f32>| volume.as_slice().iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    let alike = pearson(&values(&fixed), &values(&moved))?.coefficient;
    Ok(json!({"correlation_above_0.99": alike > 0.99, "correlation": alike}))
}

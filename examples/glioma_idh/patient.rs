//! One real patient from files: four sequences and a segmentation on one grid, brought to the standard brain.

use crate::cohort::{SEQUENCES, Subject};
use crate::templates;
use anyhow::{Context, bail};
use clap::ValueEnum;
use oncograph::imaging::registration::{Elastix, Registrar};
use oncograph::imaging::{Grid, Interpolation, Mask, ResampleOptions, Volume, nifti, resample};
use oncograph::metrics::dice;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What the numbers of a segmentation mean. There is no default: the same number is another tissue in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// 1 necrotic or not enhancing, 2 oedema, 4 enhancing (BraTS up to 2020 and 2021).
    Brats2020,
    /// 1 necrotic or not enhancing, 2 oedema, 3 enhancing (BraTS from 2023).
    Brats2023,
}

impl Labels {
    fn enhancing(self) -> u8 {
        match self {
            Labels::Brats2020 => 4,
            Labels::Brats2023 => 3,
        }
    }
}

/// How the endings of file names say which sequence it is.
const ENDINGS: [&[&str]; 4] =
    [&["t1", "t1n"], &["t1c", "t1ce", "t1gd"], &["t2", "t2w"], &["fla", "flair", "t2f"]];

/// The four sequences of a folder, by the ending of their names.
fn files(folder: &Path) -> anyhow::Result<[PathBuf; 4]> {
    let mut found: [Option<PathBuf>; 4] = Default::default();
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
        let Some(stem) = name.strip_suffix(".nii.gz").or(name.strip_suffix(".nii")) else { continue };
        let last = stem.rsplit(['_', '-']).next().unwrap_or_default().to_string();
        for (k, endings) in ENDINGS.iter().enumerate() {
            if endings.contains(&last.as_str()) {
                if let Some(other) = &found[k] {
                    bail!(
                        "{}: {} and {} are both {}",
                        folder.display(),
                        other.display(),
                        path.display(),
                        SEQUENCES[k]
                    );
                }
                found[k] = Some(path.clone());
            }
        }
    }
    let mut missing = (0..4).filter(|&k| found[k].is_none());
    if let Some(k) = missing.next() {
        bail!("{}: no {} (a name that ends in {})", folder.display(), SEQUENCES[k], ENDINGS[k].join(" or "));
    }
    Ok(found.map(Option::unwrap_or_default))
}

/// The patient as found on disk.
pub struct Raw {
    pub id: String,
    pub volumes: [Volume<f32>; 4],
    pub tumour: Mask,
    pub flags: Vec<String>,
}

/// Reads and checks a patient.
pub fn read(folder: &Path, segmentation: &Path, labels: Labels) -> anyhow::Result<Raw> {
    let paths = files(folder)?;
    let mut volumes = vec![];
    for path in &paths {
        let volume: Volume<f32> = nifti::read(path)?;
        volume.require_finite(path)?;
        volumes.push(volume);
    }
    let volumes: [Volume<f32>; 4] =
        volumes.try_into().map_err(|_| anyhow::anyhow!("{}: four sequences", folder.display()))?;
    let mask: Volume<f32> = nifti::read(segmentation)?;
    for (path, grid) in paths[1..]
        .iter()
        .zip(&volumes[1..])
        .map(|(p, v)| (p.as_path(), v.grid()))
        .chain([(segmentation, mask.grid())])
    {
        if !grid.approx_eq(volumes[0].grid(), 1e-3) {
            bail!("{}: another grid than {}: shape or affine differ", path.display(), paths[0].display());
        }
    }
    let (tumour, flags) = tumour(&mask, segmentation, labels)?;
    let id = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Raw { id, volumes, tumour, flags })
}

/// G-35: the core, or the whole tumour where there is none, which is flagged.
fn tumour(mask: &Volume<f32>, path: &Path, labels: Labels) -> anyhow::Result<(Mask, Vec<String>)> {
    let known = [0.0, 1.0, 2.0, f32::from(labels.enhancing())];
    if let Some(other) = mask.as_slice().iter().find(|v| !known.contains(v)) {
        let convention = labels.to_possible_value().map(|v| v.get_name().to_string()).unwrap_or_default();
        bail!(
            "{}: label {other} does not belong to --labels {convention}, which has 0, 1, 2 and {}",
            path.display(),
            labels.enhancing()
        );
    }
    let core = mask.map(|v| u8::from(v == 1.0 || v == f32::from(labels.enhancing())));
    if core.count() > 0 {
        return Ok((core, vec![]));
    }
    let whole = mask.map(|v| u8::from(v > 0.0));
    if whole.count() == 0 {
        bail!("{}: the tumour is empty", path.display());
    }
    Ok((whole, vec!["there is no tumour core: the whole tumour with its oedema is used".into()]))
}

/// How well the brain lies on the standard brain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    pub tool: String,
    /// Dice of the brain masks by the files' own coordinates.
    pub before: f64,
    /// Dice after registration.
    pub after: f64,
}

/// The patient on the grid of a run: T1 is registered to the standard brain, and all else follows it.
pub fn normalise(raw: &Raw, folder: &Path, grid: &Grid, work: &Path) -> anyhow::Result<(Subject, Overlap)> {
    let template: Volume<f32> = nifti::read(templates::brain(folder))?;
    let standard = templates::brain_mask(folder)?;
    let registrar = Elastix::new();
    let transform = registrar.register(&template, &raw.volumes[0], work)?;
    let mut volumes = vec![];
    for (volume, name) in raw.volumes.iter().zip(["t1", "t1c", "t2", "flair"]) {
        volumes.push(transform.apply(volume, name)?);
    }
    let tumour = transform.apply_labels(&raw.tumour, "tumour")?;
    let nearest = ResampleOptions::new(Interpolation::Nearest).outside(0.0);
    let brain = |t1: &Volume<f32>| t1.map(|v| u8::from(v > 0.0));
    let before = resample(&brain(&raw.volumes[0]), template.grid(), &nearest)?;
    let overlap = |mask: &Mask| dice(&bits(mask), &bits(&standard));
    let overlap = Overlap {
        tool: registrar.version()?,
        before: overlap(&before)?,
        after: overlap(&brain(&volumes[0]))?,
    };
    let linear = ResampleOptions::new(Interpolation::Linear).outside(0.0);
    let coarse = volumes.iter().map(|v| resample(v, grid, &linear)).collect::<Result<Vec<_>, _>>()?;
    let volumes = coarse.try_into().map_err(|_| anyhow::anyhow!("four sequences"))?;
    // Linear, so that a voxel of the coarse grid is tumour where half of it is.
    let tumour = resample(&tumour.cast::<f32>(), grid, &linear)?.map(|v| u8::from(v >= 0.5));
    let subject = Subject {
        id: raw.id.clone(),
        idh: None,
        age: None,
        male: None,
        volumes,
        tumour,
        fa: None,
        flags: raw.flags.clone(),
    };
    Ok((subject, overlap))
}

fn bits(mask: &Mask) -> Vec<bool> {
    mask.as_slice().iter().map(|v| *v > 0).collect()
}

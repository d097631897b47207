//! Regions and tracts of a standard brain: AAL regions, and tracts generated through the white matter between them.

use crate::cohort::{Atlas, Tract};
use anyhow::Context;
use oncograph::imaging::atlas::{GeodesicOptions, LabelMap, geodesic_tracts};
use oncograph::imaging::{Grid, Interpolation, Mask, ResampleOptions, Volume, nifti, resample};
use std::path::{Path, PathBuf};

/// The standard brain without skull that patients are registered to.
pub fn brain(folder: &Path) -> PathBuf {
    folder.join("templates/MNI152_T1_2mm_brain.nii.gz")
}

/// The mask of the standard brain.
pub fn brain_mask(folder: &Path) -> anyhow::Result<Mask> {
    let path = folder.join("templates/MNI152_T1_2mm_brain_mask.nii.gz");
    let mask: Volume<f32> = nifti::read(&path).with_context(|| path.display().to_string())?;
    Ok(mask.map(|v| u8::from(v > 0.5)))
}

/// The fractional anisotropy of a group mean: that of no patient.
pub fn anisotropy(folder: &Path, grid: &Grid) -> anyhow::Result<Volume<f32>> {
    let linear = ResampleOptions::new(Interpolation::Linear).outside(0.0);
    let fa: Volume<f32> = nifti::read(folder.join("templates/MNI_FA_template.nii.gz"))?;
    Ok(resample(&fa, grid, &linear)?.map(|v| v.max(0.0)))
}

/// The atlas on a grid of `spacing` mm that holds the brain; its axes point right, anterior and superior.
pub fn atlas(folder: &Path, spacing: f64, tracts: usize) -> anyhow::Result<(Grid, Atlas)> {
    let mask = brain_mask(folder)?;
    let (low, high) = mask.bounding_box().context("the brain mask of the template is empty")?;
    let ends = [low, high].map(|corner| mask.grid().index_to_world(corner.map(|i| i as f64)));
    let origin: [f64; 3] = std::array::from_fn(|k| ends[0][k].min(ends[1][k]));
    let shape: [usize; 3] =
        std::array::from_fn(|k| ((ends[0][k] - ends[1][k]).abs() / spacing).ceil() as usize + 1);
    let grid = Grid::axis_aligned(shape, [spacing; 3], origin)?;
    let nearest = ResampleOptions::new(Interpolation::Nearest).outside(0.0);
    let inside = resample(&mask, &grid, &nearest)?;
    let fa = anisotropy(folder, &grid)?;
    let labels = folder.join("atlases");
    // Labels 1 to 90 are the cerebrum.
    let regions = LabelMap::read(labels.join("aal.nii.gz"), labels.join("aal.nii.txt"))?;
    let regions = regions.keep(|l| l <= 90).onto(&grid)?;
    let options = GeodesicOptions::new(tracts).sigma(0.6 * spacing);
    let found = geodesic_tracts(&regions, &fa, &inside, &options)?;
    let numbers: Vec<i16> = regions.regions().map(|(label, _)| label).collect();
    let pairs = found.between(&numbers)?;
    let tracts = found.tracts().iter().zip(pairs);
    let brain: Vec<bool> = inside.as_slice().iter().map(|v| *v > 0).collect();
    Ok((
        grid,
        Atlas {
            names: regions.regions().map(|(_, name)| name.to_string()).collect(),
            centres: numbers.iter().filter_map(|l| regions.centroid(*l)).collect(),
            grey: regions.volume().as_slice().iter().map(|l| *l > 0).collect(),
            regions: numbers.iter().map(|l| regions.voxels(*l)).collect(),
            tracts: tracts.map(|(t, pair)| Tract { pair, voxels: t.voxels.clone() }).collect(),
            brain,
            source: format!("AAL regions of a standard brain; tracts {}", found.source()),
        },
    ))
}

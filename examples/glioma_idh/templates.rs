//! Regions and tracts of a standard brain: AAL regions, and tracts generated through the white matter between them.

use crate::cohort::{Atlas, Standard, Tract, TractMaps};
use anyhow::Context;
use oncograph::datasets::cache::CacheKey;
use oncograph::imaging::atlas::{GeodesicOptions, LabelMap, TractAtlas, geodesic_tracts};
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

/// What changes whenever the content of a user's atlas of tracts does; empty where tracts are generated.
pub fn fingerprint(tracts: Option<&TractMaps>) -> anyhow::Result<String> {
    Ok(match tracts {
        Some(t) => CacheKey::new(&[&t.maps, &t.ends], &t.threshold, "tracts")?.hex(),
        None => String::new(),
    })
}

/// The atlas on a grid that holds the brain; its axes point right, anterior and superior.
pub fn atlas(standard: &Standard) -> anyhow::Result<(Grid, Atlas)> {
    let (folder, spacing) = (standard.templates, standard.spacing);
    let mask = brain_mask(folder)?;
    let (low, high) = mask.bounding_box().context("the brain mask of the template is empty")?;
    let ends = [low, high].map(|corner| mask.grid().index_to_world(corner.map(|i| i as f64)));
    let origin: [f64; 3] = std::array::from_fn(|k| ends[0][k].min(ends[1][k]));
    let shape: [usize; 3] =
        std::array::from_fn(|k| ((ends[0][k] - ends[1][k]).abs() / spacing).ceil() as usize + 1);
    let grid = Grid::axis_aligned(shape, [spacing; 3], origin)?;
    let nearest = ResampleOptions::new(Interpolation::Nearest).outside(0.0);
    let inside = resample(&mask, &grid, &nearest)?;
    let labels = folder.join("atlases");
    // Labels 1 to 90 are the cerebrum.
    let regions = LabelMap::read(labels.join("aal.nii.gz"), labels.join("aal.nii.txt"))?;
    let regions = regions.keep(|l| l <= 90).onto(&grid)?;
    let found = match standard.tract_maps {
        Some(tracts) => TractAtlas::read(&tracts.maps, &tracts.ends, tracts.threshold, &grid)?,
        None => {
            let options = GeodesicOptions::new(standard.tracts).sigma(0.6 * spacing);
            geodesic_tracts(&regions, &anisotropy(folder, &grid)?, &inside, &options)?
        }
    };
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

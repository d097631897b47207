//! What the encoders take of one patient.

use super::{GliomaSubject, surface_points};
use crate::{
    Error, Incidence, Result, TractChannels, TumourImage, VoxelSampling, sample_voxels, z_score_within,
};
use oncograph_datasets::glioma::BrainAtlas;
use oncograph_imaging::{Grid, Mask};
use oncograph_nn::Seed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is kept of the image outside the tumour (decision G-03).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskMode {
    /// Nothing.
    #[default]
    Multiply,
    /// The brain around it.
    Context,
}

/// How a patient is prepared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GliomaPrepareOptions {
    /// Values of a region or tract per sequence (G-20); 1000.
    pub values: usize,
    /// How they are taken from the voxels (G-21).
    pub sampling: VoxelSampling,
    /// Which sequences a tract's values are of (G-20).
    pub tract_channels: TractChannels,
    /// Voxels along an edge of the cube around the tumour (G-02).
    pub crop: usize,
    /// What is kept of the image outside the tumour (G-03).
    pub mask_mode: MaskMode,
    /// Points of the surface (G-06); 1024.
    pub points: usize,
    /// The probability from which a tract is at a point; 0.1.
    pub incidence_threshold: f32,
    /// Whether a point also crosses the tracts of the voxels beside its own.
    pub incidence_dilate: bool,
}

/// The voxels of a patient's regions and tracts. They are large, and computed again each time they are needed.
#[derive(Debug, Clone)]
pub(crate) struct Voxels {
    /// Of every region, 4 x values.
    pub regions: Vec<Vec<f32>>,
    /// Of every tract, 4 x values.
    pub tracts: Vec<Vec<f32>>,
    /// Of every tract, values of the FA.
    pub fa: Option<Vec<Vec<f32>>>,
}

/// The tumour of a patient before any training.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub image: TumourImage,
    pub points: Vec<[f32; 3]>,
    pub incidence: Incidence,
}

/// The sequences in standard deviations of the brain.
fn standardised(subject: &GliomaSubject, atlas: &BrainAtlas) -> Result<Vec<Vec<f32>>> {
    let z = subject.volumes.iter().map(|v| z_score_within(v.as_slice(), &atlas.brain));
    z.collect::<Result<_>>().map_err(|e| e.of_patient(&subject.id))
}

pub(crate) fn voxels(
    subject: &GliomaSubject,
    atlas: &BrainAtlas,
    config: &GliomaPrepareOptions,
    seed: Seed,
) -> Result<Voxels> {
    let named = |e: Error| e.of_patient(&subject.id);
    let z = standardised(subject, atlas)?;
    let z: Vec<&[f32]> = z.iter().map(Vec::as_slice).collect();
    let draw = seed.stream("voxels");
    let region = |(i, voxels): (usize, &Vec<u32>)| {
        sample_voxels(&z, voxels, config.values, config.sampling, draw.at(i as u64))
    };
    let regions = atlas.regions.iter().enumerate().map(region).collect::<Result<_>>().map_err(named)?;
    let lists: Vec<Vec<u32>> = atlas
        .tracts
        .iter()
        .map(|t| t.voxels.iter().filter(|v| v.1 >= config.incidence_threshold).map(|v| v.0).collect())
        .collect();
    let draw = seed.stream("tract voxels");
    let tract = |(i, voxels): (usize, &Vec<u32>)| match config.tract_channels {
        TractChannels::All => sample_voxels(&z, voxels, config.values, config.sampling, draw.at(i as u64)),
        TractChannels::T1 => {
            sample_voxels(&z[..1], voxels, 4 * config.values, config.sampling, draw.at(i as u64))
        }
    };
    let tracts = lists.iter().enumerate().map(tract).collect::<Result<_>>().map_err(named)?;
    let fa = match &subject.anisotropy {
        Some(fa) => {
            let fa = z_score_within(fa.as_slice(), &atlas.brain)?;
            let values = |(i, voxels): (usize, &Vec<u32>)| {
                sample_voxels(&[&fa], voxels, config.values, config.sampling, draw.at(i as u64))
            };
            Some(lists.iter().enumerate().map(values).collect::<Result<_>>().map_err(named)?)
        }
        None => None,
    };
    Ok(Voxels { regions, tracts, fa })
}

pub(crate) fn prepare(
    subject: &GliomaSubject,
    atlas: &BrainAtlas,
    config: &GliomaPrepareOptions,
    seed: Seed,
) -> Result<Prepared> {
    let named = |e: Error| e.of_patient(&subject.id);
    if subject.tumour.count() == 0 {
        return Err(named(Error::input("prepare", "a tumour", "an empty mask")));
    }
    let z = standardised(subject, atlas)?;
    let z: Vec<&[f32]> = z.iter().map(Vec::as_slice).collect();
    let points = surface_points(&subject.tumour, config.points, seed.stream("points")).map_err(named)?;
    let incidence = incidence(&subject.tumour, atlas, &points, config)?;
    let image = crop(subject, &z, config).map_err(named)?;
    Ok(Prepared { image, points, incidence })
}

/// The cube around the tumour, in standard deviations of the brain.
fn crop(subject: &GliomaSubject, z: &[&[f32]], config: &GliomaPrepareOptions) -> Result<TumourImage> {
    let [nx, ny, nz] = subject.tumour.shape();
    let centre = subject.tumour.centroid_index().unwrap_or([0.0; 3]).map(|c| c.round() as isize);
    let side = config.crop as isize;
    let tumour = subject.tumour.as_slice();
    let mut image = Vec::with_capacity(4 * config.crop.pow(3));
    for channel in z {
        for k in 0..side {
            for j in 0..side {
                for i in 0..side {
                    let at = [i, j, k].map(|v| v - side / 2);
                    let at: [isize; 3] = std::array::from_fn(|a| at[a] + centre[a]);
                    let inside = (0..3).all(|a| at[a] >= 0 && at[a] < [nx, ny, nz][a] as isize);
                    let offset = ((at[2] * ny as isize + at[1]) * nx as isize + at[0]) as usize;
                    let kept = inside && (config.mask_mode == MaskMode::Context || tumour[offset] > 0);
                    image.push(if kept { channel[offset] } else { 0.0 });
                }
            }
        }
    }
    TumourImage::new(&image, [z.len(), config.crop, config.crop, config.crop])
}

/// Where the cube around the tumour lies.
///
/// # Errors
/// A cube without voxels.
pub fn crop_grid(subject: &GliomaSubject, config: &GliomaPrepareOptions) -> Result<Grid> {
    let grid = subject.tumour.grid();
    let centre = subject.tumour.centroid_index().unwrap_or([0.0; 3]).map(f64::round);
    let corner = centre.map(|c| c - (config.crop / 2) as f64);
    let mut affine = *grid.affine();
    let origin = grid.index_to_world(corner);
    for (k, value) in origin.into_iter().enumerate() {
        affine[(k, 3)] = value;
    }
    Ok(Grid::new([config.crop; 3], affine)?)
}

/// Which tracts each point crosses, in atlas space.
fn incidence(
    mask: &Mask,
    atlas: &BrainAtlas,
    points: &[[f32; 3]],
    config: &GliomaPrepareOptions,
) -> Result<Incidence> {
    let grid = mask.grid();
    let mut at = vec![vec![]; grid.len()];
    for (t, tract) in atlas.tracts.iter().enumerate() {
        for (voxel, p) in &tract.voxels {
            if *p >= config.incidence_threshold {
                at[*voxel as usize].push(t as u32);
            }
        }
    }
    let reach: isize = if config.incidence_dilate { 1 } else { 0 };
    let crossed = points.iter().map(|p| {
        let mut tracts = BTreeSet::new();
        let Some(voxel) = grid.voxel_at(p.map(f64::from)) else { return vec![] };
        for dz in -reach..=reach {
            for dy in -reach..=reach {
                for dx in -reach..=reach {
                    let near: [Option<usize>; 3] =
                        std::array::from_fn(|k| voxel[k].checked_add_signed([dx, dy, dz][k]));
                    if let [Some(x), Some(y), Some(z)] = near
                        && let Some(offset) = grid.offset([x, y, z])
                    {
                        tracts.extend(&at[offset]);
                    }
                }
            }
        }
        tracts.into_iter().copied().collect()
    });
    Incidence::new(atlas.tracts.len(), &crossed.collect::<Vec<_>>())
}

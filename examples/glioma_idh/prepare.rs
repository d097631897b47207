//! From volumes to what the encoders take: voxels of regions and tracts, tumour image, surface points and their incidence.

use crate::cohort::{Atlas, Subject};
use anyhow::Context;
use oncograph::brain::{Incidence, TractChannels, TumourImage, VoxelSampling, sample_voxels, z_score_within};
use oncograph::graph::geometry::{FpsConfig, Points, fps};
use oncograph::imaging::filters::{GaussianOptions, gaussian};
use oncograph::imaging::mesh::{MarchingCubesOptions, Mesh, marching_cubes};
use oncograph::imaging::{Grid, Mask};
use oncograph::nn::Seed;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// G-03: what of the image is outside the tumour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskMode {
    /// Nothing.
    #[default]
    Multiply,
    /// The brain around it.
    Context,
}

/// How patients are prepared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrepareConfig {
    /// G-20, G-21: values of a region or tract per sequence; 1000.
    pub values: usize,
    pub sampling: VoxelSampling,
    pub tract_channels: TractChannels,
    /// G-02: voxels of the cube around the tumour.
    pub crop: usize,
    pub mask_mode: MaskMode,
    /// G-06: points of the surface; 1024.
    pub points: usize,
    /// The probability from which a tract is at a point; 0.1.
    pub incidence_threshold: f32,
    /// Whether a point also crosses the tracts of the voxels beside its own.
    pub incidence_dilate: bool,
}

/// The voxels of a patient's regions and tracts. They are large, and made again when they are wanted.
#[derive(Debug, Clone)]
pub struct Voxels {
    /// Of every region, 4 x values.
    pub regions: Vec<Vec<f32>>,
    /// Of every tract, 4 x values.
    pub tracts: Vec<Vec<f32>>,
    /// Of every tract, values of the FA.
    pub fa: Option<Vec<Vec<f32>>>,
}

/// The tumour of a patient before any training.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub image: TumourImage,
    pub points: Vec<[f32; 3]>,
    pub incidence: Incidence,
}

/// The sequences in standard deviations of the brain.
fn standardised(subject: &Subject, atlas: &Atlas) -> anyhow::Result<Vec<Vec<f32>>> {
    let z = subject.volumes.iter().map(|v| z_score_within(v.as_slice(), &atlas.brain));
    z.collect::<Result<_, _>>().with_context(|| format!("patient {}", subject.id))
}

pub fn voxels(
    subject: &Subject,
    atlas: &Atlas,
    config: &PrepareConfig,
    seed: Seed,
) -> anyhow::Result<Voxels> {
    let named = || format!("patient {}", subject.id);
    let z = standardised(subject, atlas)?;
    let z: Vec<&[f32]> = z.iter().map(Vec::as_slice).collect();
    let draw = seed.stream("voxels");
    let region = |(i, voxels): (usize, &Vec<u32>)| {
        sample_voxels(&z, voxels, config.values, config.sampling, draw.at(i as u64))
    };
    let regions =
        atlas.regions.iter().enumerate().map(region).collect::<Result<_, _>>().with_context(named)?;
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
    let tracts = lists.iter().enumerate().map(tract).collect::<Result<_, _>>().with_context(named)?;
    let fa = match &subject.fa {
        Some(fa) => {
            let fa = z_score_within(fa.as_slice(), &atlas.brain)?;
            let of = |(i, voxels): (usize, &Vec<u32>)| {
                sample_voxels(&[&fa], voxels, config.values, config.sampling, draw.at(i as u64))
            };
            Some(lists.iter().enumerate().map(of).collect::<Result<_, _>>().with_context(named)?)
        }
        None => None,
    };
    Ok(Voxels { regions, tracts, fa })
}

pub fn prepare(
    subject: &Subject,
    atlas: &Atlas,
    config: &PrepareConfig,
    seed: Seed,
) -> anyhow::Result<Prepared> {
    let named = || format!("patient {}", subject.id);
    if subject.tumour.count() == 0 {
        anyhow::bail!("{}: the tumour mask is empty", named());
    }
    let z = standardised(subject, atlas)?;
    let z: Vec<&[f32]> = z.iter().map(Vec::as_slice).collect();
    let points = surface_points(&subject.tumour, config.points, seed.stream("points")).with_context(named)?;
    let incidence = incidence(&subject.tumour, atlas, &points, config)?;
    let image = crop(subject, &z, config).with_context(named)?;
    Ok(Prepared { image, points, incidence })
}

/// The cube around the tumour, in standard deviations of the brain.
fn crop(subject: &Subject, z: &[&[f32]], config: &PrepareConfig) -> anyhow::Result<TumourImage> {
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
    Ok(TumourImage::new(&image, [z.len(), config.crop, config.crop, config.crop])?)
}

/// Where the cube around the tumour lies.
pub fn crop_grid(subject: &Subject, config: &PrepareConfig) -> anyhow::Result<Grid> {
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

/// Points of the tumour surface in mm: marching cubes on the lightly smoothed mask, points uniform over its area, and the
/// farthest of these from each other, the first the farthest from their centroid.
pub fn surface_points(mask: &Mask, count: usize, seed: Seed) -> anyhow::Result<Vec<[f32; 3]>> {
    let smooth = gaussian(mask, [0.7; 3], &GaussianOptions::new())?;
    let peak = smooth.as_slice().iter().copied().fold(0.0f64, f64::max);
    // A tumour of a few voxels does not reach a half when smoothed.
    let level = if peak > 0.5 { 0.5 } else { peak / 2.0 };
    let mesh = marching_cubes(&smooth, &MarchingCubesOptions::new(level))?;
    let mut dense = area_uniform(&mesh, 4 * count, seed)?;
    let centroid: [f32; 3] =
        std::array::from_fn(|k| dense.iter().map(|p| p[k]).sum::<f32>() / dense.len() as f32);
    let far = |p: &[f32; 3]| (0..3).map(|k| (p[k] - centroid[k]).powi(2)).sum::<f32>();
    let first = (0..dense.len()).max_by(|a, b| far(&dense[*a]).total_cmp(&far(&dense[*b]))).unwrap_or(0);
    dense.swap(0, first);
    let flat: Vec<f32> = dense.iter().flatten().copied().collect();
    let ratio = count as f64 / dense.len() as f64;
    let kept = fps(&Points::new(&flat, 3)?, &FpsConfig::new(ratio), None)?;
    Ok(kept.into_iter().map(|i| dense[i as usize]).collect())
}

fn area_uniform(mesh: &Mesh, count: usize, seed: Seed) -> anyhow::Result<Vec<[f32; 3]>> {
    let corner = |i: u32| mesh.vertices[i as usize];
    let area = |t: &[u32; 3]| {
        let [a, b, c] = t.map(corner);
        let (u, v): ([f64; 3], [f64; 3]) =
            (std::array::from_fn(|k| b[k] - a[k]), std::array::from_fn(|k| c[k] - a[k]));
        let cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
        cross.iter().map(|x| x * x).sum::<f64>().sqrt() / 2.0
    };
    let mut sums = vec![];
    let mut total = 0.0;
    for t in &mesh.triangles {
        total += area(t);
        sums.push(total);
    }
    if total.is_nan() || total <= 0.0 {
        anyhow::bail!("the tumour has no surface");
    }
    let mut rng = seed.rng();
    let mut draw = || {
        let at = rng.random::<f64>() * total;
        let triangle = mesh.triangles[sums.partition_point(|s| *s < at).min(sums.len() - 1)];
        let [a, b, c] = triangle.map(corner);
        let (r, s) = (rng.random::<f64>().sqrt(), rng.random::<f64>());
        std::array::from_fn(|k| ((1.0 - r) * a[k] + r * (1.0 - s) * b[k] + r * s * c[k]) as f32)
    };
    Ok((0..count).map(|_| draw()).collect())
}

/// Which tracts each point crosses, in atlas space.
fn incidence(
    mask: &Mask,
    atlas: &Atlas,
    points: &[[f32; 3]],
    config: &PrepareConfig,
) -> anyhow::Result<Incidence> {
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
        let mut tracts = std::collections::BTreeSet::new();
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
    Ok(Incidence::new(atlas.tracts.len(), &crossed.collect::<Vec<_>>())?)
}

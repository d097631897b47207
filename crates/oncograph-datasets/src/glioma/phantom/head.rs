//! A generated head: regions and tracts where there is no standard brain to copy.

use super::GliomaPhantomConfig;
use crate::error::Result;
use crate::glioma::{AtlasTract, BrainAtlas};
use oncograph_imaging::Grid;

pub(super) fn grid(config: &GliomaPhantomConfig) -> Result<Grid> {
    let origin = config.shape.map(|n| -config.spacing * (n as f64 - 1.0) / 2.0);
    Ok(Grid::axis_aligned(config.shape, [config.spacing; 3], origin)?)
}

/// Where a point lies in the head: 0 at its centre, 1 at its surface.
fn depth(config: &GliomaPhantomConfig, at: [f64; 3]) -> f64 {
    let half = config.shape.map(|n| 0.46 * config.spacing * n as f64);
    (0..3).map(|k| (at[k] / half[k]).powi(2)).sum::<f64>().sqrt()
}

pub(super) fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt()
}

/// Regions are the cells of points on a shell, mirrored; tracts are straight tubes between the nearest of them.
pub(super) fn tessellated(config: &GliomaPhantomConfig, grid: Grid) -> BrainAtlas {
    let half = config.regions / 2;
    let size = config.shape.map(|n| 0.36 * config.spacing * n as f64);
    // A spiral of equal steps in height on the right half of the shell, and its mirror image.
    let right = (0..half).map(|i| {
        let z = 1.0 - 2.0 * (i as f64 + 0.5) / half as f64;
        let angle = std::f64::consts::PI * ((i as f64 * 0.618_034) % 1.0 - 0.5);
        let ring = (1.0 - z * z).sqrt();
        [size[0] * (0.15 + 0.85 * ring * angle.cos()), size[1] * ring * angle.sin(), size[2] * z]
    });
    let right: Vec<[f64; 3]> = right.collect();
    let centres: Vec<[f64; 3]> = right.iter().flat_map(|c| [[-c[0], c[1], c[2]], *c]).collect();
    let at = |voxel: usize| grid.index_to_world(grid.index_of(voxel).map(|i| i as f64));
    let mut regions = vec![vec![]; centres.len()];
    let mut brain = vec![false; grid.len()];
    for (voxel, inside) in brain.iter_mut().enumerate() {
        let place = at(voxel);
        *inside = depth(config, place) <= 1.0;
        if *inside && depth(config, place) > 0.55 {
            let near = (0..centres.len())
                .min_by(|a, b| distance(centres[*a], place).total_cmp(&distance(centres[*b], place)));
            regions[near.unwrap_or(0)].push(voxel as u32);
        }
    }
    let mut pairs: Vec<(f64, [u32; 2])> = vec![];
    for a in 0..centres.len() {
        for b in a + 1..centres.len() {
            pairs.push((distance(centres[a], centres[b]), [a as u32, b as u32]));
        }
    }
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    pairs.truncate(config.tracts);
    let tracts = pairs.into_iter().map(|(_, pair)| {
        let voxels = tube(config, &grid, centres[pair[0] as usize], centres[pair[1] as usize]);
        AtlasTract { pair, weight: None, voxels }
    });
    let name = |i: usize| format!("{} {}", if i.is_multiple_of(2) { "left" } else { "right" }, i / 2 + 1);
    BrainAtlas {
        names: (0..centres.len()).map(name).collect(),
        tracts: tracts.collect(),
        grey: (0..grid.len()).map(|v| brain[v] && depth(config, at(v)) > 0.8).collect(),
        centres,
        regions,
        brain,
        grid,
        source: "generated: cells of points on a shell, straight tubes between them".into(),
    }
}

/// Voxels within two steps of the line between two regions, with a probability that falls with the distance.
fn tube(config: &GliomaPhantomConfig, grid: &Grid, from: [f64; 3], to: [f64; 3]) -> Vec<(u32, f32)> {
    let length = distance(from, to).max(1e-9);
    let along: [f64; 3] = std::array::from_fn(|k| (to[k] - from[k]) / length);
    let probability = |voxel: usize| {
        let at = grid.index_to_world(grid.index_of(voxel).map(|i| i as f64));
        let t = (0..3).map(|k| (at[k] - from[k]) * along[k]).sum::<f64>().clamp(0.0, length);
        let foot: [f64; 3] = std::array::from_fn(|k| from[k] + t * along[k]);
        (1.0 - distance(at, foot) / (1.3 * config.spacing)).max(0.0) as f32
    };
    (0..grid.len()).map(|v| (v as u32, probability(v))).filter(|(_, p)| *p >= 0.05).collect()
}

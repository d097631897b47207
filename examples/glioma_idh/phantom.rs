//! A generated cohort: heads with regions and tracts, and tumours whose shape, texture and spread along tracts depend on a
//! made-up IDH status, each signal by itself. Nothing in it was measured on a person.

use crate::cohort::{Atlas, Cohort, Standard, Subject, Tract, TractMaps};
use crate::templates;
use oncograph::imaging::{Frame, Grid, Volume};
use oncograph::nn::Seed;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How a phantom cohort is generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhantomConfig {
    /// Patients without a label, who train the encoders of regions and tracts.
    pub unlabelled: usize,
    /// Patients with a label.
    pub labelled: usize,
    pub seed: u64,
    /// A folder with templates and atlases whose regions the heads have; without one the head is generated as well.
    pub templates: Option<PathBuf>,
    /// Tracts of the user's in place of generated ones; needs `templates`.
    #[serde(default)]
    pub tract_maps: Option<TractMaps>,
    /// Voxels along x, y and z of a generated head.
    pub shape: [usize; 3],
    /// Millimetres per voxel.
    pub spacing: f64,
    /// Regions, half of them in each hemisphere.
    pub regions: usize,
    /// Tracts: the shortest pairs of regions.
    pub tracts: usize,
    /// How far the mean of each signal lies from 0 in its standard deviations: mutants on one side, wild types on the other.
    pub shape_signal: f64,
    pub texture_signal: f64,
    pub tract_signal: f64,
    /// The share of mutants.
    pub prevalence: f64,
}

impl PhantomConfig {
    pub fn new(labelled: usize, seed: u64) -> Self {
        PhantomConfig {
            unlabelled: 12,
            labelled,
            seed,
            templates: None,
            tract_maps: None,
            shape: [30, 36, 30],
            spacing: 5.0,
            regions: 90,
            tracts: 240,
            shape_signal: 0.8,
            texture_signal: 0.8,
            tract_signal: 0.8,
            prevalence: 0.4,
        }
    }

    /// The standard brain, if the heads are copies of one.
    pub fn standard(&self) -> Option<Standard<'_>> {
        Some(Standard {
            templates: self.templates.as_deref()?,
            spacing: self.spacing,
            tracts: self.tracts,
            tract_maps: self.tract_maps.as_ref(),
        })
    }
}

fn normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// Generates the cohort; the labelled patients follow the others.
pub fn generate(config: &PhantomConfig) -> anyhow::Result<Cohort> {
    let (grid, atlas) = match config.standard() {
        Some(standard) => templates::atlas(&standard)?,
        None => {
            let grid = grid(config)?;
            let atlas = atlas(config, &grid);
            (grid, atlas)
        }
    };
    let seed = Seed::new(config.seed).stream("phantom glioma");
    let all: Vec<usize> = (0..config.unlabelled + config.labelled).collect();
    let subjects = all
        .par_iter()
        .map(|&i| subject(config, &grid, &atlas, i, seed.at(i as u64)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Cohort {
        atlas,
        subjects,
        phantom: true,
        origin: "phantom cohort".into(),
        notes: vec![],
        fingerprint: templates::fingerprint(config.tract_maps.as_ref())?,
    })
}

fn grid(config: &PhantomConfig) -> anyhow::Result<Grid> {
    let origin = config.shape.map(|n| -config.spacing * (n as f64 - 1.0) / 2.0);
    Ok(Grid::axis_aligned(config.shape, [config.spacing; 3], origin)?)
}

/// Where a point lies in the head: 0 at its centre, 1 at its surface.
fn depth(config: &PhantomConfig, at: [f64; 3]) -> f64 {
    let half = config.shape.map(|n| 0.46 * config.spacing * n as f64);
    (0..3).map(|k| (at[k] / half[k]).powi(2)).sum::<f64>().sqrt()
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt()
}

/// Regions are the cells of points on a shell, mirrored; tracts are straight tubes between the nearest of them.
fn atlas(config: &PhantomConfig, grid: &Grid) -> Atlas {
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
        let voxels = tube(config, grid, centres[pair[0] as usize], centres[pair[1] as usize]);
        Tract { pair, voxels }
    });
    let name = |i: usize| format!("{} {}", if i.is_multiple_of(2) { "left" } else { "right" }, i / 2 + 1);
    Atlas {
        names: (0..centres.len()).map(name).collect(),
        tracts: tracts.collect(),
        grey: (0..grid.len()).map(|v| brain[v] && depth(config, at(v)) > 0.8).collect(),
        centres,
        regions,
        brain,
        source: "generated: cells of points on a shell, straight tubes between them".into(),
    }
}

/// Voxels within two steps of the line between two regions, with a probability that falls with the distance.
fn tube(config: &PhantomConfig, grid: &Grid, from: [f64; 3], to: [f64; 3]) -> Vec<(u32, f32)> {
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

/// The three signals of a patient: how far each is from its mean over both classes.
struct Signals {
    shape: f64,
    texture: f64,
    tract: f64,
}

fn subject(
    config: &PhantomConfig,
    grid: &Grid,
    atlas: &Atlas,
    index: usize,
    seed: Seed,
) -> anyhow::Result<Subject> {
    let mut rng = seed.stream("patient").rng();
    let mutant = rng.random::<f64>() < config.prevalence;
    let side = if mutant { 1.0 } else { -1.0 };
    let signals = Signals {
        shape: side * config.shape_signal + normal(&mut rng),
        texture: side * config.texture_signal + normal(&mut rng),
        tract: side * config.tract_signal + normal(&mut rng),
    };
    // Mutants are younger, as people with IDH-mutant glioma are.
    let age = (if mutant { 42.0 } else { 58.0 } + 11.0 * normal(&mut rng)).clamp(18.0, 90.0).round();
    let male = rng.random::<f64>() < 0.57;
    let (centre, tumour) = tumour(config, grid, atlas, &signals, &mut rng);
    let (volumes, fa) = volumes(grid, atlas, &tumour, centre, &signals, seed);
    let volume = |data: Vec<f32>| Volume::new(grid.clone(), Frame::default(), data);
    let [t1, t1c, t2, flair] = volumes;
    Ok(Subject {
        id: format!("phantom-{:03}", index + 1),
        idh: (index >= config.unlabelled).then_some(mutant),
        age: Some(age),
        male: Some(male),
        volumes: [volume(t1)?, volume(t1c)?, volume(t2)?, volume(flair)?],
        tumour: Volume::new(grid.clone(), Frame::default(), tumour)?,
        // Diffusion MRI is only known of those who train the encoder of tracts.
        fa: if index < config.unlabelled { Some(volume(fa)?) } else { None },
        flags: vec![],
    })
}

/// A blob whose surface is smooth in mutants and lobed in wild types.
fn tumour(
    config: &PhantomConfig,
    grid: &Grid,
    atlas: &Atlas,
    signals: &Signals,
    rng: &mut impl Rng,
) -> ([f64; 3], Vec<u8>) {
    let half = grid.shape().map(|n| 0.28 * config.spacing * n as f64);
    let middle = grid.index_to_world(grid.shape().map(|n| (n as f64 - 1.0) / 2.0));
    let mut off: [f64; 3] = std::array::from_fn(|k| half[k] * rng.random_range(-1.0..1.0));
    // Beside the midline, as most tumours are.
    off[0] = off[0].signum() * (0.3 * half[0] + 0.7 * off[0].abs());
    let centre: [f64; 3] = std::array::from_fn(|k| middle[k] + off[k]);
    let radius = rng.random_range(14.0..20.0);
    let lobes = 0.16 - 0.12 * signals.shape.clamp(-2.5, 2.5) / 2.0;
    let (turn, lift) = (rng.random_range(0.0..6.3), rng.random_range(0.0..6.3));
    let inside = |voxel: usize| {
        let at = grid.index_to_world(grid.index_of(voxel).map(|i| i as f64));
        let d: [f64; 3] = std::array::from_fn(|k| at[k] - centre[k]);
        let r = distance(at, centre);
        let (azimuth, height) = (d[1].atan2(d[0]), (d[2] / r.max(1e-9)).acos());
        let bumps = (3.0 * azimuth + turn).sin() * height.sin() + (4.0 * height + lift).cos();
        u8::from(atlas.brain[voxel] && r <= radius * (1.0 + lobes.max(0.0) * bumps))
    };
    (centre, (0..grid.len()).map(inside).collect())
}

/// T1, contrast T1, T2 and FLAIR, and the fractional anisotropy.
fn volumes(
    grid: &Grid,
    atlas: &Atlas,
    tumour: &[u8],
    centre: [f64; 3],
    signals: &Signals,
    seed: Seed,
) -> ([Vec<f32>; 4], Vec<f32>) {
    let mut rng = seed.stream("tracts").rng();
    let n = grid.len();
    // Every tract has an integrity of its own, which MRI and FA both show, and how much tumour is in it.
    let mut integrity = vec![0.0f32; n];
    let mut infiltrated = vec![0.0f32; n];
    for tract in &atlas.tracts {
        let own = normal(&mut rng) as f32;
        let met = tract.voxels.iter().any(|(v, p)| *p >= 0.1 && tumour[*v as usize] > 0);
        for (v, p) in &tract.voxels {
            integrity[*v as usize] += own * p;
            if met {
                infiltrated[*v as usize] = infiltrated[*v as usize].max(*p);
            }
        }
    }
    let mut rng = seed.stream("noise").rng();
    let mut all: [Vec<f32>; 4] = std::array::from_fn(|_| vec![0.0; n]);
    let mut fa = vec![0.0; n];
    // Wild types spread along the tracts that they meet; the edge of the spread is soft.
    let spread = (0.5 - 0.3 * signals.tract.clamp(-2.5, 2.5)) as f32;
    for voxel in (0..n).filter(|v| atlas.brain[*v]) {
        let at = grid.index_to_world(grid.index_of(voxel).map(|i| i as f64));
        let cortex = if atlas.grey[voxel] { 1.0f32 } else { 0.0 };
        let mut tissue = [1.0 - 0.4 * cortex, 1.0 - 0.4 * cortex, 0.6 + 0.3 * cortex, 0.6 + 0.3 * cortex];
        if tumour[voxel] > 0 {
            // Mutants: bright on T2, dark on FLAIR, no rim; wild types: the opposite.
            let s = signals.texture.clamp(-2.5, 2.5) as f32;
            let rim = (distance(at, centre) / 18.0).min(1.2) as f32;
            tissue = [0.7, 1.1 - 0.25 * s * rim, 1.5 + 0.15 * s, 1.4 - 0.2 * s];
        }
        let met = if tumour[voxel] > 0 { 0.0 } else { infiltrated[voxel] * spread.max(0.0) };
        tissue[3] += 1.6 * met;
        tissue[2] += 0.8 * met;
        tissue[0] -= 0.4 * met;
        let fibre = 0.12 * integrity[voxel];
        for (k, values) in all.iter_mut().enumerate() {
            let sign = if k < 2 { 1.0 } else { -0.5 };
            values[voxel] = 100.0 * (tissue[k] + sign * fibre + 0.08 * normal(&mut rng) as f32);
        }
        // Fibres with tumour between them lose anisotropy, as in people.
        fa[voxel] =
            (0.45 - 0.2 * cortex + fibre - 0.3 * met + 0.05 * normal(&mut rng) as f32).clamp(0.0, 1.0);
    }
    (all, fa)
}

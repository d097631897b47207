use super::head::distance;
use super::{GliomaPhantom, GliomaPhantomConfig};
use crate::error::Result;
use crate::glioma::BrainAtlas;
use oncograph_core::Seed;
use oncograph_imaging::{Frame, Mask, Volume};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

fn normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// The three signals of a patient: how far each is from its mean over both classes.
struct Signals {
    shape: f64,
    texture: f64,
    tract: f64,
}

/// One generated patient.
pub(super) struct PhantomPatient {
    pub id: String,
    /// `None` for those who train the encoders of regions and tracts alone.
    pub idh: Option<bool>,
    pub age: f64,
    pub male: bool,
    /// T1, contrast T1, T2, FLAIR.
    pub volumes: [Volume<f32>; 4],
    pub tumour: Mask,
    /// The fractional anisotropy of those without a label.
    pub anisotropy: Option<Volume<f32>>,
}

impl GliomaPhantom {
    /// Makes the patient at a position; those with a label follow the others.
    pub(super) fn patient(&self, index: usize, seed: Seed) -> Result<PhantomPatient> {
        let (config, atlas) = (self.config(), self.atlas());
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
        let (centre, tumour) = tumour(config, atlas, &signals, &mut rng);
        let (volumes, fa) = volumes(atlas, &tumour, centre, &signals, seed);
        let volume = |data: Vec<f32>| Volume::new(atlas.grid.clone(), Frame::default(), data);
        let [t1, t1c, t2, flair] = volumes;
        let unlabelled = index < config.unlabelled;
        Ok(PhantomPatient {
            id: format!("phantom-{:03}", index + 1),
            idh: (!unlabelled).then_some(mutant),
            age,
            male,
            volumes: [volume(t1)?, volume(t1c)?, volume(t2)?, volume(flair)?],
            tumour: Volume::new(atlas.grid.clone(), Frame::default(), tumour)?,
            // Diffusion MRI is only known of those who train the encoder of tracts.
            anisotropy: if unlabelled { Some(volume(fa)?) } else { None },
        })
    }
}

/// A blob whose surface is smooth in mutants and lobed in wild types.
fn tumour(
    config: &GliomaPhantomConfig,
    atlas: &BrainAtlas,
    signals: &Signals,
    rng: &mut impl Rng,
) -> ([f64; 3], Vec<u8>) {
    let grid = &atlas.grid;
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
    atlas: &BrainAtlas,
    tumour: &[u8],
    centre: [f64; 3],
    signals: &Signals,
    seed: Seed,
) -> ([Vec<f32>; 4], Vec<f32>) {
    let mut rng = seed.stream("tracts").rng();
    let grid = &atlas.grid;
    let n = grid.len();
    // Every tract has its own integrity, which MRI and FA both show, and how much tumour is in it.
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

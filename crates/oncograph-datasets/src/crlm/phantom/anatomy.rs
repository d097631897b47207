//! The patient's geometry: what is drawn at random, and where everything lies.
//!
//! Positions are millimetres in the patient's own frame: x to the right, y forward, z up, origin near the middle of
//! the liver's right lobe.

use super::config::PhantomConfig;
use oncograph_core::Seed;
use oncograph_imaging::Grid;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

pub(super) type Point = [f64; 3];

/// An axis-parallel ellipsoid.
#[derive(Debug, Clone)]
pub(super) struct Ellipsoid {
    pub centre: Point,
    pub radii: Point,
}

impl Ellipsoid {
    /// Less than 1 inside, in units of the squared radius.
    #[inline]
    pub fn value(&self, p: Point) -> f64 {
        (0..3).map(|a| ((p[a] - self.centre[a]) / self.radii[a]).powi(2)).sum()
    }
}

/// A tube with hemispherical ends.
#[derive(Debug, Clone)]
pub(super) struct Tube {
    pub from: Point,
    pub to: Point,
    pub radii: [f64; 2],
}

/// One tumour's appearance.
#[derive(Debug, Clone)]
pub(super) struct Lesion {
    pub radii: Point,
    /// Key of its texture.
    pub key: u64,
}

/// Everything about one patient's images that is drawn at random.
#[derive(Debug, Clone)]
pub(super) struct Anatomy {
    pub body: [f64; 2],
    pub body_mass_index: f64,
    pub right_lobe: Ellipsoid,
    pub left_lobe: Ellipsoid,
    /// Amplitude, wave length and phase of the surface's undulation along z, y.
    pub waves: [[f64; 3]; 2],
    pub portal: Vec<Tube>,
    pub hepatic: Vec<Tube>,
    pub cut_normal: Point,
    pub remnant_fraction: f64,
    pub lesions: Vec<Lesion>,
    /// HU by which tumours are darker than the liver.
    pub hypodensity: f64,
    /// Standard deviation (HU) of the tumours' texture.
    pub texture: f64,
    /// Width of the tumours' blurred rim as a share of their radius.
    pub edge: f64,
    pub liver_hu: f64,
    pub noise: f64,
    pub noise_key: u64,
    pub grid: PatientGrid,
}

/// The voxel grid with its positions in the patient's frame.
#[derive(Debug, Clone)]
pub(super) struct PatientGrid {
    pub grid: Grid,
    /// Position of each voxel centre along the three voxel axes, which are parallel to the patient's.
    pub axes: [Vec<f64>; 3],
    pub spacing: Point,
}

/// Uniform on a range that may be a single number.
pub(super) fn uniform(rng: &mut impl Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

pub(super) fn normal(rng: &mut impl Rng, mean: f64, sd: f64) -> f64 {
    mean + sd * Distribution::<f64>::sample(&StandardNormal, rng)
}

fn jitter(rng: &mut impl Rng, p: Point, sd: f64) -> Point {
    p.map(|v| normal(rng, v, sd))
}

impl Anatomy {
    pub fn draw(config: &PhantomConfig, seed: Seed) -> crate::Result<Self> {
        let rng = &mut seed.stream("anatomy").rng();
        let body_mass_index = normal(rng, 27.3, 5.0).clamp(17.0, 45.0);
        let width = 145.0 + 2.6 * (body_mass_index - 20.0);
        let body = [width, 0.72 * width];
        let right_lobe = Ellipsoid {
            centre: jitter(rng, [0.0; 3], 2.0),
            radii: [62.0, 70.0, 72.0].map(|r| r * normal(rng, 0.0, 0.08).exp()),
        };
        let left_lobe = Ellipsoid {
            centre: jitter(rng, [-72.0, 28.0, 22.0], 4.0),
            radii: [72.0, 36.0, 38.0].map(|r| r * normal(rng, 0.0, 0.10).exp()),
        };
        let waves = std::array::from_fn(|_| {
            [uniform(rng, 1.0, 4.0), uniform(rng, 50.0, 90.0), uniform(rng, 0.0, std::f64::consts::TAU)]
        });
        let portal = portal_tree(rng);
        let hepatic = hepatic_tree(rng);
        // A right-sided resection keeps the left of the plane, a left-sided one the right.
        let side = if rng.random::<f64>() < 0.65 { 1.0 } else { -1.0 };
        let cut_normal = [side, normal(rng, 0.0, 0.35), normal(rng, 0.0, 0.35)];
        let remnant_fraction = uniform(rng, 0.27, 0.90);
        let lesions = draw_lesions(rng, config);
        let grid = PatientGrid::draw(rng, config, body[0], &right_lobe, &left_lobe)?;
        let noise = config.noise * uniform(rng, 0.8, 1.25) * (5.0 / grid.spacing[2]).sqrt().clamp(0.8, 1.8);
        Ok(Self {
            body,
            body_mass_index,
            right_lobe,
            left_lobe,
            waves,
            portal,
            hepatic,
            cut_normal,
            remnant_fraction,
            lesions,
            hypodensity: uniform(rng, 22.0, 68.0),
            texture: uniform(rng, 2.0, 22.0),
            edge: uniform(rng, 0.1, 0.5),
            liver_hu: normal(rng, 110.0, 9.0).clamp(85.0, 135.0),
            noise,
            noise_key: rng.random(),
            grid,
        })
    }

    /// Middle of the body; the liver lies on its right.
    pub fn body_centre(&self) -> [f64; 2] {
        [-0.42 * self.body[0], -5.0]
    }

    /// Axis of the spine, which runs along z.
    pub fn spine(&self) -> [f64; 2] {
        let [x, y] = self.body_centre();
        [x, y - 0.52 * self.body[1]]
    }
}

fn draw_lesions(rng: &mut impl Rng, config: &PhantomConfig) -> Vec<Lesion> {
    let mut count = 1;
    while count < config.max_tumors && rng.random::<f64>() < 0.58 {
        count += 1;
    }
    let largest = normal(rng, 28.0_f64.ln(), 0.55).exp().clamp(8.0, 110.0);
    let lesion = |k: u16| {
        let diameter = if k == 0 { largest } else { (largest * uniform(rng, 0.25, 0.85)).max(7.0) };
        let radii = std::array::from_fn(|_| 0.5 * diameter * uniform(rng, 0.8, 1.2));
        Lesion { radii, key: rng.random() }
    };
    (0..count).map(lesion).collect()
}

/// A branch that divides in two `depth` times.
fn grow(rng: &mut impl Rng, from: Point, towards: Point, radius: f64, depth: usize, tubes: &mut Vec<Tube>) {
    let to = jitter(rng, towards, 4.0);
    tubes.push(Tube { from, to, radii: [radius, 0.8 * radius] });
    if depth == 0 {
        return;
    }
    let step: Point = std::array::from_fn(|a| to[a] - from[a]);
    for sign in [-1.0, 1.0] {
        let length = uniform(rng, 0.55, 0.75);
        // Turned sideways by a random share, so that the two daughters part.
        let turn = uniform(rng, 0.45, 0.8) * sign;
        let side = [step[1], -step[0], 0.5 * step[2]];
        let target = std::array::from_fn(|a| to[a] + length * (step[a] + turn * side[a]));
        grow(rng, to, target, 0.72 * radius, depth - 1, tubes);
    }
}

fn portal_tree(rng: &mut impl Rng) -> Vec<Tube> {
    let mut tubes = Vec::new();
    let hilum = jitter(rng, [-32.0, 0.0, -8.0], 3.0);
    let outside = [hilum[0] - 20.0, hilum[1] - 20.0, hilum[2] - 45.0];
    tubes.push(Tube { from: outside, to: hilum, radii: [7.0, 6.5] });
    grow(rng, hilum, [8.0, 2.0, 0.0], 6.0, 3, &mut tubes);
    grow(rng, hilum, [-72.0, 24.0, 16.0], 5.0, 2, &mut tubes);
    tubes
}

fn hepatic_tree(rng: &mut impl Rng) -> Vec<Tube> {
    let mut tubes = Vec::new();
    let confluence = jitter(rng, [-25.0, -25.0, 55.0], 3.0);
    for (target, radius) in
        [([22.0, -8.0, 20.0], 5.5), ([-12.0, 22.0, 15.0], 5.0), ([-70.0, 25.0, 38.0], 4.5)]
    {
        grow(rng, confluence, target, radius, 2, &mut tubes);
    }
    tubes
}

impl PatientGrid {
    fn draw(
        rng: &mut impl Rng,
        config: &PhantomConfig,
        body: f64,
        right: &Ellipsoid,
        left: &Ellipsoid,
    ) -> crate::Result<Self> {
        let [low, high] = config.pixel_spacing;
        // The scanner's field of view follows the patient's width.
        let at_512 = ((2.0 * body + uniform(rng, 5.0, 40.0)) / 512.0).clamp(low, high);
        let pixel = at_512 * 512.0 / config.matrix as f64;
        let [low, high] = config.slice_spacing;
        let slice = match rng.random::<f64>() {
            p if p < 0.55 => 5.0,
            p if p < 0.67 => uniform(rng, 0.8, 2.5),
            p if p < 0.80 => uniform(rng, 2.5, 5.0),
            _ => uniform(rng, 5.0, 7.5),
        };
        let (bottom, top) = (
            (right.centre[2] - right.radii[2]).min(left.centre[2] - left.radii[2]) - uniform(rng, 10.0, 45.0),
            (right.centre[2] + right.radii[2]).max(left.centre[2] + left.radii[2]) + uniform(rng, 8.0, 25.0),
        );
        // At most 240 slices, as published; recorded with two decimals, as scanners do.
        let slice = ((slice.max((top - bottom) / 240.0) * 100.0).ceil() / 100.0).clamp(low, high);
        let slices = (((top - bottom) / slice).ceil() as usize).max(3);
        let shape = [config.matrix, config.matrix, slices];
        let centre = [-0.42 * body, -5.0, 0.5 * (bottom + top)];
        let spacing = [pixel, pixel, slice];
        let (flips, tilt) = match config.varied_orientation {
            true => {
                let flips = [[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]][rng.random_range(0..3_usize)];
                let tilt = if rng.random::<f64>() < 0.2 { uniform(rng, -8.0, 8.0).to_radians() } else { 0.0 };
                ([flips[0], flips[1], 1.0], tilt)
            }
            false => ([1.0; 3], 0.0),
        };
        let axes = std::array::from_fn(|a| {
            let position =
                |i: usize| centre[a] + flips[a] * (i as f64 - 0.5 * (shape[a] as f64 - 1.0)) * spacing[a];
            (0..shape[a]).map(position).collect::<Vec<f64>>()
        });
        // The world is the patient's frame turned about the left-right axis and moved.
        let turn = nalgebra::Rotation3::from_axis_angle(&nalgebra::Vector3::x_axis(), tilt).into_inner();
        let mut direction = turn;
        (0..3).for_each(|a| direction.column_mut(a).scale_mut(flips[a]));
        let first = nalgebra::Vector3::new(axes[0][0], axes[1][0], axes[2][0]);
        let shift =
            nalgebra::Vector3::new(-centre[0], uniform(rng, -30.0, 30.0), uniform(rng, -400.0, 400.0));
        let origin = (turn * first + shift).map(|v| (v * 1000.0).round() / 1000.0);
        let grid = Grid::from_spacing_origin_direction(
            shape,
            spacing,
            [origin[0], origin[1], origin[2]],
            direction,
        )?;
        Ok(Self { grid, axes, spacing })
    }

    /// The indices along an axis whose positions lie in a range.
    pub fn range(&self, axis: usize, low: f64, high: f64) -> std::ops::Range<usize> {
        let positions = &self.axes[axis];
        let inside = |p: &f64| (low..=high).contains(p);
        let Some(start) = positions.iter().position(inside) else { return 0..0 };
        let end = positions.iter().rposition(inside).map_or(start, |e| e + 1);
        start..end
    }
}

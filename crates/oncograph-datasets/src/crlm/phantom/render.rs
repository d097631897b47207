//! Turning a patient's geometry into a CT and its masks.

use super::anatomy::{Anatomy, Ellipsoid, Point, Tube};
use super::noise::{gauss, grains};
use crate::crlm::structure::Structure;
use oncograph_core::Seed;
use oncograph_imaging::{Frame, Mask, Volume};
use rand::Rng;
use std::collections::BTreeMap;

const AIR: i16 = -1024;
/// Radius of the spine, mm.
const SPINE: f64 = 21.0;

/// One patient's images.
pub(super) struct Rendered {
    pub ct: Volume<i16>,
    pub masks: BTreeMap<Structure, Mask>,
    /// Largest diameter over all tumours, mm.
    pub largest: f64,
    /// Tumours on both sides of the middle plane.
    pub bilobar: bool,
}

struct Canvas<'a> {
    anatomy: &'a Anatomy,
    shape: [usize; 3],
    ct: Vec<i16>,
}

pub(super) fn render(anatomy: &Anatomy, seed: Seed) -> crate::Result<Rendered> {
    let shape = anatomy.grid.grid.shape();
    let mut canvas = Canvas { anatomy, shape, ct: vec![AIR; anatomy.grid.grid.len()] };
    canvas.body();
    let liver = canvas.liver();
    let mut masks: BTreeMap<Structure, Vec<u8>> = BTreeMap::new();
    let voxels: Vec<u32> = (0..liver.len() as u32).filter(|&i| liver[i as usize] != 0).collect();
    masks.insert(Structure::LiverRemnant, canvas.remnant(&voxels));
    masks.insert(Structure::PortalVeins, canvas.vessels(&anatomy.portal, &liver, &voxels, 55.0));
    masks.insert(Structure::HepaticVeins, canvas.vessels(&anatomy.hepatic, &liver, &voxels, 45.0));
    let mut taken = vec![false; liver.len()];
    let rng = &mut seed.stream("lesions").rng();
    let mut sides = [false; 2];
    for k in 0..anatomy.lesions.len() {
        let (mask, centre) = canvas.lesion(k, &liver, &voxels, &mut taken, rng);
        // The middle plane of the liver, between the lobes.
        sides[usize::from(centre[0] > -35.0)] = true;
        masks.insert(Structure::Tumor(k as u16 + 1), mask);
    }
    masks.insert(Structure::Liver, liver);
    canvas.add_noise();
    let grid = &anatomy.grid.grid;
    let frame = Frame::described("scanner");
    let masks = masks
        .into_iter()
        .map(|(s, data)| Ok((s, Mask::new(grid.clone(), frame.clone(), data)?)))
        .collect::<crate::Result<_>>()?;
    let radii = anatomy.lesions.iter().flat_map(|l| l.radii);
    let largest = 2.0 * radii.fold(0.0, f64::max);
    let ct = Volume::new(grid.clone(), frame.clone(), canvas.ct)?;
    Ok(Rendered { ct, masks, largest, bilobar: sides[0] && sides[1] })
}

impl Canvas<'_> {
    fn offset(&self, i: usize, j: usize, k: usize) -> usize {
        i + self.shape[0] * (j + self.shape[1] * k)
    }

    fn point(&self, offset: usize) -> Point {
        let [nx, ny, _] = self.shape;
        let index = [offset % nx, offset / nx % ny, offset / (nx * ny)];
        std::array::from_fn(|a| self.anatomy.grid.axes[a][index[a]])
    }

    /// The voxel ranges of a box.
    fn range(&self, low: Point, high: Point) -> [std::ops::Range<usize>; 3] {
        std::array::from_fn(|a| self.anatomy.grid.range(a, low[a], high[a]))
    }

    /// Body outline, fat, soft tissue, lungs, spine, aorta and spleen.
    fn body(&mut self) {
        let anatomy = self.anatomy;
        let [a, b] = anatomy.body;
        let [cx, cy] = anatomy.body_centre();
        let dome = anatomy.right_lobe.centre[2] + anatomy.right_lobe.radii[2] + 6.0;
        let [xs, ys, zs] = &anatomy.grid.axes;
        let spine = anatomy.spine();
        let aorta = [cx - 12.0, cy - 0.24 * b];
        let spleen = Ellipsoid { centre: [cx - 0.62 * a, cy - 0.25 * b, 10.0], radii: [28.0, 38.0, 50.0] };
        for (k, &z) in zs.iter().enumerate() {
            for (j, &y) in ys.iter().enumerate() {
                let v = ((y - cy) / b).powi(2);
                if v >= 1.0 {
                    continue;
                }
                let start = self.offset(0, j, k);
                for (i, &x) in xs.iter().enumerate() {
                    let u = ((x - cx) / a).powi(2);
                    if u + v >= 1.0 {
                        continue;
                    }
                    let near = |c: [f64; 2], r: f64| (x - c[0]).powi(2) + (y - c[1]).powi(2) < r * r;
                    // The lungs reach down beside the diaphragm's dome.
                    let lung = u + v < 0.75 && z > dome - 70.0 * (u + v);
                    self.ct[start + i] = if u + v > 0.82 {
                        -105
                    } else if near(spine, SPINE) {
                        260
                    } else if near(aorta, 11.0) {
                        165
                    } else if lung {
                        -850
                    } else if spleen.value([x, y, z]) < 1.0 {
                        120
                    } else {
                        45
                    };
                }
            }
        }
    }

    /// The liver's mask; its voxels are painted.
    fn liver(&mut self) -> Vec<u8> {
        let anatomy = self.anatomy;
        let (right, left) = (&anatomy.right_lobe, &anatomy.left_lobe);
        let [xs, ys, zs] = &anatomy.grid.axes;
        let wave = |w: [f64; 3], at: f64| w[0] * (std::f64::consts::TAU * at / w[1] + w[2]).sin();
        let low = std::array::from_fn(|a| {
            (right.centre[a] - right.radii[a]).min(left.centre[a] - left.radii[a]) - 12.0
        });
        let high = std::array::from_fn(|a| {
            (right.centre[a] + right.radii[a]).max(left.centre[a] + left.radii[a]) + 12.0
        });
        let [ri, rj, rk] = self.range(low, high);
        let [cx, cy] = anatomy.body_centre();
        let spine = anatomy.spine();
        let mut mask = vec![0; self.ct.len()];
        for k in rk {
            let dx = wave(anatomy.waves[0], zs[k]);
            for j in rj.clone() {
                let dz = wave(anatomy.waves[1], ys[j]);
                let row = self.offset(0, j, k);
                for i in ri.clone() {
                    let p = [xs[i] + dx, ys[j], zs[k] + dz];
                    let (q1, q2) = (right.value(p), left.value(p));
                    // Smooth union of the two lobes (polynomial minimum).
                    let h = (0.5 + 0.5 * (q2 - q1) / 0.5).clamp(0.0, 1.0);
                    let q = q2 + (q1 - q2) * h - 0.5 * h * (1.0 - h);
                    let within =
                        ((xs[i] - cx) / anatomy.body[0]).powi(2) + ((ys[j] - cy) / anatomy.body[1]).powi(2);
                    let beside_spine =
                        (xs[i] - spine[0]).powi(2) + (ys[j] - spine[1]).powi(2) < (SPINE + 4.0).powi(2);
                    if q < 1.0 && within < 0.82 && !beside_spine {
                        let uneven =
                            4.0 * (0.06 * xs[i]).sin() * (0.05 * ys[j] + 1.0).sin() * (0.045 * zs[k]).cos();
                        mask[row + i] = 1;
                        self.ct[row + i] = (anatomy.liver_hu + uneven) as i16;
                    }
                }
            }
        }
        mask
    }

    /// The part of the liver on one side of the cutting plane, placed so that it has the configured share.
    fn remnant(&self, voxels: &[u32]) -> Vec<u8> {
        let n = self.anatomy.cut_normal;
        let height = |&i: &u32| {
            let p = self.point(i as usize);
            (n[0] * p[0] + n[1] * p[1] + n[2] * p[2]) as f32
        };
        let heights: Vec<f32> = voxels.iter().map(height).collect();
        let mut sorted = heights.clone();
        let wanted = (self.anatomy.remnant_fraction * voxels.len() as f64) as usize;
        let mut mask = vec![0; self.ct.len()];
        if sorted.is_empty() {
            return mask;
        }
        let wanted = wanted.clamp(1, sorted.len() - 1).min(sorted.len() - 1);
        let (_, cut, _) = sorted.select_nth_unstable_by(wanted, f32::total_cmp);
        let cut = *cut;
        for (&voxel, _) in voxels.iter().zip(&heights).filter(|(_, h)| **h < cut) {
            mask[voxel as usize] = 1;
        }
        mask
    }

    /// A vessel tree inside the liver; its voxels are painted `contrast` HU brighter than the liver.
    fn vessels(&mut self, tubes: &[Tube], liver: &[u8], voxels: &[u32], contrast: f64) -> Vec<u8> {
        let mut mask = vec![0; self.ct.len()];
        for tube in tubes {
            let reach = tube.radii[0].max(tube.radii[1]);
            let low = std::array::from_fn(|a| tube.from[a].min(tube.to[a]) - reach);
            let high = std::array::from_fn(|a| tube.from[a].max(tube.to[a]) + reach);
            let [ri, rj, rk] = self.range(low, high);
            let axis: Point = std::array::from_fn(|a| tube.to[a] - tube.from[a]);
            let length2 = axis.iter().map(|v| v * v).sum::<f64>().max(1e-9);
            let [xs, ys, zs] = &self.anatomy.grid.axes;
            for k in rk {
                for j in rj.clone() {
                    for i in ri.clone() {
                        let p = [xs[i] - tube.from[0], ys[j] - tube.from[1], zs[k] - tube.from[2]];
                        let t = ((0..3).map(|a| p[a] * axis[a]).sum::<f64>() / length2).clamp(0.0, 1.0);
                        let distance2: f64 = (0..3).map(|a| (p[a] - t * axis[a]).powi(2)).sum();
                        let radius = tube.radii[0] + t * (tube.radii[1] - tube.radii[0]);
                        let offset = i + self.shape[0] * (j + self.shape[1] * k);
                        if distance2 < radius * radius && liver[offset] != 0 {
                            mask[offset] = 1;
                        }
                    }
                }
            }
        }
        if mask.iter().all(|v| *v == 0) {
            // On a grid coarser than the vessels: at least the liver voxel nearest to the root.
            let root = tubes.first().map_or([0.0; 3], |t| t.to);
            let distance = |i: &u32| {
                let p = self.point(*i as usize);
                (0..3).map(|a| (p[a] - root[a]).powi(2)).sum::<f64>()
            };
            let nearest = voxels.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
            nearest.iter().for_each(|i| mask[**i as usize] = 1);
        }
        let value = (self.anatomy.liver_hu + contrast) as i16;
        for (ct, _) in self.ct.iter_mut().zip(&mask).filter(|(_, m)| **m != 0) {
            *ct = value;
        }
        mask
    }

    /// One tumour at a random place in the liver, away from the others where there is room.
    fn lesion(
        &mut self,
        number: usize,
        liver: &[u8],
        voxels: &[u32],
        taken: &mut [bool],
        rng: &mut impl Rng,
    ) -> (Vec<u8>, Point) {
        let anatomy = self.anatomy;
        let lesion = &anatomy.lesions[number];
        let mut mask = vec![0; self.ct.len()];
        if voxels.is_empty() {
            return (mask, [0.0; 3]);
        }
        let mut centre_voxel = voxels[rng.random_range(0..voxels.len())] as usize;
        for _ in 0..20 {
            let p = self.point(centre_voxel);
            // Of the six points on the rim at most one may lie outside the liver or in another tumour.
            let free = (0..6).filter(|side| {
                let mut q = p;
                q[side / 2] += lesion.radii[side / 2] * if side % 2 == 0 { 0.9 } else { -0.9 };
                self.nearest(q).is_some_and(|o| liver[o] != 0 && !taken[o])
            });
            if free.count() >= 5 && !taken[centre_voxel] {
                break;
            }
            centre_voxel = voxels[rng.random_range(0..voxels.len())] as usize;
        }
        let shape = Ellipsoid { centre: self.point(centre_voxel), radii: lesion.radii };
        let grow = 1.25;
        let low = std::array::from_fn(|a| shape.centre[a] - grow * shape.radii[a]);
        let high = std::array::from_fn(|a| shape.centre[a] + grow * shape.radii[a]);
        let [ri, rj, rk] = self.range(low, high);
        let tumor_hu = anatomy.liver_hu - anatomy.hypodensity;
        for k in rk {
            for j in rj.clone() {
                for i in ri.clone() {
                    let p = [anatomy.grid.axes[0][i], anatomy.grid.axes[1][j], anatomy.grid.axes[2][k]];
                    let offset = self.offset(i, j, k);
                    if liver[offset] == 0 {
                        continue;
                    }
                    let coarse = grains(lesion.key, p.map(|v| (v / 14.0) as f32));
                    // A lobulated outline.
                    let q = shape.value(p).sqrt() * (1.0 + 0.07 * f64::from(coarse));
                    if q >= 1.0 && offset != centre_voxel {
                        continue;
                    }
                    mask[offset] = 1;
                    taken[offset] = true;
                    let share = ((1.0 - q) / anatomy.edge).clamp(0.0, 1.0);
                    let grain = f64::from(grains(lesion.key ^ 1, p.map(|v| (v / 7.0) as f32)));
                    let inside = tumor_hu + anatomy.texture * grain;
                    let rim = anatomy.liver_hu - 0.35 * anatomy.hypodensity;
                    self.ct[offset] = (rim + share * (inside - rim)).round() as i16;
                }
            }
        }
        (mask, shape.centre)
    }

    /// The voxel whose centre is nearest to a position, if it lies on the grid.
    fn nearest(&self, p: Point) -> Option<usize> {
        let mut index = [0; 3];
        for a in 0..3 {
            let positions = &self.anatomy.grid.axes[a];
            let step = positions[1] - positions[0];
            let i = ((p[a] - positions[0]) / step).round();
            if !(0.0..positions.len() as f64).contains(&i) {
                return None;
            }
            index[a] = i as usize;
        }
        Some(self.offset(index[0], index[1], index[2]))
    }

    /// Noise inside the body, correlated between neighbours in a row as reconstruction filters make it.
    fn add_noise(&mut self) {
        let sigma = (self.anatomy.noise * std::f64::consts::FRAC_1_SQRT_2) as f32;
        let key = self.anatomy.noise_key;
        let mut previous = gauss(key, u64::MAX);
        for (index, value) in self.ct.iter_mut().enumerate() {
            if *value == AIR {
                continue;
            }
            let fresh = gauss(key, index as u64);
            let noise = sigma * (fresh + previous);
            previous = fresh;
            // Rounding by an offset: `f32::round` is a library call on plain x86-64.
            *value += (noise + 1024.5) as i16 - 1024;
        }
    }
}

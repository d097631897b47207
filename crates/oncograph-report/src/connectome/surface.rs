use super::config::{MILLIMETRES, in_reach};
use crate::error::{Error, Result, check_not_empty, check_values};
use crate::palette::Rgb;
use std::collections::{BTreeMap, BTreeSet};

/// As many triangles as a browser turns smoothly without a graphics processor.
const TRIANGLES: usize = 9_000;

/// A closed surface in mm. It is drawn coarser than it was given if it has more than 9,000 triangles: vertices that share
/// a cube are joined in their mean.
///
/// # Reference
/// Rossignac & Borrel, Multi-resolution 3D approximations for rendering complex scenes, 1993.
#[derive(Debug, Clone, PartialEq)]
pub struct Surface {
    pub(super) name: String,
    pub(super) vertices: Vec<[f64; 3]>,
    pub(super) triangles: Vec<[u32; 3]>,
    pub(super) colour: Rgb,
    pub(super) glass: bool,
}

impl Surface {
    /// A surface that hides what is behind it, such as that of a tumour. Seen from outside, the corners of a triangle run
    /// counter-clockwise.
    ///
    /// # Errors
    /// No vertex, one beyond 10 m, or a triangle with a corner that is not there.
    pub fn new(
        name: impl Into<String>,
        vertices: &[[f64; 3]],
        triangles: &[[u32; 3]],
        colour: Rgb,
    ) -> Result<Self> {
        const OP: &str = "Surface";
        check_not_empty(OP, "vertices", vertices.len(), "at least one vertex")?;
        check_values(OP, "vertices", vertices.as_flattened(), MILLIMETRES, in_reach)?;
        if let Some(bad) = triangles.iter().find(|t| t.iter().any(|i| *i as usize >= vertices.len())) {
            let got = format!("{bad:?} of {} vertices", vertices.len());
            return Err(Error::argument(OP, "triangles", "numbers of vertices", got));
        }
        let (vertices, triangles) = coarse(vertices, triangles);
        Ok(Self { name: name.into(), vertices, triangles, colour, glass: false })
    }

    /// Draws it as glass, such as the surface of the brain, so that what is inside is seen.
    pub fn glass(mut self) -> Self {
        self.glass = true;
        self
    }

    /// The convex outline of its projection on two axes, counter-clockwise.
    pub(super) fn outline(&self, axes: [usize; 2]) -> Vec<(f64, f64)> {
        let mut points: Vec<_> = self.vertices.iter().map(|v| (v[axes[0]], v[axes[1]])).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        points.dedup();
        let turn = |a: (f64, f64), b: (f64, f64), c: (f64, f64)| {
            (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0)
        };
        let half = |points: &mut dyn Iterator<Item = (f64, f64)>| {
            let mut chain: Vec<(f64, f64)> = vec![];
            for p in points {
                while let [.., a, b] = chain[..] {
                    if turn(a, b, p) > 0.0 {
                        break;
                    }
                    chain.pop();
                }
                chain.push(p);
            }
            chain.pop();
            chain
        };
        let mut hull = half(&mut points.iter().copied());
        hull.extend(half(&mut points.iter().rev().copied()));
        hull
    }
}

/// The surface with at most [`TRIANGLES`] triangles.
fn coarse(vertices: &[[f64; 3]], triangles: &[[u32; 3]]) -> (Vec<[f64; 3]>, Vec<[u32; 3]>) {
    let (mut kept, mut faces, mut cube) = (vertices.to_vec(), triangles.to_vec(), 1.0);
    while faces.len() > TRIANGLES {
        (kept, faces) = joined(vertices, triangles, cube);
        cube *= 1.25;
    }
    (kept, faces)
}

/// Joins the vertices of each cube of this edge (mm); triangles that lose a corner vanish.
fn joined(vertices: &[[f64; 3]], triangles: &[[u32; 3]], cube: f64) -> (Vec<[f64; 3]>, Vec<[u32; 3]>) {
    let mut cells = BTreeMap::new();
    let mut sums: Vec<([f64; 3], f64)> = vec![];
    let place: Vec<u32> = vertices
        .iter()
        .map(|v| {
            let cell = v.map(|x| (x / cube).floor() as i64);
            let at = *cells.entry(cell).or_insert_with(|| {
                sums.push(([0.0; 3], 0.0));
                sums.len() - 1
            });
            (0..3).for_each(|k| sums[at].0[k] += v[k]);
            sums[at].1 += 1.0;
            at as u32
        })
        .collect();
    let mut seen = BTreeSet::new();
    let whole = |t: &[u32; 3]| t[0] != t[1] && t[1] != t[2] && t[0] != t[2];
    let faces = triangles.iter().map(|t| t.map(|i| place[i as usize])).filter(whole);
    let faces: Vec<_> = faces.filter(|t| seen.insert(*t)).collect();
    (sums.into_iter().map(|(sum, n)| sum.map(|s| s / n)).collect(), faces)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A sphere of `n` by `2n` quadrangles.
    pub(crate) fn sphere(n: u32, radius: f64) -> (Vec<[f64; 3]>, Vec<[u32; 3]>) {
        let at = |i: u32, j: u32| {
            let (theta, phi) = (
                std::f64::consts::PI * f64::from(i) / f64::from(n),
                std::f64::consts::PI * f64::from(j) / f64::from(n),
            );
            [theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()].map(|v| v * radius)
        };
        let vertices = (0..=n).flat_map(|i| (0..2 * n).map(move |j| at(i, j))).collect();
        let index = |i: u32, j: u32| i * 2 * n + j % (2 * n);
        let faces = (0..n).flat_map(|i| {
            (0..2 * n).flat_map(move |j| {
                let [a, b, c, d] = [index(i, j), index(i + 1, j), index(i + 1, j + 1), index(i, j + 1)];
                [[a, b, c], [a, c, d]]
            })
        });
        (vertices, faces.collect())
    }

    #[test]
    fn the_outline_is_the_hull() {
        let vertices = [[0.0, 0.0, 5.0], [2.0, 0.0, 1.0], [2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.5, 9.0]];
        let surface = Surface::new("s", &vertices, &[], [0; 3]).unwrap();
        assert_eq!(surface.outline([0, 1]), [(0.0, 0.0), (2.0, 0.0), (2.0, 1.0), (0.0, 1.0)]);
    }

    #[test]
    fn a_fine_surface_becomes_coarse_and_keeps_its_size() {
        let (vertices, triangles) = sphere(100, 70.0);
        let surface = Surface::new("s", &vertices, &triangles, [0; 3]).unwrap();
        assert!(triangles.len() > TRIANGLES && surface.triangles.len() <= TRIANGLES);
        assert!(surface.triangles.len() > TRIANGLES / 4, "{}", surface.triangles.len());
        for v in &surface.vertices {
            let radius = v.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!((radius - 70.0).abs() < 1.0, "{radius}");
        }
        let (vertices, triangles) = sphere(10, 70.0);
        assert_eq!(Surface::new("s", &vertices, &triangles, [0; 3]).unwrap().triangles, triangles);
    }

    #[test]
    fn bad_surfaces_are_refused() {
        assert!(Surface::new("s", &[], &[], [0; 3]).is_err());
        assert!(Surface::new("s", &[[f64::INFINITY; 3]], &[], [0; 3]).is_err());
        let error = Surface::new("s", &[[0.0; 3]], &[[0, 1, 0]], [0; 3]).unwrap_err().to_string();
        assert!(error.contains("[0, 1, 0] of 1 vertices"), "{error}");
    }
}

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A triangle mesh.
///
/// Seen from the side to which the normals point, the corners of a triangle run counter-clockwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mesh {
    /// Positions, in world millimetres for the surface of a volume.
    pub vertices: Vec<[f64; 3]>,
    /// Three indices of vertices each.
    pub triangles: Vec<[u32; 3]>,
    /// Unit normals of the vertices; empty where they are not known.
    pub normals: Vec<[f64; 3]>,
}

fn minus(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

impl Mesh {
    /// A mesh without normals.
    pub fn new(vertices: Vec<[f64; 3]>, triangles: Vec<[u32; 3]>) -> Self {
        Self { vertices, triangles, normals: Vec::new() }
    }

    fn corners(&self, triangle: &[u32; 3]) -> [[f64; 3]; 3] {
        triangle.map(|i| self.vertices[i as usize])
    }

    /// Sum of the triangles' areas.
    ///
    /// # Units
    /// mm² for vertices in mm.
    ///
    /// # Example
    /// ```
    /// use oncograph_imaging::mesh::Mesh;
    /// let corner = Mesh::new(
    ///     vec![[0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    ///     vec![[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]],
    /// );
    /// assert!((corner.area() - (1.5 + 3f64.sqrt() / 2.0)).abs() < 1e-12);
    /// assert!((corner.volume() - 1.0 / 6.0).abs() < 1e-12);
    /// assert!(corner.is_closed() && corner.euler_characteristic() == 2);
    /// ```
    ///
    /// # Reference
    /// `skimage.measure.mesh_surface_area`.
    pub fn area(&self) -> f64 {
        let triangle_area = |t| {
            let [a, b, c] = self.corners(t);
            let n = cross(minus(b, a), minus(c, a));
            0.5 * dot(n, n).sqrt()
        };
        self.triangles.iter().map(triangle_area).sum()
    }

    /// The enclosed volume, by the divergence theorem; meaningful for a closed mesh, negative if it is inside out.
    ///
    /// # Units
    /// mm³ for vertices in mm.
    pub fn volume(&self) -> f64 {
        // Relative to one vertex, so that a mesh far from the origin does not lose digits.
        let Some(origin) = self.vertices.first() else { return 0.0 };
        let tetrahedron_volume = |t| {
            let [a, b, c] = self.corners(t).map(|v| minus(v, *origin));
            dot(a, cross(b, c)) / 6.0
        };
        self.triangles.iter().map(tetrahedron_volume).sum()
    }

    /// How many triangles use each edge.
    pub(super) fn edges(&self) -> HashMap<(u32, u32), usize> {
        let mut edges = HashMap::new();
        for t in &self.triangles {
            for (a, b) in [(t[0], t[1]), (t[1], t[2]), (t[2], t[0])] {
                *edges.entry((a.min(b), a.max(b))).or_insert(0) += 1;
            }
        }
        edges
    }

    /// Whether every edge belongs to exactly two triangles. False also where two sheets touch along an edge, which four
    /// triangles share then, though there is no hole.
    pub fn is_closed(&self) -> bool {
        self.edges().values().all(|n| *n == 2)
    }

    /// Vertices - edges + triangles: 2 for each closed piece without handles.
    pub fn euler_characteristic(&self) -> i64 {
        self.vertices.len() as i64 - self.edges().len() as i64 + self.triangles.len() as i64
    }
}

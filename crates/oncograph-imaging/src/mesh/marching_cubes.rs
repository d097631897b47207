//! The surface of a volume at a level.

use super::cell::{CORNERS, EDGES, Loop, Patch, patches, share_face, single_loop};
use super::surface::Mesh;
use crate::error::{Error, Result};
use crate::volume::{Mask, Volume};
use crate::voxel::Voxel;
use nalgebra::{Matrix3, Vector3};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Layers of cells that one task turns into triangles; fixed, so that the mesh does not depend on the threads.
const LAYERS: usize = 16;

/// Marks a local index as one of a vertex in the middle of a cell.
const MIDDLE: u32 = 1 << 31;

/// Which side of the surface the triangles face.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SurfaceDirection {
    /// Towards the values below the level: outwards for a bright object.
    #[default]
    Descent,
    /// Towards the values above the level.
    Ascent,
}

/// What is done where the signs at the corners of a cell allow several surfaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ambiguity {
    /// The topology of the trilinear interpolant: faces and interiors are tested (Chernyaev, Lewiner).
    #[default]
    Trilinear,
    /// Inside corners that only touch diagonally stay apart (the classic cases of Lorensen and Cline).
    Apart,
}

/// How [`marching_cubes`] makes the surface.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct MarchingCubesOptions {
    /// The value of the surface; default halfway between the smallest and the largest voxel.
    pub level: Option<f64>,
    /// Use every n-th voxel; default 1 (0 counts as 1).
    pub step: usize,
    /// Which way the triangles face.
    pub direction: SurfaceDirection,
    /// The rule for ambiguous cells.
    pub ambiguity: Ambiguity,
    /// Drop triangles without area, merging their corners. Default keep.
    pub drop_degenerate: bool,
    /// Where given, only cells whose last corner (largest x, y, z) is foreground here.
    pub within: Option<Mask>,
}

impl MarchingCubesOptions {
    /// The surface at `level`.
    pub fn new(level: f64) -> Self {
        Self { level: Some(level), ..Self::default() }
    }

    /// Sets the stride in voxels.
    pub fn step(mut self, step: usize) -> Self {
        self.step = step;
        self
    }

    /// Sets which way the triangles face.
    pub fn direction(mut self, direction: SurfaceDirection) -> Self {
        self.direction = direction;
        self
    }

    /// Sets the rule for ambiguous cells.
    pub fn ambiguity(mut self, ambiguity: Ambiguity) -> Self {
        self.ambiguity = ambiguity;
        self
    }

    /// Sets whether triangles without area are dropped.
    pub fn drop_degenerate(mut self, drop: bool) -> Self {
        self.drop_degenerate = drop;
        self
    }

    /// Sets the mask of the cells that count.
    pub fn within(mut self, mask: Mask) -> Self {
        self.within = Some(mask);
        self
    }

    /// Checks that the level is a number.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        match self.level {
            Some(level) if !level.is_finite() => {
                Err(Error::argument("marching_cubes", "level", "finite", level))
            }
            _ => Ok(()),
        }
    }
}

/// The surface where the volume, interpolated between voxels, has the value `level`.
///
/// Vertices lie on the lines between neighbouring voxels, at the linear crossing; normals follow the volume's
/// gradient. A surface that leaves the volume is open there: pad by one voxel to close it. Loops of eight and more
/// crossings get a vertex in the middle of their cell.
///
/// Elsewhere the surface has no boundary, and an edge belongs to two triangles, with one exception: two sheets may be
/// cut along the same line in the face between two cells, whose edge four triangles share then. In noise this is common,
/// in smooth fields it concerns less than one edge in 500; [`Mesh::is_closed`] is false for such a mesh.
///
/// # Units
/// World millimetres.
///
/// # Errors
/// Fewer than two voxels along an axis, a voxel that is not finite, a level outside the volume's range, a mask on
/// another grid.
///
/// # Example
/// ```
/// use oncograph_imaging::mesh::{MarchingCubesOptions, marching_cubes};
/// use oncograph_imaging::{Frame, Grid, Volume};
///
/// let grid = Grid::axis_aligned([24, 24, 24], [0.5; 3], [0.0; 3])?;
/// let ball = Volume::from_fn(grid, Frame::default(), |i| {
///     -i.iter().map(|v| (0.5 * *v as f64 - 5.75).powi(2)).sum::<f64>().sqrt()
/// });
/// let mesh = marching_cubes(&ball, &MarchingCubesOptions::new(-5.0))?;
/// assert!(mesh.is_closed() && mesh.euler_characteristic() == 2);
/// assert!((mesh.area() / (100.0 * std::f64::consts::PI) - 1.0).abs() < 0.01);
/// assert!((mesh.volume() / (500.0 / 3.0 * std::f64::consts::PI) - 1.0).abs() < 0.01);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// Lewiner et al., "Efficient implementation of marching cubes' cases with topological guarantees", J. Graphics
/// Tools 8 (2003); `skimage.measure.marching_cubes`. The vertices on voxel lines are the same; how a polygon is cut
/// into triangles may differ.
pub fn marching_cubes<T: Voxel>(volume: &Volume<T>, options: &MarchingCubesOptions) -> Result<Mesh> {
    let lattice = Lattice::new(volume, options)?;
    let layers = lattice.size[2] - 1;
    let blocks: Vec<Block> = (0..layers.div_ceil(LAYERS))
        .into_par_iter()
        .map(|b| Block::new(&lattice, b * LAYERS, layers.min((b + 1) * LAYERS)))
        .collect();
    let mut mesh = merge(blocks);
    if options.within.is_some() || options.drop_degenerate {
        compact(&mut mesh, options.drop_degenerate);
    }
    lattice.finish(&mut mesh, options.direction);
    Ok(mesh)
}

/// The voxels that are used, and where the surface lies between them.
struct Lattice<'a, T> {
    volume: &'a Volume<T>,
    within: Option<&'a Mask>,
    step: usize,
    size: [usize; 3],
    level: f64,
    exact: bool,
}

impl<'a, T: Voxel> Lattice<'a, T> {
    fn new(volume: &'a Volume<T>, options: &'a MarchingCubesOptions) -> Result<Self> {
        let operation = "marching_cubes";
        options.validate()?;
        volume.require_finite(operation)?;
        if let Some(mask) = &options.within {
            volume.require_same_space(operation, mask)?;
        }
        let step = options.step.max(1);
        let size = volume.shape().map(|n| (n - 1) / step + 1);
        let fail = |argument, expected, got: String| Err(Error::argument(operation, argument, expected, got));
        if size.iter().any(|n| *n < 2) {
            return fail("shape", "at least two voxels (of every step) along each axis", format!("{size:?}"));
        }
        let of_chunk = |chunk: &[T]| {
            let (mut low, mut high) = (chunk[0], chunk[0]);
            for v in chunk {
                low = if *v < low { *v } else { low };
                high = if *v > high { *v } else { high };
            }
            (low.to_f64(), high.to_f64())
        };
        let ends = || (f64::INFINITY, f64::NEG_INFINITY);
        let join = |a: (f64, f64), b: (f64, f64)| (a.0.min(b.0), a.1.max(b.1));
        let (low, high) = volume.as_slice().par_chunks(1 << 16).map(of_chunk).reduce(ends, join);
        let level = options.level.unwrap_or(0.5 * (low + high));
        if !(low..=high).contains(&level) {
            return fail("level", "within the range of the volume", format!("{level} for {low} to {high}"));
        }
        let exact = options.ambiguity == Ambiguity::Trilinear;
        Ok(Self { volume, within: options.within.as_ref(), step, size, level, exact })
    }

    fn offset(&self, [x, y, z]: [usize; 3]) -> usize {
        let [nx, ny, _] = self.volume.shape();
        self.step * (x + nx * (y + ny * z))
    }

    /// The value of a lattice point relative to the level.
    fn value(&self, at: [usize; 3]) -> f64 {
        self.volume.as_slice()[self.offset(at)].to_f64() - self.level
    }

    /// The crossing between a point and the next one along `axis`, in lattice units.
    fn crossing(&self, at: [usize; 3], axis: usize) -> [f64; 3] {
        let mut next = at;
        next[axis] += 1;
        let (a, b) = (self.value(at), self.value(next));
        let mut position = at.map(|v| v as f64);
        position[axis] += a / (a - b);
        position
    }

    /// For each lattice point of a plane, 1 where it is inside.
    fn inside(&self, z: usize, out: &mut Vec<u8>) {
        out.clear();
        for y in 0..self.size[1] {
            let first = self.offset([0, y, z]);
            let row = self.volume.as_slice()[first..].iter().step_by(self.step).take(self.size[0]);
            out.extend(row.map(|v| u8::from(v.to_f64() - self.level > 0.0)));
        }
    }

    /// Whether the cell counts.
    fn counts(&self, [x, y, z]: [usize; 3]) -> bool {
        self.within.is_none_or(|mask| mask.as_slice()[self.offset([x + 1, y + 1, z + 1])] != 0)
    }

    /// Central differences at a lattice point, one-sided at the edge.
    fn slope(&self, at: [usize; 3]) -> [f64; 3] {
        std::array::from_fn(|axis| {
            let (mut low, mut high) = (at, at);
            low[axis] = at[axis].saturating_sub(1);
            high[axis] = (at[axis] + 1).min(self.size[axis] - 1);
            (self.value(high) - self.value(low)) / (high[axis] - low[axis]) as f64
        })
    }

    /// From lattice units to the world, with normals, facing in `direction`.
    fn finish(&self, mesh: &mut Mesh, direction: SurfaceDirection) {
        let grid = self.volume.grid();
        let linear: Matrix3<f64> = grid.affine().fixed_view::<3, 3>(0, 0).into_owned();
        // A gradient is carried by the inverse transpose.
        let inverse: Matrix3<f64> = grid.inverse().fixed_view::<3, 3>(0, 0).into_owned();
        let sign = if direction == SurfaceDirection::Descent { -1.0 } else { 1.0 };
        let normal = |position: &[f64; 3]| {
            let low: [usize; 3] = std::array::from_fn(|a| (position[a] as usize).min(self.size[a] - 1));
            let mut gradient = Vector3::zeros();
            let fraction: [f64; 3] = std::array::from_fn(|a| position[a] - low[a] as f64);
            for corner in 0..CORNERS {
                let mut weight = 1.0;
                let at = std::array::from_fn(|a| {
                    let high = corner >> a & 1;
                    weight *= if high == 1 { fraction[a] } else { 1.0 - fraction[a] };
                    low[a] + high
                });
                if weight > 0.0 {
                    gradient += weight * Vector3::from(self.slope(at));
                }
            }
            // Along a line that the surface crosses, the values at its two ends give the slope better than their neighbours do.
            if let [Some(axis), None, None] = {
                let mut within = (0..3).filter(|a| fraction[*a] > 0.0);
                [within.next(), within.next(), within.next()]
            } {
                let mut end = low;
                end[axis] += 1;
                gradient[axis] = self.value(end) - self.value(low);
            }
            let world = inverse.transpose() * gradient * sign;
            let length = world.norm();
            (if length > 0.0 { world / length } else { world }).into()
        };
        mesh.normals = mesh.vertices.par_iter().map(normal).collect();
        let step = self.step as f64;
        mesh.vertices.par_iter_mut().for_each(|v| *v = grid.index_to_world(v.map(|x| x * step)));
        // The loops run so that cells face the higher values in a right-handed frame.
        if (linear.determinant() < 0.0) == (direction == SurfaceDirection::Ascent) {
            mesh.triangles.iter_mut().for_each(|t| t.swap(1, 2));
        }
    }
}

/// The vertices on the lines of one plane of lattice points and the lines to the next plane.
struct Plane {
    along: [Vec<u32>; 3],
    /// For each point, 1 where it is inside.
    inside: Vec<u8>,
}

/// The places where two rows of flags differ, ascending.
fn differences(a: &[u8], b: &[u8], mut at: impl FnMut(usize)) {
    const WIDTH: usize = 32;
    let length = a.len().min(b.len());
    for start in (0..length).step_by(WIDTH) {
        let end = length.min(start + WIDTH);
        // Most stretches are equal, which one comparison detects.
        if a[start..end] != b[start..end] {
            (start..end).filter(|i| a[*i] != b[*i]).for_each(&mut at);
        }
    }
}

/// The surface within some layers of cells.
struct Block {
    /// Vertices on lines: those of the first plane first, those of the last plane last.
    vertices: Vec<[f64; 3]>,
    /// How many of them belong to the first plane, which is the last one of the block before.
    first: usize,
    /// Where those of the last plane begin.
    last: usize,
    middles: Vec<[f64; 3]>,
    triangles: Vec<[u32; 3]>,
}

impl Block {
    fn new<T: Voxel>(lattice: &Lattice<T>, start: usize, end: usize) -> Self {
        let (vertices, middles, triangles) = Default::default();
        let mut block = Block { vertices, first: 0, last: 0, middles, triangles };
        let points = lattice.size[0] * lattice.size[1];
        let empty = || Plane { along: std::array::from_fn(|_| vec![0; points]), inside: Vec::new() };
        let (mut below, mut above) = (empty(), empty());
        lattice.inside(start, &mut below.inside);
        block.cross(lattice, start, &mut below);
        block.first = block.vertices.len();
        for z in start..end {
            lattice.inside(z + 1, &mut above.inside);
            block.cross_upwards(lattice, z, &mut below, &above.inside);
            block.last = block.vertices.len();
            block.cross(lattice, z + 1, &mut above);
            for y in 0..lattice.size[1] - 1 {
                block.row(lattice, [y, z], &below, &above);
            }
            std::mem::swap(&mut below, &mut above);
        }
        block
    }

    /// Makes the vertices within one plane, along x and then along y.
    fn cross<T: Voxel>(&mut self, lattice: &Lattice<T>, z: usize, plane: &mut Plane) {
        let nx = lattice.size[0];
        let Plane { along, inside } = plane;
        for (axis, along) in along.iter_mut().enumerate().take(2) {
            for y in 0..lattice.size[1] - axis {
                let row = &inside[nx * y..nx * (y + 1)];
                let next = if axis == 0 { &row[1..] } else { &inside[nx * (y + 1)..nx * (y + 2)] };
                differences(row, next, |x| {
                    along[x + nx * y] = self.vertices.len() as u32;
                    self.vertices.push(lattice.crossing([x, y, z], axis));
                });
            }
        }
    }

    /// Makes the vertices between one plane and the next.
    fn cross_upwards<T: Voxel>(&mut self, lattice: &Lattice<T>, z: usize, plane: &mut Plane, above: &[u8]) {
        let nx = lattice.size[0];
        let Plane { along, inside } = plane;
        differences(inside, above, |i| {
            along[2][i] = self.vertices.len() as u32;
            self.vertices.push(lattice.crossing([i % nx, i / nx, z], 2));
        });
    }

    /// The cells of one row.
    fn row<T: Voxel>(&mut self, lattice: &Lattice<T>, [y, z]: [usize; 2], below: &Plane, above: &Plane) {
        let nx = lattice.size[0];
        let rows: [&[u8]; 4] = std::array::from_fn(|r| {
            let plane = if r >> 1 == 1 { above } else { below };
            &plane.inside[nx * (y + (r & 1))..nx * (y + (r & 1) + 1)]
        });
        // The signs of the four points at one x, as every second bit.
        let column = |x: usize| (0..4).map(|r| usize::from(rows[r][x]) << (2 * r)).sum::<usize>();
        let mut left = column(0);
        for x in 0..nx - 1 {
            let right = column(x + 1);
            let mask = left | right << 1;
            left = right;
            if mask == 0 || mask == 255 || !lattice.counts([x, y, z]) {
                continue;
            }
            let vertex = |edge: usize| {
                let corner = EDGES[edge][0];
                let plane = if corner >> 2 == 1 { above } else { below };
                plane.along[edge / 4][x + (corner & 1) + nx * (y + (corner >> 1 & 1))]
            };
            if let Some(line) = single_loop(mask).filter(|line| line.len() < 8) {
                let mut ring = [(0, 0); 8];
                ring.iter_mut().zip(line).for_each(|(r, e)| *r = (vertex(*e), *e));
                self.ears(&mut ring[..line.len()]);
                continue;
            }
            let v: [f64; CORNERS] =
                std::array::from_fn(|c| lattice.value([x + (c & 1), y + (c >> 1 & 1), z + (c >> 2)]));
            for patch in patches(&v, lattice.exact) {
                let ring = |line: Loop| line.into_iter().map(|e| (vertex(e), e)).collect::<Vec<_>>();
                match patch {
                    Patch::Disc(line) => self.disc(ring(line), lattice.exact, || middle([x, y, z], &v)),
                    Patch::Tunnel(a, b) => self.tunnel(&ring(a), &ring(b)),
                }
            }
        }
    }

    /// Fills a ring (vertices and their edges) with triangles: around a middle vertex where it is long, else ear by ear,
    /// the longest cut first.
    fn disc(&mut self, mut ring: Vec<(u32, usize)>, exact: bool, middle: impl Fn() -> [f64; 3]) {
        if exact && ring.len() > 7 {
            let centre = MIDDLE | self.middles.len() as u32;
            self.middles.push(middle());
            let pairs = ring.iter().zip(ring.iter().cycle().skip(1));
            self.triangles.extend(pairs.map(|(a, b)| [a.0, b.0, centre]));
            return;
        }
        self.ears(&mut ring);
    }

    /// Fills a ring of at least three ear by ear, using up the slice.
    fn ears(&mut self, ring: &mut [(u32, usize)]) {
        let mut n = ring.len();
        while n > 3 {
            // Long cuts come closest to the peer's tables, in area and volume.
            let cut = |i: usize| {
                let (a, b) = (ring[i], ring[(i + 2) % n]);
                let within_face = if share_face(a.1, b.1) { 100.0 } else { 0.0 };
                within_face - self.length(a.0, b.0)
            };
            let (mut best, mut least) = (0, cut(0));
            for i in 1..n {
                let cost = cut(i);
                if cost < least {
                    (best, least) = (i, cost);
                }
            }
            self.triangles.push([ring[best].0, ring[(best + 1) % n].0, ring[(best + 2) % n].0]);
            ring.copy_within((best + 1) % n + 1..n, (best + 1) % n);
            n -= 1;
        }
        if let [a, b, c] = ring[..n] {
            self.triangles.push([a.0, b.0, c.0]);
        }
    }

    /// Joins two rings that run in opposite directions around a tunnel, always along the better diagonal.
    fn tunnel(&mut self, a: &[(u32, usize)], b: &[(u32, usize)]) {
        let pairs = (0..a.len()).flat_map(|i| (0..b.len()).map(move |j| (i, j)));
        let near = |(i, j): &(usize, usize)| self.cost(a[*i], b[*j]);
        let (i0, j0) = pairs.min_by(|x, y| near(x).total_cmp(&near(y))).unwrap_or((0, 0));
        let at_a = |i: usize| a[(i0 + i) % a.len()];
        let at_b = |j: usize| b[(j0 + b.len() * 2 - j) % b.len()];
        let (mut i, mut j) = (0, 0);
        while i < a.len() || j < b.len() {
            let along_a = self.cost(at_a(i + 1), at_b(j));
            let along_b = self.cost(at_a(i), at_b(j + 1));
            if j == b.len() || (i < a.len() && along_a <= along_b) {
                self.triangles.push([at_a(i).0, at_a(i + 1).0, at_b(j).0]);
                i += 1;
            } else {
                self.triangles.push([at_a(i).0, at_b(j + 1).0, at_b(j).0]);
                j += 1;
            }
        }
    }

    fn length(&self, a: u32, b: u32) -> f64 {
        let (p, q) = (self.vertices[a as usize], self.vertices[b as usize]);
        (0..3).map(|i| (p[i] - q[i]).powi(2)).sum()
    }

    /// The cost of a bridge over a tunnel: its squared length, plus a penalty that rules out one within a face.
    fn cost(&self, a: (u32, usize), b: (u32, usize)) -> f64 {
        let length = self.length(a.0, b.0);
        if share_face(a.1, b.1) { 100.0 + length } else { length }
    }
}

/// The corners' mean position, each weighted by how close its value is to the level.
fn middle(cell: [usize; 3], v: &[f64; CORNERS]) -> [f64; 3] {
    let weight = v.map(|v| 1.0 / (f64::from(f32::EPSILON) + v.abs()));
    let total: f64 = weight.iter().sum();
    std::array::from_fn(|a| {
        let sum: f64 = (0..CORNERS).map(|c| weight[c] * (c >> a & 1) as f64).sum();
        cell[a] as f64 + sum / total
    })
}

/// One mesh of all blocks; the plane between two blocks has the same vertices in the same order in both.
fn merge(blocks: Vec<Block>) -> Mesh {
    let mut mesh = Mesh::default();
    let mut shared: Vec<u32> = Vec::new();
    for block in blocks {
        let new = mesh.vertices.len() as u32;
        debug_assert!(shared.is_empty() || shared.len() == block.first);
        mesh.vertices.extend_from_slice(&block.vertices[shared.len()..]);
        let own = |i: u32| match shared.get(i as usize) {
            Some(i) => *i,
            None => new + i - shared.len() as u32,
        };
        let middles = mesh.vertices.len() as u32;
        mesh.vertices.extend(block.middles);
        let index = |i: u32| if i & MIDDLE != 0 { middles + (i & !MIDDLE) } else { own(i) };
        mesh.triangles.extend(block.triangles.iter().map(|t| t.map(index)));
        // The last plane's vertices are the last ones.
        shared = (block.last as u32..block.vertices.len() as u32).map(own).collect();
    }
    mesh
}

/// Drops vertices that no triangle uses; with `degenerate` also merges vertices at one place and drops the triangles
/// that have no area then.
fn compact(mesh: &mut Mesh, degenerate: bool) {
    if degenerate {
        let mut first = std::collections::HashMap::new();
        let place: Vec<u32> = (0..mesh.vertices.len() as u32)
            .map(|i| *first.entry(mesh.vertices[i as usize].map(|x| (x + 0.0).to_bits())).or_insert(i))
            .collect();
        mesh.triangles.iter_mut().for_each(|t| *t = t.map(|i| place[i as usize]));
        mesh.triangles.retain(|t| t[0] != t[1] && t[1] != t[2] && t[2] != t[0]);
    }
    let mut number = vec![u32::MAX; mesh.vertices.len()];
    let mut kept = Vec::new();
    for i in mesh.triangles.iter_mut().flatten() {
        let old = *i as usize;
        if number[old] == u32::MAX {
            number[old] = kept.len() as u32;
            kept.push(mesh.vertices[old]);
        }
        *i = number[old];
    }
    mesh.vertices = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Grid};

    fn noise(shape: [usize; 3], spacing: [f64; 3]) -> Volume<f64> {
        let mut state = 3_u64;
        let grid = Grid::axis_aligned(shape, spacing, [0.0; 3]).unwrap();
        Volume::from_fn(grid, Frame::default(), |i| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let edge = (0..3).any(|a| i[a] == 0 || i[a] + 1 == shape[a]);
            if edge { -1.0 } else { (state >> 40) as f64 / (1 << 23) as f64 - 1.0 }
        })
    }

    #[test]
    fn noise_has_a_closed_surface_facing_outwards_whatever_the_blocks() {
        let volume = noise([9, 10, 37], [1.0, 2.0, 0.5]);
        for ambiguity in [Ambiguity::Trilinear, Ambiguity::Apart] {
            let options = MarchingCubesOptions::new(0.0).ambiguity(ambiguity);
            let mesh = marching_cubes(&volume, &options).unwrap();
            // Without cracks; in noise two sheets may touch along a cut, which four triangles share then.
            assert!(mesh.edges().values().all(|n| n % 2 == 0), "{ambiguity:?}");
            assert!(mesh.volume() > 0.0);
            let ascent = options.clone().direction(SurfaceDirection::Ascent);
            let turned = marching_cubes(&volume, &ascent).unwrap();
            assert!((turned.volume() + mesh.volume()).abs() < 1e-9);
            let threads = |n| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
                pool.install(|| marching_cubes(&volume, &options).unwrap())
            };
            assert_eq!(threads(1), threads(3));
        }
    }

    /// A sum of waves in a bowl that is below the level at the edge.
    fn waves(shape: [usize; 3], number: usize) -> Volume<f64> {
        let grid = Grid::axis_aligned(shape, [1.0; 3], [0.0; 3]).unwrap();
        Volume::from_fn(grid, Frame::default(), |i| {
            let at: [f64; 3] = i.map(|v| v as f64);
            let wave = |w: usize| {
                let k = |axis: usize| 0.25 + 0.6 * ((w * 7 + axis * 3 + number * 5) as f64).sin().abs();
                (k(0) * at[0] + k(1) * at[1] - k(2) * at[2] + w as f64).sin()
            };
            let bowl = |a: usize| 6.0 * (2.0 * at[a] / (shape[a] - 1) as f64 - 1.0).powi(4);
            (0..5).map(wave).sum::<f64>() - (0..3).map(bowl).sum::<f64>()
        })
    }

    #[test]
    fn a_smooth_field_has_a_closed_surface_whose_sheets_hardly_touch() {
        for number in 0..12 {
            let volume = waves([23, 18, 37], number);
            for ambiguity in [Ambiguity::Trilinear, Ambiguity::Apart] {
                let options = MarchingCubesOptions::new(0.123).ambiguity(ambiguity);
                let mesh = marching_cubes(&volume, &options).unwrap();
                let edges = mesh.edges();
                assert!(edges.len() > 1500);
                // Two triangles, or four where two sheets touch along a cut within a face.
                assert!(edges.values().all(|n| *n == 2 || *n == 4), "{number} {ambiguity:?}");
                let touching = edges.values().filter(|n| **n == 4).count();
                assert!(
                    touching * 500 < edges.len(),
                    "{number} {ambiguity:?}: {touching} of {}",
                    edges.len()
                );
                // As many triangles run through an edge in one direction as in the other.
                let mut balance = std::collections::HashMap::new();
                for t in &mesh.triangles {
                    for (a, b) in [(t[0], t[1]), (t[1], t[2]), (t[2], t[0])] {
                        *balance.entry((a.min(b), a.max(b))).or_insert(0) += if a < b { 1 } else { -1 };
                    }
                }
                assert!(balance.values().all(|n| *n == 0), "{number} {ambiguity:?}");
            }
        }
    }

    #[test]
    fn a_mirrored_grid_still_faces_outwards() {
        let volume = noise([8, 8, 8], [1.0; 3]);
        let mut affine = *volume.grid().affine();
        affine[(0, 0)] = -1.0;
        let grid = Grid::new([8; 3], affine).unwrap();
        let mirrored = Volume::new(grid, Frame::default(), volume.as_slice().to_vec()).unwrap();
        let options = MarchingCubesOptions::new(0.0);
        let (a, b) =
            (marching_cubes(&volume, &options).unwrap(), marching_cubes(&mirrored, &options).unwrap());
        assert!((a.volume() - b.volume()).abs() < 1e-9 && a.volume() > 0.0);
        // The first vertex lies on the border of the noise; its normal points to the lower values.
        assert!((a.normals[0][0] + b.normals[0][0]).abs() < 1e-12);
    }

    #[test]
    fn triangles_without_area_can_be_dropped() {
        let grid = Grid::axis_aligned([4, 4, 4], [1.0; 3], [0.0; 3]).unwrap();
        let volume = Volume::from_fn(grid, Frame::default(), |i| {
            if i == [1, 1, 1] {
                1.0
            } else if i == [2, 1, 1] {
                0.0
            } else {
                -1.0
            }
        });
        let options = MarchingCubesOptions::new(0.0);
        let mesh = marching_cubes(&volume, &options.clone().drop_degenerate(true)).unwrap();
        assert!(mesh.is_closed() && mesh.euler_characteristic() == 2);
        assert!(marching_cubes(&volume, &MarchingCubesOptions::new(2.0)).is_err());
    }
}

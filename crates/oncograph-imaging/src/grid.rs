//! Where the voxels of a volume lie in the world.

use crate::error::{Error, Result};
use nalgebra::{Matrix3, Matrix4, Vector4};
use serde::{Deserialize, Serialize};

/// A regular lattice of voxels in the world: its size and the map from voxel index to millimetres.
///
/// World coordinates are **RAS+** (x grows to the patient's right, y to the front, z to the head), as in NIfTI.
/// DICOM's LPS+ is converted when a file is read or written. Index (0, 0, 0) is the *centre* of the first voxel.
/// Memory order is x fastest: voxel (i, j, k) is element `i + nx * (j + ny * k)`.
///
/// # Example
/// ```
/// use oncograph_imaging::Grid;
///
/// let grid = Grid::axis_aligned([4, 3, 2], [0.8, 0.8, 2.5], [10.0, -20.0, 30.0])?;
/// assert_eq!(grid.index_to_world([1.0, 0.0, 2.0]), [10.8, -20.0, 35.0]);
/// assert_eq!(grid.orientation(), "RAS");
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "GridRecord", into = "GridRecord")]
pub struct Grid {
    shape: [usize; 3],
    affine: Matrix4<f64>,
    inverse: Matrix4<f64>,
}

/// The stored form of a grid: rows of the affine.
#[derive(Serialize, Deserialize)]
struct GridRecord {
    shape: [usize; 3],
    affine: [[f64; 4]; 4],
}

impl TryFrom<GridRecord> for Grid {
    type Error = Error;

    fn try_from(record: GridRecord) -> Result<Self> {
        Self::new(record.shape, Matrix4::from_fn(|r, c| record.affine[r][c]))
    }
}

impl From<Grid> for GridRecord {
    fn from(grid: Grid) -> Self {
        let affine = std::array::from_fn(|r| std::array::from_fn(|c| grid.affine[(r, c)]));
        Self { shape: grid.shape, affine }
    }
}

impl Grid {
    /// A grid of `shape` (nx, ny, nz) voxels with the given index-to-world affine (RAS+, mm).
    ///
    /// # Errors
    /// A size of 0 or one whose product overflows, an affine that is not finite, not invertible, or whose last
    /// row is not (0, 0, 0, 1).
    pub fn new(shape: [usize; 3], affine: Matrix4<f64>) -> Result<Self> {
        let bad = |detail: String| Err(Error::geometry("Grid::new", detail));
        let voxels = shape[0].checked_mul(shape[1]).and_then(|n| n.checked_mul(shape[2]));
        if voxels.is_none_or(|n| n == 0 || n > isize::MAX as usize / 8) {
            return bad(format!("shape {shape:?} has no voxels or too many"));
        }
        if !affine.iter().all(|v| v.is_finite()) {
            return bad(format!("the affine is not finite: {affine:?}"));
        }
        if affine.row(3).iter().zip([0.0, 0.0, 0.0, 1.0]).any(|(a, b)| (a - b).abs() > 1e-9) {
            return bad(format!("the affine's last row is not (0, 0, 0, 1): {:?}", affine.row(3)));
        }
        let linear: Matrix3<f64> = affine.fixed_view::<3, 3>(0, 0).into_owned();
        let spacing: [f64; 3] = std::array::from_fn(|a| linear.column(a).norm());
        // The determinant of the unit directions: independent of how small the voxels are.
        let volume = linear.determinant() / (spacing[0] * spacing[1] * spacing[2]);
        if !volume.is_finite() || volume.abs() < 1e-6 {
            return bad(format!("the affine cannot be inverted: spacing {spacing:?} mm, {affine:?}"));
        }
        match affine.try_inverse() {
            Some(inverse) if inverse.iter().all(|v| v.is_finite()) => Ok(Self { shape, affine, inverse }),
            _ => bad(format!("the affine cannot be inverted: {affine:?}")),
        }
    }

    /// A grid from voxel spacing (mm), world position of the first voxel's centre (RAS+, mm), and the unit
    /// vectors of the three voxel axes as the columns of `direction`.
    ///
    /// # Errors
    /// As [`Grid::new`], and where a spacing is not positive or a direction column is not of length 1 (±1e-3).
    pub fn from_spacing_origin_direction(
        shape: [usize; 3],
        spacing: [f64; 3],
        origin: [f64; 3],
        direction: Matrix3<f64>,
    ) -> Result<Self> {
        const OP: &str = "Grid::from_spacing_origin_direction";
        if spacing.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
            return Err(Error::geometry(OP, format!("spacing must be positive, got {spacing:?} mm")));
        }
        if (0..3).any(|a| (direction.column(a).norm() - 1.0).abs() > 1e-3) {
            return Err(Error::geometry(
                OP,
                format!("direction columns must have length 1, got {direction:?}"),
            ));
        }
        let mut affine = Matrix4::identity();
        for axis in 0..3 {
            for row in 0..3 {
                affine[(row, axis)] = direction[(row, axis)] * spacing[axis];
            }
            affine[(axis, 3)] = origin[axis];
        }
        Self::new(shape, affine)
    }

    /// A grid whose axes are the world's (`RAS`).
    ///
    /// # Errors
    /// As [`Grid::from_spacing_origin_direction`].
    pub fn axis_aligned(shape: [usize; 3], spacing: [f64; 3], origin: [f64; 3]) -> Result<Self> {
        Self::from_spacing_origin_direction(shape, spacing, origin, Matrix3::identity())
    }

    /// Number of voxels along x, y, z.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of voxels.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Always false: a grid has at least one voxel.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The index-to-world map (RAS+, mm).
    pub fn affine(&self) -> &Matrix4<f64> {
        &self.affine
    }

    /// The world-to-index map.
    pub fn inverse(&self) -> &Matrix4<f64> {
        &self.inverse
    }

    /// Distance between voxel centres along each voxel axis, in mm.
    pub fn spacing(&self) -> [f64; 3] {
        std::array::from_fn(|axis| self.affine.fixed_view::<3, 1>(0, axis).norm())
    }

    /// Volume of one voxel in mm³.
    pub fn voxel_volume(&self) -> f64 {
        self.affine.fixed_view::<3, 3>(0, 0).into_owned().determinant().abs()
    }

    /// World position of the centre of voxel (0, 0, 0) in mm.
    pub fn origin(&self) -> [f64; 3] {
        std::array::from_fn(|row| self.affine[(row, 3)])
    }

    /// Unit vectors of the voxel axes as columns.
    pub fn direction(&self) -> Matrix3<f64> {
        let spacing = self.spacing();
        Matrix3::from_fn(|row, axis| self.affine[(row, axis)] / spacing[axis])
    }

    /// For each voxel axis the world axis that it follows best, and whether it runs along it (true) or against.
    ///
    /// The assignment is the permutation with the largest sum of absolute direction cosines, so that no world
    /// axis is used twice however oblique the grid is.
    pub fn axis_map(&self) -> [(usize, bool); 3] {
        const PERMUTATIONS: [[usize; 3]; 6] =
            [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let direction = self.direction();
        let score = |p: &[usize; 3]| (0..3).map(|axis| direction[(p[axis], axis)].abs()).sum::<f64>();
        let mut best = PERMUTATIONS[0];
        for candidate in &PERMUTATIONS[1..] {
            if score(candidate) > score(&best) + 1e-12 {
                best = *candidate;
            }
        }
        std::array::from_fn(|axis| (best[axis], direction[(best[axis], axis)] > 0.0))
    }

    /// The three letters of the world directions towards which x, y, z grow, e.g. `RAS`, `LPS`, `ASL`.
    pub fn orientation(&self) -> String {
        const LETTERS: [[char; 2]; 3] = [['L', 'R'], ['P', 'A'], ['I', 'S']];
        self.axis_map().iter().map(|&(world, positive)| LETTERS[world][usize::from(positive)]).collect()
    }

    /// World position (mm) of a possibly fractional voxel index.
    pub fn index_to_world(&self, index: [f64; 3]) -> [f64; 3] {
        apply(&self.affine, index)
    }

    /// Possibly fractional voxel index of a world position (mm).
    pub fn world_to_index(&self, world: [f64; 3]) -> [f64; 3] {
        apply(&self.inverse, world)
    }

    /// The voxel that contains a world position, or `None` outside the grid.
    ///
    /// A voxel reaches half a voxel to each side of its centre; its lower face belongs to it.
    pub fn voxel_at(&self, world: [f64; 3]) -> Option<[usize; 3]> {
        let index = self.world_to_index(world).map(|v| (v + 0.5).floor());
        let inside = (0..3).all(|a| index[a] >= 0.0 && index[a] < self.shape[a] as f64);
        inside.then(|| index.map(|v| v as usize))
    }

    /// Element number of voxel (i, j, k), or `None` outside the grid.
    pub fn offset(&self, index: [usize; 3]) -> Option<usize> {
        let inside = (0..3).all(|a| index[a] < self.shape[a]);
        inside.then(|| index[0] + self.shape[0] * (index[1] + self.shape[1] * index[2]))
    }

    /// Voxel (i, j, k) of an element number.
    pub fn index_of(&self, offset: usize) -> [usize; 3] {
        let [nx, ny, _] = self.shape;
        [offset % nx, offset / nx % ny, offset / nx / ny]
    }

    /// True where both grids have the same shape and no voxel centre lies further than `tolerance` mm from its
    /// counterpart.
    ///
    /// The distance is largest at a corner of the grid, so only the corners are compared.
    pub fn approx_eq(&self, other: &Self, tolerance: f64) -> bool {
        self.shape == other.shape && self.corner_distance(other) <= tolerance
    }

    /// Largest distance (mm) between the positions that both affines give to the corners of this grid.
    pub(crate) fn corner_distance(&self, other: &Self) -> f64 {
        let mut largest = 0.0_f64;
        for corner in 0..8_usize {
            let index =
                std::array::from_fn(|a| if corner >> a & 1 == 1 { (self.shape[a] - 1) as f64 } else { 0.0 });
            let (p, q) = (self.index_to_world(index), other.index_to_world(index));
            largest = largest.max((0..3).map(|a| (p[a] - q[a]).powi(2)).sum::<f64>().sqrt());
        }
        largest
    }

    /// The same lattice with another origin voxel and size: index `start` of this grid becomes (0, 0, 0).
    pub(crate) fn shifted(&self, start: [i64; 3], shape: [usize; 3]) -> Result<Self> {
        let origin = self.index_to_world(start.map(|v| v as f64));
        let mut affine = self.affine;
        for row in 0..3 {
            affine[(row, 3)] = origin[row];
        }
        Self::new(shape, affine)
    }
}

fn apply(matrix: &Matrix4<f64>, point: [f64; 3]) -> [f64; 3] {
    let v = matrix * Vector4::new(point[0], point[1], point[2], 1.0);
    [v[0], v[1], v[2]]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use nalgebra::Rotation3;
    use proptest::prelude::*;

    /// Grids of any orientation, for property tests.
    pub(crate) fn any_grid() -> impl Strategy<Value = Grid> {
        let shape = [1_usize..9, 1_usize..9, 1_usize..9];
        let spacing = [0.2..5.0_f64, 0.2..5.0, 0.2..5.0];
        let origin = [-200.0..200.0_f64, -200.0..200.0, -200.0..200.0];
        let angles = [-3.1..3.1_f64, -1.5..1.5, -3.1..3.1];
        (shape, spacing, origin, angles, any::<bool>()).prop_map(|(shape, spacing, origin, angle, flip)| {
            let mut direction = Rotation3::from_euler_angles(angle[0], angle[1], angle[2]).into_inner();
            if flip {
                direction.column_mut(0).neg_mut();
            }
            Grid::from_spacing_origin_direction(shape, spacing, origin, direction).unwrap()
        })
    }

    proptest! {
        #[test]
        fn world_to_index_inverts_index_to_world(grid in any_grid(), index in [-20.0..20.0_f64, -20.0..20.0, -20.0..20.0]) {
            let back = grid.world_to_index(grid.index_to_world(index));
            for axis in 0..3 {
                prop_assert!((back[axis] - index[axis]).abs() < 1e-8);
            }
        }

        #[test]
        fn spacing_origin_direction_give_the_grid_back(grid in any_grid()) {
            let again = Grid::from_spacing_origin_direction(grid.shape(), grid.spacing(), grid.origin(), grid.direction())?;
            prop_assert!(again.approx_eq(&grid, 1e-9));
        }

        #[test]
        fn composed_shifts_add_up(grid in any_grid(), a in [-5_i64..5, -5..5, -5..5], b in [-5_i64..5, -5..5, -5..5]) {
            let twice = grid.shifted(a, grid.shape())?.shifted(b, grid.shape())?;
            let once = grid.shifted(std::array::from_fn(|i| a[i] + b[i]), grid.shape())?;
            prop_assert!(twice.approx_eq(&once, 1e-8));
        }

        #[test]
        fn offsets_and_indices_match(grid in any_grid()) {
            for offset in 0..grid.len() {
                prop_assert_eq!(grid.offset(grid.index_of(offset)), Some(offset));
            }
        }
    }

    #[test]
    fn orientation_codes() {
        let code = |columns: [f64; 9]| {
            let direction = Matrix3::from_column_slice(&columns);
            Grid::from_spacing_origin_direction([2, 2, 2], [1.0, 2.0, 3.0], [0.0; 3], direction)
                .unwrap()
                .orientation()
        };
        assert_eq!(code([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]), "RAS");
        assert_eq!(code([-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0]), "LPS");
        assert_eq!(code([0.0, 1.0, 0.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0]), "ASL");
        let (s, c) = (30_f64.to_radians().sin(), 30_f64.to_radians().cos());
        assert_eq!(code([c, s, 0.0, -s, c, 0.0, 0.0, 0.0, -1.0]), "RAI");
    }

    #[test]
    fn invalid_grids_are_refused() {
        let flat = Matrix4::new(1., 0., 1., 0., 0., 1., 0., 0., 0., 0., 0., 0., 0., 0., 0., 1.);
        assert!(Grid::new([2, 2, 2], flat).is_err());
        assert!(Grid::new([2, 0, 2], Matrix4::identity()).is_err());
        assert!(Grid::new([usize::MAX, 2, 2], Matrix4::identity()).is_err());
        let mut nan = Matrix4::identity();
        nan[(0, 3)] = f64::NAN;
        assert!(Grid::new([2, 2, 2], nan).unwrap_err().to_string().contains("not finite"));
        assert!(Grid::axis_aligned([2, 2, 2], [1.0, -1.0, 1.0], [0.0; 3]).is_err());
        // Microscopic voxels are small, not singular.
        assert!(Grid::axis_aligned([2, 2, 2], [1e-4, 1e-4, 1e-4], [0.0; 3]).is_ok());
    }

    #[test]
    fn voxels_own_their_lower_face() {
        let grid = Grid::axis_aligned([2, 2, 2], [2.0, 2.0, 2.0], [0.0; 3]).unwrap();
        assert_eq!(grid.voxel_at([-1.0, 0.0, 0.0]), Some([0, 0, 0]));
        assert_eq!(grid.voxel_at([1.0, 0.0, 2.9]), Some([1, 0, 1]));
        assert_eq!(grid.voxel_at([3.0, 0.0, 0.0]), None);
    }
}

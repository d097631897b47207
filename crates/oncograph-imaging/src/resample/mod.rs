//! Moving a volume onto another grid.

mod area;
mod general;
mod separable;
mod spline;
mod transform;
mod zoom;

pub use area::resample_area;
pub use transform::{affine_transform, map_coordinates, spline_filter};
pub use zoom::{ZoomOptions, zoom};

use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::volume::Volume;
use crate::voxel::Voxel;
use nalgebra::Matrix4;
use serde::{Deserialize, Serialize};

/// How values between voxel centres are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Interpolation {
    /// The nearest voxel; halfway between two, the one with the higher index (`floor(x + 0.5)`). For masks and
    /// label maps.
    Nearest,
    /// Trilinear.
    #[default]
    Linear,
    /// Quadratic B-spline that passes through the voxels.
    Quadratic,
    /// Cubic B-spline that passes through the voxels (order 3 with prefilter). It overshoots at sharp edges, and
    /// one NaN voxel spoils its lines.
    Cubic,
    /// B-spline of order 4 that passes through the voxels.
    Quartic,
    /// B-spline of order 5 that passes through the voxels.
    Quintic,
}

impl Interpolation {
    /// Every interpolation, by order.
    pub const ALL: [Self; 6] =
        [Self::Nearest, Self::Linear, Self::Quadratic, Self::Cubic, Self::Quartic, Self::Quintic];

    /// The order of the spline, from 0 (nearest) to 5.
    pub fn order(self) -> usize {
        self as usize
    }

    /// The spline of an order from 0 to 5.
    ///
    /// # Errors
    /// Another order.
    pub fn of_order(order: usize) -> Result<Self> {
        Self::ALL
            .get(order)
            .copied()
            .ok_or_else(|| Error::argument("Interpolation::of_order", "order", "0 to 5", order))
    }
}

/// What lies beyond the outermost voxel centres.
///
/// | border | equals | value at a position beyond |
/// |---|---|---|
/// | `Fill(v)` | SimpleITK `Resample`, default value `v` | up to half a voxel beyond the centres (the voxel's own extent) the volume, then `v` |
/// | `Constant(v)` | scipy `mode="constant", cval=v` | `v` from the outermost centres on |
/// | `GridConstant(v)` | scipy `mode="grid-constant", cval=v` | voxels of value `v` all around, interpolated |
/// | `Nearest` | scipy `mode="nearest"` | the edge voxel |
/// | `Mirror` | scipy `mode="mirror"` | the volume mirrored at the centre of the edge voxel |
/// | `Reflect` | scipy `mode="reflect"`, `"grid-mirror"` | the volume mirrored at the face of the edge voxel |
/// | `Wrap` | scipy `mode="wrap"` | the volume again, its last voxel lying on the first |
/// | `GridWrap` | scipy `mode="grid-wrap"` | the volume again, its first voxel next to the last |
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Border {
    /// The volume within the voxels' extent, this value outside.
    Fill(f64),
    /// The volume between the outermost centres, this value outside.
    Constant(f64),
    /// Voxels of this value outside.
    GridConstant(f64),
    /// The edge voxel, repeated.
    Nearest,
    /// Mirrored at the edge voxel's centre.
    Mirror,
    /// Mirrored at the edge voxel's face.
    Reflect,
    /// Repeated with the period of one voxel less than the volume has.
    Wrap,
    /// Repeated with the period of the volume.
    GridWrap,
}

impl Default for Border {
    fn default() -> Self {
        Self::Fill(0.0)
    }
}

impl Border {
    /// The border of scipy's name for it; `value` is its `cval`.
    ///
    /// # Errors
    /// Another name.
    pub fn from_scipy(mode: &str, value: f64) -> Result<Self> {
        Ok(match mode {
            "constant" => Self::Constant(value),
            "grid-constant" => Self::GridConstant(value),
            "nearest" => Self::Nearest,
            "mirror" => Self::Mirror,
            "reflect" | "grid-mirror" => Self::Reflect,
            "wrap" => Self::Wrap,
            "grid-wrap" => Self::GridWrap,
            other => {
                return Err(Error::argument(
                    "Border::from_scipy",
                    "mode",
                    "constant, nearest, mirror, reflect, wrap, grid-constant, grid-mirror or grid-wrap",
                    other,
                ));
            }
        })
    }

    /// The value of positions outside the volume; the extending borders have no outside.
    pub(crate) fn outside_value(self) -> f64 {
        match self {
            Self::Fill(value) | Self::Constant(value) | Self::GridConstant(value) => value,
            _ => 0.0,
        }
    }
}

/// How [`resample`] interpolates and what it puts outside the source.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct ResampleOptions {
    /// Nearest, linear, or a spline.
    pub interpolation: Interpolation,
    /// The rule beyond the source's edge.
    pub border: Border,
    /// Whether splines above order 1 pass through the voxels (default). Without it the voxels are taken as
    /// coefficients already, which smooths.
    pub prefilter: bool,
    /// Off (default): a coordinate within 1e-7 of a voxel's centre or face is taken as on it, so that a target that
    /// ends on the last centre is not lost to rounding. On: coordinates as they are computed, as in scipy.
    pub exact_coordinates: bool,
}

impl Default for ResampleOptions {
    fn default() -> Self {
        Self {
            interpolation: Interpolation::default(),
            border: Border::default(),
            prefilter: true,
            exact_coordinates: false,
        }
    }
}

impl ResampleOptions {
    /// The given interpolation, 0 outside the source.
    pub fn new(interpolation: Interpolation) -> Self {
        Self { interpolation, ..Self::default() }
    }

    /// For masks and label maps: nearest neighbour, background (0) outside.
    pub fn label() -> Self {
        Self::new(Interpolation::Nearest)
    }

    /// Sets the rule beyond the edge.
    pub fn border(mut self, border: Border) -> Self {
        self.border = border;
        self
    }

    /// Sets whether splines pass through the voxels.
    pub fn prefilter(mut self, on: bool) -> Self {
        self.prefilter = on;
        self
    }

    /// Sets whether coordinates are used as computed.
    pub fn exact_coordinates(mut self, on: bool) -> Self {
        self.exact_coordinates = on;
        self
    }

    /// Whether the samples are turned into spline coefficients first.
    pub(crate) fn filters(&self) -> bool {
        self.prefilter && self.interpolation.order() > 1
    }

    /// Sets `Border::Fill(value)`, e.g. -1024 for CT.
    pub fn outside(self, value: f64) -> Self {
        self.border(Border::Fill(value))
    }

    /// Checks that the outside value is finite.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        if !self.border.outside_value().is_finite() {
            return Err(Error::argument("resample", "border value", "finite", self.border.outside_value()));
        }
        Ok(())
    }
}

/// The volume sampled at the voxel centres of `target`; the frame is kept.
///
/// Values are computed in `f64` and rounded once, at the end. Where the two grids' axes are parallel (also
/// swapped or flipped), each axis is interpolated in turn and the cost is proportional to the voxels; otherwise
/// every target voxel gathers its neighbours (8 for linear, 64 for cubic). There is no smoothing before downsampling, as in the peers; see [`resample_area`] for what must not
/// get lost.
/// The result does not depend on the number of threads.
///
/// # Shapes
/// The result has the shape of `target`.
///
/// # Errors
/// An outside value that is not finite.
///
/// # Example
/// ```
/// use oncograph_imaging::{Frame, Grid, Interpolation, ResampleOptions, Volume, resample};
///
/// let grid = Grid::axis_aligned([4, 1, 1], [1.0; 3], [0.0; 3])?;
/// let ct = Volume::new(grid, Frame::default(), vec![0.0_f32, 10.0, 20.0, 30.0])?;
/// let finer = Grid::axis_aligned([3, 1, 1], [0.5, 1.0, 1.0], [1.0, 0.0, 0.0])?;
/// let out = resample(&ct, &finer, &ResampleOptions::new(Interpolation::Linear).outside(-1024.0))?;
/// assert_eq!(out.as_slice(), &[10.0, 15.0, 20.0]);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `scipy.ndimage.affine_transform` (orders 0 to 5) and `SimpleITK.Resample`; see [`Border`] for which is which.
pub fn resample<T: Voxel>(volume: &Volume<T>, target: &Grid, options: &ResampleOptions) -> Result<Volume<T>> {
    options.validate()?;
    let map = volume.grid().inverse() * target.affine();
    let data = match parallel_axes(&map, target.shape()) {
        Some(axes) => separable::resample(volume, target.shape(), &axes, options),
        None => general::resample(volume, target.shape(), &map, options),
    };
    Volume::new(target.clone(), volume.frame().clone(), data)
}

/// How one source axis runs along a target axis.
#[derive(Debug, Clone, Copy, PartialEq)]
struct AxisMap {
    target_axis: usize,
    step: f64,
    /// In target indices, before the step: half a voxel where centres are counted, rounded as the peers round it.
    shift: f64,
    offset: f64,
}

impl AxisMap {
    /// The source coordinate of a target index.
    fn at(&self, index: usize) -> f64 {
        (index as f64 + self.shift) * self.step + self.offset
    }
}

/// For each source axis the target axis that it follows, if the axes are parallel.
///
/// "Parallel" means that ignoring the off-axis terms moves no sample by more than 1e-5 of a source voxel.
fn parallel_axes(map: &Matrix4<f64>, target_shape: [usize; 3]) -> Option<[AxisMap; 3]> {
    const TOLERANCE: f64 = 1e-5;
    let reach =
        |row: usize, column: usize| map[(row, column)].abs() * (target_shape[column].max(2) - 1) as f64;
    let mut used = [false; 3];
    let mut axes = [AxisMap { target_axis: 0, step: 0.0, shift: 0.0, offset: 0.0 }; 3];
    for row in 0..3 {
        let mut best = 0;
        for column in 1..3 {
            if map[(row, column)].abs() > map[(row, best)].abs() {
                best = column;
            }
        }
        let stray: f64 = (0..3).filter(|&c| c != best).map(|c| reach(row, c)).sum();
        if used[best] || stray > TOLERANCE {
            return None;
        }
        used[best] = true;
        axes[row] = AxisMap { target_axis: best, step: map[(row, best)], shift: 0.0, offset: map[(row, 3)] };
    }
    Some(axes)
}

/// The source coordinate, freed from rounding noise: within 1e-7 of a voxel's centre or face it is exactly there, so
/// that a target grid that ends on the last centre does not fall outside and ties are always broken the same way.
fn snap(coordinate: f64) -> f64 {
    let half = (2.0 * coordinate + 0.5).floor() / 2.0;
    if (coordinate - half).abs() < 1e-7 { half } else { coordinate }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;
    use crate::grid::tests::any_grid;
    use nalgebra::Matrix3;
    use proptest::prelude::*;

    const ALL: [Interpolation; 6] = Interpolation::ALL;

    fn noise(grid: Grid) -> Volume<f64> {
        let mut state = 12345_u64;
        Volume::from_fn(grid, Frame::default(), |_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f64 / (1 << 23) as f64 - 1.0
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_same_grid_gives_the_same_values(grid in any_grid()) {
            let volume = noise(grid);
            for interpolation in ALL {
                let again = resample(&volume, volume.grid(), &ResampleOptions::new(interpolation))?;
                for (a, b) in again.as_slice().iter().zip(volume.as_slice()) {
                    prop_assert!((a - b).abs() < 1e-12, "{a} {b}");
                }
            }
        }

        #[test]
        fn separable_and_general_paths_agree(grid in any_grid(), zoom in [0.4..2.5_f64, 0.4..2.5, 0.4..2.5], shift in [-1.5..1.5_f64, -1.5..1.5, -1.5..1.5]) {
            // Axes permuted (x <- y <- z <- x), one flipped, other spacing.
            let mut map = Matrix4::zeros();
            map[(0, 1)] = zoom[0];
            map[(1, 2)] = -zoom[1];
            map[(2, 0)] = zoom[2];
            for row in 0..3 {
                map[(row, 3)] = shift[row] + if row == 1 { grid.shape()[1] as f64 } else { 0.0 };
            }
            map[(3, 3)] = 1.0;
            let volume = noise(grid);
            let shape = [5, 4, 6];
            for interpolation in ALL {
                for border in [Border::Fill(9.0), Border::Constant(-3.0), Border::Nearest, Border::Mirror, Border::Reflect, Border::GridConstant(2.0), Border::Wrap, Border::GridWrap] {
                    let options = ResampleOptions::new(interpolation).border(border);
                    let axes = parallel_axes(&map, shape).unwrap();
                    let fast = separable::resample(&volume, shape, &axes, &options);
                    let slow = general::resample(&volume, shape, &map, &options);
                    for (a, b) in fast.iter().zip(&slow) {
                        prop_assert!((a - b).abs() < 1e-10, "{interpolation:?} {border:?}: {a} {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn cubic_reproduces_a_cubic_polynomial_away_from_the_border() {
        let grid = Grid::axis_aligned([40, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let poly = |x: f64| 0.002 * x * x * x - 0.1 * x * x + x - 3.0;
        let volume = Volume::from_fn(grid, Frame::default(), |[i, _, _]| poly(i as f64));
        let target = Grid::axis_aligned([9, 1, 1], [0.3, 1.0, 1.0], [18.1, 0.0, 0.0]).unwrap();
        let out = resample(&volume, &target, &ResampleOptions::new(Interpolation::Cubic)).unwrap();
        for (i, value) in out.as_slice().iter().enumerate() {
            assert!((value - poly(18.1 + 0.3 * i as f64)).abs() < 1e-6, "{i}: {value}");
        }
    }

    #[test]
    fn fill_starts_half_a_voxel_beyond_the_last_centre_and_constant_at_it() {
        let grid = Grid::axis_aligned([3, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let volume = Volume::new(grid, Frame::default(), vec![1.0_f32, 2.0, 3.0]).unwrap();
        let target = Grid::axis_aligned([6, 1, 1], [0.4, 1.0, 1.0], [-0.8, 0.0, 0.0]).unwrap();
        let at = |border| {
            let options = ResampleOptions::new(Interpolation::Linear).border(border);
            resample(&volume, &target, &options).unwrap().as_slice().to_vec()
        };
        assert_eq!(at(Border::Fill(-9.0))[..3], [-9.0, 1.0, 1.0]);
        assert_eq!(at(Border::Constant(-9.0))[..3], [-9.0, -9.0, 1.0]);
        assert_eq!(at(Border::Nearest)[..3], [1.0, 1.0, 1.0]);
        assert!((at(Border::Mirror)[1] - 1.4).abs() < 1e-6);
        let bad = ResampleOptions::default().outside(f64::NAN);
        assert!(resample(&volume, &target, &bad).is_err());
    }

    #[test]
    fn rotated_grids_take_the_general_path_and_keep_a_linear_ramp() {
        let grid = Grid::axis_aligned([20, 20, 8], [1.0, 1.0, 2.0], [0.0; 3]).unwrap();
        let ramp =
            Volume::from_fn(grid.clone(), Frame::default(), |[i, j, k]| (i + 2 * j) as f64 + 3.0 * k as f64);
        let (s, c) = (0.3_f64.sin(), 0.3_f64.cos());
        let direction = Matrix3::new(c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0);
        let target =
            Grid::from_spacing_origin_direction([6, 6, 4], [1.0; 3], [8.0, 6.0, 3.0], direction).unwrap();
        assert!(parallel_axes(&(grid.inverse() * target.affine()), target.shape()).is_none());
        for interpolation in [Interpolation::Linear, Interpolation::Cubic] {
            let out = resample(&ramp, &target, &ResampleOptions::new(interpolation)).unwrap();
            for offset in 0..target.len() {
                let [x, y, z] = target.index_to_world(target.index_of(offset).map(|v| v as f64));
                let expected = x + 2.0 * y + 1.5 * z;
                // The cubic spline's mirrored border is felt as 0.27 per voxel of distance.
                let tolerance = if interpolation == Interpolation::Linear { 1e-9 } else { 0.2 };
                assert!((out.as_slice()[offset] - expected).abs() < tolerance, "{interpolation:?}");
            }
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let volume = noise(Grid::axis_aligned([33, 21, 17], [1.0; 3], [0.0; 3]).unwrap());
        let target = Grid::axis_aligned([20, 30, 10], [1.7, 0.6, 1.5], [0.3; 3]).unwrap();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| resample(&volume, &target, &ResampleOptions::new(Interpolation::Cubic)).unwrap())
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn integer_volumes_round_half_away_from_zero() {
        let grid = Grid::axis_aligned([2, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let volume = Volume::new(grid, Frame::default(), vec![-3_i16, -2]).unwrap();
        let target = Grid::axis_aligned([1, 1, 1], [1.0; 3], [0.5, 0.0, 0.0]).unwrap();
        let linear = resample(&volume, &target, &ResampleOptions::new(Interpolation::Linear)).unwrap();
        assert_eq!(linear.as_slice(), &[-3]);
        let nearest = resample(&volume, &target, &ResampleOptions::label()).unwrap();
        assert_eq!(nearest.as_slice(), &[-2]);
    }
}

//! Means over the volume of each target voxel.

use super::separable::gather;
use super::spline::Taps;
use super::{AxisMap, parallel_axes};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::lines::{LANES, LineKernel, along};
use crate::volume::Volume;
use crate::voxel::Voxel;

/// Moves a volume onto another grid: each voxel is the mean over its own volume, in which the voxels of `volume` are boxes of
/// one value and `outside` lies around them.
///
/// Of a mask it is the share of each voxel that is inside: however thin a structure is, its volume is kept, where
/// [`resample`](fn@crate::resample) picks single points and can miss it. The cost is proportional to the voxels.
///
/// # Shapes
/// The result has the shape of `target`.
///
/// # Errors
/// Grids whose axes are not parallel (swapped or flipped ones are), or an `outside` that is not finite.
///
/// # Example
/// ```
/// use oncograph_imaging::{Frame, Grid, Volume, resample_area};
///
/// let grid = Grid::axis_aligned([6, 1, 1], [1.0; 3], [0.0; 3])?;
/// let mask = Volume::new(grid, Frame::default(), vec![0_u8, 1, 0, 0, 1, 1])?;
/// let coarse = Grid::axis_aligned([2, 1, 1], [3.0, 1.0, 1.0], [1.0, 0.0, 0.0])?;
/// let share = resample_area(&mask, &coarse, 0.0)?;
/// assert!((share.as_slice()[0] - 1.0 / 3.0).abs() < 1e-6 && (share.as_slice()[1] - 2.0 / 3.0).abs() < 1e-6);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `torch.nn.functional.interpolate` with `mode="area"` for whole factors.
pub fn resample_area<T: Voxel>(volume: &Volume<T>, target: &Grid, outside: f64) -> Result<Volume<f32>> {
    const OP: &str = "resample_area";
    if !outside.is_finite() {
        return Err(Error::argument(OP, "outside", "finite", outside));
    }
    let map = volume.grid().inverse() * target.affine();
    let axes = parallel_axes(&map, target.shape())
        .ok_or_else(|| Error::geometry(OP, "the axes of the two grids are not parallel"))?;
    let mut shape = volume.shape();
    let lines: [Line; 3] = std::array::from_fn(|axis| {
        let count = target.shape()[axes[axis].target_axis];
        Line { shares: (0..count).map(|i| Share::new(axes[axis], i, shape[axis])).collect(), outside }
    });
    // The axis that shrinks most first.
    let mut order = [0, 1, 2];
    let growth = |axis: usize| lines[axis].shares.len() as f64 / volume.shape()[axis] as f64;
    order.sort_by(|&a, &b| growth(a).total_cmp(&growth(b)));
    let mut data = along(volume.as_slice(), shape, order[0], &lines[order[0]]);
    shape[order[0]] = lines[order[0]].shares.len();
    for axis in order.into_iter().skip(1) {
        data = along(&data, shape, axis, &lines[axis]);
        shape[axis] = lines[axis].shares.len();
    }
    // The axes still have the source's order.
    let own = std::array::from_fn(|axis| (0..shape[axis]).map(|i| Some(Taps::own(i))).collect());
    let data = gather(target.shape(), &axes, &own, outside as f32, shape, |offset| data[offset] as f32);
    Volume::new(target.clone(), volume.frame().clone(), data)
}

/// What a target voxel takes of each voxel of a line, from `first` on.
struct Share {
    first: usize,
    weights: Vec<f64>,
}

impl Share {
    /// Of target index `index` on a line of `n` voxels, each a box around its whole index.
    fn new(map: AxisMap, index: usize, n: usize) -> Self {
        let (middle, width) = (map.at(index), map.step.abs());
        let (low, high) = (middle - 0.5 * width, middle + 0.5 * width);
        // What overlaps by rounding alone is left out.
        let overlap = |j: usize| (high.min(j as f64 + 0.5) - low.max(j as f64 - 0.5)) / width;
        let first = (low + 0.5).floor().clamp(0.0, n as f64) as usize;
        let weights = (first..n).map(overlap).take_while(|w| *w > 1e-9).collect::<Vec<_>>();
        match weights.is_empty() && first + 1 < n {
            // The interval may begin a rounding before its first voxel.
            true => Share {
                first: first + 1,
                weights: (first + 1..n).map(overlap).take_while(|w| *w > 1e-9).collect(),
            },
            false => Share { first, weights },
        }
    }
}

/// What all lines along one axis share.
struct Line {
    shares: Vec<Share>,
    outside: f64,
}

impl<S: Voxel> LineKernel<S, f64> for Line {
    type Scratch = ();

    fn outputs(&self) -> usize {
        self.shares.len()
    }

    fn run(
        &self,
        lanes: usize,
        (): &mut (),
        read: impl Fn(usize, usize) -> S,
        mut write: impl FnMut(usize, usize, f64),
    ) {
        for (i, share) in self.shares.iter().enumerate() {
            let rest = (1.0 - share.weights.iter().sum::<f64>()).max(0.0) * self.outside;
            let mut sum = [rest; LANES];
            for (k, weight) in share.weights.iter().enumerate() {
                let values = sum.iter_mut().enumerate().take(lanes);
                values.for_each(|(lane, s)| *s += weight * read(share.first + k, lane).to_f64());
            }
            sum.iter().enumerate().take(lanes).for_each(|(lane, v)| write(i, lane, *v));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, reorient};

    fn spots(shape: [usize; 3]) -> Volume<u8> {
        let grid = Grid::axis_aligned(shape, [0.7, 0.9, 2.5], [3.0, -4.0, 10.0]).unwrap();
        Volume::from_fn(grid, Frame::default(), |[x, y, z]| u8::from((x * 7 + y * 5 + z * 3) % 11 == 0))
    }

    /// A grid over the same extent, with other voxels.
    fn over(grid: &Grid, shape: [usize; 3]) -> Grid {
        let spacing = std::array::from_fn(|a| grid.spacing()[a] * grid.shape()[a] as f64 / shape[a] as f64);
        let first = grid.affine().column(3);
        let origin = std::array::from_fn(|a| first[a] + 0.5 * (spacing[a] - grid.spacing()[a]));
        Grid::axis_aligned(shape, spacing, origin).unwrap()
    }

    #[test]
    fn volume_is_kept_on_coarse_fine_and_odd_grids() {
        let mask = spots([17, 12, 9]);
        let share = |g: &Grid| resample_area(&mask, g, 0.0).unwrap();
        let volume = |sum: f64, g: &Grid| sum * g.spacing().iter().product::<f64>();
        let all = volume(mask.as_slice().iter().map(|v| f64::from(*v)).sum(), mask.grid());
        for shape in [[4, 5, 2], [17, 12, 9], [40, 12, 13], [1, 1, 1]] {
            let grid = over(mask.grid(), shape);
            let sum = share(&grid).as_slice().iter().map(|v| f64::from(*v)).sum();
            assert!((volume(sum, &grid) - all).abs() < 1e-4 * all, "{shape:?}");
        }
        let same: Vec<f32> = mask.as_slice().iter().map(|v| f32::from(*v)).collect();
        assert_eq!(share(mask.grid()).as_slice(), same);
    }

    #[test]
    fn swapped_and_flipped_axes_give_the_same_and_beyond_is_outside() {
        let mask = spots([6, 8, 4]);
        let target = over(mask.grid(), [3, 3, 3]);
        let turned = reorient(&mask, "PIR").unwrap();
        let (a, b) =
            (resample_area(&mask, &target, 0.0).unwrap(), resample_area(&turned, &target, 0.0).unwrap());
        a.as_slice().iter().zip(b.as_slice()).for_each(|(a, b)| assert!((a - b).abs() < 1e-6));
        let far = Grid::axis_aligned([2, 1, 1], [1.0; 3], [500.0; 3]).unwrap();
        assert_eq!(resample_area(&mask, &far, -3.0).unwrap().as_slice(), [-3.0; 2]);
        // Half a voxel in, half out.
        let grid = Grid::axis_aligned([1, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let one = Volume::filled(grid, Frame::default(), 1_u8);
        let half = Grid::axis_aligned([1, 1, 1], [1.0; 3], [0.5, 0.0, 0.0]).unwrap();
        assert_eq!(resample_area(&one, &half, 0.0).unwrap().as_slice(), [0.5]);
    }

    #[test]
    fn grids_at_an_angle_are_refused() {
        let mask = spots([3, 3, 3]);
        let mut affine = *mask.grid().affine();
        affine[(0, 1)] = 0.2;
        let oblique = Grid::new([3, 3, 3], affine).unwrap();
        assert!(resample_area(&mask, &oblique, 0.0).unwrap_err().to_string().contains("parallel"));
        assert!(resample_area(&mask, mask.grid(), f64::NAN).is_err());
    }
}

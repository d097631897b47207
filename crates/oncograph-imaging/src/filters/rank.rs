use super::extended;
use crate::error::{Error, Result};
use crate::resample::Border;
use crate::volume::Volume;
use crate::voxel::Voxel;
use rayon::prelude::*;
use std::cmp::Ordering;

/// The median over a box of `size` voxels along x, y, z; of an even number of values the upper one of the two.
///
/// # Errors
/// A size of 0, a constant that is not finite.
///
/// # Example
/// ```
/// use oncograph_imaging::filters::median;
/// use oncograph_imaging::{Border, Frame, Grid, Volume};
///
/// let grid = Grid::axis_aligned([5, 1, 1], [1.0; 3], [0.0; 3])?;
/// let spike = Volume::new(grid, Frame::default(), vec![1_i16, 2, 900, 3, 4])?;
/// assert_eq!(median(&spike, [3, 1, 1], Border::Reflect)?.as_slice(), &[1, 2, 3, 4, 4]);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `scipy.ndimage.median_filter`.
pub fn median<T: Voxel>(volume: &Volume<T>, size: [usize; 3], border: Border) -> Result<Volume<T>> {
    rank(volume, size, size.iter().product::<usize>() / 2, border)
}

/// The value of the given rank (0 is the smallest) over a box of `size` voxels along x, y, z.
///
/// An even box reaches one voxel further towards index 0. NaN counts as equal to every number.
///
/// # Errors
/// A size of 0, a rank outside the box, a constant that is not finite.
///
/// # Reference
/// `scipy.ndimage.rank_filter`.
pub fn rank<T: Voxel>(
    volume: &Volume<T>,
    size: [usize; 3],
    rank: usize,
    border: Border,
) -> Result<Volume<T>> {
    let count: usize = size.iter().product();
    if rank >= count || !border.outside_value().is_finite() {
        return Err(Error::argument(
            "rank",
            "rank and size",
            "a rank below the number of voxels of the box, a finite constant",
            format!("rank {rank} of a box {size:?}, {border:?}"),
        ));
    }
    let shape = volume.shape();
    let [nx, ny, _] = shape;
    // For each axis and voxel the indices of its window.
    let windows: [Vec<Vec<Option<usize>>>; 3] = std::array::from_fn(|a| {
        let window = |i: usize| {
            let first = i as i64 - (size[a] / 2) as i64;
            (0..size[a] as i64).map(|d| extended(first + d, shape[a], border)).collect()
        };
        (0..shape[a]).map(window).collect()
    });
    let constant = T::from_f64(border.outside_value());
    let source = volume.as_slice();
    let mut data = source.to_vec();
    data.par_chunks_mut(nx).enumerate().for_each_init(
        || Vec::with_capacity(count),
        |values: &mut Vec<T>, (row, line)| {
            for (x, out) in line.iter_mut().enumerate() {
                values.clear();
                for z in &windows[2][row / ny] {
                    for y in &windows[1][row % ny] {
                        let start = z.zip(*y).map(|(z, y)| nx * (y + ny * z));
                        let at = |x: &Option<usize>| start.zip(*x).map_or(constant, |(s, x)| source[s + x]);
                        values.extend(windows[0][x].iter().map(at));
                    }
                }
                let order = |a: &T, b: &T| a.partial_cmp(b).unwrap_or(Ordering::Equal);
                *out = *values.select_nth_unstable_by(rank, order).1;
            }
        },
    );
    Volume::new(volume.grid().clone(), volume.frame().clone(), data)
}

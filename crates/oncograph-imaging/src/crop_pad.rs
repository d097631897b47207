//! Cutting boxes out of a volume, also beyond its edge.

use crate::error::{Error, Result};
use crate::volume::Volume;
use crate::voxel::Voxel;

/// The box of `shape` voxels that begins at index `start`; what lies outside the volume becomes `pad`.
///
/// The grid moves along: every voxel keeps its place in the world.
///
/// # Errors
/// A size of 0, or a start beyond ±2³¹.
///
/// # Example
/// ```
/// use oncograph_imaging::{Frame, Grid, Volume, crop_pad};
///
/// let grid = Grid::axis_aligned([3, 1, 1], [2.0; 3], [0.0; 3])?;
/// let ct = Volume::new(grid, Frame::default(), vec![1_i16, 2, 3])?;
/// let part = crop_pad(&ct, [1, 0, 0], [3, 1, 1], -1024)?;
/// assert_eq!(part.as_slice(), &[2, 3, -1024]);
/// assert_eq!(part.grid().origin(), [2.0, 0.0, 0.0]);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
pub fn crop_pad<T: Voxel>(
    volume: &Volume<T>,
    start: [i64; 3],
    shape: [usize; 3],
    pad: T,
) -> Result<Volume<T>> {
    let limit = 1_i64 << 31;
    if start.iter().any(|s| !(-limit..=limit).contains(s))
        || shape.iter().any(|&n| n == 0 || n as u64 > limit as u64)
    {
        return Err(Error::argument(
            "crop_pad",
            "start and shape",
            "a box of 1 to 2^31 voxels along each axis that begins within ±2^31",
            format!("start {start:?}, shape {shape:?}"),
        ));
    }
    let grid = volume.grid().shifted(start, shape)?;
    let mut data = vec![pad; grid.len()];
    // First and last box index inside the volume, along each axis.
    let overlap = |a: usize| {
        let first = (-start[a]).clamp(0, shape[a] as i64);
        let end = (volume.shape()[a] as i64 - start[a]).clamp(first, shape[a] as i64);
        (first as usize, end as usize)
    };
    let [(x0, x1), (y0, y1), (z0, z1)] = [overlap(0), overlap(1), overlap(2)];
    let [nx, ny, _] = volume.shape();
    let old = |i: usize, a: usize| (i as i64 + start[a]) as usize;
    if x0 < x1 {
        for k in z0..z1 {
            for j in y0..y1 {
                let to = shape[0] * (j + shape[1] * k);
                let from = nx * (old(j, 1) + ny * old(k, 2)) + old(x0, 0);
                data[to + x0..to + x1].copy_from_slice(&volume.as_slice()[from..from + x1 - x0]);
            }
        }
    }
    Volume::new(grid, volume.frame().clone(), data)
}

/// The box of `shape` voxels around index `centre` (which becomes voxel `shape / 2`); see [`crop_pad`].
///
/// # Errors
/// As [`crop_pad`].
pub fn crop_pad_around<T: Voxel>(
    volume: &Volume<T>,
    centre: [usize; 3],
    shape: [usize; 3],
    pad: T,
) -> Result<Volume<T>> {
    let start = std::array::from_fn(|a| centre[a].min(1 << 32) as i64 - (shape[a] / 2).min(1 << 32) as i64);
    crop_pad(volume, start, shape, pad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;
    use crate::grid::tests::any_grid;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_stay_at_their_world_position(grid in any_grid(), start in [-6_i64..9, -6..9, -6..9], shape in [1_usize..7, 1_usize..7, 1_usize..7]) {
            let volume = Volume::from_fn(grid, Frame::default(), |[i, j, k]| (1 + i + 9 * j + 81 * k) as i32);
            let part = crop_pad(&volume, start, shape, -1)?;
            for offset in 0..part.grid().len() {
                let index = part.grid().index_of(offset);
                let world = part.grid().index_to_world(index.map(|v| v as f64));
                let old = volume.grid().world_to_index(world).map(|v| v.round());
                let value = if old.iter().all(|v| *v >= 0.0) { volume.get(old.map(|v| v as usize)) } else { None };
                prop_assert_eq!(part.as_slice()[offset], value.unwrap_or(-1));
            }
        }

        #[test]
        fn padding_then_cropping_gives_the_volume_back(grid in any_grid(), margin in [0_i64..4, 0..4, 0..4]) {
            let volume = Volume::from_fn(grid, Frame::default(), |[i, j, k]| (i + 9 * j + 81 * k) as u16);
            let wide = std::array::from_fn(|a| volume.shape()[a] + 2 * margin[a] as usize);
            let padded = crop_pad(&volume, margin.map(|m| -m), wide, 7)?;
            let back = crop_pad(&padded, margin, volume.shape(), 0)?;
            prop_assert_eq!(back.as_slice(), volume.as_slice());
            prop_assert!(back.grid().approx_eq(volume.grid(), 1e-9));
        }
    }

    #[test]
    fn centred_boxes_and_bad_arguments() {
        let grid = crate::Grid::axis_aligned([5, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let volume = Volume::new(grid, Frame::default(), vec![0_u8, 1, 2, 3, 4]).unwrap();
        let part = crop_pad_around(&volume, [4, 0, 0], [4, 1, 1], 9).unwrap();
        assert_eq!(part.as_slice(), &[2, 3, 4, 9]);
        assert!(crop_pad(&volume, [0; 3], [0, 1, 1], 0).is_err());
        assert!(crop_pad(&volume, [i64::MIN, 0, 0], [1, 1, 1], 0).is_err());
    }
}

//! Turning a volume's axes to a given orientation.

use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::volume::Volume;
use crate::voxel::Voxel;
use nalgebra::Matrix4;

/// The same voxels with axes permuted and flipped so that the grid's orientation code is `code` (e.g. `RAS`).
///
/// No value changes and no voxel moves in the world: only the order in memory and the affine. An oblique grid stays
/// oblique, its axes following the given directions as closely as its own axes allow.
///
/// # Errors
/// A code that does not name each of the three world axes once (`R`/`L`, `A`/`P`, `S`/`I`).
///
/// # Example
/// ```
/// use oncograph_imaging::{Frame, Grid, Volume, reorient};
///
/// let grid = Grid::axis_aligned([2, 1, 1], [1.0; 3], [0.0; 3])?;
/// let ras = Volume::new(grid, Frame::default(), vec![1_u8, 2])?;
/// let lps = reorient(&ras, "LPS")?;
/// assert_eq!(lps.as_slice(), &[2, 1]);
/// assert_eq!(lps.grid().index_to_world([0.0; 3]), [1.0, 0.0, 0.0]);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `nibabel.as_closest_canonical` for `RAS`.
pub fn reorient<T: Voxel>(volume: &Volume<T>, code: &str) -> Result<Volume<T>> {
    let wanted = parse(code)?;
    let own = volume.grid().axis_map();
    let shape = volume.shape();
    // For each new axis the old axis along the same world direction, and whether it is reversed.
    let sources: [(usize, bool); 3] = std::array::from_fn(|new| {
        let (world, positive) = wanted[new];
        let old = (0..3).find(|&axis| own[axis].0 == world).unwrap_or(new);
        (old, own[old].1 != positive)
    });
    let new_shape = sources.map(|(old, _)| shape[old]);
    let mut to_old = Matrix4::zeros();
    to_old[(3, 3)] = 1.0;
    for (new, &(old, flip)) in sources.iter().enumerate() {
        to_old[(old, new)] = if flip { -1.0 } else { 1.0 };
        to_old[(old, 3)] = if flip { (shape[old] - 1) as f64 } else { 0.0 };
    }
    let grid = Grid::new(new_shape, volume.grid().affine() * to_old)?;

    let strides = [1, shape[0], shape[0] * shape[1]];
    let offset = |new: usize, i: usize| {
        let (old, flip) = sources[new];
        strides[old] * if flip { shape[old] - 1 - i } else { i }
    };
    let mut data = Vec::with_capacity(grid.len());
    for k in 0..new_shape[2] {
        for j in 0..new_shape[1] {
            let row = offset(1, j) + offset(2, k);
            data.extend((0..new_shape[0]).map(|i| volume.as_slice()[row + offset(0, i)]));
        }
    }
    Volume::new(grid, volume.frame().clone(), data)
}

/// World axis and direction of each letter.
fn parse(code: &str) -> Result<[(usize, bool); 3]> {
    let axis = |letter: char| match letter {
        'R' => Some((0, true)),
        'L' => Some((0, false)),
        'A' => Some((1, true)),
        'P' => Some((1, false)),
        'S' => Some((2, true)),
        'I' => Some((2, false)),
        _ => None,
    };
    let axes: Option<Vec<(usize, bool)>> = code.chars().map(axis).collect();
    match axes.as_deref() {
        Some(&[a, b, c]) if a.0 != b.0 && b.0 != c.0 && a.0 != c.0 => Ok([a, b, c]),
        _ => Err(Error::argument(
            "reorient",
            "code",
            "three letters, one each of R/L, A/P and S/I",
            format!("{code:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;
    use crate::grid::tests::any_grid;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn there_and_back_is_the_identity_and_positions_stay(grid in any_grid(), pick in 0_usize..48) {
            const ORDERS: [&str; 6] = ["012", "021", "102", "120", "201", "210"];
            let letters = [['R', 'L'], ['A', 'P'], ['S', 'I']];
            let order = ORDERS[pick / 8].bytes().map(|b| usize::from(b - b'0'));
            let code: String = order.enumerate().map(|(i, w)| letters[w][pick >> i & 1]).collect();
            let volume = Volume::from_fn(grid, Frame::default(), |[i, j, k]| (i + 9 * j + 81 * k) as i32);
            let turned = reorient(&volume, &code)?;
            prop_assert_eq!(turned.grid().orientation(), code);
            for offset in 0..turned.grid().len() {
                let world = turned.grid().index_to_world(turned.grid().index_of(offset).map(|v| v as f64));
                let index = volume.grid().world_to_index(world).map(|v| v.round() as usize);
                prop_assert_eq!(volume.get(index), Some(turned.as_slice()[offset]));
            }
            let back = reorient(&turned, &volume.grid().orientation())?;
            prop_assert_eq!(back.as_slice(), volume.as_slice());
            prop_assert!(back.grid().approx_eq(volume.grid(), 1e-9));
        }
    }

    #[test]
    fn bad_codes_are_named() {
        let volume =
            Volume::filled(Grid::axis_aligned([1; 3], [1.0; 3], [0.0; 3]).unwrap(), Frame::default(), 0_u8);
        for code in ["RAX", "RRS", "RA", "RASS", "ras", "LRS"] {
            assert!(reorient(&volume, code).unwrap_err().to_string().contains(code));
        }
    }
}

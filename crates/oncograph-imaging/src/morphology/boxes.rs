//! Dilation, erosion, opening and closing with a box, of masks and of grey values.

use crate::error::Result;
use crate::volume::Volume;
use crate::voxel::Voxel;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What erosion sees beyond the volume's edge. Dilation always sees background there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edge {
    /// Nothing: only voxels inside count, so that a mask cut off by the edge is not eaten there (scipy's
    /// `border_value=1` for erosions).
    #[default]
    Ignore,
    /// Background: a mask that touches the edge is eroded there (scipy's default, `border_value=0`).
    Background,
}

/// The largest value within `radius` voxels along each axis (a box of `2 * radius + 1`; 1 gives 3x3x3).
///
/// For a mask: grows it. A separable running maximum, so that the cost does not depend on the radius' cube.
/// NaN counts as smaller than every number.
///
/// # Reference
/// `scipy.ndimage.binary_dilation` with a full 3x3x3 structure, `grey_dilation`.
pub fn dilate<T: Voxel>(volume: &Volume<T>, radius: [usize; 3]) -> Result<Volume<T>> {
    run(volume, radius, Edge::Ignore, |a, b| if b > a { b } else { a })
}

/// The smallest value within `radius` voxels along each axis.
///
/// For a mask: shrinks it. See [`Edge`] for the volume's edge; background is 0 there.
///
/// # Reference
/// `scipy.ndimage.binary_erosion` with a full 3x3x3 structure; `border_value` as in [`Edge`].
pub fn erode<T: Voxel>(volume: &Volume<T>, radius: [usize; 3], edge: Edge) -> Result<Volume<T>> {
    run(volume, radius, edge, |a, b| if b < a { b } else { a })
}

/// Erosion, then dilation: removes what is smaller than the box.
///
/// # Reference
/// `scipy.ndimage.binary_opening`, `grey_opening`.
pub fn open<T: Voxel>(volume: &Volume<T>, radius: [usize; 3], edge: Edge) -> Result<Volume<T>> {
    dilate(&erode(volume, radius, edge)?, radius)
}

/// Dilation, then erosion: fills gaps smaller than the box.
///
/// With the default [`Edge::Ignore`] the result contains the input. `Edge::Background` is scipy's `binary_closing`
/// with its default border, which **erases** foreground that touches the edge of the volume.
///
/// # Example
/// ```
/// use oncograph_imaging::morphology::{Edge, close};
/// use oncograph_imaging::{Frame, Grid, Mask};
///
/// let grid = Grid::axis_aligned([4, 1, 1], [1.0; 3], [0.0; 3])?;
/// let mask = Mask::new(grid, Frame::default(), vec![1, 0, 1, 0])?;
/// assert_eq!(close(&mask, [1, 0, 0], Edge::Ignore)?.as_slice(), &[1, 1, 1, 1]);
/// assert_eq!(close(&mask, [1, 0, 0], Edge::Background)?.as_slice(), &[0, 1, 1, 0]);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `scipy.ndimage.binary_closing`, `grey_closing`.
pub fn close<T: Voxel>(volume: &Volume<T>, radius: [usize; 3], edge: Edge) -> Result<Volume<T>> {
    erode(&dilate(volume, radius)?, radius, edge)
}

/// One running extremum along each axis. `pick` chooses between the value so far and another one.
fn run<T: Voxel>(
    volume: &Volume<T>,
    radius: [usize; 3],
    edge: Edge,
    pick: impl Fn(T, T) -> T + Sync + Copy,
) -> Result<Volume<T>> {
    let [nx, ny, nz] = volume.shape();
    let outside = (edge == Edge::Background).then(T::default);
    let mut data = volume.as_slice().to_vec();
    if radius[0] > 0 {
        data.par_chunks_mut(nx * ny).for_each_init(Vec::new, |buffer, slice| {
            slice.chunks_exact_mut(nx).for_each(|line| window(line, 1, radius[0], outside, pick, buffer));
        });
    }
    if radius[1] > 0 {
        data.par_chunks_mut(nx * ny).for_each_init(Vec::new, |buffer, slice| {
            window(slice, nx, radius[1], outside, pick, buffer);
        });
    }
    if radius[2] > 0 {
        // Slices are shared between windows, so the result is built beside the input, row by row in parallel.
        let source = data.clone();
        let r = radius[2];
        data.par_chunks_mut(nx * ny).enumerate().for_each(|(k, out)| {
            for other in k.saturating_sub(r)..=(k.saturating_add(r)).min(nz - 1) {
                let slice = &source[other * nx * ny..(other + 1) * nx * ny];
                out.iter_mut().zip(slice).for_each(|(v, s)| *v = pick(*v, *s));
            }
            if let Some(outside) = outside.filter(|_| k < r || k.saturating_add(r) >= nz) {
                out.iter_mut().for_each(|v| *v = pick(*v, outside));
            }
        });
    }
    Volume::new(volume.grid().clone(), volume.frame().clone(), data)
}

/// The running extremum over rows of `width` values, in place.
fn window<T: Voxel>(
    data: &mut [T],
    width: usize,
    radius: usize,
    outside: Option<T>,
    pick: impl Fn(T, T) -> T,
    source: &mut Vec<T>,
) {
    let n = data.len() / width;
    source.clear();
    source.extend_from_slice(data);
    // Row i meets row i + d for every shift d: whole rows at a time, without a branch inside.
    for shift in 1..=radius.min(n - 1) {
        let part = (n - shift) * width;
        data[..part].iter_mut().zip(&source[shift * width..]).for_each(|(v, s)| *v = pick(*v, *s));
        data[shift * width..].iter_mut().zip(&source[..part]).for_each(|(v, s)| *v = pick(*v, *s));
    }
    if let Some(outside) = outside {
        let low = radius.min(n) * width;
        let high = n.saturating_sub(radius) * width;
        data[..low].iter_mut().for_each(|v| *v = pick(*v, outside));
        data[high..].iter_mut().for_each(|v| *v = pick(*v, outside));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Grid, Mask};

    fn noise(shape: [usize; 3], modulus: u64) -> Mask {
        let mut state = 7_u64;
        let grid = Grid::axis_aligned(shape, [1.0; 3], [0.0; 3]).unwrap();
        Mask::from_fn(grid, Frame::default(), |_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            u8::from((state >> 33).is_multiple_of(modulus))
        })
    }

    /// The definition, voxel by voxel.
    fn brute(mask: &Mask, radius: [usize; 3], dilate: bool, edge: Edge) -> Vec<u8> {
        let shape = mask.shape().map(|n| n as i64);
        let r = radius.map(|r| r as i64);
        (0..mask.grid().len())
            .map(|offset| {
                let [x, y, z] = mask.grid().index_of(offset).map(|v| v as i64);
                let mut values = Vec::new();
                for k in z - r[2]..=z + r[2] {
                    for j in y - r[1]..=y + r[1] {
                        for i in x - r[0]..=x + r[0] {
                            let inside = (0..3).all(|a| (0..shape[a]).contains(&[i, j, k][a]));
                            if inside {
                                values.push(mask.get([i as usize, j as usize, k as usize]).unwrap());
                            } else if edge == Edge::Background {
                                values.push(0);
                            }
                        }
                    }
                }
                if dilate { values.into_iter().max().unwrap() } else { values.into_iter().min().unwrap() }
            })
            .collect()
    }

    #[test]
    fn equals_the_definition_for_all_radii_and_edges() {
        for shape in [[7, 6, 5], [1, 4, 2], [3, 1, 1]] {
            for radius in [[0, 0, 0], [1, 1, 1], [2, 0, 3], [9, 1, 2]] {
                let mask = noise(shape, 2);
                assert_eq!(
                    dilate(&mask, radius).unwrap().as_slice(),
                    brute(&mask, radius, true, Edge::Ignore)
                );
                for edge in [Edge::Ignore, Edge::Background] {
                    let eroded = erode(&mask, radius, edge).unwrap();
                    assert_eq!(
                        eroded.as_slice(),
                        brute(&mask, radius, false, edge),
                        "{shape:?} {radius:?} {edge:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn closing_contains_and_opening_is_contained() {
        let mask = noise([12, 11, 10], 3);
        let closed = close(&mask, [1; 3], Edge::Ignore).unwrap();
        let opened = open(&mask, [1; 3], Edge::Ignore).unwrap();
        for ((m, c), o) in mask.as_slice().iter().zip(closed.as_slice()).zip(opened.as_slice()) {
            assert!(o <= m && m <= c);
        }
        assert_eq!(close(&closed, [1; 3], Edge::Ignore).unwrap(), closed);
    }

    #[test]
    fn a_full_mask_survives_closing_only_with_the_default_edge() {
        let full = noise([5, 5, 5], 1);
        assert_eq!(close(&full, [1; 3], Edge::Ignore).unwrap(), full);
        assert_eq!(close(&full, [1; 3], Edge::Background).unwrap().count(), 27);
    }
}

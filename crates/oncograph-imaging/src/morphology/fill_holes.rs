use super::StructuringElement;
use crate::error::Result;
use crate::volume::Mask;

/// The mask with its holes filled: background that the outside does not reach by steps of `structure`.
///
/// # Errors
/// None for a valid mask.
///
/// # Example
/// ```
/// use oncograph_imaging::morphology::{Connectivity, fill_holes};
/// use oncograph_imaging::{Frame, Grid, Mask};
///
/// let grid = Grid::axis_aligned([5, 5, 5], [1.0; 3], [0.0; 3])?;
/// let shell = Mask::from_fn(grid, Frame::default(), |[i, j, k]| {
///     let far = |v: usize| v.abs_diff(2);
///     u8::from(far(i).max(far(j)).max(far(k)) == 1)
/// });
/// assert_eq!(fill_holes(&shell, Connectivity::Faces)?.count(), 27);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `scipy.ndimage.binary_fill_holes`, whose default structure is [`Connectivity::Faces`](super::Connectivity).
pub fn fill_holes(mask: &Mask, structure: impl Into<StructuringElement>) -> Result<Mask> {
    let structure = structure.into();
    let shape = mask.shape().map(|n| n as i64);
    let strides = [1, shape[0], shape[0] * shape[1]];
    let mut open = vec![false; mask.grid().len()];
    let mut stack: Vec<usize> = Vec::new();
    let source = mask.as_slice();
    // The outside enters where a step leads from it into the volume: a dilation, so steps are taken backwards.
    for (offset, _) in source.iter().enumerate().filter(|(_, v)| **v == 0) {
        let index = mask.grid().index_of(offset).map(|v| v as i64);
        let outside = |s: &[i64; 3]| (0..3).any(|a| !(0..shape[a]).contains(&(index[a] - s[a])));
        if structure.offsets().iter().any(outside) {
            open[offset] = true;
            stack.push(offset);
        }
    }
    while let Some(here) = stack.pop() {
        let index = mask.grid().index_of(here).map(|v| v as i64);
        for step in structure.offsets() {
            if (0..3).all(|a| (0..shape[a]).contains(&(index[a] + step[a]))) {
                let other = (here as i64 + (0..3).map(|a| step[a] * strides[a]).sum::<i64>()) as usize;
                if source[other] == 0 && !open[other] {
                    open[other] = true;
                    stack.push(other);
                }
            }
        }
    }
    let data = open.into_iter().map(|open| u8::from(!open)).collect();
    Mask::new(mask.grid().clone(), mask.frame().clone(), data)
}

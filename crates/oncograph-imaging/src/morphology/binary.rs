use super::StructuringElement;
use crate::error::Result;
use crate::volume::Mask;
use rayon::prelude::*;

/// How masks are dilated and eroded.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BinaryMorphologyOptions {
    /// The shape. Default: the voxel and its 6 neighbours.
    pub structure: StructuringElement,
    /// How often in a row; `None` until nothing changes. Default 1.
    pub iterations: Option<usize>,
    /// Whether the outside of the volume is foreground, for dilations and erosions alike. Default no.
    pub border: bool,
    /// Where given, only voxels of this mask may change.
    pub within: Option<Mask>,
}

impl Default for BinaryMorphologyOptions {
    fn default() -> Self {
        Self::new(super::Connectivity::Faces)
    }
}

impl BinaryMorphologyOptions {
    /// Once, with background outside.
    pub fn new(structure: impl Into<StructuringElement>) -> Self {
        Self { structure: structure.into(), iterations: Some(1), border: false, within: None }
    }

    /// Sets how often; `None` until nothing changes.
    pub fn iterations(mut self, iterations: Option<usize>) -> Self {
        self.iterations = iterations;
        self
    }

    /// Sets whether the outside of the volume is foreground.
    pub fn border(mut self, border: bool) -> Self {
        self.border = border;
        self
    }

    /// Sets the mask of the voxels that may change.
    pub fn within(mut self, mask: Mask) -> Self {
        self.within = Some(mask);
        self
    }
}

/// The mask and everything that the structure reaches from it; foreground becomes 1.
///
/// # Errors
/// Where `within` lies on another grid.
///
/// # Reference
/// `scipy.ndimage.binary_dilation`.
pub fn binary_dilate(mask: &Mask, options: &BinaryMorphologyOptions) -> Result<Mask> {
    repeat(mask, options, true)
}

/// The voxels around which the whole structure is foreground.
///
/// # Errors
/// Where `within` lies on another grid.
///
/// # Reference
/// `scipy.ndimage.binary_erosion`.
pub fn binary_erode(mask: &Mask, options: &BinaryMorphologyOptions) -> Result<Mask> {
    repeat(mask, options, false)
}

/// Erosions, then as many dilations.
///
/// # Errors
/// Where `within` lies on another grid.
///
/// # Reference
/// `scipy.ndimage.binary_opening`.
pub fn binary_open(mask: &Mask, options: &BinaryMorphologyOptions) -> Result<Mask> {
    binary_dilate(&binary_erode(mask, options)?, options)
}

/// Dilations, then as many erosions.
///
/// With background outside (scipy's default) foreground that touches the edge of the volume is eroded there.
///
/// # Errors
/// Where `within` lies on another grid.
///
/// # Example
/// ```
/// use oncograph_imaging::morphology::{BinaryMorphologyOptions, Connectivity, binary_close};
/// use oncograph_imaging::{Frame, Grid, Mask};
///
/// let grid = Grid::axis_aligned([5, 3, 3], [1.0; 3], [0.0; 3])?;
/// let line = Mask::from_fn(grid, Frame::default(), |[i, j, k]| u8::from(i != 2 && j == 1 && k == 1));
/// let closed = binary_close(&line, &BinaryMorphologyOptions::new(Connectivity::Corners))?;
/// assert_eq!(closed.get([2, 1, 1]), Some(1));
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `scipy.ndimage.binary_closing`.
pub fn binary_close(mask: &Mask, options: &BinaryMorphologyOptions) -> Result<Mask> {
    binary_erode(&binary_dilate(mask, options)?, options)
}

fn repeat(mask: &Mask, options: &BinaryMorphologyOptions, dilate: bool) -> Result<Mask> {
    if let Some(within) = &options.within {
        mask.require_same_space("binary morphology", within)?;
    }
    let mut now = mask.map(|v| u8::from(v != 0));
    let mut left = options.iterations;
    while left != Some(0) {
        let next = step(&now, options, dilate)?;
        // Once stable, further steps change nothing.
        if next == now {
            break;
        }
        now = next;
        left = left.map(|n| n - 1);
    }
    Ok(now)
}

/// One dilation or erosion: whole rows at a time.
fn step(mask: &Mask, options: &BinaryMorphologyOptions, dilate: bool) -> Result<Mask> {
    let [nx, ny, nz] = mask.shape();
    let source = mask.as_slice();
    let outside = u8::from(options.border);
    let combine = |a: u8, b: u8| if dilate { a | b } else { a & b };
    let mut data = vec![u8::from(!dilate); source.len()];
    data.par_chunks_mut(nx).enumerate().for_each(|(row, out)| {
        let (y, z) = ((row % ny) as i64, (row / ny) as i64);
        for &[dx, dy, dz] in options.structure.offsets() {
            // A dilation reflects the structure about the voxel, an erosion does not.
            let sign = if dilate { -1 } else { 1 };
            let (dx, y, z) = (sign * dx, y + sign * dy, z + sign * dz);
            if !(0..ny as i64).contains(&y) || !(0..nz as i64).contains(&z) {
                out.iter_mut().for_each(|v| *v = combine(*v, outside));
                continue;
            }
            let start = nx * (y as usize + ny * z as usize);
            let line = &source[start..start + nx];
            // Voxels [low, high) of the row see voxels of the shifted line, the others the outside.
            let low = (-dx).clamp(0, nx as i64) as usize;
            let high = (nx as i64 - dx).clamp(low as i64, nx as i64) as usize;
            let first = (low as i64 + dx).clamp(0, nx as i64) as usize;
            out[low..high].iter_mut().zip(&line[first..]).for_each(|(v, s)| *v = combine(*v, *s));
            out[..low].iter_mut().for_each(|v| *v = combine(*v, outside));
            out[high..].iter_mut().for_each(|v| *v = combine(*v, outside));
        }
        if let Some(within) = &options.within {
            let (old, may) = (&source[row * nx..], &within.as_slice()[row * nx..]);
            for ((v, old), may) in out.iter_mut().zip(old).zip(may) {
                *v = if *may != 0 { *v } else { *old };
            }
        }
    });
    Mask::new(mask.grid().clone(), mask.frame().clone(), data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::morphology::{self, Connectivity, Edge};
    use crate::{Frame, Grid};

    fn noise(shape: [usize; 3], modulus: u64) -> Mask {
        let mut state = 11_u64;
        let grid = Grid::axis_aligned(shape, [1.0; 3], [0.0; 3]).unwrap();
        Mask::from_fn(grid, Frame::default(), |_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            u8::from((state >> 33).is_multiple_of(modulus))
        })
    }

    #[test]
    fn a_full_cube_is_the_box() {
        for shape in [[7, 6, 5], [1, 3, 2]] {
            let mask = noise(shape, 2);
            let options = BinaryMorphologyOptions::new(Connectivity::Corners);
            assert_eq!(binary_dilate(&mask, &options).unwrap(), morphology::dilate(&mask, [1; 3]).unwrap());
            let eroded = morphology::erode(&mask, [1; 3], Edge::Background).unwrap();
            assert_eq!(binary_erode(&mask, &options).unwrap(), eroded);
            let twice = binary_dilate(&mask, &options.iterations(Some(2))).unwrap();
            assert_eq!(twice, morphology::dilate(&mask, [2; 3]).unwrap());
        }
    }

    #[test]
    fn erosion_is_dilation_of_the_complement_with_the_reflected_structure() {
        let mask = noise([9, 8, 7], 3);
        let not = |m: &Mask| m.map(|v| 1 - v);
        let elements: Vec<bool> = (0..45).map(|i| i % 4 == 1).collect();
        let mut reflected = elements.clone();
        reflected.reverse();
        let options =
            |e: &[bool]| BinaryMorphologyOptions::new(StructuringElement::new([5, 3, 3], e).unwrap());
        for border in [false, true] {
            let eroded = binary_erode(&mask, &options(&elements).border(border)).unwrap();
            let dual = binary_dilate(&not(&mask), &options(&reflected).border(!border)).unwrap();
            assert_eq!(eroded, not(&dual));
        }
    }

    #[test]
    fn a_flood_stays_within_its_mask_and_ends() {
        let within = noise([12, 11, 10], 2);
        let mut seed = within.map(|_| 0);
        let first = within.as_slice().iter().position(|v| *v != 0).unwrap();
        seed.set(within.grid().index_of(first), 1);
        let options =
            BinaryMorphologyOptions::new(Connectivity::Faces).iterations(None).within(within.clone());
        let flooded = binary_dilate(&seed, &options).unwrap();
        let label = morphology::components(&within, Connectivity::Faces).unwrap();
        let own = label.volume.as_slice()[first];
        let same =
            flooded.as_slice().iter().zip(label.volume.as_slice()).all(|(f, l)| (*f != 0) == (*l == own));
        assert!(same);
    }
}

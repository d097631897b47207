//! Voxels with their place in the world.

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::grid::Grid;
use crate::voxel::Voxel;
use std::path::Path;

/// A three-dimensional image: voxel values, the [`Grid`] they lie on and the [`Frame`] of that grid.
///
/// The data are stored x fastest (`i + nx * (j + ny * k)`), which as a row-major array is `[nz, ny, nx]`.
///
/// # Example
/// ```
/// use oncograph_imaging::{Frame, Grid, Volume};
///
/// let grid = Grid::axis_aligned([2, 1, 1], [1.0; 3], [0.0; 3])?;
/// let ct = Volume::new(grid, Frame::default(), vec![-1000_i16, 40])?;
/// let bone = ct.map(|hu| u8::from(hu > 0));
/// assert_eq!(bone.as_slice(), &[0, 1]);
/// assert_eq!(ct.get([1, 0, 0]), Some(40));
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Volume<T> {
    grid: Grid,
    frame: Frame,
    data: Vec<T>,
}

/// A binary mask or label map: 0 is background, every other value foreground.
pub type Mask = Volume<u8>;

impl<T: Voxel> Volume<T> {
    /// A volume from its parts.
    ///
    /// # Errors
    /// Where `data` has another length than the grid has voxels.
    pub fn new(grid: Grid, frame: Frame, data: Vec<T>) -> Result<Self> {
        if data.len() != grid.len() {
            return Err(Error::Size {
                operation: "Volume::new",
                expected: format!("{} voxels for shape {:?}", grid.len(), grid.shape()),
                got: format!("{} values", data.len()),
            });
        }
        Ok(Self { grid, frame, data })
    }

    /// A volume of one value.
    pub fn filled(grid: Grid, frame: Frame, value: T) -> Self {
        let data = vec![value; grid.len()];
        Self { grid, frame, data }
    }

    /// A volume whose value at voxel (i, j, k) is `f([i, j, k])`.
    pub fn from_fn(grid: Grid, frame: Frame, f: impl FnMut([usize; 3]) -> T) -> Self {
        let data = (0..grid.len()).map(|offset| grid.index_of(offset)).map(f).collect();
        Self { grid, frame, data }
    }

    /// Where the voxels lie.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The coordinate system of the grid.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The same voxels with another frame.
    pub fn with_frame(mut self, frame: Frame) -> Self {
        self.frame = frame;
        self
    }

    /// Number of voxels along x, y, z.
    pub fn shape(&self) -> [usize; 3] {
        self.grid.shape()
    }

    /// The voxels, x fastest.
    pub fn as_slice(&self) -> &[T] {
        &self.data
    }

    /// The voxels, x fastest, for changes in place.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// The grid, the frame and the voxels.
    pub fn into_parts(self) -> (Grid, Frame, Vec<T>) {
        (self.grid, self.frame, self.data)
    }

    /// The value of voxel (i, j, k), or `None` outside.
    pub fn get(&self, index: [usize; 3]) -> Option<T> {
        self.grid.offset(index).map(|offset| self.data[offset])
    }

    /// Sets voxel (i, j, k); returns whether it lies in the volume.
    pub fn set(&mut self, index: [usize; 3], value: T) -> bool {
        let offset = self.grid.offset(index);
        if let Some(offset) = offset {
            self.data[offset] = value;
        }
        offset.is_some()
    }

    /// The volume of `f(value)`.
    pub fn map<U: Voxel>(&self, f: impl FnMut(T) -> U) -> Volume<U> {
        let data = self.data.iter().copied().map(f).collect();
        Volume { grid: self.grid.clone(), frame: self.frame.clone(), data }
    }

    /// The volume in another number type; integers round half away from zero and saturate.
    pub fn cast<U: Voxel>(&self) -> Volume<U> {
        self.map(|v| U::from_f64(v.to_f64()))
    }

    /// Checks that no voxel is NaN or infinite; `origin` (usually the file) goes into the message.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the number of such voxels and the index of the first.
    pub fn require_finite(&self, origin: impl AsRef<Path>) -> Result<()> {
        let count = self.data.iter().filter(|v| !v.is_finite()).count();
        match self.data.iter().position(|v| !v.is_finite()) {
            None => Ok(()),
            Some(first) => Err(Error::NonFinite {
                origin: origin.as_ref().display().to_string(),
                count,
                first: self.grid.index_of(first),
            }),
        }
    }

    /// This volume with every voxel outside `mask` (value 0) replaced by `fill`.
    ///
    /// # Errors
    /// Where the mask lies on another grid (more than 1e-3 mm away) or in another frame of reference.
    pub fn masked(&self, mask: &Mask, fill: T) -> Result<Self> {
        self.require_same_space("Volume::masked", mask)?;
        let pairs = self.data.iter().zip(&mask.data);
        let data = pairs.map(|(&value, &inside)| if inside != 0 { value } else { fill }).collect();
        Ok(Self { grid: self.grid.clone(), frame: self.frame.clone(), data })
    }

    /// Checks that two volumes have the same grid (within 1e-3 mm) and may share their frame.
    ///
    /// # Errors
    /// [`Error::Size`] or [`Error::Geometry`], naming `operation`.
    pub fn require_same_space<U: Voxel>(&self, operation: &'static str, other: &Volume<U>) -> Result<()> {
        if self.shape() != other.shape() {
            return Err(Error::Size {
                operation,
                expected: format!("shape {:?}", self.shape()),
                got: format!("shape {:?}", other.shape()),
            });
        }
        let distance = self.grid.corner_distance(other.grid());
        if distance > 1e-3 {
            return Err(Error::geometry(operation, format!("the grids lie up to {distance:.4} mm apart")));
        }
        if !self.frame.may_equal(other.frame()) {
            let (a, b) = (&self.frame.uid, &other.frame().uid);
            return Err(Error::geometry(operation, format!("frames of reference {a:?} and {b:?} differ")));
        }
        Ok(())
    }

    /// The volume as a candle tensor of `f32`.
    ///
    /// # Shapes
    /// `[nz, ny, nx]`, that is depth, height, width.
    ///
    /// # Errors
    /// Where candle cannot allocate on the device.
    #[cfg(feature = "candle")]
    pub fn to_tensor(&self, device: &candle_core::Device) -> Result<candle_core::Tensor> {
        let [nx, ny, nz] = self.shape();
        let data: Vec<f32> = self.data.iter().map(|v| f32::from_f64(v.to_f64())).collect();
        Ok(candle_core::Tensor::from_vec(data, (nz, ny, nx), device)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Volume<f32> {
        let grid = Grid::axis_aligned([3, 2, 2], [1.0, 1.0, 2.0], [0.0; 3]).unwrap();
        Volume::from_fn(grid, Frame::default(), |[i, j, k]| (i + 10 * j + 100 * k) as f32)
    }

    #[test]
    fn x_is_fastest_in_memory() {
        let volume = ramp();
        assert_eq!(&volume.as_slice()[..4], &[0.0, 1.0, 2.0, 10.0]);
        assert_eq!(volume.get([2, 1, 1]), Some(112.0));
        assert_eq!(volume.get([3, 0, 0]), None);
    }

    #[test]
    fn wrong_length_is_an_error() {
        let grid = ramp().grid().clone();
        let text = Volume::new(grid, Frame::default(), vec![0_u8; 5]).unwrap_err().to_string();
        assert!(text.contains("12 voxels") && text.contains("5 values"), "{text}");
    }

    #[test]
    fn nan_is_named_with_index_and_count() {
        let mut volume = ramp();
        volume.set([1, 1, 0], f32::NAN);
        volume.set([0, 0, 1], f32::INFINITY);
        let error = volume.require_finite("a.nii").unwrap_err();
        assert!(matches!(error, Error::NonFinite { count: 2, first: [1, 1, 0], .. }), "{error}");
    }

    #[test]
    fn masking_replaces_the_background_and_checks_the_grid() {
        let volume = ramp();
        let mask = volume.map(|v| u8::from(v >= 100.0));
        assert_eq!(volume.masked(&mask, -1.0).unwrap().as_slice()[5..7], [-1.0, 100.0]);
        let moved = Grid::axis_aligned([3, 2, 2], [1.0, 1.0, 2.0], [0.5, 0.0, 0.0]).unwrap();
        let moved = Mask::filled(moved, Frame::default(), 1);
        assert!(volume.masked(&moved, 0.0).unwrap_err().to_string().contains("0.5"));
    }

    #[cfg(feature = "candle")]
    #[test]
    fn tensors_are_depth_height_width() {
        let tensor = ramp().to_tensor(&candle_core::Device::Cpu).unwrap();
        assert_eq!(tensor.dims(), [2, 2, 3]);
        assert_eq!(tensor.to_vec3::<f32>().unwrap()[1][0], [100.0, 101.0, 102.0]);
    }
}

//! Oriented medical volumes: NIfTI, DICOM series and DICOM SEG in and out, resampling, CLAHE, morphology.

mod atomic;
mod error;
mod frame;
mod grid;
mod mask;
pub mod nifti;
mod resample;
mod volume;
mod voxel;

pub use error::{Error, Result};
pub use frame::Frame;
pub use grid::Grid;
pub use resample::{Border, Interpolation, ResampleOptions, resample};
pub use volume::{Mask, Volume};
pub use voxel::Voxel;

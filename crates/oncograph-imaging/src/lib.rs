//! Oriented medical volumes: NIfTI, DICOM series and DICOM SEG in and out, resampling, filters, histograms, morphology, surfaces.
//!
//! A [`Volume`] is voxels plus their place in the world: a [`Grid`] (size and index-to-millimetre affine, RAS+) and
//! a [`Frame`] (which coordinate system those millimetres belong to). Every reader fills in all three or fails; every
//! transform keeps them right. Nothing is guessed in silence: a missing orientation, a gap between slices or a mask of
//! another patient is an [`Error`] that names the file.
//!
//! | module or function | what it does |
//! |---|---|
//! | [`nifti`] | read and write `.nii`, `.nii.gz` |
//! | [`dicom`] | read an image series into Hounsfield units |
//! | [`seg`] | read, decode onto an image's grid, and write DICOM Segmentation objects |
//! | [`reorient`] | permute and flip axes to an orientation code |
//! | [`resample()`](fn@resample), [`resize()`](fn@resize) | interpolate onto another grid: nearest, linear, cubic B-spline |
//! | [`zoom`](fn@zoom), [`affine_transform`], [`map_coordinates`] | sample by indices, with scipy's borders and splines |
//! | [`crop_pad()`](fn@crop_pad), [`crop_pad_around`] | cut a box, also beyond the edge |
//! | [`window()`](fn@window), [`rescale_intensity`] | intensity window |
//! | [`clahe()`](fn@clahe), [`clahe_nd`], [`equalize_histogram`] | histogram equalisation, adaptive by slices or in 3-D |
//! | [`match_histogram`], [`match_quantiles`], [`NyulScale`] | intensities of one volume or cohort for another |
//! | [`filters`] | Gaussian and its derivatives, mean, median and other ranks, SUSAN, gradient magnitude |
//! | [`morphology`] | dilate, erode, open, close; components, holes, distance transform |
//! | [`mesh`] | the surface at a level, its area and volume |
//! | [`atlas`] | label maps, tracts as sparse lists: from maps, masks, streamlines, or the cheapest ways between regions |
//! | [`streamlines`] | read tractograms, `.tck` and `.trk` |
//! | [`registration`] | bring a volume onto another with elastix or ANTs |
//!
//! The feature `candle` adds `Volume::to_tensor`.
//!
//! # Example
//! ```
//! use oncograph_imaging::{Frame, Grid, Interpolation, ResampleOptions, Volume, nifti, resample, window};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("ct.nii.gz");
//! # let grid = Grid::axis_aligned([8, 8, 4], [0.8, 0.8, 5.0], [-3.0, 2.0, 10.0])?;
//! # nifti::write(&path, &Volume::filled(grid, Frame::described("scanner"), 60_i16))?;
//! let ct: Volume<f32> = nifti::read(&path)?;
//! let isotropic = ct.grid().with_spacing([2.0, 2.0, 2.0])?;
//! let options = ResampleOptions::new(Interpolation::Cubic).outside(-1024.0);
//! let liver_window = window(&resample(&ct, &isotropic, &options)?, -100.0, 250.0)?;
//! assert_eq!(liver_window.shape(), [3, 3, 10]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Results are the same to the last bit with any number of threads.

pub mod atlas;
mod crop_pad;
pub mod dicom;
mod error;
pub mod filters;
mod frame;
mod grid;
mod histogram;
mod lines;
mod mask;
pub mod mesh;
pub mod morphology;
pub mod nifti;
pub mod registration;
mod reorient;
mod resample;
mod resize;
pub mod seg;
pub mod streamlines;
mod volume;
mod voxel;
mod window;

pub use crop_pad::{crop_pad, crop_pad_around};
pub use error::{Error, Result};
pub use frame::Frame;
pub use grid::Grid;
pub use histogram::{
    ClaheNdOptions, ClaheOptions, MatchOptions, NyulScale, clahe, clahe_nd, equalize_histogram,
    match_histogram, match_quantiles, percentile, rescale_intensity,
};
pub use reorient::reorient;
pub use resample::{
    Border, Interpolation, ResampleOptions, ZoomOptions, affine_transform, map_coordinates, resample,
    resample_area, spline_filter, zoom,
};
pub use resize::resize;
pub use volume::{Mask, Volume};
pub use voxel::Voxel;
pub use window::window;

/// The readme's example must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

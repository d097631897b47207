//! DICOM image series to volumes in Hounsfield units (or whatever the rescale attributes give).
//!
//! - [`read_series`] reads the one series of a folder, [`read_series_files`] a list of files.
//! - [`list_series`] lists the series of a folder.
//!
//! The files' order, names and InstanceNumber do not matter: slices are sorted by their position. Every property
//! that would make the slices something else than one regular volume is an error naming the files.

pub(crate) mod attributes;
mod header;
mod pixels;
pub(crate) use pixels::{decode as decode_pixels, open};
mod series;
#[cfg(test)]
pub(crate) mod testing;

pub use series::{Series, SeriesOptions, SeriesSummary, Slice, list_series, read_series, read_series_files};

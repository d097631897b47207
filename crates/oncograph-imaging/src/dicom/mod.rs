//! DICOM image series to volumes in Hounsfield units (or whatever the rescale attributes give).
//!
//! - [`read_series`] reads the one series of a folder, [`read_series_files`] a list of files.
//! - [`list_series`] lists the series of a folder, [`survey`] all that is in it.
//!
//! The files' order, names and InstanceNumber do not matter: slices are sorted by their position. Every property
//! that would make the slices something else than one regular volume is an error naming the files.

pub(crate) mod attributes;
mod choose;
mod claimed;
mod encoding;
mod folder;
mod frames;
mod header;
mod lengths;
mod options;
mod part10;
mod pixels;
mod series;
mod stack;
#[cfg(test)]
pub(crate) mod testing;
mod unknown_vr;

pub use folder::{FolderContents, SeriesSummary, list_series, survey};
pub(crate) use header::is_segmentation;
pub use options::SeriesOptions;
pub(crate) use part10::class_of;
pub(crate) use pixels::{decode as decode_pixels, open};
pub use series::{Series, Slice, read_series, read_series_files};

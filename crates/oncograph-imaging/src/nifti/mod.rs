//! NIfTI-1 files (`.nii`, `.nii.gz`, pairs of `.hdr` and `.img`): reading and writing with their geometry.
//!
//! - [`read`] gives a three-dimensional volume in any [`Voxel`](crate::Voxel) type, [`read_4d`] the frames of a
//!   four-dimensional one, [`read_noted`] also the remarks that belong beside results.
//! - [`write()`](fn@write) stores a volume in its own type, [`write_with`] with options.
//!
//! The geometry is the sform where its code is positive, else the qform (with qfac), else an error: a file
//! without either does not distinguish left from right. [`ReadOptions::allow_pixdim_geometry`] accepts it all the same.

mod header;
mod read;
mod source;
#[cfg(test)]
mod tests;
mod voxels;
mod write;

pub use read::{ReadOptions, read, read_4d, read_noted, read_with};
pub use write::{WriteOptions, write, write_4d, write_with};

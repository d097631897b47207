//! Registration by the tools of the field: a volume brought onto another, through an installed program.
//!
//! A [`Registrar`] finds a [`Transform`] and keeps in a folder what a reader of the result needs to know: the parameters, the
//! arguments of every call, the program's version and log. The same folder holds the transform's files, so that it can be
//! applied to masks and other sequences later, by another process too ([`Registrar::restore`]). Images are there only while a
//! program needs them, and where it failed: a cohort's would fill the disk.
//!
//! | registrar | program |
//! |---|---|
//! | [`Elastix`] | elastix and transformix 5 |
//! | [`Ants`] | antsRegistration and antsApplyTransforms 2 |
//!
//! Another program is another implementation of the trait.

mod ants;
mod command;
mod elastix;

pub use ants::Ants;
pub use elastix::{Elastix, ElastixStage};

use crate::error::{Error, Result};
use crate::volume::{Mask, Volume};
use oncograph_core::write_file;
use std::path::Path;

/// A program that aligns two volumes.
pub trait Registrar {
    /// The program and its version, as it reports them.
    ///
    /// # Errors
    /// [`crate::Error::Tool`] if it is not installed, with how to install it.
    fn version(&self) -> Result<String>;

    /// Finds the transform that brings `moving` onto `fixed`; `folder` receives its files, arguments and logs.
    ///
    /// # Errors
    /// [`crate::Error::Tool`] if the program is not installed, fails, runs out of time or leaves no transform behind;
    /// [`crate::Error::NonFinite`] for voxels that are NaN.
    fn register(
        &self,
        fixed: &Volume<f32>,
        moving: &Volume<f32>,
        folder: &Path,
    ) -> Result<Box<dyn Transform>>;

    /// The transform onto `fixed` that [`Registrar::register`] left in `folder` with the same [`Registrar::settings`]; `None` where
    /// none did, or did not finish.
    ///
    /// # Errors
    /// A file that cannot be read.
    fn restore(&self, fixed: &Volume<f32>, folder: &Path) -> Result<Option<Box<dyn Transform>>>;

    /// What a transform depends on besides the images: the program and its parameters, for the key of a cache.
    fn settings(&self) -> String;
}

/// The file that is written last: without it the other files are not whole.
const FINISHED: &str = "finished.txt";

/// Makes the folder of a registration, which has not finished from now on.
fn begin(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    let mark = folder.join(FINISHED);
    if mark.exists() { remove(&mark) } else { Ok(()) }
}

/// Marks a registration as finished.
fn finish(folder: &Path, settings: &str) -> Result<()> {
    Ok(write_file(folder.join(FINISHED), settings.as_bytes())?)
}

/// Whether a registration with these settings has finished in a folder.
fn is_finished(folder: &Path, settings: &str) -> Result<bool> {
    let path = folder.join(FINISHED);
    match std::fs::read(&path) {
        Ok(text) => Ok(text == settings.as_bytes()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io("read", &path, e)),
    }
}

/// Removes an image that no program needs any more.
fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(|e| Error::io("remove", path, e))
}

/// An empty folder for the files of one call, in place of one that an earlier call left.
fn fresh_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|e| Error::io("remove", folder, e))?;
    }
    std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))
}

/// Where a [`Registrar`] found the points of the moving volume.
pub trait Transform {
    /// A volume of the moving space on the fixed grid, linear between voxels, 0 outside.
    ///
    /// `name` names the files of this call; those of an earlier one are replaced.
    ///
    /// # Errors
    /// As [`Registrar::register`].
    fn apply(&self, moving: &Volume<f32>, name: &str) -> Result<Volume<f32>>;

    /// A mask or label map of the moving space on the fixed grid: each voxel the nearest label, 0 outside.
    ///
    /// # Errors
    /// As [`Registrar::register`].
    fn apply_labels(&self, moving: &Mask, name: &str) -> Result<Mask>;
}

//! Registration by the tools of the field: a volume brought onto another, through an installed program.
//!
//! A [`Registrar`] finds a [`Transform`] and keeps in a folder what a reader of the result needs to know: its inputs, the
//! parameters, the arguments of every call, the program's version and log. The same folder holds the transform's files, so
//! that it can be applied to masks and other sequences later.
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

use crate::error::Result;
use crate::volume::{Mask, Volume};
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
}

/// Where a [`Registrar`] found the points of the moving volume.
pub trait Transform {
    /// A volume of the moving space on the fixed grid, linear between voxels, 0 outside.
    ///
    /// `name` names the files of this call; it must not have been used before.
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

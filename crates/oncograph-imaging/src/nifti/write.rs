//! Writing.

use super::header::encode;
use crate::error::{Error, Result};
use crate::volume::Volume;
use crate::voxel::Voxel;
use flate2::{Compression, write::GzEncoder};
use oncograph_core::write_file_with;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;

/// How a NIfTI file is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WriteOptions {
    /// gzip level 0 to 9 for names that end in `.gz`; 1 by default, the fastest that compresses.
    pub compression: u32,
    /// Free text in the header, cut at 79 bytes.
    pub description: String,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { compression: 1, description: String::new() }
    }
}

impl WriteOptions {
    /// Fast compression, no text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the gzip level (0 to 9).
    pub fn compression(mut self, level: u32) -> Self {
        self.compression = level;
        self
    }

    /// Sets the free text.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Checks the level.
    ///
    /// # Errors
    /// A level above 9.
    pub fn validate(&self) -> Result<()> {
        if self.compression > 9 {
            return Err(Error::argument("nifti::write", "compression", "0 to 9", self.compression));
        }
        Ok(())
    }
}

/// Writes a volume in its own number type with the default options; see [`write_with`].
///
/// # Errors
/// As [`write_with`].
pub fn write<T: Voxel>(path: impl AsRef<Path>, volume: &Volume<T>) -> Result<()> {
    write_with(path, volume, &WriteOptions::default())
}

/// Writes a volume in its own number type; a name that ends in `.gz` is compressed.
///
/// sform and qform hold the grid (a sheared grid has no qform), both in `f32` as the format requires. The file
/// appears under its name only when it is complete.
///
/// # Units
/// Millimetres.
///
/// # Errors
/// An axis of more than 32767 voxels, a level above 9, or a file that cannot be written.
pub fn write_with<T: Voxel>(
    path: impl AsRef<Path>,
    volume: &Volume<T>,
    options: &WriteOptions,
) -> Result<()> {
    write_4d(path, std::slice::from_ref(volume), options)
}

/// Writes volumes of one grid as one of four dimensions, as [`super::read_4d`] reads it; a single one has three.
///
/// # Units
/// Millimetres.
///
/// # Errors
/// As [`write_with`]; no volume, more than 32767, or one on another grid than the first.
pub fn write_4d<T: Voxel>(
    path: impl AsRef<Path>,
    volumes: &[Volume<T>],
    options: &WriteOptions,
) -> Result<()> {
    let path = path.as_ref();
    options.validate()?;
    let size = |expected: &str, got: String| {
        Err(Error::Size { operation: "nifti::write", expected: expected.to_owned(), got })
    };
    let (Some(first), Ok(count)) = (volumes.first(), i16::try_from(volumes.len())) else {
        return size("1 to 32767 volumes", volumes.len().to_string());
    };
    if first.shape().iter().any(|&n| n > i16::MAX as usize) {
        return size("at most 32767 voxels along an axis", format!("shape {:?}", first.shape()));
    }
    if let Some(i) = volumes.iter().position(|v| !v.grid().approx_eq(first.grid(), 1e-4)) {
        return size("volumes of one grid", format!("another one for volume {i}"));
    }
    let number = (T::NIFTI_CODE, T::BYTES);
    let header = encode(first.grid(), first.frame(), count, number, &options.description);
    write_file_with(path, |file| {
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz")) {
            let mut encoder = GzEncoder::new(file, Compression::new(options.compression));
            write_all(&mut encoder, &header, volumes)?;
            encoder.finish().map(|_| ())
        } else {
            write_all(file, &header, volumes)
        }
    })?;
    Ok(())
}

fn write_all<T: Voxel>(sink: &mut impl Write, header: &[u8], volumes: &[Volume<T>]) -> std::io::Result<()> {
    sink.write_all(header)?;
    let mut buffer = Vec::with_capacity(T::BYTES << 16);
    for chunk in volumes.iter().flat_map(|v| v.as_slice().chunks(1 << 16)) {
        buffer.clear();
        T::extend_le(chunk, &mut buffer);
        sink.write_all(&buffer)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Grid};

    #[test]
    fn too_long_axes_bad_levels_and_missing_folders_are_errors() {
        let grid = Grid::axis_aligned([40000, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let long = Volume::filled(grid, Frame::default(), 0_u8);
        let folder = tempfile::tempdir().unwrap();
        assert!(write(folder.path().join("a.nii"), &long).unwrap_err().to_string().contains("40000"));
        assert!(WriteOptions::new().compression(10).validate().is_err());
        let grid = Grid::axis_aligned([1, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let small = Volume::filled(grid, Frame::default(), 0_u8);
        assert!(
            matches!(write(folder.path().join("none/a.nii"), &small), Err(Error::AtFile(e)) if e.is_not_found())
        );
        let other = Grid::axis_aligned([1, 1, 1], [1.0; 3], [2.0; 3]).unwrap();
        let pair = [small, Volume::filled(other, Frame::default(), 0_u8)];
        let four =
            |volumes| write_4d(folder.path().join("a.nii"), volumes, &WriteOptions::new()).unwrap_err();
        assert!(four(&pair).to_string().contains("volume 1"), "{}", four(&pair));
        assert!(four(&[]).to_string().contains("1 to 32767 volumes"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

//! Streamlines of tractography: TCK files of MRtrix and TRK files of TrackVis.
//!
//! `trk-io`, the one crate for TRK, panics on a file that is cut off, and there is none for TCK: both are read here.

mod source;
mod tck;
mod trk;

use crate::error::{Error, Result};
use source::Source;
use std::path::Path;

/// Streamlines as lists of points in world millimetres (RAS+).
///
/// # Example
/// ```
/// use oncograph_imaging::streamlines::Streamlines;
///
/// let two = Streamlines::new([vec![[0.0; 3], [1.0, 0.0, 0.0]], vec![[5.0; 3]]])?;
/// assert_eq!((two.len(), two.iter().map(<[_]>::len).sum::<usize>()), (2, 3));
/// assert!(Streamlines::new([vec![[f32::NAN; 3]]]).is_err());
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Streamlines {
    points: Vec<[f32; 3]>,
    /// Where each streamline ends in the points.
    ends: Vec<usize>,
    notes: Vec<String>,
}

impl Streamlines {
    /// Streamlines from their points \[mm\]; one may be empty.
    ///
    /// # Errors
    /// [`Error::Argument`] for a coordinate that is not finite.
    pub fn new(lines: impl IntoIterator<Item = Vec<[f32; 3]>>) -> Result<Self> {
        let mut all = Streamlines::default();
        for line in lines {
            if !line.as_flattened().iter().all(|v| v.is_finite()) {
                let got = format!("another in streamline {}", all.len());
                return Err(Error::argument("Streamlines", "points", "finite", got));
            }
            all.points.extend(line);
            all.close();
        }
        Ok(all)
    }

    /// Reads a file, TCK or TRK by its content. Streamlines without points, which MRtrix writes in place of what it left out, are kept;
    /// the values that a TRK file holds beside coordinates are passed over.
    ///
    /// # Units
    /// World millimetres, RAS+: those of a TCK file as they are, those of a TRK file, which lie in the volume from the corner of the first
    /// voxel on, by its `vox_to_ras` as nibabel brings them there.
    ///
    /// # Errors
    /// [`Error::AtFile`] for a file that cannot be read, is cut off or packed, states more than it holds, or has a coordinate that is not
    /// finite; for a TRK file without `vox_to_ras` or with axes in another order than there, and a TCK file whose
    /// streamlines are in another file.
    ///
    /// # Reference
    /// nibabel 5.4 (`nibabel.streamlines`), the documentation of MRtrix 3 and of TrackVis.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut source = Source::open(path)?;
        match source.start()? {
            start if start.starts_with(tck::MAGIC) => tck::read(source),
            start if start.starts_with(trk::MAGIC) => trk::read(source),
            _ => Err(Error::format(
                path,
                "tractogram",
                "neither `mrtrix tracks` (TCK) nor `TRACK` (TRK) begins it",
            )),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The points of one, none where there is no such streamline.
    pub fn get(&self, number: usize) -> &[[f32; 3]] {
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(number).map_or(&[], |end| &self.points[start..*end])
    }

    /// The points of each.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[[f32; 3]]> {
        (0..self.len()).map(|number| self.get(number))
    }

    /// Remarks on how the file was read, to be shown beside results.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Ends the streamline that the last points belong to.
    fn close(&mut self) {
        self.ends.push(self.points.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_kept_apart_and_other_files_named() {
        let lines = Streamlines::new([vec![[1.0; 3]], vec![], vec![[2.0; 3], [3.0; 3]]]).unwrap();
        assert_eq!(
            (lines.get(0).len(), lines.get(1).len(), lines.get(2).len(), lines.get(3).len()),
            (1, 0, 2, 0)
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tck");
        let error = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Streamlines::read(&path).unwrap_err().to_string()
        };
        assert!(
            error(b"mrtrix image").ends_with("neither `mrtrix tracks` (TCK) nor `TRACK` (TRK) begins it")
        );
        assert!(error(b"").ends_with("an empty file"));
        assert!(error(&[0x1f, 0x8b, 8, 0]).ends_with("packed by gzip: unpack it"));
        assert!(error(b"version https://git-lfs.github.com/spec/v1\n").contains("LFS"));
    }
}

//! The crate's error type.

use oncograph_core::{Argument, AtFile};
use std::borrow::Cow;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while reading, writing or transforming a volume.
///
/// File errors carry the path; argument errors carry the operation, what it expected and what it got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read, written or understood.
    #[error(transparent)]
    AtFile(#[from] AtFile),
    /// Voxels that are NaN or infinite.
    #[error("{origin}: {count} voxels are not finite, the first at index {first:?}")]
    NonFinite {
        /// The file or the operation.
        origin: String,
        /// How many voxels are not finite.
        count: usize,
        /// Voxel index (x, y, z) of the first one.
        first: [usize; 3],
    },
    /// A folder holding several image series where one was expected.
    #[error("{}: several image series, choose one with `series_uid`: {}", path.display(), list_series(found))]
    SeveralSeries {
        /// The folder (or the first file).
        path: PathBuf,
        /// SeriesInstanceUID and number of images of each.
        found: Vec<(String, usize)>,
    },
    /// Slices of one series that do not form a volume.
    #[error("series {series}: {detail}; files: {}", list_files(files))]
    Series {
        /// SeriesInstanceUID.
        series: String,
        /// Which property differs, with the values.
        detail: String,
        /// The files concerned.
        files: Vec<PathBuf>,
    },
    /// Two objects that lie in different frames of reference, so that their positions cannot be compared.
    #[error("{operation}: {} lies in frame of reference {got}, expected {expected}", path.display())]
    FrameMismatch {
        /// The call.
        operation: &'static str,
        /// The file that does not fit.
        path: PathBuf,
        /// The reference's FrameOfReferenceUID.
        expected: String,
        /// The file's FrameOfReferenceUID.
        got: String,
    },
    /// Data of another length than the grid has voxels, or grids of different size.
    #[error("{operation}: expected {expected}, got {got}")]
    Size {
        /// The call.
        operation: &'static str,
        /// The expected size.
        expected: String,
        /// The size received.
        got: String,
    },
    /// A grid whose affine is not finite or cannot be inverted, or which has no voxels.
    #[error("{operation}: {detail}")]
    Geometry {
        /// The call.
        operation: &'static str,
        /// What is wrong with the geometry.
        detail: String,
    },
    /// An argument or a configuration value is not one of those allowed.
    #[error(transparent)]
    Argument(#[from] Argument),
    /// An installed program that is missing, fails or leaves no result.
    #[error("{tool}: {detail}")]
    Tool {
        /// The program's name.
        tool: &'static str,
        /// What happened, and how to install it or where its log lies.
        detail: String,
    },
    /// candle could not make the tensor.
    #[cfg(feature = "candle")]
    #[error("to_tensor: {0}")]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// The operating system refused to `operation` a file, for example to read it.
    pub(crate) fn io(operation: &'static str, path: &Path, source: std::io::Error) -> Self {
        AtFile::new(path, source).during(operation).into()
    }

    /// A file that is damaged, truncated or not of the format that it claims to be.
    pub(crate) fn format(path: &Path, format: &str, detail: impl Display) -> Self {
        AtFile::new(path, format!("not a readable {format} file: {detail}")).into()
    }

    /// A valid file that uses a part of its format that this crate does not read.
    pub(crate) fn unsupported(path: &Path, format: &str, detail: impl Display) -> Self {
        AtFile::new(path, format!("unsupported {format} content: {detail}")).into()
    }

    /// A DICOM file without an attribute that is needed, by keyword and tag.
    pub(crate) fn missing_attribute(path: &Path, name: &str) -> Self {
        AtFile::new(path, format!("attribute {name} is missing or unreadable")).into()
    }

    /// An [`Error::Argument`] from anything that prints.
    pub(crate) fn argument(
        op: &'static str,
        argument: impl Into<Cow<'static, str>>,
        expected: impl ToString,
        got: impl ToString,
    ) -> Self {
        Argument::new(op, argument, expected, got).into()
    }

    pub(crate) fn geometry(operation: &'static str, detail: impl Into<String>) -> Self {
        Self::Geometry { operation, detail: detail.into() }
    }
}

#[cfg(feature = "candle")]
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            other => candle_core::Error::wrap(other),
        }
    }
}

fn list_series(found: &[(String, usize)]) -> String {
    let parts: Vec<String> = found.iter().map(|(uid, n)| format!("{uid} ({n} images)")).collect();
    parts.join(", ")
}

/// At most eight names: a message about five hundred slices must stay readable.
fn list_files(files: &[PathBuf]) -> String {
    let mut parts: Vec<String> = files.iter().take(8).map(|f| f.display().to_string()).collect();
    if files.len() > parts.len() {
        parts.push(format!("and {} more", files.len() - parts.len()));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_series_and_shorten_long_lists() {
        let several =
            Error::SeveralSeries { path: "ct".into(), found: vec![("1.2".into(), 3), ("1.3".into(), 4)] };
        assert!(several.to_string().contains("1.2 (3 images), 1.3 (4 images)"));
        let files = (0..20).map(|i| PathBuf::from(format!("{i}.dcm"))).collect();
        let text = Error::Series { series: "1.2".into(), detail: "gap".into(), files }.to_string();
        assert!(text.contains("7.dcm, and 12 more"), "{text}");
    }
}

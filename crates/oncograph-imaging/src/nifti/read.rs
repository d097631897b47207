//! Reading.

use super::header::{DATA_OFFSET, frame_of_code, pixdim_affine, qform_affine, sform_affine};
use super::source::{self, Source};
use super::voxels::{Noise, bytes_of, decode};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::grid::Grid;
use crate::volume::Volume;
use crate::voxel::Voxel;
use nalgebra::Matrix4;
use nifti::{Endianness, NiftiHeader};
use oncograph_core::AtFile;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::Path;

/// What a NIfTI reader lets pass. The default is strict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Accept a file with neither sform nor qform. Its zooms then give a centred grid with x growing to the
    /// **left** (nibabel's rule), and a warning is logged: left and right are a guess.
    pub allow_pixdim_geometry: bool,
    /// Accept NaN and infinite voxels.
    pub allow_nan: bool,
}

impl ReadOptions {
    /// Strict reading.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`allow_pixdim_geometry`](Self::allow_pixdim_geometry).
    pub fn allow_pixdim_geometry(mut self, allow: bool) -> Self {
        self.allow_pixdim_geometry = allow;
        self
    }

    /// Sets [`allow_nan`](Self::allow_nan).
    pub fn allow_nan(mut self, allow: bool) -> Self {
        self.allow_nan = allow;
        self
    }
}

/// Reads a three-dimensional volume with the strict options; see [`read_with`].
///
/// # Errors
/// As [`read_with`].
///
/// # Example
/// ```
/// use oncograph_imaging::{Frame, Grid, Volume, nifti};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("ct.nii.gz");
/// let grid = Grid::axis_aligned([3, 2, 2], [0.8, 0.8, 2.5], [0.0; 3])?;
/// let ct = Volume::from_fn(grid, Frame::described("scanner"), |[i, _, _]| i as i16 - 1000);
/// nifti::write(&path, &ct)?;
/// assert_eq!(nifti::read::<f32>(&path)?.as_slice()[1], -999.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read<T: Voxel>(path: impl AsRef<Path>) -> Result<Volume<T>> {
    read_with(path, &ReadOptions::default())
}

/// Reads a three-dimensional volume; a four-dimensional file with a single frame counts as one.
///
/// The stored numbers are scaled by `scl_slope` and `scl_inter` and converted to `T`. A floating `T` rounds, an
/// integer `T` must hold every value, to 1e-3 (labels that went through floating-point arithmetic). What
/// [`read_noted`] remarks is logged.
///
/// A pair of `.hdr` and `.img` is read by the name of either.
///
/// # Units
/// Positions in mm: a header in metres or micrometres is converted.
///
/// # Errors
/// A file that cannot be opened, is truncated or not NIfTI-1; more than one frame; no sform nor qform, or a qform with
/// negative voxel sizes; NaN or infinite voxels; a value that an integer `T` cannot hold. Each names the path.
pub fn read_with<T: Voxel>(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Volume<T>> {
    let path = path.as_ref();
    let (volume, notes) = read_noted(path, options)?;
    notes.iter().for_each(|note| tracing::warn!(path = %path.display(), "{note}"));
    Ok(volume)
}

/// As [`read_with`], with remarks that have to be shown beside results: a broken sform in whose place the qform was taken,
/// numbers that were rounded to labels.
///
/// # Errors
/// As [`read_with`].
pub fn read_noted<T: Voxel>(
    path: impl AsRef<Path>,
    options: &ReadOptions,
) -> Result<(Volume<T>, Vec<String>)> {
    let path = path.as_ref();
    let mut reader = Reader::open(path)?;
    let (volumes, dims) = reader.volumes("nifti::read", 1, options)?;
    let volume = volumes.into_iter().next();
    let volume = volume.ok_or_else(|| dimensions(path, "nifti::read", "3 dimensions", &dims))?;
    Ok((volume, reader.notes))
}

/// Reads all frames of a three- or four-dimensional file, in order.
///
/// # Errors
/// As [`read_with`], save for the number of frames.
pub fn read_4d<T: Voxel>(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Vec<Volume<T>>> {
    let path = path.as_ref();
    let mut reader = Reader::open(path)?;
    let volumes = reader.volumes("nifti::read_4d", usize::MAX, options)?.0;
    reader.notes.iter().for_each(|note| tracing::warn!(path = %path.display(), "{note}"));
    Ok(volumes)
}

struct Reader<'a> {
    path: &'a Path,
    header: NiftiHeader,
    source: Source,
    /// Bytes of the source before the one that comes next.
    at: u64,
    /// Where the voxels begin at the earliest, and where they do if the header does not tell.
    data: u64,
    notes: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Opens the file and reads the header.
    fn open(path: &'a Path) -> Result<Self> {
        let header_file = source::header_file(path)?;
        let mut source = source::open(&header_file)?;
        let mut bytes = [0_u8; 348];
        source
            .bytes
            .read_exact(&mut bytes)
            .map_err(|e| malformed(path, format!("the header cannot be read ({e})")))?;
        let size = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        match size {
            348 | 1_543_569_408 => {}
            540 | 469_893_120 => return Err(unsupported(path, "NIfTI-2 (64-bit header)")),
            other => return Err(malformed(path, format!("the header size is {other}, not 348"))),
        }
        let (at, data) = match &bytes[344..348] {
            b"n+1\0" => (348, DATA_OFFSET as u64),
            b"ni1\0" => {
                source = source::open(&source::image_file(&header_file)?)?;
                (0, 0)
            }
            [0, 0, 0, 0] => {
                let detail = "an Analyze 7.5 header, which has no orientation; convert it to .nii with a tool that knows it";
                return Err(unsupported(path, detail));
            }
            magic => {
                return Err(malformed(path, format!("the magic is {:?}", String::from_utf8_lossy(magic))));
            }
        };
        let header =
            NiftiHeader::from_reader(bytes.as_slice()).map_err(|e| malformed(path, e.to_string()))?;
        Ok(Self { path, header, source, at, data, notes: vec![] })
    }

    fn volumes<T: Voxel>(
        &mut self,
        operation: &'static str,
        most: usize,
        options: &ReadOptions,
    ) -> Result<(Vec<Volume<T>>, Vec<usize>)> {
        let path = self.path;
        let dims: Vec<usize> = match self.header.dim() {
            Ok(dims) => dims.iter().map(|&d| usize::from(d)).collect(),
            Err(e) => return Err(malformed(path, format!("dimensions {:?}: {e}", self.header.dim))),
        };
        let size = |axis: usize| dims.get(axis).copied().unwrap_or(1);
        let frames = size(3);
        if frames > most || (4..7).any(|axis| size(axis) > 1) {
            let expected = if most == 1 { "3 dimensions (see read_4d)" } else { "at most 4 dimensions" };
            return Err(dimensions(path, operation, expected, &dims));
        }
        let shape = [size(0), size(1), size(2)];
        let (grid, frame) = self.geometry(shape, options)?;
        self.skip_to_data()?;
        let mut volumes = Vec::with_capacity(frames.min(1024));
        for _ in 0..frames {
            let volume = Volume::new(grid.clone(), frame.clone(), self.values(grid.len())?)?;
            if !options.allow_nan {
                volume.require_finite(path)?;
            }
            volumes.push(volume);
        }
        // Reading to the end lets gzip compare its checksum.
        std::io::copy(&mut self.source.bytes, &mut std::io::sink())
            .map_err(|e| malformed(path, format!("the compressed data are damaged ({e})")))?;
        Ok((volumes, dims))
    }

    fn geometry(&mut self, shape: [usize; 3], options: &ReadOptions) -> Result<(Grid, Frame)> {
        let header = &self.header;
        let (sform, qform) = (sform_affine(header), qform_affine(header));
        let invertible = |affine: &Matrix4<f64>| affine.try_inverse().is_some();
        let broken = header.sform_code > 0 && !invertible(&sform);
        let (mut affine, frame) = if header.sform_code > 0 && !(broken && header.qform_code > 0) {
            (sform, frame_of_code(header.sform_code))
        } else if header.qform_code > 0 {
            self.require_positive_sizes()?;
            (qform, frame_of_code(header.qform_code))
        } else if options.allow_pixdim_geometry {
            self.require_positive_sizes()?;
            tracing::warn!(path = %self.path.display(), "neither sform nor qform: left and right are a guess");
            (pixdim_affine(header, shape), Frame::described("unknown"))
        } else {
            let detail = "neither sform nor qform is set (ReadOptions::allow_pixdim_geometry accepts it)";
            return Err(AtFile::new(self.path, format!("no orientation or position: {detail}")).into());
        };
        let millimetres = match header.xyzt_units & 7 {
            1 => 1000.0,
            3 => 1e-3,
            _ => 1.0,
        };
        affine.fixed_view_mut::<3, 4>(0, 0).scale_mut(millimetres);
        let grid = Grid::new(shape, affine).map_err(|e| {
            let which = if broken { "the sform is set, and there is no qform in its place: " } else { "" };
            malformed(self.path, format!("{which}{e}"))
        })?;
        if broken {
            let zero = sform.fixed_view::<3, 3>(0, 0).iter().all(|v| *v == 0.0);
            let what = if zero { "is all zero" } else { "cannot be inverted" };
            self.notes.push(format!("the sform {what} though its code is set: the qform was taken"));
        }
        Ok((grid, frame))
    }

    /// Readers disagree on a negative voxel size beside a qform: nibabel mirrors the axis, ITK does not.
    fn require_positive_sizes(&self) -> Result<()> {
        let sizes = [1, 2, 3].map(|axis| self.header.pixdim[axis]);
        let Some(axis) = sizes.iter().position(|size| *size < 0.0) else { return Ok(()) };
        let detail = format!(
            "pixdim[{}] is {}, where the standard wants a positive size: nibabel mirrors the axis, ITK does not. Write the file anew with the orientation that is meant",
            axis + 1,
            sizes[axis]
        );
        Err(malformed(self.path, detail))
    }

    /// Skips extensions between the header and the voxels.
    fn skip_to_data(&mut self) -> Result<()> {
        let offset = f64::from(self.header.vox_offset);
        // Some writers leave the field at 0.
        let offset = if offset == 0.0 { self.data as f64 } else { offset };
        if !(offset >= self.data as f64 && offset.fract() == 0.0 && offset < 1e9) {
            return Err(malformed(self.path, format!("the voxel offset is {offset}")));
        }
        let skip = offset as u64 - self.at;
        let skipped = std::io::copy(&mut self.source.bytes.by_ref().take(skip), &mut std::io::sink());
        match skipped {
            Ok(n) if n == skip => Ok(()),
            Ok(n) => Err(malformed(self.path, format!("truncated {n} bytes behind the header"))),
            Err(e) => Err(malformed(self.path, format!("truncated behind the header ({e})"))),
        }
    }

    /// The next `count` voxels, scaled and converted.
    fn values<T: Voxel>(&mut self, count: usize) -> Result<Vec<T>> {
        let kind = self.header.data_type().map_err(|e| malformed(self.path, e.to_string()))?;
        let width = bytes_of(kind).ok_or_else(|| unsupported(self.path, format!("voxel type {kind:?}")))?;
        let scale = self.scale()?;
        let big = self.header.endianness == Endianness::Big;
        // Nothing to compute, which is the usual case of labels and of CT.
        let as_stored = scale.is_none() && self.header.datatype == T::NIFTI_CODE;
        // A damaged header must not reserve more memory than the file can fill; where that is not known, it grows as data arrive.
        let most = self.source.length.map_or(1 << 24, |bytes| bytes as usize / width);
        let mut values: Vec<T> = Vec::with_capacity(count.min(most));
        let mut buffer = vec![0_u8; width << 16];
        let mut noise = Noise::default();
        while values.len() < count {
            let want = (count - values.len()).min(1 << 16) * width;
            self.source.bytes.read_exact(&mut buffer[..want]).map_err(|e| {
                malformed(
                    self.path,
                    format!("truncated or damaged near voxel {} of {count} ({e})", values.len()),
                )
            })?;
            if as_stored {
                T::extend_from_bytes(&buffer[..want], big, &mut values);
                continue;
            }
            if let Err(value) = decode(&buffer[..want], kind, big, scale, (&mut values, &mut noise)) {
                return Err(unsupported(self.path, format!("value {value} does not fit into {}", T::NAME)));
            }
        }
        self.notes.extend(noise.note());
        Ok(values)
    }

    /// Slope and intercept, or `None` where the stored numbers are the values.
    fn scale(&self) -> Result<Option<(f64, f64)>> {
        let (slope, inter) = (f64::from(self.header.scl_slope), f64::from(self.header.scl_inter));
        if slope == 0.0 || !slope.is_finite() || (slope == 1.0 && inter == 0.0) {
            return Ok(None);
        }
        if !inter.is_finite() {
            return Err(malformed(self.path, format!("scl_inter is {inter}")));
        }
        Ok(Some((slope, inter)))
    }
}

fn malformed(path: &Path, detail: impl std::fmt::Display) -> Error {
    Error::format(path, "NIfTI", detail)
}

fn dimensions(path: &Path, operation: &str, expected: &str, got: &[usize]) -> Error {
    AtFile::new(path, format!("{operation} expects {expected}, got dimensions {got:?}")).into()
}

fn unsupported(path: &Path, detail: impl std::fmt::Display) -> Error {
    Error::unsupported(path, "NIfTI", detail)
}

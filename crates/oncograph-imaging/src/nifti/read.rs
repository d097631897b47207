//! Reading.

use super::header::{DATA_OFFSET, frame_of_code, pixdim_affine, qform_affine, sform_affine};
use super::source::{self, Source};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::grid::Grid;
use crate::volume::Volume;
use crate::voxel::Voxel;
use nalgebra::Matrix4;
use nifti::{Endianness, NiftiHeader, NiftiType};
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

pub(super) fn bytes_of(kind: NiftiType) -> Option<usize> {
    match kind {
        NiftiType::Uint8 | NiftiType::Int8 => Some(1),
        NiftiType::Uint16 | NiftiType::Int16 => Some(2),
        NiftiType::Uint32 | NiftiType::Int32 | NiftiType::Float32 => Some(4),
        NiftiType::Uint64 | NiftiType::Int64 | NiftiType::Float64 => Some(8),
        _ => None,
    }
}

/// Numbers that are off a whole one by no more than this are labels with the noise of floating-point arithmetic.
const LABEL_NOISE: f64 = 1e-3;

/// What was rounded away from values that an integer holds.
#[derive(Default)]
struct Noise {
    count: usize,
    most: f64,
}

impl Noise {
    fn note(&self) -> Option<String> {
        let (count, most) = (self.count, self.most);
        (count > 0)
            .then(|| format!("{count} values are up to {most:.1e} off a whole number and were rounded"))
    }
}

/// Appends the values of `bytes`; `Err` is the first one that an integer `T` cannot hold.
fn decode<T: Voxel>(
    bytes: &[u8],
    kind: NiftiType,
    big: bool,
    scale: Option<(f64, f64)>,
    out: (&mut Vec<T>, &mut Noise),
) -> Result<(), f64> {
    macro_rules! numbers {
        ($t:ty) => {{
            let (words, _) = bytes.as_chunks::<{ size_of::<$t>() }>();
            if big {
                extend(words.iter().map(|w| <$t>::from_be_bytes(*w) as f64), scale, out)
            } else {
                extend(words.iter().map(|w| <$t>::from_le_bytes(*w) as f64), scale, out)
            }
        }};
    }
    match kind {
        NiftiType::Uint8 => numbers!(u8),
        NiftiType::Int8 => numbers!(i8),
        NiftiType::Uint16 => numbers!(u16),
        NiftiType::Int16 => numbers!(i16),
        NiftiType::Uint32 => numbers!(u32),
        NiftiType::Int32 => numbers!(i32),
        NiftiType::Uint64 => numbers!(u64),
        NiftiType::Int64 => numbers!(i64),
        NiftiType::Float32 => numbers!(f32),
        _ => numbers!(f64),
    }
}

fn extend<T: Voxel>(
    values: impl Iterator<Item = f64>,
    scale: Option<(f64, f64)>,
    (out, noise): (&mut Vec<T>, &mut Noise),
) -> Result<(), f64> {
    let mut misfit = None;
    let mut put = |v: f64, exact: f64| {
        let stored = T::from_f64(v);
        if T::INTEGER && stored.to_f64() != v {
            let off = (stored.to_f64() - v).abs();
            if off <= LABEL_NOISE {
                let counts = off > exact;
                noise.count += usize::from(counts);
                noise.most = noise.most.max(if counts { off } else { 0.0 });
            } else {
                misfit = misfit.or(Some(v));
            }
        }
        stored
    };
    match scale {
        None => out.extend(values.map(|v| put(v, 0.0))),
        // Slope and intercept are f32 in the file.
        Some((slope, inter)) => out.extend(values.map(|v| {
            let v = v * slope + inter;
            put(v, 1e-6 * v.abs().max(1.0))
        })),
    }
    misfit.map_or(Ok(()), Err)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nifti::{WriteOptions, write, write_with};
    use std::fs::File;
    use std::io::Write;

    fn sample() -> Volume<i16> {
        let grid = Grid::axis_aligned([4, 3, 2], [0.5, 0.75, 2.0], [-7.0, 3.0, 11.0]).unwrap();
        Volume::from_fn(grid, Frame::described("scanner"), |[i, j, k]| (i * 100 + j * 10 + k) as i16 - 50)
    }

    /// The file's bytes after `change`, written beside it and read again.
    fn changed(change: impl FnOnce(&mut Vec<u8>), options: &ReadOptions) -> Result<Volume<f32>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii");
        write(&path, &sample()).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        read_with(&path, options)
    }

    fn message(change: impl FnOnce(&mut Vec<u8>)) -> String {
        let text = changed(change, &ReadOptions::new()).unwrap_err().to_string();
        assert!(text.contains("a.nii"), "the path is missing: {text}");
        text
    }

    #[test]
    fn round_trip_in_every_type_with_and_without_compression() {
        fn check<T: Voxel>(name: &str) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            let volume = sample().map(|v| T::from_f64(f64::from(v)));
            write(&path, &volume).unwrap();
            assert_eq!(read::<T>(&path).unwrap(), volume, "{} {name}", T::NAME);
        }
        for name in ["a.nii", "a.nii.gz"] {
            check::<u8>(name);
            check::<i8>(name);
            check::<u16>(name);
            check::<i16>(name);
            check::<u32>(name);
            check::<i32>(name);
            check::<f32>(name);
            check::<f64>(name);
        }
    }

    #[test]
    fn slope_and_intercept_are_applied_once() {
        let scale = |bytes: &mut Vec<u8>| {
            bytes[112..116].copy_from_slice(&2.0_f32.to_le_bytes());
            bytes[116..120].copy_from_slice(&(-3.0_f32).to_le_bytes());
        };
        let volume = changed(scale, &ReadOptions::new()).unwrap();
        assert_eq!(volume.get([1, 1, 1]), Some(2.0 * 61.0 - 3.0));
        let unscaled = changed(|b| b[112..116].fill(0), &ReadOptions::new()).unwrap();
        assert_eq!(unscaled.get([1, 1, 1]), Some(61.0));
    }

    #[test]
    fn geometry_prefers_sform_then_qform_and_never_guesses() {
        let sform = |b: &mut Vec<u8>| b[280 + 12..280 + 16].copy_from_slice(&99.0_f32.to_le_bytes());
        assert_eq!(changed(sform, &ReadOptions::new()).unwrap().grid().origin(), [99.0, 3.0, 11.0]);
        let no_sform = |b: &mut Vec<u8>| {
            sform(b);
            b[254..256].fill(0);
        };
        assert_eq!(changed(no_sform, &ReadOptions::new()).unwrap().grid().origin(), [-7.0, 3.0, 11.0]);
        let neither = |b: &mut Vec<u8>| b[252..256].fill(0);
        assert!(message(neither).contains("neither sform nor qform"));
        let guessed = changed(neither, &ReadOptions::new().allow_pixdim_geometry(true)).unwrap();
        assert_eq!(guessed.grid().orientation(), "LAS");
        assert_eq!(guessed.grid().origin(), [0.75, -0.75, -1.0]);
        let metres = changed(|b| b[123] = 1, &ReadOptions::new()).unwrap();
        assert_eq!(metres.grid().spacing(), [500.0, 750.0, 2000.0]);
    }

    #[test]
    fn damaged_files_are_errors_that_name_the_file() {
        assert!(message(|b| b.truncate(100)).contains("header"));
        assert!(message(|b| b.truncate(360)).contains("truncated"));
        assert!(message(|b| b[344..348].copy_from_slice(b"abcd")).contains("magic"));
        assert!(message(|b| b[344..348].copy_from_slice(b"ni1\0")).contains("a.img"));
        assert!(message(|b| b[344..348].fill(0)).contains("Analyze"));
        assert!(message(|b| b[0..4].copy_from_slice(&540_i32.to_le_bytes())).contains("NIfTI-2"));
        assert!(message(|b| b[70..72].copy_from_slice(&128_i16.to_le_bytes())).contains("Rgb24"));
        assert!(message(|b| b[42..44].fill(0)).contains("dimensions"));
        let no_place = |b: &mut Vec<u8>| {
            b[280..296].fill(0);
            b[252..254].fill(0);
        };
        assert!(
            message(no_place).contains("no qform in its place") && message(no_place).contains("inverted")
        );
        assert!(message(|b| b[108..112].copy_from_slice(&1e30_f32.to_le_bytes())).contains("offset"));
        let huge = message(|b| {
            (0..3).for_each(|a| b[42 + 2 * a..44 + 2 * a].copy_from_slice(&30000_i16.to_le_bytes()))
        });
        assert!(huge.contains("truncated"), "{huge}");
    }

    /// The members of a gzip file, each by itself, in a file that is read.
    fn members(parts: &[&[u8]], damage: impl Fn(&mut Vec<u8>)) -> Result<Volume<f32>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii.gz");
        let mut bytes = vec![];
        for part in parts {
            let mut encoder = flate2::write::GzEncoder::new(&mut bytes, flate2::Compression::fast());
            encoder.write_all(part).unwrap();
        }
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    }

    #[test]
    fn compressed_files_are_read_whole_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii");
        write(&path, &sample()).unwrap();
        let plain = std::fs::read(&path).unwrap();
        let expected: Volume<f32> = read(&path).unwrap();
        let end = plain.len() / 2;
        // Two halves of one size: the size in the last member's trailer is not that of the file.
        assert_eq!(plain.len() % 2, 0);
        for parts in [&[&plain[..]][..], &[&plain[..end], &plain[end..]], &[&plain[..9], &plain[9..]]] {
            assert_eq!(members(parts, |_| ()).unwrap(), expected);
        }
        let flip = |b: &mut Vec<u8>, from_end: usize| {
            let at = b.len() - from_end;
            b[at] ^= 1;
        };
        // The checksum, the size, the data.
        for from_end in [8, 4, 12] {
            let error = members(&[&plain], |b| flip(b, from_end)).unwrap_err().to_string();
            assert!(error.contains("a.nii.gz") && error.contains("damaged"), "{error}");
        }
        let error = members(&[&plain], |b| b.truncate(b.len() / 2)).unwrap_err().to_string();
        assert!(error.contains("a.nii.gz") && error.contains("incomplete"), "{error}");
    }

    #[test]
    fn zeros_behind_compressed_data_are_padding_and_other_bytes_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii");
        write(&path, &sample()).unwrap();
        let plain = std::fs::read(&path).unwrap();
        let expected: Volume<f32> = read(&path).unwrap();
        for zeros in [1, 8, 512, 1 << 19] {
            for parts in [&[&plain[..]][..], &[&plain[..100], &plain[100..]]] {
                assert_eq!(members(parts, |b| b.resize(b.len() + zeros, 0)).unwrap(), expected, "{zeros}");
            }
        }
        let error = members(&[&plain], |b| b.extend(b"\0\0junk")).unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains("a.nii.gz"), "{error}");
    }

    #[test]
    fn a_broken_sform_gives_way_to_the_qform_with_a_note() {
        let noted = |change: &dyn Fn(&mut Vec<u8>)| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.nii");
            write(&path, &sample()).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            change(&mut bytes);
            std::fs::write(&path, &bytes).unwrap();
            read_noted::<f32>(&path, &ReadOptions::new())
        };
        let (good, notes) = noted(&|_| ()).unwrap();
        assert_eq!((good.grid(), notes.len()), (sample().grid(), 0));
        // All of it, the matrix alone, one row.
        for (broken, word) in
            [(280..328, "all zero"), (280..292, "cannot be inverted"), (312..324, "inverted")]
        {
            let (volume, notes) = noted(&|b| b[broken.clone()].fill(0)).unwrap();
            assert!(volume.grid().approx_eq(sample().grid(), 1e-5));
            assert!(notes[0].contains(word) && notes[0].contains("qform"), "{notes:?}");
        }
    }

    #[test]
    fn negative_voxel_sizes_are_refused_where_they_would_count() {
        for axis in 1..4 {
            let negative = |b: &mut Vec<u8>| {
                let at = 76 + 4 * axis;
                let size = f32::from_le_bytes(b[at..at + 4].try_into().unwrap());
                b[at..at + 4].copy_from_slice(&(-size).to_le_bytes());
            };
            let with_sform = changed(negative, &ReadOptions::new()).unwrap();
            assert_eq!(with_sform.grid(), sample().grid());
            let without = |b: &mut Vec<u8>| {
                negative(b);
                b[254..256].fill(0);
            };
            let text = message(without);
            assert!(text.contains(&format!("pixdim[{axis}]")) && text.contains("nibabel"), "{text}");
            let neither = |b: &mut Vec<u8>| {
                negative(b);
                b[252..256].fill(0);
            };
            let options = ReadOptions::new().allow_pixdim_geometry(true);
            assert!(changed(neither, &options).unwrap_err().to_string().contains("pixdim"));
        }
    }

    #[test]
    fn labels_with_noise_are_rounded_with_a_note_and_fractions_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.nii.gz");
        let labels = |noise: f32| {
            let grid = sample().grid().clone();
            Volume::from_fn(grid, Frame::default(), |[i, _, _]| i as f32 + if i > 1 { noise } else { 0.0 })
        };
        for noise in [-6e-8_f32 * 2.0, 5e-4, -9e-4] {
            write(&path, &labels(noise)).unwrap();
            let (volume, notes) = read_noted::<u8>(&path, &ReadOptions::new()).unwrap();
            assert_eq!(volume.as_slice()[..4], [0, 1, 2, 3]);
            assert!(notes[0].starts_with("12 values are up to"), "{notes:?}");
        }
        write(&path, &labels(0.0)).unwrap();
        assert!(read_noted::<u8>(&path, &ReadOptions::new()).unwrap().1.is_empty());
        for noise in [2e-3, 0.5] {
            write(&path, &labels(noise)).unwrap();
            assert!(read::<u8>(&path).unwrap_err().to_string().contains("does not fit into u8"));
        }
    }

    #[test]
    fn pairs_are_read_by_either_name() {
        for (header, image) in
            [("a.hdr", "a.img"), ("A.HDR", "A.IMG"), ("a.hdr.gz", "a.img.gz"), ("a.hdr", "a.img.gz")]
        {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.nii");
            write(&path, &sample()).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[344..348].copy_from_slice(b"ni1\0");
            bytes[108..112].fill(0);
            let put = |name: &str, bytes: &[u8]| {
                let mut file = File::create(folder.path().join(name)).unwrap();
                if name.ends_with("gz") {
                    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                    encoder.write_all(bytes).unwrap();
                    encoder.finish().unwrap();
                } else {
                    file.write_all(bytes).unwrap();
                }
            };
            put(header, &bytes[..348]);
            put(image, &bytes[352..]);
            for name in [header, image] {
                assert_eq!(read::<i16>(folder.path().join(name)).unwrap(), sample(), "{name}");
            }
            std::fs::remove_file(folder.path().join(header)).unwrap();
            let text = read::<i16>(folder.path().join(image)).unwrap_err().to_string();
            assert!(text.contains(image) && text.contains(".hdr"), "{text}");
        }
    }

    #[test]
    fn four_dimensions_are_named_and_can_be_read() {
        let make_4d = |frames: i16| {
            move |b: &mut Vec<u8>| {
                b[40..42].copy_from_slice(&4_i16.to_le_bytes());
                b[48..50].copy_from_slice(&frames.to_le_bytes());
                let voxels = b[352..].to_vec();
                (1..frames).for_each(|_| b.extend(&voxels));
            }
        };
        assert!(changed(make_4d(1), &ReadOptions::new()).is_ok());
        assert!(message(make_4d(2)).contains("[4, 3, 2, 2]"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.nii");
        write(&path, &sample()).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        make_4d(3)(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let frames = read_4d::<i16>(&path, &ReadOptions::new()).unwrap();
        assert_eq!(frames.len(), 3);
        assert!(frames.iter().all(|f| f == &sample()));
    }

    #[test]
    fn nan_is_an_error_unless_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nan.nii.gz");
        let mut volume = sample().cast::<f32>();
        volume.set([1, 2, 0], f32::NAN);
        write(&path, &volume).unwrap();
        let text = read::<f32>(&path).unwrap_err().to_string();
        assert!(text.contains("nan.nii.gz") && text.contains("[1, 2, 0]"), "{text}");
        assert!(read_with::<f32>(&path, &ReadOptions::new().allow_nan(true)).is_ok());
    }

    #[test]
    fn integers_that_do_not_fit_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ct.nii");
        write(&path, &sample()).unwrap();
        assert!(read::<u8>(&path).unwrap_err().to_string().contains("value -50 does not fit into u8"));
        write(&path, &sample().cast::<f32>().map(|v| v + 0.25)).unwrap();
        assert!(read::<i16>(&path).is_err());
    }

    #[test]
    fn damaged_gzip_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii.gz");
        write_with(&path, &sample(), &WriteOptions::new().compression(9)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[end - 6] ^= 0xff;
        std::fs::write(&path, &bytes).unwrap();
        assert!(read::<i16>(&path).unwrap_err().to_string().contains("damaged"));
        File::create(&path).unwrap().write_all(&bytes[..end / 2]).unwrap();
        assert!(read::<i16>(&path).is_err());
        assert!(
            matches!(read::<i16>(folder.path().join("none.nii")), Err(Error::AtFile(e)) if e.is_not_found())
        );
    }
}

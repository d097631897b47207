//! From files to one volume.

use super::header::{self, Header, Plane, dot};
use super::pixels;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::grid::Grid;
use crate::volume::Volume;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use nalgebra::Matrix4;
use oncograph_core::AtFile;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Which series is read and how even its slices must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SeriesOptions {
    /// SeriesInstanceUID; needed only where there are several.
    pub series_uid: Option<String>,
    /// Largest deviation of a slice from its even place, as a fraction of the slice spacing. Default 0.01.
    pub spacing_tolerance: f64,
}

impl Default for SeriesOptions {
    fn default() -> Self {
        Self { series_uid: None, spacing_tolerance: 0.01 }
    }
}

impl SeriesOptions {
    /// The only series, slices even to 1 %.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses a series.
    pub fn series_uid(mut self, uid: impl Into<String>) -> Self {
        self.series_uid = Some(uid.into());
        self
    }

    /// Sets the tolerated deviation as a fraction of the spacing.
    pub fn spacing_tolerance(mut self, fraction: f64) -> Self {
        self.spacing_tolerance = fraction;
        self
    }

    /// Checks the tolerance.
    ///
    /// # Errors
    /// A fraction outside 0 to 0.5.
    pub fn validate(&self) -> Result<()> {
        if (0.0..=0.5).contains(&self.spacing_tolerance) {
            return Ok(());
        }
        Err(Error::argument("dicom::read_series", "spacing_tolerance", "0 to 0.5", self.spacing_tolerance))
    }
}

/// One slice of a [`Series`], in the order of the volume's z axis.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Slice {
    /// The file.
    pub path: PathBuf,
    /// SOPInstanceUID.
    pub instance_uid: String,
    /// ImagePositionPatient, LPS+ mm.
    pub position: [f64; 3],
}

/// A series as a volume, with what derived objects need to refer to it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Series {
    /// Rescaled values (Hounsfield units for CT) on the series' grid; z grows along the slices' normal.
    pub volume: Volume<f32>,
    /// SeriesInstanceUID.
    pub series_uid: String,
    /// SOPClassUID of the slices.
    pub class_uid: String,
    /// Modality, e.g. `CT`.
    pub modality: String,
    /// PatientID, empty where the file has none.
    pub patient_id: String,
    /// The slices, first z first.
    pub slices: Vec<Slice>,
    /// The first slice's attributes without the pixels.
    pub(crate) attributes: InMemDicomObject,
}

/// A series that a folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeriesSummary {
    /// SeriesInstanceUID.
    pub series_uid: String,
    /// Modality, e.g. `CT`.
    pub modality: String,
    /// SeriesDescription, possibly empty.
    pub description: String,
    /// Number of image files.
    pub images: usize,
}

/// Reads the image series of a folder (its own files, not those of folders within).
///
/// Files that are not DICOM and DICOM objects that are no images (SEG, RTSTRUCT, reports) are passed over.
///
/// # Errors
/// Several series and none chosen (the message lists them); no image; a damaged file; a missing attribute; and
/// every irregularity that the slices can have: a gap, two slices in one place, another orientation, pixel
/// spacing, size or frame of reference. The message names the files.
///
/// # Example
/// ```no_run
/// use oncograph_imaging::dicom::{SeriesOptions, read_series};
///
/// let series = read_series("CRLM-CT-1001/101.000000-NA-84686", &SeriesOptions::new())?;
/// println!("{:?} voxels of {:?} mm", series.volume.shape(), series.volume.grid().spacing());
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
pub fn read_series(folder: impl AsRef<Path>, options: &SeriesOptions) -> Result<Series> {
    let folder = folder.as_ref();
    options.validate()?;
    let series = choose(folder, headers(folder)?, options)?;
    assemble(series, options)
}

/// Reads the image series among the given files; see [`read_series`].
///
/// # Errors
/// As [`read_series`], and a file that is not DICOM.
pub fn read_series_files<P: AsRef<Path>>(files: &[P], options: &SeriesOptions) -> Result<Series> {
    options.validate()?;
    let mut found = Vec::with_capacity(files.len());
    for path in files.iter().map(AsRef::as_ref) {
        if !header::is_dicom(path)? {
            let detail = "no DICM mark at byte 128".to_owned();
            return Err(Error::format(path, "DICOM", detail));
        }
        found.extend(header::read(path)?);
    }
    let first = files.first().map_or(Path::new(""), AsRef::as_ref);
    let series = choose(first, found, options)?;
    assemble(series, options)
}

/// The image series of a folder, by SeriesInstanceUID.
///
/// # Errors
/// A folder that cannot be read or a damaged DICOM file in it.
pub fn list_series(folder: impl AsRef<Path>) -> Result<Vec<SeriesSummary>> {
    let mut found: BTreeMap<String, SeriesSummary> = BTreeMap::new();
    for header in headers(folder.as_ref())? {
        let summary = found.entry(header.series_uid.clone()).or_insert_with(|| SeriesSummary {
            series_uid: header.series_uid,
            modality: header.modality,
            description: header.description,
            images: 0,
        });
        summary.images += 1;
    }
    Ok(found.into_values().collect())
}

/// The headers of all images in a folder, by file name.
fn headers(folder: &Path) -> Result<Vec<Header>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
        let mut files: Vec<PathBuf> = entries.iter().map(|e| e.path()).filter(|p| p.is_file()).collect();
        files.sort();
        Ok(files)
    };
    let files = list().map_err(|e| Error::io("read", folder, e))?;
    let read = |path: &PathBuf| if header::is_dicom(path)? { header::read(path) } else { Ok(None) };
    // Collected before the first error is taken, so that the same file is named with any number of threads.
    let results: Vec<Result<Option<Header>>> = files.par_iter().map(read).collect();
    results.into_iter().filter_map(Result::transpose).collect()
}

/// The headers of the requested series, or of the only one.
fn choose(path: &Path, headers: Vec<Header>, options: &SeriesOptions) -> Result<Vec<Header>> {
    let mut groups: BTreeMap<String, Vec<Header>> = BTreeMap::new();
    for header in headers {
        groups.entry(header.series_uid.clone()).or_default().push(header);
    }
    let list = |groups: &BTreeMap<String, Vec<Header>>| -> Vec<(String, usize)> {
        groups.iter().map(|(uid, g)| (uid.clone(), g.len())).collect()
    };
    let found = list(&groups);
    let none = |detail: String| Error::from(AtFile::new(path, detail));
    match &options.series_uid {
        Some(uid) => {
            groups.remove(uid).ok_or_else(|| none(format!("no image of series {uid}; found {found:?}")))
        }
        None if groups.len() > 1 => Err(Error::SeveralSeries { path: path.to_owned(), found }),
        None => groups.into_values().next().ok_or_else(|| none("no DICOM image".to_owned())),
    }
}

/// Checks the slices, sorts them and decodes them in parallel.
fn assemble(headers: Vec<Header>, options: &SeriesOptions) -> Result<Series> {
    let mut slices = Vec::with_capacity(headers.len());
    for header in headers {
        slices.push((header.plane()?, header));
    }
    require_uniform(&slices)?;
    let normal = slices[0].0.normal();
    slices.sort_by(|a, b| dot(a.0.position, normal).total_cmp(&dot(b.0.position, normal)));
    let step = slice_step(&slices, normal, options)?;
    let grid = grid_of(&slices, step)?;

    let [nx, ny, nz] = grid.shape();
    let mut data = vec![0.0_f32; nx * ny * nz];
    let results: Vec<Result<()>> = data
        .par_chunks_mut(nx * ny)
        .zip(&slices)
        .map(|(out, (_, h))| pixels::read_into(&h.path, out))
        .collect();
    results.into_iter().collect::<Result<()>>()?;

    let frame = slices[0].1.frame_uid.clone().map_or_else(|| Frame::described("scanner"), Frame::from_uid);
    let kept = |(plane, header): &(Plane, Header)| Slice {
        path: header.path.clone(),
        instance_uid: header.instance_uid.clone(),
        position: plane.position,
    };
    let list = slices.iter().map(kept).collect();
    let first = slices.swap_remove(0).1;
    Ok(Series {
        volume: Volume::new(grid, frame, data)?,
        patient_id: first.attributes().text(tags::PATIENT_ID).unwrap_or_default(),
        series_uid: first.series_uid,
        class_uid: first.class_uid,
        modality: first.modality,
        slices: list,
        attributes: first.set,
    })
}

/// The slices must agree in all that a grid assumes; the message lists the files that differ from the first.
fn require_uniform(slices: &[(Plane, Header)]) -> Result<()> {
    type Same = fn(&(Plane, Header), &(Plane, Header)) -> bool;
    fn near(a: &[f64], b: &[f64], tolerance: f64) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
    }
    let checks: [(&str, Same); 5] = [
        ("image size (rows x columns)", |a, b| (a.0.rows, a.0.columns) == (b.0.rows, b.0.columns)),
        ("orientation", |a, b| near(&a.0.orientation, &b.0.orientation, 1e-4)),
        ("pixel spacing", |a, b| near(&a.0.spacing, &b.0.spacing, 1e-4 * a.0.spacing[0])),
        ("frame of reference", |a, b| a.1.frame_uid == b.1.frame_uid),
        ("SOP class", |a, b| a.1.class_uid == b.1.class_uid),
    ];
    let first = &slices[0];
    for (what, same) in checks {
        let others: Vec<PathBuf> =
            slices.iter().filter(|s| !same(first, s)).map(|s| s.1.path.clone()).collect();
        if !others.is_empty() {
            let detail = format!("{} of {} slices have another {what}", others.len(), slices.len());
            let detail = format!("{detail} than {}", first.1.path.display());
            return Err(Error::Series { series: first.1.series_uid.clone(), detail, files: others });
        }
    }
    Ok(())
}

/// The vector from one slice's origin to the next, after checking that the slices are evenly placed.
fn slice_step(slices: &[(Plane, Header)], normal: [f64; 3], options: &SeriesOptions) -> Result<[f64; 3]> {
    let (first, last) = (&slices[0], &slices[slices.len() - 1]);
    let fail = |detail: String, pair: &[(Plane, Header)]| {
        let files = pair.iter().map(|s| s.1.path.clone()).collect();
        Err(Error::Series { series: first.1.series_uid.clone(), detail, files })
    };
    if slices.len() == 1 {
        let a = first.1.attributes();
        let [thickness] = a.required_floats(tags::SLICE_THICKNESS)?;
        if thickness <= 0.0 {
            return Err(a.missing(tags::SLICE_THICKNESS));
        }
        return Ok(normal.map(|v| v * thickness));
    }
    let heights: Vec<f64> = slices.iter().map(|s| dot(s.0.position, normal)).collect();
    let mut gaps: Vec<f64> = heights.windows(2).map(|w| w[1] - w[0]).collect();
    if let Some(i) = gaps.iter().position(|g| *g < 1e-3) {
        return fail(
            format!("two slices at the same position {:?}", slices[i].0.position),
            &slices[i..i + 2],
        );
    }
    let listed = gaps.clone();
    gaps.sort_by(f64::total_cmp);
    let usual = gaps[gaps.len() / 2];
    // Positions are often rounded to micrometres in the file.
    let tolerance = (options.spacing_tolerance * usual).max(2e-3);
    if let Some(i) = listed.iter().position(|g| (g - usual).abs() > tolerance) {
        let detail =
            format!("uneven spacing: {:.4} mm between two slices, {usual:.4} mm elsewhere", listed[i]);
        return fail(detail, &slices[i..i + 2]);
    }
    let count = (slices.len() - 1) as f64;
    let step: [f64; 3] = std::array::from_fn(|a| (last.0.position[a] - first.0.position[a]) / count);
    for (i, slice) in slices.iter().enumerate() {
        let off = (0..3).map(|a| slice.0.position[a] - first.0.position[a] - step[a] * i as f64);
        let off = off.map(|d| d * d).sum::<f64>().sqrt();
        if off > tolerance.max(1e-2) {
            return fail(
                format!("slice {i} lies {off:.3} mm off the line through the first and last"),
                &slices[i..=i],
            );
        }
    }
    let along = dot(step, normal) / dot(step, step).sqrt();
    if along < 0.9999 {
        tracing::warn!(series = first.1.series_uid, "slices are sheared against each other (tilted gantry)");
    }
    Ok(step)
}

/// The grid in RAS+: the first two world axes of DICOM's LPS+ change sign.
fn grid_of(slices: &[(Plane, Header)], step: [f64; 3]) -> Result<Grid> {
    let plane = &slices[0].0;
    let [x, y] = plane.axes();
    let mut affine = Matrix4::identity();
    for row in 0..3 {
        let sign = if row < 2 { -1.0 } else { 1.0 };
        affine[(row, 0)] = sign * x[row] * plane.spacing[1];
        affine[(row, 1)] = sign * y[row] * plane.spacing[0];
        affine[(row, 2)] = sign * step[row];
        affine[(row, 3)] = sign * plane.position[row];
    }
    Grid::new([plane.columns, plane.rows, slices.len()], affine)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Phantom, deform};
    use super::*;
    use dicom_core::{DataElement, VR};

    fn error_of(folder: &Path) -> String {
        read_series(folder, &SeriesOptions::new()).unwrap_err().to_string()
    }

    #[test]
    fn shuffled_slices_come_out_in_order_with_the_right_values_and_grid() {
        for phantom in [
            Phantom::axial(),
            Phantom::oblique(),
            Phantom::axial().rle(),
            Phantom::axial().jpeg_lossless(),
            Phantom::axial().signed(),
        ] {
            let folder = tempfile::tempdir().unwrap();
            phantom.write(folder.path());
            std::fs::write(folder.path().join("notes.txt"), "not DICOM").unwrap();
            let series = read_series(folder.path(), &SeriesOptions::new()).unwrap();
            assert_eq!(series.volume.as_slice(), phantom.expected(), "{phantom:?}");
            assert!(series.volume.grid().approx_eq(&phantom.grid(), 1e-6), "{phantom:?}");
            assert_eq!(series.volume.frame().uid.as_deref(), Some("1.2.3.9"));
            assert_eq!((series.modality.as_str(), series.patient_id.as_str()), ("CT", "P1"));
            let files: Vec<PathBuf> = series.slices.iter().map(|s| s.path.clone()).collect();
            let again = read_series_files(&files, &SeriesOptions::new()).unwrap();
            assert_eq!(again.volume, series.volume);
        }
    }

    #[test]
    fn a_missing_slice_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let files = Phantom::axial().write(folder.path());
        std::fs::remove_file(&files[2]).unwrap();
        let text = error_of(folder.path());
        assert!(text.contains("uneven spacing: 5.0000 mm between two slices, 2.5000 mm"), "{text}");
        for neighbour in [&files[1], &files[3]] {
            assert!(text.contains(neighbour.to_str().unwrap()), "{text}");
        }
        assert!(!text.contains(files[4].to_str().unwrap()), "{text}");
    }

    #[test]
    fn slices_that_do_not_belong_together_are_named() {
        type Change = fn(&mut InMemDicomObject);
        let cases: [(&str, Change); 5] = [
            ("another image size", |o| {
                o.put(DataElement::new(tags::ROWS, VR::US, dicom_core::PrimitiveValue::from(3_u16)));
            }),
            ("another orientation", |o| {
                o.put_str(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\0\\-1");
            }),
            ("another pixel spacing", |o| {
                o.put_str(tags::PIXEL_SPACING, VR::DS, "0.7\\0.9");
            }),
            ("another frame of reference", |o| {
                o.put_str(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.3.10");
            }),
            ("same position", |o| {
                o.put_str(tags::IMAGE_POSITION_PATIENT, VR::DS, "-11.5\\7.25\\-95");
            }),
        ];
        for (expected, change) in cases {
            let folder = tempfile::tempdir().unwrap();
            let files = Phantom::axial().write(folder.path());
            deform(&files[3], change);
            let text = error_of(folder.path());
            assert!(
                text.contains(expected) && text.contains(files[3].to_str().unwrap()),
                "{expected}: {text}"
            );
        }
    }

    #[test]
    fn missing_and_unusable_attributes_are_named() {
        let required = [
            tags::IMAGE_POSITION_PATIENT,
            tags::IMAGE_ORIENTATION_PATIENT,
            tags::PIXEL_SPACING,
            tags::SERIES_INSTANCE_UID,
            tags::RESCALE_SLOPE,
            tags::RESCALE_INTERCEPT,
            tags::COLUMNS,
        ];
        for tag in required {
            let folder = tempfile::tempdir().unwrap();
            let files = Phantom::axial().write(folder.path());
            deform(&files[1], |o| {
                o.remove_element(tag);
            });
            let text = error_of(folder.path());
            assert!(text.contains(&tag.to_string()) && text.contains(files[1].to_str().unwrap()), "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        let files = Phantom::axial().write(folder.path());
        deform(&files[0], |o| {
            o.put(DataElement::new(tags::SAMPLES_PER_PIXEL, VR::US, dicom_core::PrimitiveValue::from(3_u16)));
        });
        assert!(error_of(folder.path()).contains("3 samples per pixel"));
    }

    #[test]
    fn several_series_must_be_chosen_from_and_other_objects_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        Phantom::axial().write(folder.path());
        let other = Phantom::axial().series("1.2.3.5").write(folder.path());
        let text = error_of(folder.path());
        assert!(text.contains("1.2.3.4 (5 images)") && text.contains("1.2.3.5 (5 images)"), "{text}");
        let chosen = read_series(folder.path(), &SeriesOptions::new().series_uid("1.2.3.5")).unwrap();
        assert!(chosen.slices.iter().all(|s| other.contains(&s.path)));
        assert!(read_series(folder.path(), &SeriesOptions::new().series_uid("9.9")).is_err());
        let list = list_series(folder.path()).unwrap();
        assert_eq!(
            list.iter().map(|s| (s.series_uid.as_str(), s.images)).collect::<Vec<_>>(),
            [("1.2.3.4", 5), ("1.2.3.5", 5)]
        );
        for path in other {
            deform(&path, |o| {
                o.put_str(tags::MODALITY, VR::CS, "SEG");
            });
        }
        assert!(read_series(folder.path(), &SeriesOptions::new()).is_ok());
    }

    #[test]
    fn truncated_files_are_errors_wherever_they_end() {
        let folder = tempfile::tempdir().unwrap();
        for phantom in [Phantom::axial(), Phantom::axial().rle(), Phantom::axial().jpeg_lossless()] {
            let files = phantom.write(folder.path());
            let whole = std::fs::read(&files[1]).unwrap();
            // The last eight bytes of a compressed file are a closing mark: all pixels are there without it.
            for keep in [whole.len() - 9, whole.len() - 20, whole.len() / 2, 200] {
                std::fs::write(&files[1], &whole[..keep]).unwrap();
                let result = read_series(folder.path(), &SeriesOptions::new());
                let text = result.map(|_| phantom.clone()).unwrap_err().to_string();
                assert!(text.contains(files[1].to_str().unwrap()), "{keep} of {}: {text}", whole.len());
            }
        }
    }

    #[test]
    fn a_single_slice_takes_its_thickness_or_fails() {
        let folder = tempfile::tempdir().unwrap();
        let files = Phantom::axial().write(folder.path());
        let series = read_series_files(&files[..1], &SeriesOptions::new()).unwrap();
        assert_eq!(series.volume.grid().spacing()[2], 2.5);
        deform(&files[0], |o| {
            o.remove_element(tags::SLICE_THICKNESS);
        });
        let text = read_series_files(&files[..1], &SeriesOptions::new()).unwrap_err().to_string();
        assert!(text.contains("SliceThickness"), "{text}");
        assert!(SeriesOptions::new().spacing_tolerance(2.0).validate().is_err());
        let empty = tempfile::tempdir().unwrap();
        assert!(error_of(empty.path()).contains("no DICOM image"));
    }

    #[test]
    fn a_tilted_gantry_gives_a_sheared_grid() {
        let folder = tempfile::tempdir().unwrap();
        let files = Phantom::axial().write(folder.path());
        for (k, path) in files.iter().enumerate() {
            let position = format!("-11.5\\{}\\{}", 7.25 + 0.5 * k as f64, -100.0 + 2.5 * k as f64);
            deform(path, |o| {
                o.put_str(tags::IMAGE_POSITION_PATIENT, VR::DS, &position);
            });
        }
        let grid = read_series(folder.path(), &SeriesOptions::new()).unwrap().volume.grid().clone();
        let step = [grid.affine()[(0, 2)], grid.affine()[(1, 2)], grid.affine()[(2, 2)]];
        assert_eq!(step, [0.0, -0.5, 2.5]);
    }
}

//! From files to one volume.

use super::choose::{choose, select};
use super::claimed;
use super::folder::{headers, refuse_or_note};
use super::frames::{self, Image, dot};
use super::header::{self, Header};
use super::options::SeriesOptions;
use super::part10;
use super::pixels::{self, Wanted};
use super::stack::{grid_of, require_uniform, slice_step};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::volume::Volume;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// The number of the frame in an enhanced object, from 1; `None` for a file that is one slice.
    pub frame: Option<u32>,
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
    /// Remarks that have to be shown beside results: files and images that were left out, bytes that were ignored.
    pub notes: Vec<String>,
    /// The first slice's attributes without the pixels.
    pub(crate) attributes: InMemDicomObject,
}

/// Reads the image series of a folder (its own files, not those of folders within).
///
/// Which files belong to it is decided by their content. DICOM objects that are no images (SEG, RTSTRUCT, reports) and
/// files that are neither DICOM nor named so are passed over; localizers and secondary captures beside other images are
/// left out, with a note. Of a folder without images of its own, those that its DICOMDIR refers to are read. An enhanced
/// (multi-frame) object gives one slice for each frame.
///
/// # Errors
/// Several series and none chosen (the message lists them); no image; a damaged or empty file; a missing attribute; and
/// every irregularity that the slices can have: a gap, two slices in one place (with the attributes that would tell them
/// apart), another orientation, pixel spacing, size or frame of reference. The message names the files.
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
    let (found, unreadable) = headers(folder, options.skip_unreadable)?;
    let mut notes: Vec<String> = vec![];
    notes.extend(refuse_or_note(&unreadable, options.skip_unreadable)?);
    let series = choose(folder, found, options, &mut notes)?;
    assemble(series, options, notes)
}

/// Reads the image series among the given files; see [`read_series`].
///
/// # Errors
/// As [`read_series`], and a file that is not DICOM.
pub fn read_series_files<P: AsRef<Path>>(files: &[P], options: &SeriesOptions) -> Result<Series> {
    options.validate()?;
    let mut found = Vec::with_capacity(files.len());
    for path in files.iter().map(AsRef::as_ref) {
        let start = part10::start_of(path)?;
        if !part10::is_dicom(&start) {
            return Err(Error::format(path, "DICOM", part10::why_not(&start)));
        }
        found.extend(header::read(path)?);
    }
    let first = files.first().map_or(Path::new(""), AsRef::as_ref);
    let mut notes = vec![];
    let series = choose(first, found, options, &mut notes)?;
    assemble(series, options, notes)
}

/// Checks the slices, sorts them and decodes them in parallel.
fn assemble(headers: Vec<Header>, options: &SeriesOptions, mut notes: Vec<String>) -> Result<Series> {
    let mut slices = vec![];
    for header in headers {
        slices.extend(frames::images(Arc::new(header))?);
    }
    let mut slices = select(slices, options)?;
    require_uniform(&slices)?;
    let normal = slices[0].plane.normal();
    slices.sort_by(|a, b| dot(a.plane.position, normal).total_cmp(&dot(b.plane.position, normal)));
    let step = slice_step(&slices, normal, options)?;
    let grid = grid_of(&slices, step)?;
    refuse_beyond_files(&slices, grid.len())?;
    let mut data = vec![0.0_f32; grid.len()];
    notes.extend(decode(&slices, options, &mut data)?);

    let first = slices[0].file.clone();
    let frame = first.frame_uid.clone().map_or_else(|| Frame::described("scanner"), Frame::from_uid);
    let kept = |image: &Image| Slice {
        path: image.file.path.clone(),
        instance_uid: image.file.instance_uid.clone(),
        position: image.plane.position,
        frame: (image.file.frames() > 1).then_some(image.frame as u32 + 1),
    };
    let list = slices.iter().map(kept).collect();
    drop(slices);
    let attributes = first.attributes();
    let patient_id = attributes.text(tags::PATIENT_ID).unwrap_or_default();
    let first = Arc::unwrap_or_clone(first);
    Ok(Series {
        volume: Volume::new(grid, frame, data)?,
        patient_id,
        series_uid: first.series_uid,
        class_uid: first.class_uid,
        modality: first.modality,
        slices: list,
        notes,
        attributes: first.set,
    })
}

/// Refuses more pixels than the files of these slices can hold.
fn refuse_beyond_files(slices: &[Image], pixels: usize) -> Result<()> {
    let paths: BTreeSet<&PathBuf> = slices.iter().map(|s| &s.file.path).collect();
    let bytes = paths.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|file| file.len()).sum();
    claimed::refuse_beyond(&slices[0].file.path, pixels as u64, bytes)
}

/// Reads the pixels of all slices into `data`, file by file; a note where there is something to say.
fn decode(slices: &[Image], options: &SeriesOptions, data: &mut [f32]) -> Result<Option<String>> {
    let size = data.len() / slices.len();
    let mut files: Vec<(&Arc<Header>, Vec<Wanted<'_>>)> = vec![];
    let mut order: Vec<(&Image, &mut [f32])> = slices.iter().zip(data.chunks_mut(size)).collect();
    order.sort_by(|a, b| a.0.file.path.cmp(&b.0.file.path));
    for (image, out) in order {
        let wanted = Wanted { frame: image.frame, rescale: image.rescale, out };
        match files.last_mut() {
            Some((file, list)) if Arc::ptr_eq(file, &image.file) => list.push(wanted),
            _ => files.push((&image.file, vec![wanted])),
        }
    }
    let read = |(file, wanted): (&Arc<Header>, Vec<Wanted<'_>>)| {
        let extra = pixels::read_into(&file.path, file.frames(), wanted, options.padding)?;
        Ok((extra, file.path.clone()))
    };
    let results: Vec<Result<(usize, PathBuf)>> = files.into_par_iter().map(read).collect();
    let results = results.into_iter().collect::<Result<Vec<_>>>()?;
    let longer: Vec<&(usize, PathBuf)> = results.iter().filter(|(extra, _)| *extra > 0).collect();
    Ok(longer.first().map(|(extra, path)| {
        let (count, path) = (longer.len(), path.display());
        format!("{count} files have bytes behind their pixels, which are ignored ({extra} in {path})")
    }))
}

#[cfg(test)]
mod tests {
    use super::super::list_series;
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

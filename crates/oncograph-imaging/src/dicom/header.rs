//! What is read of a slice before its pixels.

use super::attributes::{Attributes, with_causes};
use crate::error::{Error, Result};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{InMemDicomObject, OpenFileOptions};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A slice's identity and geometry, positions in DICOM's LPS+ mm.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub path: PathBuf,
    pub series_uid: String,
    pub instance_uid: String,
    pub class_uid: String,
    pub frame_uid: Option<String>,
    pub modality: String,
    pub description: String,
    /// The whole header: patient and study attributes are copied from it into derived objects.
    pub set: InMemDicomObject,
}

/// A slice's place in the patient, LPS+ mm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plane {
    pub position: [f64; 3],
    /// Direction cosines of the columns' growth (x), then of the rows' (y).
    pub orientation: [f64; 6],
    /// Distance between rows (y), then between columns (x).
    pub spacing: [f64; 2],
    pub rows: usize,
    pub columns: usize,
}

/// Whether the file has the `DICM` mark at byte 128.
pub(super) fn is_dicom(path: &Path) -> Result<bool> {
    let mut file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut start = [0_u8; 132];
    match file.read_exact(&mut start) {
        Ok(()) => Ok(&start[128..] == b"DICM"),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(Error::io("read", path, e)),
    }
}

/// Reads everything before the pixel data; `None` for objects that are no image slices (segmentations,
/// structure sets, reports, presentation states, directories ...).
pub(super) fn read(path: &Path) -> Result<Option<Header>> {
    let object = OpenFileOptions::new()
        .read_until(tags::PIXEL_DATA)
        .open_file(path)
        .map_err(|e| Error::format(path, "DICOM", with_causes(&e)))?;
    let class_uid = object.meta().media_storage_sop_class_uid().to_owned();
    let other = [
        uids::SEGMENTATION_STORAGE,
        uids::SURFACE_SEGMENTATION_STORAGE,
        uids::RT_DOSE_STORAGE,
        uids::PARAMETRIC_MAP_STORAGE,
    ];
    let set = object.into_inner();
    let a = Attributes::new(&set, path);
    // Only images have rows; a CT, MR or PET file without them is a damaged image, not another kind of object.
    let image =
        [uids::CT_IMAGE_STORAGE, uids::MR_IMAGE_STORAGE, uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE];
    let has_rows = a.element(tags::ROWS).is_some() || image.contains(&class_uid.as_str());
    if other.contains(&class_uid.as_str()) || a.text(tags::MODALITY).as_deref() == Some("SEG") || !has_rows {
        return Ok(None);
    }
    Ok(Some(Header {
        path: path.to_owned(),
        series_uid: a.required_text(tags::SERIES_INSTANCE_UID)?,
        instance_uid: a.required_text(tags::SOP_INSTANCE_UID)?,
        class_uid,
        frame_uid: a.text(tags::FRAME_OF_REFERENCE_UID),
        modality: a.text(tags::MODALITY).unwrap_or_default(),
        description: a.text(tags::SERIES_DESCRIPTION).unwrap_or_default(),
        set,
    }))
}

impl Header {
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes::new(&self.set, &self.path)
    }

    /// The slice's geometry.
    pub fn plane(&self) -> Result<Plane> {
        let a = self.attributes();
        let plane = Plane {
            position: a.required_floats(tags::IMAGE_POSITION_PATIENT)?,
            orientation: a.required_floats(tags::IMAGE_ORIENTATION_PATIENT)?,
            spacing: a.required_floats(tags::PIXEL_SPACING)?,
            rows: a.required_size(tags::ROWS)?,
            columns: a.required_size(tags::COLUMNS)?,
        };
        plane.validate(&self.path)?;
        let unsupported = |detail| Err(Error::unsupported(&self.path, "DICOM", detail));
        let frames = a.integer(tags::NUMBER_OF_FRAMES).unwrap_or(1);
        if frames != 1 {
            return unsupported(format!(
                "a multi-frame image ({frames} frames) where single slices are expected"
            ));
        }
        match a.integer(tags::SAMPLES_PER_PIXEL).unwrap_or(1) {
            1 => Ok(plane),
            samples => unsupported(format!("{samples} samples per pixel (a colour image)")),
        }
    }
}

impl Plane {
    fn validate(&self, path: &Path) -> Result<()> {
        let bad = |detail: String| Err(Error::format(path, "DICOM", detail));
        let [x, y] = self.axes();
        let (dot, lengths) = (dot(x, y), [dot(x, x).sqrt(), dot(y, y).sqrt()]);
        if lengths.iter().any(|l| (l - 1.0).abs() > 1e-2) || dot.abs() > 1e-2 {
            return bad(format!(
                "ImageOrientationPatient is no pair of perpendicular unit vectors: {:?}",
                self.orientation
            ));
        }
        if self.spacing.iter().any(|s| *s <= 0.0) {
            return bad(format!("PixelSpacing is {:?}", self.spacing));
        }
        Ok(())
    }

    /// Unit vectors along a row (x) and along a column (y).
    pub fn axes(&self) -> [[f64; 3]; 2] {
        let o = self.orientation;
        [[o[0], o[1], o[2]], [o[3], o[4], o[5]]]
    }

    pub fn normal(&self) -> [f64; 3] {
        let [x, y] = self.axes();
        [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]]
    }
}

pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

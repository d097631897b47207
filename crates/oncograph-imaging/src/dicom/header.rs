//! What is read of a file before its pixels.

use super::attributes::Attributes;
use super::part10::{self, Until};
use crate::error::Result;
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use std::path::{Path, PathBuf};

/// An image file's identity and attributes.
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

/// The objects that have rows and columns of pixels, but are no images of a series.
const NO_IMAGES: [&str; 3] =
    [uids::SURFACE_SEGMENTATION_STORAGE, uids::RT_DOSE_STORAGE, uids::PARAMETRIC_MAP_STORAGE];

/// Whether a SOP class is that of a segmentation: of bits and fractions, or of labels.
pub(crate) fn is_segmentation(class: &str) -> bool {
    [uids::SEGMENTATION_STORAGE, uids::LABEL_MAP_SEGMENTATION_STORAGE].contains(&class)
}

/// Reads everything before the pixel data; `None` for objects that are no images (segmentations, structure sets,
/// reports, presentation states, directories ...).
pub(super) fn read(path: &Path) -> Result<Option<Header>> {
    let start = part10::start_of(path)?;
    Header::of(part10::parse_header(path, start, Until::Pixels)?, path)
}

impl Header {
    /// The header of a parsed object; `None` where it is no image.
    pub fn of(object: DefaultDicomObject, path: &Path) -> Result<Option<Self>> {
        let class_uid = part10::class_of(&object);
        let set = object.into_inner();
        let a = Attributes::new(&set, path);
        // Only images have rows; a CT, MR or PET file without them is a damaged image, not another kind of object.
        let image = [
            uids::CT_IMAGE_STORAGE,
            uids::MR_IMAGE_STORAGE,
            uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE,
        ];
        let class = class_uid.as_str();
        let has_rows = a.element(tags::ROWS).is_some() || image.contains(&class);
        let segmentation = is_segmentation(class) || a.text(tags::MODALITY).as_deref() == Some("SEG");
        if segmentation || NO_IMAGES.contains(&class) || !has_rows {
            return Ok(None);
        }
        Ok(Some(Header {
            path: path.to_owned(),
            series_uid: a.required_text(tags::SERIES_INSTANCE_UID)?,
            instance_uid: a.required_text(tags::SOP_INSTANCE_UID)?,
            frame_uid: a.text(tags::FRAME_OF_REFERENCE_UID),
            modality: a.text(tags::MODALITY).unwrap_or_default(),
            description: a.text(tags::SERIES_DESCRIPTION).unwrap_or_default(),
            class_uid,
            set,
        }))
    }

    pub fn attributes(&self) -> Attributes<'_> {
        Attributes::new(&self.set, &self.path)
    }

    /// A survey picture for planning: ImageType has the value LOCALIZER.
    fn is_localizer(&self) -> bool {
        self.attributes().texts(tags::IMAGE_TYPE).iter().any(|v| v == "LOCALIZER")
    }

    /// A screenshot or a scanned page, which has no place in the patient.
    fn is_secondary_capture(&self) -> bool {
        let rest = self.class_uid.strip_prefix(uids::SECONDARY_CAPTURE_IMAGE_STORAGE);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            && self.attributes().element(tags::IMAGE_POSITION_PATIENT).is_none()
    }

    /// Whether the image is part of no volume, whatever series it is in.
    pub fn is_apart(&self) -> bool {
        self.is_localizer() || self.is_secondary_capture()
    }

    /// Number of frames; 1 for a classic slice.
    pub fn frames(&self) -> usize {
        let stated = self.attributes().integer(tags::NUMBER_OF_FRAMES);
        stated.and_then(|n| usize::try_from(n).ok()).unwrap_or(1).max(1)
    }
}

//! The images of a file: one of a classic slice, one for each frame of an enhanced object.

use super::attributes::Attributes;
use super::header::Header;
use super::pixels::{Rescale, rescale};
use crate::error::{Error, Result};
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use std::path::Path;
use std::sync::Arc;

/// One image in the patient.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub file: Arc<Header>,
    /// The frame's place in the file, from 0.
    pub frame: usize,
    pub plane: Plane,
    pub rescale: Rescale,
    /// Values by [`DISCRIMINATORS`]; empty where the file has none.
    pub traits: [String; DISCRIMINATORS.len()],
}

/// What may differ between images of one series that do not belong into one volume, by keyword: the names that
/// [`SeriesOptions::select`](super::SeriesOptions::select) takes.
pub(super) const DISCRIMINATORS: [&str; 10] = [
    "AcquisitionNumber",
    "EchoNumbers",
    "EchoTime",
    "TemporalPositionIdentifier",
    "DiffusionBValue",
    "ImageType",
    "Plane",
    "ConvolutionKernel",
    "TriggerTime",
    "AcquisitionTime",
];

/// An image's place in the patient, LPS+ mm.
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

/// The images of a file.
pub(super) fn images(file: Arc<Header>) -> Result<Vec<Image>> {
    let a = file.attributes();
    let unsupported = |detail| Err(Error::unsupported(&file.path, "DICOM", detail));
    match a.integer(tags::SAMPLES_PER_PIXEL).unwrap_or(1) {
        1 => {}
        samples => return unsupported(format!("{samples} samples per pixel (a colour image)")),
    }
    if a.texts(tags::IMAGE_TYPE).iter().any(|v| v == "MOSAIC") {
        let detail = "a Siemens mosaic, which holds all slices side by side in one image; convert it, e.g. with dcm2niix";
        return unsupported(detail.to_owned());
    }
    let groups: Vec<Attributes<'_>> = a.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).collect();
    let count = file.frames();
    if groups.is_empty() {
        if count > 1 {
            let detail = format!(
                "a multi-frame image ({count} frames) without functional groups, so that its frames have no place"
            );
            return unsupported(detail);
        }
        let image = Image {
            frame: 0,
            plane: Plane::of(a, Fields { a, groups: None })?,
            rescale: rescale(a, a)?,
            traits: traits(Fields { a, groups: None }),
            file: file.clone(),
        };
        return Ok(vec![image]);
    }
    if groups.len() != count {
        let detail = format!("{count} frames but {} functional group items", groups.len());
        return Err(Error::format(&file.path, "DICOM", detail));
    }
    let shared = a.first_item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let image = |(frame, own): (usize, Attributes<'_>)| {
        let fields = Fields { a, groups: Some((own, shared)) };
        let values = fields.group(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        Ok(Image {
            frame,
            plane: Plane::of(a, fields)?,
            rescale: rescale(a, values.unwrap_or(a))?,
            traits: traits(fields),
            file: file.clone(),
        })
    };
    groups.into_iter().enumerate().map(image).collect()
}

/// The attributes of one image: those of a file, and of an enhanced one the functional groups of a frame before the shared ones.
#[derive(Clone, Copy)]
struct Fields<'a> {
    a: Attributes<'a>,
    groups: Option<(Attributes<'a>, Option<Attributes<'a>>)>,
}

impl<'a> Fields<'a> {
    fn group(&self, sequence: Tag) -> Option<Attributes<'a>> {
        let (own, shared) = self.groups?;
        own.first_item(sequence).or_else(|| shared.and_then(|s| s.first_item(sequence)))
    }

    /// Where an attribute stands: in a functional group, or in the classic object itself.
    fn holder(&self, sequence: Tag) -> Result<Attributes<'a>> {
        match self.groups {
            None => Ok(self.a),
            Some(_) => self.group(sequence).ok_or_else(|| self.a.missing(sequence)),
        }
    }
}

impl Plane {
    fn of(a: Attributes<'_>, fields: Fields<'_>) -> Result<Self> {
        let position = fields.holder(tags::PLANE_POSITION_SEQUENCE)?;
        let orientation = fields.holder(tags::PLANE_ORIENTATION_SEQUENCE)?;
        let measures = fields.holder(tags::PIXEL_MEASURES_SEQUENCE)?;
        let plane = Plane {
            position: position.required_floats(tags::IMAGE_POSITION_PATIENT)?,
            orientation: orientation.required_floats(tags::IMAGE_ORIENTATION_PATIENT)?,
            spacing: measures.required_floats(tags::PIXEL_SPACING)?,
            rows: a.required_size(tags::ROWS)?,
            columns: a.required_size(tags::COLUMNS)?,
        };
        plane.validate(a.path)?;
        Ok(plane)
    }

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

    /// The plane of the body that the image is nearest to.
    fn name(&self) -> &'static str {
        let [x, y, z] = self.normal().map(f64::abs);
        match (x >= y && x >= z, y >= z) {
            (true, _) => "sagittal",
            (false, true) => "coronal",
            (false, false) => "axial",
        }
    }
}

/// The values by [`DISCRIMINATORS`].
fn traits(fields: Fields<'_>) -> [String; DISCRIMINATORS.len()] {
    let a = fields.a;
    let joined = |a: Attributes<'_>, tag| a.texts(tag).join("\\");
    let within = |sequence, tag: Tag| fields.group(sequence).map(|g| joined(g, tag));
    let content = |tag| within(tags::FRAME_CONTENT_SEQUENCE, tag);
    let or = |own: Option<String>, tag| own.filter(|v| !v.is_empty()).unwrap_or_else(|| joined(a, tag));
    let frame_type = [tags::CT_IMAGE_FRAME_TYPE_SEQUENCE, tags::MR_IMAGE_FRAME_TYPE_SEQUENCE]
        .into_iter()
        .find_map(|sequence| within(sequence, tags::FRAME_TYPE));
    let place = Plane::of(a, fields).map(|p| p.name().to_owned()).unwrap_or_default();
    [
        or(content(tags::FRAME_ACQUISITION_NUMBER), tags::ACQUISITION_NUMBER),
        joined(a, tags::ECHO_NUMBERS),
        or(within(tags::MR_ECHO_SEQUENCE, tags::EFFECTIVE_ECHO_TIME), tags::ECHO_TIME),
        or(content(tags::TEMPORAL_POSITION_INDEX), tags::TEMPORAL_POSITION_IDENTIFIER),
        or(within(tags::MR_DIFFUSION_SEQUENCE, tags::DIFFUSION_B_VALUE), tags::DIFFUSION_B_VALUE),
        or(frame_type, tags::IMAGE_TYPE),
        place,
        joined(a, tags::CONVOLUTION_KERNEL),
        joined(a, tags::TRIGGER_TIME),
        or(content(tags::FRAME_ACQUISITION_DATE_TIME), tags::ACQUISITION_TIME),
    ]
}

/// The distance between neighbouring slices that a single one states.
pub(super) fn thickness(image: &Image) -> Result<f64> {
    let a = image.file.attributes();
    let groups = a.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).nth(image.frame);
    let fields =
        Fields { a, groups: groups.map(|own| (own, a.first_item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE))) };
    let measures = fields.holder(tags::PIXEL_MEASURES_SEQUENCE)?;
    let [thickness] = measures.required_floats(tags::SLICE_THICKNESS)?;
    if thickness <= 0.0 {
        return Err(a.missing(tags::SLICE_THICKNESS));
    }
    Ok(thickness)
}

pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Whether an object is a CT, to whose numbers Hounsfield units belong.
pub(super) fn is_ct(a: Attributes<'_>) -> bool {
    a.text(tags::MODALITY).as_deref() == Some("CT")
        || a.text(tags::SOP_CLASS_UID).as_deref() == Some(uids::ENHANCED_CT_IMAGE_STORAGE)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Phantom, deform, enhance};
    use super::super::{SeriesOptions, read_series, survey};
    use dicom_core::VR;
    use dicom_dictionary_std::{tags, uids};

    #[test]
    fn frames_of_enhanced_objects_are_slices() {
        let classes = [uids::ENHANCED_CT_IMAGE_STORAGE, uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE];
        for (class, shared) in [(classes[0], true), (classes[0], false), (classes[1], true)] {
            for phantom in [Phantom::axial(), Phantom::oblique(), Phantom::axial().signed()] {
                let folder = tempfile::tempdir().unwrap();
                let path = enhance(&phantom.write(folder.path()), class, shared);
                let series = read_series(folder.path(), &SeriesOptions::new()).unwrap();
                assert_eq!(series.volume.as_slice(), phantom.expected());
                assert!(series.volume.grid().approx_eq(&phantom.grid(), 1e-6));
                let mut frames: Vec<u32> = series.slices.iter().filter_map(|s| s.frame).collect();
                frames.sort_unstable();
                assert_eq!(frames, [1, 2, 3, 4, 5]);
                assert_eq!(survey(folder.path()).unwrap().series[0].images, 5);
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(&path, &bytes[..bytes.len() - 30]).unwrap();
                assert!(read_series(folder.path(), &SeriesOptions::new()).is_err());
            }
        }
    }

    #[test]
    fn an_enhanced_mr_may_do_without_rescaling_and_a_ct_may_not() {
        for (class, modality) in
            [(uids::ENHANCED_MR_IMAGE_STORAGE, "MR"), (uids::ENHANCED_CT_IMAGE_STORAGE, "CT")]
        {
            let folder = tempfile::tempdir().unwrap();
            let files = Phantom::axial().write(folder.path());
            for path in &files {
                deform(path, |o| {
                    o.remove_element(tags::RESCALE_SLOPE);
                    o.remove_element(tags::RESCALE_INTERCEPT);
                    o.put_str(tags::MODALITY, VR::CS, modality);
                });
            }
            enhance(&files, class, true);
            let result = read_series(folder.path(), &SeriesOptions::new());
            match modality {
                "MR" => assert_eq!(result.unwrap().volume.get([1, 2, 3]), Some(921.0)),
                _ => assert!(result.unwrap_err().to_string().contains("RescaleSlope")),
            }
        }
    }

    #[test]
    fn frames_without_a_place_and_mosaics_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = Phantom::axial().write(folder.path());
        let refused = |change: &dyn Fn(&mut dicom_object::InMemDicomObject)| {
            let before = std::fs::read(&files[0]).unwrap();
            deform(&files[0], change);
            let text = read_series(folder.path(), &SeriesOptions::new()).unwrap_err().to_string();
            std::fs::write(&files[0], before).unwrap();
            assert!(text.contains(files[0].to_str().unwrap()), "{text}");
            text
        };
        let text = refused(&|o| {
            o.put_str(tags::NUMBER_OF_FRAMES, VR::IS, "3");
        });
        assert!(text.contains("3 frames") && text.contains("functional groups"), "{text}");
        let text = refused(&|o| {
            o.put_str(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\M\\ND\\MOSAIC");
        });
        assert!(text.contains("mosaic") && text.contains("dcm2niix"), "{text}");
        let path = enhance(&files, uids::ENHANCED_CT_IMAGE_STORAGE, true);
        deform(&path, |o| {
            o.put_str(tags::NUMBER_OF_FRAMES, VR::IS, "4");
        });
        let text = read_series(folder.path(), &SeriesOptions::new()).unwrap_err().to_string();
        assert!(text.contains("4 frames but 5 functional group items"), "{text}");
    }
}

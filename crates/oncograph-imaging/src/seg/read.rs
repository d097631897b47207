//! Reading the object: segments, planes, pixels.

use super::label_map;
use crate::dicom::attributes::Attributes;
use crate::dicom::{class_of, decode_pixels, is_segmentation, open};
use crate::error::{Error, Result};
use dicom_dictionary_std::{tags, uids};
use dicom_object::DefaultDicomObject;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a pixel of the object encodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentationKind {
    /// In or out.
    Binary,
    /// One label in each pixel, the number of its segment: segments do not overlap.
    LabelMap,
    /// A probability or occupancy from 0 to 1, stored as 0 to `maximum`.
    Fractional {
        /// MaximumFractionalValue.
        maximum: u16,
    },
}

/// One segment's description.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment {
    /// SegmentNumber, from 1.
    pub number: u16,
    /// SegmentLabel, e.g. `Liver`.
    pub label: String,
    /// SegmentDescription, possibly empty.
    pub description: String,
    /// SegmentAlgorithmType: `MANUAL`, `SEMIAUTOMATIC` or `AUTOMATIC`.
    pub algorithm_type: String,
    /// Meaning of the property category code, e.g. `Tissue`.
    pub category: String,
    /// Meaning of the property type code, e.g. `Liver`.
    pub property: String,
}

/// One plane of one segment; positions in DICOM's LPS+ mm.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plane {
    pub segment: u16,
    pub position: [f64; 3],
    pub orientation: [f64; 6],
    /// Row spacing (y), column spacing (x).
    pub spacing: [f64; 2],
    pub slice_spacing: Option<f64>,
    pub thickness: Option<f64>,
    /// SOPInstanceUIDs of the images that the plane was drawn on; possibly none.
    pub sources: Vec<String>,
}

/// A DICOM Segmentation object in memory.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SegmentationObject {
    /// The file.
    pub path: PathBuf,
    /// FrameOfReferenceUID.
    pub frame_of_reference: Option<String>,
    /// SeriesInstanceUIDs of the images that were segmented.
    pub referenced_series: Vec<String>,
    /// SOPInstanceUIDs of the images that were segmented.
    pub referenced_instances: Vec<String>,
    /// Binary, fractional or a label map.
    pub kind: SegmentationKind,
    /// The segments by number.
    pub segments: Vec<Segment>,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) planes: Vec<Plane>,
    /// One byte for each pixel: 0 or 1, or the stored fraction; planes one behind the other.
    pub(super) pixels: Vec<u8>,
}

impl SegmentationObject {
    /// Number of planes stored for a segment; 0 for an empty one.
    pub fn plane_count(&self, number: u16) -> usize {
        self.planes.iter().filter(|p| p.segment == number).count()
    }

    /// The segment with this label, upper and lower case alike.
    pub fn segment(&self, label: &str) -> Option<&Segment> {
        self.segments.iter().find(|s| s.label.eq_ignore_ascii_case(label))
    }

    pub(super) fn pixels_of(&self, plane: usize) -> &[u8] {
        let size = self.rows * self.columns;
        &self.pixels[plane * size..(plane + 1) * size]
    }
}

/// Reads a SEG object.
///
/// One-bit pixels are unpacked here: the bits run on from plane to plane without padding, which general pixel
/// decoders get wrong where rows x columns is no multiple of 8.
///
/// # Errors
/// A file that is damaged, truncated or no SEG, such as an RT structure set; a plane without position, orientation, spacing
/// or segment number, or of a segment that is not described. The message names the file.
pub fn read(path: impl AsRef<Path>) -> Result<SegmentationObject> {
    let path = path.as_ref();
    let object = open(path)?;
    let a = Attributes::new(&object, path);
    require_segmentation(path, &class_of(&object))?;
    let kind = kind_of(a)?;
    let (rows, columns) = (a.required_size(tags::ROWS)?, a.required_size(tags::COLUMNS)?);
    let segments = segments_of(a, kind)?;
    let mut planes = planes_of(a, kind)?;
    let frames = a.integer(tags::NUMBER_OF_FRAMES).unwrap_or(planes.len() as i64);
    if frames != planes.len() as i64 {
        return Err(bad(path, format!("{frames} frames but {} functional group items", planes.len())));
    }
    let described = |number: u16| segments.iter().any(|s| s.number == number);
    let unknown =
        planes.iter().find(|p| !described(p.segment)).filter(|_| kind != SegmentationKind::LabelMap);
    if let Some(plane) = unknown {
        return Err(bad(
            path,
            format!("a frame refers to segment {}, which is not described", plane.segment),
        ));
    }
    let count = rows.checked_mul(columns).and_then(|n| n.checked_mul(planes.len()));
    let count = count.ok_or_else(|| bad(path, format!("{rows} x {columns} x {} pixels", planes.len())))?;
    let pixels = match kind {
        SegmentationKind::Binary => bits_of(a, count)?,
        SegmentationKind::Fractional { .. } => bytes_of(&object, path, count)?,
        SegmentationKind::LabelMap => {
            let labels = label_map::labels_of(&object, path, count)?;
            let (apart, pixels) = label_map::segments_apart(a, &segments, (planes, rows * columns), &labels)?;
            planes = apart;
            pixels
        }
    };
    let (referenced_series, referenced_instances) = references_of(a);
    Ok(SegmentationObject {
        path: path.to_owned(),
        frame_of_reference: a.text(tags::FRAME_OF_REFERENCE_UID),
        referenced_series,
        referenced_instances,
        kind,
        segments,
        rows,
        columns,
        planes,
        pixels,
    })
}

/// Refuses other objects, with a way out for contours.
fn require_segmentation(path: &Path, class: &str) -> Result<()> {
    if is_segmentation(class) {
        return Ok(());
    }
    if class == uids::RT_STRUCTURE_SET_STORAGE {
        let detail = "an RT structure set holds contours, not voxels; convert it to a DICOM SEG object or to NIfTI masks, e.g. with `dcmrtstruct2nii convert` or 3D Slicer (SlicerRT)";
        return Err(Error::unsupported(path, "DICOM SEG", detail));
    }
    Err(bad(path, format!("the SOP class is {class}, not Segmentation Storage")))
}

fn kind_of(a: Attributes<'_>) -> Result<SegmentationKind> {
    match a.required_text(tags::SEGMENTATION_TYPE)?.as_str() {
        "BINARY" => Ok(SegmentationKind::Binary),
        "LABELMAP" => Ok(SegmentationKind::LabelMap),
        "FRACTIONAL" => {
            let maximum = a.required_size(tags::MAXIMUM_FRACTIONAL_VALUE)?;
            let maximum = u16::try_from(maximum).map_err(|_| a.missing(tags::MAXIMUM_FRACTIONAL_VALUE))?;
            Ok(SegmentationKind::Fractional { maximum })
        }
        other => Err(Error::unsupported(a.path, "DICOM SEG", format!("SegmentationType {other}"))),
    }
}

fn segments_of(a: Attributes<'_>, kind: SegmentationKind) -> Result<Vec<Segment>> {
    let mut segments = Vec::new();
    // A label map may describe its background, which has the number 0.
    let background = |item: &Attributes<'_>| {
        kind == SegmentationKind::LabelMap && item.integer(tags::SEGMENT_NUMBER) == Some(0)
    };
    for item in a.items(tags::SEGMENT_SEQUENCE).filter(|item| !background(item)) {
        let meaning = |tag| item.first_item(tag).and_then(|c| c.text(tags::CODE_MEANING)).unwrap_or_default();
        let number = item.required_size(tags::SEGMENT_NUMBER)?;
        segments.push(Segment {
            number: u16::try_from(number).map_err(|_| item.missing(tags::SEGMENT_NUMBER))?,
            label: item.text(tags::SEGMENT_LABEL).unwrap_or_default(),
            description: item.text(tags::SEGMENT_DESCRIPTION).unwrap_or_default(),
            algorithm_type: item.text(tags::SEGMENT_ALGORITHM_TYPE).unwrap_or_default(),
            category: meaning(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE),
            property: meaning(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE),
        });
    }
    if segments.is_empty() {
        return Err(a.missing(tags::SEGMENT_SEQUENCE));
    }
    segments.sort_by_key(|s| s.number);
    if let Some(pair) = segments.windows(2).find(|w| w[0].number == w[1].number) {
        return Err(bad(a.path, format!("segment number {} is described twice", pair[0].number)));
    }
    Ok(segments)
}

/// The planes; what a frame's own functional groups lack is taken from the shared ones.
fn planes_of(a: Attributes<'_>, kind: SegmentationKind) -> Result<Vec<Plane>> {
    let shared = a.first_item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let mut planes = Vec::new();
    for frame in a.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE) {
        let group = |tag| {
            let own = frame.first_item(tag);
            own.or_else(|| shared.and_then(|s| s.first_item(tag))).ok_or_else(|| a.missing(tag))
        };
        let measures = group(tags::PIXEL_MEASURES_SEQUENCE)?;
        let number = match kind {
            SegmentationKind::LabelMap => 0,
            _ => {
                let segment = group(tags::SEGMENT_IDENTIFICATION_SEQUENCE)?;
                let number = segment.required_size(tags::REFERENCED_SEGMENT_NUMBER)?;
                u16::try_from(number).map_err(|_| segment.missing(tags::REFERENCED_SEGMENT_NUMBER))?
            }
        };
        let spacing = measures.required_floats::<2>(tags::PIXEL_SPACING)?;
        if spacing.iter().any(|s| *s <= 0.0) {
            return Err(bad(a.path, format!("PixelSpacing is {spacing:?}")));
        }
        let positive = |tag| -> Result<Option<f64>> {
            Ok(measures.floats::<1>(tag)?.map(|v| v[0]).filter(|v| *v > 0.0))
        };
        planes.push(Plane {
            segment: number,
            position: group(tags::PLANE_POSITION_SEQUENCE)?.required_floats(tags::IMAGE_POSITION_PATIENT)?,
            orientation: group(tags::PLANE_ORIENTATION_SEQUENCE)?
                .required_floats(tags::IMAGE_ORIENTATION_PATIENT)?,
            spacing,
            slice_spacing: positive(tags::SPACING_BETWEEN_SLICES)?,
            thickness: positive(tags::SLICE_THICKNESS)?,
            sources: sources_of(frame),
        });
    }
    Ok(planes)
}

/// The images that a frame was drawn on.
fn sources_of(frame: Attributes<'_>) -> Vec<String> {
    let derivations = frame.items(tags::DERIVATION_IMAGE_SEQUENCE);
    let images = derivations.flat_map(|d| d.items(tags::SOURCE_IMAGE_SEQUENCE));
    images.filter_map(|image| image.text(tags::REFERENCED_SOP_INSTANCE_UID)).collect()
}

/// Unpacks one-bit pixels, lowest bit first.
fn bits_of(a: Attributes<'_>, count: usize) -> Result<Vec<u8>> {
    let element = a.element(tags::PIXEL_DATA).ok_or_else(|| a.missing(tags::PIXEL_DATA))?;
    let Some(value) = element.value().primitive() else {
        let detail = "compressed one-bit pixels".to_owned();
        return Err(Error::unsupported(a.path, "DICOM SEG", detail));
    };
    if a.required_size(tags::BITS_ALLOCATED)? != 1 {
        return Err(bad(a.path, "a BINARY object whose BitsAllocated is not 1"));
    }
    let bytes = value.to_bytes();
    if bytes.len() < count.div_ceil(8) {
        let detail =
            format!("truncated: {} bytes of pixels where {} are needed", bytes.len(), count.div_ceil(8));
        return Err(bad(a.path, detail));
    }
    Ok((0..count).map(|i| bytes[i / 8] >> (i % 8) & 1).collect())
}

fn bytes_of(object: &DefaultDicomObject, path: &Path, count: usize) -> Result<Vec<u8>> {
    let decoded = decode_pixels(object, path)?;
    if decoded.bits_allocated() != 8 {
        return Err(bad(path, format!("a FRACTIONAL object with {} bits a pixel", decoded.bits_allocated())));
    }
    let data = decoded.data();
    match data.get(..count) {
        Some(pixels) => Ok(pixels.to_vec()),
        None => Err(bad(path, format!("truncated: {} bytes of pixels where {count} are needed", data.len()))),
    }
}

/// Series and instances that the object was made from, collected from every attribute that may reference them.
fn references_of(a: Attributes<'_>) -> (Vec<String>, Vec<String>) {
    let mut series = Vec::new();
    let mut instances = BTreeSet::new();
    let mut note = |item: Attributes<'_>| instances.extend(item.text(tags::REFERENCED_SOP_INSTANCE_UID));
    for item in a.items(tags::REFERENCED_SERIES_SEQUENCE) {
        series.extend(item.text(tags::SERIES_INSTANCE_UID));
        item.items(tags::REFERENCED_INSTANCE_SEQUENCE).for_each(&mut note);
    }
    for frame in a.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE) {
        instances.extend(sources_of(frame));
    }
    (series, instances.into_iter().collect())
}

pub(super) fn bad(path: &Path, detail: impl std::fmt::Display) -> Error {
    Error::format(path, "DICOM SEG", detail)
}

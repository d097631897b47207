//! Writing BINARY segmentation objects.

use super::read::bad;
use crate::atomic::write_atomically;
use crate::dicom::Series;
use crate::dicom::attributes::{Attributes, with_causes};
use crate::error::{Error, Result};
use crate::volume::Mask;
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// A coded concept: value, coding scheme, meaning.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Code {
    /// CodeValue, e.g. `10200004`.
    pub value: String,
    /// CodingSchemeDesignator, e.g. `SCT`.
    pub scheme: String,
    /// CodeMeaning, e.g. `Liver`.
    pub meaning: String,
}

impl Code {
    /// A concept of any coding scheme.
    pub fn new(value: impl Into<String>, scheme: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self { value: value.into(), scheme: scheme.into(), meaning: meaning.into() }
    }

    /// SNOMED CT: an organ.
    pub fn organ() -> Self {
        Self::new("91772007", "SCT", "Organ")
    }

    /// SNOMED CT: tissue.
    pub fn tissue() -> Self {
        Self::new("85756007", "SCT", "Tissue")
    }

    /// SNOMED CT: a morphologically abnormal structure, the category of lesions.
    pub fn abnormality() -> Self {
        Self::new("49755003", "SCT", "Morphologically Abnormal Structure")
    }
}

/// A segment to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NewSegment {
    /// SegmentLabel.
    pub label: String,
    /// Property category, e.g. organ.
    pub category: Code,
    /// Property type, e.g. liver.
    pub property: Code,
    /// Name of the algorithm, or `None` for a segment drawn by hand.
    pub algorithm: Option<String>,
}

impl NewSegment {
    /// A manual segment.
    pub fn new(label: impl Into<String>, category: Code, property: Code) -> Self {
        Self { label: label.into(), category, property, algorithm: None }
    }

    /// Names the algorithm that made the segment (SegmentAlgorithmType AUTOMATIC).
    pub fn algorithm(mut self, name: impl Into<String>) -> Self {
        self.algorithm = Some(name.into());
        self
    }
}

/// Who made the object and when.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WriteOptions {
    /// SeriesDescription and ContentDescription.
    pub description: String,
    /// Manufacturer.
    pub manufacturer: String,
    /// ContentDate (`YYYYMMDD`) and ContentTime (`HHMMSS`); the study's own by default, so that the same input
    /// gives the same file.
    pub content_time: Option<(String, String)>,
    /// SeriesInstanceUID and SOPInstanceUID; derived from the content by default.
    pub uids: Option<(String, String)>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        let text = || "oncograph".to_owned();
        Self { description: "Segmentation".to_owned(), manufacturer: text(), content_time: None, uids: None }
    }
}

impl WriteOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the description.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Sets date (`YYYYMMDD`) and time (`HHMMSS`) of the content.
    pub fn content_time(mut self, date: impl Into<String>, time: impl Into<String>) -> Self {
        self.content_time = Some((date.into(), time.into()));
        self
    }

    /// Sets the SeriesInstanceUID and the SOPInstanceUID.
    pub fn uids(mut self, series: impl Into<String>, instance: impl Into<String>) -> Self {
        self.uids = Some((series.into(), instance.into()));
        self
    }
}

/// Writes masks on a series' grid as a BINARY SEG object that refers to the series.
///
/// Empty slices are left out. Segments are numbered from 1 in the given order and may overlap. Patient and study
/// are copied from the series. The file appears under its name only when it is complete.
///
/// # Errors
/// No segment, a mask on another grid, masks that are all empty (a SEG object needs one plane), or a file that
/// cannot be written.
///
/// # Reference
/// DICOM PS3.3 A.51 (Segmentation IOD) and C.8.20.
pub fn write(
    path: impl AsRef<Path>,
    series: &Series,
    segments: &[(NewSegment, Mask)],
    options: &WriteOptions,
) -> Result<()> {
    let path = path.as_ref();
    if segments.is_empty() || segments.len() > usize::from(u16::MAX) {
        return Err(Error::Argument {
            operation: "seg::write",
            argument: "segments",
            expected: "1 to 65535 segments",
            got: segments.len().to_string(),
        });
    }
    for (_, mask) in segments {
        series.volume.require_same_space("seg::write", mask)?;
    }
    let planes = planes_of(segments);
    if planes.is_empty() {
        return Err(Error::Argument {
            operation: "seg::write",
            argument: "segments",
            expected: "masks with at least one foreground voxel",
            got: "empty masks".to_owned(),
        });
    }
    let (series_uid, instance_uid) = match &options.uids {
        Some(uids) => uids.clone(),
        None => (
            derived_uid("series", series, segments, options),
            derived_uid("instance", series, segments, options),
        ),
    };
    let mut object = InMemDicomObject::new_empty();
    put_identity(&mut object, series, options, &series_uid, &instance_uid);
    put_image(&mut object, series, planes.len());
    object.put(sequence(
        tags::SEGMENT_SEQUENCE,
        segments.iter().enumerate().map(|(i, s)| segment_item(i + 1, &s.0)),
    ));
    put_groups(&mut object, series, &planes, &instance_uid);
    object.put(DataElement::new(
        tags::PIXEL_DATA,
        VR::OB,
        PrimitiveValue::U8(pack(segments, &planes).into()),
    ));

    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let object = object.with_meta(meta).map_err(|e| bad(path, with_causes(&e)))?;
    write_atomically(path, |file| object.write_all(file).map_err(|e| std::io::Error::other(with_causes(&e))))
}

/// Segment (from 0) and slice of every plane with foreground.
fn planes_of(segments: &[(NewSegment, Mask)]) -> Vec<(usize, usize)> {
    let mut planes = Vec::new();
    for (number, (_, mask)) in segments.iter().enumerate() {
        let [nx, ny, _] = mask.shape();
        for (slice, pixels) in mask.as_slice().chunks(nx * ny).enumerate() {
            if pixels.iter().any(|v| *v != 0) {
                planes.push((number, slice));
            }
        }
    }
    planes
}

/// The planes' bits one behind the other, lowest bit first, padded to an even number of bytes.
fn pack(segments: &[(NewSegment, Mask)], planes: &[(usize, usize)]) -> Vec<u8> {
    let [nx, ny, _] = segments[0].1.shape();
    let size = nx * ny;
    let mut bytes = vec![0_u8; (size * planes.len()).div_ceil(8).next_multiple_of(2)];
    for (plane, &(number, slice)) in planes.iter().enumerate() {
        let pixels = &segments[number].1.as_slice()[slice * size..(slice + 1) * size];
        for (i, _) in pixels.iter().enumerate().filter(|(_, v)| **v != 0) {
            let bit = plane * size + i;
            bytes[bit / 8] |= 1 << (bit % 8);
        }
    }
    bytes
}

/// Patient, study, series, equipment and the references to the source.
fn put_identity(
    object: &mut InMemDicomObject,
    series: &Series,
    options: &WriteOptions,
    series_uid: &str,
    instance_uid: &str,
) {
    let source = Attributes::new(&series.attributes, &series.slices[0].path);
    // Type 2 attributes must be there even where the source has no value.
    let copied = [
        (tags::PATIENT_NAME, VR::PN),
        (tags::PATIENT_ID, VR::LO),
        (tags::PATIENT_BIRTH_DATE, VR::DA),
        (tags::PATIENT_SEX, VR::CS),
        (tags::STUDY_INSTANCE_UID, VR::UI),
        (tags::STUDY_DATE, VR::DA),
        (tags::STUDY_TIME, VR::TM),
        (tags::STUDY_ID, VR::SH),
        (tags::ACCESSION_NUMBER, VR::SH),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
        (tags::SPECIFIC_CHARACTER_SET, VR::CS),
    ];
    for (tag, vr) in copied {
        match source.element(tag) {
            Some(element) => {
                object.put(element.clone());
            }
            None if tag == tags::SPECIFIC_CHARACTER_SET => {}
            None => {
                object.put(DataElement::new(tag, vr, PrimitiveValue::Empty));
            }
        }
    }
    let study = || {
        let date = source.text(tags::STUDY_DATE).unwrap_or_else(|| "19000101".to_owned());
        (date, source.text(tags::STUDY_TIME).unwrap_or_else(|| "000000".to_owned()))
    };
    let (date, time) = options.content_time.clone().unwrap_or_else(study);
    let frame = series.volume.frame().uid.clone().unwrap_or_default();
    let texts = [
        (tags::SOP_CLASS_UID, VR::UI, uids::SEGMENTATION_STORAGE),
        (tags::SOP_INSTANCE_UID, VR::UI, instance_uid),
        (tags::SERIES_INSTANCE_UID, VR::UI, series_uid),
        (tags::SERIES_NUMBER, VR::IS, "1"),
        (tags::INSTANCE_NUMBER, VR::IS, "1"),
        (tags::MODALITY, VR::CS, "SEG"),
        (tags::SERIES_DESCRIPTION, VR::LO, &options.description),
        (tags::FRAME_OF_REFERENCE_UID, VR::UI, &frame),
        (tags::POSITION_REFERENCE_INDICATOR, VR::LO, ""),
        (tags::CONTENT_DATE, VR::DA, &date),
        (tags::CONTENT_TIME, VR::TM, &time),
        (tags::CONTENT_LABEL, VR::CS, "SEGMENTATION"),
        (tags::CONTENT_DESCRIPTION, VR::LO, &options.description),
        (tags::CONTENT_CREATOR_NAME, VR::PN, ""),
        (tags::MANUFACTURER, VR::LO, &options.manufacturer),
        (tags::MANUFACTURER_MODEL_NAME, VR::LO, "oncograph-imaging"),
        (tags::DEVICE_SERIAL_NUMBER, VR::LO, "0"),
        (tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION")),
    ];
    for (tag, vr, text) in texts {
        object.put_str(tag, vr, text);
    }
    let instances = series.slices.iter().map(|s| reference(&series.class_uid, &s.instance_uid));
    let mut item = InMemDicomObject::new_empty();
    item.put_str(tags::SERIES_INSTANCE_UID, VR::UI, series.series_uid.as_str());
    item.put(sequence(tags::REFERENCED_INSTANCE_SEQUENCE, instances));
    object.put(sequence(tags::REFERENCED_SERIES_SEQUENCE, [item]));
}

/// The image pixel description and the dimensions along which the frames are organised.
fn put_image(object: &mut InMemDicomObject, series: &Series, frames: usize) {
    let [nx, ny, _] = series.volume.shape();
    let numbers = [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, ny as u16),
        (tags::COLUMNS, nx as u16),
        (tags::BITS_ALLOCATED, 1),
        (tags::BITS_STORED, 1),
        (tags::HIGH_BIT, 0),
        (tags::PIXEL_REPRESENTATION, 0),
    ];
    for (tag, value) in numbers {
        object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }
    object.put_str(tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY");
    object.put_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    object.put_str(tags::NUMBER_OF_FRAMES, VR::IS, frames.to_string());
    object.put_str(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
    object.put_str(tags::SEGMENTATION_TYPE, VR::CS, "BINARY");
    object.put_str(tags::SEGMENTS_OVERLAP, VR::CS, "UNDEFINED");
}

/// Shared and per-frame functional groups, and the dimension index that names their order.
fn put_groups(object: &mut InMemDicomObject, series: &Series, planes: &[(usize, usize)], instance_uid: &str) {
    let grid = series.volume.grid();
    let (spacing, direction) = (grid.spacing(), grid.direction());
    let decimal = |values: &[f64]| values.iter().map(|v| ds(*v)).collect::<Vec<_>>().join("\\");
    // RAS+ to DICOM's LPS+.
    let axis = |c: usize| [-direction[(0, c)], -direction[(1, c)], direction[(2, c)]];

    let mut measures = InMemDicomObject::new_empty();
    measures.put_str(tags::PIXEL_SPACING, VR::DS, decimal(&[spacing[1], spacing[0]]));
    measures.put_str(tags::SLICE_THICKNESS, VR::DS, ds(spacing[2]));
    measures.put_str(tags::SPACING_BETWEEN_SLICES, VR::DS, ds(spacing[2]));
    let mut orientation = InMemDicomObject::new_empty();
    orientation.put_str(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, decimal(&[axis(0), axis(1)].concat()));
    let mut shared = InMemDicomObject::new_empty();
    shared.put(sequence(tags::PIXEL_MEASURES_SEQUENCE, [measures]));
    shared.put(sequence(tags::PLANE_ORIENTATION_SEQUENCE, [orientation]));
    object.put(sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, [shared]));

    let frames = planes.iter().map(|&(segment, slice)| {
        let mut content = InMemDicomObject::new_empty();
        let index = [segment as u32 + 1, slice as u32 + 1];
        content.put(DataElement::new(
            tags::DIMENSION_INDEX_VALUES,
            VR::UL,
            PrimitiveValue::U32(index[..].into()),
        ));
        let mut position = InMemDicomObject::new_empty();
        position.put_str(tags::IMAGE_POSITION_PATIENT, VR::DS, decimal(&series.slices[slice].position));
        let mut identification = InMemDicomObject::new_empty();
        let number = PrimitiveValue::from(segment as u16 + 1);
        identification.put(DataElement::new(tags::REFERENCED_SEGMENT_NUMBER, VR::US, number));
        let mut image = reference(&series.class_uid, &series.slices[slice].instance_uid);
        let purpose = Code::new("121322", "DCM", "Source image for image processing operation");
        image.put(sequence(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, [code_item(&purpose)]));
        let mut derivation = InMemDicomObject::new_empty();
        let how = Code::new("113076", "DCM", "Segmentation");
        derivation.put(sequence(tags::DERIVATION_CODE_SEQUENCE, [code_item(&how)]));
        derivation.put(sequence(tags::SOURCE_IMAGE_SEQUENCE, [image]));
        let mut frame = InMemDicomObject::new_empty();
        frame.put(sequence(tags::DERIVATION_IMAGE_SEQUENCE, [derivation]));
        frame.put(sequence(tags::FRAME_CONTENT_SEQUENCE, [content]));
        frame.put(sequence(tags::PLANE_POSITION_SEQUENCE, [position]));
        frame.put(sequence(tags::SEGMENT_IDENTIFICATION_SEQUENCE, [identification]));
        frame
    });
    object.put(sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames));

    let organization = format!("{instance_uid}.1");
    let organization = organization.get(..64).unwrap_or(&organization);
    let dimension = |pointer: Tag, group: Tag, label: &str| {
        let mut item = InMemDicomObject::new_empty();
        item.put_str(tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization);
        item.put(DataElement::new(tags::DIMENSION_INDEX_POINTER, VR::AT, PrimitiveValue::from(pointer)));
        item.put(DataElement::new(tags::FUNCTIONAL_GROUP_POINTER, VR::AT, PrimitiveValue::from(group)));
        item.put_str(tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, label);
        item
    };
    let mut item = InMemDicomObject::new_empty();
    item.put_str(tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization);
    object.put(sequence(tags::DIMENSION_ORGANIZATION_SEQUENCE, [item]));
    let by_segment = (tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE);
    let by_position = (tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE);
    let dimensions = [
        dimension(by_segment.0, by_segment.1, "Referenced Segment Number"),
        dimension(by_position.0, by_position.1, "Image Position Patient"),
    ];
    object.put(sequence(tags::DIMENSION_INDEX_SEQUENCE, dimensions));
}

fn segment_item(number: usize, segment: &NewSegment) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    item.put(DataElement::new(tags::SEGMENT_NUMBER, VR::US, PrimitiveValue::from(number as u16)));
    item.put_str(tags::SEGMENT_LABEL, VR::LO, segment.label.as_str());
    match &segment.algorithm {
        Some(name) => {
            item.put_str(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC");
            item.put_str(tags::SEGMENT_ALGORITHM_NAME, VR::LO, name.as_str());
        }
        None => {
            item.put_str(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "MANUAL");
        }
    }
    item.put(sequence(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, [code_item(&segment.category)]));
    item.put(sequence(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, [code_item(&segment.property)]));
    item
}

fn code_item(code: &Code) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    item.put_str(tags::CODE_VALUE, VR::SH, code.value.as_str());
    item.put_str(tags::CODING_SCHEME_DESIGNATOR, VR::SH, code.scheme.as_str());
    item.put_str(tags::CODE_MEANING, VR::LO, code.meaning.as_str());
    item
}

fn reference(class_uid: &str, instance_uid: &str) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    item.put_str(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class_uid);
    item.put_str(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance_uid);
    item
}

fn sequence(tag: Tag, items: impl IntoIterator<Item = InMemDicomObject>) -> DataElement<InMemDicomObject> {
    let items: Vec<InMemDicomObject> = items.into_iter().collect();
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// A decimal string: at most 16 characters, as exact as they allow.
fn ds(value: f64) -> String {
    let plain = value.to_string();
    if plain.len() <= 16 {
        return plain;
    }
    let fits = |digits: usize| Some(format!("{value:.digits$}")).filter(|s| s.len() <= 16);
    let scientific = || format!("{value:.8e}");
    match (0..=14).rev().find_map(fits) {
        Some(text) if value.abs() >= 1e-4 || value == 0.0 => text,
        // Direction cosines of an axis-aligned image carry rounding noise that means 0.
        Some(_) if value.abs() < 1e-14 => "0".to_owned(),
        _ => scientific(),
    }
}

/// A UID below 2.25 (UUID as a number) that depends on the content only: the same input gives the same file.
fn derived_uid(
    what: &str,
    series: &Series,
    segments: &[(NewSegment, Mask)],
    options: &WriteOptions,
) -> String {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, what, &series.series_uid, options).hash(&mut hasher);
        for (segment, mask) in segments {
            (segment, mask.as_slice()).hash(&mut hasher);
        }
        hasher.finish()
    };
    let mut bits = u128::from(half(1)) << 64 | u128::from(half(2));
    // Version 8 (made by a scheme of one's own) and the variant of RFC 9562.
    bits = bits & !(0xf_u128 << 76) | 8 << 76;
    bits = bits & !(3_u128 << 62) | 2 << 62;
    format!("2.25.{bits}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::testing::{Phantom, SHAPE, deform};
    use crate::dicom::{SeriesOptions, read_series};
    use crate::seg::{SegmentData, SegmentationKind, read};
    use crate::{Frame, Grid, Volume};

    fn series(phantom: &Phantom) -> (tempfile::TempDir, Series) {
        let folder = tempfile::tempdir().unwrap();
        phantom.write(folder.path());
        let series = read_series(folder.path(), &SeriesOptions::new()).unwrap();
        (folder, series)
    }

    /// Two overlapping segments and an empty one; 5 x 4 pixels are no multiple of 8.
    fn masks(series: &Series) -> Vec<(NewSegment, Mask)> {
        let make = |f: fn([usize; 3]) -> bool| {
            Mask::from_fn(series.volume.grid().clone(), series.volume.frame().clone(), |i| u8::from(f(i)))
        };
        let organ =
            |label: &str| NewSegment::new(label, Code::organ(), Code::new("10200004", "SCT", "Liver"));
        vec![
            (organ("Liver"), make(|[i, j, k]| (i + j) % 2 == 0 && (1..4).contains(&k))),
            (organ("Tumor_1").algorithm("toy"), make(|[i, _, k]| i == 4 && k >= 3)),
            (organ("Nothing"), make(|_| false)),
        ]
    }

    #[test]
    fn masks_come_back_from_axial_and_oblique_series() {
        for phantom in [Phantom::axial(), Phantom::oblique()] {
            let (folder, series) = series(&phantom);
            let path = folder.path().join("seg.dcm");
            let masks = masks(&series);
            write(&path, &series, &masks, &WriteOptions::new()).unwrap();
            let object = read(&path).unwrap();
            assert_eq!(object.kind, SegmentationKind::Binary);
            assert_eq!(object.frame_of_reference.as_deref(), Some("1.2.3.9"));
            assert_eq!(object.referenced_series, ["1.2.3.4"]);
            assert_eq!(object.referenced_instances.len(), SHAPE[2]);
            assert_eq!(
                object.segments.iter().map(|s| s.label.as_str()).collect::<Vec<_>>(),
                ["Liver", "Tumor_1", "Nothing"]
            );
            assert_eq!((object.plane_count(1), object.plane_count(2), object.plane_count(3)), (3, 2, 0));
            assert_eq!(object.segment("tumor_1").unwrap().algorithm_type, "AUTOMATIC");
            let decoded = object.decode_onto(series.volume.grid(), series.volume.frame()).unwrap();
            for (found, (_, mask)) in decoded.iter().zip(&masks) {
                assert_eq!(&found.mask(), mask, "{}", found.segment.label);
                assert!(!found.resampled && found.outside == 0);
            }
            assert!(decoded[2].is_empty() && !decoded[0].is_empty());
            // The segmentation in the folder is no slice of the series.
            assert_eq!(read_series(folder.path(), &SeriesOptions::new()).unwrap().slices.len(), SHAPE[2]);
        }
    }

    #[test]
    fn the_same_content_gives_the_same_file_and_other_content_other_uids() {
        let (folder, series) = series(&Phantom::axial());
        let bytes = |name: &str, options: &WriteOptions| {
            let path = folder.path().join(name);
            write(&path, &series, &masks(&series), options).unwrap();
            std::fs::read(path).unwrap()
        };
        let options = WriteOptions::new();
        assert_eq!(bytes("a.dcm", &options), bytes("b.dcm", &options));
        let other = derived_uid("instance", &series, &masks(&series)[..1], &options);
        assert_ne!(derived_uid("instance", &series, &masks(&series), &options), other);
        assert!(other.len() <= 64 && other.starts_with("2.25."));
    }

    #[test]
    fn flipped_and_cropped_references_receive_the_same_positions() {
        let (folder, series) = series(&Phantom::axial());
        let path = folder.path().join("seg.dcm");
        let masks = masks(&series);
        write(&path, &series, &masks, &WriteOptions::new()).unwrap();
        let object = read(&path).unwrap();
        // RAS instead of the series' LPS axes: x and y flipped.
        let flipped = crate::reorient(&masks[0].1, "RAS").unwrap();
        let found = &object.decode_onto(flipped.grid(), flipped.frame()).unwrap()[0];
        assert_eq!(found.mask(), flipped);
        // Without the first column and the first two slices.
        let part = series.volume.grid().shifted([1, 0, 2], [4, 4, 3]).unwrap();
        let found = &object.decode_onto(&part, &Frame::default()).unwrap()[0];
        let inside = |i: [usize; 3]| masks[0].1.get([i[0] + 1, i[1], i[2] + 2]).unwrap();
        assert_eq!(found.mask().as_slice(), Mask::from_fn(part, Frame::default(), inside).as_slice());
        assert_eq!(found.outside + found.mask().count(), masks[0].1.count());
    }

    #[test]
    fn another_grid_is_resampled_and_said_so() {
        let (folder, series) = series(&Phantom::axial());
        let path = folder.path().join("seg.dcm");
        write(&path, &series, &masks(&series), &WriteOptions::new()).unwrap();
        // Half the slice spacing: every SEG plane serves two slices; none is left empty.
        let own = series.volume.grid();
        let mut affine = *own.affine();
        affine.column_mut(2).scale_mut(0.5);
        let fine = Grid::new([SHAPE[0], SHAPE[1], 2 * SHAPE[2] - 1], affine).unwrap();
        let decoded = read(&path).unwrap().decode_onto(&fine, series.volume.frame()).unwrap();
        assert!(decoded.iter().all(|d| d.resampled));
        let counts: Vec<usize> = (0..9)
            .map(|k| decoded[0].mask().as_slice()[k * 20..(k + 1) * 20].iter().filter(|v| **v != 0).count())
            .collect();
        assert_eq!(counts, [0, 10, 10, 10, 10, 10, 10, 0, 0]);
        assert!(decoded[2].is_empty());
    }

    #[test]
    fn another_patient_is_refused_by_name() {
        let (folder, series) = series(&Phantom::axial());
        let path = folder.path().join("seg.dcm");
        write(&path, &series, &masks(&series), &WriteOptions::new()).unwrap();
        let text = read(&path).unwrap().decode_onto(series.volume.grid(), &Frame::from_uid("9.8.7"));
        let text = text.unwrap_err().to_string();
        for part in ["9.8.7", "1.2.3.9", "seg.dcm"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn fractional_objects_are_scaled_to_one() {
        let (folder, series) = series(&Phantom::axial());
        let path = folder.path().join("seg.dcm");
        write(&path, &series, &masks(&series)[1..2], &WriteOptions::new()).unwrap();
        deform(&path, |o| {
            o.put_str(tags::SEGMENTATION_TYPE, VR::CS, "FRACTIONAL");
            o.put(DataElement::new(tags::MAXIMUM_FRACTIONAL_VALUE, VR::US, PrimitiveValue::from(200_u16)));
            for (tag, value) in [(tags::BITS_ALLOCATED, 8_u16), (tags::BITS_STORED, 8), (tags::HIGH_BIT, 7)] {
                o.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
            }
            let pixels: Vec<u8> = (0..40).map(|i| if i == 7 { 150 } else { 0 }).collect();
            o.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pixels.into())));
        });
        let decoded = read(&path).unwrap().decode_onto(series.volume.grid(), series.volume.frame()).unwrap();
        let SegmentData::Fractional(volume) = &decoded[0].data else { panic!("not fractional") };
        assert_eq!(volume.get([2, 1, 3]), Some(0.75));
        assert_eq!(decoded[0].mask().count(), 1);
    }

    #[test]
    fn damaged_objects_are_errors_that_name_the_file() {
        let (folder, series) = series(&Phantom::axial());
        let path = folder.path().join("seg.dcm");
        type Change = fn(&mut InMemDicomObject);
        let cases: [(&str, Change); 5] = [
            ("truncated", |o| {
                o.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(vec![0_u8; 2].into())));
            }),
            ("functional group items", |o| {
                o.put_str(tags::NUMBER_OF_FRAMES, VR::IS, "99");
            }),
            ("SharedFunctionalGroupsSequence", |o| {
                o.remove_element(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
            }),
            ("SegmentSequence", |o| {
                o.remove_element(tags::SEGMENT_SEQUENCE);
            }),
            ("LABELMAP", |o| {
                o.put_str(tags::SEGMENTATION_TYPE, VR::CS, "LABELMAP");
            }),
        ];
        for (expected, change) in cases {
            write(&path, &series, &masks(&series), &WriteOptions::new()).unwrap();
            deform(&path, change);
            let text = read(&path).unwrap_err().to_string();
            let shared = expected.starts_with("Shared") && text.contains("PixelMeasuresSequence");
            assert!((text.contains(expected) || shared) && text.contains("seg.dcm"), "{expected}: {text}");
        }
        let slice = &series.slices[0].path;
        assert!(read(slice).unwrap_err().to_string().contains("not Segmentation Storage"));
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let (folder, series) = series(&Phantom::axial());
        let path = folder.path().join("seg.dcm");
        assert!(write(&path, &series, &[], &WriteOptions::new()).is_err());
        assert!(write(&path, &series, &masks(&series)[2..], &WriteOptions::new()).is_err());
        let other =
            Volume::filled(Grid::axis_aligned([2, 2, 2], [1.0; 3], [0.0; 3]).unwrap(), Frame::default(), 1);
        let segment = masks(&series)[0].0.clone();
        assert!(write(&path, &series, &[(segment, other)], &WriteOptions::new()).is_err());
        assert!(!path.exists());
    }

    #[test]
    fn decimal_strings_fit_and_keep_their_value() {
        for value in [
            0.1 + 0.2,
            -235.199997,
            1e-20,
            -0.123_456_789_012_345_68,
            123456.7890123456,
            1.0 / 3.0,
            0.00001234567890123,
        ] {
            let text = ds(value);
            assert!(text.len() <= 16, "{text}");
            let back: f64 = text.parse().unwrap();
            assert!((back - value).abs() <= 1e-8 * value.abs().max(1e-6), "{value} {text}");
        }
        assert_eq!(ds(2.5), "2.5");
    }
}

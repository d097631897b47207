//! The attributes of a segmentation object.

use super::new_segment::{Code, NewSegment, WriteOptions};
use crate::dicom::Series;
use crate::dicom::attributes::Attributes;
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

/// Patient, study, series, equipment and the references to the source.
pub(super) fn put_identity(
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
pub(super) fn put_image(object: &mut InMemDicomObject, series: &Series, frames: usize) {
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
pub(super) fn put_groups(
    object: &mut InMemDicomObject,
    series: &Series,
    planes: &[(usize, usize)],
    instance_uid: &str,
) {
    object.put(sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, [shared_groups(series)]));
    let frames = planes.iter().map(|&(segment, slice)| frame_groups(series, segment, slice));
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

fn decimals(values: &[f64]) -> String {
    values.iter().map(|v| ds(*v)).collect::<Vec<_>>().join("\\")
}

/// The spacing and the orientation of all frames.
fn shared_groups(series: &Series) -> InMemDicomObject {
    let grid = series.volume.grid();
    let (spacing, direction) = (grid.spacing(), grid.direction());
    // RAS+ to DICOM's LPS+.
    let axis = |c: usize| [-direction[(0, c)], -direction[(1, c)], direction[(2, c)]];
    let mut measures = InMemDicomObject::new_empty();
    measures.put_str(tags::PIXEL_SPACING, VR::DS, decimals(&[spacing[1], spacing[0]]));
    measures.put_str(tags::SLICE_THICKNESS, VR::DS, ds(spacing[2]));
    measures.put_str(tags::SPACING_BETWEEN_SLICES, VR::DS, ds(spacing[2]));
    let mut orientation = InMemDicomObject::new_empty();
    orientation.put_str(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, decimals(&[axis(0), axis(1)].concat()));
    let mut shared = InMemDicomObject::new_empty();
    shared.put(sequence(tags::PIXEL_MEASURES_SEQUENCE, [measures]));
    shared.put(sequence(tags::PLANE_ORIENTATION_SEQUENCE, [orientation]));
    shared
}

/// The segment, the position and the source of one frame.
fn frame_groups(series: &Series, segment: usize, slice: usize) -> InMemDicomObject {
    let mut content = InMemDicomObject::new_empty();
    let index = [segment as u32 + 1, slice as u32 + 1];
    let index = PrimitiveValue::U32(index[..].into());
    content.put(DataElement::new(tags::DIMENSION_INDEX_VALUES, VR::UL, index));
    let mut position = InMemDicomObject::new_empty();
    position.put_str(tags::IMAGE_POSITION_PATIENT, VR::DS, decimals(&series.slices[slice].position));
    let mut identification = InMemDicomObject::new_empty();
    let number = PrimitiveValue::from(segment as u16 + 1);
    identification.put(DataElement::new(tags::REFERENCED_SEGMENT_NUMBER, VR::US, number));
    let source = &series.slices[slice];
    let mut image = reference(&series.class_uid, &source.instance_uid);
    if let Some(frame) = source.frame {
        image.put_str(tags::REFERENCED_FRAME_NUMBER, VR::IS, frame.to_string());
    }
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
}

pub(super) fn segment_item(number: usize, segment: &NewSegment) -> InMemDicomObject {
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

pub(super) fn sequence(
    tag: Tag,
    items: impl IntoIterator<Item = InMemDicomObject>,
) -> DataElement<InMemDicomObject> {
    let items: Vec<InMemDicomObject> = items.into_iter().collect();
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// A decimal string: at most 16 characters, as exact as they allow.
pub(super) fn ds(value: f64) -> String {
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

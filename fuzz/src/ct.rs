//! The CT on which segmentations lie.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use oncograph_imaging::dicom::{Series, SeriesOptions, read_series};

/// Five slices of 12 x 16 pixels, with the place and the identifiers of the CT of the cases' segmentations.
pub fn series() -> Series {
    let folder = crate::empty_folder("ct");
    for k in 0..5_u16 {
        let mut slice = InMemDicomObject::new_empty();
        let root = "1.2.826.0.1.3680043.8.498.7777";
        let instance = format!("{root}.1.{}", k + 1);
        let texts: [(Tag, VR, String); 12] = [
            (tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE.into()),
            (tags::SOP_INSTANCE_UID, VR::UI, instance.clone()),
            (tags::STUDY_INSTANCE_UID, VR::UI, format!("{root}.0")),
            (tags::SERIES_INSTANCE_UID, VR::UI, format!("{root}.1")),
            (tags::FRAME_OF_REFERENCE_UID, VR::UI, format!("{root}.5")),
            (tags::MODALITY, VR::CS, "CT".into()),
            (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2".into()),
            (tags::PIXEL_SPACING, VR::DS, "0.9\\0.8".into()),
            (tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0".into()),
            (tags::IMAGE_POSITION_PATIENT, VR::DS, format!("-30\\-20\\{}", 100.0 + 2.5 * f64::from(k))),
            (tags::RESCALE_SLOPE, VR::DS, "1".into()),
            (tags::RESCALE_INTERCEPT, VR::DS, "-1000".into()),
        ];
        texts.into_iter().for_each(|(tag, vr, text)| drop(slice.put_str(tag, vr, text)));
        let numbers = [
            (tags::ROWS, 12),
            (tags::COLUMNS, 16),
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::BITS_ALLOCATED, 16),
            (tags::BITS_STORED, 16),
            (tags::HIGH_BIT, 15),
            (tags::PIXEL_REPRESENTATION, 0_u16),
        ];
        for (tag, number) in numbers {
            slice.put(DataElement::new(tag, VR::US, PrimitiveValue::from(number)));
        }
        let pixels: Vec<u16> = (0..12 * 16).map(|i| i + k).collect();
        slice.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())));
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .media_storage_sop_class_uid(uids::CT_IMAGE_STORAGE)
            .media_storage_sop_instance_uid(instance);
        let object = slice.with_meta(meta).expect("a table of meta information");
        object.write_to_file(folder.join(format!("{k}.dcm"))).expect("a temporary file");
    }
    read_series(folder, &SeriesOptions::new()).expect("a series")
}

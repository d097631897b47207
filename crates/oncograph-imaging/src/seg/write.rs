//! Writing BINARY segmentation objects.

use super::dataset::{put_groups, put_identity, put_image, segment_item, sequence};
use super::new_segment::{NewSegment, WriteOptions};
use super::read::bad;
use crate::dicom::Series;
use crate::dicom::attributes::with_causes;
use crate::error::{Error, Result};
use crate::volume::Mask;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use oncograph_core::write_file_with;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// Writes masks on a series' grid as a BINARY SEG object that refers to the series.
///
/// Empty slices are left out. Segments are numbered from 1 in the given order and may overlap. Patient and study
/// are copied from the series. The file appears under its name only when it is complete.
///
/// # Errors
/// Options out of range, no segment, a mask on another grid, masks that are all empty (a SEG object needs one plane), or a file that
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
    options.validate()?;
    if segments.is_empty() || segments.len() > usize::from(u16::MAX) {
        return Err(Error::argument("seg::write", "segments", "1 to 65535 segments", segments.len()));
    }
    for (_, mask) in segments {
        series.volume.require_same_space("seg::write", mask)?;
    }
    let planes = planes_of(segments);
    if planes.is_empty() {
        return Err(Error::argument(
            "seg::write",
            "segments",
            "masks with at least one foreground voxel",
            "empty masks",
        ));
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
    write_file_with(path, |file| object.write_all(file).map_err(|e| std::io::Error::other(with_causes(&e))))?;
    Ok(())
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
    use crate::seg::dataset::ds;
    use crate::seg::{Code, DecodeOptions, SegmentData, SegmentationKind, read};
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
    fn another_grid_is_refused_and_resampled_on_request() {
        let (folder, series) = series(&Phantom::axial());
        let path = folder.path().join("seg.dcm");
        write(&path, &series, &masks(&series), &WriteOptions::new()).unwrap();
        // Half the slice spacing: every SEG plane serves two slices; none is left empty.
        let own = series.volume.grid();
        let mut affine = *own.affine();
        affine.column_mut(2).scale_mut(0.5);
        let fine = Grid::new([SHAPE[0], SHAPE[1], 2 * SHAPE[2] - 1], affine).unwrap();
        let object = read(&path).unwrap();
        let text = object.decode_onto(&fine, series.volume.frame()).unwrap_err().to_string();
        assert!(text.contains("seg.dcm") && text.contains("2.5 mm apart"), "{text}");
        let options = DecodeOptions::new().resample(true);
        let decoded = object.decode_onto_with(&fine, series.volume.frame(), &options).unwrap();
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
            ("SURFACE", |o| {
                o.put_str(tags::SEGMENTATION_TYPE, VR::CS, "SURFACE");
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

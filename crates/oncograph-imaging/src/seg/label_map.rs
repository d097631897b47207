//! Label map segmentations (2024): one number in each pixel instead of one plane for each segment.

use super::read::{Plane, Segment, bad};
use crate::dicom::attributes::Attributes;
use crate::dicom::decode_pixels;
use crate::error::Result;
use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;
use std::path::Path;

/// The labels, of 8 or 16 bits.
pub(super) fn labels_of(object: &DefaultDicomObject, path: &Path, count: usize) -> Result<Vec<u16>> {
    let decoded = decode_pixels(object, path)?;
    let data = decoded.data();
    let labels: Vec<u16> = match decoded.bits_allocated() {
        8 => data.iter().map(|b| u16::from(*b)).collect(),
        16 => data.as_chunks::<2>().0.iter().map(|w| u16::from_le_bytes(*w)).collect(),
        bits => return Err(bad(path, format!("a LABELMAP object with {bits} bits a pixel"))),
    };
    match labels.len() {
        n if n < count => Err(bad(path, format!("truncated: {n} pixels where {count} are needed"))),
        _ => Ok(labels),
    }
}

/// The planes with one segment each, as other segmentations have them, and their pixels: 0 or 1.
pub(super) fn segments_apart(
    a: Attributes<'_>,
    segments: &[Segment],
    (planes, size): (Vec<Plane>, usize),
    labels: &[u16],
) -> Result<(Vec<Plane>, Vec<u8>)> {
    // Pixels of no segment; 0 unless stated.
    let background = a.integer(tags::PIXEL_PADDING_VALUE).and_then(|v| u16::try_from(v).ok());
    let (mut apart, mut pixels) = (vec![], vec![]);
    for (plane, labels) in planes.iter().zip(labels.chunks(size)) {
        let mut present: Vec<u16> =
            labels.iter().copied().filter(|l| *l != 0 && Some(*l) != background).collect();
        present.sort_unstable();
        present.dedup();
        for label in present {
            if segments.iter().all(|s| s.number != label) {
                return Err(bad(
                    a.path,
                    format!("a pixel has label {label}, a segment that is not described"),
                ));
            }
            apart.push(Plane { segment: label, ..plane.clone() });
            pixels.extend(labels.iter().map(|l| u8::from(*l == label)));
        }
    }
    Ok((apart, pixels))
}

//! Stored values, decoded and rescaled.

use super::attributes::{Attributes, with_causes};
use super::claimed;
use super::encoding;
use super::frames::is_ct;
use super::part10::{self, Until};
use crate::error::{Error, Result};
use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;
use dicom_pixeldata::{DecodedPixelData, PixelDecoder, PixelRepresentation};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// A frame that is wanted: its place in the file, how its numbers are scaled, and where they go, row by row.
pub(super) struct Wanted<'a> {
    pub frame: usize,
    pub rescale: Rescale,
    pub out: &'a mut [f32],
}

/// Reads frames of a file as `stored * slope + intercept`; `padding` takes the place of pixels outside of the image
/// (PixelPaddingValue). Returns how many bytes follow the pixels.
pub(super) fn read_into(
    path: &Path,
    frames: usize,
    wanted: Vec<Wanted<'_>>,
    padding: Option<f32>,
) -> Result<usize> {
    let object = open(path)?;
    let decoded = decode(&object, path)?;
    let format = Format::of(&decoded, path)?;
    let bytes = decoded.data();
    let Some(size) = wanted.first().map(|w| w.out.len() * format.width()) else { return Ok(0) };
    if bytes.len() < size * frames {
        return Err(bad(path, format!("{} bytes of pixels where {} are needed", bytes.len(), size * frames)));
    }
    let outside =
        padding.and_then(|value| Some((padding_of(Attributes::new(&object, path), format)?, value)));
    for Wanted { frame, rescale, out } in wanted {
        let convert = |raw: u32| {
            let stored = format.extend_sign(raw);
            match &outside {
                Some((range, value)) if range.contains(&stored) => *value,
                _ => rescale.apply(stored),
            }
        };
        let bytes = &bytes[frame * size..(frame + 1) * size];
        match format.allocated {
            8 => out.iter_mut().zip(bytes).for_each(|(v, b)| *v = convert(u32::from(*b))),
            16 => {
                let (words, _) = bytes.as_chunks::<2>();
                out.iter_mut().zip(words).for_each(|(v, w)| *v = convert(u32::from(u16::from_le_bytes(*w))));
            }
            _ => {
                let (words, _) = bytes.as_chunks::<4>();
                out.iter_mut().zip(words).for_each(|(v, w)| *v = convert(u32::from_le_bytes(*w)));
            }
        }
    }
    let extra = bytes.len() - size * frames;
    // One byte makes an odd length even.
    Ok(if extra > 1 { extra } else { 0 })
}

/// Reads a whole object.
///
/// The parser takes the end of the file for the end of compressed pixel data, and codecs fill in what is missing: a
/// truncated file would pass for a good one. A complete one has a closing mark behind the last fragment.
pub(crate) fn open(path: &Path) -> Result<DefaultDicomObject> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let end = bytes[bytes.len().saturating_sub(1 << 16)..].to_vec();
    let object = part10::parse(bytes, path, Until::End)?;
    let fragments = object.get(tags::PIXEL_DATA).and_then(|e| e.value().fragments());
    match fragments.map(<[_]>::last) {
        Some(None) => Err(bad(path, "truncated: no compressed pixel data")),
        Some(Some(last)) if end.ends_with(&last[last.len().saturating_sub(end.len())..]) => {
            Err(bad(path, "truncated within the compressed pixel data"))
        }
        _ => Ok(object),
    }
}

/// Reads an object's pixels and forgets them.
pub(super) fn check(path: &Path) -> Result<()> {
    let object = open(path)?;
    let (a, decoded) = (Attributes::new(&object, path), decode(&object, path)?);
    let pixels = a.required_size(tags::ROWS)?.saturating_mul(a.required_size(tags::COLUMNS)?);
    let needed = pixels.saturating_mul(Format::of(&decoded, path)?.width());
    match decoded.data().len() {
        n if n < needed => Err(bad(path, format!("{n} bytes of pixels where {needed} are needed"))),
        _ => Ok(()),
    }
}

/// The pixels in native form, without any look-up: slope and intercept are ours to apply, once.
///
/// Codecs see bytes from anywhere; one that panics on damaged input must not take the process with it.
pub(crate) fn decode<'a>(object: &'a DefaultDicomObject, path: &Path) -> Result<DecodedPixelData<'a>> {
    claimed::check(object, path)?;
    match catch_unwind(AssertUnwindSafe(|| object.decode_pixel_data())) {
        Ok(Ok(decoded)) => Ok(decoded),
        Ok(Err(e)) => Err(encoding::refusal(object, path, with_causes(&e))),
        Err(_) => Err(bad(path, "the pixel data are damaged: their decoder gave up")),
    }
}

/// How a pixel is stored.
#[derive(Debug, Clone, Copy)]
struct Format {
    allocated: u16,
    stored: u16,
    signed: bool,
}

impl Format {
    fn of(decoded: &DecodedPixelData<'_>, path: &Path) -> Result<Self> {
        let (allocated, stored, high) = (decoded.bits_allocated(), decoded.bits_stored(), decoded.high_bit());
        if !matches!(allocated, 8 | 16 | 32)
            || stored == 0
            || stored > allocated
            || high.checked_add(1) != Some(stored)
        {
            let detail = format!("bits allocated {allocated}, stored {stored}, high bit {high}");
            return Err(Error::unsupported(path, "DICOM", detail));
        }
        Ok(Self { allocated, stored, signed: decoded.pixel_representation() == PixelRepresentation::Signed })
    }

    /// Bytes of a pixel.
    fn width(self) -> usize {
        usize::from(self.allocated / 8)
    }

    /// The low `stored` bits as a number; the bits above may hold overlays.
    fn extend_sign(self, raw: u32) -> i64 {
        let shift = 32 - u32::from(self.stored);
        let raw = raw << shift;
        if self.signed { i64::from(raw.cast_signed() >> shift) } else { i64::from(raw >> shift) }
    }
}

/// The stored numbers of pixels outside of the image: PixelPaddingValue, to PixelPaddingRangeLimit where there is one.
fn padding_of(a: Attributes<'_>, format: Format) -> Option<RangeInclusive<i64>> {
    // Written as a signed or as an unsigned number, whatever the pixels are: the same bits.
    let number = |tag| Some(format.extend_sign(a.integer(tag)? as u32));
    let value = number(tags::PIXEL_PADDING_VALUE)?;
    let limit = number(tags::PIXEL_PADDING_RANGE_LIMIT).unwrap_or(value);
    Some(value.min(limit)..=value.max(limit))
}

/// From stored numbers to values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rescale {
    slope: f64,
    intercept: f64,
}

impl Rescale {
    fn apply(&self, stored: i64) -> f32 {
        (stored as f64 * self.slope + self.intercept) as f32
    }
}

/// Slope and intercept that stand in `values` for an object: those of a CT must be there, other images may do without.
pub(super) fn rescale(object: Attributes<'_>, values: Attributes<'_>) -> Result<Rescale> {
    if object.first_item(tags::MODALITY_LUT_SEQUENCE).is_some() {
        let detail = "a modality look-up table instead of rescale slope and intercept".to_owned();
        return Err(Error::unsupported(object.path, "DICOM", detail));
    }
    let slope = values.floats::<1>(tags::RESCALE_SLOPE)?;
    let intercept = values.floats::<1>(tags::RESCALE_INTERCEPT)?;
    if is_ct(object) {
        slope.ok_or_else(|| object.missing(tags::RESCALE_SLOPE))?;
        intercept.ok_or_else(|| object.missing(tags::RESCALE_INTERCEPT))?;
    }
    let (slope, intercept) = (slope.map_or(1.0, |v| v[0]), intercept.map_or(0.0, |v| v[0]));
    if slope == 0.0 {
        return Err(bad(object.path, "RescaleSlope is 0"));
    }
    Ok(Rescale { slope, intercept })
}

fn bad(path: &Path, detail: impl std::fmt::Display) -> Error {
    Error::format(path, "DICOM", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_extend_from_the_stored_bits() {
        let extend = |raw, stored, signed| Format { allocated: 32, stored, signed }.extend_sign(raw);
        assert_eq!(extend(0x0fff, 12, true), -1);
        assert_eq!(extend(0x0fff, 12, false), 4095);
        assert_eq!(extend(0xf001, 12, false), 1);
        assert_eq!(extend(0x8000, 16, true), -32768);
        assert_eq!(extend(0xffff_ffff, 32, true), -1);
        assert_eq!(extend(0x80, 8, true), -128);
    }

    #[test]
    fn bits_that_are_none_are_refused() {
        use crate::dicom::testing::{Phantom, deform};
        use crate::dicom::{SeriesOptions, read_series, survey};
        use dicom_core::{DataElement, PrimitiveValue, VR};
        for (allocated, stored, high) in [(16, 12, 65_535), (16, 0, 65_535), (16, 17, 16), (24, 12, 11)] {
            let folder = tempfile::tempdir().unwrap();
            for path in Phantom::axial().write(folder.path()) {
                deform(&path, |o| {
                    let numbers = [
                        (tags::BITS_ALLOCATED, allocated),
                        (tags::BITS_STORED, stored),
                        (tags::HIGH_BIT, high),
                    ];
                    for (tag, number) in numbers {
                        o.put(DataElement::new(tag, VR::US, PrimitiveValue::from(number as u16)));
                    }
                    o.put_str(tags::NUMBER_OF_FRAMES, VR::IS, i64::MAX.to_string());
                });
            }
            assert!(
                read_series(folder.path(), &SeriesOptions::new()).is_err(),
                "{allocated} {stored} {high}"
            );
            assert_eq!(survey(folder.path()).unwrap().series[0].images, usize::MAX);
            for path in std::fs::read_dir(folder.path()).unwrap() {
                deform(&path.unwrap().path(), |o| {
                    o.remove_element(tags::NUMBER_OF_FRAMES);
                });
            }
            let text = read_series(folder.path(), &SeriesOptions::new()).unwrap_err().to_string();
            assert!(text.contains(".dcm"), "{text}");
        }
    }

    #[test]
    fn padding_is_masked_on_request_and_bytes_behind_the_pixels_are_ignored() {
        use crate::dicom::testing::{Phantom, deform};
        use crate::dicom::{SeriesOptions, read_series};
        use dicom_core::{DataElement, PrimitiveValue, VR};
        for (signed, limit) in [(false, None), (true, None), (false, Some(2_u16))] {
            let phantom = if signed { Phantom::axial().signed() } else { Phantom::axial() };
            let folder = tempfile::tempdir().unwrap();
            let stored = if signed { -700_i16 } else { 0 };
            for path in phantom.write(folder.path()) {
                deform(&path, |o| {
                    // As an unsigned number, whatever the pixels are.
                    let value = PrimitiveValue::from(stored.cast_unsigned());
                    o.put(DataElement::new(tags::PIXEL_PADDING_VALUE, VR::US, value));
                    if let Some(limit) = limit {
                        let value = PrimitiveValue::from(limit);
                        o.put(DataElement::new(tags::PIXEL_PADDING_RANGE_LIMIT, VR::US, value));
                    }
                    let pixels = o.get(tags::PIXEL_DATA).unwrap().to_multi_int::<u16>().unwrap();
                    let longer: Vec<u16> = pixels.into_iter().chain([0; 9]).collect();
                    o.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(longer.into())));
                });
            }
            let plain = read_series(folder.path(), &SeriesOptions::new()).unwrap();
            assert_eq!(plain.volume.as_slice(), phantom.expected());
            assert!(
                plain.notes[0].contains("5 files have bytes behind") && plain.notes[0].contains("(18 in")
            );
            let options = SeriesOptions::new().padding(-9999.0);
            let masked = read_series(folder.path(), &options).unwrap().volume;
            let count = masked.as_slice().iter().filter(|v| **v == -9999.0).count();
            assert_eq!(count, if limit.is_some() { 3 } else { 1 }, "{signed} {limit:?}");
        }
    }
}

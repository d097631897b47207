//! One slice's stored values, decoded and rescaled.

use super::attributes::{Attributes, with_causes};
use crate::error::{Error, Result};
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, from_reader};
use dicom_pixeldata::{DecodedPixelData, PixelDecoder};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Reads the slice's pixels into `out` (row by row) as `stored * slope + intercept`.
pub(super) fn read_into(path: &Path, out: &mut [f32]) -> Result<()> {
    let object = open(path)?;
    let rescale = rescale(Attributes::new(&object, path))?;
    let decoded = decode(&object, path)?;
    let bits = (decoded.bits_allocated(), decoded.bits_stored(), decoded.high_bit());
    let (allocated, stored, high) = bits;
    if !matches!(allocated, 8 | 16 | 32) || stored == 0 || stored > allocated || high + 1 != stored {
        let detail = format!("bits allocated {allocated}, stored {stored}, high bit {high}");
        return Err(Error::unsupported(path, "DICOM", detail));
    }
    let bytes = decoded.data();
    let needed = out.len() * usize::from(allocated / 8);
    // One padding byte makes an odd length even.
    if bytes.len() < needed || bytes.len() > needed + 1 {
        return Err(bad(path, format!("{} bytes of pixels where {needed} are needed", bytes.len())));
    }
    let signed = decoded.pixel_representation() == dicom_pixeldata::PixelRepresentation::Signed;
    let convert = |raw: u32| rescale.apply(extend_sign(raw, stored, signed));
    match allocated {
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
    Ok(())
}

/// Reads a whole object.
///
/// The parser takes the end of the file for the end of compressed pixel data, and codecs fill in what is missing: a
/// truncated file would pass for a good one. A complete one has a closing mark behind the last fragment.
pub(crate) fn open(path: &Path) -> Result<DefaultDicomObject> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let object = from_reader(bytes.as_slice()).map_err(|e| bad(path, with_causes(&e)))?;
    let fragments = object.get(tags::PIXEL_DATA).and_then(|e| e.value().fragments());
    match fragments.map(<[_]>::last) {
        Some(None) => Err(bad(path, "truncated: no compressed pixel data")),
        Some(Some(last)) if bytes.ends_with(last) => {
            Err(bad(path, "truncated within the compressed pixel data"))
        }
        _ => Ok(object),
    }
}

/// The pixels in native form, without any look-up: slope and intercept are ours to apply, once.
///
/// Codecs see bytes from anywhere; one that panics on damaged input must not take the process with it.
pub(crate) fn decode<'a>(object: &'a DefaultDicomObject, path: &Path) -> Result<DecodedPixelData<'a>> {
    match catch_unwind(AssertUnwindSafe(|| object.decode_pixel_data())) {
        Ok(Ok(decoded)) => Ok(decoded),
        Ok(Err(e)) => Err(bad(path, with_causes(&e))),
        Err(_) => Err(bad(path, "the pixel data are damaged: their decoder gave up")),
    }
}

/// The low `stored` bits as a number; the bits above may hold overlays.
fn extend_sign(raw: u32, stored: u16, signed: bool) -> i64 {
    let shift = 32 - u32::from(stored);
    let raw = raw << shift;
    if signed { i64::from(raw.cast_signed() >> shift) } else { i64::from(raw >> shift) }
}

struct Rescale {
    slope: f64,
    intercept: f64,
}

impl Rescale {
    fn apply(&self, stored: i64) -> f32 {
        (stored as f64 * self.slope + self.intercept) as f32
    }
}

/// Slope and intercept. A CT without them has no Hounsfield units; other modalities may leave them out.
fn rescale(a: Attributes<'_>) -> Result<Rescale> {
    if a.first_item(tags::MODALITY_LUT_SEQUENCE).is_some() {
        let detail = "a modality look-up table instead of rescale slope and intercept".to_owned();
        return Err(Error::unsupported(a.path, "DICOM", detail));
    }
    let slope = a.floats::<1>(tags::RESCALE_SLOPE)?;
    let intercept = a.floats::<1>(tags::RESCALE_INTERCEPT)?;
    if a.text(tags::MODALITY).as_deref() == Some("CT") {
        slope.ok_or_else(|| a.missing(tags::RESCALE_SLOPE))?;
        intercept.ok_or_else(|| a.missing(tags::RESCALE_INTERCEPT))?;
    }
    let (slope, intercept) = (slope.map_or(1.0, |v| v[0]), intercept.map_or(0.0, |v| v[0]));
    if slope == 0.0 {
        return Err(bad(a.path, "RescaleSlope is 0"));
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
        assert_eq!(extend_sign(0x0fff, 12, true), -1);
        assert_eq!(extend_sign(0x0fff, 12, false), 4095);
        assert_eq!(extend_sign(0xf001, 12, false), 1);
        assert_eq!(extend_sign(0x8000, 16, true), -32768);
        assert_eq!(extend_sign(0xffff_ffff, 32, true), -1);
        assert_eq!(extend_sign(0x80, 8, true), -128);
    }
}

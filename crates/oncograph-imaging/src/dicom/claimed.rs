//! Whether a file can hold as many pixels as it claims, before room is made for them.

use super::attributes::Attributes;
use crate::error::{Error, Result};
use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;
use std::path::Path;

/// Pixels of a byte: nearly empty images are compressed to a two-hundredth.
const PER_BYTE: u64 = 250;
/// Pixels that need no reason: an empty image of 4096 x 4096 may be a few bytes.
const FEW: u64 = 1 << 24;
/// Tiles of a JPEG 2000 image, of which each takes some kilobytes.
const TILES: u64 = 4096;

/// Refuses `pixels` in files of so many bytes.
pub(super) fn refuse_beyond(path: &Path, pixels: u64, bytes: u64) -> Result<()> {
    match pixels > bytes.saturating_mul(PER_BYTE).saturating_add(FEW) {
        true => {
            let detail =
                format!("{pixels} pixels are claimed, and {bytes} bytes are there: the file is damaged");
            Err(Error::format(path, "DICOM", detail))
        }
        false => Ok(()),
    }
}

/// Refuses an object whose attributes, or whose compressed images themselves, claim more pixels than they can hold.
pub(super) fn check(object: &DefaultDicomObject, path: &Path) -> Result<()> {
    let a = Attributes::new(object, path);
    let Some(pixels) = a.element(tags::PIXEL_DATA) else { return Ok(()) };
    let size = |tag| a.integer(tag).and_then(|n| u64::try_from(n).ok()).unwrap_or(1).max(1);
    let claimed = [tags::ROWS, tags::COLUMNS, tags::SAMPLES_PER_PIXEL, tags::NUMBER_OF_FRAMES].map(size);
    let claimed = claimed.into_iter().fold(1, u64::saturating_mul);
    let Some(fragments) = pixels.value().fragments() else {
        let bytes = pixels.value().primitive().map_or(0, dicom_core::PrimitiveValue::calculate_byte_len);
        return refuse_beyond(path, claimed, bytes as u64);
    };
    refuse_beyond(path, claimed, fragments.iter().map(|f| f.len() as u64).sum())?;
    let mut all = 0_u64;
    for (fragment, image) in fragments.iter().filter_map(|f| Some((f, Codestream::of(f)?))) {
        // Frames are decoded one after the other, and one may have several fragments.
        all = all.saturating_add(image.pixels);
        if image.tiles > TILES {
            let detail = format!("{} tiles in an image: the compressed pixels are damaged", image.tiles);
            return Err(Error::format(path, "DICOM", detail));
        }
        refuse_beyond(path, image.pixels, fragment.len() as u64)?;
    }
    refuse_beyond(path, all, fragments.iter().map(|f| f.len() as u64).sum())
}

/// What a compressed image says of itself.
#[derive(Debug, PartialEq)]
struct Codestream {
    /// Of all components.
    pixels: u64,
    tiles: u64,
}

impl Codestream {
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes.first_chunk()? {
            [0xff, 0x4f, 0xff, 0x51] => Self::jpeg_2000(&bytes[4..]),
            [0xff, 0xd8, ..] => Self::jpeg(&bytes[2..]),
            _ => None,
        }
    }

    /// The segment SIZ (ISO 15444-1, A.5.1).
    fn jpeg_2000(siz: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from(u32::from_be_bytes(*siz.get(at..)?.first_chunk()?)));
        // The grid begins at an offset, from which sizes do not count.
        let [width, height] = [number(4)?, number(8)?];
        let tiles = |size: u64, tile: u64| size.div_ceil(tile.max(1));
        let components = u64::from(u16::from_be_bytes(*siz.get(36..)?.first_chunk()?));
        Some(Codestream {
            pixels: width.saturating_mul(height).saturating_mul(components.max(1)),
            tiles: tiles(width, number(20)?).saturating_mul(tiles(height, number(24)?)),
        })
    }

    /// The frame header (ISO 10918-1, B.2.2; that of JPEG-LS is laid out alike) behind other segments.
    fn jpeg(mut rest: &[u8]) -> Option<Self> {
        loop {
            let [0xff, marker] = *rest.first_chunk()? else { return None };
            let length = usize::from(u16::from_be_bytes(*rest.get(2..)?.first_chunk()?));
            if matches!(marker, 0xc0..=0xcf | 0xf7) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                let [_, h, i, v, w, components] = *rest.get(4..)?.first_chunk()?;
                let [height, width] = [[h, i], [v, w]].map(|size| u64::from(u16::from_be_bytes(size)));
                return Some(Codestream { pixels: height * width * u64::from(components).max(1), tiles: 1 });
            }
            rest = rest.get(2 + length..)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Phantom, deform};
    use super::super::{SeriesOptions, read_series};
    use super::*;
    use dicom_core::{DataElement, PrimitiveValue, VR};

    #[test]
    fn images_say_themselves_how_large_they_are() {
        let mut j2k = vec![0xff, 0x4f, 0xff, 0x51, 0, 41, 0, 0];
        for number in [512_u32, 256, 0, 0, 100, 100, 0, 0] {
            j2k.extend(number.to_be_bytes());
        }
        j2k.extend([0, 3]);
        assert_eq!(Codestream::of(&j2k), Some(Codestream { pixels: 512 * 256 * 3, tiles: 18 }));
        assert_eq!(Codestream::of(&j2k[..40]), None);
        let frame = [0xff, 0xc3, 0, 11, 16, 1, 0, 2, 0, 1];
        let jpeg = [&[0xff, 0xd8, 0xff, 0xc4, 0, 4, 9, 9][..], &frame].concat();
        assert_eq!(Codestream::of(&jpeg), Some(Codestream { pixels: 256 * 512, tiles: 1 }));
        assert_eq!((Codestream::of(&jpeg[..9]), Codestream::of(b"\xff\xd8\xff\xc4\0\0\0\0")), (None, None));
    }

    #[test]
    fn sizes_beyond_what_is_there_are_refused() {
        for phantom in [Phantom::axial(), Phantom::axial().rle(), Phantom::axial().jpeg_lossless()] {
            let folder = tempfile::tempdir().unwrap();
            for path in phantom.write(folder.path()) {
                deform(&path, |o| {
                    for tag in [tags::ROWS, tags::COLUMNS] {
                        o.put(DataElement::new(tag, VR::US, PrimitiveValue::from(60_000_u16)));
                    }
                });
            }
            let text = read_series(folder.path(), &SeriesOptions::new()).unwrap_err().to_string();
            assert!(text.contains("pixels are claimed") && text.contains(".dcm"), "{text}");
            let options = SeriesOptions::new().skip_unreadable(true);
            assert!(read_series(folder.path(), &options).unwrap_err().to_string().contains("no DICOM image"));
        }
    }
}

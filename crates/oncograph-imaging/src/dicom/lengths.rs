//! Whether the values of a data set are there, before it is parsed.
//!
//! The parser makes room for a value of the stated length, up to 4 GB, before it reads what there is, and calls itself once
//! more for each sequence within a sequence. Here its own tokens are walked through, without their values.

use super::attributes::name_of;
use dicom_core::{DataElementHeader, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::FileMetaTable;
use dicom_parser::StatefulDecode;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_transfer_syntax_registry::{TransferSyntaxIndex, TransferSyntaxRegistry};
use std::borrow::Cow;
use std::io::{Cursor, Read};

/// Sequences within sequences; those of structured reports are the deepest, with a few per heading.
const DEEPEST: usize = 128;

/// Refuses a file (with its preamble) of which a value before the attribute `until` is longer than what is left, or whose
/// sequences are nested too deep. What else is wrong is left to the parser.
pub(super) fn check(bytes: &[u8], until: Option<Tag>) -> Result<(), String> {
    let mut data = bytes.get(super::part10::PREAMBLE..).unwrap_or_default();
    let Ok(meta) = FileMetaTable::from_reader(&mut data) else { return Ok(()) };
    let Some(syntax) = TransferSyntaxRegistry.get(meta.transfer_syntax()) else { return Ok(()) };
    let mut data = Cow::Borrowed(data);
    if syntax.uid() == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
        let mut inflated = vec![];
        // What is wrong with it comes at its end, which need not be read.
        flate2::read::DeflateDecoder::new(&*data).read_to_end(&mut inflated).ok();
        data = Cow::Owned(inflated);
    }
    let Ok(mut reader) = LazyDataSetReader::new_with_ts(Cursor::new(&*data), syntax) else { return Ok(()) };
    // Sequences and items that are open, and sequences alone.
    let (mut open, mut depth) = (0_usize, 0_usize);
    let is_last = |tag: Tag, open: usize| open == 0 && until.is_some_and(|until| until <= tag);
    let mut last = Tag(0, 0);
    while let Some(Ok(token)) = reader.advance() {
        match &token {
            LazyDataToken::ElementHeader(header) if is_last(header.tag, open) => break,
            LazyDataToken::SequenceStart { tag, .. } if is_last(*tag, open) => break,
            LazyDataToken::PixelSequenceStart if is_last(tags::PIXEL_DATA, open) => break,
            LazyDataToken::ElementHeader(header) => last = header.tag,
            LazyDataToken::PixelSequenceStart => {
                (open, depth, last) = (open + 1, depth + 1, tags::PIXEL_DATA)
            }
            LazyDataToken::SequenceStart { tag, .. } => {
                (open, depth, last) = (open + 1, depth + 1, *tag);
                if depth > DEEPEST {
                    return Err(format!(
                        "sequences are nested more than {DEEPEST} deep: the file is damaged"
                    ));
                }
            }
            LazyDataToken::ItemStart { .. } => open += 1,
            LazyDataToken::SequenceEnd => (open, depth) = (open.saturating_sub(1), depth.saturating_sub(1)),
            LazyDataToken::ItemEnd => open = open.saturating_sub(1),
            LazyDataToken::LazyValue { header, decoder } => {
                let left = data.len() as u64 - decoder.position();
                there(last, header.len.get(), left)?;
                whole(header, left)?;
            }
            LazyDataToken::LazyItemValue { len, decoder } => {
                there(last, Some(*len), data.len() as u64 - decoder.position())?
            }
            _ => {}
        }
        let ended = matches!(token, LazyDataToken::ItemEnd) && open == 0;
        if token.skip().is_err() {
            break;
        }
        // The parser passes over an end without a beginning; this reader would be lost after one.
        if ended {
            reader = LazyDataSetReader::new(reader.into_decoder());
        }
    }
    Ok(())
}

/// Refuses half a number: the parser reads whole ones, and would take the rest for the beginning of the next attribute.
fn whole(header: &DataElementHeader, left: u64) -> Result<(), String> {
    let (length, vr) = (u64::from(header.len.0), header.vr());
    let bytes = match vr {
        VR::US | VR::SS | VR::OW => 2,
        VR::AT | VR::UL | VR::SL | VR::FL | VR::OL | VR::OF => 4,
        VR::FD | VR::OD | VR::SV | VR::UV | VR::OV => 8,
        _ => 1,
    };
    // At the end there is no next one.
    if length.is_multiple_of(bytes) || length >= left {
        return Ok(());
    }
    let name = name_of(header.tag);
    Err(format!(
        "{name} has a length of {length} bytes, which are no whole numbers ({vr}): the file is damaged"
    ))
}

fn there(tag: Tag, stated: Option<u32>, left: u64) -> Result<(), String> {
    match stated {
        Some(stated) if u64::from(stated) > left => Err(format!(
            "{} has a length of {stated} bytes, of which {left} are there: the file is truncated or damaged",
            name_of(tag)
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Phantom, element, implicit, parts};
    use super::super::{SeriesOptions, read_series, survey};
    use dicom_dictionary_std::uids;
    use std::io::Write;

    /// What is said of a series with `inserted` before the data sets of its files, of this transfer syntax if it is another.
    fn error_of(inserted: &[u8], syntax: Option<&str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        for path in Phantom::axial().write(folder.path()) {
            let [start, meta, data] = parts(&path);
            let data = [inserted, &data].concat();
            let bytes = match syntax {
                None => [start, meta, data].concat(),
                Some(syntax) => {
                    let mut object = dicom_object::open_file(&path).unwrap();
                    object.update_meta(|meta| meta.transfer_syntax = syntax.into());
                    let mut bytes = start;
                    object.meta().write(&mut bytes).unwrap();
                    let packed = syntax == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
                    let mut packer =
                        flate2::write::DeflateEncoder::new(vec![], flate2::Compression::default());
                    packer.write_all(&data).unwrap();
                    bytes.extend(if packed { packer.finish().unwrap() } else { inserted.to_vec() });
                    bytes
                }
            };
            std::fs::write(&path, bytes).unwrap();
        }
        // A survey lists what cannot be read.
        assert_eq!(survey(folder.path()).unwrap().unreadable.len(), 5);
        let text = read_series(folder.path(), &SeriesOptions::new()).unwrap_err().to_string();
        assert!(text.contains(".dcm"), "{text}");
        text
    }

    #[test]
    fn lengths_beyond_the_end_are_refused_before_room_is_made() {
        let long = |vr| element((8, 8), vr, 0xffff_fff0, b"ORIGINAL");
        for vr in [b"UT", b"UC", b"OB", b"OW", b"OF", b"UN"] {
            let text = error_of(&long(vr), None);
            assert!(
                text.contains("ImageType (0008,0008) has a length of 4294967280 bytes, of which"),
                "{text}"
            );
        }
        // Within an item, of a private attribute, and of the pixels.
        let item = element((0xfffe, 0xe000), b"UT", 0, &[]);
        let item = [&item[..4], &u32::MAX.to_le_bytes(), &long(b"UT")].concat();
        assert!(error_of(&element((8, 0x1115), b"SQ", u32::MAX, &item), None).contains("(0008,0008) has a"));
        assert!(error_of(&element((9, 0x1010), b"OB", 0x7fff_ffff, &[]), None).contains("(0009,1010) has a"));
        let implicit_one = implicit((8, 8), 0xffff_fff0, b"ORIGINAL");
        let packed = uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
        for (bytes, syntax) in [(implicit_one, uids::IMPLICIT_VR_LITTLE_ENDIAN), (long(b"UT"), packed)] {
            assert!(error_of(&bytes, Some(syntax)).contains("has a length of 4294967280"), "{syntax}");
        }
        let big: Vec<u8> = [&[0, 8, 0, 8][..], b"UT\0\0", &[0xff, 0xff, 0xff, 0xf0], b"ORIGINAL"].concat();
        assert!(error_of(&big, Some("1.2.840.10008.1.2.2")).contains("has a length of 4294967280"));
    }

    /// The rest would be taken for a tag, and what follows for a length of billions of bytes.
    #[test]
    fn half_a_number_is_refused_unless_nothing_follows() {
        let short = |vr: &[u8; 2], length: u8| {
            [&[8, 0, 8, 0][..], vr, &[length, 0], &vec![1; usize::from(length)]].concat()
        };
        for (vr, length) in
            [(b"UL", 2), (b"US", 3), (b"AT", 6), (b"FD", 4), (b"FL", 2), (b"SL", 5), (b"SS", 1)]
        {
            let text = error_of(&short(vr, length), None);
            assert!(text.contains("(0008,0008) has a length") && text.contains("no whole numbers"), "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        for path in Phantom::axial().write(folder.path()) {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.extend([&[0xfc, 0xff, 0xfc, 0xff][..], b"OW\0\0", &[3, 0, 0, 0, 0, 0, 0]].concat());
            std::fs::write(&path, bytes).unwrap();
        }
        assert_eq!(read_series(folder.path(), &SeriesOptions::new()).unwrap().slices.len(), 5);
    }

    #[test]
    fn sequences_without_end_are_refused() {
        let undefined = implicit((0xfffe, 0xe000), u32::MAX, &[]);
        let level = element((8, 0x1115), b"SQ", u32::MAX, &undefined);
        assert!(error_of(&level.repeat(20_000), None).contains("nested more than 128 deep"));
        let level = implicit((8, 0x1115), u32::MAX, &undefined);
        let text = error_of(&level.repeat(20_000), Some(uids::IMPLICIT_VR_LITTLE_ENDIAN));
        assert!(text.contains("nested more than 128 deep"), "{text}");
    }

    #[test]
    fn an_end_without_a_beginning_does_not_hide_what_follows() {
        let end = implicit((0xfffe, 0xe00d), 0, &[]);
        let bytes = [end, element((8, 8), b"UT", 0xffff_fff0, b"ORIGINAL")].concat();
        assert!(error_of(&bytes, None).contains("has a length of 4294967280"));
    }
}

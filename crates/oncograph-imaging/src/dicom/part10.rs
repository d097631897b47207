//! From the bytes of a file to those of a DICOM file as the standard wants it (PS3.10).
//!
//! What field files lack is put right before the parser sees them: the preamble, the file meta information or its
//! length, and attributes that passed through a system which did not know them ([`unknown_vr`](super::unknown_vr)).

use super::attributes::with_causes;
use super::lengths;
use super::unknown_vr;
use crate::error::{Error, Result};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, OpenFileOptions};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

pub(super) const PREAMBLE: usize = 128;
const MARK: &[u8] = b"DICM";

/// Up to where a file is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// What tells objects and series apart, to the number of columns.
    Identity,
    /// All before the pixels.
    Pixels,
    End,
}

/// What is read of a file at first: nearly always more than its header has.
const START: u64 = 1 << 16;

/// Whether a file that begins so is DICOM: the mark behind the preamble, or a data set without either.
pub(super) fn is_dicom(start: &[u8]) -> bool {
    body(start).is_some()
}

/// The first bytes of a file.
pub(super) fn start_of(path: &Path) -> Result<Vec<u8>> {
    let mut start = vec![];
    let read = File::open(path).and_then(|file| file.take(START).read_to_end(&mut start));
    read.map_err(|e| Error::io("read", path, e))?;
    Ok(start)
}

/// Parses what stands before the pixels, from the file's first bytes where they are enough.
pub(super) fn parse_header(path: &Path, start: Vec<u8>, until: Until) -> Result<DefaultDicomObject> {
    if (start.len() as u64) < START {
        return parse(start, path, until);
    }
    if let Ok(object) = parse(start, path, until) {
        return Ok(object);
    }
    parse(std::fs::read(path).map_err(|e| Error::io("read", path, e))?, path, until)
}

/// Parses a file's bytes.
pub(crate) fn parse(bytes: Vec<u8>, path: &Path, until: Until) -> Result<DefaultDicomObject> {
    let until = match until {
        Until::Identity => Some(tags::COLUMNS),
        Until::Pixels => Some(tags::PIXEL_DATA),
        Until::End => None,
    };
    let bytes = normalized(bytes).and_then(|bytes| lengths::check(&bytes, until).map(|()| bytes));
    let bytes = bytes.map_err(|detail| Error::format(path, "DICOM", detail))?;
    let options = OpenFileOptions::new();
    let options = match until {
        Some(tag) => options.read_until(tag),
        None => options,
    };
    options.from_reader(bytes.as_slice()).map_err(|e| Error::format(path, "DICOM", with_causes(&e)))
}

/// The SOP class: that of the data set, else that of the file meta information.
pub(crate) fn class_of(object: &DefaultDicomObject) -> String {
    let own = object.get(tags::SOP_CLASS_UID).and_then(|e| e.to_str().ok());
    let class = own.unwrap_or_else(|| object.meta().media_storage_sop_class_uid().into());
    class.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned()
}

/// The bytes with preamble, mark, whole file meta information, and every attribute under the VR of the dictionary.
pub(super) fn normalized(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let Some(start) = body(&bytes) else {
        return Err(why_not(&bytes));
    };
    let meta = Meta::read(&bytes, start);
    let explicit = meta.is_explicit_little_endian(&bytes);
    let known = if explicit { unknown_vr::replaced(&bytes[meta.end..]) } else { None };
    if known.is_none() && meta.complete && start == PREAMBLE + MARK.len() {
        return Ok(bytes);
    }
    let mut out = vec![0; PREAMBLE];
    out.extend_from_slice(MARK);
    meta.write(&bytes, &mut out)?;
    match known {
        Some(data) => out.extend(data),
        None => out.extend_from_slice(&bytes[meta.end..]),
    }
    Ok(out)
}

/// Why a file is not DICOM, and what to do.
pub(super) fn why_not(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "the file is empty (0 bytes), as an interrupted download leaves it; fetch it again".into();
    }
    if let Some(what) = oncograph_core::stand_in(bytes) {
        return what.into();
    }
    if bytes.iter().all(|b| *b == 0) {
        return format!(
            "all {} bytes are 0, as an interrupted download leaves them; fetch it again",
            bytes.len()
        );
    }
    "no DICM mark at byte 128, and no DICOM data set at the beginning".into()
}

/// Where the file meta information (or, without it, the data set) begins.
fn body(bytes: &[u8]) -> Option<usize> {
    if bytes.get(PREAMBLE..PREAMBLE + MARK.len()) == Some(MARK) {
        return Some(PREAMBLE + MARK.len());
    }
    if bytes.starts_with(MARK) {
        return Some(MARK.len());
    }
    // A first element of group 2 or 8, little-endian or (group 8 alone) big-endian, with a plausible length.
    let start: [u8; 8] = *bytes.first_chunk()?;
    let explicit = unknown_vr::is_vr([start[4], start[5]]);
    let length = u32::from_le_bytes([start[4], start[5], start[6], start[7]]);
    match start[..4] {
        [2, 0, 0..=0x16, 0] => explicit.then_some(0),
        [8, 0, _, 0] => (explicit || length < 1 << 16).then_some(0),
        [0, 8, 0, _] => explicit.then_some(0),
        _ => None,
    }
}

/// The file meta information: where its elements lie, its own group length left out.
struct Meta {
    elements: Vec<(u16, Range<usize>)>,
    /// Where the data set begins.
    end: usize,
    /// Whether the parser takes it as it is.
    complete: bool,
    syntax: Option<String>,
}

impl Meta {
    /// Walks the elements of group 2 rather than believing the group length; they are explicit, little-endian.
    fn read(bytes: &[u8], start: usize) -> Self {
        let mut meta = Meta { elements: vec![], end: start, complete: false, syntax: None };
        let mut stated = None;
        while let Some([2, 0, low, high, a, b]) = bytes.get(meta.end..).and_then(|b| b.first_chunk::<6>()) {
            let element = u16::from_le_bytes([*low, *high]);
            let at = meta.end;
            let Some(value) = unknown_vr::explicit_value(bytes, at + 4, [*a, *b]) else { break };
            meta.end = value.end;
            if element == 0 {
                stated =
                    bytes.get(value).and_then(|v| v.first_chunk()).map(|v| u32::from_le_bytes(*v) as usize);
                continue;
            }
            if element == 0x10 {
                let text = String::from_utf8_lossy(&bytes[value]);
                meta.syntax = Some(text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned());
            }
            meta.elements.push((element, at..meta.end));
        }
        let length: usize = meta.elements.iter().map(|(_, place)| place.len()).sum();
        let has = |wanted: u16| meta.elements.iter().any(|(element, _)| *element == wanted);
        meta.complete = stated == Some(length) && [0x02, 0x03, 0x10].into_iter().all(has);
        meta
    }

    fn is_explicit_little_endian(&self, bytes: &[u8]) -> bool {
        match &self.syntax {
            Some(uid) => {
                let others = [
                    uids::IMPLICIT_VR_LITTLE_ENDIAN,
                    EXPLICIT_VR_BIG_ENDIAN,
                    uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
                ];
                !others.contains(&uid.as_str())
            }
            None => guess_syntax(&bytes[self.end..]) == uids::EXPLICIT_VR_LITTLE_ENDIAN,
        }
    }

    /// Writes it anew, with what is missing: the transfer syntax as the data set looks, the class and the instance as it
    /// states them.
    fn write(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let data = &bytes[self.end..];
        let guessed = guess_syntax(data);
        let syntax = self.syntax.as_deref().unwrap_or(guessed);
        let mut elements: Vec<(u16, Vec<u8>)> =
            self.elements.iter().map(|(element, place)| (*element, bytes[place.clone()].to_vec())).collect();
        for (element, of_data) in [(0x02, 0x16), (0x03, 0x18)] {
            if elements.iter().all(|(e, _)| *e != element) {
                let uid = identity(data, syntax, of_data).ok_or_else(|| {
                    let name =
                        if element == 2 { "SOPClassUID (0008,0016)" } else { "SOPInstanceUID (0008,0018)" };
                    format!("no file meta information, and no {name} at the beginning of the data set")
                })?;
                elements.push((element, text_element(element, uid)));
            }
        }
        if self.syntax.is_none() {
            elements.push((0x10, text_element(0x10, guessed.as_bytes())));
        }
        elements.sort_by_key(|(element, _)| *element);
        let length: usize = elements.iter().map(|(_, element)| element.len()).sum();
        out.extend([2, 0, 0, 0, b'U', b'L', 4, 0]);
        out.extend((length as u32).to_le_bytes());
        elements.into_iter().for_each(|(_, element)| out.extend(element));
        Ok(())
    }
}

const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// The uncompressed transfer syntax that a data set looks like by its first element.
fn guess_syntax(data: &[u8]) -> &'static str {
    match data.first_chunk::<6>() {
        Some([0, 8, _, _, a, b]) if unknown_vr::is_vr([*a, *b]) => EXPLICIT_VR_BIG_ENDIAN,
        Some([_, _, _, _, a, b]) if unknown_vr::is_vr([*a, *b]) => uids::EXPLICIT_VR_LITTLE_ENDIAN,
        _ => uids::IMPLICIT_VR_LITTLE_ENDIAN,
    }
}

/// The value of an element of group 8 near the beginning of an uncompressed data set.
fn identity<'a>(data: &'a [u8], syntax: &str, wanted: u16) -> Option<&'a [u8]> {
    let big = syntax == EXPLICIT_VR_BIG_ENDIAN;
    let short = |b: [u8; 2]| if big { u16::from_be_bytes(b) } else { u16::from_le_bytes(b) };
    let mut at = 0;
    loop {
        let [g, h, e, f, a, b] = *data.get(at..)?.first_chunk()?;
        let (group, element) = (short([g, h]), short([e, f]));
        if group != 8 || element > wanted {
            return None;
        }
        let value = if syntax == uids::IMPLICIT_VR_LITTLE_ENDIAN {
            unknown_vr::implicit_value(data, at + 4)?
        } else if big {
            let length = usize::from(short(*data.get(at + 6..)?.first_chunk()?));
            if unknown_vr::has_long_length([a, b]) || at + 8 + length > data.len() {
                return None;
            }
            at + 8..at + 8 + length
        } else {
            unknown_vr::explicit_value(data, at + 4, [a, b])?
        };
        at = value.end;
        if element == wanted {
            return data.get(value);
        }
    }
}

/// A UID of the file meta information.
fn text_element(element: u16, uid: &[u8]) -> Vec<u8> {
    let mut uid = uid.to_vec();
    uid.resize(uid.len().next_multiple_of(2), 0);
    let [low, high] = element.to_le_bytes();
    let [a, b] = (uid.len() as u16).to_le_bytes();
    [&[2, 0, low, high, b'U', b'I', a, b], uid.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::testing::{Phantom, element, implicit, parts};
    use crate::dicom::{SeriesOptions, read_series};
    use dicom_object::open_file;

    /// The series after every file was rewritten from its three parts.
    fn rewritten(change: impl Fn([Vec<u8>; 3]) -> Vec<u8>) -> Result<()> {
        let (folder, phantom) = (tempfile::tempdir().unwrap(), Phantom::axial());
        for path in phantom.write(folder.path()) {
            let bytes = change(parts(&path));
            std::fs::write(&path, bytes).unwrap();
        }
        let series = read_series(folder.path(), &SeriesOptions::new())?;
        assert_eq!(series.volume.as_slice(), phantom.expected());
        assert!(series.volume.grid().approx_eq(&phantom.grid(), 1e-6));
        assert_eq!(series.slices.len(), 5);
        Ok(())
    }

    /// `bytes` in a data set before its first element of a later group than `group`.
    fn insert(data: &[u8], pixels: &[u8]) -> Vec<u8> {
        let at = data.windows(4).rposition(|w| w == [0xe0, 0x7f, 0x10, 0]).unwrap();
        [&data[..at], pixels, &data[at..]].concat()
    }

    #[test]
    fn preamble_and_meta_information_may_be_missing_or_wrong() {
        rewritten(|[_, meta, data]| [meta, data].concat()).unwrap();
        rewritten(|[_, meta, data]| [b"DICM".to_vec(), meta, data].concat()).unwrap();
        rewritten(|[_, _, data]| data).unwrap();
        rewritten(|[start, _, data]| [start, data].concat()).unwrap();
        // The group length: 0, too small, too large, and not there at all.
        for stated in [0_u32, 20, 100_000] {
            rewritten(|[start, mut meta, data]| {
                meta[8..12].copy_from_slice(&stated.to_le_bytes());
                [start, meta, data].concat()
            })
            .unwrap();
        }
        rewritten(|[start, meta, data]| [start, meta[12..].to_vec(), data].concat()).unwrap();
    }

    #[test]
    fn implicit_files_without_anything_before_the_data_set_are_read() {
        let (folder, phantom) = (tempfile::tempdir().unwrap(), Phantom::axial());
        for path in phantom.write(folder.path()) {
            let object = open_file(&path).unwrap();
            let implicit = dicom_object::InMemDicomObject::from_element_iter(object.into_inner());
            let mut bytes = vec![];
            let syntax = uids::IMPLICIT_VR_LITTLE_ENDIAN;
            let meta = dicom_object::FileMetaTableBuilder::new().transfer_syntax(syntax);
            implicit.with_meta(meta).unwrap().write_dataset(&mut bytes).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
        let series = read_series(folder.path(), &SeriesOptions::new()).unwrap();
        assert_eq!(series.volume.as_slice(), phantom.expected());
    }

    #[test]
    fn unknown_sequences_of_undefined_length_are_implicit() {
        let end = implicit((0xfffe, 0xe0dd), 0, &[]);
        let creator = implicit((0x2001, 0x10), 8, b"VENDOR  ");
        let number = implicit((0x2001, 0x1060), 4, &[1, 0, 0, 0]);
        let inner = [creator.clone(), number].concat();
        let defined = [implicit((0xfffe, 0xe000), inner.len() as u32, &inner), end.clone()].concat();
        let open_end = [implicit((0xfffe, 0xe000), u32::MAX, &inner), implicit((0xfffe, 0xe00d), 0, &[])];
        let undefined = [open_end.concat(), end.clone()].concat();
        // A sequence within the sequence, of undefined length under a private tag as well.
        let nested = implicit((0x2001, 0x1061), u32::MAX, &defined);
        let nested = [creator, nested].concat();
        let nested = [implicit((0xfffe, 0xe000), nested.len() as u32, &nested), end.clone()].concat();
        for content in [defined, undefined, nested, end] {
            let private = element((0x2001, 0x105f), b"UN", u32::MAX, &content);
            rewritten(|[start, meta, data]| [start, meta, insert(&data, &private)].concat()).unwrap();
        }
    }

    #[test]
    fn known_attributes_stored_as_unknown_get_their_own_representation() {
        let unknown = |data: &[u8], tag: [u8; 4]| {
            let at = data.windows(4).position(|w| w == tag).unwrap();
            let length = u16::from_le_bytes([data[at + 6], data[at + 7]]);
            let (group, number) =
                (u16::from_le_bytes([tag[0], tag[1]]), u16::from_le_bytes([tag[2], tag[3]]));
            let end = at + 8 + usize::from(length);
            let value = element((group, number), b"UN", u32::from(length), &data[at + 8..end]);
            [&data[..at], &value, &data[end..]].concat()
        };
        // Rows, position, bits allocated, intercept, series.
        let tags = [
            [0x28, 0, 0x10, 0],
            [0x20, 0, 0x32, 0],
            [0x28, 0, 0, 1],
            [0x28, 0, 0x52, 0x10],
            [0x20, 0, 0xe, 0],
        ];
        for tag in tags {
            rewritten(|[start, meta, data]| [start, meta, unknown(&data, tag)].concat()).unwrap();
        }
        // A public sequence, of defined length: its content is implicit.
        let code = implicit((8, 0x100), 4, b"T-62");
        let item = implicit((0xfffe, 0xe000), code.len() as u32, &code);
        let sequence = element((8, 0x2218), b"UN", item.len() as u32, &item);
        let bytes = [vec![8, 0, 0x16, 0], b"UI".to_vec(), vec![4, 0], b"1.2\0".to_vec(), sequence].concat();
        let known = unknown_vr::replaced(&bytes).unwrap();
        assert!(known.windows(2).any(|w| w == b"SH") && !known.windows(2).any(|w| w == b"UN"));
        // Cut within the sequence: left to the parser, which reports it.
        assert_eq!(unknown_vr::replaced(&bytes[..bytes.len() - 3]), None);
    }

    #[test]
    fn what_is_no_dicom_is_told() {
        let cases: [(&[u8], &str); 5] = [
            (b"", "empty"),
            (b"<!DOCTYPE html><p>403", "HTML"),
            (b"version https://git-lfs.github.com/spec/v1", "LFS"),
            (&[0; 300], "are 0"),
            (b"\x89PNG----", "no DICM mark"),
        ];
        for (bytes, expected) in cases {
            assert!(normalized(bytes.to_vec()).unwrap_err().contains(expected), "{expected}");
        }
        let meta_alone = rewritten(|[start, meta, _]| [start, meta].concat()).unwrap_err().to_string();
        assert!(meta_alone.contains(".dcm"), "{meta_alone}");
    }
}

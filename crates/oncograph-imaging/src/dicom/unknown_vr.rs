//! Attributes of value representation UN, as systems store them that do not know an attribute, under the one that it has.
//!
//! UN of undefined length is a sequence in implicit VR (PS3.5 section 6.2.2, note 4, and CP-246), and so is the content of
//! one of defined length whose attribute is a sequence; every other value has the bytes that it would have under its own VR.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use std::ops::Range;

const UNDEFINED: u32 = u32::MAX;
const ITEM: Tag = Tag(0xfffe, 0xe000);
const ITEM_END: Tag = Tag(0xfffe, 0xe00d);
const SEQUENCE_END: Tag = Tag(0xfffe, 0xe0dd);

/// Sequences within sequences deeper than this are left to the parser.
const DEPTH: usize = 32;

/// Whether two bytes are the letters of a VR.
pub(super) fn is_vr(letters: [u8; 2]) -> bool {
    std::str::from_utf8(&letters).is_ok_and(|text| text.parse::<VR>().is_ok())
}

/// Whether a VR's length has four bytes, behind two that are reserved.
pub(super) fn has_long_length(letters: [u8; 2]) -> bool {
    matches!(
        &letters,
        b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR" | b"UT" | b"UV"
    )
}

/// Where the value of an explicit little-endian element lies whose VR is at `at`; `None` beyond the end.
pub(super) fn explicit_value(bytes: &[u8], at: usize, letters: [u8; 2]) -> Option<Range<usize>> {
    let (start, length) = match has_long_length(letters) {
        true => (at + 8, u32::from_le_bytes(*bytes.get(at + 4..)?.first_chunk()?)),
        false => (at + 4, u32::from(u16::from_le_bytes(*bytes.get(at + 2..)?.first_chunk()?))),
    };
    value(bytes, start, length)
}

/// Where the value of an implicit element lies whose length is at `at`; `None` beyond the end.
pub(super) fn implicit_value(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    value(bytes, at + 4, u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn value(bytes: &[u8], start: usize, length: u32) -> Option<Range<usize>> {
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    (length != UNDEFINED && end <= bytes.len()).then_some(start..end)
}

/// An explicit little-endian data set without UN where the attribute is known; `None` where nothing is to be changed, or
/// where the bytes are damaged, so that the parser reports it.
pub(super) fn replaced(data: &[u8]) -> Option<Vec<u8>> {
    data.windows(4).any(|w| w == b"UN\0\0").then_some(())?;
    let mut writer = Writer { data, at: 0, out: Vec::with_capacity(data.len() + 1024), changed: false };
    writer.elements(Some(data.len()), false, 0)?;
    writer.changed.then_some(writer.out)
}

/// Copies a data set element by element; sequences and items get an undefined length, as theirs changes with the VR.
struct Writer<'a> {
    data: &'a [u8],
    at: usize,
    out: Vec<u8>,
    changed: bool,
}

impl Writer<'_> {
    fn number(&mut self) -> Option<u32> {
        let bytes = self.data.get(self.at..)?.first_chunk()?;
        self.at += 4;
        Some(u32::from_le_bytes(*bytes))
    }

    fn tag(&mut self) -> Option<Tag> {
        let number = self.number()?;
        Some(Tag(number as u16, (number >> 16) as u16))
    }

    /// The next `length` bytes.
    fn copy(&mut self, length: usize) -> Option<()> {
        let end = self.at.checked_add(length)?;
        self.out.extend_from_slice(self.data.get(self.at..end)?);
        self.at = end;
        Some(())
    }

    fn put_tag(&mut self, tag: Tag, length: u32) {
        self.out.extend(tag.group().to_le_bytes());
        self.out.extend(tag.element().to_le_bytes());
        self.out.extend(length.to_le_bytes());
    }

    /// The elements to `end`, or to the mark of the item's end.
    fn elements(&mut self, end: Option<usize>, implicit: bool, depth: usize) -> Option<()> {
        while end.is_none_or(|end| self.at < end) {
            let tag = self.tag()?;
            if tag == ITEM_END {
                self.number()?;
                return end.is_none().then_some(());
            }
            self.element(tag, implicit, depth)?;
            if depth == 0 && tag == tags::PIXEL_DATA {
                return self.copy(self.data.len() - self.at);
            }
        }
        Some(())
    }

    fn element(&mut self, tag: Tag, implicit: bool, depth: usize) -> Option<()> {
        let stated = match implicit {
            true => None,
            false => Some(*self.data.get(self.at..)?.first_chunk::<2>()?),
        };
        let length = match stated {
            None => self.number()?,
            Some(letters) if has_long_length(letters) => {
                self.at += 4;
                self.number()?
            }
            Some(_) => {
                let length = u16::from_le_bytes(*self.data.get(self.at + 2..)?.first_chunk()?);
                self.at += 4;
                u32::from(length)
            }
        };
        let unknown = stated.is_none_or(|letters| &letters == b"UN");
        let vr = if unknown { known(tag, length) } else { stated.unwrap_or(*b"UN") };
        self.changed |= stated.is_some_and(|letters| letters != vr);
        let pixels = depth == 0 && tag == tags::PIXEL_DATA;
        if !pixels && (&vr == b"SQ" || (length == UNDEFINED && unknown)) {
            let end = if length == UNDEFINED { None } else { Some(self.at.checked_add(length as usize)?) };
            self.changed |= unknown;
            self.header(tag, *b"SQ", UNDEFINED);
            // An explicit sequence under UN is against the standard, but seen.
            let implicit = unknown && !self.explicit_within();
            return self.items(end, implicit, depth + 1);
        }
        self.header(tag, vr, length);
        match (length, pixels) {
            (UNDEFINED, true) => Some(()),
            (UNDEFINED, false) => self.fragments(),
            (length, _) => self.copy(length as usize),
        }
    }

    fn header(&mut self, tag: Tag, vr: [u8; 2], length: u32) {
        self.out.extend(tag.group().to_le_bytes());
        self.out.extend(tag.element().to_le_bytes());
        self.out.extend(vr);
        if has_long_length(vr) {
            self.out.extend([0, 0]);
            self.out.extend(length.to_le_bytes());
        } else {
            self.out.extend((length as u16).to_le_bytes());
        }
    }

    /// Whether the first element of the sequence that begins here has a VR.
    fn explicit_within(&self) -> bool {
        let letters = self.data.get(self.at + 12..).and_then(|b| b.first_chunk::<2>());
        letters.is_some_and(|letters| is_vr(*letters))
    }

    fn items(&mut self, end: Option<usize>, implicit: bool, depth: usize) -> Option<()> {
        if depth > DEPTH {
            return None;
        }
        while end.is_none_or(|end| self.at < end) {
            let tag = self.tag()?;
            let length = self.number()?;
            if tag == SEQUENCE_END && end.is_none() {
                break;
            }
            if tag != ITEM {
                return None;
            }
            self.put_tag(ITEM, UNDEFINED);
            let end = if length == UNDEFINED { None } else { Some(self.at.checked_add(length as usize)?) };
            self.elements(end, implicit, depth)?;
            self.put_tag(ITEM_END, 0);
        }
        self.put_tag(SEQUENCE_END, 0);
        Some(())
    }

    /// Compressed pixels of an icon.
    fn fragments(&mut self) -> Option<()> {
        loop {
            let tag = self.tag()?;
            let length = self.number()?;
            self.put_tag(tag, length);
            match tag {
                SEQUENCE_END => return Some(()),
                ITEM => self.copy(length as usize)?,
                _ => return None,
            }
        }
    }
}

/// The VR of the dictionary; UN where it has none, or where the value is too long for it.
fn known(tag: Tag, length: u32) -> [u8; 2] {
    let unknown = *b"UN";
    let Some(entry) = StandardDataDictionary.by_tag(tag) else { return unknown };
    let vr: [u8; 2] = entry.vr().relaxed().to_bytes();
    let fits = length == UNDEFINED || length <= u32::from(u16::MAX) || has_long_length(vr);
    if fits { vr } else { unknown }
}

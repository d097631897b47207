//! A mutator for DICOM objects. Bytes at random hardly ever make another object that can be read as far as its attributes:
//! this one reads the object, changes one attribute at any depth, and writes it.

use dicom_core::value::{DataSetSequence, PrimitiveValue, Value};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::uids;
use dicom_object::{FileDicomObject, InMemDicomObject, OpenFileOptions};
use libfuzzer_sys::fuzzer_mutate;
use std::io::Cursor;

type Object = FileDicomObject<InMemDicomObject>;

/// Numbers that readers stumble over.
const NUMBERS: [u16; 12] = [0, 1, 2, 3, 7, 8, 12, 15, 16, 32, 255, 65535];
const TEXTS: [&str; 16] = [
    "",
    "0",
    "-1",
    "1",
    "5",
    "1e300",
    "1e-300",
    "nan",
    "0.8\\0.9",
    "-30\\-20\\102.5",
    "1\\0\\0\\0\\1\\0",
    "0\\0\\0\\0\\0\\0",
    "2147483647",
    "LABELMAP",
    "FRACTIONAL",
    "1.2.826.0.1.3680043.8.498.7777.1.2",
];
const SYNTAXES: [&str; 9] = [
    uids::IMPLICIT_VR_LITTLE_ENDIAN,
    uids::EXPLICIT_VR_LITTLE_ENDIAN,
    // Explicit, the highest byte first.
    "1.2.840.10008.1.2.2",
    uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    uids::RLE_LOSSLESS,
    uids::JPEG_BASELINE8_BIT,
    uids::JPEG_LOSSLESS_SV1,
    uids::JPEG2000_LOSSLESS,
    uids::HTJ2K_LOSSLESS,
];

/// Changes an attribute of the object in `data`, or bytes where that is no object; the answer is the new size.
pub fn change_attribute(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(u64::from(seed));
    let changed = match random.below(5) {
        0 => None,
        _ => changed(&data[..size], &mut random),
    };
    match changed {
        Some(bytes) if bytes.len() <= max_size => {
            data[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
}

fn changed(bytes: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let mut object: Object = OpenFileOptions::new().from_reader(Cursor::new(bytes)).ok()?;
    if random.below(20) == 0 {
        let syntax = SYNTAXES[random.below(SYNTAXES.len())];
        object.update_meta(|meta| meta.transfer_syntax = syntax.into());
    } else {
        let mut place = random.below(count(&object).max(1));
        change_at(&mut object, &mut place, random);
    }
    let mut written = vec![];
    object.write_all(&mut written).ok()?;
    Some(written)
}

/// Elements of an object and of all within.
fn count(object: &InMemDicomObject) -> usize {
    let items = |element: &DataElement<InMemDicomObject, Vec<u8>>| {
        element.value().items().map_or(0, |items| items.iter().map(count).sum())
    };
    object.iter().map(|element| 1 + items(element)).sum()
}

/// Changes the element at this place, counted through all sequences; whether it was there.
fn change_at(object: &mut InMemDicomObject, place: &mut usize, random: &mut Random) -> bool {
    for tag in object.tags().collect::<Vec<_>>() {
        if *place == 0 {
            change(object, tag, random);
            return true;
        }
        *place -= 1;
        let mut found = false;
        object.update_value(tag, |value| {
            let items = value.items_mut().into_iter().flatten();
            found = items.into_iter().any(|item| change_at(item, place, random));
        });
        if found {
            return true;
        }
    }
    false
}

fn change(object: &mut InMemDicomObject, tag: Tag, random: &mut Random) {
    let Some(element) = object.get(tag).cloned() else { return };
    if random.below(12) == 0 {
        object.remove_element(tag);
        return;
    }
    let vr = element.vr();
    let value: Value<InMemDicomObject, Vec<u8>> = match element.into_value() {
        Value::Sequence(sequence) => {
            let mut items = sequence.into_items().to_vec();
            change_items(&mut items, random);
            Value::from(DataSetSequence::from(items))
        }
        Value::PixelSequence(mut pixels) => {
            let fragments = pixels.fragments_mut();
            let which = random.below(fragments.len().max(1));
            match fragments.get_mut(which) {
                Some(fragment) => change_bytes(fragment, random),
                None => fragments.push(vec![0; 8]),
            }
            Value::PixelSequence(pixels)
        }
        Value::Primitive(value) => Value::from(changed_value(value, vr, random)),
    };
    object.put(DataElement::new(tag, vr, value));
}

fn change_items<T: Clone>(items: &mut Vec<T>, random: &mut Random) {
    let (one, other) = (random.below(items.len().max(1)), random.below(items.len().max(1)));
    match random.below(4) {
        _ if items.is_empty() => {}
        0 => drop(items.remove(one)),
        1 => items.insert(other, items[one].clone()),
        2 => items.swap(one, other),
        _ => items[one] = items[other].clone(),
    }
}

fn changed_value(value: PrimitiveValue, vr: VR, random: &mut Random) -> PrimitiveValue {
    match vr {
        VR::US | VR::SS | VR::UL | VR::SL => PrimitiveValue::from(NUMBERS[random.below(NUMBERS.len())]),
        VR::OB | VR::OW | VR::UN | VR::FL | VR::FD | VR::OF | VR::OD | VR::AT => {
            let mut bytes = value.to_bytes().into_owned();
            change_bytes(&mut bytes, random);
            PrimitiveValue::U8(bytes.into())
        }
        _ if random.below(2) == 0 => PrimitiveValue::from(TEXTS[random.below(TEXTS.len())]),
        // One of several values.
        _ => {
            let text = value.to_str().into_owned();
            let mut parts: Vec<String> = text.split('\\').map(String::from).collect();
            change_items(&mut parts, random);
            if random.below(2) == 0 {
                let at = random.below(parts.len().max(1));
                parts.splice(at..at, [TEXTS[random.below(TEXTS.len())].to_string()]);
            }
            PrimitiveValue::from(parts.join("\\"))
        }
    }
}

fn change_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    let (at, even) = (random.below(bytes.len().max(1)), 2 * random.below(64));
    match random.below(4) {
        0 => bytes.truncate(at / 2 * 2),
        1 => bytes.extend(vec![0xff; even]),
        _ if bytes.is_empty() => {}
        2 => bytes[at] = random.below(256) as u8,
        _ => bytes[at] ^= 1 << random.below(8),
    }
}

/// Steele's SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

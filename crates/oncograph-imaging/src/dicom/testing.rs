//! A small synthetic series, written with shuffled file names, for the tests of the readers.

use crate::grid::Grid;
use dicom_core::value::{DataSetSequence, PixelFragmentSequence};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject, open_file};
use nalgebra::Matrix4;
use std::path::{Path, PathBuf};

pub(crate) const SHAPE: [usize; 3] = [5, 4, 5];

#[derive(Debug, Clone, Copy)]
enum Encoding {
    Plain,
    Rle,
    JpegLossless,
}

#[derive(Debug, Clone)]
pub(crate) struct Phantom {
    series: String,
    x: [f64; 3],
    y: [f64; 3],
    z: [f64; 3],
    encoding: Encoding,
    signed: bool,
}

impl Phantom {
    pub fn axial() -> Self {
        Self {
            series: "1.2.3.4".into(),
            x: [1.0, 0.0, 0.0],
            y: [0.0, 1.0, 0.0],
            z: [0.0, 0.0, 1.0],
            encoding: Encoding::Plain,
            signed: false,
        }
    }

    /// Rotated by the 3-4-5 triangle about the patient's left-right axis, then about the slice normal.
    pub fn oblique() -> Self {
        Self { x: [0.6, 0.64, 0.48], y: [-0.8, 0.48, 0.36], z: [0.0, -0.6, 0.8], ..Self::axial() }
    }

    pub fn rle(mut self) -> Self {
        self.encoding = Encoding::Rle;
        self
    }

    pub fn jpeg_lossless(mut self) -> Self {
        self.encoding = Encoding::JpegLossless;
        self
    }

    pub fn signed(mut self) -> Self {
        self.signed = true;
        self
    }

    pub fn series(mut self, uid: &str) -> Self {
        self.series = uid.into();
        self
    }

    fn stored(&self, [i, j, k]: [usize; 3]) -> i32 {
        (i + 10 * j + 300 * k) as i32 - if self.signed { 700 } else { 0 }
    }

    /// The rescaled values, x fastest.
    pub fn expected(&self) -> Vec<f32> {
        let grid = self.grid();
        let index = (0..grid.len()).map(|o| grid.index_of(o));
        index.map(|i| self.stored(i) as f32 * 2.0 - 1024.0 + i[2] as f32).collect()
    }

    /// The grid in RAS+.
    pub fn grid(&self) -> Grid {
        let columns =
            [self.x.map(|v| v * 0.8), self.y.map(|v| v * 0.7), self.z.map(|v| v * 2.5), self.position(0)];
        let affine = Matrix4::from_fn(|r, c| match r {
            3 => f64::from(c == 3),
            2 => columns[c][2],
            _ => -columns[c][r],
        });
        Grid::new(SHAPE, affine).unwrap()
    }

    fn position(&self, k: usize) -> [f64; 3] {
        std::array::from_fn(|a| [-11.5, 7.25, -100.0][a] + 2.5 * k as f64 * self.z[a])
    }

    /// Writes the slices and returns their paths in slice order; names and instance numbers are shuffled.
    pub fn write(&self, folder: &Path) -> Vec<PathBuf> {
        (0..SHAPE[2]).map(|k| self.write_slice(folder, k)).collect()
    }

    fn write_slice(&self, folder: &Path, k: usize) -> PathBuf {
        let shuffled = (k * 3 + 1) % SHAPE[2];
        let path = folder.join(format!("{}-{shuffled}.dcm", self.series));
        let join = |v: &[f64]| v.iter().map(f64::to_string).collect::<Vec<_>>().join("\\");
        let mut object = InMemDicomObject::new_empty();
        let texts = [
            (tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE.to_owned()),
            (tags::SOP_INSTANCE_UID, VR::UI, format!("{}.{}", self.series, k + 1)),
            (tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3".into()),
            (tags::STUDY_DATE, VR::DA, "20200102".into()),
            (tags::STUDY_TIME, VR::TM, "101112".into()),
            (tags::SERIES_INSTANCE_UID, VR::UI, self.series.clone()),
            (tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.3.9".into()),
            (tags::PATIENT_ID, VR::LO, "P1".into()),
            (tags::PATIENT_NAME, VR::PN, "Test^Phantom".into()),
            (tags::MODALITY, VR::CS, "CT".into()),
            (tags::INSTANCE_NUMBER, VR::IS, (shuffled + 1).to_string()),
            (tags::IMAGE_POSITION_PATIENT, VR::DS, join(&self.position(k))),
            (tags::IMAGE_ORIENTATION_PATIENT, VR::DS, join(&[self.x, self.y].concat())),
            (tags::PIXEL_SPACING, VR::DS, "0.7\\0.8".into()),
            (tags::SLICE_THICKNESS, VR::DS, "2.5".into()),
            (tags::RESCALE_SLOPE, VR::DS, "2".into()),
            (tags::RESCALE_INTERCEPT, VR::DS, (k as i32 - 1024).to_string()),
            (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2".into()),
        ];
        for (tag, vr, text) in texts {
            object.put_str(tag, vr, text);
        }
        let numbers = [
            (tags::ROWS, SHAPE[1] as u16),
            (tags::COLUMNS, SHAPE[0] as u16),
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::BITS_ALLOCATED, 16),
            (tags::BITS_STORED, 12),
            (tags::HIGH_BIT, 11),
            (tags::PIXEL_REPRESENTATION, u16::from(self.signed)),
        ];
        for (tag, value) in numbers {
            object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
        }
        let pixels = (0..SHAPE[1]).flat_map(|j| (0..SHAPE[0]).map(move |i| [i, j, k]));
        let words: Vec<u16> = pixels.map(|index| self.stored(index) as u16 & 0x0fff).collect();
        let (pixels, syntax) = match self.encoding {
            Encoding::Plain => {
                let words = PrimitiveValue::U16(words.into());
                (DataElement::new(tags::PIXEL_DATA, VR::OW, words), uids::EXPLICIT_VR_LITTLE_ENDIAN)
            }
            Encoding::Rle => (encapsulated(rle_frame(&words)), uids::RLE_LOSSLESS),
            Encoding::JpegLossless => (encapsulated(jpeg_lossless_frame(&words)), uids::JPEG_LOSSLESS_SV1),
        };
        object.put(pixels);
        let meta = FileMetaTableBuilder::new().transfer_syntax(syntax);
        object.with_meta(meta).unwrap().write_to_file(&path).unwrap();
        path
    }
}

/// Makes one enhanced object of the slices of a series: geometry and rescaling in functional groups, those of a frame or, where
/// `shared`, the shared ones as far as they can be; the frames are in the order of the shuffled files.
pub(crate) fn enhance(files: &[PathBuf], class: &str, shared: bool) -> PathBuf {
    let mut sorted = files.to_vec();
    sorted.sort();
    let slices: Vec<_> = sorted.iter().map(|p| open_file(p).unwrap().into_inner()).collect();
    let wrap =
        |tag, items: Vec<InMemDicomObject>| DataElement::new(tag, VR::SQ, DataSetSequence::from(items));
    let pick = |from: &InMemDicomObject, picked: &[Tag]| {
        InMemDicomObject::from_element_iter(picked.iter().filter_map(|t| from.get(*t).cloned()))
    };
    let [position, orientation, measures, values] = [
        (tags::PLANE_POSITION_SEQUENCE, vec![tags::IMAGE_POSITION_PATIENT]),
        (tags::PLANE_ORIENTATION_SEQUENCE, vec![tags::IMAGE_ORIENTATION_PATIENT]),
        (tags::PIXEL_MEASURES_SEQUENCE, vec![tags::PIXEL_SPACING, tags::SLICE_THICKNESS]),
        (tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, vec![tags::RESCALE_SLOPE, tags::RESCALE_INTERCEPT]),
    ];
    let groups = |from: &InMemDicomObject, wanted: &[&(Tag, Vec<Tag>)]| {
        let elements = wanted.iter().map(|(tag, picked)| wrap(*tag, vec![pick(from, picked)]));
        InMemDicomObject::from_element_iter(elements)
    };
    let per_frame =
        if shared { vec![&position, &values] } else { vec![&position, &orientation, &measures, &values] };
    let mut object = slices[0].clone();
    for tag in [&position, &orientation, &measures, &values].into_iter().flat_map(|g| &g.1) {
        object.remove_element(*tag);
    }
    if shared {
        let groups = groups(&slices[0], &[&orientation, &measures]);
        object.put(wrap(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![groups]));
    }
    let frames = slices.iter().map(|s| groups(s, &per_frame)).collect();
    object.put(wrap(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames));
    object.put_str(tags::SOP_CLASS_UID, VR::UI, class);
    object.put_str(tags::NUMBER_OF_FRAMES, VR::IS, slices.len().to_string());
    let words: Vec<u16> =
        slices.iter().flat_map(|s| s.get(tags::PIXEL_DATA).unwrap().to_multi_int::<u16>().unwrap()).collect();
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(words.into())));
    let path = files[0].with_file_name("enhanced");
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    object.with_meta(meta).unwrap().write_to_file(&path).unwrap();
    files.iter().for_each(|p| std::fs::remove_file(p).unwrap());
    path
}

fn encapsulated(frame: Vec<u8>) -> DataElement<InMemDicomObject> {
    DataElement::new(tags::PIXEL_DATA, VR::OB, PixelFragmentSequence::new_fragments(vec![frame]))
}

/// A lossless JPEG (process 14, selection value 1): each pixel's difference from its left neighbour, with a Huffman
/// code of five bits for every category.
fn jpeg_lossless_frame(words: &[u16]) -> Vec<u8> {
    let (width, height) = (SHAPE[0], SHAPE[1]);
    let mut out = vec![0xff, 0xd8, 0xff, 0xc3, 0, 11, 16, 0, height as u8, 0, width as u8, 1, 1, 0x11, 0];
    out.extend([0xff, 0xc4, 0, 36, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend(0..17_u8);
    out.extend([0xff, 0xda, 0, 8, 1, 1, 0, 1, 0, 0]);
    let mut bits = Vec::new();
    for (i, &word) in words.iter().enumerate() {
        let before = match (i % width, i / width) {
            (0, 0) => 1 << 15,
            (0, _) => words[i - width],
            _ => words[i - 1],
        };
        let difference = i32::from(word.wrapping_sub(before).cast_signed());
        let category = 32 - difference.unsigned_abs().leading_zeros();
        bits.extend((0..5).rev().map(|b| category >> b & 1));
        let value = if difference < 0 { difference - 1 } else { difference };
        let count = if category == 16 { 0 } else { category };
        bits.extend((0..count).rev().map(|b| (value >> b & 1) as u32));
    }
    bits.resize(bits.len().next_multiple_of(8), 1);
    for byte in bits.chunks(8).map(|b| b.iter().fold(0, |v, bit| v << 1 | *bit as u8)) {
        out.push(byte);
        if byte == 0xff {
            out.push(0);
        }
    }
    out.extend([0xff, 0xd9]);
    out.resize(out.len().next_multiple_of(2), 0);
    out
}

/// An RLE frame: a 64-byte header, then the high and the low bytes as two literal-run segments.
fn rle_frame(words: &[u16]) -> Vec<u8> {
    let segment = |byte: fn(u16) -> u8| {
        let mut out = vec![(words.len() - 1) as u8];
        out.extend(words.iter().map(|w| byte(*w)));
        out.resize(out.len().next_multiple_of(2), 0x80);
        out
    };
    let (high, low) = (segment(|w| (w >> 8) as u8), segment(|w| w as u8));
    let mut frame = vec![0_u8; 64];
    for (slot, value) in [2, 64, 64 + high.len() as u32].into_iter().enumerate() {
        frame[4 * slot..4 * slot + 4].copy_from_slice(&value.to_le_bytes());
    }
    frame.extend(high);
    frame.extend(low);
    frame
}

/// Cuts a written file into preamble and mark, file meta information, and data set.
pub(crate) fn parts(path: &Path) -> [Vec<u8>; 3] {
    let bytes = std::fs::read(path).unwrap();
    let length = u32::from_le_bytes(bytes[140..144].try_into().unwrap()) as usize;
    [&bytes[..132], &bytes[132..144 + length], &bytes[144 + length..]].map(<[u8]>::to_vec)
}

/// The bytes of an explicit element with a length of four bytes.
pub(crate) fn element(tag: (u16, u16), vr: &[u8; 2], length: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
    bytes.extend(vr);
    bytes.extend([0, 0]);
    bytes.extend(length.to_le_bytes());
    bytes.extend(value);
    bytes
}

/// The bytes of an implicit element.
pub(crate) fn implicit(tag: (u16, u16), length: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
    bytes.extend(length.to_le_bytes());
    bytes.extend(value);
    bytes
}

/// Changes the attributes of a written file.
pub(crate) fn deform(path: &Path, change: impl FnOnce(&mut InMemDicomObject)) {
    let mut object = open_file(path).unwrap();
    change(&mut object);
    object.write_to_file(path).unwrap();
}

//! A small DICOM series, written byte by byte, for the tests of finding files.

use std::path::{Path, PathBuf};

/// SOP classes.
pub(super) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub(super) const STRUCTURE_SET: &str = "1.2.840.10008.5.1.4.1.1.481.3";

/// An explicit little-endian element.
fn element(group: u16, number: u16, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(if vr == b"UI" { 0 } else { b' ' });
    }
    let mut bytes = [group.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.extend(vr);
    match vr {
        b"OW" => bytes.extend([&[0, 0][..], &(value.len() as u32).to_le_bytes()].concat()),
        _ => bytes.extend((value.len() as u16).to_le_bytes()),
    }
    bytes.extend(value);
    bytes
}

/// What a file is.
#[derive(Clone)]
pub(super) struct Kind {
    pub class: &'static str,
    pub modality: &'static str,
    pub series: &'static str,
    pub image_type: &'static str,
}

impl Kind {
    pub fn ct(series: &'static str) -> Self {
        Self { class: CT, modality: "CT", series, image_type: "ORIGINAL\\PRIMARY\\AXIAL" }
    }

    /// The `k`-th slice of 4 x 3 pixels of value k in a stack 2.5 mm apart.
    pub fn bytes(&self, k: usize) -> Vec<u8> {
        let instance = format!("{}.{}", self.series, k + 1);
        let meta = [
            element(2, 2, b"UI", self.class.as_bytes()),
            element(2, 3, b"UI", instance.as_bytes()),
            element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1"),
        ]
        .concat();
        let text = |group, number, vr, text: &str| element(group, number, vr, text.as_bytes());
        let number = |group, number, value: u16| element(group, number, b"US", &value.to_le_bytes());
        let pixels: Vec<u8> = (0..12).flat_map(|_| (k as u16).to_le_bytes()).collect();
        let length = (meta.len() as u32).to_le_bytes();
        let mut bytes = [&[0; 128][..], b"DICM", &element(2, 0, b"UL", &length), &meta].concat();
        let elements = [
            text(8, 8, b"CS", self.image_type),
            text(8, 0x16, b"UI", self.class),
            text(8, 0x18, b"UI", &instance),
            text(8, 0x60, b"CS", self.modality),
            text(0x10, 0x20, b"LO", "P"),
            text(0x18, 0x50, b"DS", "2.5"),
            text(0x20, 0xd, b"UI", "1.2.3"),
            text(0x20, 0xe, b"UI", self.series),
            text(0x20, 0x32, b"DS", &format!("0\\0\\{}", 2.5 * k as f64)),
            text(0x20, 0x37, b"DS", "1\\0\\0\\0\\1\\0"),
            text(0x20, 0x52, b"UI", "1.2.3.9"),
            number(0x28, 2, 1),
            text(0x28, 4, b"CS", "MONOCHROME2"),
            number(0x28, 0x10, 3),
            number(0x28, 0x11, 4),
            text(0x28, 0x30, b"DS", "1\\1"),
            number(0x28, 0x100, 16),
            number(0x28, 0x101, 16),
            number(0x28, 0x102, 15),
            number(0x28, 0x103, 0),
            text(0x28, 0x1052, b"DS", "0"),
            text(0x28, 0x1053, b"DS", "1"),
            element(0x7fe0, 0x10, b"OW", &pixels),
        ];
        bytes.extend(elements.concat());
        bytes
    }

    /// Writes `count` slices under names with their number in place of `{}`.
    pub fn write(&self, folder: &Path, name: &str, count: usize) -> Vec<PathBuf> {
        std::fs::create_dir_all(folder).unwrap();
        let path = |k: usize| folder.join(name.replace("{}", &k.to_string()));
        (0..count).for_each(|k| std::fs::write(path(k), self.bytes(k)).unwrap());
        (0..count).map(path).collect()
    }
}

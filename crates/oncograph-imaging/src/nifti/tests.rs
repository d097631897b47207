//! Reading and writing, together.

use super::{ReadOptions, WriteOptions, read, read_4d, read_noted, read_with, write, write_with};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::grid::Grid;
use crate::volume::Volume;
use crate::voxel::Voxel;
use std::fs::File;
use std::io::Write;

fn sample() -> Volume<i16> {
    let grid = Grid::axis_aligned([4, 3, 2], [0.5, 0.75, 2.0], [-7.0, 3.0, 11.0]).unwrap();
    Volume::from_fn(grid, Frame::described("scanner"), |[i, j, k]| (i * 100 + j * 10 + k) as i16 - 50)
}

/// The file's bytes after `change`, written beside it and read again.
fn changed(change: impl FnOnce(&mut Vec<u8>), options: &ReadOptions) -> Result<Volume<f32>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    write(&path, &sample()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, &bytes).unwrap();
    read_with(&path, options)
}

fn message(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let text = changed(change, &ReadOptions::new()).unwrap_err().to_string();
    assert!(text.contains("a.nii"), "the path is missing: {text}");
    text
}

#[test]
fn round_trip_in_every_type_with_and_without_compression() {
    fn check<T: Voxel>(name: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let volume = sample().map(|v| T::from_f64(f64::from(v)));
        write(&path, &volume).unwrap();
        assert_eq!(read::<T>(&path).unwrap(), volume, "{} {name}", T::NAME);
    }
    for name in ["a.nii", "a.nii.gz"] {
        check::<u8>(name);
        check::<i8>(name);
        check::<u16>(name);
        check::<i16>(name);
        check::<u32>(name);
        check::<i32>(name);
        check::<f32>(name);
        check::<f64>(name);
    }
}

#[test]
fn slope_and_intercept_are_applied_once() {
    let scale = |bytes: &mut Vec<u8>| {
        bytes[112..116].copy_from_slice(&2.0_f32.to_le_bytes());
        bytes[116..120].copy_from_slice(&(-3.0_f32).to_le_bytes());
    };
    let volume = changed(scale, &ReadOptions::new()).unwrap();
    assert_eq!(volume.get([1, 1, 1]), Some(2.0 * 61.0 - 3.0));
    let unscaled = changed(|b| b[112..116].fill(0), &ReadOptions::new()).unwrap();
    assert_eq!(unscaled.get([1, 1, 1]), Some(61.0));
}

#[test]
fn geometry_prefers_sform_then_qform_and_never_guesses() {
    let sform = |b: &mut Vec<u8>| b[280 + 12..280 + 16].copy_from_slice(&99.0_f32.to_le_bytes());
    assert_eq!(changed(sform, &ReadOptions::new()).unwrap().grid().origin(), [99.0, 3.0, 11.0]);
    let no_sform = |b: &mut Vec<u8>| {
        sform(b);
        b[254..256].fill(0);
    };
    assert_eq!(changed(no_sform, &ReadOptions::new()).unwrap().grid().origin(), [-7.0, 3.0, 11.0]);
    let neither = |b: &mut Vec<u8>| b[252..256].fill(0);
    assert!(message(neither).contains("neither sform nor qform"));
    let guessed = changed(neither, &ReadOptions::new().allow_pixdim_geometry(true)).unwrap();
    assert_eq!(guessed.grid().orientation(), "LAS");
    assert_eq!(guessed.grid().origin(), [0.75, -0.75, -1.0]);
    let metres = changed(|b| b[123] = 1, &ReadOptions::new()).unwrap();
    assert_eq!(metres.grid().spacing(), [500.0, 750.0, 2000.0]);
}

#[test]
fn what_stands_in_a_files_place_is_named() {
    for (text, part) in
        [("", "an empty file"), ("<!DOCTYPE html><p>404", "web page"), ("version https://git-lfs", "Git LFS")]
    {
        let found = message(|bytes| *bytes = text.into());
        assert!(found.contains(part), "{found}");
    }
}

#[test]
fn damaged_files_are_errors_that_name_the_file() {
    assert!(message(|b| b.truncate(100)).contains("header"));
    assert!(message(|b| b.truncate(360)).contains("truncated"));
    assert!(message(|b| b[344..348].copy_from_slice(b"abcd")).contains("magic"));
    assert!(message(|b| b[344..348].copy_from_slice(b"ni1\0")).contains("a.img"));
    assert!(message(|b| b[344..348].fill(0)).contains("Analyze"));
    assert!(message(|b| b[0..4].copy_from_slice(&540_i32.to_le_bytes())).contains("NIfTI-2"));
    assert!(message(|b| b[70..72].copy_from_slice(&128_i16.to_le_bytes())).contains("Rgb24"));
    assert!(message(|b| b[42..44].fill(0)).contains("dimensions"));
    let no_place = |b: &mut Vec<u8>| {
        b[280..296].fill(0);
        b[252..254].fill(0);
    };
    assert!(message(no_place).contains("no qform in its place") && message(no_place).contains("inverted"));
    assert!(message(|b| b[108..112].copy_from_slice(&1e30_f32.to_le_bytes())).contains("offset"));
    let huge =
        message(|b| (0..3).for_each(|a| b[42 + 2 * a..44 + 2 * a].copy_from_slice(&30000_i16.to_le_bytes())));
    assert!(huge.contains("truncated"), "{huge}");
}

/// The members of a gzip file, each by itself, in a file that is read.
fn members(parts: &[&[u8]], damage: impl Fn(&mut Vec<u8>)) -> Result<Volume<f32>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii.gz");
    let mut bytes = vec![];
    for part in parts {
        let mut encoder = flate2::write::GzEncoder::new(&mut bytes, flate2::Compression::fast());
        encoder.write_all(part).unwrap();
    }
    damage(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    read(&path)
}

/// The bytes of the sample's file, and what is read of it.
fn plain() -> (Vec<u8>, Volume<f32>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    write(&path, &sample()).unwrap();
    (std::fs::read(&path).unwrap(), read(&path).unwrap())
}

#[test]
fn compressed_files_are_read_whole_and_checked() {
    let (plain, expected) = plain();
    let end = plain.len() / 2;
    // Two halves of one size: the size in the last member's trailer is not that of the file.
    assert_eq!(plain.len() % 2, 0);
    for parts in [&[&plain[..]][..], &[&plain[..end], &plain[end..]], &[&plain[..9], &plain[9..]]] {
        assert_eq!(members(parts, |_| ()).unwrap(), expected);
    }
    let flip = |b: &mut Vec<u8>, from_end: usize| {
        let at = b.len() - from_end;
        b[at] ^= 1;
    };
    // The checksum, the size, the data.
    for from_end in [8, 4, 12] {
        let error = members(&[&plain], |b| flip(b, from_end)).unwrap_err().to_string();
        assert!(error.contains("a.nii.gz") && error.contains("damaged"), "{error}");
    }
    let error = members(&[&plain], |b| b.truncate(b.len() / 2)).unwrap_err().to_string();
    assert!(error.contains("a.nii.gz") && error.contains("incomplete"), "{error}");
}

#[test]
fn zeros_behind_compressed_data_are_padding_and_other_bytes_are_not() {
    let (plain, expected) = plain();
    for zeros in [1, 8, 512, 1 << 19] {
        for parts in [&[&plain[..]][..], &[&plain[..100], &plain[100..]]] {
            assert_eq!(members(parts, |b| b.resize(b.len() + zeros, 0)).unwrap(), expected, "{zeros}");
        }
    }
    let error = members(&[&plain], |b| b.extend(b"\0\0junk")).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains("a.nii.gz"), "{error}");
}

#[test]
fn a_broken_sform_gives_way_to_the_qform_with_a_note() {
    let noted = |change: &dyn Fn(&mut Vec<u8>)| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii");
        write(&path, &sample()).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        read_noted::<f32>(&path, &ReadOptions::new())
    };
    let (good, notes) = noted(&|_| ()).unwrap();
    assert_eq!((good.grid(), notes.len()), (sample().grid(), 0));
    // All of it, the matrix alone, one row.
    for (broken, word) in [(280..328, "all zero"), (280..292, "cannot be inverted"), (312..324, "inverted")] {
        let (volume, notes) = noted(&|b| b[broken.clone()].fill(0)).unwrap();
        assert!(volume.grid().approx_eq(sample().grid(), 1e-5));
        assert!(notes[0].contains(word) && notes[0].contains("qform"), "{notes:?}");
    }
}

#[test]
fn negative_voxel_sizes_are_refused_where_they_would_count() {
    for axis in 1..4 {
        let negative = |b: &mut Vec<u8>| {
            let at = 76 + 4 * axis;
            let size = f32::from_le_bytes(b[at..at + 4].try_into().unwrap());
            b[at..at + 4].copy_from_slice(&(-size).to_le_bytes());
        };
        let with_sform = changed(negative, &ReadOptions::new()).unwrap();
        assert_eq!(with_sform.grid(), sample().grid());
        let without = |b: &mut Vec<u8>| {
            negative(b);
            b[254..256].fill(0);
        };
        let text = message(without);
        assert!(text.contains(&format!("pixdim[{axis}]")) && text.contains("nibabel"), "{text}");
        let neither = |b: &mut Vec<u8>| {
            negative(b);
            b[252..256].fill(0);
        };
        let options = ReadOptions::new().allow_pixdim_geometry(true);
        assert!(changed(neither, &options).unwrap_err().to_string().contains("pixdim"));
    }
}

#[test]
fn labels_with_noise_are_rounded_with_a_note_and_fractions_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.nii.gz");
    let labels = |noise: f32| {
        let grid = sample().grid().clone();
        Volume::from_fn(grid, Frame::default(), |[i, _, _]| i as f32 + if i > 1 { noise } else { 0.0 })
    };
    for noise in [-6e-8_f32 * 2.0, 5e-4, -9e-4] {
        write(&path, &labels(noise)).unwrap();
        let (volume, notes) = read_noted::<u8>(&path, &ReadOptions::new()).unwrap();
        assert_eq!(volume.as_slice()[..4], [0, 1, 2, 3]);
        assert!(notes[0].starts_with("12 values are up to"), "{notes:?}");
    }
    write(&path, &labels(0.0)).unwrap();
    assert!(read_noted::<u8>(&path, &ReadOptions::new()).unwrap().1.is_empty());
    for noise in [2e-3, 0.5] {
        write(&path, &labels(noise)).unwrap();
        assert!(read::<u8>(&path).unwrap_err().to_string().contains("does not fit into u8"));
    }
}

#[test]
fn pairs_are_read_by_either_name() {
    for (header, image) in
        [("a.hdr", "a.img"), ("A.HDR", "A.IMG"), ("a.hdr.gz", "a.img.gz"), ("a.hdr", "a.img.gz")]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii");
        write(&path, &sample()).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[344..348].copy_from_slice(b"ni1\0");
        bytes[108..112].fill(0);
        let put = |name: &str, bytes: &[u8]| {
            let mut file = File::create(folder.path().join(name)).unwrap();
            if name.ends_with("gz") {
                let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap();
            } else {
                file.write_all(bytes).unwrap();
            }
        };
        put(header, &bytes[..348]);
        put(image, &bytes[352..]);
        for name in [header, image] {
            assert_eq!(read::<i16>(folder.path().join(name)).unwrap(), sample(), "{name}");
        }
        std::fs::remove_file(folder.path().join(header)).unwrap();
        let text = read::<i16>(folder.path().join(image)).unwrap_err().to_string();
        assert!(text.contains(image) && text.contains(".hdr"), "{text}");
    }
}

#[test]
fn four_dimensions_are_named_and_can_be_read() {
    let make_4d = |frames: i16| {
        move |b: &mut Vec<u8>| {
            b[40..42].copy_from_slice(&4_i16.to_le_bytes());
            b[48..50].copy_from_slice(&frames.to_le_bytes());
            let voxels = b[352..].to_vec();
            (1..frames).for_each(|_| b.extend(&voxels));
        }
    };
    assert!(changed(make_4d(1), &ReadOptions::new()).is_ok());
    assert!(message(make_4d(2)).contains("[4, 3, 2, 2]"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.nii");
    write(&path, &sample()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    make_4d(3)(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    let frames = read_4d::<i16>(&path, &ReadOptions::new()).unwrap();
    assert_eq!(frames.len(), 3);
    assert!(frames.iter().all(|f| f == &sample()));
}

#[test]
fn nan_is_an_error_unless_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nan.nii.gz");
    let mut volume = sample().cast::<f32>();
    volume.set([1, 2, 0], f32::NAN);
    write(&path, &volume).unwrap();
    let text = read::<f32>(&path).unwrap_err().to_string();
    assert!(text.contains("nan.nii.gz") && text.contains("[1, 2, 0]"), "{text}");
    assert!(read_with::<f32>(&path, &ReadOptions::new().allow_nan(true)).is_ok());
}

#[test]
fn integers_that_do_not_fit_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ct.nii");
    write(&path, &sample()).unwrap();
    assert!(read::<u8>(&path).unwrap_err().to_string().contains("value -50 does not fit into u8"));
    write(&path, &sample().cast::<f32>().map(|v| v + 0.25)).unwrap();
    assert!(read::<i16>(&path).is_err());
}

#[test]
fn damaged_gzip_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii.gz");
    write_with(&path, &sample(), &WriteOptions::new().compression(9)).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 6] ^= 0xff;
    std::fs::write(&path, &bytes).unwrap();
    assert!(read::<i16>(&path).unwrap_err().to_string().contains("damaged"));
    File::create(&path).unwrap().write_all(&bytes[..end / 2]).unwrap();
    assert!(read::<i16>(&path).is_err());
    assert!(matches!(read::<i16>(folder.path().join("none.nii")), Err(Error::AtFile(e)) if e.is_not_found()));
}

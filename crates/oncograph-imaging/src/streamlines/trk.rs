//! TRK of TrackVis: a header of 1000 bytes, then for each streamline how many points it has, the points with further numbers,
//! and numbers of the streamline.

use super::Streamlines;
use super::source::Source;
use crate::error::{Error, Result};
use crate::grid::Grid;
use nalgebra::{Matrix4, Vector3};

pub(super) const MAGIC: &[u8] = b"TRACK\0";

const HEADER: usize = 1000;

/// The places of the fields in the header.
const DIMENSIONS: usize = 6;
const VOXEL_SIZE: usize = 12;
const SCALARS: usize = 36;
const PROPERTIES: usize = 238;
const VOX_TO_RAS: usize = 440;
const VOXEL_ORDER: usize = 948;
const COUNT: usize = 988;
const VERSION: usize = 992;
const SIZE: usize = 996;

/// The voxel order of a header that has none.
const DEFAULT_ORDER: &str = "LPS";

struct Header {
    big: bool,
    /// From coordinates of the file to the world.
    affine: Matrix4<f64>,
    /// Further numbers of each point and of each streamline.
    scalars: u64,
    properties: u64,
    /// Streamlines; 0 where it is not stated.
    count: u64,
}

pub(super) fn read(mut source: Source<'_>) -> Result<Streamlines> {
    let mut lines = Streamlines::default();
    let header = header(&mut source, &mut lines.notes)?;
    let path = source.path;
    // Each has its number of points at least.
    if header.count > source.left / 4 {
        let (count, length) = (header.count, source.length);
        let detail = format!("it states {count} streamlines, more than fit into its {length} bytes");
        return Err(Error::format(path, "TRK", detail));
    }
    let width = 4 * (3 + header.scalars);
    while source.left > 0 && (header.count == 0 || (lines.len() as u64) < header.count) {
        let number = lines.len();
        let damaged = |detail: String| Error::format(path, "TRK", format!("streamline {number}: {detail}"));
        let cut = || damaged("the file is cut off".into());
        let points = i32_of(source.take()?.ok_or_else(cut)?, header.big);
        let points = u64::try_from(points).map_err(|_| damaged(format!("it has {points} points")))?;
        let size = points * width + 4 * header.properties;
        if size > source.left {
            let detail = format!(
                "it has {points} points, of which {} bytes are left: the file is cut off",
                source.left
            );
            return Err(damaged(detail));
        }
        for _ in 0..points {
            let bytes = source.take::<12>()?.ok_or_else(cut)?;
            source.skip(4 * header.scalars)?;
            let at = Vector3::from_fn(|k, _| f64::from(f32_of(bytes.as_chunks().0[k], header.big)));
            let world = header.affine.transform_point(&at.into()).coords.map(|v| v as f32);
            if !world.iter().all(|v| v.is_finite()) {
                return Err(damaged("a coordinate is not finite".into()));
            }
            lines.points.push(world.into());
        }
        source.skip(4 * header.properties)?;
        lines.close();
    }
    if (lines.len() as u64) < header.count {
        let detail = format!("it states {} streamlines and holds {}", header.count, lines.len());
        return Err(Error::format(path, "TRK", detail));
    }
    if source.left > 0 {
        lines.notes.push(format!("{} bytes behind the last streamline are passed over", source.left));
    }
    Ok(lines)
}

fn header(source: &mut Source<'_>, notes: &mut Vec<String>) -> Result<Header> {
    let path = source.path;
    let damaged = |detail: String| Error::format(path, "TRK", detail);
    let length = source.length;
    let Some(bytes) = source.take::<HEADER>()? else {
        return Err(damaged(format!("it has {length} bytes, fewer than the header of {HEADER}")));
    };
    let bytes = &bytes;
    let big = match [false, true].map(|big| i32_of(four(bytes, SIZE), big)) {
        [1000, _] => false,
        [_, 1000] => true,
        [size, _] => return Err(damaged(format!("its header size is {size}, not {HEADER}"))),
    };
    match i32_of(four(bytes, VERSION), big) {
        2 => {}
        3 => notes.push("version 3 is read as version 2".into()),
        other => {
            let detail = format!("version {other}, which has no vox_to_ras; 2 and 3 are read");
            return Err(Error::unsupported(path, "TRK", detail));
        }
    }
    let unsigned = |what: &str, value: i32| {
        u64::try_from(value).map_err(|_| damaged(format!("it states {value} {what}")))
    };
    Ok(Header {
        big,
        affine: affine(source, bytes, big, notes)?,
        scalars: unsigned("scalars", i16_of(two(bytes, SCALARS), big).into())?,
        properties: unsigned("properties", i16_of(two(bytes, PROPERTIES), big).into())?,
        count: unsigned("streamlines", i32_of(four(bytes, COUNT), big))?,
    })
}

/// From coordinates of the file to the world: those are millimetres from the corner of the first voxel along axes in the voxel
/// order, `vox_to_ras` is of indices, which are whole at the centres of voxels.
fn affine(
    source: &Source<'_>,
    bytes: &[u8; HEADER],
    big: bool,
    notes: &mut Vec<String>,
) -> Result<Matrix4<f64>> {
    let damaged = |detail: String| Error::format(source.path, "TRK", detail);
    let number = |at: usize| f64::from(f32_of(four(bytes, at), big));
    let to_ras = Matrix4::from_fn(|row, column| number(VOX_TO_RAS + 4 * (4 * row + column)));
    if to_ras[(3, 3)] == 0.0 {
        return Err(damaged(
            "its vox_to_ras is not recorded, without which its place in the world is not known".into(),
        ));
    }
    let size: [f64; 3] = std::array::from_fn(|k| number(VOXEL_SIZE + 4 * k));
    if !size.iter().all(|s| *s > 0.0 && s.is_finite()) {
        return Err(damaged(format!("its voxels have the sizes {size:?}")));
    }
    let shape: [i16; 3] = std::array::from_fn(|k| i16_of(two(bytes, DIMENSIONS + 2 * k), big));
    let grid = shape.map(|n| usize::try_from(n).unwrap_or(0));
    let grid = Grid::new(grid, to_ras)
        .map_err(|e| damaged(format!("vox_to_ras {to_ras:?} of {shape:?} voxels: {e}")))?;
    let stated = &bytes[VOXEL_ORDER..VOXEL_ORDER + 4];
    let stated: String =
        stated.iter().take_while(|b| **b != 0).map(|b| char::from(b.to_ascii_uppercase())).collect();
    let order = match stated.trim() {
        "" => {
            notes.push(format!(
                "its voxel order is not stated: it is taken to be {DEFAULT_ORDER}, as TrackVis does"
            ));
            DEFAULT_ORDER.to_owned()
        }
        order => order.to_owned(),
    };
    let own = grid.orientation();
    // Behind the sizes of voxels: half a voxel, and the other way round where the order is.
    let mut to_index = Matrix4::identity();
    for axis in 0..3 {
        let pair = order.chars().nth(axis).zip(own.chars().nth(axis));
        let mirrored = match pair {
            Some((a, b)) if a == b => false,
            Some((a, b)) if "LR RL AP PA SI IS".split(' ').any(|two| two.chars().eq([a, b])) => true,
            _ => {
                let detail = format!("voxel order {order} where vox_to_ras is {own}: axes are exchanged");
                return Err(Error::unsupported(source.path, "TRK", detail));
            }
        };
        let sign = if mirrored { -1.0 } else { 1.0 };
        to_index[(axis, axis)] = sign / size[axis];
        to_index[(axis, 3)] = if mirrored { f64::from(shape[axis]) - 0.5 } else { -0.5 };
    }
    Ok(grid.affine() * to_index)
}

fn two(bytes: &[u8; HEADER], at: usize) -> [u8; 2] {
    std::array::from_fn(|k| bytes[at + k])
}

fn four(bytes: &[u8; HEADER], at: usize) -> [u8; 4] {
    std::array::from_fn(|k| bytes[at + k])
}

fn i16_of(bytes: [u8; 2], big: bool) -> i16 {
    if big { i16::from_be_bytes(bytes) } else { i16::from_le_bytes(bytes) }
}

fn i32_of(bytes: [u8; 4], big: bool) -> i32 {
    if big { i32::from_be_bytes(bytes) } else { i32::from_le_bytes(bytes) }
}

fn f32_of(bytes: [u8; 4], big: bool) -> f32 {
    if big { f32::from_be_bytes(bytes) } else { f32::from_le_bytes(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of the fields that a test changes; the rest is that of two streamlines in 10 x 12 x 14 voxels.
    struct Made {
        big: bool,
        order: &'static [u8],
        affine: [f32; 16],
        scalars: i16,
        properties: i16,
        count: i32,
        version: i32,
        size: i32,
    }

    const AFFINE: [f32; 16] =
        [-2.0, 0.1, 0.0, 90.0, 0.2, 2.5, 0.1, -126.0, 0.0, 0.0, 3.0, -72.0, 0.0, 0.0, 0.0, 1.0];

    impl Made {
        fn new() -> Self {
            Made {
                big: false,
                order: b"LAS",
                affine: AFFINE,
                scalars: 0,
                properties: 0,
                count: 2,
                version: 2,
                size: 1000,
            }
        }

        fn bytes(&self) -> Vec<u8> {
            let i16 = |v: i16| if self.big { v.to_be_bytes() } else { v.to_le_bytes() };
            let i32 = |v: i32| if self.big { v.to_be_bytes() } else { v.to_le_bytes() };
            let f32 = |v: f32| if self.big { v.to_be_bytes() } else { v.to_le_bytes() };
            let mut all = vec![0_u8; HEADER];
            let mut put = |at: usize, bytes: &[u8]| all[at..at + bytes.len()].copy_from_slice(bytes);
            put(0, MAGIC);
            put(DIMENSIONS, &[10, 12, 14].map(i16).concat());
            put(VOXEL_SIZE, &[2.0, 2.5, 3.0].map(f32).concat());
            put(SCALARS, &i16(self.scalars));
            put(PROPERTIES, &i16(self.properties));
            put(VOX_TO_RAS, &self.affine.map(f32).concat());
            put(VOXEL_ORDER, self.order);
            put(COUNT, &i32(self.count));
            put(VERSION, &i32(self.version));
            put(SIZE, &i32(self.size));
            for points in [&[[1.0, 2.0, 3.0], [4.5, 6.0, 7.25]][..], &[[10.0, 20.0, 30.0]]] {
                all.extend(i32(points.len() as i32));
                for point in points {
                    all.extend(point.map(f32).concat());
                    all.extend((0..self.scalars).flat_map(|_| f32(9.0)));
                }
                all.extend((0..self.properties).flat_map(|_| f32(7.0)));
            }
            all
        }
    }

    fn read(bytes: &[u8]) -> Result<Streamlines, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.trk");
        std::fs::write(&path, bytes).unwrap();
        Streamlines::read(&path).map_err(|e| e.to_string())
    }

    fn assert_points(lines: &Streamlines, expected: [[f32; 3]; 3]) {
        assert_eq!((lines.len(), lines.get(0).len(), lines.get(1).len()), (2, 2, 1));
        for (found, expected) in lines.iter().flatten().flatten().zip(expected.as_flattened()) {
            approx(*found, *expected);
        }
    }

    fn approx(a: f32, b: f32) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }

    /// Numbers of nibabel 5.4.2 for the same bytes.
    #[test]
    fn points_lie_where_nibabel_puts_them() {
        let own = [[90.03, -125.2, -70.5], [86.689995, -120.708336, -66.25], [81.75, -105.4, -43.5]];
        let lps = [[91.07, -99.2, -70.5], [87.41, -102.708336, -66.25], [81.35, -115.4, -43.5]];
        for (order, expected, notes) in [
            (&b"LAS\0"[..], own, 0),
            (b"ras\0", [[72.03, -123.4, -70.5], [75.689995, -119.60834, -66.25], own[2]], 0),
            (b"LPS ", lps, 0),
            (b"", lps, 1),
            (b"LPI", [[91.07, -98.0, -34.5], [87.41, -101.791664, -38.75], [81.35, -116.0, -61.5]], 0),
        ] {
            let lines = read(&Made { order, ..Made::new() }.bytes()).unwrap();
            assert_points(&lines, expected);
            assert_eq!(lines.notes().len(), notes);
        }
        // The highest byte first, with further numbers, and without a count.
        for (big, scalars, properties, count) in [(true, 2, 1, 2), (false, 1, 3, 0), (true, 0, 0, 0)] {
            let made = Made { big, scalars, properties, count, ..Made::new() };
            assert_points(&read(&made.bytes()).unwrap(), own);
        }
        let one = read(&Made { count: 1, ..Made::new() }.bytes()).unwrap();
        assert_eq!(
            (one.len(), one.notes()),
            (1, &["16 bytes behind the last streamline are passed over".to_owned()][..])
        );
        assert!(read(&Made { version: 3, ..Made::new() }.bytes()).unwrap().notes()[0].contains("version 3"));
    }

    #[test]
    fn damage_is_named() {
        let error = |made: Made| read(&made.bytes()).unwrap_err();
        let base = Made::new();
        let mut unrecorded = AFFINE;
        unrecorded[15] = 0.0;
        let mut flat = AFFINE;
        (flat[8], flat[9], flat[10]) = (0.0, 0.0, 0.0);
        for (found, part) in [
            (error(Made { size: 348, ..Made::new() }), "its header size is 348, not 1000"),
            (
                error(Made { version: 1, ..Made::new() }),
                "unsupported TRK content: version 1, which has no vox_to_ras",
            ),
            (
                error(Made { count: i32::MAX, ..Made::new() }),
                "it states 2147483647 streamlines, more than fit",
            ),
            (error(Made { count: -1, ..Made::new() }), "it states -1 streamlines"),
            (error(Made { count: 5, ..Made::new() }), "it states 5 streamlines and holds 2"),
            (error(Made { scalars: -3, ..Made::new() }), "it states -3 scalars"),
            (error(Made { affine: unrecorded, ..Made::new() }), "vox_to_ras is not recorded"),
            (error(Made { affine: flat, ..Made::new() }), "vox_to_ras"),
            (
                error(Made { order: b"ALS", ..Made::new() }),
                "voxel order ALS where vox_to_ras is LAS: axes are exchanged",
            ),
            (read(&base.bytes()[..999]).unwrap_err(), "999 bytes, fewer than the header of 1000"),
            (
                read(&base.bytes()[..1020]).unwrap_err(),
                "streamline 0: it has 2 points, of which 16 bytes are left",
            ),
            (read(&base.bytes()[..1030]).unwrap_err(), "streamline 1: the file is cut off"),
        ] {
            assert!(found.contains(part), "{found}");
        }
        let changed = |at: usize, bytes: [u8; 4]| {
            let mut all = base.bytes();
            all[at..at + 4].copy_from_slice(&bytes);
            read(&all).unwrap_err()
        };
        assert!(changed(1000, (-2_i32).to_le_bytes()).contains("streamline 0: it has -2 points"));
        assert!(
            changed(1000, i32::MAX.to_le_bytes()).contains("2147483647 points, of which 40 bytes are left")
        );
        assert!(changed(1008, f32::NAN.to_le_bytes()).contains("streamline 0: a coordinate is not finite"));
        assert!(
            changed(VOXEL_SIZE, 0.0_f32.to_le_bytes()).contains("its voxels have the sizes [0.0, 2.5, 3.0]")
        );
    }
}

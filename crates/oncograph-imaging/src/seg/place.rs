//! Where planes lie in the grid of an image.

use super::read::{Plane, SegmentationObject};
use crate::dicom::Series;
use crate::grid::Grid;
use nalgebra::Matrix4;

/// A plane's pixels may lie this far (in voxels) from voxel centres and still count as the same voxels.
pub(super) const TOLERANCE: f64 = 0.1;

/// Each plane's place, or why the planes are not slices of the grid.
type Placements = Result<Vec<Placement>, String>;

impl SegmentationObject {
    /// The planes in a grid by their positions.
    pub(super) fn placements(&self, grid: &Grid) -> Placements {
        if let Some(plane) = self.planes.iter().find(|p| p.slice_spacing.is_some()) {
            self.require_slice_spacing(plane, grid)?;
        }
        self.planes.iter().map(|plane| self.placement(plane, grid)).collect()
    }

    /// The planes in the series: those that refer to its images lie on the slices' own positions.
    ///
    /// Where a plane's position and its reference name different slices the position counts, as for every reader that
    /// looks at one of the two only.
    pub(super) fn placements_in(&self, series: &Series) -> Placements {
        let (grid, slices) = (series.volume.grid(), &series.slices);
        let of_series = |uid: &String| slices.iter().any(|s| &s.instance_uid == uid);
        let refers = |plane: &Plane| plane.sources.iter().any(of_series);
        if !self.planes.iter().all(refers) {
            return self.placements(grid);
        }
        let mut places = Vec::with_capacity(self.planes.len());
        for plane in &self.planes {
            let normal = plane.normal();
            let away = |k: &usize| (dot(slices[*k].position, normal) - dot(plane.position, normal)).abs();
            let nearest = (0..slices.len()).min_by(|a, b| away(a).total_cmp(&away(b))).unwrap_or(0);
            // The grid is even where the slices may be not quite.
            let even = grid.index_to_world([0.0, 0.0, nearest as f64]);
            let own = ras(slices[nearest].position);
            let shift = ras(std::array::from_fn(|a| even[a] - own[a]));
            let position = std::array::from_fn(|a| plane.position[a] + shift[a]);
            let place = self.placement(&Plane { position, ..plane.clone() }, grid)?;
            let misreferenced = !plane.sources.contains(&slices[nearest].instance_uid);
            places.push(Placement { misreferenced, ..place });
        }
        Ok(places)
    }

    /// Planes whose stated distance is not that of the grid's slices would leave slices empty, or fall into one.
    fn require_slice_spacing(&self, plane: &Plane, grid: &Grid) -> Result<(), String> {
        let Some(stated) = plane.slice_spacing else { return Ok(()) };
        let step =
            (grid.inverse() * plane.affine(stated)).column(2).iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        if (step - 1.0).abs() <= TOLERANCE {
            return Ok(());
        }
        let of_grid = stated / step;
        Err(format!(
            "its planes are stated to lie {stated} mm apart (SpacingBetweenSlices), the slices {of_grid:.4} mm"
        ))
    }

    /// Where a plane's pixels lie in the grid, if they are voxels of it.
    fn placement(&self, plane: &Plane, grid: &Grid) -> Result<Placement, String> {
        // Through the plane, only the direction matters here.
        let to_index = grid.inverse() * plane.affine(1.0);
        let mut axes = [0; 3];
        let mut signs = [0; 3];
        for column in 0..3 {
            let size = |a: usize| to_index[(a, column)].abs();
            let axis = (0..3).fold(0, |best, a| if size(a) >= size(best) { a } else { best });
            axes[column] = axis;
            signs[column] = if to_index[(axis, column)] > 0.0 { 1 } else { -1 };
        }
        if (1 << axes[0] | 1 << axes[1] | 1 << axes[2]) != 7 {
            return Err("its planes are oblique to the slices".into());
        }
        // A damaged position may be beyond all indices.
        if !(0..3).all(|a| to_index[(a, 3)].abs() < 1e9) {
            return Err(format!("a plane lies at {:?}", plane.position));
        }
        let start: [i64; 3] = std::array::from_fn(|a| to_index[(a, 3)].round() as i64);
        let mut off = 0.0_f64;
        // The error grows linearly over the plane, so its corners bound it.
        for (i, j) in [(0, 0), (self.columns - 1, 0), (0, self.rows - 1), (self.columns - 1, self.rows - 1)] {
            for row in 0..3 {
                let exact =
                    to_index[(row, 0)] * i as f64 + to_index[(row, 1)] * j as f64 + to_index[(row, 3)];
                let mut voxel = start[row];
                voxel += if axes[0] == row { signs[0] * i as i64 } else { 0 };
                voxel += if axes[1] == row { signs[1] * j as i64 } else { 0 };
                off = off.max((exact - voxel as f64).abs());
            }
        }
        if off > TOLERANCE {
            return Err(self.misfit(plane, grid, [axes[0], axes[1]], off));
        }
        Ok(Placement { start, x: (axes[0], signs[0]), y: (axes[1], signs[1]), misreferenced: false })
    }

    /// What a plane has that the grid has not.
    fn misfit(&self, plane: &Plane, grid: &Grid, [x, y]: [usize; 2], off: f64) -> String {
        let (own, spacing) = (plane.spacing, grid.spacing());
        let of_grid = [spacing[y], spacing[x]];
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-3 * b;
        if near(own[0], of_grid[1]) && near(own[1], of_grid[0]) && !near(own[0], of_grid[0]) {
            return format!(
                "its PixelSpacing {own:?} is that of the image, {of_grid:?}, with rows and columns exchanged, so that pixels lie up to {off:.1} voxels off"
            );
        }
        if !(near(own[0], of_grid[0]) && near(own[1], of_grid[1])) {
            return format!("its PixelSpacing is {own:?}, that of the image {of_grid:?}");
        }
        format!(
            "the plane at {:?} (LPS, mm) lies up to {off:.2} voxels off the image's voxels",
            plane.position
        )
    }
}

/// Where a plane lies in the reference grid: its first pixel's voxel and the axes that its columns and rows follow.
pub(super) struct Placement {
    pub start: [i64; 3],
    pub x: (usize, i64),
    pub y: (usize, i64),
    /// True where the plane refers to another image than the one that it lies on.
    pub misreferenced: bool,
}

impl Plane {
    pub fn normal(&self) -> [f64; 3] {
        let o = self.orientation;
        [o[1] * o[5] - o[2] * o[4], o[2] * o[3] - o[0] * o[5], o[0] * o[4] - o[1] * o[3]]
    }

    /// The affine (RAS+) of a stack that starts with this plane.
    pub fn affine(&self, slice_spacing: f64) -> Matrix4<f64> {
        let o = self.orientation;
        let scaled = |v: [f64; 3], by: f64| ras(v.map(|c| c * by));
        let columns = [
            scaled([o[0], o[1], o[2]], self.spacing[1]),
            scaled([o[3], o[4], o[5]], self.spacing[0]),
            scaled(self.normal(), slice_spacing),
            ras(self.position),
        ];
        Matrix4::from_fn(|r, c| if r == 3 { f64::from(c == 3) } else { columns[c][r] })
    }
}

pub(super) fn ras(lps: [f64; 3]) -> [f64; 3] {
    [-lps[0], -lps[1], lps[2]]
}

pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[cfg(test)]
mod tests {
    use crate::Mask;
    use crate::dicom::testing::{Phantom, deform};
    use crate::dicom::{Series, SeriesOptions, read_series};
    use crate::seg::{Code, DecodeOptions, DecodedSegment, NewSegment, WriteOptions, read, write};
    use dicom_core::value::DataSetSequence;
    use dicom_core::{DataElement, PrimitiveValue, VR};
    use dicom_dictionary_std::{tags, uids};
    use dicom_object::InMemDicomObject;
    use std::path::{Path, PathBuf};

    /// A series, and a segment on some of its slices.
    fn drawn(phantom: &Phantom, slices: &'static [usize]) -> (tempfile::TempDir, Series, PathBuf, Mask) {
        let folder = tempfile::tempdir().unwrap();
        phantom.write(folder.path());
        let series = read_series(folder.path(), &SeriesOptions::new()).unwrap();
        let (grid, frame) = (series.volume.grid().clone(), series.volume.frame().clone());
        let mask = Mask::from_fn(grid, frame, |[i, _, k]| u8::from(i > 1 && slices.contains(&k)));
        let path = folder.path().join("seg.dcm");
        let segment = NewSegment::new("Liver", Code::organ(), Code::organ());
        write(&path, &series, &[(segment, mask.clone())], &WriteOptions::new()).unwrap();
        (folder, series, path, mask)
    }

    /// Changes the item of the shared group that holds the spacing.
    fn measures(path: &Path, change: impl Fn(&mut InMemDicomObject)) {
        deform(path, |o| {
            let mut shared =
                o.get(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).unwrap().items().unwrap()[0].clone();
            let mut item = shared.get(tags::PIXEL_MEASURES_SEQUENCE).unwrap().items().unwrap()[0].clone();
            change(&mut item);
            let wrap = |tag, item| DataElement::new(tag, VR::SQ, DataSetSequence::from(vec![item]));
            shared.put(wrap(tags::PIXEL_MEASURES_SEQUENCE, item));
            o.put(wrap(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, shared));
        });
    }

    fn only(decoded: crate::Result<Vec<DecodedSegment>>) -> (Mask, bool) {
        let decoded = decoded.unwrap().remove(0);
        (decoded.mask(), decoded.resampled)
    }

    #[test]
    fn planes_go_to_the_slices_that_they_lie_on() {
        let chosen: [&'static [usize]; 6] = [&[0, 2, 4], &[0, 3], &[2], &[4], &[0, 1, 4], &[0, 1, 2, 3, 4]];
        for slices in chosen {
            for phantom in [Phantom::axial(), Phantom::oblique()] {
                let (_folder, series, path, mask) = drawn(&phantom, slices);
                // Thick slices without a stated distance, a distance of the planes that are there, and nothing at all.
                for (thickness, distance) in [(Some("5"), None), (Some("2.5"), Some("5")), (None, None)] {
                    measures(&path, |item| {
                        item.remove_element(tags::SLICE_THICKNESS);
                        item.remove_element(tags::SPACING_BETWEEN_SLICES);
                        if let Some(text) = thickness {
                            item.put_str(tags::SLICE_THICKNESS, VR::DS, text);
                        }
                        if let Some(text) = distance {
                            item.put_str(tags::SPACING_BETWEEN_SLICES, VR::DS, text);
                        }
                    });
                    let object = read(&path).unwrap();
                    let by_series = object.decode_onto_series(&series, &DecodeOptions::new());
                    assert_eq!(only(by_series), (mask.clone(), false), "{slices:?} {thickness:?}");
                    let by_position = object.decode_onto(series.volume.grid(), series.volume.frame());
                    match distance {
                        None => assert_eq!(only(by_position), (mask.clone(), false), "{slices:?}"),
                        Some(_) => {
                            assert!(by_position.unwrap_err().to_string().contains("stated to lie 5 mm"))
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn another_grid_is_refused_with_what_differs() {
        let cases: [(&str, &str, &str); 3] = [
            ("0.8\\0.7", "rows and columns exchanged", "voxels off"),
            ("0.7\\0.9", "PixelSpacing is [0.7, 0.9]", "that of the image [0.7, 0.8]"),
            ("0.35\\0.4", "PixelSpacing is [0.35, 0.4]", "seg.dcm"),
        ];
        for (spacing, first, second) in cases {
            let (_folder, series, path, _) = drawn(&Phantom::axial(), &[1, 2]);
            measures(&path, |item| {
                item.put_str(tags::PIXEL_SPACING, VR::DS, spacing);
            });
            let object = read(&path).unwrap();
            let strict = DecodeOptions::new();
            for result in [
                object.decode_onto(series.volume.grid(), series.volume.frame()),
                object.decode_onto_series(&series, &strict),
            ] {
                let text = result.unwrap_err().to_string();
                assert!(text.contains(first) && text.contains(second) && text.contains("resample"), "{text}");
            }
            assert!(only(object.decode_onto_series(&series, &strict.resample(true))).1);
        }
        // Between two slices.
        let (_folder, series, path, _) = drawn(&Phantom::axial(), &[2]);
        let object = read(&path).unwrap();
        let mut affine = *series.volume.grid().affine();
        affine[(2, 3)] += 1.0;
        let moved = crate::Grid::new(series.volume.shape(), affine).unwrap();
        let text = object.decode_onto(&moved, series.volume.frame()).unwrap_err().to_string();
        assert!(text.contains("0.40 voxels off"), "{text}");
    }

    /// Two planes with nothing but empty slices between them, which would be billions of voxels.
    #[test]
    fn planes_far_apart_are_not_resampled() {
        let (_folder, series, path, _) = drawn(&Phantom::axial(), &[0, 4]);
        deform(&path, |o| {
            for tag in [tags::ROWS, tags::COLUMNS] {
                o.put(DataElement::new(tag, VR::US, PrimitiveValue::from(512_u16)));
            }
            let pixels = PrimitiveValue::U8(vec![0xff; 2 * 512 * 512 / 8].into());
            o.put(DataElement::new(tags::PIXEL_DATA, VR::OB, pixels));
            let groups = o.get(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).unwrap();
            let mut frames = groups.value().items().unwrap().to_vec();
            let mut place =
                frames[1].get(tags::PLANE_POSITION_SEQUENCE).unwrap().value().items().unwrap()[0].clone();
            let first =
                frames[0].get(tags::PLANE_POSITION_SEQUENCE).unwrap().value().items().unwrap()[0].clone();
            let first = first.get(tags::IMAGE_POSITION_PATIENT).unwrap().to_multi_float64().unwrap();
            let far = format!("{}\\{}\\{}", first[0], first[1], first[2] + 2.5 * 8000.0);
            place.put_str(tags::IMAGE_POSITION_PATIENT, VR::DS, far);
            let wrap = |tag, items| DataElement::new(tag, VR::SQ, DataSetSequence::from(items));
            frames[1].put(wrap(tags::PLANE_POSITION_SEQUENCE, vec![place]));
            o.put(wrap(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames));
        });
        measures(&path, |item| {
            item.put_str(tags::PIXEL_SPACING, VR::DS, "0.35\\0.4");
        });
        let object = read(&path).unwrap();
        let decoded = object.decode_onto_series(&series, &DecodeOptions::new().resample(true));
        let text = decoded.unwrap_err().to_string();
        assert!(text.contains("2 planes of segment 1 reach over 8001 slices"), "{text}");
    }

    #[test]
    fn slices_that_are_not_quite_even_keep_their_planes_and_references_do_not_move_them() {
        let folder = tempfile::tempdir().unwrap();
        for (k, path) in Phantom::axial().write(folder.path()).into_iter().enumerate() {
            let z = [0.0, 0.7, 1.3, 1.9, 2.5][k];
            deform(&path, |o| {
                o.put_str(tags::IMAGE_POSITION_PATIENT, VR::DS, format!("0\\0\\{z}"));
            });
        }
        let series = read_series(folder.path(), &SeriesOptions::new().spacing_tolerance(0.2)).unwrap();
        let (grid, frame) = (series.volume.grid().clone(), series.volume.frame().clone());
        let mask = Mask::from_fn(grid, frame, |[i, _, k]| u8::from(i > 1 && k != 3));
        let path = folder.path().join("seg.dcm");
        let segment = NewSegment::new("Liver", Code::organ(), Code::organ());
        write(&path, &series, &[(segment, mask.clone())], &WriteOptions::new()).unwrap();
        let object = read(&path).unwrap();
        assert_eq!(only(object.decode_onto_series(&series, &DecodeOptions::new())), (mask.clone(), false));
        let mut turned = series;
        turned.slices.reverse();
        let positions: Vec<[f64; 3]> = turned.slices.iter().map(|s| s.position).collect();
        turned.slices.iter_mut().zip(positions.iter().rev()).for_each(|(s, p)| s.position = *p);
        // Positions count where references disagree: the middle slice alone keeps its name.
        let decoded = object.decode_onto_series(&turned, &DecodeOptions::new()).unwrap().remove(0);
        assert_eq!((decoded.mask(), decoded.misreferenced), (mask, 3));
    }

    #[test]
    fn label_maps_are_segments() {
        for (bits, background) in [(8_u16, 0_u16), (16, 0), (8, 255)] {
            let (_folder, series, path, mask) = drawn(&Phantom::axial(), &[1, 2]);
            deform(&path, |o| {
                o.put_str(tags::SOP_CLASS_UID, VR::UI, uids::LABEL_MAP_SEGMENTATION_STORAGE);
                o.put_str(tags::SEGMENTATION_TYPE, VR::CS, "LABELMAP");
                let mut segments = o.get(tags::SEGMENT_SEQUENCE).unwrap().items().unwrap().to_vec();
                for (number, label) in [(0_u16, "Background"), (7, "Tumor_1")] {
                    let mut item = segments[0].clone();
                    item.put(DataElement::new(tags::SEGMENT_NUMBER, VR::US, PrimitiveValue::from(number)));
                    item.put_str(tags::SEGMENT_LABEL, VR::LO, label);
                    segments.push(item);
                }
                o.put(DataElement::new(tags::SEGMENT_SEQUENCE, VR::SQ, DataSetSequence::from(segments)));
                let numbers =
                    [(tags::BITS_ALLOCATED, bits), (tags::BITS_STORED, bits), (tags::HIGH_BIT, bits - 1)];
                for (tag, value) in numbers.into_iter().chain([(tags::PIXEL_PADDING_VALUE, background)]) {
                    o.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
                }
                // Two planes of 5 x 4; the last pixel is the tumour's.
                let label = |i: usize| match (i, i % 5) {
                    (39, _) => 7,
                    (_, 2..) => 1,
                    _ => background,
                };
                let pixels: Vec<u16> = (0..40).map(label).collect();
                let value = match bits {
                    8 => PrimitiveValue::U8(pixels.iter().map(|v| *v as u8).collect()),
                    _ => PrimitiveValue::U16(pixels.into_iter().collect()),
                };
                let vr = if bits == 8 { VR::OB } else { VR::OW };
                o.put(DataElement::new(tags::PIXEL_DATA, vr, value));
            });
            let object = read(&path).unwrap();
            let labels: Vec<(u16, &str)> =
                object.segments.iter().map(|s| (s.number, s.label.as_str())).collect();
            assert_eq!(labels, [(1, "Liver"), (7, "Tumor_1")]);
            let decoded = object.decode_onto_series(&series, &DecodeOptions::new()).unwrap();
            assert_eq!(decoded[1].mask().count(), 1);
            assert_eq!(decoded[1].mask().get([4, 3, 2]), Some(1));
            assert_eq!(decoded[0].mask().count() + 1, mask.count());
            deform(&path, |o| {
                let first = o.get(tags::SEGMENT_SEQUENCE).unwrap().items().unwrap()[..1].to_vec();
                o.put(DataElement::new(tags::SEGMENT_SEQUENCE, VR::SQ, DataSetSequence::from(first)));
            });
            assert!(read(&path).unwrap_err().to_string().contains("label 7"));
        }
    }
}

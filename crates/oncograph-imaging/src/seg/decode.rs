//! Laying a segmentation onto the grid of an image.

use super::read::{Plane, Segment, SegmentationKind, SegmentationObject};
use crate::dicom::attributes::name_of;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::grid::Grid;
use crate::resample::{ResampleOptions, resample};
use crate::volume::{Mask, Volume};
use dicom_dictionary_std::tags;
use nalgebra::Matrix4;

/// A plane's pixels may lie this far (in voxels) from voxel centres and still count as the same voxels.
const TOLERANCE: f64 = 0.1;

/// One segment on the reference grid.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DecodedSegment {
    /// Which segment.
    pub segment: Segment,
    /// Its voxels.
    pub data: SegmentData,
    /// Foreground pixels of the object that lie outside the reference grid and are lost.
    pub outside: usize,
    /// True where the grids did not match and the segment was resampled (nearest neighbour).
    pub resampled: bool,
}

/// The voxels of a segment.
#[derive(Debug, Clone, PartialEq)]
pub enum SegmentData {
    /// 0 or 1.
    Binary(Mask),
    /// 0 to 1.
    Fractional(Volume<f32>),
}

impl DecodedSegment {
    /// The segment as a mask: a fractional one where it is at least one half.
    pub fn mask(&self) -> Mask {
        match &self.data {
            SegmentData::Binary(mask) => mask.clone(),
            SegmentData::Fractional(volume) => volume.map(|v| u8::from(v >= 0.5)),
        }
    }

    /// True where no voxel of the reference grid belongs to the segment.
    pub fn is_empty(&self) -> bool {
        match &self.data {
            SegmentData::Binary(mask) => mask.as_slice().iter().all(|v| *v == 0),
            SegmentData::Fractional(volume) => volume.as_slice().iter().all(|v| *v == 0.0),
        }
    }
}

impl SegmentationObject {
    /// Every segment on the given grid, in the order of their numbers; overlapping segments stay apart.
    ///
    /// Planes are pasted by their position in the patient, whatever part of the grid they cover, also mirrored or
    /// with exchanged axes. Where a plane's pixels are not voxels of the grid (other spacing, angle or offset, to
    /// 0.1 voxel), the object is resampled to it by nearest neighbour and
    /// [`resampled`](DecodedSegment::resampled) is set. A segment without planes gives an empty mask.
    ///
    /// # Errors
    /// [`Error::FrameMismatch`] where both sides have a frame of reference and they differ: another patient or
    /// another examination. Also planes that form no regular stack where resampling is needed.
    ///
    /// # Example
    /// ```no_run
    /// use oncograph_imaging::{dicom, seg};
    ///
    /// let ct = dicom::read_series("ct", &dicom::SeriesOptions::new())?.volume;
    /// for found in seg::read("liver.dcm")?.decode_onto(ct.grid(), ct.frame())? {
    ///     println!("{}: {:.1} ml", found.segment.label, found.mask().foreground_volume() / 1000.0);
    /// }
    /// # Ok::<(), oncograph_imaging::Error>(())
    /// ```
    pub fn decode_onto(&self, grid: &Grid, frame: &Frame) -> Result<Vec<DecodedSegment>> {
        match (&frame.uid, &self.frame_of_reference) {
            (Some(expected), Some(got)) if expected != got => {
                return Err(Error::FrameMismatch {
                    operation: "decode_onto",
                    path: self.path.clone(),
                    expected: expected.clone(),
                    got: got.clone(),
                });
            }
            (Some(_), Some(_)) => {}
            _ => {
                tracing::warn!(path = %self.path.display(), "no frame of reference to compare: positions are trusted")
            }
        }
        let spacing = self.slice_spacing();
        let places: Option<Vec<Placement>> =
            self.planes.iter().map(|p| self.placement(p, grid, spacing)).collect();
        let decode = |segment: &Segment| {
            let (values, outside, resampled) = match &places {
                Some(places) => self.paste(segment.number, grid, places),
                None => self.resampled(segment.number, grid)?,
            };
            let data = self.finish(values, grid, frame)?;
            Ok(DecodedSegment { segment: segment.clone(), data, outside, resampled })
        };
        let decoded: Vec<DecodedSegment> = self.segments.iter().map(decode).collect::<Result<_>>()?;
        for lost in decoded.iter().filter(|d| d.outside > 0) {
            let (path, label) = (self.path.display(), &lost.segment.label);
            tracing::warn!(%path, label, pixels = lost.outside, "segment reaches beyond the reference grid");
        }
        Ok(decoded)
    }

    /// Distance between neighbouring planes: as stated, but never more than the closest two planes.
    fn slice_spacing(&self) -> Option<f64> {
        let first = self.planes.first()?;
        if first.slice_spacing.is_some() {
            return first.slice_spacing;
        }
        let heights = self.heights();
        let closest = heights.windows(2).map(|w| w[1] - w[0]).min_by(f64::total_cmp);
        match (closest, first.thickness) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The planes' distinct positions along the first one's normal, ascending.
    fn heights(&self) -> Vec<f64> {
        let Some(first) = self.planes.first() else { return Vec::new() };
        let normal = first.normal();
        let mut heights: Vec<f64> = self.planes.iter().map(|p| dot(p.position, normal)).collect();
        heights.sort_by(f64::total_cmp);
        heights.dedup_by(|a, b| (*a - *b).abs() < 1e-3);
        heights
    }

    /// Where a plane's pixels lie in the grid, if they are voxels of it.
    fn placement(&self, plane: &Plane, grid: &Grid, slice_spacing: Option<f64>) -> Option<Placement> {
        let to_index = grid.inverse() * plane.affine(slice_spacing.unwrap_or(1.0));
        let mut axes = [0; 3];
        let mut signs = [0; 3];
        for column in 0..3 {
            let axis = (0..3)
                .max_by(|&a, &b| to_index[(a, column)].abs().total_cmp(&to_index[(b, column)].abs()))?;
            axes[column] = axis;
            signs[column] = if to_index[(axis, column)] > 0.0 { 1 } else { -1 };
        }
        if (1 << axes[0] | 1 << axes[1] | 1 << axes[2]) != 7 {
            return None;
        }
        // A damaged position may be beyond all indices.
        if !(0..3).all(|a| to_index[(a, 3)].abs() < 1e9) {
            return None;
        }
        let start: [i64; 3] = std::array::from_fn(|a| to_index[(a, 3)].round() as i64);
        // The error grows linearly over the plane, so its corners bound it.
        for (i, j) in [(0, 0), (self.columns - 1, 0), (0, self.rows - 1), (self.columns - 1, self.rows - 1)] {
            for row in 0..3 {
                let exact =
                    to_index[(row, 0)] * i as f64 + to_index[(row, 1)] * j as f64 + to_index[(row, 3)];
                let mut voxel = start[row];
                voxel += if axes[0] == row { signs[0] * i as i64 } else { 0 };
                voxel += if axes[1] == row { signs[1] * j as i64 } else { 0 };
                if (exact - voxel as f64).abs() > TOLERANCE {
                    return None;
                }
            }
        }
        // Planes further apart than the image's slices would leave empty slices between them.
        let step = to_index[(axes[2], 2)].abs();
        if slice_spacing.is_some() && (step - 1.0).abs() > TOLERANCE {
            return None;
        }
        Some(Placement { start, x: (axes[0], signs[0]), y: (axes[1], signs[1]) })
    }

    fn paste(&self, number: u16, grid: &Grid, places: &[Placement]) -> (Vec<u8>, usize, bool) {
        let mut values = vec![0_u8; grid.len()];
        let mut outside = 0;
        for (index, place) in places.iter().enumerate().filter(|(i, _)| self.planes[*i].segment == number) {
            for (pixel, &value) in self.pixels_of(index).iter().enumerate().filter(|(_, v)| **v != 0) {
                let mut voxel = place.start;
                voxel[place.x.0] += place.x.1 * (pixel % self.columns) as i64;
                voxel[place.y.0] += place.y.1 * (pixel / self.columns) as i64;
                let voxel = voxel.map(|v| usize::try_from(v).unwrap_or(usize::MAX));
                match grid.offset(voxel) {
                    Some(offset) => values[offset] = values[offset].max(value),
                    None => outside += 1,
                }
            }
        }
        (values, outside, false)
    }

    /// The segment as a separate stack, sampled at the grid's voxels.
    fn resampled(&self, number: u16, grid: &Grid) -> Result<(Vec<u8>, usize, bool)> {
        let own: Vec<usize> = (0..self.planes.len()).filter(|&i| self.planes[i].segment == number).collect();
        let Some(&any) = own.first() else { return Ok((vec![0; grid.len()], 0, true)) };
        let first = &self.planes[any];
        let spacing = self
            .slice_spacing()
            .ok_or_else(|| Error::missing_attribute(&self.path, &name_of(tags::SPACING_BETWEEN_SLICES)))?;
        let normal = first.normal();
        let height = |i: usize| dot(self.planes[i].position, normal);
        let lowest = own.iter().copied().min_by(|&a, &b| height(a).total_cmp(&height(b))).unwrap_or(any);
        let base = &self.planes[lowest];
        let affine = base.affine(spacing);
        let to_stack = Grid::new([1, 1, 1], affine)?;
        let mut slots = Vec::with_capacity(own.len());
        for &i in &own {
            let plane = &self.planes[i];
            let at = to_stack.world_to_index(ras(plane.position));
            let same = plane.orientation.iter().zip(&base.orientation).all(|(a, b)| (a - b).abs() < 1e-4);
            let on_stack =
                (0..3).all(|a| (at[a] - if a == 2 { at[2].round() } else { 0.0 }).abs() < TOLERANCE);
            if !same || plane.spacing != base.spacing || !on_stack || at[2].round() > 8192.0 {
                let detail =
                    format!("{}: the planes of segment {number} form no regular stack", self.path.display());
                return Err(Error::geometry("decode_onto", detail));
            }
            slots.push(at[2].round() as usize);
        }
        let depth = slots.iter().max().copied().unwrap_or(0) + 1;
        let stack_grid = Grid::new([self.columns, self.rows, depth], affine)?;
        let mut stack = Volume::filled(stack_grid, Frame::default(), 0_u8);
        let size = self.rows * self.columns;
        for (&plane, &slot) in own.iter().zip(&slots) {
            let target = &mut stack.as_mut_slice()[slot * size..(slot + 1) * size];
            target.iter_mut().zip(self.pixels_of(plane)).for_each(|(t, v)| *t = (*t).max(*v));
        }
        let outside = stack.as_slice().iter().enumerate().filter(|(_, v)| **v != 0);
        let outside = outside.filter(|(o, _)| {
            let index = stack.grid().index_of(*o).map(|v| v as f64);
            grid.voxel_at(stack.grid().index_to_world(index)).is_none()
        });
        let outside = outside.count();
        let (_, _, values) = resample(&stack, grid, &ResampleOptions::label())?.into_parts();
        Ok((values, outside, true))
    }

    fn finish(&self, values: Vec<u8>, grid: &Grid, frame: &Frame) -> Result<SegmentData> {
        let frame = match (&frame.uid, &self.frame_of_reference) {
            (None, Some(uid)) => Frame::from_uid(uid),
            _ => frame.clone(),
        };
        match self.kind {
            SegmentationKind::Binary => Ok(SegmentData::Binary(Mask::new(grid.clone(), frame, values)?)),
            SegmentationKind::Fractional { maximum } => {
                let data = values.iter().map(|v| f32::from(*v) / f32::from(maximum)).collect();
                Ok(SegmentData::Fractional(Volume::new(grid.clone(), frame, data)?))
            }
        }
    }
}

/// Where a plane lies in the reference grid: its first pixel's voxel and the axes that its columns and rows follow.
struct Placement {
    start: [i64; 3],
    x: (usize, i64),
    y: (usize, i64),
}

impl Plane {
    fn normal(&self) -> [f64; 3] {
        let o = self.orientation;
        [o[1] * o[5] - o[2] * o[4], o[2] * o[3] - o[0] * o[5], o[0] * o[4] - o[1] * o[3]]
    }

    /// The affine (RAS+) of a stack that starts with this plane.
    fn affine(&self, slice_spacing: f64) -> Matrix4<f64> {
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

fn ras(lps: [f64; 3]) -> [f64; 3] {
    [-lps[0], -lps[1], lps[2]]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

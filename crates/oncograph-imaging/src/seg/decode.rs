//! Laying a segmentation onto the grid of an image.

use super::place::{Placement, TOLERANCE, dot, ras};
use super::read::{Segment, SegmentationKind, SegmentationObject};
use crate::dicom::Series;
use crate::dicom::attributes::name_of;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::grid::Grid;
use crate::resample::{ResampleOptions, resample};
use crate::volume::{Mask, Volume};
use dicom_dictionary_std::tags;
use serde::{Deserialize, Serialize};

/// How many times the voxels of the image and the pixels of a segment a stack may have, between whose planes others lack.
const STACK: usize = 16;

/// What to do where the planes are not slices of the image. The default is strict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DecodeOptions {
    /// Resample a segmentation that lies on another grid than the image, by nearest neighbour, instead of failing.
    pub resample: bool,
}

impl DecodeOptions {
    /// Strict decoding.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`resample`](Self::resample).
    pub fn resample(mut self, resample: bool) -> Self {
        self.resample = resample;
        self
    }
}

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
    /// Planes that refer to another image of the series than the slice that they lie on. Their position counts; whoever
    /// shows the segment should say so, since one of the two is wrong.
    pub misreferenced: usize,
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
    /// Each plane goes to the slice that it lies on by its own position in the patient, whatever part of the grid the
    /// planes cover, also mirrored, with exchanged axes or with slices between them that have no plane. A segment without
    /// planes gives an empty mask.
    ///
    /// # Errors
    /// [`Error::FrameMismatch`] where both sides have a frame of reference and they differ: another patient or
    /// another examination. [`Error::Geometry`] where the planes' pixels are not voxels of the grid (other spacing, angle or
    /// offset, to 0.1 voxel, or a stated distance between planes that is not that of the grid's slices);
    /// [`decode_onto_with`](Self::decode_onto_with) resamples on request.
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
        self.decode_onto_with(grid, frame, &DecodeOptions::new())
    }

    /// As [`decode_onto`](Self::decode_onto), with options; a segment that was resampled has
    /// [`resampled`](DecodedSegment::resampled) set.
    ///
    /// # Errors
    /// As [`decode_onto`](Self::decode_onto); planes that form no regular stack where resampling is needed.
    pub fn decode_onto_with(
        &self,
        grid: &Grid,
        frame: &Frame,
        options: &DecodeOptions,
    ) -> Result<Vec<DecodedSegment>> {
        self.require_frame(frame)?;
        match self.placements(grid) {
            Ok(places) => self.pasted(grid, frame, &places),
            Err(_) if options.resample => self.all_resampled(grid, frame),
            Err(misfit) => Err(self.refuse(&misfit)),
        }
    }

    /// Every segment on the grid of the series that it was drawn on; see [`decode_onto`](Self::decode_onto).
    ///
    /// Planes that refer to slices of the series may leave out slices between them whatever distance the object states, and
    /// lie on the slices' own positions, also where those are not quite even. Where a plane refers to another image than
    /// the slice that it lies on the position counts, and [`misreferenced`](DecodedSegment::misreferenced) says how many.
    ///
    /// # Errors
    /// As [`decode_onto_with`](Self::decode_onto_with).
    pub fn decode_onto_series(
        &self,
        series: &Series,
        options: &DecodeOptions,
    ) -> Result<Vec<DecodedSegment>> {
        let (grid, frame) = (series.volume.grid(), series.volume.frame());
        self.require_frame(frame)?;
        match self.placements_in(series) {
            Ok(places) => self.pasted(grid, frame, &places),
            Err(_) if options.resample => self.all_resampled(grid, frame),
            Err(misfit) => Err(self.refuse(&misfit)),
        }
    }

    fn require_frame(&self, frame: &Frame) -> Result<()> {
        match (&frame.uid, &self.frame_of_reference) {
            (Some(expected), Some(got)) if expected != got => Err(Error::FrameMismatch {
                operation: "decode_onto",
                path: self.path.clone(),
                expected: expected.clone(),
                got: got.clone(),
            }),
            (Some(_), Some(_)) => Ok(()),
            _ => {
                tracing::warn!(path = %self.path.display(), "no frame of reference to compare: positions are trusted");
                Ok(())
            }
        }
    }

    fn refuse(&self, misfit: &str) -> Error {
        let path = self.path.display();
        let detail = format!(
            "{path}: the segmentation lies on another grid than the image: {misfit}; DecodeOptions::resample brings it onto the image by nearest neighbour"
        );
        Error::geometry("decode_onto", detail)
    }

    fn pasted(&self, grid: &Grid, frame: &Frame, places: &[Placement]) -> Result<Vec<DecodedSegment>> {
        let decode = |segment: &Segment| {
            let (values, outside) = self.paste(segment.number, grid, places);
            let data = self.finish(values, grid, frame)?;
            let planes = self.planes.iter().zip(places).filter(|(plane, _)| plane.segment == segment.number);
            let misreferenced = planes.filter(|(_, place)| place.misreferenced).count();
            Ok(DecodedSegment { segment: segment.clone(), data, outside, resampled: false, misreferenced })
        };
        self.told(self.segments.iter().map(decode).collect::<Result<_>>()?)
    }

    fn all_resampled(&self, grid: &Grid, frame: &Frame) -> Result<Vec<DecodedSegment>> {
        let decode = |segment: &Segment| {
            let (values, outside) = self.resampled(segment.number, grid)?;
            let data = self.finish(values, grid, frame)?;
            Ok(DecodedSegment { segment: segment.clone(), data, outside, resampled: true, misreferenced: 0 })
        };
        self.told(self.segments.iter().map(decode).collect::<Result<_>>()?)
    }

    fn told(&self, decoded: Vec<DecodedSegment>) -> Result<Vec<DecodedSegment>> {
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

    fn paste(&self, number: u16, grid: &Grid, places: &[Placement]) -> (Vec<u8>, usize) {
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
        (values, outside)
    }

    /// The segment as a separate stack, sampled at the grid's voxels.
    fn resampled(&self, number: u16, grid: &Grid) -> Result<(Vec<u8>, usize)> {
        let own: Vec<usize> = (0..self.planes.len()).filter(|&i| self.planes[i].segment == number).collect();
        let Some(&any) = own.first() else { return Ok((vec![0; grid.len()], 0)) };
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
        let size = self.rows * self.columns;
        // Two planes that lie far apart would be a stack of nothing else.
        if depth * size > STACK * (grid.len() + own.len() * size) + (1 << 26) {
            let path = self.path.display();
            let detail =
                format!("{path}: {} planes of segment {number} reach over {depth} slices", own.len());
            return Err(Error::geometry("decode_onto", detail));
        }
        let stack_grid = Grid::new([self.columns, self.rows, depth], affine)?;
        let mut stack = Volume::filled(stack_grid, Frame::default(), 0_u8);
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
        Ok((values, outside))
    }

    fn finish(&self, values: Vec<u8>, grid: &Grid, frame: &Frame) -> Result<SegmentData> {
        let frame = match (&frame.uid, &self.frame_of_reference) {
            (None, Some(uid)) => Frame::from_uid(uid),
            _ => frame.clone(),
        };
        match self.kind {
            SegmentationKind::Binary | SegmentationKind::LabelMap => {
                Ok(SegmentData::Binary(Mask::new(grid.clone(), frame, values)?))
            }
            SegmentationKind::Fractional { maximum } => {
                let data = values.iter().map(|v| f32::from(*v) / f32::from(maximum)).collect();
                Ok(SegmentData::Fractional(Volume::new(grid.clone(), frame, data)?))
            }
        }
    }
}

//! DICOM Segmentation objects (SEG): reading them, laying them onto an image's grid, writing them.
//!
//! A SEG object is a stack of planes, each belonging to one segment and placed in the patient by itself. It may
//! cover only a part of the image, hold different planes for each segment, and its segments may overlap.
//! [`read`] keeps that structure; [`SegmentationObject::decode_onto_series`] gives one volume for each segment on the grid
//! of the images that it was drawn on, [`SegmentationObject::decode_onto`] on any that has the planes as slices. Label maps,
//! which have one number in each pixel, become such planes as well.

mod dataset;
mod decode;
mod label_map;
mod new_segment;
mod place;
mod read;
mod write;

pub use decode::{DecodeOptions, DecodedSegment, SegmentData};
pub use new_segment::{Code, NewSegment, WriteOptions};
pub use read::{Segment, SegmentationKind, SegmentationObject, read};
pub use write::write;

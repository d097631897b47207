//! DICOM Segmentation objects (SEG): reading them, laying them onto an image's grid, writing them.
//!
//! A SEG object is a stack of planes, each belonging to one segment and placed in the patient by itself. It may
//! cover only a part of the image, hold different planes for each segment, and its segments may overlap.
//! [`read`] keeps that structure; [`SegmentationObject::decode_onto`] gives one volume for each segment.

mod dataset;
mod decode;
mod new_segment;
mod read;
mod write;

pub use decode::{DecodedSegment, SegmentData};
pub use new_segment::{Code, NewSegment, WriteOptions};
pub use read::{Segment, SegmentationKind, SegmentationObject, read};
pub use write::write;

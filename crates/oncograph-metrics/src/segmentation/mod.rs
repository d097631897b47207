//! Agreement of two segmentations: overlap and distances between surfaces.

mod distance;
mod overlap;
mod surface;

pub use overlap::{Overlap, dice, jaccard};
pub use surface::{SurfaceDistances, surface_distances};

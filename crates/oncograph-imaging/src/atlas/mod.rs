//! Atlases: where the regions and the tracts of a standard head lie.

mod geodesic;
mod label_map;
mod tract_atlas;

pub use geodesic::{GeodesicOptions, geodesic_tracts};
pub use label_map::LabelMap;
pub use tract_atlas::{Tract, TractAtlas};

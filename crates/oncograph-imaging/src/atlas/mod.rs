//! Atlases: where the regions and the tracts of a standard head lie.

mod connections;
mod geodesic;
mod label_map;
mod mask_tracts;
mod streamline_tracts;
mod tract_atlas;

pub use connections::{Connections, geodesic_tracts_between};
pub use geodesic::{GeodesicOptions, geodesic_tracts};
pub use label_map::LabelMap;
pub use mask_tracts::{MaskTractOptions, MaskTracts, mask_tracts};
pub use streamline_tracts::{StreamlineOptions, StreamlineTracts, streamline_tracts};
pub use tract_atlas::{Tract, TractAtlas};

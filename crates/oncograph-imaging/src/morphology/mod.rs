//! Dilation, erosion, opening, closing, connected components, holes and distances.
//!
//! [`dilate`], [`erode`], [`open`] and [`close`] work with a box on masks and grey values; [`binary_dilate`] and its
//! kin work on masks with any [`StructuringElement`], as scipy's binary operations do.

mod binary;
mod boxes;
mod components;
mod distance;
mod fill_holes;
mod structure;

pub use binary::{BinaryMorphologyOptions, binary_close, binary_dilate, binary_erode, binary_open};
pub use boxes::{Edge, close, dilate, erode, open};
pub use components::{Components, components, largest_component, remove_small};
pub use distance::distance_transform;
pub use fill_holes::fill_holes;
pub use structure::{Connectivity, StructuringElement};

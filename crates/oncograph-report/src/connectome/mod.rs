//! A network drawn on the brain: flat in three projections, or as a view to turn in a browser.

mod config;
mod flat;
mod surface;
mod view;

pub use config::{Connectome, Link, Region};
pub use surface::Surface;

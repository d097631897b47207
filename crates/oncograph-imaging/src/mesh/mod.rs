//! Triangle meshes, and the surface at a level of a volume.

mod cell;
mod marching_cubes;
mod of_mask;
mod surface;

pub use marching_cubes::{Ambiguity, MarchingCubesOptions, SurfaceDirection, marching_cubes};
pub use of_mask::{mask_surface, sample_surface};
pub use surface::Mesh;

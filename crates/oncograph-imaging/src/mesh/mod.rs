//! Triangle meshes, and the surface at a level of a volume.

mod cell;
mod marching_cubes;
mod surface;

pub use marching_cubes::{Ambiguity, MarchingCubesOptions, SurfaceDirection, marching_cubes};
pub use surface::Mesh;

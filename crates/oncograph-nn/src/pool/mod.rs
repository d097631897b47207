//! 3D pooling, which candle lacks, with PyTorch's window and gradient rules.

mod avg_pool3d;
mod max_pool3d;
mod windows;

pub use avg_pool3d::{adaptive_avg_pool3d, avg_pool3d};
pub use max_pool3d::{
    adaptive_max_pool3d, adaptive_max_pool3d_with_indices, max_pool3d, max_pool3d_with_indices,
};
pub use windows::Pool3dConfig;
pub(crate) use windows::Windows;
#[cfg(feature = "cuda")]
pub(crate) use windows::{Window, WindowsAlong};

#[cfg(test)]
mod tests;

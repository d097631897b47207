//! The kernels: each operation and its gradients on the device against the CPU, in f32 and f64, and the same bits twice,
//! on shapes that are empty, odd and large. Without the feature `cuda` both are the CPU.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod attention;
mod by_host;
mod elementwise;
mod propagate;
mod segment;

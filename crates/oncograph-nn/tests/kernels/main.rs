//! The kernels: each operation and its gradients on the device against the CPU, in f32 and f64, and the same bits twice,
//! on shapes that are empty, odd and large. Without the feature `cuda` both are the CPU.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod attention;
mod by_host;
mod conv3d;
mod dropout;
mod elementwise;
mod interpolate;
mod lstm;
mod norm;
mod optim;
mod pool;
mod precision;
mod propagate;
mod rows;
mod segment;

/// That no operation whose name holds one of the words has gone by way of the host.
#[cfg(feature = "cuda")]
fn none_by_host(words: &[&str]) {
    let seen = oncograph_nn::cuda::by_host();
    assert!(!seen.iter().any(|name| words.iter().any(|word| name.contains(word))), "{seen:?}");
}

//! `cargo xtask check-cuda` and `cargo xtask test-cuda`: the feature `cuda` on machines without a GPU.
//!
//! [`check()`] compiles against NVIDIA's toolkit where it is installed or [`toolkit()`] made it. [`test()`] compiles and runs against a stand-in for
//! the toolkit and the driver (`xtask/cuda-sim`), which needs a C++ compiler only; `docs/cuda.md` says what this shows.

mod check;
mod kernels;
mod missing;
mod programs;
mod stand_in;
mod suite;
mod test;
mod toolkit;

pub use check::run as check;
pub use kernels::TYPES;
pub use programs::{Program, programs};
pub use stand_in::Environment;
pub use suite::{PROFILE, suite};
pub use test::{TestOptions, environment, programs_of_kernels, run as test};
pub use toolkit::run as toolkit;

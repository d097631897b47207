//! `cargo xtask check-cuda`: does the code behind the feature `cuda` still compile?
//!
//! candle compiles its kernels with `nvcc` even for a type check, so a machine without the CUDA toolkit cannot run
//! this; it needs no GPU.

use crate::{cargo, on_path};
use anyhow::{Context, Result};
use std::path::Path;

/// The architecture that kernels are compiled for where no GPU can be asked for its own.
pub(super) const COMPUTE_CAP: &str = "80";

/// Checks every crate and example with the feature, or says why not; false if the check fails.
pub fn run(root: &Path) -> Result<bool> {
    if !on_path("nvcc") {
        println!("check-cuda: skipped: nvcc is not on PATH (install the CUDA toolkit, 12.0 or later)");
        return Ok(true);
    }
    let mut command = cargo(root);
    command.args([
        "check",
        "--workspace",
        "--features",
        "oncograph/cuda,stg_crlm/cuda,glioma_idh/cuda,multimodal_oncology/cuda",
    ]);
    if std::env::var_os("CUDA_COMPUTE_CAP").is_none() && !on_path("nvidia-smi") {
        println!("check-cuda: no nvidia-smi to ask: CUDA_COMPUTE_CAP={COMPUTE_CAP}");
        command.env("CUDA_COMPUTE_CAP", COMPUTE_CAP);
    }
    let passed = command.status().context("cannot start cargo")?.success();
    println!("check-cuda: {}", if passed { "passed" } else { "failed" });
    Ok(passed)
}

//! `cargo xtask check-cuda`: do our kernels and the code behind the features `cuda`, `cudnn` and `nccl` compile with
//! NVIDIA's own compiler?
//!
//! candle compiles its kernels with `nvcc` even for a type check, so a machine without the CUDA toolkit cannot run
//! this; it needs no GPU.

use super::{kernels, stand_in, suite, test, toolkit};
use crate::cargo;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The architecture that kernels are compiled for where no GPU can be queried.
pub(super) const COMPUTE_CAP: &str = "80";

/// The features that need the toolkit.
const FEATURES: [&str; 3] = ["cuda", "cudnn", "nccl"];

/// Packages that have them and hand them down to all others.
const PACKAGES: [&str; 4] = ["oncograph", "stg_crlm", "glioma_idh", "multimodal_oncology"];

/// Checks the kernels, and every crate and example with each feature, or prints why not; false if a check fails.
pub fn run(root: &Path) -> Result<bool> {
    stand_in::refuse_its_shell()?;
    let Some(environment) = toolkit::found(root)? else {
        println!("check-cuda: skipped: {}", toolkit::ABSENT);
        return Ok(true);
    };
    let value = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    let nvcc = value("NVCC").cloned().or_else(|| std::env::var_os("NVCC"));
    let nvcc = nvcc.map_or_else(|| PathBuf::from("nvcc"), PathBuf::from);
    let folder = value("CARGO_TARGET_DIR").map_or_else(|| crate::target(root), PathBuf::from);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut passed = kernels::check(root, &nvcc, &folder)?;
    for feature in FEATURES {
        let mut command = cargo(root);
        // The profile of the tests: candle's kernels are compiled once for both.
        command.args(["check", "--workspace", "--lib", "--bins", "--examples", "--profile", suite::PROFILE]);
        command.args(["--features", &PACKAGES.map(|name| format!("{name}/{feature}")).join(",")]);
        test::set(&mut command, &environment);
        let checked = command.status().context("cannot start cargo")?.success();
        println!("check-cuda: feature {feature}: {}", if checked { "passed" } else { "failed" });
        passed &= checked;
    }
    println!("check-cuda: {}", if passed { "passed" } else { "failed" });
    Ok(passed)
}

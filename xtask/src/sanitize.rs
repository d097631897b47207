//! `cargo xtask sanitize`: the tests of the crates with unsafe code under AddressSanitizer.
//!
//! Their kernels read and write through pointers and SIMD registers; the sanitizer sees every access of the machine code
//! that runs on this processor.

use crate::target;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::{Command, Stdio};

/// Crates that allow unsafe code, and one that runs their kernels on whole networks.
const CRATES: [&str; 3] = ["oncograph-alloc", "oncograph-nn", "oncograph-gnn"];

/// The sanitizer needs a target that is named, so that build scripts go without it.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Runs the tests, or says why not; false if one fails.
pub fn run(root: &Path) -> Result<bool> {
    let mut probe = Command::new("rustup");
    probe.args(["run", "nightly", "rustc", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success())
        || !cfg!(all(target_os = "linux", target_arch = "x86_64"))
    {
        println!("sanitize: skipped: it needs Linux on x86-64 and `rustup toolchain install nightly`");
        return Ok(true);
    }
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "test", "--lib", "--tests", "--target", TARGET]);
    for name in CRATES {
        command.args(["-p", name]);
    }
    // Another compiler and other flags: a folder of its own keeps the usual one warm.
    command.current_dir(root).env("CARGO_TARGET_DIR", target(root).join("sanitize"));
    for variable in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(variable);
    }
    // Threads of a pool outlive the tests, and what they own is no leak.
    command.env("RUSTFLAGS", "-Zsanitizer=address").env("ASAN_OPTIONS", "detect_leaks=0");
    let passed = command.status().context("cannot start rustup")?.success();
    println!("sanitize: {}", if passed { "passed" } else { "failed" });
    Ok(passed)
}

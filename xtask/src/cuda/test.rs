//! `cargo xtask test-cuda`: the tests of the feature `cuda`, on the stand-in or on a GPU.

use super::stand_in::{self, StandIn};
use super::{check, suite};
use crate::{cargo, on_path, target};
use anyhow::{Context, Result};
use clap::Args;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// Options of the task.
#[derive(Debug, Default, Args)]
pub struct TestOptions {
    /// Only the tests whose name contains one of these.
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Use the toolkit and the GPU of this machine instead of the stand-in.
    #[arg(long)]
    gpu: bool,
    /// Count launches, products, copies and bytes, and print them when a test program ends.
    #[arg(long, conflicts_with = "gpu")]
    stats: bool,
    /// Run nothing; print what a shell needs to build and run any program with the stand-in.
    #[arg(long, conflicts_with_all = ["gpu", "stats", "filters"])]
    env: bool,
}

/// Other places where cargo's build scripts look for a toolkit before or besides the stand-in.
const OTHER_TOOLKITS: [&str; 4] = ["CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR", "CUDNN_LIB"];

/// Runs the tests, or says why not; false if one fails.
pub fn run(root: &Path, options: &TestOptions) -> Result<bool> {
    let mut command = cargo(root);
    if options.gpu {
        if !on_path("nvcc") {
            println!("test-cuda: skipped: nvcc is not on PATH (install the CUDA toolkit, 12.0 or later)");
            return Ok(true);
        }
        command.env("CARGO_TARGET_DIR", target(root).join("cuda-gpu"));
        if std::env::var_os("CUDA_COMPUTE_CAP").is_none() {
            command.env("CUDA_COMPUTE_CAP", check::COMPUTE_CAP);
        }
    } else {
        let Some(compiler) = stand_in::compiler() else {
            println!(
                "test-cuda: skipped: the stand-in needs Linux on x86-64 and a C++ compiler (c++, g++, clang++ or CXX)"
            );
            return Ok(true);
        };
        let environment = StandIn::install(root, &compiler)?.environment()?;
        if options.env {
            OTHER_TOOLKITS.iter().for_each(|name| println!("unset {name}"));
            environment.iter().for_each(|(name, value)| println!("export {name}={}", quoted(value)));
            return Ok(true);
        }
        OTHER_TOOLKITS.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.envs(environment);
        if options.stats {
            command.env("CUDASIM_STATS", "1");
        }
    }
    arguments(&mut command, &options.filters);
    let passed = command.status().with_context(|| format!("cannot start {command:?}"))?.success();
    println!("test-cuda: {}", if passed { "passed" } else { "failed" });
    Ok(passed)
}

/// The command line of cargo for the whole suite.
fn arguments(command: &mut Command, filters: &[String]) {
    command.args(["test", "--no-fail-fast", "--profile", "cuda"]);
    let mut tests: Vec<&str> = vec![];
    for suite::Package { name, tests: own } in suite::SUITE {
        command.args(["--package", name, "--features", &format!("{name}/cuda")]);
        tests.extend(own);
    }
    tests.sort_unstable();
    tests.dedup();
    command.args(tests.iter().flat_map(|test| ["--test", *test]));
    command.arg("--").args(filters);
}

/// A value as a shell reads it.
fn quoted(value: &OsString) -> String {
    format!("'{}'", value.to_string_lossy().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_named_once_and_filters_come_last() {
        let mut command = Command::new("cargo");
        arguments(&mut command, &["relu".to_string()]);
        let words: Vec<_> = command.get_args().map(|w| w.to_string_lossy().into_owned()).collect();
        assert!(words.ends_with(&["--".to_string(), "relu".to_string()]));
        assert_eq!(words.iter().filter(|w| *w == "stand_in").count(), 1);
        assert!(words.contains(&"oncograph-tests-cuda/cuda".to_string()));
    }

    #[test]
    fn a_shell_reads_a_value_back() {
        assert_eq!(quoted(&"a b'c".into()), "'a b'\\''c'");
    }
}

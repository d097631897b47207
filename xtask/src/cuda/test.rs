//! `cargo xtask test-cuda`: the tests of the feature `cuda`, on the stand-in or on a GPU.

use super::stand_in::{self, Environment, StandIn};
use super::{suite, toolkit};
use crate::cargo;
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
    /// Only the stand-in itself and candle's operations, which build in two minutes.
    #[arg(long)]
    quick: bool,
    /// Run nothing; print what a shell needs to build and run any program with the stand-in.
    #[arg(long, conflicts_with_all = ["gpu", "stats", "filters"])]
    env: bool,
}

impl TestOptions {
    /// Those of `cargo xtask ci`.
    pub fn quick() -> Self {
        TestOptions { quick: true, ..TestOptions::default() }
    }
}

/// Other places where cargo's build scripts look for a toolkit before or besides the one that is chosen here.
const OTHER_TOOLKITS: [&str; 4] = ["CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR", "CUDNN_LIB"];

/// Runs the tests, or says why not; false if one fails.
pub fn run(root: &Path, options: &TestOptions) -> Result<bool> {
    stand_in::refuse_its_shell()?;
    let environment = if options.gpu { gpu(root)? } else { stand_in(root, options.stats)? };
    let Some(environment) = environment else {
        return Ok(true);
    };
    if options.env {
        print_environment(&environment);
        return Ok(true);
    }
    // A test program of libtest-mimic takes one filter.
    let filters: Vec<Option<&str>> = match options.filters.as_slice() {
        [] => vec![None],
        filters => filters.iter().map(|filter| Some(filter.as_str())).collect(),
    };
    let mut passed = true;
    for filter in filters {
        let mut command = cargo(root);
        set(&mut command, &environment);
        command.args(arguments(filter, options.quick));
        passed &= command.status().with_context(|| format!("cannot start {command:?}"))?.success();
    }
    println!("test-cuda: {}", if passed { "passed" } else { "failed" });
    Ok(passed)
}

/// What is set for cargo on a machine with a GPU; none, with the reason printed, without a toolkit.
fn gpu(root: &Path) -> Result<Option<Environment>> {
    let environment = toolkit::found(root)?;
    if environment.is_none() {
        println!("test-cuda: skipped: {}", toolkit::ABSENT);
    }
    Ok(environment)
}

/// Gives a child this environment; where it names a toolkit, no other one.
pub(super) fn set(command: &mut Command, environment: &Environment) {
    if environment.iter().any(|(name, _)| *name == "CUDA_HOME") {
        OTHER_TOOLKITS.iter().for_each(|name| {
            command.env_remove(name);
        });
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
}

/// Prints what a shell evaluates.
pub(super) fn print_environment(environment: &Environment) {
    OTHER_TOOLKITS.iter().for_each(|name| println!("unset {name}"));
    environment.iter().for_each(|(name, value)| println!("export {name}={}", quoted(value)));
}

/// What is set for cargo on the stand-in, which is built first; none, with the reason printed, where it cannot be.
fn stand_in(root: &Path, stats: bool) -> Result<Option<Environment>> {
    let Some(compiler) = stand_in::compiler() else {
        let needs = "Linux on x86-64 and a C++ compiler (c++, g++, clang++ or CXX)";
        println!("test-cuda: skipped: the stand-in needs {needs}");
        return Ok(None);
    };
    let mut environment = StandIn::install(root, &compiler)?.environment()?;
    if stats {
        environment.push(("CUDASIM_STATS", "1".into()));
    }
    Ok(Some(environment))
}

/// cargo's command line for the whole suite.
fn arguments(filter: Option<&str>, quick: bool) -> Vec<String> {
    let mut words: Vec<String> =
        ["test", "--lib", "--no-fail-fast", "--profile", suite::PROFILE].map(String::from).into();
    let mut tests: Vec<&str> = vec![];
    let packages = if quick { &suite::SUITE[..suite::QUICK] } else { &suite::SUITE[..] };
    for suite::Package { name, tests: own } in packages {
        words.extend(["--package".into(), name.to_string(), "--features".into(), format!("{name}/cuda")]);
        tests.extend(own.iter());
    }
    tests.sort_unstable();
    tests.dedup();
    words.extend(tests.iter().flat_map(|test| ["--test".to_string(), test.to_string()]));
    words.extend(filter.into_iter().flat_map(|filter| ["--".to_string(), filter.to_string()]));
    words
}

/// A value as a shell reads it.
fn quoted(value: &OsString) -> String {
    format!("'{}'", value.to_string_lossy().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_named_once_and_the_filter_comes_last() {
        let words = arguments(Some("relu"), false);
        assert!(words.ends_with(&["--".to_string(), "relu".to_string()]));
        assert_eq!(words.iter().filter(|w| *w == "stand_in").count(), 1);
        assert!(words.contains(&"oncograph-tests-cuda/cuda".to_string()));
        assert!(!arguments(None, false).contains(&"--".to_string()));
        assert!(!arguments(None, true).contains(&"oncograph-nn".to_string()));
    }

    #[test]
    fn a_shell_reads_a_value_back() {
        assert_eq!(quoted(&"a b'c".into()), "'a b'\\''c'");
    }
}

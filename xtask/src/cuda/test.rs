//! `cargo xtask test-cuda`: the tests of the feature `cuda`, on the stand-in or on a GPU.

use super::programs::{Program, programs};
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
    let mut cargo_test = |filter, part, switches: &[(&str, &str)]| -> Result<()> {
        let mut command = cargo(root);
        set(&mut command, &environment);
        command.envs(switches.iter().copied()).args(arguments(filter, part));
        passed &= command.status().with_context(|| format!("cannot start {command:?}"))?.success();
        Ok(())
    };
    for filter in filters {
        cargo_test(filter, if options.quick { Part::Quick } else { Part::Whole }, &[])?;
    }
    if !options.quick && !options.gpu && options.filters.is_empty() {
        println!("test-cuda: the kernels under guard pages and in reverse order");
        cargo_test(None, Part::Kernels, &[("CUDASIM_GUARD", "1"), ("CUDASIM_ORDER", "reverse")])?;
    }
    println!("test-cuda: {}", if passed { "passed" } else { "failed" });
    Ok(passed)
}

/// What is set for cargo to build for the stand-in, or with NVIDIA's toolkit; none, with the reason printed, where it cannot be.
/// A shell that is set up for the stand-in stays as it is.
pub fn environment(root: &Path, on_stand_in: bool) -> Result<Option<Environment>> {
    match (std::env::var_os("CUDASIM_HOME").is_some(), on_stand_in) {
        (true, true) => Ok(Some(vec![])),
        (true, false) => stand_in::refuse_its_shell().map(|()| None),
        (false, true) => stand_in(root, false),
        (false, false) => gpu(root),
    }
}

/// What is set for cargo on a machine with a GPU; none, with the reason printed, without a toolkit.
fn gpu(root: &Path) -> Result<Option<Environment>> {
    let environment = toolkit::found(root)?;
    if environment.is_none() {
        println!("skipped: {}", toolkit::ABSENT);
    }
    Ok(environment)
}

/// The programs of the tests of kernels and of all unit tests; of the suite, so that nothing is built that it has built.
pub fn programs_of_kernels(root: &Path, environment: &Environment) -> Result<Vec<Program>> {
    let mut build = cargo(root);
    set(&mut build, environment);
    programs(build.args(arguments(None, Part::Kernels)).args(["--lib", "--no-run"]))
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
        println!("skipped: the stand-in needs {needs}");
        return Ok(None);
    };
    let mut environment = StandIn::install(root, &compiler)?.environment()?;
    if stats {
        environment.push(("CUDASIM_STATS", "1".into()));
    }
    Ok(Some(environment))
}

/// Which part of the suite cargo runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Quick,
    /// The tests of single kernels.
    Kernels,
}

/// cargo's command line for a part of the suite.
fn arguments(filter: Option<&str>, part: Part) -> Vec<String> {
    let mut words: Vec<String> =
        ["test", "--no-fail-fast", "--profile", suite::PROFILE].map(String::from).into();
    let mut tests: Vec<&str> = vec![];
    let packages = if part == Part::Quick { &suite::SUITE[..suite::QUICK] } else { &suite::SUITE[..] };
    for suite::Package { name, tests: own } in packages {
        words.extend(["--package".into(), name.to_string(), "--features".into(), format!("{name}/cudnn")]);
        tests.extend(own.iter());
    }
    match part {
        // All packages are selected still: with others, cargo would choose other features and build candle anew.
        Part::Kernels => tests = vec!["kernels"],
        _ => words.push("--lib".into()),
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
        let words = arguments(Some("relu"), Part::Whole);
        assert!(words.ends_with(&["--".to_string(), "relu".to_string()]));
        assert_eq!(words.iter().filter(|w| *w == "stand_in").count(), 1);
        assert!(words.contains(&"oncograph-tests-cuda/cudnn".to_string()));
        assert!(!arguments(None, Part::Whole).contains(&"--".to_string()));
        assert!(!arguments(None, Part::Quick).contains(&"oncograph-nn".to_string()));
        assert!(arguments(None, Part::Kernels).ends_with(&["--test".to_string(), "kernels".to_string()]));
    }

    #[test]
    fn a_shell_reads_a_value_back() {
        assert_eq!(quoted(&"a b'c".into()), "'a b'\\''c'");
    }
}

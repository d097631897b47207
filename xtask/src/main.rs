//! Tasks of the workspace: `cargo xtask --help`.

mod bench;
mod ci;
mod cuda;
mod fuzz;
mod gpu;
mod mutate;
mod sanitize;
mod study;
mod tidy;
mod times;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Tasks of the workspace.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// All checks, cheapest first; stops at the first that fails.
    Ci {
        /// Only formatting, tidy and clippy.
        #[arg(long)]
        quick: bool,
        /// Only this step: fmt, tidy, clippy, test, doc, cuda or package.
        #[arg(long, value_name = "STEP", conflicts_with = "quick")]
        only: Option<String>,
    },
    /// The house rules: layers, manifests, sources.
    Tidy,
    /// Compiles our kernels and type-checks the features `cuda`, `cudnn` and `nccl`, where NVIDIA's `nvcc` is.
    CheckCuda,
    /// Makes NVIDIA's toolkit from the wheels on PyPI, and prints what a shell needs to build with it.
    Toolkit,
    /// Runs the tests of the feature `cuda` on a stand-in for the toolkit and the driver, where a C++ compiler is installed.
    TestCuda(cuda::TestOptions),
    /// Tests and times the workspace on a GPU of another machine, without network there, and makes a page of the results.
    Gpu(gpu::Options),
    /// Runs the tests of the crates with unsafe code under AddressSanitizer, where a nightly toolchain is installed.
    Sanitize,
    /// Runs the readers of outside bytes on inputs at random, where a nightly toolchain and cargo-fuzz are installed.
    Fuzz(fuzz::Options),
    /// Times the workspace beside its peers and writes docs/benchmarks.md.
    Bench {
        /// A Python with the peers; without one only our side is timed.
        #[arg(long, value_name = "PYTHON")]
        peers: Option<PathBuf>,
        /// Only the cases whose name contains this; the others keep what was measured before.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// Runs of each case that count.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Measure nothing; write the page from what was measured before.
        #[arg(long)]
        page: bool,
    },
    /// Runs the studies of docs/results.md and writes their tables into it; fails where a claim does not hold.
    Study {
        /// The folder of real data; what needs files that are not there is skipped.
        #[arg(long, value_name = "DIR", default_value = "../shared/data")]
        data: PathBuf,
        /// Only the blocks whose name contains this; the others keep their tables.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// Run nothing; write the tables of runs of one block that have ended, for example on another machine: the folder that
        /// was their --out.
        #[arg(long, value_name = "DIR", requires = "only")]
        finished: Option<PathBuf>,
        /// Run nothing; list the blocks.
        #[arg(long)]
        list: bool,
    },
    /// Breaks the code in one place at a time and checks that the parity runner notices, or the tests of kernels.
    Mutate {
        /// The folder of cases.
        #[arg(default_value = "../shared/fixtures")]
        fixtures: PathBuf,
        /// Break kernels instead, tested on the stand-in for CUDA.
        #[arg(long, conflicts_with = "fixtures")]
        kernels: bool,
        /// Only the mutations whose description contains this.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
}

fn main() -> ExitCode {
    let outcome = root().and_then(|root| match Arguments::parse().task {
        Task::Ci { quick, only } => ci::run(&root, quick, only.as_deref()),
        Task::Tidy => tidy::run(&root),
        Task::CheckCuda => cuda::check(&root),
        Task::Toolkit => cuda::toolkit(&root),
        Task::TestCuda(options) => cuda::test(&root, &options),
        Task::Gpu(options) => gpu::task(&root, &options),
        Task::Sanitize => sanitize::run(&root),
        Task::Fuzz(options) => fuzz::run(&root, &options),
        Task::Bench { peers, only, runs, page } => {
            bench::run(&root, &bench::Options { peers, only, runs, page })
        }
        Task::Study { data, only, finished, list } => {
            study::run(&root, &study::Options { only, data: root.join(data), finished, list })
        }
        Task::Mutate { kernels: true, only, .. } => mutate::kernels(&root, only.as_deref()),
        Task::Mutate { fixtures, only, .. } => mutate::parity(&root, &fixtures, only.as_deref()),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace: the folder above this package. Cargo sets its path at run time; a target folder that several
/// clones share may hold a program that was built in another one.
fn root() -> Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().map(Path::to_path_buf).context("xtask has no folder above it")
}

/// The cargo that runs this program, in the workspace's root.
fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Where cargo puts what it builds.
fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

/// Whether a program of this name is on PATH.
fn on_path(program: &str) -> bool {
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(&name).is_file()))
}

//! `cargo xtask gpu`: one folder that holds everything a machine with a GPU needs to test and time the workspace, and the
//! page that its results become.
//!
//! [`pack`] builds the folder, [`run`] is the program in it that works through its parts, [`page`] reads the results.

mod compare;
mod libraries;
mod pack;
pub mod page;
mod part;
mod plan;
mod run;

use anyhow::{Result, bail, ensure};
use clap::Args;
use std::path::{Path, PathBuf};

/// Options of the task.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Options {
    /// Builds the folder DIR; `run.sh` in it needs neither network nor compiler.
    #[arg(long, value_name = "DIR", group = "what")]
    pack: Option<PathBuf>,
    /// Packs into the target folder and runs there, on this machine's GPU.
    #[arg(long, group = "what")]
    run: bool,
    /// Writes the results in DIR into the section `On a GPU` of docs/benchmarks.md.
    #[arg(long, value_name = "DIR", group = "what")]
    table: Option<PathBuf>,
    /// Works through the parts of the folder DIR, as its `run.sh` does.
    #[arg(long, value_name = "DIR", group = "what", hide = true)]
    parts: Option<PathBuf>,
    /// Compares two runs of one example program, as the parts do.
    #[arg(long, num_args = 2, value_names = ["CPU", "GPU"], group = "what", hide = true)]
    compare: Option<Vec<PathBuf>>,
    /// Only the parts whose name contains one of these.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Inputs so small that only the way is tested.
    #[arg(long, requires = "pack")]
    tiny: bool,
    /// Pack programs for the stand-in of `cargo xtask test-cuda`, with its library.
    #[arg(long, requires = "pack")]
    stand_in: bool,
    /// Build without cuDNN even where it is installed.
    #[arg(long)]
    without_cudnn: bool,
    /// Seconds that all parts together may take.
    #[arg(long, value_name = "SECONDS", default_value_t = plan::LIMIT)]
    limit: f64,
}

/// Does what the options ask for; false where a part failed.
pub fn task(root: &Path, options: &Options) -> Result<bool> {
    if let Some(folder) = &options.pack {
        return pack::pack(root, folder, options);
    }
    if let Some(folder) = &options.table {
        return page::table(root, folder);
    }
    if let Some(folder) = &options.parts {
        return run::run(folder, &options.only, options.limit);
    }
    if let Some(runs) = &options.compare {
        let [cpu, gpu] = runs.as_slice() else { bail!("--compare takes two folders") };
        return compare::compare(cpu, gpu);
    }
    ensure!(options.run, "nothing to do");
    if !has_gpu() {
        println!("gpu: skipped: this machine shows no GPU (/dev/nvidia0 is absent)");
        return Ok(true);
    }
    let folder = crate::target(root).join("gpu-pack");
    Ok(pack::pack(root, &folder, options)? && run::run(&folder, &options.only, options.limit)?)
}

/// Whether the driver shows a GPU.
fn has_gpu() -> bool {
    Path::new("/dev/nvidia0").exists()
}

//! What the example programs share: how they report errors, show progress, stop on Ctrl-C and pick a device.

use anyhow::Context;
use candle_core::Device;
use indicatif::{ProgressBar, ProgressStyle};
use oncograph::train::{RunDir, StopFlag};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Training allocates and frees the same big tensors in every step.
#[global_allocator]
static ALLOCATOR: oncograph_alloc::Recycling = oncograph_alloc::Recycling::new();

/// The exit status of a run that was stopped and can be resumed, as of a shell command after Ctrl-C.
const STOPPED: u8 = 130;

/// Runs a program: the answer to bad input is one line and status 2.
pub fn exit_with(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let stopped = error.chain().any(|e| matches!(e.downcast_ref(), Some(oncograph::train::Error::Stopped)));
    eprintln!("{}{}", if stopped { "" } else { "error: " }, one_line(&error));
    ExitCode::from(if stopped { STOPPED } else { 2 })
}

/// The causes of an error without those that an outer one already spells out.
fn one_line(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = vec![];
    for cause in error.chain() {
        let text = cause.to_string().replace('\n', " ");
        if !parts.last().is_some_and(|outer| outer.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// A flag that Ctrl-C sets; a second Ctrl-C ends the program at once.
///
/// # Errors
/// If another handler is installed already.
pub fn stop_on_ctrl_c() -> anyhow::Result<StopFlag> {
    let stop = StopFlag::new();
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.is_requested() {
            std::process::exit(i32::from(STOPPED));
        }
        eprintln!("\nstopping after this step; press Ctrl-C again to stop at once");
        flag.request();
    })?;
    Ok(stop)
}

/// The run that a program goes on with, or a new one: its settings, its folder and whether it is new.
///
/// `resume` is `--resume`: `Some(None)` means the latest run below `root`. A new run writes its settings first.
///
/// # Errors
/// If there is no run to resume or it has no settings; an error of `settings` or of writing.
pub fn open_run<C: Serialize + DeserializeOwned>(
    root: &Path,
    resume: Option<&Option<PathBuf>>,
    settings: impl FnOnce() -> anyhow::Result<C>,
) -> anyhow::Result<(C, RunDir, bool)> {
    let Some(which) = resume else {
        let config = settings()?;
        let run = RunDir::create(root)?;
        run.write_json("config.json", &config)?;
        return Ok((config, run, true));
    };
    let run = match which {
        Some(path) => RunDir::open(path)?,
        None => {
            RunDir::latest(root)?.with_context(|| format!("{}: there is no run to resume", root.display()))?
        }
    };
    let missing = || format!("{}: not a run, it has no config.json", run.path().display());
    Ok((run.read_json("config.json")?.with_context(missing)?, run, false))
}

/// `cpu`, `cuda` or `cuda:N`.
///
/// # Errors
/// If the name is another one, or the device is not there.
pub fn device(name: &str) -> anyhow::Result<Device> {
    let cuda = |ordinal| {
        Device::new_cuda(ordinal)
            .map_err(|e| anyhow::anyhow!("--device {name}: {e}; build with --features cuda"))
    };
    match name.split_once(':') {
        None if name == "cpu" => Ok(Device::Cpu),
        None if name == "cuda" => cuda(0),
        Some(("cuda", ordinal)) => {
            let bad = |_| anyhow::anyhow!("--device {name}: expected a number after cuda:");
            cuda(ordinal.parse().map_err(bad)?)
        }
        _ => anyhow::bail!("--device {name}: expected cpu, cuda or cuda:N"),
    }
}

/// A bar on standard error, silent where that is no terminal.
pub fn progress(steps: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>18} {wide_bar} {pos}/{len} {msg} [{elapsed}]");
    let bar = ProgressBar::new(steps).with_prefix(what.to_string());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        use oncograph::core::AtFile;
        let inner = std::io::Error::other("disk full");
        let outer = anyhow::Error::from(oncograph::train::Error::from(AtFile::new("a/b", inner)));
        assert_eq!(one_line(&outer.context("writing the report")), "writing the report: a/b: disk full");
    }

    #[test]
    fn devices_are_named() {
        assert!(matches!(device("cpu"), Ok(Device::Cpu)));
        assert_eq!(device("tpu").unwrap_err().to_string(), "--device tpu: expected cpu, cuda or cuda:N");
        assert!(device("cuda:x").is_err());
    }
}

//! Times the workspace beside its peers, one process per case, and writes `docs/benchmarks.md`.

mod list;
mod page;

pub use page::{median, number, spread};

use crate::{cargo, gpu};
use anyhow::{Context, Result, bail, ensure};
use list::ROWS;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The options of `cargo xtask bench`.
pub struct Options {
    /// A Python that has the peers.
    pub peers: Option<PathBuf>,
    /// Only the cases whose name contains this.
    pub only: Option<String>,
    /// Runs of each case.
    pub runs: usize,
    /// Whether to measure nothing and write the page from what was measured before.
    pub page: bool,
}

/// Runs every case here and in each of its peers, in turn. What was measured is kept per case in `target/bench`, so
/// that `only` repeats a part of the page.
pub fn run(root: &Path, options: &Options) -> Result<bool> {
    let dir = root.join("target/bench");
    std::fs::create_dir_all(dir.join("measured")).with_context(|| dir.display().to_string())?;
    if !options.page {
        measure(root, &dir, options)?;
    }
    let mut measured = vec![];
    for row in ROWS {
        let path = record(&dir, row.case);
        if path.exists() {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            measured.push((row, serde_json::from_str::<Value>(&text)?));
        }
    }
    ensure!(!measured.is_empty(), "nothing was measured");
    let notes = root.join("tests/peers/benchmarks.md");
    let notes = std::fs::read_to_string(&notes).with_context(|| notes.display().to_string())?;
    let path = root.join("docs/benchmarks.md");
    // What a GPU took is measured elsewhere.
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let page = format!("{}\n{}", page::write(&measured, &notes), gpu::page::kept(&old));
    std::fs::write(&path, page).with_context(|| path.display().to_string())?;
    println!("{}", path.display());
    Ok(true)
}

fn measure(root: &Path, dir: &Path, options: &Options) -> Result<()> {
    // The whole workspace, so that its features are those of every other build.
    let status = cargo(root).args(["build", "--release", "--workspace", "--bins", "--examples"]).status()?;
    ensure!(status.success(), "the build failed");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let ours = target.join(format!("release/bench{}", std::env::consts::EXE_SUFFIX));
    let script = root.join("tests/peers/bench.py");
    let python = |arguments: &[&str]| {
        let mut command = Command::new(options.peers.as_deref().unwrap_or(Path::new("python3")));
        command.arg(&script).args(arguments);
        command
    };
    let place = dir.to_string_lossy();
    if !dir.join("dicom").exists() {
        match python(&["files", &place]).status() {
            Ok(status) if status.success() => {}
            _ => eprintln!("no files: the cases that read them need --peers PYTHON"),
        }
    }
    if dir.join("r3d_18.pth").exists() && !dir.join("patient").exists() {
        train(&ours.with_file_name("examples").join("stg_crlm"), dir)?;
    }
    let variants: Value = match &options.peers {
        Some(_) => answer(&mut python(&["list"]))?,
        None => json!({}),
    };
    let runs = options.runs.to_string();
    for row in ROWS {
        if options.only.as_ref().is_some_and(|part| !row.case.contains(part.as_str())) {
            continue;
        }
        let mut ours = Command::new(&ours);
        let ours = match answer(ours.args([row.case, "--dir", &place, "--runs", &runs])) {
            Ok(ours) => ours,
            Err(error) => {
                eprintln!("{}: {error:#}", row.case);
                continue;
            }
        };
        println!("{:28} {:>9.4} s", row.case, median(&ours, "wall"));
        let mut peers = serde_json::Map::new();
        for variant in variants[row.case].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let arguments = ["run", row.case, variant, "--dir", &place, "--runs", &runs];
            match answer(&mut python(&arguments)) {
                Ok(peer) => {
                    let (wall, error) = (median(&peer, "wall"), number(&peer["error"]));
                    println!("    {variant:24} {wall:>9.4} s, difference {error:.1e}");
                    peers.insert(variant.to_string(), peer);
                }
                Err(error) => eprintln!("    {variant}: {error:#}"),
            }
        }
        let all = json!({ "ours": ours, "peers": peers, "machine": page::machine() });
        std::fs::write(record(dir, row.case), serde_json::to_string_pretty(&all)?)?;
    }
    Ok(())
}

/// A run of `stg_crlm` for the case of a new patient: the sizes are the published ones, the training is short.
fn train(program: &Path, dir: &Path) -> Result<()> {
    let out = dir.join("patient.new");
    std::fs::remove_dir_all(&out).ok();
    let mut command = Command::new(program);
    command.args(["--preset", "paper", "--patients", "15", "--epochs", "2", "--weights"]);
    let status = command.arg(dir.join("r3d_18.pth")).arg("--out").arg(&out).status()?;
    ensure!(status.success(), "training for process/patient failed");
    Ok(std::fs::rename(out, dir.join("patient"))?)
}

fn record(dir: &Path, case: &str) -> PathBuf {
    dir.join("measured").join(format!("{}.json", case.replace('/', "_")))
}

/// The last line that a program prints, as JSON.
fn answer(command: &mut Command) -> Result<Value> {
    let output = command.output().with_context(|| format!("{}", command.get_program().to_string_lossy()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{}", text.lines().last().unwrap_or("it failed without a word"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(serde_json::from_str(text.lines().last().unwrap_or_default())?)
}

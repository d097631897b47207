//! Runs the studies of `docs/results.md` and writes their tables into it, between the markers of each block; the words
//! around them are written by hand.

mod claim;
mod list;
mod metrics;
mod page;

use crate::{cargo, target};
use anyhow::{Context, Result, ensure};
use list::{BLOCKS, Block};
use metrics::Metrics;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The options of `cargo xtask study`.
pub struct Options {
    /// Only the blocks whose name contains this.
    pub only: Option<String>,
    /// The folder of real data.
    pub data: PathBuf,
    /// A folder of runs that have ended: their tables are written, and nothing is run.
    pub finished: Option<PathBuf>,
    /// Keep the tables that are there; run nothing, and only check whether the page has a place for every block.
    pub list: bool,
}

/// What a run took, in seconds.
#[derive(Clone, Copy)]
pub struct Time {
    /// Of all processors.
    pub cpu: f64,
    /// Of the clock.
    pub wall: f64,
}

/// A run that has ended.
pub struct Run {
    /// The command as a user would type it.
    pub command: String,
    /// Its own options, by which the tables tell the runs of a block apart.
    pub label: String,
    /// Its seed, where runs with several are one row.
    pub seed: Option<u64>,
    /// The date on which it began, as the run's folder has it.
    pub date: String,
    /// What it took; none for a run that had ended before.
    pub time: Option<Time>,
    /// Its metrics by the part of the run they belong to.
    pub metrics: BTreeMap<&'static str, Metrics>,
}

/// Runs every block and writes its tables into the page as soon as it has ended. Returns whether every claim held.
pub fn run(root: &Path, options: &Options) -> Result<bool> {
    let path = root.join("docs/results.md");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for block in BLOCKS {
        page::place(&text, block.name)?;
        if options.list {
            println!("{:18} {} {}", block.name, block.program, block.options);
        }
    }
    if options.list {
        return Ok(true);
    }
    let chosen =
        || BLOCKS.iter().filter(|b| options.only.as_ref().is_none_or(|part| b.name.contains(part.as_str())));
    ensure!(chosen().next().is_some(), "no block has such a name; --list shows them");
    if options.finished.is_some() {
        ensure!(chosen().count() == 1, "--finished is the folder of one block: choose it with --only");
    } else {
        let status = cargo(root).args(["build", "--release", "--workspace", "--examples"]).status()?;
        ensure!(status.success(), "the build failed");
    }
    let mut all_hold = true;
    for block in chosen() {
        if let Some(missing) = block.needs.iter().find(|file| !options.data.join(file).exists()) {
            println!("{}: skipped, {} is missing", block.name, options.data.join(missing).display());
            continue;
        }
        let runs = block_runs(root, block, options).with_context(|| block.name.to_string())?;
        let (block_text, holds) = page::block(block, &runs)?;
        let text = std::fs::read_to_string(&path)?;
        let place = page::place(&text, block.name)?;
        let text = format!("{}\n{block_text}{}", &text[..place.start], &text[place.end..]);
        let new = path.with_extension("md.new");
        std::fs::write(&new, text)?;
        std::fs::rename(&new, &path)?;
        println!("{block_text}");
        all_hold &= holds;
    }
    Ok(all_hold)
}

fn block_runs(root: &Path, block: &Block, options: &Options) -> Result<Vec<Run>> {
    let target = target(root);
    let out = target.join("study").join(block.name);
    // What an earlier run cached would be taken for the time of this one.
    std::fs::remove_dir_all(&out).ok();
    let name = format!("{}{}", block.program, std::env::consts::EXE_SUFFIX);
    let program = target.join("release/examples").join(name);
    if let Some(finished) = &options.finished {
        return finished_runs(block, finished);
    }
    let mut runs = vec![];
    for of_block in block.all_runs() {
        let given = options_of(block, of_block);
        let given = given.split_whitespace().collect::<Vec<_>>();
        println!("{}: {} {}", block.name, block.program, given.join(" "));
        let data = options.data.to_string_lossy();
        let mut command = Command::new(&program);
        command.args(given.iter().map(|a| a.replace("DATA", &data))).arg("--out").arg(&out);
        let (began, before) = (Instant::now(), cpu()?);
        let status = command.stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{} failed", block.program);
        let time = Time { wall: began.elapsed().as_secs_f64(), cpu: cpu()? - before };
        let folders = folders(&out.join(block.folder.unwrap_or(block.program)))?;
        let newest = folders.last().with_context(|| format!("{} left no run", block.program))?;
        runs.push(read_run(block, of_block, newest, Some(time))?);
    }
    Ok(runs)
}

/// The runs of a block that ended before, one for each line of its options, in the order in which they began.
fn finished_runs(block: &Block, out: &Path) -> Result<Vec<Run>> {
    let folders = folders(&out.join(block.folder.unwrap_or(block.program)))?;
    let all = block.all_runs();
    let (found, wanted) = (folders.len(), all.len());
    ensure!(found == wanted, "{} holds {found} runs, the block has {wanted}", out.display());
    all.into_iter().zip(&folders).map(|(of_block, folder)| read_run(block, of_block, folder, None)).collect()
}

/// All options of a run.
fn options_of(block: &Block, (label, seed): (&str, Option<u64>)) -> String {
    let seed = seed.map(|seed| format!("--seed {seed}")).unwrap_or_default();
    [block.options, label, &seed].join(" ")
}

fn read_run(
    block: &Block,
    of_block: (&'static str, Option<u64>),
    folder: &Path,
    time: Option<Time>,
) -> Result<Run> {
    let parts = block.tables.iter().map(|t| t.part).chain(block.claims.iter().map(|c| c.part()));
    let mut metrics = BTreeMap::new();
    for part in parts {
        metrics.insert(part, Metrics::read(&folder.join(part).join("metrics.csv"))?);
    }
    let date = folder.file_name().and_then(|n| n.to_str()).and_then(|n| n.get(..10));
    let date = date.context("the run's folder has no date for a name")?.to_string();
    let given = options_of(block, of_block);
    let words = [block.program].into_iter().chain(given.split_whitespace());
    let command = words.collect::<Vec<_>>().join(" ");
    let (label, seed) = of_block;
    Ok(Run { command, label: label.to_string(), seed, date, time, metrics })
}

/// The processor seconds of the programs that have ended so far; 0 where the system does not count them.
fn cpu() -> Result<f64> {
    #[cfg(unix)]
    {
        use nix::sys::resource::{UsageWho, getrusage};
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 * 1e-6;
        Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
    }
    #[cfg(not(unix))]
    Ok(0.0)
}

/// The folders in `dir` from the oldest on; runs have their date for a name.
fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut folders = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    folders.sort();
    Ok(folders)
}

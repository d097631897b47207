//! `cargo xtask fuzz`: the readers of outside bytes under libFuzzer.
//!
//! A finding is a panic, an error of AddressSanitizer, an input that takes more than 10 s, or one that takes more memory than 20
//! times its size and 256 MB (`fuzz/src/lib.rs` counts both). What a run learns stays in a folder, so that the next one goes on.

use crate::target;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// The options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub struct Options {
    /// The targets, files of fuzz/fuzz_targets; all where none is named.
    targets: Vec<String>,
    /// How long each of them runs.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Targets that run at a time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Where inputs, findings and counts are kept from run to run; in the target folder unless given.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Inputs are no longer than this.
const LONGEST: usize = 1 << 18;

/// The sanitizer's compiler needs a target that is named.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Threads of a pool outlive the run, and libdeflate has its tables once for each kind of processor.
const SANITIZER: &str = "detect_leaks=0:detect_odr_violation=0";

/// What all runs of a target add up to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Count {
    cpu_minutes: f64,
    executions: u64,
    findings: u64,
}

/// Builds the targets and runs them, or prints why not; false if there is a finding.
pub fn run(root: &Path, options: &Options) -> Result<bool> {
    let mut probe = nightly();
    probe.args(["fuzz", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success())
        || !cfg!(all(target_os = "linux", target_arch = "x86_64"))
    {
        println!(
            "fuzz: skipped: it needs Linux on x86-64, `rustup toolchain install nightly` and `cargo install cargo-fuzz`"
        );
        return Ok(true);
    }
    let targets = chosen(root, &options.targets)?;
    let folder = target(root).join("fuzz");
    build(root, &folder)?;
    let state = options.state.clone().unwrap_or_else(|| folder.join("state"));
    let place = Place { root, programs: folder.join(TRIPLE).join("release"), state };
    place.seeds()?;
    let (queue, clean) = (Mutex::new(targets.iter()), Mutex::new(true));
    let next = || queue.lock().map_err(|_| poisoned()).map(|mut names| names.next());
    let work = || -> Result<()> {
        while let Some(name) = next()? {
            let found = place.fuzz(name, options.minutes)?;
            *clean.lock().map_err(|_| poisoned())? &= !found;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| poisoned())?)
    })?;
    print!("{}", table(&place.counts()?, &targets));
    clean.into_inner().map_err(|_| poisoned())
}

fn poisoned() -> anyhow::Error {
    anyhow::anyhow!("a run panicked")
}

/// The cargo of the nightly toolchain.
fn nightly() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]);
    for variable in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(variable);
    }
    command
}

/// The named targets, or all of them in order.
fn chosen(root: &Path, named: &[String]) -> Result<Vec<String>> {
    let folder = root.join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let stem = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut all: Vec<String> = entries.filter_map(|entry| stem(entry.ok()?.path())).collect();
    all.sort();
    if let Some(unknown) = named.iter().find(|name| !all.contains(name)) {
        bail!("no target {unknown}; there are {}", all.join(", "));
    }
    Ok(if named.is_empty() { all } else { named.to_vec() })
}

fn build(root: &Path, folder: &Path) -> Result<()> {
    // What is fuzzed is what is released: the versions of the workspace.
    std::fs::copy(root.join("Cargo.lock"), root.join("fuzz/Cargo.lock")).context("Cargo.lock")?;
    let mut command = nightly();
    // As a release, so that the assertions are those of the profile in fuzz/Cargo.toml.
    command.args(["fuzz", "build", "--release", "--target-dir"]).arg(folder).current_dir(root);
    ensure!(command.status().context("cannot start rustup")?.success(), "the build failed");
    Ok(())
}

/// Where programs, inputs and counts are.
struct Place<'r> {
    root: &'r Path,
    programs: PathBuf,
    state: PathBuf,
}

impl Place<'_> {
    /// Writes the inputs that the targets begin with.
    fn seeds(&self) -> Result<()> {
        let shared = std::env::var_os("ONCOGRAPH_SHARED").map(PathBuf::from);
        let cases = shared.unwrap_or_else(|| self.root.join("../shared")).join("cases");
        let mut command = Command::new(self.programs.join("seeds"));
        command.arg(self.state.join("seeds")).env("TMPDIR", scratch()).env("ASAN_OPTIONS", SANITIZER);
        if cases.is_dir() {
            command.arg(cases);
        } else {
            println!("fuzz: without the cases in {} (set ONCOGRAPH_SHARED)", cases.display());
        }
        let mut child = command.spawn().context("cannot start seeds")?;
        let status = child.wait()?;
        leave_nothing(&child);
        ensure!(status.success(), "the seeds could not be written");
        Ok(())
    }

    /// Runs one target and adds to its counts; whether there is a finding.
    fn fuzz(&self, name: &str, minutes: f64) -> Result<bool> {
        let folder = |kind: &str| {
            let folder = self.state.join(kind).join(name);
            std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string()).map(|()| folder)
        };
        let (corpus, seeds, findings) = (folder("corpus")?, folder("seeds")?, folder("findings")?);
        let log = self.state.join(format!("{name}.log"));
        let mut command = Command::new(self.programs.join(name));
        command.args([&corpus, &seeds]).arg(format!("-artifact_prefix={}/", findings.display()));
        command.arg(format!("-max_total_time={:.0}", 60.0 * minutes)).arg(format!("-max_len={LONGEST}"));
        command.arg(format!("-malloc_limit_mb={}", 256 + 20 * LONGEST / (1 << 20)));
        // Of the clock on the wall; a target counts the time of the processor, of which it may take 10 s.
        command.args(["-timeout=200", "-rss_limit_mb=2560", "-print_final_stats=1", "-detect_leaks=0"]);
        let words = self.root.join(format!("fuzz/dictionaries/{name}.dict"));
        if words.exists() {
            command.arg(format!("-dict={}", words.display()));
        }
        // One thread, so that the time of the processor is that of the reader.
        command.env("ASAN_OPTIONS", SANITIZER).env("RAYON_NUM_THREADS", "1");
        let output = std::fs::File::create(&log).with_context(|| log.display().to_string())?;
        command.env("TMPDIR", scratch()).stdout(Stdio::null()).stderr(output);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let cpu_minutes = cpu_seconds(&child)? / 60.0;
        let passed = child.wait()?.success();
        leave_nothing(&child);
        let text = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
        if !passed {
            println!("fuzz: {name}: a finding in {}, its cause in {}", findings.display(), log.display());
        }
        self.add(name, &Count { cpu_minutes, executions: executions(&text), findings: u64::from(!passed) })?;
        Ok(!passed)
    }

    fn counts(&self) -> Result<BTreeMap<String, Count>> {
        match std::fs::read(self.state.join("counts.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).context("counts.json"),
            Err(_) => Ok(BTreeMap::new()),
        }
    }

    fn add(&self, name: &str, more: &Count) -> Result<()> {
        // Runs side by side write the same file.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().map_err(|_| poisoned())?;
        let mut counts = self.counts()?;
        let count = counts.entry(name.to_string()).or_default();
        count.cpu_minutes += more.cpu_minutes;
        count.executions += more.executions;
        count.findings += more.findings;
        Ok(std::fs::write(self.state.join("counts.json"), serde_json::to_string_pretty(&counts)?)?)
    }
}

/// Where targets write the files that they have read: in memory, where there is such a place.
fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

/// Removes the files of a program that has ended, which a finding ends without a farewell.
fn leave_nothing(child: &Child) {
    std::fs::remove_dir_all(scratch().join(format!("oncograph_fuzz_{}", child.id()))).ok();
}

/// Waits for the end of a program; the answer is the time that it took of the processor.
#[cfg(target_os = "linux")]
fn cpu_seconds(child: &Child) -> Result<f64> {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    // It stays to be asked until it is waited for without this flag.
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
    waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("ticks of the clock")?;
    Ok(spent(&stat).context("/proc")? as f64 / ticks as f64)
}

#[cfg(not(target_os = "linux"))]
fn cpu_seconds(_: &Child) -> Result<f64> {
    bail!("processes are timed on Linux")
}

/// The time in the program and in the kernel out of `/proc/ID/stat`; the name before may have spaces.
fn spent(stat: &str) -> Option<u64> {
    let mut numbers = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    Some(numbers.next()?.parse::<u64>().ok()? + numbers.next()?.parse::<u64>().ok()?)
}

/// What a run says of itself at its end, or else in its last line of progress.
fn executions(log: &str) -> u64 {
    let total = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let last = || log.lines().rev().find_map(|line| line.strip_prefix('#')?.split(['\t', ':']).next());
    total.or_else(last).and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// The rows for `docs/files.md`.
fn table(counts: &BTreeMap<String, Count>, targets: &[String]) -> String {
    let mut text = "| target | CPU minutes | executions | findings |\n|---|---:|---:|---:|\n".to_string();
    for name in targets {
        let Count { cpu_minutes, executions, findings } = counts.get(name).cloned().unwrap_or_default();
        text += &format!("| `{name}` | {cpu_minutes:.1} | {executions} | {findings} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_executions_are_found_in_what_programs_say() {
        let stat = "77 (a) b) R 1 77 77 0 -1 4194304 99 0 0 0 250 50 7 8 20 0 1 0 100 4096";
        assert_eq!((spent(stat), spent("77 (a")), (Some(300), None));
        let log = "#2\tINITED cov: 5\n#4096\tpulse  cov: 9\n==9== ERROR: libFuzzer: deadly signal\nartifact_prefix\n";
        assert_eq!(executions(log), 4096);
        assert_eq!(executions(&format!("{log}stat::number_of_executed_units: 5000\n")), 5000);
        assert_eq!(executions(""), 0);
    }

    #[test]
    fn targets_are_files_and_rows() {
        let root = crate::root().unwrap();
        let all = chosen(&root, &[]).unwrap();
        assert!(all.contains(&"seg".to_string()) && all.is_sorted());
        let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        let is_listed = |name: &String| manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\""));
        assert!(all.iter().all(is_listed), "a target that cargo does not know");
        assert!(chosen(&root, &["sex".into()]).unwrap_err().to_string().contains("there are bundle, "));
        let counts = BTreeMap::from([("a".into(), Count { cpu_minutes: 1.25, executions: 7, findings: 1 })]);
        let rows = table(&counts, &["a".into(), "b".into()]);
        assert!(rows.ends_with("| `a` | 1.2 | 7 | 1 |\n| `b` | 0.0 | 0 | 0 |\n"), "{rows}");
    }
}

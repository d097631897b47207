//! `cargo xtask ci`: all checks, cheapest first.
//!
//! Everything is built with one selection of packages and features, `--workspace --features` [`FEATURES`]: with `-p`
//! cargo would choose other features of shared dependencies and compile candle once more.

use crate::cargo;
use crate::cuda;
use crate::tidy::{self, LEVELS};
use crate::times::Times;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Files that every published crate carries.
const PACKAGED: [&str; 5] = ["Cargo.toml", "README.md", "LICENSE-APACHE", "LICENSE-MIT", "src/lib.rs"];

/// Features that are off by default, so that a program does not compile what it does not read, and that have tests.
const FEATURES: &str = "oncograph-datasets/parquet";

/// One check: what it is called, how to run it alone, and what it does.
struct Step {
    name: &'static str,
    rerun: &'static str,
    run: fn(&Path, &mut Totals) -> Result<bool>,
}

/// In order of cost; `--quick` runs the first [`QUICK`].
const STEPS: [Step; 7] = [
    Step { name: "fmt", rerun: "cargo fmt --all --check", run: fmt },
    Step { name: "tidy", rerun: "cargo xtask tidy", run: |root, _| tidy::run(root) },
    Step {
        name: "clippy",
        rerun: "cargo clippy --workspace --features oncograph-datasets/parquet --all-targets -- -D warnings",
        run: clippy,
    },
    Step {
        name: "test",
        rerun: "cargo test --workspace --features oncograph-datasets/parquet --no-fail-fast",
        run: test,
    },
    Step {
        name: "doc",
        rerun: "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --features oncograph-datasets/parquet --no-deps",
        run: doc,
    },
    Step {
        name: "cuda",
        rerun: "cargo xtask test-cuda",
        run: |root, _| cuda::test(root, &cuda::TestOptions::default()),
    },
    Step { name: "package", rerun: "cargo xtask ci --only package", run: package },
];
const QUICK: usize = 3;

/// Runs the checks; false at the first that fails.
pub fn run(root: &Path, quick: bool, only: Option<&str>) -> Result<bool> {
    let last = if quick { QUICK } else { STEPS.len() };
    let steps: Vec<&Step> = STEPS[..last].iter().filter(|s| only.is_none_or(|name| name == s.name)).collect();
    if steps.is_empty() {
        bail!("no step of this name; there are {}", STEPS.map(|s| s.name).join(", "));
    }
    let (start, mut totals) = (Instant::now(), Totals::default());
    for (i, step) in steps.iter().enumerate() {
        println!("[{}/{}] {}: {}", i + 1, steps.len(), step.name, step.rerun);
        let began = Instant::now();
        let passed = (step.run)(root, &mut totals)?;
        let seconds = began.elapsed().as_secs_f64();
        if !passed {
            println!(
                "[{}/{}] {} FAILED after {seconds:.1} s; rerun: {}",
                i + 1,
                steps.len(),
                step.name,
                step.rerun
            );
            totals.print();
            return Ok(false);
        }
        println!("[{}/{}] {} passed in {seconds:.1} s", i + 1, steps.len(), step.name);
    }
    println!("ci: {} steps passed in {:.0} s", steps.len(), start.elapsed().as_secs_f64());
    totals.print();
    Ok(true)
}

fn succeeds(command: &mut Command) -> Result<bool> {
    Ok(command.status().with_context(|| format!("cannot start {command:?}"))?.success())
}

fn fmt(root: &Path, _: &mut Totals) -> Result<bool> {
    succeeds(cargo(root).args(["fmt", "--all", "--check"]))
}

fn clippy(root: &Path, _: &mut Totals) -> Result<bool> {
    let selection = ["--workspace", "--features", FEATURES];
    succeeds(cargo(root).arg("clippy").args(selection).args(["--all-targets", "--", "-D", "warnings"]))
}

fn doc(root: &Path, _: &mut Totals) -> Result<bool> {
    let arguments = ["doc", "--workspace", "--features", FEATURES, "--no-deps"];
    succeeds(cargo(root).args(arguments).env("RUSTDOCFLAGS", "-D warnings"))
}

/// All tests, also after one has failed: the totals should be those of everything.
fn test(root: &Path, totals: &mut Totals) -> Result<bool> {
    let mut command = cargo(root);
    command.args(["test", "--workspace", "--features", FEATURES, "--no-fail-fast"]);
    // The announcements of the programs are read, and should have no colours.
    command.env("CARGO_TERM_COLOR", "never");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Reasons for skipped tests and the programs' names come on the other stream: both are passed on as they arrive.
    let messages = std::thread::spawn(move || {
        let (mut skipped, mut times) = (vec![], Times::default());
        each_line(stderr, |line| {
            eprintln!("{line}");
            times.add(line, Instant::now());
            skipped.extend(line.starts_with("skip ").then(|| line.to_string()));
        });
        times.end(Instant::now());
        (skipped, times)
    });
    each_line(stdout, |line| {
        println!("{line}");
        totals.add(line);
    });
    (totals.reasons, totals.times) = messages.join().unwrap_or_default();
    Ok(child.wait()?.success())
}

fn each_line(stream: Option<impl Read>, mut take: impl FnMut(&str)) {
    let lines =
        stream.into_iter().flat_map(|s| BufReader::new(s).split(b'\n')).map_while(std::io::Result::ok);
    lines.for_each(|line| take(String::from_utf8_lossy(&line).trim_end()));
}

/// What each published crate would upload, lowest level first: the order in which they are published.
fn package(root: &Path, _: &mut Totals) -> Result<bool> {
    let dirty = Command::new("git").args(["status", "--porcelain"]).current_dir(root).output();
    let dirty = dirty.is_ok_and(|output| !output.stdout.is_empty());
    let mut passed = true;
    for (name, _) in LEVELS.iter().filter(|(name, _)| root.join("crates").join(name).is_dir()) {
        let mut command = cargo(root);
        command.args(["package", "--list", "--quiet", "-p", name]);
        if dirty {
            command.arg("--allow-dirty");
        }
        let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
        if !output.status.success() {
            bail!("{name} cannot be packaged:\n{}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        let list = String::from_utf8_lossy(&output.stdout);
        let absent: Vec<_> = missing_files(&list);
        println!("  {name}: {} files", list.lines().count());
        for file in &absent {
            println!("  {name}: {file} is not in the package");
        }
        passed &= absent.is_empty();
    }
    Ok(passed)
}

/// Which of the files that every crate carries are not in the list.
fn missing_files(list: &str) -> Vec<&'static str> {
    PACKAGED.into_iter().filter(|file| !list.lines().any(|line| line.trim() == *file)).collect()
}

/// Sums over all test programs of a run.
#[derive(Debug, Default)]
struct Totals {
    programs: usize,
    passed: usize,
    failed: usize,
    ignored: usize,
    reasons: Vec<String>,
    times: Times,
}

impl Totals {
    /// Adds the line that closes one test program, `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        self.programs += 1;
        for part in counts.1.split(';') {
            let mut words = part.split_whitespace();
            let (Some(Ok(n)), Some(what)) = (words.next().map(str::parse::<usize>), words.next()) else {
                continue;
            };
            match what {
                "passed" => self.passed += n,
                "failed" => self.failed += n,
                "ignored" => self.ignored += n,
                _ => {}
            }
        }
    }

    /// Why tests were skipped, the slowest programs, then the totals; nothing where no test ran.
    fn print(&self) {
        if self.programs == 0 {
            return;
        }
        self.reasons.iter().for_each(|reason| println!("{reason}"));
        self.times.print();
        println!(
            "tests: {} passed, {} failed, {} ignored ({} programs)",
            self.passed, self.failed, self.ignored, self.programs
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_summed_over_programs() {
        let mut totals = Totals::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.10s",
            "test a::test result: ok",
            "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ] {
            totals.add(line);
        }
        let Totals { programs, passed, failed, ignored, .. } = totals;
        assert_eq!((programs, passed, failed, ignored), (2, 8, 2, 1));
    }

    #[test]
    fn a_package_without_a_licence_is_seen() {
        let list = "Cargo.toml\nCargo.toml.orig\nLICENSE-MIT\nREADME.md\nsrc/lib.rs\n";
        assert_eq!(missing_files(list), ["LICENSE-APACHE"]);
    }

    #[test]
    fn lines_come_one_by_one_without_their_ends() {
        let mut seen = vec![];
        each_line(Some(&b"one\r\ntwo\nthree"[..]), |line| seen.push(line.to_string()));
        assert_eq!(seen, ["one", "two", "three"]);
    }
}

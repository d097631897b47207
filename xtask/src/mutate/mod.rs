//! `cargo xtask mutate`: breaks the code in one place at a time and checks that the parity runner notices.

mod list;

use crate::cargo;
use anyhow::{Context, Result, bail, ensure};
use list::{MUTATIONS, Mutation};
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};

/// What is copied to be broken.
const COPIED: [&str; 8] =
    ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "README.md", "crates", "tests", "examples", "xtask"];

/// Where the table of outcomes goes; the parity runner puts it into `docs/parity.md`.
const TABLE: &str = "tests/mutations.md";

/// Runs every mutation against the cases of `fixtures`, or those whose description contains `only`; false if one
/// survived.
pub fn run(root: &Path, fixtures: &Path, only: Option<&str>) -> Result<bool> {
    let fixtures = fixtures.canonicalize().with_context(|| format!("no folder {}", fixtures.display()))?;
    let chosen: Vec<&Mutation> =
        MUTATIONS.iter().filter(|m| only.is_none_or(|part| m.what.contains(part))).collect();
    ensure!(!chosen.is_empty(), "no mutation of this description");
    // A place that is gone or ambiguous is an error before anything is built.
    for mutation in &chosen {
        mutated(root, mutation)?;
    }
    let copy = root.join("target").join("mutate");
    if copy.exists() {
        std::fs::remove_dir_all(&copy)?;
    }
    for name in COPIED {
        copy_all(&root.join(name), &copy.join(name))?;
    }
    let mut table = String::from("| mutation | case that fails |\n|---|---|\n");
    let mut survived = 0;
    for (i, mutation) in chosen.iter().enumerate() {
        let path = copy.join(mutation.file);
        let original = std::fs::read_to_string(&path)?;
        std::fs::write(&path, mutated(root, mutation)?)?;
        let output = parity(root, &copy, &fixtures, mutation.cases)?;
        std::fs::write(&path, original)?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let caught = stdout.lines().find_map(|line| line.strip_prefix("fail "));
        let case = caught.map(|line| line.trim().split(':').next().unwrap_or_default());
        if case.is_none() && !stdout.contains(" passed, ") {
            bail!("{}: does not build\n{}", mutation.what, String::from_utf8_lossy(&output.stderr));
        }
        survived += usize::from(case.is_none());
        println!("[{}/{}] {}: {}", i + 1, chosen.len(), mutation.what, case.unwrap_or("SURVIVED"));
        let case = case.map_or("**none**".to_string(), |name| format!("`{name}`"));
        writeln!(table, "| {} | {case} |", mutation.what)?;
        // After each, so that an interrupted run leaves what it has tried.
        if only.is_none() {
            std::fs::write(root.join(TABLE), &table)?;
        }
    }
    println!("{} caught, {survived} survived", chosen.len() - survived);
    Ok(survived == 0)
}

/// The text of the mutated file; the place must be there exactly once.
fn mutated(root: &Path, mutation: &Mutation) -> Result<String> {
    let path = root.join(mutation.file);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let places = text.matches(mutation.find).count();
    ensure!(places == 1, "{}: `{}` is {places} times in {}", mutation.what, mutation.find, mutation.file);
    Ok(text.replace(mutation.find, mutation.replace))
}

fn parity(root: &Path, copy: &Path, fixtures: &Path, cases: &str) -> Result<Output> {
    let mut command: Command = cargo(copy);
    // A separate folder: cargo would take what was built from the copy for the workspace's.
    command.env("CARGO_TARGET_DIR", root.join("target").join("mutate-build"));
    command.args(["run", "--quiet", "--bin", "parity", "--"]).arg(fixtures).args(["--only", cases]);
    command.output().context("cannot start cargo")
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    if from.is_file() {
        std::fs::create_dir_all(to.parent().context("no folder above the copy")?)?;
        std::fs::copy(from, to)?;
        return Ok(());
    }
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        copy_all(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

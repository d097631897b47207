//! Mistakes in the code of the CPU, held to the cases of the parity runner.

mod list;

use super::{broken, chosen, try_each};
use crate::cargo;
use anyhow::{Context, Result, bail};
use list::MUTATIONS;
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
    let chosen = chosen(root, MUTATIONS, only)?;
    let copy = root.join("target").join("mutate");
    if copy.exists() {
        std::fs::remove_dir_all(&copy)?;
    }
    for name in COPIED {
        copy_all(&root.join(name), &copy.join(name))?;
    }
    try_each(
        &chosen,
        ["case that fails"],
        |mutation| {
            broken(root, &copy.join(mutation.file), mutation, || {
                let output = parity(root, &copy, &fixtures, mutation.cases)?;
                Ok([first_failure(&output)?])
            })
        },
        |table| match only {
            None => Ok(std::fs::write(root.join(TABLE), table)?),
            Some(_) => Ok(()),
        },
    )
}

/// The first case that fails.
fn first_failure(output: &Output) -> Result<Option<String>> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let caught = stdout.lines().find_map(|line| line.strip_prefix("fail "));
    if caught.is_none() && !stdout.contains(" passed, ") {
        bail!("does not build\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(caught.map(|line| line.trim().split(':').next().unwrap_or_default().to_string()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::mutated;

    #[test]
    fn every_place_is_there_once() {
        let root = crate::root().unwrap();
        MUTATIONS.iter().for_each(|mutation| drop(mutated(&root, mutation).unwrap()));
    }
}

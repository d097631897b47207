//! `cargo xtask mutate`: breaks the code in one place at a time and checks that tests notice. What runs on the CPU is held to
//! the cases of the parity runner ([`parity()`]), kernels to their tests on the stand-in for CUDA ([`kernels()`]).

mod kernels;
mod parity;

pub use kernels::run as kernels;
pub use parity::run as parity;

use anyhow::{Context, Result, ensure};
use std::path::Path;

/// One mistake.
struct Mutation {
    /// What is wrong.
    what: &'static str,
    /// The file, from the root of the workspace.
    file: &'static str,
    /// The text that is there once.
    find: &'static str,
    /// What stands there instead.
    replace: &'static str,
    /// What is run: the cases whose names contain this, or a test program and the filter of its tests.
    cases: &'static str,
}

macro_rules! mutations {
    ($($what:literal, $file:literal, $find:literal => $replace:literal, $cases:literal;)*) => {
        &[$(Mutation { what: $what, file: $file, find: $find, replace: $replace, cases: $cases }),*]
    };
}
use mutations;

/// Those whose description contains `only`. A place that is gone or ambiguous is an error before anything is built.
fn chosen(root: &Path, all: &'static [Mutation], only: Option<&str>) -> Result<Vec<&'static Mutation>> {
    let chosen: Vec<_> = all.iter().filter(|m| only.is_none_or(|part| m.what.contains(part))).collect();
    ensure!(!chosen.is_empty(), "no mutation of this description");
    for mutation in &chosen {
        mutated(root, mutation)?;
    }
    Ok(chosen)
}

/// The text of the mutated file; the place must be there exactly once.
fn mutated(root: &Path, mutation: &Mutation) -> Result<String> {
    let path = root.join(mutation.file);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let places = text.matches(mutation.find).count();
    ensure!(places == 1, "{}: `{}` is {places} times in {}", mutation.what, mutation.find, mutation.file);
    Ok(text.replace(mutation.find, mutation.replace))
}

/// Breaks `path` for as long as `run` takes.
fn broken<R>(root: &Path, path: &Path, mutation: &Mutation, run: impl FnOnce() -> Result<R>) -> Result<R> {
    let write = |text: &str| std::fs::write(path, text).with_context(|| path.display().to_string());
    let original = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    write(&mutated(root, mutation)?)?;
    let result = run();
    write(&original)?;
    result
}

/// Tries each mutation: `fails` returns what fails in each of the `N` runs of it. The table of `keep` is rewritten after
/// each, so that an interrupted command leaves what it has tried. False if one survived.
fn try_each<const N: usize>(
    chosen: &[&Mutation],
    runs: [&str; N],
    mut fails: impl FnMut(&Mutation) -> Result<[Option<String>; N]>,
    keep: impl Fn(&str) -> Result<()>,
) -> Result<bool> {
    let mut table = row("mutation", &runs) + &format!("|---{}|\n", "|---".repeat(N));
    let mut survived = 0;
    for (i, mutation) in chosen.iter().enumerate() {
        let failed = fails(mutation).with_context(|| mutation.what)?;
        let caught = failed.iter().any(Option::is_some);
        survived += usize::from(!caught);
        let names: Vec<&str> = failed.iter().map(|name| name.as_deref().unwrap_or("none")).collect();
        let outcome = if caught { names.join(", ") } else { "SURVIVED".to_string() };
        println!("[{}/{}] {}: {outcome}", i + 1, chosen.len(), mutation.what);
        let cell = |name: &Option<String>| match name {
            Some(name) => format!("`{name}`"),
            None if caught => "none".to_string(),
            None => "**none**".to_string(),
        };
        table += &row(mutation.what, &failed.each_ref().map(cell).each_ref().map(String::as_str));
        keep(&table)?;
    }
    println!("{} caught, {survived} survived", chosen.len() - survived);
    Ok(survived == 0)
}

fn row(what: &str, cells: &[&str]) -> String {
    format!("| {what} | {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survivor_fails_and_stands_out_in_the_table() {
        let one = |what| Mutation { what, file: "", find: "", replace: "", cases: "" };
        let (caught, survivor) = (one("a lost barrier"), one("an equivalent"));
        let kept = std::cell::RefCell::new(String::new());
        let fails = |m: &Mutation| Ok([None, (m.what == "a lost barrier").then(|| "sums".to_string())]);
        let keep = |table: &str| {
            *kept.borrow_mut() = table.to_string();
            Ok(())
        };
        assert!(!try_each(&[&caught, &survivor], ["forward", "back"], fails, keep).unwrap());
        assert_eq!(
            *kept.borrow(),
            "| mutation | forward | back |\n|---|---|---|\n| a lost barrier | none | `sums` |\n\
             | an equivalent | **none** | **none** |\n"
        );
        assert!(try_each(&[&caught], ["forward", "back"], fails, keep).unwrap());
    }
}

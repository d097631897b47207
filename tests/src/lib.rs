//! What the cross-crate tests share: finding the shared data, saying why a test is skipped, running the programs.
//!
//! Data and peers' numbers live outside the repository (`../shared` beside it, or the folder named by the
//! environment variable `ONCOGRAPH_SHARED`). A trial whose folder is absent is reported as *ignored* by the
//! test runner, with the reason printed, never as passed.

pub mod bench;
pub mod cases;
pub mod e2e;
pub mod fixture;
pub mod parity;

use libtest_mimic::{Failed, Trial};
use std::path::{Path, PathBuf};

/// The folder with `data/` and `fixtures/`: `$ONCOGRAPH_SHARED`, else `../shared` beside the repository.
pub fn shared_root() -> PathBuf {
    match std::env::var_os("ONCOGRAPH_SHARED") {
        Some(dir) => dir.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
    }
}

/// A test that needs the given paths below [`shared_root`]; `run` receives the root.
///
/// Where one of them is absent the trial is ignored and the missing path is printed.
pub fn trial<F>(name: &str, needs: &[&str], run: F) -> Trial
where
    F: FnOnce(&Path) -> Result<(), Failed> + Send + 'static,
{
    let root = shared_root();
    let missing = needs.iter().map(|n| root.join(n)).find(|p| !p.exists());
    if let Some(path) = &missing {
        eprintln!("skip {name}: {} is absent (set ONCOGRAPH_SHARED)", path.display());
    }
    Trial::test(name, move || run(&root)).with_ignored_flag(missing.is_some())
}

// The examples of the repository's texts are compiled and run as doctests; here, since a published crate holds only
// its own folder.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ReadmeExamples;

#[cfg(doctest)]
#[doc = include_str!("../../CONTRIBUTING.md")]
struct ContributingExamples;

//! The parity runner: every case of a folder against the item of the workspace that answers its operation.
//!
//! The leading word or words of a case's name give the operation; everything else comes from its options, shapes and
//! tensors. An adapter of this module builds the public item with those options and compares; it computes nothing
//! itself.

mod document;
pub mod encoder;
mod enrichment;
mod explain;
mod geometry;
mod gnn;
mod imaging;
mod losses;
mod metrics;
mod models;
mod nn;
mod optim;
mod shapes;

pub use document::document;

use crate::fixture::{Fixture, Verdict};
use libtest_mimic::{Failed, Trial};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

type Outcome = Result<(), Failed>;

/// One operation of the peers and what answers it here.
pub struct Operation {
    /// The leading words of the cases' names.
    pub name: &'static str,
    /// The peer's function or class.
    pub reference: &'static str,
    /// The public items that are held to it.
    pub items: &'static [&'static str],
    run: fn(&Fixture) -> Outcome,
}

/// Every operation, in the order of the crates.
pub fn operations() -> impl Iterator<Item = &'static Operation> {
    [
        nn::OPERATIONS,
        optim::OPERATIONS,
        encoder::OPERATIONS,
        gnn::OPERATIONS,
        geometry::OPERATIONS,
        losses::OPERATIONS,
        metrics::OPERATIONS,
        imaging::OPERATIONS,
        shapes::OPERATIONS,
        explain::OPERATIONS,
        enrichment::OPERATIONS,
        models::OPERATIONS,
    ]
    .into_iter()
    .flatten()
}

/// The operation that answers the case `name`: the longest that the name begins with.
pub fn operation(name: &str) -> Option<&'static Operation> {
    let answers =
        |o: &&Operation| name.strip_prefix(o.name).is_some_and(|r| r.is_empty() || r.starts_with('_'));
    operations().filter(answers).max_by_key(|o| o.name.len())
}

/// The names of the cases of a folder, sorted.
pub fn cases(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str().and_then(|n| n.strip_suffix(".json"))
            && folder.join(format!("{name}.safetensors")).exists()
        {
            names.push(name.to_string());
        }
    }
    names.sort();
    Ok(names)
}

/// Runs one case of a folder.
pub fn run(folder: &Path, name: &str) -> Verdict {
    let Some(operation) = operation(name) else {
        return Verdict::Unsupported("no such operation".into());
    };
    let fixture = match Fixture::load(folder, name) {
        Ok(fixture) => fixture,
        Err(failed) => return Verdict::Fail(failed.message().unwrap_or("cannot be read").to_string()),
    };
    match catch_unwind(AssertUnwindSafe(|| (operation.run)(&fixture))) {
        Ok(outcome) => fixture.verdict(outcome),
        Err(_) => Verdict::Fail("panicked".into()),
    }
}

/// One trial for each case of the public folder.
pub fn trials() -> Vec<Trial> {
    let folder = crate::shared_root().join("fixtures");
    let Ok(names) = cases(&folder) else {
        return vec![crate::trial("parity", &["fixtures"], |_| Ok(()))];
    };
    let trial = |name: String| {
        let folder = folder.clone();
        Trial::test(format!("parity::{name}"), move || match run(&folder, &name) {
            Verdict::Pass(_) => Ok(()),
            Verdict::Fail(why) => Err(why.into()),
            Verdict::Unsupported(why) => Err(format!("unsupported: {why}").into()),
        })
    };
    names.into_iter().map(trial).collect()
}

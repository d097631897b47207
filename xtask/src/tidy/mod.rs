//! `cargo xtask tidy`: the house rules that the compiler does not check.
//!
//! [`manifest`] has the rules on manifests, [`source`] those on files, [`api`] those on the public API.

mod api;
mod manifest;
mod source;

use anyhow::{Context, Result};
use std::fmt;
use std::path::{Path, PathBuf};

/// The published crates and their floors: a crate may depend on lower floors only.
pub const LEVELS: [(&str, u8); 20] = [
    ("oncograph-core", 0),
    ("oncograph-alloc", 0),
    ("oncograph-kernels", 0),
    ("oncograph-nn", 1),
    ("oncograph-imaging", 1),
    ("oncograph-metrics", 1),
    ("oncograph-graph", 2),
    ("oncograph-encoder", 2),
    ("oncograph-losses", 2),
    ("oncograph-train", 2),
    ("oncograph-datasets", 2),
    ("oncograph-explain", 2),
    ("oncograph-report", 2),
    ("oncograph-gnn", 3),
    ("oncograph-study", 3),
    ("oncograph-deploy", 3),
    ("oncograph-spatiotemporal", 4),
    ("oncograph-brain", 4),
    ("oncograph-omics", 4),
    ("oncograph", 5),
];

/// The level of a crate of the table.
fn level(name: &str) -> Option<u8> {
    LEVELS.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
}

/// Something that breaks a rule: where, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    file: String,
    cause: String,
    /// Reported, but no failure.
    warning: bool,
}

impl Finding {
    fn error(file: impl Into<String>, cause: impl Into<String>) -> Self {
        Finding { file: file.into(), cause: cause.into(), warning: false }
    }

    fn warning(file: impl Into<String>, cause: impl Into<String>) -> Self {
        Finding { warning: true, ..Finding::error(file, cause) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "warning" } else { "error" };
        write!(f, "{kind}: {}: {}", self.file, self.cause)
    }
}

/// Prints every finding; false if one of them is an error.
pub fn run(root: &Path) -> Result<bool> {
    let manifests = manifest::read(root)?;
    let mut findings = manifest::check(&manifests);
    let files = files(root)?;
    // A text that is not UTF-8 breaks no rule of ours.
    let readable = |path: &PathBuf| Some((relative(root, path), std::fs::read_to_string(path).ok()?));
    let texts: Vec<(String, String)> = files.iter().filter_map(readable).collect();
    for (name, text) in &texts {
        findings.extend(source::check(name, text));
        findings.extend(api::words_first(name, text));
    }
    findings.extend(api::names(&texts));
    findings.extend(manifest::unused(&manifests, &texts));
    findings.iter().for_each(|finding| println!("{finding}"));
    let warnings = findings.iter().filter(|f| f.warning).count();
    let errors = findings.len() - warnings;
    println!(
        "tidy: {errors} errors, {warnings} warnings in {} manifests and {} files",
        manifests.len(),
        files.len()
    );
    Ok(errors == 0)
}

/// The path below `root`, with `/` on every system.
fn relative(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    below.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The files of the repository that people write: sources, manifests, texts and scripts, in order.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    const OWN: [&str; 3] = [".cargo", ".ci", ".github"];
    const ENDINGS: [&str; 11] = ["rs", "toml", "md", "sh", "py", "yml", "yaml", "cu", "h", "cpp", "json"];
    let (mut found, mut folders) = (vec![], vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Build output, runs and what other programs keep beside the sources.
            if path.is_dir() {
                let built = ["target", "runs", "corpus", "artifacts", "coverage"].contains(&name.as_str());
                if !path.is_symlink() && !built && (!name.starts_with('.') || OWN.contains(&name.as_str())) {
                    folders.push(path);
                }
                continue;
            }
            let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            let script = folder.file_name().is_some_and(|f| f == ".ci");
            if script || ENDINGS.contains(&ending.as_str()) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_its_levels() {
        assert!(LEVELS.is_sorted_by_key(|(_, level)| *level));
        assert_eq!((level("oncograph-gnn"), level("oncograph-tests")), (Some(3), None));
    }

    /// The rules hold for this repository, and they were given something to look at.
    #[test]
    fn the_repository_is_tidy() {
        let root = crate::root().unwrap();
        assert!(files(&root).unwrap().len() > 20);
        assert!(run(&root).unwrap());
    }
}

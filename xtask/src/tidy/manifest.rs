//! Rules on manifests: levels, the metadata of a published crate, backend features, where versions come from.

use super::{Finding, level, relative};
use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Features that choose a backend; each forwards to every crate of ours below that has it.
const BACKENDS: [&str; 6] = ["cuda", "cudnn", "nccl", "mkl", "accelerate", "metal"];

/// What the rules look at in one manifest.
#[derive(Debug, Clone, Default)]
pub(super) struct Manifest {
    pub file: String,
    pub name: String,
    pub published: bool,
    pub description: Option<String>,
    pub licence: Option<String>,
    pub keywords: Vec<String>,
    /// Whether `readme` names a file that is there.
    pub readme: bool,
    /// `package.metadata.docs.rs.features`.
    pub docs_features: Option<Vec<String>>,
    /// `package.metadata.docs.rs.all-features`.
    pub docs_all_features: bool,
    /// Dependencies that are members of the workspace.
    pub own: Vec<Own>,
    /// All dependencies by the names that code calls them.
    pub dependencies: Vec<String>,
    /// The root files of its targets.
    pub roots: Vec<String>,
    pub features: BTreeMap<String, Vec<String>>,
    pub text: String,
}

/// A dependency on a member of the workspace.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub name: String,
    pub dev: bool,
}

/// The manifests of all members.
pub(super) fn read(root: &Path) -> Result<Vec<Manifest>> {
    let manifest = root.join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(&manifest).no_deps().exec();
    let packages = metadata.with_context(|| format!("cannot read {}", manifest.display()))?.packages;
    let names: BTreeSet<String> = packages.iter().map(|p| p.name.to_string()).collect();
    packages.iter().map(|package| Manifest::new(root, package, &names)).collect()
}

impl Manifest {
    fn new(root: &Path, package: &Package, members: &BTreeSet<String>) -> Result<Self> {
        let path = package.manifest_path.as_std_path();
        let docs = &package.metadata["docs"]["rs"];
        let docs_features = docs["features"]
            .as_array()
            .map(|all| all.iter().filter_map(|feature| feature.as_str()).map(str::to_string).collect());
        let own = package.dependencies.iter().filter(|d| members.contains(&d.name));
        Ok(Manifest {
            file: relative(root, path),
            name: package.name.to_string(),
            published: package.publish.as_ref().is_none_or(|registries| !registries.is_empty()),
            description: package.description.clone(),
            licence: package.license.clone(),
            keywords: package.keywords.clone(),
            readme: package.readme().is_some_and(|readme| readme.is_file()),
            docs_features,
            docs_all_features: docs["all-features"].as_bool().unwrap_or(false),
            own: own
                .map(|d| Own { name: d.name.clone(), dev: d.kind == DependencyKind::Development })
                .collect(),
            dependencies: package
                .dependencies
                .iter()
                .map(|d| d.rename.as_ref().unwrap_or(&d.name).replace('-', "_"))
                .collect(),
            roots: package.targets.iter().map(|t| relative(root, &real(t.src_path.as_std_path()))).collect(),
            features: package.features.clone(),
            text: std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        })
    }
}

/// All rules on all manifests.
pub(super) fn check(manifests: &[Manifest]) -> Vec<Finding> {
    let by_name: BTreeMap<&str, &Manifest> = manifests.iter().map(|m| (m.name.as_str(), m)).collect();
    let mut findings = vec![];
    for manifest in manifests {
        findings.extend(inheritance(&manifest.file, &manifest.text));
        findings.extend(backends(manifest, &by_name));
        if manifest.published {
            findings.extend(levels(manifest));
            findings.extend(description(manifest));
        }
    }
    findings
}

/// Dependencies that no source of their package names.
pub(super) fn unused(manifests: &[Manifest], texts: &[(String, String)]) -> Vec<Finding> {
    let mut findings = vec![];
    for manifest in manifests {
        let folder = manifest.file.trim_end_matches("Cargo.toml");
        let sources: Vec<&str> = texts
            .iter()
            // The texts at the root are compiled by the package of tests.
            .filter(|(file, _)| {
                file.starts_with(folder) || manifest.roots.contains(file) || !file.contains('/')
            })
            .filter(|(file, _)| file.ends_with(".rs") || file.ends_with(".md"))
            .map(|(_, text)| text.as_str())
            .collect();
        let mut missing: Vec<&String> = manifest
            .dependencies
            .iter()
            .filter(|name| !sources.iter().any(|text| names(text, name)))
            .collect();
        missing.dedup();
        let cause = |name| format!("the dependency {name} is not used by any source of the package");
        findings.extend(missing.into_iter().map(|name| Finding::error(&manifest.file, cause(name))));
    }
    findings
}

/// A path without `..`, where there is such a file.
fn real(path: &Path) -> std::path::PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// Whether a text has `name` as a whole word.
fn names(text: &str, name: &str) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(name).any(|(at, _)| {
        !is_word(text[..at].chars().next_back()) && !is_word(text[at + name.len()..].chars().next())
    })
}

/// A crate depends on lower levels only; its tests may use its own level, never a higher one.
fn levels(manifest: &Manifest) -> Vec<Finding> {
    let finding = |cause| Finding::error(&manifest.file, cause);
    let Some(own) = level(&manifest.name) else {
        return vec![finding("a published crate without a level in xtask's table".to_string())];
    };
    let up = |dependency: &Own| {
        let name = &dependency.name;
        let Some(other) = level(name) else {
            return Some(format!("depends on {name}, which is not published"));
        };
        match dependency.dev {
            true if other > own => Some(format!("tests of level {own} depend on {name} of level {other}")),
            false if other >= own => Some(format!("level {own} depends on {name} of level {other}")),
            _ => None,
        }
    };
    manifest.own.iter().filter_map(up).map(finding).collect()
}

/// The metadata that crates.io and docs.rs require of a published crate.
fn description(manifest: &Manifest) -> Vec<Finding> {
    let mut causes = vec![];
    let mut require = |holds: bool, cause: &str| {
        if !holds {
            causes.push(cause.to_string());
        }
    };
    require(manifest.description.as_ref().is_some_and(|d| !d.trim().is_empty()), "no description");
    require(manifest.readme, "no readme, or its file is absent");
    require(manifest.licence.is_some(), "no licence");
    require(!manifest.keywords.is_empty() && manifest.keywords.len() <= 5, "not one to five keywords");
    require(manifest.docs_features.is_some(), "no [package.metadata.docs.rs] features list");
    require(!manifest.docs_all_features, "docs.rs would build all features, cuda among them");
    for feature in manifest.docs_features.iter().flatten() {
        if BACKENDS.contains(&feature.as_str()) {
            causes.push(format!("docs.rs cannot build the feature {feature}"));
        } else if !manifest.features.contains_key(feature) {
            causes.push(format!("docs.rs is given a feature {feature} that does not exist"));
        }
    }
    causes.into_iter().map(|cause| Finding::error(&manifest.file, cause)).collect()
}

/// A backend chosen at the top reaches every crate below that has it.
fn backends(manifest: &Manifest, by_name: &BTreeMap<&str, &Manifest>) -> Vec<Finding> {
    let mut findings = vec![];
    for backend in BACKENDS {
        let own = manifest.features.get(backend);
        for dependency in manifest.own.iter().filter(|d| !d.dev) {
            let name = &dependency.name;
            if !by_name.get(name.as_str()).is_some_and(|below| below.features.contains_key(backend)) {
                continue;
            }
            let forwarded = |values: &Vec<String>| {
                values.iter().any(|v| *v == format!("{name}/{backend}") || *v == format!("{name}?/{backend}"))
            };
            // An unpublished package may do without a backend, but not forward it to some only.
            let cause = match own {
                Some(values) if !forwarded(values) => {
                    format!("the feature {backend} does not forward to {name}/{backend}")
                }
                None if manifest.published => format!("no feature {backend}, which {name} has"),
                _ => continue,
            };
            findings.push(Finding::error(&manifest.file, cause));
        }
    }
    findings
}

/// Versions and lints are chosen once, in the root's manifest.
///
/// Reads the lines of a manifest as cargo's own style writes them: one dependency per line, or a separate table.
fn inheritance(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = vec![];
    let mut section = String::new();
    // A table `[dependencies.NAME]` in which `workspace = true` has not yet been found.
    let mut pending: Option<String> = None;
    let mut lints = false;
    let not_inherited = |name: &str| {
        Finding::error(file, format!("the dependency {name} does not come from [workspace.dependencies]"))
    };
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let compact: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        if let Some(header) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            findings.extend(pending.take().map(|name| not_inherited(&name)));
            section = header.trim_matches(['[', ']']).to_string();
            let (table, name) = section.rsplit_once('.').unwrap_or(("", ""));
            pending = is_dependencies(table).then(|| name.to_string());
        } else if pending.is_some() {
            if compact == "workspace=true" {
                pending = None;
            }
        } else if is_dependencies(&section) {
            let (key, value) = compact.split_once('=').unwrap_or((&compact, ""));
            let inherits = key.ends_with(".workspace") && value == "true" || value.contains("workspace=true");
            if !inherits {
                findings.push(not_inherited(key.trim_matches('"')));
            }
        } else if section == "lints" && compact == "workspace=true" {
            lints = true;
        }
    }
    findings.extend(pending.map(|name| not_inherited(&name)));
    if !lints {
        findings.push(Finding::error(file, "no [lints] workspace = true"));
    }
    findings
}

/// Whether a table of a manifest lists dependencies, of whatever kind and target.
fn is_dependencies(section: &str) -> bool {
    let last = section.rsplit('.').next().unwrap_or(section);
    ["dependencies", "dev-dependencies", "build-dependencies"].contains(&last)
        && !section.starts_with("workspace")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";

    fn manifest(name: &str, own: &[(&str, bool)]) -> Manifest {
        Manifest {
            file: format!("crates/{name}/Cargo.toml"),
            name: name.into(),
            published: true,
            description: Some("d".into()),
            licence: Some("MIT".into()),
            keywords: vec!["k".into()],
            readme: true,
            docs_features: Some(vec![]),
            own: own.iter().map(|&(name, dev)| Own { name: name.into(), dev }).collect(),
            text: LINTS.into(),
            ..Manifest::default()
        }
    }

    fn with_features(mut m: Manifest, features: &[(&str, &[&str])]) -> Manifest {
        let strings = |values: &[&str]| values.iter().map(|v| v.to_string()).collect();
        m.features = features.iter().map(|(name, values)| (name.to_string(), strings(values))).collect();
        m
    }

    fn causes(findings: Vec<Finding>) -> Vec<String> {
        findings.into_iter().map(|f| f.cause).collect()
    }

    #[test]
    fn a_dependency_points_down() {
        let down = manifest("oncograph-gnn", &[("oncograph-nn", false), ("oncograph-train", true)]);
        assert_eq!(levels(&down), []);
        let across = manifest("oncograph-gnn", &[("oncograph-study", false)]);
        assert_eq!(causes(levels(&across)), ["level 3 depends on oncograph-study of level 3"]);
        let up = manifest("oncograph-nn", &[("oncograph-gnn", false), ("oncograph-graph", true)]);
        let expected = [
            "level 1 depends on oncograph-gnn of level 3",
            "tests of level 1 depend on oncograph-graph of level 2",
        ];
        assert_eq!(causes(levels(&up)), expected);
        let unpublished = manifest("oncograph-nn", &[("oncograph-tests", true)]);
        assert_eq!(causes(levels(&unpublished)), ["depends on oncograph-tests, which is not published"]);
        assert_eq!(levels(&manifest("oncograph-new", &[])).len(), 1);
    }

    #[test]
    fn a_dependency_is_used() {
        let mut m = manifest("oncograph-nn", &[]);
        m.dependencies = ["serde", "serde_json", "tempfile"].map(String::from).to_vec();
        let texts = [
            ("crates/oncograph-nn/src/lib.rs".to_string(), "use serde_json::Value;".to_string()),
            ("crates/oncograph-nn/tests/a.rs".to_string(), "tempfile::tempdir()".to_string()),
            ("crates/oncograph-gnn/src/lib.rs".to_string(), "use serde::Serialize;".to_string()),
        ];
        let expected = ["the dependency serde is not used by any source of the package"];
        assert_eq!(causes(unused(&[m], &texts)), expected);
    }

    #[test]
    fn a_published_crate_describes_itself() {
        let mut m = manifest("oncograph-nn", &[]);
        assert_eq!(description(&m), []);
        m = Manifest { description: Some(" ".into()), licence: None, readme: false, ..m };
        m.keywords = vec!["k".into(); 6];
        m.docs_features = None;
        m.docs_all_features = true;
        assert_eq!(description(&m).len(), 6);
        let m = with_features(manifest("oncograph-nn", &[]), &[("cuda", &[]), ("candle", &[])]);
        let m = Manifest { docs_features: Some(["candle", "cuda", "x"].map(String::from).to_vec()), ..m };
        let expected =
            ["docs.rs cannot build the feature cuda", "docs.rs is given a feature x that does not exist"];
        assert_eq!(causes(description(&m)), expected);
    }

    #[test]
    fn a_backend_reaches_every_crate_below() {
        let nn = with_features(manifest("oncograph-nn", &[]), &[("cuda", &["candle-core/cuda"])]);
        let metrics = manifest("oncograph-metrics", &[]);
        let own = [("oncograph-nn", false), ("oncograph-metrics", false)];
        let check = |features: &[(&str, &[&str])], published: bool| {
            let gnn = Manifest { published, ..with_features(manifest("oncograph-gnn", &own), features) };
            let all = [nn.clone(), metrics.clone()];
            causes(backends(&gnn, &all.iter().map(|m| (m.name.as_str(), m)).collect()))
        };
        assert!(check(&[("cuda", &["oncograph-nn/cuda"])], true).is_empty());
        assert!(check(&[("cuda", &["oncograph-nn?/cuda"])], true).is_empty());
        assert_eq!(
            check(&[("cuda", &[])], false),
            ["the feature cuda does not forward to oncograph-nn/cuda"]
        );
        assert_eq!(check(&[], true), ["no feature cuda, which oncograph-nn has"]);
        assert!(check(&[], false).is_empty());
    }

    #[test]
    fn versions_and_lints_come_from_the_root() {
        let good = "[package]\nname = \"x\"\n[dependencies]\n# why\na.workspace = true\n\
                    b = { workspace = true, optional = true }\n[target.'cfg(unix)'.dependencies]\nc.workspace=true\n\
                    [dev-dependencies.d]\nworkspace = true\nfeatures = [\"f\"]\n[[bench]]\nname = \"b\"\n";
        assert_eq!(inheritance("f", &format!("{good}{LINTS}")), []);
        let bad =
            "[dependencies]\na = \"1\"\nb = { path = \"../b\" }\n[build-dependencies.c]\nversion = \"2\"\n";
        let names = ["a", "b", "c"];
        let mut expected: Vec<_> =
            names.map(|n| format!("the dependency {n} does not come from [workspace.dependencies]")).into();
        expected.push("no [lints] workspace = true".into());
        assert_eq!(causes(inheritance("f", bad)), expected);
        // The root's own tables define the versions.
        assert_eq!(inheritance("f", &format!("[workspace.dependencies]\na = \"1\"\n{LINTS}")), []);
    }

    #[test]
    fn the_rules_are_all_applied() {
        let nn = with_features(manifest("oncograph-nn", &[("oncograph-gnn", false)]), &[]);
        let gnn = Manifest { docs_features: None, ..manifest("oncograph-gnn", &[]) };
        let tests = Manifest { published: false, text: String::new(), ..manifest("oncograph-tests", &[]) };
        let findings = check(&[nn, gnn, tests]);
        let files: Vec<_> = findings.iter().map(|f| f.file.as_str()).collect();
        let expected = ["oncograph-nn", "oncograph-gnn", "oncograph-tests"];
        assert_eq!(files, expected.map(|name| format!("crates/{name}/Cargo.toml")));
    }
}

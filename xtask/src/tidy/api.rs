//! Rules on the public API: a type's name exists once, a field's docs begin with words.

use super::Finding;
use std::collections::BTreeMap;

/// Names that every crate has.
const SHARED: [&str; 2] = ["Error", "Result"];

/// Files whose text is looked at: sources of published crates.
fn is_library(file: &str) -> bool {
    file.starts_with("crates/") && file.contains("/src/") && file.ends_with(".rs")
}

/// A public type's name exists once in the workspace, so that a search finds the one that is meant.
pub(super) fn names(files: &[(String, String)]) -> Vec<Finding> {
    let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (file, text) in files.iter().filter(|(file, _)| is_library(file)) {
        for name in text.lines().filter_map(type_name).filter(|n| !SHARED.contains(n)) {
            seen.entry(name).or_default().push(file);
        }
    }
    let crate_of = |file: &str| file.split('/').nth(1).unwrap_or_default().to_string();
    let mut findings = vec![];
    for (name, files) in seen {
        let first = crate_of(files[0]);
        for other in files.iter().filter(|f| crate_of(f) != first) {
            findings.push(Finding::error(*other, format!("{name} is also the name of a type of {first}")));
        }
    }
    findings
}

/// The type that a line at the top of a module defines.
fn type_name(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub ")?;
    let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
    let rest = kinds.iter().find_map(|kind| rest.strip_prefix(kind))?;
    rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().filter(|n| !n.is_empty())
}

/// Docs begin with what a thing is; the number of a decision comes after the words.
pub(super) fn words_first(file: &str, text: &str) -> Vec<Finding> {
    if !is_library(file) {
        return vec![];
    }
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let begins = |i: usize| i == 0 || !lines[i - 1].starts_with("///");
    let numbered = |i: &usize| begins(*i) && lines[*i].strip_prefix("/// ").is_some_and(is_decision);
    let cause = "docs begin with a decision's number instead of words";
    let found = (0..lines.len()).filter(numbered);
    found.map(|i| Finding::error(format!("{file}:{}", i + 1), cause)).collect()
}

/// Whether a text begins with the number of a decision, for example `S-12`.
fn is_decision(text: &str) -> bool {
    let text = text.trim_start_matches('(');
    let digits = text.strip_prefix(['S', 'M', 'G']).and_then(|t| t.strip_prefix('-'));
    digits.is_some_and(|d| d.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> (String, String) {
        (name.to_string(), text.to_string())
    }

    #[test]
    fn a_name_exists_once() {
        let files = [
            file("crates/a/src/x.rs", "pub struct Table<T> {}\npub enum Error {}\nstruct Own;\n"),
            file("crates/b/src/y.rs", "pub trait Table: Sync {}\npub enum Error {}\npub struct Own;\n"),
            file("crates/a/src/z.rs", "pub type Other = u8;\n"),
            file("crates/b/tests/y.rs", "pub struct Other;\n"),
        ];
        let found = names(&files);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].file, "crates/b/src/y.rs");
        assert_eq!(found[0].cause, "Table is also the name of a type of a");
    }

    #[test]
    fn docs_begin_with_words() {
        let text = "/// S-12.\n/// The width (S-12).\n/// Long\n/// S-13 goes on.\npub a: u8,\n    /// M-02: columns.\n// G-1\n";
        let found = words_first("crates/a/src/x.rs", text);
        let lines: Vec<&str> = found.iter().map(|f| f.file.as_str()).collect();
        assert_eq!(lines, ["crates/a/src/x.rs:1", "crates/a/src/x.rs:6"]);
        assert_eq!(words_first("examples/x.rs", text), []);
    }
}

//! The programs that cargo builds for a device, found by its messages.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The package of the tests across crates, whose folder has another name.
const TESTS: &str = "oncograph-tests";

/// A program that cargo built.
#[derive(Debug, PartialEq)]
pub struct Program {
    /// Its package.
    pub package: String,
    /// The target's name, `lib` for unit tests.
    pub target: String,
    /// Where it lies.
    pub path: PathBuf,
}

/// Runs a build of cargo and returns the programs that it makes or finds made.
pub fn programs(build: &mut Command) -> Result<Vec<Program>> {
    build.args(["--message-format", "json-render-diagnostics"]);
    let output = build.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "a build failed: {build:?}");
    String::from_utf8_lossy(&output.stdout).lines().filter_map(program).collect()
}

/// The program of one of cargo's messages; none for anything else.
fn program(line: &str) -> Option<Result<Program>> {
    let message: Value = match serde_json::from_str(line) {
        Ok(message) => message,
        Err(error) => return Some(Err(error.into())),
    };
    let path = message["executable"].as_str()?;
    let kinds = message["target"]["kind"].as_array()?;
    let library = kinds.iter().filter_map(Value::as_str).any(|kind| kind == "lib");
    let target = if library { "lib" } else { message["target"]["name"].as_str()? };
    let manifest = Path::new(message["manifest_path"].as_str()?);
    // The folder of a crate has its name; those of tests have not.
    let package = match manifest.parent()?.file_name()?.to_str()? {
        "tests" => TESTS.to_string(),
        "cuda" => "oncograph-tests-cuda".to_string(),
        name => name.to_string(),
    };
    Some(Ok(Program { package, target: target.into(), path: path.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_named_by_package_and_target() {
        let line = |kind: &str, name: &str, folder: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/a/{folder}/Cargo.toml","target":{{"kind":["{kind}"],"name":"{name}"}},"executable":"/t/x"}}"#
            )
        };
        let of = |text: String| program(&text).unwrap().unwrap();
        let unit = of(line("lib", "oncograph_nn", "crates/oncograph-nn"));
        assert_eq!((unit.package.as_str(), unit.target.as_str()), ("oncograph-nn", "lib"));
        assert_eq!(of(line("test", "candle", "tests/cuda")).package, "oncograph-tests-cuda");
        assert_eq!(of(line("bin", "bench", "tests")).package, TESTS);
        assert!(program(r#"{"reason":"build-finished","success":true}"#).is_none());
        assert!(program("not json").unwrap().is_err());
    }
}

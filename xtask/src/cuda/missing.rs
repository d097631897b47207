//! A function for each one of CUDA's libraries that the stand-in lacks: it names itself and fails.
//!
//! A program that is linked with the stand-in could not start without them, since the loader wants every function that
//! the program may call. Their names come from the bindings that it is linked through, so the list follows `Cargo.lock`.

use anyhow::{Context, Result, bail};
use cargo_metadata::{CargoOpt, MetadataCommand};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Bindings: the package, and its files.
const BINDINGS: [(&str, &[&str]); 2] = [
    (
        "cudarc",
        &[
            "src/driver/sys/mod.rs",
            "src/cublas/sys/mod.rs",
            "src/cublaslt/sys/mod.rs",
            "src/curand/sys/mod.rs",
            "src/nvrtc/sys/mod.rs",
            "src/runtime/sys/mod.rs",
            "src/cudnn/sys/mod.rs",
        ],
    ),
    ("candle-kernels", &["src/ffi.rs"]),
];

/// Which status means that something is not supported, or has failed, by the beginning of the function's name.
const STATUS: [(&str, u32); 5] =
    [("cublas", 15), ("curand", 999), ("nvrtc", 11), ("cudnn", 3000), ("cu", 801)];

/// What a function returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Returns {
    Nothing,
    Pointer,
    Status,
}

/// C++ that defines every function of the bindings, weakly: where the stand-in has one, that one is taken.
pub(super) fn source(root: &Path) -> Result<String> {
    definitions(&functions(root, &BINDINGS)?)
}

/// C++ that defines every function of the driver: each returns the same status.
pub(super) fn driver(root: &Path, status: u32) -> Result<String> {
    let functions = functions(root, &[("cudarc", &["src/driver/sys/mod.rs"])])?;
    let lines = functions.keys().map(|name| format!("extern \"C\" int {name}() {{ return {status}; }}\n"));
    Ok(std::iter::once("// Written by `cargo xtask toolkit`.\n".to_string()).chain(lines).collect())
}

fn functions(root: &Path, bindings: &[(&str, &[&str])]) -> Result<BTreeMap<String, Returns>> {
    let mut functions = BTreeMap::new();
    let manifest = root.join("Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(&manifest)
        .features(CargoOpt::SomeFeatures(vec!["oncograph-nn/cuda".into()]))
        .exec()
        .with_context(|| format!("cannot read the packages of {}", manifest.display()))?;
    for (name, files) in bindings {
        let found = metadata.packages.iter().find(|package| package.name == *name);
        let folder = found.and_then(|package| package.manifest_path.parent());
        let folder = folder.with_context(|| format!("no package {name} below oncograph-nn/cuda"))?;
        for file in *files {
            let path = folder.join(file);
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            let declared = declarations(&text);
            if declared.is_empty() {
                bail!("{path} declares no function: have the bindings of {name} changed?");
            }
            functions.extend(declared.into_iter().map(|(name, returns)| (name.to_string(), returns)));
        }
    }
    Ok(functions)
}

/// The functions that a file of bindings declares, without those that it defines.
fn declarations(text: &str) -> Vec<(&str, Returns)> {
    let mut found = vec![];
    for (at, keyword) in text.match_indices("fn ") {
        let rest = &text[at + keyword.len()..];
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(length);
        let Some(after) = (!name.is_empty() && rest.starts_with('(')).then(|| after_parameters(rest)) else {
            continue;
        };
        let Some(end) = after.find([';', '{']).filter(|end| after[*end..].starts_with(';')) else {
            continue;
        };
        let returns = match after[..end].trim() {
            "" => Returns::Nothing,
            result if result.contains('*') => Returns::Pointer,
            _ => Returns::Status,
        };
        found.push((name, returns));
    }
    found
}

/// What follows the parameters, at whose `(` the text begins.
fn after_parameters(text: &str) -> &str {
    let mut depth = 0;
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[i + 1..];
        }
    }
    ""
}

fn definitions(functions: &BTreeMap<String, Returns>) -> Result<String> {
    let mut out = String::from(
        "// Written by `cargo xtask test-cuda`.\n\
         extern \"C\" int cudasim_missing(const char *, int);\n\
         extern \"C\" int cudasim_missing_void(const char *);\n\
         #define MISSING extern \"C\" __attribute__((weak, visibility(\"default\")))\n",
    );
    for (name, returns) in functions {
        let status =
            STATUS.iter().find(|(prefix, _)| name.starts_with(prefix)).map_or(1, |(_, status)| *status);
        match returns {
            Returns::Nothing => {
                writeln!(out, "MISSING void {name}() {{ cudasim_missing_void(\"{name}\"); }}")
            }
            Returns::Status => {
                writeln!(out, "MISSING int {name}() {{ return cudasim_missing(\"{name}\", {status}); }}")
            }
            Returns::Pointer => writeln!(
                out,
                "MISSING const char *{name}() {{ cudasim_missing(\"{name}\", {status}); return \"{name}\"; }}"
            ),
        }?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_found_and_definitions_are_not() {
        let text = "pub unsafe fn cuA(x: i32) -> CUresult {\n extern \"C\" {\n  fn cuA(x: [u8; 3], f: Option<unsafe extern \"C\" \
                    fn(i32)>) -> CUresult;\n }\n}\nfn cublasName(s: i32) -> *const c_char;\npub fn moe(\n a: i64,\n);\nfn load() {}\n";
        let want = [("cuA", Returns::Status), ("cublasName", Returns::Pointer), ("moe", Returns::Nothing)];
        assert_eq!(declarations(text), want);
    }

    #[test]
    fn a_function_fails_with_its_librarys_status() {
        let functions = ["cublasA", "cuA", "cudaA"].map(|name| (name.to_string(), Returns::Status)).into();
        let text = definitions(&functions).unwrap();
        for line in ["\"cublasA\", 15", "\"cuA\", 801", "\"cudaA\", 801"] {
            assert!(text.contains(line), "{text}");
        }
    }
}

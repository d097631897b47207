//! CUDA's libraries beside the programs: those that they are linked to, and those that cuDNN opens by itself.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The beginnings of the names that a pack holds; the driver's own library belongs to the machine.
const PACKED: [&str; 8] = [
    "libcudasim.",
    "libcublas.",
    "libcublasLt.",
    "libcurand.",
    "libnvrtc.",
    "libnvrtc-builtins.",
    "libcudart.",
    "libcudnn",
];

/// What was packed, and what the programs need beside it.
#[derive(Debug, Default)]
pub struct Libraries {
    /// Names in the folder `lib`.
    pub packed: BTreeSet<String>,
    /// Libraries of CUDA that were not found here: the GPU's machine must have them.
    pub missing: BTreeSet<String>,
}

/// Where the toolkit and the loader keep libraries.
fn folders() -> Vec<PathBuf> {
    let listed = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty());
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(listed);
    let homes = homes.map(|home| PathBuf::from(home).join("lib64"));
    let searched: Vec<PathBuf> = listed("LD_LIBRARY_PATH").iter().flat_map(std::env::split_paths).collect();
    let usual =
        ["/usr/local/cuda/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"];
    homes.chain(searched).chain(usual.map(PathBuf::from)).collect()
}

/// The library of this name, where there is one.
pub fn find(name: &str) -> Option<PathBuf> {
    folders().into_iter().map(|folder| folder.join(name)).find(|path| path.exists())
}

/// Copies into `folder` what the programs are linked to; `search` is the loader's list, where it is another one than
/// this process has.
pub fn pack(programs: &[PathBuf], folder: &Path, search: Option<&OsStr>) -> Result<Libraries> {
    let mut all = Libraries::default();
    let mut needed = BTreeMap::new();
    for program in programs {
        let mut command = Command::new("ldd");
        command.arg(program).envs(search.map(|list| ("LD_LIBRARY_PATH", list)));
        let output = command.output().context("cannot start ldd")?;
        needed.extend(linked(&String::from_utf8_lossy(&output.stdout)));
    }
    for (name, place) in needed {
        let own = PACKED.iter().any(|start| name.starts_with(start));
        match place.or_else(|| find(&name).filter(|_| own)) {
            Some(place) if own => {
                copy(&place, &folder.join(&name))?;
                all.packed.insert(name.clone());
                all.packed.extend(companions(&name, &place, folder)?);
            }
            None => {
                all.missing.insert(name);
            }
            Some(_) => {}
        }
    }
    Ok(all)
}

/// Library names and where the loader finds them, from the lines of `ldd`.
fn linked(lines: &str) -> BTreeMap<String, Option<PathBuf>> {
    let one = |line: &str| {
        let (name, place) = line.trim().split_once(" => ")?;
        let place = place.split(" (").next().filter(|place| place.starts_with('/'));
        Some((name.to_string(), place.map(PathBuf::from)))
    };
    lines.lines().filter_map(one).collect()
}

/// The parts of cuDNN and NVRTC that lie beside them and are opened by name.
fn companions(name: &str, place: &Path, folder: &Path) -> Result<Vec<String>> {
    let start = match name {
        name if name.starts_with("libcudnn.") => "libcudnn_",
        name if name.starts_with("libnvrtc.") => "libnvrtc-builtins",
        _ => return Ok(vec![]),
    };
    let Some(beside) = place.parent() else { return Ok(vec![]) };
    let mut copied = vec![];
    for entry in std::fs::read_dir(beside).with_context(|| beside.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // `libcudnn_ops.so.9` is opened; `.so` is for linking, `.so.9.5.1` what both lead to.
        let version = name.split_once(".so.").map(|(_, version)| version);
        let opened = version.is_some_and(|v| !v.contains('.') || start == "libnvrtc-builtins");
        if name.starts_with(start) && opened {
            copy(&path, &folder.join(&name))?;
            copied.push(name);
        }
    }
    Ok(copied)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to)
        .map(|_| ())
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_ldd_are_read() {
        let lines = "\tlinux-vdso.so.1 (0x00007f)\n\tlibcublas.so.12 => /usr/local/cuda/lib64/libcublas.so.12 (0x00007f)\n\
                     \tlibcuda.so.1 => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found = linked(lines);
        assert_eq!(found.len(), 2);
        assert_eq!(found["libcublas.so.12"], Some(PathBuf::from("/usr/local/cuda/lib64/libcublas.so.12")));
        assert_eq!(found["libcuda.so.1"], None);
    }
}

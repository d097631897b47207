//! `cargo xtask toolkit`: NVIDIA's toolkit as PyPI has it, in wheels, laid out as build scripts expect it.
//!
//! The wheels hold the compiler, headers and libraries, but neither the `lib*.so` that a linker looks for nor a
//! `libcuda.so`, which comes with the driver. Those are made here, the second one from the bindings that programs are
//! linked through: every function of it answers that it is not the driver.

use super::{check, missing, stand_in, test};
use crate::{on_path, target};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The wheels. cudarc 0.19.10 knows CUDA up to 13.4, cuDNN 9.21 and NCCL 2.30; a driver runs the PTX of no newer
/// toolkit than itself, so it is the oldest one that has `nvcc` in a wheel.
const WHEELS: [(&str, &str); 10] = [
    ("nvidia-cuda-nvcc", "13.0.88"),
    ("nvidia-nvvm", "13.0.88"),
    ("nvidia-cuda-crt", "13.0.88"),
    ("nvidia-cuda-runtime", "13.0.96"),
    ("nvidia-cuda-cccl", "13.0.85"),
    ("nvidia-cuda-nvrtc", "13.0.88"),
    ("nvidia-cublas", "13.0.2.14"),
    ("nvidia-curand", "10.4.0.35"),
    ("nvidia-cudnn-cu13", "9.21.1.3"),
    ("nvidia-nccl-cu13", "2.30.7"),
];

/// How pip is called, in order.
const PIPS: [&[&str]; 4] = [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];

/// The status of a library that only links: `CUDA_ERROR_STUB_LIBRARY`.
const STUB: u32 = 34;

/// Makes the toolkit where it is not made yet, and prints what a shell needs to use it.
pub fn run(root: &Path) -> Result<bool> {
    stand_in::refuse_its_shell()?;
    let home = home(root);
    let stamp = home.join("wheels.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wheels()) {
        eprintln!("toolkit: {} is up to date", home.display());
    } else {
        install(root, &home)?;
        // Written last: what was interrupted is made again.
        std::fs::write(&stamp, wheels()).with_context(|| format!("cannot write {}", stamp.display()))?;
        eprintln!("toolkit: made {}", home.display());
    }
    test::print_environment(&environment(root, &home)?);
    Ok(true)
}

/// What cargo needs for a build with NVIDIA's toolkit: the one whose `nvcc` is on PATH, else that of [`run`]; none
/// without either.
pub(super) fn found(root: &Path) -> Result<Option<stand_in::Environment>> {
    if on_path("nvcc") {
        return Ok(Some(shared(root)));
    }
    let home = home(root);
    home.join("wheels.txt").is_file().then(|| environment(root, &home)).transpose()
}

/// Why nothing is done without a toolkit.
pub(super) const ABSENT: &str =
    "nvcc is not on PATH (install the CUDA toolkit, 12.0 or later, or call `cargo xtask toolkit`)";

fn home(root: &Path) -> PathBuf {
    folder_beside(target(root), "cuda-toolkit")
}

/// A folder of the target folder. In a shell that has what [`run`] prints, that one is a folder of the usual one.
fn folder_beside(target: PathBuf, name: &str) -> PathBuf {
    let usual = target.parent().filter(|_| target.ends_with("cuda-gpu")).map(Path::to_path_buf);
    usual.unwrap_or(target).join(name)
}

/// What does not depend on where the toolkit is.
fn shared(root: &Path) -> stand_in::Environment {
    let capability = std::env::var_os("CUDA_COMPUTE_CAP").unwrap_or_else(|| check::COMPUTE_CAP.into());
    let target = folder_beside(target(root), "cuda-gpu");
    vec![("CUDA_COMPUTE_CAP", capability), ("CARGO_TARGET_DIR", target.into())]
}

fn environment(root: &Path, home: &Path) -> Result<stand_in::Environment> {
    let own: stand_in::Environment = vec![
        ("CUDA_HOME", home.into()),
        ("NVCC", home.join("bin/nvcc").into()),
        ("PATH", stand_in::before("PATH", &home.join("bin"))?),
        ("LD_LIBRARY_PATH", stand_in::before("LD_LIBRARY_PATH", &home.join("lib64"))?),
    ];
    Ok([own, shared(root)].concat())
}

/// The wheels as pip takes them, one a line.
fn wheels() -> String {
    WHEELS.iter().map(|(name, version)| format!("{name}=={version}\n")).collect()
}

fn install(root: &Path, home: &Path) -> Result<()> {
    let compiler = stand_in::compiler().context(
        "the toolkit is made on Linux on x86-64 only, with a C++ compiler (c++, g++, clang++ or CXX), which nvcc calls, too",
    )?;
    if home.exists() {
        std::fs::remove_dir_all(home).with_context(|| format!("cannot remove {}", home.display()))?;
    }
    let unpacked = home.join("wheels");
    fetch(&unpacked)?;
    let parts = unpacked.join("nvidia");
    for part in entries(&parts)? {
        for folder in entries(&part)? {
            let name = folder.file_name().unwrap_or_default();
            let name = if name == "lib" { "lib64".as_ref() } else { name };
            merge(&folder, &home.join(name))?;
        }
    }
    let lib = home.join("lib64");
    for (link, library) in links(&names(&lib)?) {
        symlink(&library, &lib.join(link))?;
    }
    // `nvcc.profile` names it so.
    symlink("lib64", &home.join("lib"))?;
    link_driver(root, &compiler, &lib.join("stubs"))
}

/// Unpacks the wheels into a folder. pip speaks on the other stream, since a shell may read this one.
fn fetch(folder: &Path) -> Result<()> {
    let pip = PIPS.into_iter().find(|words| {
        let mut probe = Command::new(words[0]);
        probe.args(&words[1..]).arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    });
    let pip = pip.context("pip is not installed: `python3 -m pip` unpacks NVIDIA's wheels from PyPI")?;
    eprintln!("toolkit: {} wheels of NVIDIA, 1.4 GB, by {}", WHEELS.len(), pip.join(" "));
    let mut command = Command::new(pip[0]);
    command.args(&pip[1..]).args(["install", "--quiet", "--no-input", "--no-deps", "--no-compile"]);
    command.args(["--only-binary", ":all:", "--target"]).arg(folder).args(wheels().lines());
    command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("PIP_ROOT_USER_ACTION", "ignore");
    command.stdout(std::io::stderr());
    if !command.status().with_context(|| format!("cannot start {}", pip.join(" ")))?.success() {
        bail!(
            "pip did not get the wheels, for the reason above: they need PyPI (or PIP_INDEX_URL) and 6 GB of disk"
        );
    }
    Ok(())
}

/// A `libcuda.so` for the linker.
fn link_driver(root: &Path, compiler: &OsString, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let source = folder.join("cuda.cpp");
    std::fs::write(&source, missing::driver(root, STUB)?)
        .with_context(|| format!("cannot write {}", source.display()))?;
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", "-O1", "-Wl,-soname,libcuda.so.1"]);
    command.arg("-o").args([&folder.join("libcuda.so"), &source]);
    if !command.status().with_context(|| format!("cannot start {command:?}"))?.success() {
        bail!("the driver's stub does not build: {command:?}");
    }
    symlink("libcuda.so", &folder.join("libcuda.so.1"))
}

/// The names that a linker looks for, each with the library that it is: of several versions, the shortest name.
fn links(names: &[String]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = vec![];
    for name in names {
        let Some((stem, _)) = name.split_once(".so.") else { continue };
        let link = format!("{stem}.so");
        match found.iter_mut().find(|(known, _)| *known == link) {
            Some((_, library)) if name.len() < library.len() => library.clone_from(name),
            Some(_) => {}
            None if names.contains(&link) => {}
            None => found.push((link, name.clone())),
        }
    }
    found
}

/// Moves what a folder holds to another one, whose files stay.
fn merge(from: &Path, to: &Path) -> Result<()> {
    if !to.exists() {
        return std::fs::rename(from, to)
            .with_context(|| format!("cannot move {} to {}", from.display(), to.display()));
    }
    for entry in entries(from)?.iter().filter(|_| from.is_dir()) {
        merge(entry, &to.join(entry.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(vec![]);
    }
    let read = || format!("cannot read {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(read)?;
    let mut found = entries.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>().with_context(read)?;
    found.sort();
    Ok(found)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let names = entries(folder)?.into_iter();
    Ok(names.filter_map(|path| Some(path.file_name()?.to_str()?.to_string())).collect())
}

#[cfg(unix)]
fn symlink(to: impl AsRef<Path>, link: &Path) -> Result<()> {
    std::os::unix::fs::symlink(to, link).with_context(|| format!("cannot make {}", link.display()))
}

#[cfg(not(unix))]
fn symlink(_: impl AsRef<Path>, link: &Path) -> Result<()> {
    bail!("cannot make {}: links are made on Linux only", link.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_gets_the_name_that_a_linker_looks_for() {
        let names = ["libA.so.13.0", "libA.so.13", "libB.so", "libB.so.2", "libC.a", "libD-x.alt.so.1"];
        let want = [("libA.so", "libA.so.13"), ("libD-x.alt.so", "libD-x.alt.so.1")];
        assert_eq!(links(&names.map(String::from)), want.map(|(a, b)| (a.to_string(), b.to_string())));
    }

    #[test]
    fn each_wheel_is_pinned_on_a_line() {
        assert_eq!(wheels().lines().count(), WHEELS.len());
        assert!(wheels().starts_with("nvidia-cuda-nvcc==13."));
    }

    #[test]
    fn the_toolkit_is_found_from_its_own_shell() {
        for target in ["target", "target/cuda-gpu"] {
            assert_eq!(folder_beside(target.into(), "cuda-gpu"), Path::new("target/cuda-gpu"));
        }
    }

    #[test]
    fn folders_are_merged() {
        let folder = std::env::temp_dir().join(format!("xtask-merge-{}", std::process::id()));
        for (path, text) in [("a/x/1", "a"), ("b/x/1", "b"), ("b/x/y/2", "b")] {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        merge(&folder.join("b"), &folder.join("a")).unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("a/x/1")).unwrap(), "a");
        assert_eq!(std::fs::read_to_string(folder.join("a/x/y/2")).unwrap(), "b");
        std::fs::remove_dir_all(folder).unwrap();
    }
}

//! Builds the stand-in of `xtask/cuda-sim` into a folder that looks like a CUDA toolkit.

use super::{check, missing, suite};
use crate::{cargo, on_path, target};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Libraries that programs link by name; all are the one of the stand-in.
const LIBRARIES: [&str; 7] = ["cuda", "cudart", "cublas", "cublasLt", "curand", "nvrtc", "cudnn"];

/// The one library, and the name that programs remember.
const LIBRARY: &str = "libcudasim.so.1";

/// Variables for the environment of a child.
pub type Environment = Vec<(&'static str, OsString)>;

/// The stand-in as it is installed.
pub(super) struct StandIn {
    home: PathBuf,
    target: PathBuf,
}

/// The C++ compiler: what CXX names, else the first on PATH; none where there is none, or on another system than the
/// fibers are written for.
pub(super) fn compiler() -> Option<OsString> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return None;
    }
    let chosen = std::env::var_os("CXX").filter(|cxx| !cxx.is_empty());
    chosen.or_else(|| ["c++", "g++", "clang++"].into_iter().find(|name| on_path(name)).map(Into::into))
}

/// An error in a shell that has the stand-in's environment, where no other compiler would be found.
pub(super) fn refuse_its_shell() -> Result<()> {
    if std::env::var_os("CUDASIM_HOME").is_some() {
        bail!("this shell is set up for the stand-in (CUDASIM_HOME is set): use another one");
    }
    Ok(())
}

impl StandIn {
    /// Builds what has changed since the last time. Speaks on the other stream, since a shell may read this one.
    pub(super) fn install(root: &Path, compiler: &OsString) -> Result<Self> {
        let own = StandIn { home: target(root).join("cuda-sim"), target: target(root).join("cuda") };
        let sources = root.join("xtask/cuda-sim");
        for folder in ["bin", "lib64"] {
            let path = own.home.join(folder);
            std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        own.install_nvcc(root, &sources)?;
        own.build_library(root, &sources.join("src"), compiler)?;
        Ok(own)
    }

    /// What programs need in their environment to be built with the stand-in and to run on it.
    pub(super) fn environment(&self) -> Result<Environment> {
        Ok(vec![
            ("CUDA_HOME", self.home.clone().into()),
            ("CUDASIM_HOME", self.home.clone().into()),
            ("NVCC", self.home.join("bin/nvcc").into()),
            ("PATH", before("PATH", &self.home.join("bin"))?),
            ("LD_LIBRARY_PATH", before("LD_LIBRARY_PATH", &self.home.join("lib64"))?),
            ("CUDA_COMPUTE_CAP", check::COMPUTE_CAP.into()),
            ("CARGO_TARGET_DIR", self.target.clone().into()),
        ])
    }

    /// The compiler and its headers. Where they have changed, the kernels that they compiled are dropped.
    fn install_nvcc(&self, root: &Path, sources: &Path) -> Result<()> {
        let mut build = cargo(root);
        build.args(["build", "--quiet", "--package", "xtask", "--bin", "nvcc"]);
        if !build.status().context("cannot start cargo")?.success() {
            bail!("the stand-in's nvcc does not build");
        }
        let own = std::env::current_exe().context("the path of xtask is unknown")?;
        copy(&own.with_file_name("nvcc"), &self.home.join("bin/nvcc"))?;
        let (include, code) = (sources.join("include"), sources.join("nvcc"));
        let state = digest(&[files(&include)?, files(&code)?].concat(), &[])?;
        let stamp = self.home.join("nvcc.stamp");
        if is_current(&stamp, &state) {
            return Ok(());
        }
        for file in files(&include)? {
            let below =
                file.strip_prefix(sources).with_context(|| format!("{} is elsewhere", file.display()))?;
            copy(&file, &self.home.join(below))?;
        }
        if self.target.is_dir() {
            eprintln!(
                "test-cuda: the stand-in's nvcc has changed: {} are compiled again",
                suite::KERNELS.join(", ")
            );
            let mut clean = cargo(root);
            clean
                .args(["clean", "--quiet", "--profile", suite::PROFILE])
                .env("CARGO_TARGET_DIR", &self.target);
            clean.args(suite::KERNELS.iter().flat_map(|name| ["--package", *name]));
            if !clean.status().context("cannot start cargo")?.success() {
                bail!("cargo clean failed in {}", self.target.display());
            }
        }
        write(&stamp, &state)
    }

    /// The library in the place of the driver and of CUDA's own libraries.
    fn build_library(&self, root: &Path, sources: &Path, compiler: &OsString) -> Result<()> {
        let lib = self.home.join("lib64");
        let missing = missing::source(root)?;
        let sources = files(sources)?;
        let state = digest(&sources, &[missing.as_bytes(), compiler.as_encoded_bytes()])?;
        let stamp = self.home.join("library.stamp");
        if is_current(&stamp, &state) {
            return Ok(());
        }
        eprintln!("test-cuda: building the stand-in into {}", self.home.display());
        let (generated, library) = (self.home.join("missing.cpp"), lib.join(LIBRARY));
        write(&generated, &missing)?;
        let mut command = Command::new(compiler);
        command.args([
            "-std=c++17",
            "-O2",
            "-g1",
            "-fPIC",
            "-shared",
            "-fvisibility=hidden",
            "-Wall",
            "-Wextra",
        ]);
        command.arg(format!("-Wl,-soname,{LIBRARY}"));
        command.args(sources.iter().filter(|file| file.extension().is_some_and(|e| e == "cpp")));
        command.arg(&generated).arg("-o").arg(&library).arg("-ldl");
        if !command.status().with_context(|| format!("cannot start {command:?}"))?.success() {
            bail!("the stand-in does not build: {command:?}");
        }
        for name in LIBRARIES {
            copy(&library, &lib.join(format!("lib{name}.so")))?;
        }
        write(&stamp, &state)
    }
}

/// A list of folders with one more in front.
pub(super) fn before(variable: &str, folder: &Path) -> Result<OsString> {
    let others = std::env::var_os(variable).unwrap_or_default();
    let others = std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty() && path != folder);
    std::env::join_paths(std::iter::once(folder.to_path_buf()).chain(others))
        .with_context(|| format!("{} cannot be put into {variable}", folder.display()))
}

/// All files below a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (vec![], vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() { &mut folders } else { &mut found }.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What changes when one of the files or texts does.
fn digest(files: &[PathBuf], texts: &[&[u8]]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.file_name().hash(&mut hasher);
        std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?.hash(&mut hasher);
    }
    texts.hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

fn is_current(stamp: &Path, state: &str) -> bool {
    std::fs::read_to_string(stamp).is_ok_and(|written| written == state)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Under another name first: a build may be running the file that is there.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let new = to.with_extension("new");
    std::fs::copy(from, &new)
        .and_then(|_| std::fs::rename(&new, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_follows_files_and_texts() {
        let file = crate::root().unwrap().join("xtask/Cargo.toml");
        let of = |texts: &[&[u8]]| digest(std::slice::from_ref(&file), texts).unwrap();
        assert_eq!(of(&[b"a"]), of(&[b"a"]));
        assert_ne!(of(&[b"a"]), of(&[b"b"]));
        assert_ne!(of(&[]), digest(&[], &[]).unwrap());
    }

    #[test]
    fn a_folder_comes_first_and_once() {
        let folder = Path::new("stand-in/bin");
        let path = before("PATH", folder).unwrap();
        assert_eq!(std::env::split_paths(&path).next().unwrap(), folder);
        assert_eq!(std::env::split_paths(&path).filter(|p| p == folder).count(), 1);
    }
}

//! Builds the programs and lays out the folder.

use super::Options;
use super::libraries::{self, Libraries};
use super::part::Pack;
use super::plan::{self, Kind, Test};
use crate::cuda::Program;
use crate::{cargo, cuda};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The package with the program `bench`.
const BENCH: &str = "oncograph-tests";

/// The test targets of a tiny pack.
const QUICK: [&str; 3] = ["candle", "device", "kernels"];

/// Runs in any folder, on a machine with a driver and a shell. Toolkits are not always on PATH.
const RUN: &str = "#!/bin/sh\n\
    # Works through all parts and writes results/; --only TEXT chooses parts, --limit SECONDS bounds the whole.\n\
    PATH=\"$PATH:${CUDA_HOME:-/usr/local/cuda}/bin\"\n\
    export PATH\n\
    cd \"$(dirname \"$0\")\" && exec bin/xtask gpu --parts . \"$@\"\n";

/// What can be known of the machine; absent tools are no error.
const VERSIONS: &str = "\
    if command -v nvidia-smi > /dev/null; then\n\
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem --format=csv,noheader \
    | sed 's/^/GPU and driver: /'\n\
    else echo 'GPU and driver: no nvidia-smi'; fi\n\
    if command -v nvcc > /dev/null; then nvcc --version | tail -n 1 | sed 's/^/toolkit: /'\n\
    else echo 'toolkit: no nvcc'; fi\n\
    python=${PYTHON:-python3}\n\
    $python -c 'import torch; print(\"torch:\", torch.__version__, \"with cuDNN\", torch.backends.cudnn.version())' \
    2> /dev/null || echo 'torch: none'\n\
    $python -c 'import torch_geometric as g; print(\"PyG:\", g.__version__)' 2> /dev/null || echo 'PyG: none'\n\
    sed -n 's/^model name.*: /processor: /p' /proc/cpuinfo | head -n 1\n";

/// Builds the folder; false, with the reason printed, where the toolkit is missing.
pub fn pack(root: &Path, folder: &Path, options: &Options) -> Result<bool> {
    let Some(environment) = cuda::environment(root, options.stand_in)? else { return Ok(false) };
    let home = environment.iter().find(|(name, _)| *name == "CUDA_HOME").map(|(_, home)| Path::new(home));
    let has_cudnn = home.is_some_and(|home| home.join("lib64/libcudnn.so").exists())
        || libraries::find("libcudnn.so").is_some();
    let cudnn = !options.without_cudnn && (options.stand_in || has_cudnn);
    let build = Build { root, environment, cudnn, stand_in: options.stand_in };
    let programs = build.programs()?;
    let mut tests = build.tests(options.tiny)?;
    tests.sort_by_key(|(test, _)| test.rank());
    for part in ["bin", "lib", "peers"] {
        let path = folder.join(part);
        std::fs::remove_dir_all(&path).ok();
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
    }
    let own = std::env::current_exe().context("the path of xtask is unknown")?;
    let mut packed = vec![install(&own, &folder.join("bin/xtask"))?];
    for (name, path) in &programs {
        packed.push(install(path, &folder.join("bin").join(name))?);
    }
    for (test, path) in &tests {
        packed.push(install(path, &folder.join("bin").join(test.file()))?);
    }
    std::fs::copy(root.join("tests/peers/bench.py"), folder.join("peers/bench.py"))?;
    let libraries = build.libraries(&packed, folder)?;
    let tests: Vec<Test> = tests.into_iter().map(|(test, _)| test).collect();
    let kind = Kind { tiny: options.tiny, stand_in: options.stand_in };
    let pack = Pack {
        commit: commit(root),
        stand_in: options.stand_in,
        tiny: options.tiny,
        cudnn,
        groups: plan::groups(kind),
        parts: plan::parts(&tests, kind),
    };
    write(folder, "pack.json", &serde_json::to_string_pretty(&pack)?)?;
    write(folder, "versions.sh", VERSIONS)?;
    write(folder, "README.md", &readme(&pack, &libraries))?;
    write(folder, "run.sh", RUN)?;
    executable(&folder.join("run.sh"))?;
    println!("gpu: {} parts in {}; `run.sh` there runs them", pack.parts.len(), folder.display());
    for name in &libraries.missing {
        println!("gpu: {name} was not found here: the GPU's machine must have it");
    }
    Ok(true)
}

/// How everything is built.
struct Build<'a> {
    root: &'a Path,
    environment: cuda::Environment,
    cudnn: bool,
    stand_in: bool,
}

impl Build<'_> {
    /// The names and paths of `bench` and the examples.
    fn programs(&self) -> Result<Vec<(String, PathBuf)>> {
        let mut words: Vec<&str> = vec!["build", "--bin", "bench"];
        words.extend(plan::EXAMPLES.iter().flat_map(|(name, _)| ["--example", name]));
        let built = self.run(&words)?;
        Ok(built.into_iter().map(|one| (one.target, one.path)).collect())
    }

    /// The test programs of the suite, or the quickest of them; tests of the stand-in itself stay here.
    fn tests(&self, tiny: bool) -> Result<Vec<(Test, PathBuf)>> {
        let suite = cuda::suite();
        let mut targets: Vec<&str> = suite.iter().flat_map(|package| package.tests).copied().collect();
        targets.retain(|target| if tiny { QUICK.contains(target) } else { *target != "stand_in" });
        targets.sort_unstable();
        targets.dedup();
        let mut words = vec!["test", "--no-run"];
        words.extend((!tiny).then_some("--lib"));
        words.extend(targets.iter().flat_map(|target| ["--test", target]));
        let built = self.run(&words)?;
        let wanted = |one: &Program| {
            let package = suite.iter().find(|package| package.name == one.package);
            package.is_some_and(|p| one.target == "lib" || p.tests.contains(&one.target.as_str()))
        };
        let named = |one: Program| (Test { package: one.package, target: one.target }, one.path);
        Ok(built.into_iter().filter(wanted).map(named).collect())
    }

    /// Calls cargo with the same packages and features each time, so that dependencies are built once.
    fn run(&self, words: &[&str]) -> Result<Vec<Program>> {
        let mut command = cargo(self.root);
        command.args(words);
        command.args(["--profile", if self.stand_in { cuda::PROFILE } else { "release" }]);
        let feature = if self.cudnn { "cudnn" } else { "cuda" };
        for package in packages() {
            command.args(["--package", package, "--features", &format!("{package}/{feature}")]);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        cuda::programs(&mut command)
    }

    fn libraries(&self, programs: &[PathBuf], folder: &Path) -> Result<Libraries> {
        let search = self.environment.iter().find(|(name, _)| *name == "LD_LIBRARY_PATH");
        libraries::pack(programs, &folder.join("lib"), search.map(|(_, value)| value.as_os_str()))
    }
}

/// The packages that are built together.
fn packages() -> impl Iterator<Item = &'static str> {
    let suite = cuda::suite().iter().map(|package| package.name);
    suite.chain([BENCH]).chain(plan::EXAMPLES.iter().map(|(name, _)| *name))
}

/// Copies a program and drops its symbols, where the tool for it is installed.
fn install(from: &Path, to: &Path) -> Result<PathBuf> {
    std::fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Command::new("strip").arg(to).stderr(Stdio::null()).status().ok();
    Ok(to.into())
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| path.display().to_string())
}

#[cfg(unix)]
fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}

#[cfg(not(unix))]
fn executable(_: &Path) -> Result<()> {
    Ok(())
}

fn commit(root: &Path) -> String {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(root).output();
    output.map_or_else(|_| String::new(), |o| String::from_utf8_lossy(&o.stdout).trim().to_string())
}

fn readme(pack: &Pack, libraries: &Libraries) -> String {
    let mut text = format!(
        "# Tests and benchmarks for a GPU\n\n\
         `./run.sh` runs {} parts in at most {:.0} minutes and needs NVIDIA's driver only: no network, no compiler. Each \
         part has its limit and leaves `results/NAME.json` as soon as it ends; `cargo xtask gpu --table results` makes a \
         page of them. `--only TEXT` runs the parts whose name contains the text, `--limit SECONDS` bounds the whole.\n\n\
         The peers run where `python3` (or the Python that PYTHON names) has torch with CUDA, and torch_geometric and \
         torchvision for their cases; the sanitizer runs where `compute-sanitizer` is on PATH. What is missing is skipped, \
         and its result says so.\n\n",
        pack.parts.len(),
        plan::LIMIT / 60.0,
    );
    let cudnn = if pack.cudnn { "with" } else { "without" };
    let _ = writeln!(text, "Built from commit {} {cudnn} cuDNN.", pack.commit);
    if pack.stand_in {
        text.push_str("The programs are for the stand-in of CUDA: they run without a GPU, and no time means anything.\n");
    }
    let list = |names: &std::collections::BTreeSet<String>| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.is_empty() { "none".to_string() } else { names.join(", ") }
    };
    let _ = writeln!(text, "\nLibraries in `lib/`: {}.", list(&libraries.packed));
    let _ = writeln!(
        text,
        "Libraries that the programs need and that were not found where they were built: {}.",
        list(&libraries.missing)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_builds_with_cuda_and_with_cudnn() {
        let manifest = crate::root().unwrap().join("Cargo.toml");
        let metadata =
            cargo_metadata::MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
        for name in packages() {
            let package = metadata.packages.iter().find(|p| p.name == name).expect(name);
            assert!(["cuda", "cudnn"].iter().all(|f| package.features.contains_key(*f)), "{name}");
        }
    }

    #[test]
    fn the_readme_names_what_is_missing() {
        let libraries = Libraries { missing: ["libcuda.so.1".to_string()].into(), ..Libraries::default() };
        let text = readme(&Pack { stand_in: true, ..Pack::default() }, &libraries);
        assert!(text.contains("libcuda.so.1") && text.contains("stand-in") && text.contains("`lib/`: none"));
    }
}

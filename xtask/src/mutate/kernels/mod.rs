//! Mistakes in the kernels, held to their tests on the stand-in for CUDA.
//!
//! Only what contains the mistake is compiled anew, beside the libraries of the build: the stand-in loads it in the place of
//! these (`CUDASIM_KERNELS`), so that the test programs and the build folder stay as they are.

mod list;

use super::{broken, chosen, try_each};
use crate::{cuda, target};
use anyhow::{Context, Result, bail, ensure};
use list::MUTATIONS;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of the kernels.
const SOURCES: &str = "crates/oncograph-kernels/cuda";

/// The page with the table of outcomes, and the lines around it.
const PAGE: &str = "docs/cuda.md";
const MARKERS: [&str; 2] = ["<!-- mutations -->\n", "<!-- end: mutations -->"];

/// The two runs of each mutation: their columns, and the switches of the stand-in.
const RUNS: [&str; 2] = ["test that fails", "under guard pages, in reverse order"];
const SWITCHES: [&[(&str, &str)]; 2] = [&[], &[("CUDASIM_GUARD", "1"), ("CUDASIM_ORDER", "reverse")]];

/// Runs every mutation, or those whose description contains `only`; false if one survived. Nothing, with the reason
/// printed, where the stand-in cannot be built.
pub fn run(root: &Path, only: Option<&str>) -> Result<bool> {
    let chosen = chosen(root, MUTATIONS, only)?;
    let Some(environment) = cuda::environment(root, true)? else { return Ok(true) };
    let programs = cuda::programs_of_kernels(root, &environment)?;
    let bench = Bench::new(root, environment, programs)?;
    let cases: BTreeSet<&str> = chosen.iter().map(|mutation| mutation.cases).collect();
    for cases in cases {
        for switches in SWITCHES {
            let failed = bench.first_failure(cases, switches)?;
            ensure!(failed.is_none(), "{} fails before anything is broken", failed.unwrap_or_default());
        }
    }
    try_each(
        &chosen,
        RUNS,
        |mutation| {
            let path = root.join(mutation.file);
            let file = path.file_name().and_then(|name| name.to_str()).context("no name")?;
            broken(root, &bench.sources.join(file), mutation, || bench.compile(file))?;
            let [plain, guarded] = SWITCHES.map(|switches| bench.first_failure(mutation.cases, switches));
            Ok([plain?, guarded?])
        },
        |table| if only.is_none() { write(root, table) } else { Ok(()) },
    )
}

/// Where kernels are broken, compiled and tested.
struct Bench {
    environment: cuda::Environment,
    programs: Vec<cuda::Program>,
    /// A copy of the sources.
    sources: PathBuf,
    /// What is compiled of it.
    libraries: PathBuf,
}

impl Bench {
    fn new(root: &Path, environment: cuda::Environment, programs: Vec<cuda::Program>) -> Result<Self> {
        let folder = target(root).join("mutate-kernels");
        let bench = Bench {
            environment,
            programs,
            sources: folder.join("cuda"),
            libraries: folder.join("libraries"),
        };
        bench.sources.is_dir().then(|| std::fs::remove_dir_all(&bench.sources)).transpose()?;
        bench.drop_libraries()?;
        std::fs::create_dir_all(&bench.sources)?;
        for name in names(&root.join(SOURCES))? {
            std::fs::copy(root.join(SOURCES).join(&name), bench.sources.join(&name))?;
        }
        Ok(bench)
    }

    fn drop_libraries(&self) -> Result<()> {
        self.libraries.is_dir().then(|| std::fs::remove_dir_all(&self.libraries)).transpose()?;
        Ok(std::fs::create_dir_all(&self.libraries)?)
    }

    /// Compiles the modules that contain a file, as the build script of the kernels does, and nothing else.
    fn compile(&self, file: &str) -> Result<()> {
        self.drop_libraries()?;
        let set = self.environment.iter().find(|(name, _)| *name == "NVCC").map(|(_, nvcc)| nvcc.clone());
        let nvcc = set.or_else(|| std::env::var_os("NVCC")).context("no NVCC for the stand-in")?;
        let mut runs = vec![];
        for source in names(&self.sources)?.into_iter().filter(|name| name.ends_with(".cu")) {
            if !contains(&self.sources, &source, file)? {
                continue;
            }
            for (suffix, real) in cuda::TYPES {
                let output = self.libraries.join(source.replace(".cu", &format!("_{suffix}.ptx")));
                let mut command = Command::new(&nvcc);
                command
                    .args(["--ptx", "-arch=compute_80", "-std=c++17", "-O3"])
                    .arg(format!("-DREAL={real}"));
                command.arg("-o").args([output, self.sources.join(&source)]);
                runs.push(command);
            }
        }
        ensure!(!runs.is_empty(), "no module contains {file}");
        std::thread::scope(|scope| {
            let runs: Vec<_> = runs.iter_mut().map(|run| scope.spawn(|| run.output())).collect();
            runs.into_iter().try_for_each(|run| {
                let output =
                    run.join().ok().context("a compilation panicked")?.context("cannot start nvcc")?;
                ensure!(output.status.success(), "does not compile\n{}", text(&output.stderr));
                Ok(())
            })
        })
    }

    /// The first test that fails of those that `cases` names: a test program, and what is in the names of its tests.
    fn first_failure(&self, cases: &str, switches: &[(&str, &str)]) -> Result<Option<String>> {
        let (name, filter) = cases.split_once(' ').context("a program and a filter")?;
        let is_it = |p: &&cuda::Program| if p.target == "lib" { p.package == name } else { p.target == name };
        let program = self.programs.iter().find(is_it).with_context(|| format!("no test program {name}"))?;
        let mut command = Command::new(&program.path);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        ["CUDASIM_GUARD", "CUDASIM_ORDER"].iter().for_each(|name| {
            command.env_remove(name);
        });
        command.envs(switches.iter().copied()).env("CUDASIM_KERNELS", &self.libraries);
        // One at a time: the last that was begun is the one that ended the program.
        let output = command.args(["--test-threads", "1", filter]).output();
        first_failure(&output.with_context(|| format!("cannot start {}", program.path.display()))?)
    }
}

/// The first test that fails, or that never ended.
fn first_failure(output: &Output) -> Result<Option<String>> {
    let stdout = text(&output.stdout);
    let tests = || stdout.lines().filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "));
    let failed = tests().find(|(_, outcome)| !outcome.starts_with("ok") && !outcome.starts_with("ignored"));
    match failed {
        Some((name, _)) => Ok(Some(name.to_string())),
        None if tests().next().is_some() && output.status.success() => Ok(None),
        None => bail!("no test was run: {stdout}\n{}", text(&output.stderr)),
    }
}

/// Whether a source is this file or includes it, by way of others or not.
fn contains(folder: &Path, source: &str, file: &str) -> Result<bool> {
    if source == file {
        return Ok(true);
    }
    let text = std::fs::read_to_string(folder.join(source)).with_context(|| source.to_string())?;
    let included = text.lines().filter_map(|line| line.strip_prefix("#include \"")?.strip_suffix('"'));
    for name in included {
        if contains(folder, name, file)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The names of the files of a folder, in order.
fn names(folder: &Path) -> Result<Vec<String>> {
    let read = || format!("cannot read {}", folder.display());
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).with_context(read)? {
        found.push(entry.with_context(read)?.file_name().to_string_lossy().into_owned());
    }
    found.sort();
    Ok(found)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Puts the table into the page.
fn write(root: &Path, table: &str) -> Result<()> {
    let path = root.join(PAGE);
    let page = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let page = with_table(&page, table).with_context(|| format!("no lines {MARKERS:?} in {PAGE}"))?;
    std::fs::write(&path, page).with_context(|| path.display().to_string())
}

fn with_table(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(MARKERS[0])?;
    let (_, after) = rest.split_once(MARKERS[1])?;
    Some([before, MARKERS[0], table, MARKERS[1], after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::mutated;

    #[test]
    fn every_place_is_there_once_and_every_module_has_one() {
        let root = crate::root().unwrap();
        for mutation in MUTATIONS {
            mutated(&root, mutation).unwrap();
            assert!(mutation.file.starts_with(SOURCES), "{}", mutation.file);
        }
        for name in names(&root.join(SOURCES)).unwrap().iter().filter(|name| name.ends_with(".cu")) {
            assert!(MUTATIONS.iter().any(|m| m.file.ends_with(&format!("/{name}"))), "{name}");
        }
    }

    #[test]
    fn a_header_is_in_the_modules_that_include_it() {
        let folder = crate::root().unwrap().join(SOURCES);
        let has = |source, file| contains(&folder, source, file).unwrap();
        assert!(has("norm.cu", "norm.cu") && has("norm.cu", "divide.cuh") && has("norm.cu", "common.cuh"));
        assert!(!has("norm.cu", "edges.cuh") && has("softmax.cu", "common.cuh"));
    }

    #[test]
    #[cfg(unix)]
    fn the_test_that_ended_its_program_is_found() {
        use std::os::unix::process::ExitStatusExt as _;
        use std::process::ExitStatus;
        let output = |stdout: &str, status| Output { stdout: stdout.into(), stderr: vec![], status };
        let (good, bad) = (ExitStatus::default(), ExitStatus::from_raw(11));
        let first = |stdout, status| first_failure(&output(stdout, status)).unwrap();
        let begun = "running 3 tests\ntest a::x ... ok\ntest a::y ... ";
        assert_eq!(first(begun, bad).as_deref(), Some("a::y"));
        assert_eq!(first("test a::x ... FAILED\ntest a::y ... FAILED\n", bad).as_deref(), Some("a::x"));
        assert_eq!(first("test a::x ... ok\ntest a::y ... ignored\n\ntest result: ok. 1 passed", good), None);
        assert!(first_failure(&output("running 0 tests\n\ntest result: ok. 0 passed", good)).is_err());
        assert!(first_failure(&output("", bad)).is_err());
    }

    #[test]
    fn the_page_has_a_place_for_the_table() {
        let page = std::fs::read_to_string(crate::root().unwrap().join(PAGE)).unwrap();
        let page = with_table(&page, "| a |\n").unwrap();
        assert!(page.contains("<!-- mutations -->\n| a |\n<!-- end: mutations -->"));
        assert!(with_table("no place", "").is_none());
    }
}

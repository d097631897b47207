//! The stand-in's `nvcc`: compiles CUDA C++ for the host, through `include/cuda_sim.h` beside its folder.
//!
//! `nvcc --ptx x.cu` writes `x.ptx`, which is not PTX but a comment that names the shared library made from `x.cu`; the
//! stand-in for libcuda loads that library. So candle-kernels and any crate whose build script calls nvcc build
//! without the CUDA toolkit. It is a program of its own and not a task, since build scripts call it by the path in NVCC.

mod options;
mod translate;

use anyhow::{Context, Result, bail};
use options::{Action, Options};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The fourth line is what cudarc's build script reads.
const VERSION: &str = "nvcc: stand-in that compiles for the host\nno toolkit of NVIDIA\nno GPU\n\
                       Cuda compilation tools, release 13.0, V13.0.0";

/// Architectures that a build script may ask for.
const ARCHITECTURES: &str = "sm_80\nsm_90";

/// Sources of candle that are left out: tensor-core and byte-dot-product instructions, which no model here uses.
const LEFT_OUT: [&str; 1] = ["quantized"];

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nvcc (stand-in): {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    match options.action {
        Action::Version => println!("{VERSION}"),
        Action::Architectures => println!("{ARCHITECTURES}"),
        Action::Ptx => options.sources.iter().try_for_each(|source| ptx(source, &options))?,
        Action::Object => object(&options)?,
        Action::Library => {
            let archive = options.output.as_ref().context("--lib without -o FILE")?;
            succeed(Command::new("ar").arg("crs").arg(archive).args(&options.objects))?;
        }
    }
    Ok(())
}

/// The C++ compiler that CXX names, else the first that is on PATH.
fn compiler() -> Command {
    let chosen = std::env::var_os("CXX").filter(|cxx| !cxx.is_empty());
    let found = || ["c++", "g++", "clang++"].into_iter().find(|name| on_path(name)).map(Into::into);
    let mut command = Command::new(chosen.or_else(found).unwrap_or_else(|| "c++".into()));
    command.arg("-std=c++17");
    command
}

fn on_path(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

/// Writes the library of a source's kernels and the file that names it.
fn ptx(source: &Path, options: &Options) -> Result<()> {
    let stem = source.file_stem().with_context(|| format!("{} has no name", source.display()))?;
    let output = match &options.output {
        Some(file) => file.clone(),
        None => options.folder.join(stem).with_extension("ptx"),
    };
    // The path is read again from anywhere.
    let output = std::path::absolute(&output).with_context(|| format!("no path {}", output.display()))?;
    let library = if LEFT_OUT.iter().any(|name| stem == *name) {
        String::new()
    } else {
        let library = output.with_extension("sim.so");
        compile(source, &library, &options.preprocessor)
            .with_context(|| format!("cannot compile {}", source.display()))?;
        library.display().to_string()
    };
    std::fs::write(&output, format!("//cudasim {}\n//{library}\n", source.display()))
        .with_context(|| format!("cannot write {}", output.display()))
}

/// Preprocesses, translates and compiles.
fn compile(source: &Path, library: &Path, preprocessor: &[String]) -> Result<()> {
    let include = include()?;
    let mut command = compiler();
    command.arg("-I").arg(&include).arg("-include").arg(include.join("cuda_sim.h")).args(preprocessor);
    command.args(["-w", "-E", "-x", "c++"]).arg(source);
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    let text = String::from_utf8(output.stdout).context("not UTF-8")?;
    let translated = library.with_extension("cpp");
    std::fs::write(&translated, translate::translate(&text)?)
        .with_context(|| format!("cannot write {}", translated.display()))?;
    let mut command = compiler();
    command.args(["-O2", "-g1", "-fPIC", "-shared", "-w"]);
    succeed(command.arg("-x").arg("c++").arg(&translated).arg("-o").arg(library))
}

/// The folder of the headers: `include` beside the folder of this program, as in a toolkit.
fn include() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program's path is unknown")?;
    let home = own.parent().and_then(Path::parent).context("this program is not in a folder bin")?;
    Ok(home.join("include"))
}

/// An object without content: kernels that are linked statically (candle's quantized matrices and mixtures of experts)
/// are left out, and the stand-in's library has a function in each one's place that names it.
fn object(options: &Options) -> Result<()> {
    let output = options.output.as_ref().context("-c without -o FILE")?;
    succeed(compiler().args(["-c", "-x", "c++", "/dev/null", "-o"]).arg(output))
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("failed: {command:?}");
    }
    Ok(())
}

//! nvcc's options, as far as build scripts use them.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Version,
    Architectures,
    Ptx,
    Object,
    Library,
}

/// The command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) action: Action,
    pub(crate) sources: Vec<PathBuf>,
    pub(crate) objects: Vec<PathBuf>,
    pub(crate) output: Option<PathBuf>,
    /// Where files go whose name follows from their source's.
    pub(crate) folder: PathBuf,
    /// `-I`, `-D` and `-U`, which the host's compiler knows, too.
    pub(crate) preprocessor: Vec<String>,
}

/// Options for the GPU's or the host's code generation with a value of their own, which mean nothing here.
const IGNORED_WITH_VALUE: [&str; 11] = [
    "--default-stream",
    "-default-stream",
    "-ccbin",
    "--compiler-bindir",
    "-Xcompiler",
    "--compiler-options",
    "-Xptxas",
    "-gencode",
    "-arch",
    "-code",
    "-std",
];

impl Options {
    /// Reads the arguments; an error for one that is not known and not of a kind that is ignored.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options> {
        let (mut action, mut sources, mut objects, mut preprocessor) = (None, vec![], vec![], vec![]);
        let (mut output, mut folder) = (None, PathBuf::from("."));
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{argument} without a value"));
            match argument.as_str() {
                "--version" | "-V" => action = Some(Action::Version),
                "--list-gpu-code" | "--list-gpu-arch" => action = Some(Action::Architectures),
                "--ptx" | "-ptx" => action = Some(Action::Ptx),
                "-c" | "--compile" => action = Some(Action::Object),
                "--lib" | "-lib" => action = Some(Action::Library),
                "-o" | "--output-file" => output = Some(PathBuf::from(value()?)),
                "-odir" | "--output-directory" => folder = PathBuf::from(value()?),
                flag @ ("-I" | "-D" | "-U") => preprocessor.push(format!("{flag}{}", value()?)),
                flag if ["-I", "-D", "-U"].iter().any(|kind| flag.starts_with(kind)) => {
                    preprocessor.push(flag.to_string());
                }
                flag if IGNORED_WITH_VALUE.contains(&flag) => {
                    value()?;
                }
                flag if flag.starts_with('-') => {}
                file if file.ends_with(".cu") => sources.push(PathBuf::from(file)),
                file if file.ends_with(".o") || file.ends_with(".obj") => objects.push(PathBuf::from(file)),
                file => bail!("{file}: not a .cu or .o file"),
            }
        }
        let action = action.with_context(|| format!("nothing that it can do in {arguments:?}"))?;
        Ok(Options { action, sources, objects, output, folder, preprocessor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_lines_of_build_scripts_are_understood() {
        let line = "--gpu-architecture=sm_80 --ptx --default-stream per-thread --output-directory out \
                    --expt-relaxed-constexpr -std=c++17 -O3 -DFAST -I inc src/a.cu";
        let options = parse(line).unwrap();
        assert_eq!(options.action, Action::Ptx);
        assert_eq!(options.sources, [PathBuf::from("src/a.cu")]);
        assert_eq!(options.folder, PathBuf::from("out"));
        assert_eq!(options.preprocessor, ["-DFAST", "-Iinc"]);
        let options = parse("-gencode arch=compute_80,code=sm_80 -c -o a.o -Xcompiler -fPIC a.cu").unwrap();
        assert_eq!((options.action, options.output), (Action::Object, Some(PathBuf::from("a.o"))));
        let options = parse("--lib -o b.a a.o c.o").unwrap();
        assert_eq!((options.action, options.objects.len()), (Action::Library, 2));
        assert_eq!(parse("--version").unwrap().action, Action::Version);
        assert_eq!(parse("--list-gpu-code").unwrap().action, Action::Architectures);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(parse("--ptx a.txt").unwrap_err().to_string(), "a.txt: not a .cu or .o file");
        assert_eq!(parse("--ptx a.cu -o").unwrap_err().to_string(), "-o without a value");
        assert!(parse("a.cu").unwrap_err().to_string().starts_with("nothing that it can do"));
    }
}

//! The programs in `examples/` as their users run them: as processes, on small input.
//!
//! `cargo test --workspace` builds the programs with the tests. A test that is run alone finds those of the last build.

use libtest_mimic::Failed;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What a trial returns.
pub type Outcome = Result<(), Failed>;

/// How long a program may take to reach the moment at which it is killed.
const PATIENCE: Duration = Duration::from_secs(600);

/// One of the programs, with the options under which it is quick.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    name: &'static str,
    small: &'static [&'static str],
}

impl Program {
    /// The program `name`; it writes its runs into a folder of this name. `small` are options for a quick run.
    pub const fn new(name: &'static str, small: &'static [&'static str]) -> Self {
        Self { name, small }
    }

    /// The program without options.
    ///
    /// # Errors
    /// Where it has not been built, with the command that builds it.
    pub fn command(&self) -> Result<Command, Failed> {
        let test = std::env::current_exe()?;
        let profile =
            test.parent().and_then(Path::parent).ok_or("the test is not in target/<profile>/deps")?;
        let path = profile.join("examples").join(format!("{}{}", self.name, std::env::consts::EXE_SUFFIX));
        if path.is_file() {
            return Ok(Command::new(path));
        }
        let release = if profile.ends_with("release") { " --release" } else { "" };
        Err(format!("{} is not built: cargo build --workspace --examples{release}", path.display()).into())
    }

    /// A quick run that writes below `out`.
    ///
    /// # Errors
    /// As [`Program::command`].
    pub fn small(&self, out: &Path) -> Result<Command, Failed> {
        let mut command = self.command()?;
        command.args(self.small).arg("--out").arg(out);
        Ok(command)
    }

    /// The settings that the folder `run` keeps, once more, below `out`.
    ///
    /// # Errors
    /// As [`Program::command`].
    pub fn repeat(&self, run: &Path, out: &Path) -> Result<Command, Failed> {
        let mut command = self.command()?;
        command.arg("--config").arg(run.join("config.json")).arg("--out").arg(out);
        Ok(command)
    }

    /// Goes on with the newest run below `out`.
    ///
    /// # Errors
    /// As [`Program::command`].
    pub fn resume(&self, out: &Path) -> Result<Command, Failed> {
        let mut command = self.command()?;
        command.arg("--resume").arg("--out").arg(out);
        Ok(command)
    }

    /// The folders of the runs below `out`, oldest first.
    ///
    /// # Errors
    /// Where the program has made no folder.
    pub fn runs(&self, out: &Path) -> Result<Vec<PathBuf>, Failed> {
        let entries = std::fs::read_dir(out.join(self.name))?;
        let mut runs = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
        runs.sort();
        Ok(runs)
    }

    /// The folder of the newest run below `out`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn last_run(&self, out: &Path) -> Result<PathBuf, Failed> {
        self.runs(out)?.pop().ok_or_else(|| "there is no run".into())
    }

    /// The folder of the run below `out`.
    ///
    /// # Errors
    /// Where there is none, and where there are several.
    pub fn only_run(&self, out: &Path) -> Result<PathBuf, Failed> {
        match <[PathBuf; 1]>::try_from(self.runs(out)?) {
            Ok([run]) => Ok(run),
            Err(runs) => Err(format!("{} runs", runs.len()).into()),
        }
    }

    /// Fails where a run was left below `out`; a folder without runs is none.
    ///
    /// # Errors
    /// With the name `case`.
    pub fn leaves_nothing(&self, out: &Path, case: &str) -> Outcome {
        let left = out.join(self.name).read_dir().map_or(0, Iterator::count);
        ensure(left == 0, format!("{case}: a run is left behind"))
    }

    /// Runs `start`, kills it at the first of the `moments`, resumes it, kills it at the second, and so on; then lets
    /// it end.
    ///
    /// # Errors
    /// Where the last of them fails.
    pub fn kill_and_resume(&self, start: Command, out: &Path, moments: &[&dyn Fn() -> bool]) -> Outcome {
        let mut next = start;
        for ready in moments {
            kill_when(&mut next, ready)?;
            next = self.resume(out)?;
        }
        succeed(&mut next).map(drop)
    }
}

/// Kills the process, wherever it is, as soon as `ready`.
fn kill_when(command: &mut Command, ready: impl Fn() -> bool) -> Outcome {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let start = Instant::now();
    while !ready() && child.try_wait()?.is_none() && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(2));
    }
    // It may have ended by itself; then there is nothing to kill.
    child.kill().ok();
    child.wait()?;
    Ok(())
}

/// The metrics and the predictions that a run wrote, byte by byte.
///
/// # Errors
/// Where one of the files is missing.
pub fn results(run: &Path) -> Result<[Vec<u8>; 2], Failed> {
    Ok([std::fs::read(run.join("metrics.csv"))?, std::fs::read(run.join("predictions.csv"))?])
}

/// The output of a process that ends well.
///
/// # Errors
/// Its error output where it does not.
pub fn succeed(command: &mut Command) -> Result<Output, Failed> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

/// The standard output of a process that ends well.
///
/// # Errors
/// As [`succeed`], and where the output is not UTF-8.
pub fn stdout(command: &mut Command) -> Result<String, Failed> {
    Ok(String::from_utf8(succeed(command)?.stdout)?)
}

/// The error output of a process that refuses its input, which has the exit status 2.
///
/// # Errors
/// Where it has another status.
pub fn refusal(command: &mut Command) -> Result<String, Failed> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.code() == Some(2), format!("{}: {said}", output.status))?;
    Ok(said)
}

/// The one line of `said` that begins with `error: `.
///
/// # Errors
/// Where there is none, and where there are several.
pub fn only_error(said: &str) -> Result<&str, Failed> {
    let mut errors = said.lines().filter(|line| line.starts_with("error: "));
    match (errors.next(), errors.next()) {
        (Some(line), None) => Ok(line),
        _ => Err(format!("not one line with an error: {said}").into()),
    }
}

/// Fails with `what` where something does not hold.
///
/// # Errors
/// `what`.
pub fn ensure(holds: bool, what: impl Display) -> Outcome {
    if holds { Ok(()) } else { Err(what.to_string().into()) }
}

/// Fails where `text` lacks one of the parts.
///
/// # Errors
/// With the part and the text.
pub fn ensure_contains(text: &str, parts: &[&str]) -> Outcome {
    parts.iter().try_for_each(|part| ensure(text.contains(part), format!("no {part:?} in {text}")))
}

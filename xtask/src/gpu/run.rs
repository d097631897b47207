//! Works through the parts of a pack. Each has a limit, after which it is killed with all that it started, and leaves
//! its result as soon as it has ended: a machine that goes away keeps what was measured until then.

use super::part::{Need, Outcome, Pack, Part, State};
use crate::on_path;
use anyhow::{Context, Result};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Less than this and a part is not begun, in seconds.
const LEAST: f64 = 1.0;

/// How much of a part's output its result keeps, in bytes.
const KEPT: usize = 16_000;

/// Runs the parts of `folder`; false where one failed or was killed.
pub fn run(folder: &Path, only: &[String], limit: f64) -> Result<bool> {
    let folder = std::path::absolute(folder)?;
    let file = folder.join("pack.json");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let pack: Pack = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    let place = Place { results: folder.join("results"), folder };
    for path in [&place.results, &place.folder.join("work")] {
        std::fs::remove_dir_all(path).ok();
        std::fs::create_dir_all(path).with_context(|| path.display().to_string())?;
    }
    place.write("pack.json", &text)?;
    let begun = Instant::now();
    let mut left = pack.groups.clone();
    let mut passed = true;
    for part in &pack.parts {
        if !only.is_empty() && !only.iter().any(|text| part.name.contains(text)) {
            continue;
        }
        let group = left.get(&part.group).copied().unwrap_or(limit);
        let seconds = part.limit.min(group).min(limit - begun.elapsed().as_secs_f64());
        let outcome = place.outcome(part, seconds)?;
        left.insert(part.group.clone(), group - outcome.seconds);
        place.write(&format!("{}.json", part.name), &serde_json::to_string_pretty(&outcome)?)?;
        let reason = if outcome.reason.is_empty() { String::new() } else { format!(": {}", outcome.reason) };
        println!("{:>9} {:6.1} s  {}{reason}", outcome.state.word(), outcome.seconds, part.name);
        passed &= matches!(outcome.state, State::Passed | State::Skipped);
    }
    println!("{:.0} s; the results are in {}", begun.elapsed().as_secs_f64(), place.results.display());
    Ok(passed)
}

struct Place {
    folder: PathBuf,
    results: PathBuf,
}

impl Place {
    /// A file of the results, which is there whole or not at all.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let (path, new) = (self.results.join(name), self.results.join(format!("{name}.new")));
        std::fs::write(&new, text).with_context(|| new.display().to_string())?;
        std::fs::rename(&new, &path).with_context(|| path.display().to_string())
    }

    fn outcome(&self, part: &Part, limit: f64) -> Result<Outcome> {
        let mut outcome = Outcome {
            name: part.name.clone(),
            group: part.group.clone(),
            state: State::Skipped,
            reason: String::new(),
            seconds: 0.0,
            limit: limit.max(0.0),
            answers: vec![],
            output: String::new(),
        };
        if limit < LEAST {
            outcome.reason = "no time was left".into();
        } else {
            let begun = Instant::now();
            let log = self.results.join(format!("{}.log", part.name));
            let end = begun + Duration::from_secs_f64(limit);
            (outcome.state, outcome.reason) = match part.needs.iter().find_map(|need| self.lacks(need, end)) {
                Some(reason) => (State::Skipped, reason),
                None => self.steps(part, &log, end),
            };
            outcome.seconds = begun.elapsed().as_secs_f64();
            let output = std::fs::read(&log).unwrap_or_default();
            let output = String::from_utf8_lossy(&output);
            outcome.answers = answers(&output);
            outcome.output = tail(&output, KEPT).into();
            std::fs::remove_file(&log).ok();
        }
        for file in &part.removes {
            std::fs::remove_file(self.folder.join(file)).ok();
        }
        Ok(outcome)
    }

    /// Why a part cannot run here.
    fn lacks(&self, need: &Need, end: Instant) -> Option<String> {
        match need {
            Need::Program(name) => (!on_path(name)).then(|| format!("{name} is not on PATH")),
            Need::Python(line) => {
                let step = ["python3", "-c", line].map(String::from);
                let runs = matches!(self.step(&step, Path::new("/dev/null"), end), Ok(Some(0)));
                (!runs).then(|| format!("{} does not run `{line}`", python().to_string_lossy()))
            }
        }
    }

    fn steps(&self, part: &Part, log: &Path, end: Instant) -> (State, String) {
        for step in &part.steps {
            let name = step.first().cloned().unwrap_or_default();
            match self.step(step, log, end) {
                Ok(Some(0)) => {}
                Ok(Some(code)) => return (State::Failed, format!("{name}: status {code}")),
                Ok(None) => return (State::TimedOut, format!("{name} was killed")),
                Err(error) => return (State::Failed, format!("{name}: {error:#}")),
            }
        }
        (State::Passed, String::new())
    }

    /// The status of a command, -1 where a signal ended it; none where it was killed at `end`.
    fn step(&self, step: &[String], log: &Path, end: Instant) -> Result<Option<i32>> {
        let (program, arguments) = step.split_first().context("an empty command")?;
        let output = File::options().create(true).append(true).open(log)?;
        let program = match program.as_str() {
            "python3" => python(),
            program if program.starts_with("bin/") => self.folder.join(program).into(),
            program => program.into(),
        };
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        // PyTorch brings CUDA's libraries along; ours may be of another version.
        if program != python() {
            command.env("LD_LIBRARY_PATH", libraries(&self.folder)?);
        }
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().context("it does not start")?;
        while Instant::now() < end {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status.code().unwrap_or(-1)));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        kill(&mut child);
        child.wait()?;
        Ok(None)
    }
}

/// Ends a process and what it started.
fn kill(child: &mut Child) {
    #[cfg(unix)]
    if let Ok(id) = i32::try_from(child.id()) {
        use nix::sys::signal::{Signal, killpg};
        killpg(nix::unistd::Pid::from_raw(id), Signal::SIGKILL).ok();
    }
    child.kill().ok();
}

/// The Python of the peers: what PYTHON names, else `python3`.
fn python() -> OsString {
    std::env::var_os("PYTHON").filter(|name| !name.is_empty()).unwrap_or_else(|| "python3".into())
}

/// Where the loader looks for libraries: in the pack before anywhere else.
fn libraries(folder: &Path) -> Result<OsString> {
    let others = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let others = std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty());
    Ok(std::env::join_paths(std::iter::once(folder.join("lib")).chain(others))?)
}

/// The lines that are JSON objects.
fn answers(output: &str) -> Vec<Value> {
    let lines = output.lines().filter(|line| line.starts_with('{'));
    lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// At most the last `bytes` of a text, from a whole character on.
fn tail(text: &str, bytes: usize) -> &str {
    let from = text.len().saturating_sub(bytes);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_the_lines_of_json() {
        let found = answers("warning\n{\"wall\":[1.0]}\n{broken\n{\"case\":\"a\"}\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[1]["case"], "a");
    }

    #[test]
    fn the_end_of_a_text_begins_with_a_character() {
        assert_eq!(tail("abc", 2), "bc");
        assert_eq!(tail("aßc", 2), "c");
        assert_eq!(tail("abc", 9), "abc");
    }

    #[cfg(unix)]
    fn part(name: &str, line: &str, limit: f64) -> Part {
        let step = vec!["sh".to_string(), "-c".into(), line.into()];
        Part { name: name.into(), group: "tests".into(), limit, steps: vec![step], ..Part::default() }
    }

    /// A part that is killed leaves what it printed, one that fails does not stop the others.
    #[cfg(unix)]
    #[test]
    fn each_part_leaves_its_result() {
        let folder = std::env::temp_dir().join(format!("xtask-gpu-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut needy = part("needy", "true", 5.0);
        needy.needs = vec![Need::Program("no-such-program".into())];
        let parts = vec![
            part("fails", "echo '{\"a\":1}'; exit 3", 5.0),
            part("hangs", "echo begun; sleep 60 & sleep 60", 1.2),
            needy,
            part("passes", "true", 5.0),
        ];
        let pack = Pack { parts, ..Pack::default() };
        std::fs::write(folder.join("pack.json"), serde_json::to_string(&pack).unwrap()).unwrap();
        let begun = Instant::now();
        assert!(!run(&folder, &[], 30.0).unwrap());
        assert!(begun.elapsed().as_secs_f64() < 20.0);
        let outcome = |name: &str| -> Outcome {
            let text = std::fs::read_to_string(folder.join(format!("results/{name}.json"))).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        assert_eq!(outcome("fails").state, State::Failed);
        assert_eq!(outcome("fails").answers[0]["a"], 1);
        assert_eq!((outcome("hangs").state, outcome("hangs").output.as_str()), (State::TimedOut, "begun\n"));
        assert_eq!(outcome("needy").state, State::Skipped);
        assert_eq!(outcome("passes").state, State::Passed);
        assert!(run(&folder, &["passes".to_string()], 30.0).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

//! Running a program: its output goes to a log, and an error names the log.

use crate::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that is called, and the message where it is missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) install: &'static str,
}

impl Tool {
    fn error(&self, detail: impl Into<String>) -> Error {
        Error::Tool { tool: self.name, detail: detail.into() }
    }

    fn not_started(&self, program: &Path, source: &std::io::Error) -> Error {
        if source.kind() == std::io::ErrorKind::NotFound {
            return self.error(format!("{} is not installed: {}", program.display(), self.install));
        }
        self.error(format!("cannot start {}: {source}", program.display()))
    }

    /// The first line that `program argument` prints.
    pub(super) fn version(&self, program: &Path, argument: &str) -> Result<String> {
        let output = Command::new(program).arg(argument).stdin(Stdio::null()).output();
        let output = output.map_err(|e| self.not_started(program, &e))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match text.lines().map(str::trim).find(|line| !line.is_empty()) {
            Some(line) if output.status.success() => Ok(line.into()),
            _ => Err(self.error(format!("{} {argument} prints no version", program.display()))),
        }
    }

    /// Runs `program` within `folder` to its end; the arguments are appended to `commands.txt` there, and what it prints goes to
    /// `log`. Files are named by their names in the folder: some programs change a path that has spaces, commas or brackets.
    pub(super) fn run(
        &self,
        program: &Path,
        arguments: &[String],
        folder: &Path,
        log: &str,
        limit: Duration,
    ) -> Result<()> {
        let path = folder.join("commands.txt");
        let commands = OpenOptions::new().create(true).append(true).open(&path);
        let line = format!("{} {}\n", program.display(), arguments.join(" "));
        commands.and_then(|mut f| f.write_all(line.as_bytes())).map_err(|e| Error::io("write", &path, e))?;
        let log = folder.join(log);
        let file = File::create(&log).map_err(|e| Error::io("write", &log, e))?;
        let errors = file.try_clone().map_err(|e| Error::io("write", &log, e))?;
        let mut command = Command::new(absolute(program)?);
        command.current_dir(folder).args(arguments).stdin(Stdio::null()).stdout(file).stderr(errors);
        let mut child = command.spawn().map_err(|e| self.not_started(program, &e))?;
        let begun = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if begun.elapsed() < limit => std::thread::sleep(Duration::from_millis(20)),
                late => {
                    // What is left of it is of no use to anyone.
                    let _ = child.kill();
                    let _ = child.wait();
                    let cause = match late {
                        Err(source) => source.to_string(),
                        Ok(_) => format!("not finished after {} s", limit.as_secs()),
                    };
                    return Err(self.error(format!("{cause}; see {}", log.display())));
                }
            }
        };
        if !status.success() {
            let said = last_words(&log).map(|words| format!(": {words}")).unwrap_or_default();
            let detail = format!("{} failed ({status}){said}; see {}", program.display(), log.display());
            return Err(self.error(detail));
        }
        Ok(())
    }

    /// That a file which a call should have written is there and not empty.
    pub(super) fn written(&self, path: &Path) -> Result<()> {
        match std::fs::metadata(path) {
            Ok(found) if found.len() > 0 => Ok(()),
            _ => Err(self.error(format!("it ended well but left no {}", path.display()))),
        }
    }
}

/// A program by a path that holds in every folder; a name alone is looked up on the PATH.
fn absolute(program: &Path) -> Result<PathBuf> {
    if program.components().count() < 2 {
        return Ok(program.into());
    }
    std::path::absolute(program).map_err(|e| Error::io("find", program, e))
}

/// What a program said of its failure: the last line that names an error with what follows, else the last lines.
fn last_words(log: &Path) -> Option<String> {
    /// More is in the log.
    const LINES: usize = 3;
    let text = String::from_utf8_lossy(&std::fs::read(log).ok()?).into_owned();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let names_error = |line: &&str| {
        let line = line.to_lowercase();
        line.contains("error") || line.contains("exception")
    };
    let from = lines.iter().rposition(names_error).unwrap_or(lines.len().saturating_sub(LINES));
    let words = lines[from..].iter().take(LINES).copied().collect::<Vec<_>>().join(" ");
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    const SHELL: Tool = Tool { name: "shell", install: "use another system" };

    fn run(folder: &Path, script: &str, seconds: u64) -> Result<()> {
        let arguments = ["-c".to_string(), script.to_string()];
        SHELL.run(Path::new("sh"), &arguments, folder, "sh.log", Duration::from_secs(seconds))
    }

    #[test]
    fn what_it_prints_and_how_it_was_called_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), "echo out; echo err >&2", 60).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("sh.log"), "out\nerr\n");
        assert_eq!(read("commands.txt"), "sh -c echo out; echo err >&2\n");
        assert!(SHELL.written(&folder.path().join("sh.log")).is_ok());
        let absent = SHELL.written(&folder.path().join("absent")).unwrap_err().to_string();
        assert!(absent.starts_with("shell: it ended well but left no "), "{absent}");
    }

    #[test]
    fn what_it_said_of_its_failure_is_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = |script: &str| run(folder.path(), script, 60).unwrap_err().to_string();
        let said = error("echo begin; echo 'ERROR: no such image'; echo '  \"a b\"'; exit 2");
        assert!(said.contains("failed (exit status: 2): ERROR: no such image \"a b\"; see "), "{said}");
        let last = error("for i in 1 2 3 4 5; do echo line $i; done; exit 2");
        assert!(last.contains(": line 3 line 4 line 5; see "), "{last}");
    }

    /// Also where its name has a space.
    #[test]
    fn it_runs_within_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("a b, [c]");
        std::fs::create_dir(&folder).unwrap();
        run(&folder, "echo here > file", 60).unwrap();
        assert!(folder.join("file").is_file());
        let program = outer.path().join("program");
        std::fs::copy("/bin/sh", &program).unwrap();
        let relative = program.strip_prefix("/").unwrap();
        assert!(absolute(relative).unwrap().is_absolute());
        assert_eq!(absolute(Path::new("elastix")).unwrap(), Path::new("elastix"));
    }

    #[test]
    fn failures_name_the_log_and_missing_programs_how_to_get_them() {
        let folder = tempfile::tempdir().unwrap();
        let failed = run(folder.path(), "exit 3", 60).unwrap_err().to_string();
        assert!(
            failed.contains("sh failed (exit status: 3); see ") && failed.ends_with("sh.log"),
            "{failed}"
        );
        let late = run(folder.path(), "sleep 60", 0).unwrap_err().to_string();
        assert!(late.contains("not finished after 0 s"), "{late}");
        let missing = SHELL.version(Path::new("no-such-program"), "--version").unwrap_err().to_string();
        assert_eq!(missing, "shell: no-such-program is not installed: use another system");
    }
}

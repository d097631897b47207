//! Reads every case of a folder of inputs and compares what comes of it with what is expected.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use oncograph_tests::cases::{self, Outcome};
use std::path::PathBuf;
use std::process::ExitCode;

/// Read every folder of DIR as a case, one line per case.
///
/// What is expected stands in tests/cases/*.json by the folder's name, or in a case.json of the folder; of a folder that is in
/// neither, what its reader makes of it is shown. Exits with 1 if a case fails, or if there was none.
#[derive(Parser)]
#[command(name = "cases")]
struct Arguments {
    /// The folder of cases.
    dir: PathBuf,
    /// Run only the cases whose names contain this.
    #[arg(long, value_name = "SUBSTRING")]
    only: Option<String>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let folder = || arguments.dir.display().to_string();
    let entries = std::fs::read_dir(&arguments.dir).with_context(folder)?;
    let mut folders = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    let wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.is_dir() && arguments.only.as_ref().is_none_or(|part| name.contains(part.as_str()))
    };
    folders.retain(wanted);
    folders.sort();
    ensure!(!folders.is_empty(), "no case to run in {}", folder());
    let known = cases::known()?;
    let (mut passed, mut failed, mut others) = (0, 0, 0);
    for folder in &folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match cases::run(folder, &known)? {
            Outcome::Passed => {
                println!("pass         {name}");
                passed += 1;
            }
            Outcome::Failed(why) => {
                println!("fail         {name}: {why}");
                failed += 1;
            }
            Outcome::Unjudged(found) => {
                println!("not judged   {name}: {found}");
                others += 1;
            }
            Outcome::Skipped(why) => {
                println!("skip         {name}: {why}");
                others += 1;
            }
        }
    }
    if others > 0 {
        println!("{others} not judged or skipped");
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

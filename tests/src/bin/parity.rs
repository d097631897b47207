//! Compares every case of a folder of the peers' numbers with the workspace.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use oncograph_tests::fixture::Verdict;
use oncograph_tests::parity;
use std::path::PathBuf;
use std::process::ExitCode;

/// Compare the cases of a folder (`<name>.json` with `<name>.safetensors`) with the workspace, one line per case.
///
/// Exits with 1 if a case fails or is not supported, or if there was none to run.
#[derive(Parser)]
#[command(name = "parity")]
struct Arguments {
    /// The folder of cases.
    dir: PathBuf,
    /// Run only the cases whose names contain this.
    #[arg(long, value_name = "SUBSTRING")]
    only: Option<String>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let names = parity::cases(&arguments.dir)
        .with_context(|| format!("cannot read the folder {}", arguments.dir.display()))?;
    let wanted = |name: &String| arguments.only.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let names: Vec<String> = names.into_iter().filter(wanted).collect();
    ensure!(!names.is_empty(), "no case to run in {}", arguments.dir.display());

    // A panic is reported as the case's failure; its place is on standard error.
    let mut failed = 0;
    for name in &names {
        match parity::run(&arguments.dir, name) {
            Verdict::Pass(worst) => {
                println!("pass         {name} (worst: {}, {:.3} of its tolerance)", worst.name, worst.ratio)
            }
            Verdict::Fail(why) => {
                println!("fail         {name}: {why}");
                failed += 1;
            }
            Verdict::Unsupported(why) => {
                println!("fail         {name}: unsupported: {why}");
                failed += 1;
            }
        }
    }
    println!("{} passed, {failed} failed", names.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

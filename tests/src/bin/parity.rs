//! Compares every case of a folder of the peers' numbers with the workspace.

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use oncograph_tests::fixture::Verdict;
use oncograph_tests::parity;
use std::path::{Path, PathBuf};
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
    /// Write the page of what is held to what into this file; run in the root of the workspace.
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    docs: Option<PathBuf>,
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
    let mut outcomes = vec![];
    for name in &names {
        let verdict = parity::run(&arguments.dir, name);
        match &verdict {
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
        outcomes.push((name.clone(), verdict));
    }
    if let Some(path) = &arguments.docs {
        let page = parity::document(Path::new("."), &outcomes).map_err(|why| anyhow!(why))?;
        std::fs::write(path, page).with_context(|| path.display().to_string())?;
    }
    println!("{} passed, {failed} failed", names.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

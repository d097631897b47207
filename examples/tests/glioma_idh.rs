//! `glioma_idh` as its users run it: the program itself, on small input.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests are tests

use libtest_mimic::{Arguments, Failed, Trial};
use oncograph_tests::trial;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

type Outcome = Result<(), Failed>;

fn main() {
    let arguments = Arguments::from_args();
    let tables =
        ["data/glioma/UCSF-PDGM-metadata_v2.csv", "data/glioma/tcga_lgg_gbm_subtype_ceccarelli2016.csv"];
    let trials = vec![
        Trial::test("glioma: the phantom run writes its files", the_phantom_run_writes_its_files),
        Trial::test(
            "glioma: killed and resumed equals uninterrupted",
            killed_and_resumed_equals_uninterrupted,
        ),
        Trial::test("glioma: one thread and two give the same bytes", one_thread_and_two_give_the_same_bytes),
        Trial::test("glioma: the paper's tables are audited", the_papers_tables_are_audited),
        Trial::test("glioma: a clinical table is compared and bad ones are named", clinical_tables),
        trial("glioma: the real clinical tables", &tables, the_real_clinical_tables),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// The program, which cargo builds beside the tests.
fn program() -> Command {
    let tests = std::env::current_exe().expect("the test has a path");
    let profile = tests.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
    Command::new(profile.join("examples").join("glioma_idh"))
}

fn small(out: &Path) -> Command {
    let mut command = program();
    command.args(["--patients", "60", "--epochs", "2"]).arg("--out").arg(out);
    command
}

fn succeed(command: &mut Command) -> Result<Output, Failed> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

fn runs(out: &Path) -> Result<Vec<PathBuf>, Failed> {
    let mut runs: Vec<PathBuf> = vec![];
    for entry in std::fs::read_dir(out.join("glioma_idh"))? {
        runs.push(entry?.path());
    }
    runs.sort();
    Ok(runs)
}

fn results(run: &Path) -> Result<[Vec<u8>; 2], Failed> {
    Ok([std::fs::read(run.join("metrics.csv"))?, std::fs::read(run.join("predictions.csv"))?])
}

fn last(out: &Path) -> Result<PathBuf, Failed> {
    runs(out)?.pop().ok_or_else(|| "there is no run".into())
}

fn ensure(holds: bool, what: impl std::fmt::Display) -> Outcome {
    if holds { Ok(()) } else { Err(what.to_string().into()) }
}

fn the_phantom_run_writes_its_files() -> Outcome {
    let out = tempfile::tempdir()?;
    let said = String::from_utf8(succeed(&mut small(out.path()))?.stdout)?;
    ensure(said.contains("PHANTOM") && said.contains("prevalence") && said.contains("age and sex"), &said)?;
    let run = last(out.path())?;
    let files = [
        "config.json",
        "roles.json",
        "metrics.csv",
        "predictions.csv",
        "population.json",
        "population.safetensors",
        "costs.json",
        "report.html",
    ];
    for file in files {
        ensure(run.join(file).is_file(), format!("{file} is missing"))?;
    }
    let html = std::fs::read_to_string(run.join("report.html"))?.to_lowercase();
    for part in [
        "phantom",
        "generated",
        "research",
        "prevalence",
        "nearest",
        "data:image/png",
        "wild types under that name",
    ] {
        ensure(html.contains(part), format!("the report lacks {part}"))?;
    }
    // The configuration gives the same numbers again, now from the cache.
    let again = succeed(program().arg("--config").arg(run.join("config.json")).arg("--out").arg(out.path()))?;
    ensure(String::from_utf8(again.stdout)?.contains("yes"), "nothing was taken from the cache")?;
    ensure(results(&run)? == results(&last(out.path())?)?, "the cache gives other numbers")?;
    // A stage can be the last.
    let early = tempfile::tempdir()?;
    succeed(small(early.path()).args(["--stage", "2"]))?;
    let cached = std::fs::read_dir(early.path().join("cache/glioma_idh"))?.count();
    ensure(cached == 4, format!("{cached} files of two stages"))
}

/// Kills the program, wherever it is, as soon as `ready`.
fn kill_when(command: &mut Command, ready: impl Fn() -> bool) -> Outcome {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let start = Instant::now();
    while !ready() && child.try_wait()?.is_none() && start.elapsed() < Duration::from_secs(600) {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().ok();
    child.wait()?;
    Ok(())
}

fn killed_and_resumed_equals_uninterrupted() -> Outcome {
    let whole = tempfile::tempdir()?;
    succeed(&mut small(whole.path()))?;
    let killed = tempfile::tempdir()?;
    let out = killed.path();
    let has = |stage: &str, end: &str| {
        let files = std::fs::read_dir(out.join("cache/glioma_idh")).into_iter().flatten().flatten();
        let names = files.map(|f| f.file_name().to_string_lossy().into_owned());
        names.into_iter().any(|n| n.starts_with(stage) && n.ends_with(end))
    };
    // In each stage, then between them.
    kill_when(&mut small(out), || has("autoencoder", "checkpoint.safetensors"))?;
    let resume = || {
        let mut command = program();
        command.arg("--resume").arg("--out").arg(out);
        command
    };
    kill_when(&mut resume(), || has("tracts", "checkpoint.safetensors"))?;
    kill_when(&mut resume(), || has("multimodal", "checkpoint.safetensors"))?;
    kill_when(&mut resume(), || has("multimodal", "curve.json"))?;
    succeed(&mut resume())?;
    ensure(results(&last(out)?)? == results(&last(whole.path())?)?, "the resumed run has other numbers")
}

fn one_thread_and_two_give_the_same_bytes() -> Outcome {
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    succeed(small(one.path()).env("RAYON_NUM_THREADS", "1"))?;
    succeed(small(two.path()).env("RAYON_NUM_THREADS", "2"))?;
    ensure(results(&last(one.path())?)? == results(&last(two.path())?)?, "the threads change the numbers")
}

fn the_papers_tables_are_audited() -> Outcome {
    let out = tempfile::tempdir()?;
    let said = String::from_utf8(succeed(program().arg("--paper-audit").current_dir(out.path()))?.stdout)?;
    let best = said.lines().find(|l| l.contains(" 84 ")).unwrap_or_default();
    let numbers: Vec<&str> = best.split_whitespace().collect();
    ensure(numbers == ["84", "32", "116", "17"], &said)?;
    ensure(std::fs::read_dir(out.path())?.count() == 0, "the audit leaves files behind")
}

/// A table in which age tells the genotype, roughly.
fn table(rows: usize) -> String {
    let mut text = "ID,Sex,Age at MRI,WHO CNS Grade,MGMT status,IDH\n".to_string();
    for i in 0..rows {
        let mutant = i % 3 == 0;
        let age = if mutant { 35 + i % 23 } else { 48 + i % 29 };
        let idh = if mutant { "IDH1 p.R132H" } else { "wildtype" };
        text += &format!("P{i},{},{age},4,positive,{idh}\n", if i % 2 == 0 { "M" } else { "F" });
    }
    text
}

fn clinical_tables() -> Outcome {
    let out = tempfile::tempdir()?;
    let path = out.path().join("table.csv");
    std::fs::write(&path, table(60))?;
    let clinical = |out: &Path| {
        let mut command = program();
        command.args(["--repeats", "1", "--folds", "3", "--clinical"]).arg(&path).arg("--out").arg(out);
        command
    };
    let said = String::from_utf8(succeed(&mut clinical(out.path()))?.stdout)?;
    for part in
        ["inductive", "transductive", "shuffled edges", "logistic regression", "prevalence", "DeLong p"]
    {
        ensure(said.contains(part), format!("{part} is missing: {said}"))?;
    }
    let run = last(out.path())?;
    let predictions = std::fs::read_to_string(run.join("predictions.csv"))?;
    // Age and sex, then with grade and MGMT; the set between has no further covariate in this table.
    ensure(predictions.lines().count() == 1 + 2 * 7 * 60, predictions.lines().count())?;
    let resumed = tempfile::tempdir()?;
    kill_when(&mut clinical(resumed.path()), || {
        let folds = last(resumed.path()).map(|r| r.join("folds").read_dir().map_or(0, Iterator::count));
        folds.unwrap_or(0) > 1
    })?;
    succeed(program().arg("--resume").arg("--out").arg(resumed.path()))?;
    ensure(results(&run)? == results(&last(resumed.path())?)?, "the resumed run has other numbers")?;
    let bad = [
        (table(60).replacen("wildtype", "perhaps", 1), "row 3, column `IDH`"),
        (table(60).replacen("IDH\n", "genotype\n", 1), "neither UCSF-PDGM"),
    ];
    for (text, expected) in bad {
        let other = tempfile::tempdir()?;
        std::fs::write(&path, text)?;
        let output = clinical(other.path()).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure(output.status.code() == Some(2) && said.contains(expected), said)?;
        ensure(runs(other.path()).is_ok_and(|r| r.is_empty()), "a run is left behind")?;
    }
    Ok(())
}

fn the_real_clinical_tables(shared: &Path) -> Outcome {
    use oncograph::datasets::glioma::GliomaTable;
    let folder = shared.join("data/glioma");
    let ucsf = GliomaTable::read(folder.join("UCSF-PDGM-metadata_v2.csv"))?.with_idh();
    let mutants = ucsf.patients.iter().filter(|p| p.idh == Some(true)).count();
    ensure((ucsf.patients.len(), mutants) == (501, 103), format!("{} {mutants}", ucsf.patients.len()))?;
    let tcga = GliomaTable::read(folder.join("tcga_lgg_gbm_subtype_ceccarelli2016.csv"))?;
    ensure(tcga.patients.len() == 1122, tcga.patients.len())?;
    let tcga = tcga.with_idh();
    let mutants = tcga.patients.iter().filter(|p| p.idh == Some(true)).count();
    ensure((tcga.patients.len(), mutants) == (995, 457), format!("{} {mutants}", tcga.patients.len()))
}

//! `multimodal_oncology` as its users run it: the program itself, on small input.

use libtest_mimic::{Arguments, Failed, Trial};
use oncograph_tests::e2e::{Outcome, Program, ensure, ensure_contains, refusal, results, stdout, succeed};
use oncograph_tests::trial;
use std::path::Path;
use std::process::Command;

fn main() {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("the phantom run writes its files and its configuration repeats it", phantom),
        Trial::test("killed and resumed equals uninterrupted, with one thread and two", resumed),
        Trial::test("centres train together, and are held out one at a time", centres),
        Trial::test("bad input is named in one line", bad_input),
        Trial::test("a bundle elsewhere predicts for a new patient", predicted),
        Trial::test("a cohort folder trains and predicts", cohort_folder),
        Trial::test("the literal preset and the ablations run", literal),
        trial("the rats", &["data/omics/rat_liver_toxicity_gene.csv.gz"], rats),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

const PROGRAM: Program =
    Program::new("multimodal_oncology", &["--patients", "60", "--epochs", "2", "--folds", "2"]);

fn same_results(one: &Path, other: &Path, complaint: &str) -> Outcome {
    ensure(results(&PROGRAM.only_run(one)?)? == results(&PROGRAM.only_run(other)?)?, complaint)
}

fn phantom() -> Outcome {
    let out = tempfile::tempdir()?;
    let said = stdout(&mut PROGRAM.small(out.path())?)?;
    for part in ["PHANTOM", "constant", "late fusion", "shuffled edges", "random forest"] {
        ensure(said.contains(part), format!("the terminal lacks {part}: {said}"))?;
    }
    let run = PROGRAM.only_run(out.path())?;
    let html = std::fs::read_to_string(run.join("report.html"))?;
    for part in
        ["phantom", "Kaplan", "Confusion", "Importance", "planted pathways", "not reproducible", "research"]
    {
        ensure(html.to_lowercase().contains(&part.to_lowercase()), format!("the report lacks {part}"))?;
    }
    let patient = std::fs::read_to_string(run.join("clinical/PHANTOM-0001.json"))?;
    ensure(patient.contains("blake3:") && patient.contains("\"phantom\": true"), &patient)?;
    let again = tempfile::tempdir()?;
    succeed(&mut PROGRAM.repeat(&run, again.path())?)?;
    same_results(out.path(), again.path(), "--config gives other numbers")
}

fn resumed() -> Outcome {
    let (whole, killed) = (tempfile::tempdir()?, tempfile::tempdir()?);
    succeed(PROGRAM.small(whole.path())?.env("RAYON_NUM_THREADS", "1"))?;
    let mut start = PROGRAM.small(killed.path())?;
    start.env("RAYON_NUM_THREADS", "2");
    let result = "folds/graph_network-0-0.result.json";
    let first = || PROGRAM.only_run(killed.path()).is_ok_and(|run| run.join(result).exists());
    PROGRAM.kill_and_resume(start, killed.path(), &[&first])?;
    same_results(killed.path(), whole.path(), "the resumed run has other numbers")
}

fn centres() -> Outcome {
    let out = tempfile::tempdir()?;
    let with = |options: &[&str]| -> Result<Command, Failed> {
        let mut command = PROGRAM.command()?;
        command.args(["--patients", "300", "--epochs", "2", "--out"]).arg(out.path()).args(options);
        Ok(command)
    };
    let asked = ["--federate", "--folds", "2", "--model", "federated, FedAvg", "--model", "centre A alone"];
    let said = stdout(&mut with(&asked)?)?;
    ensure(said.contains("federated, FedAvg") && said.contains("centre A alone"), &said)?;
    let html = std::fs::read_to_string(PROGRAM.only_run(out.path())?.join("report.html"))?;
    ensure(html.contains("MB sent"), "the report does not say what was sent")?;
    succeed(&mut with(&["--leave-centre-out", "--model", "clinical only"])?)?;
    let mut small = PROGRAM.command()?;
    small.args(["--federate", "--patients", "60", "--out"]).arg(out.path());
    ensure_contains(&refusal(&mut small)?, &["two centres"])
}

fn predicted() -> Outcome {
    let (out, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
    succeed(PROGRAM.small(out.path())?.args(["--model", "clinical only", "--patient", "PHANTOM-0007"]))?;
    let run = PROGRAM.only_run(out.path())?;
    ensure(run.join("clinical/PHANTOM-0007.md").is_file(), "--patient has no report")?;
    let patient = elsewhere.path().join("new.json");
    let text = r#"{"id": "new/1", "covariates": {"age": 61}, "tables": {"lab": {"L01": 0.3, "L02": -1.2}}}"#;
    std::fs::write(&patient, text)?;
    let predict = |options: &[&std::ffi::OsStr]| -> Result<Vec<u8>, Failed> {
        succeed(
            PROGRAM.command()?.arg("--predict").arg(&patient).arg("--out").arg(out.path()).args(options),
        )?;
        let files =
            std::fs::read_dir(out.path().join("predictions"))?.filter_map(Result::ok).map(|f| f.path());
        let json = files.filter(|f| f.extension().is_some_and(|e| e == "json")).collect::<Vec<_>>();
        ensure(json.len() == 1, format!("{json:?}"))?;
        Ok(std::fs::read(&json[0])?)
    };
    let newest = predict(&[])?;
    ensure(predict(&["--run".as_ref(), run.as_os_str()])? == newest, "--run gives another report")?;
    let moved = elsewhere.path().join("model");
    std::fs::rename(run.join("bundle"), &moved)?;
    ensure(
        predict(&["--bundle".as_ref(), moved.as_os_str()])? == newest,
        "a moved bundle gives another report",
    )?;
    let report = String::from_utf8(newest)?;
    for part in [
        "\"phantom\": true",
        "left out: gene, protein",
        "4 of 6 values of lab",
        "Calibrated on",
        "oncograph-omics-rules/1",
    ] {
        ensure(report.contains(part), format!("the report lacks {part}: {report}"))?;
    }
    std::fs::write(&patient, text.replace("L01", "LO1"))?;
    let output = PROGRAM.command()?.arg("--predict").arg(&patient).arg("--bundle").arg(&moved).output()?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.code() == Some(2) && error.contains("nearest L01"), error)?;

    // Identifiers are no paths; all patients are checked before the first is written.
    let (own, mut files) = (tempfile::tempdir()?, vec![]);
    for (i, id) in ["../../../X", "MRN/123", "MRN_123", "MRN:123"].iter().enumerate() {
        files.push(elsewhere.path().join(format!("{i}.json")));
        std::fs::write(&files[i], format!(r#"{{"id": "{id}", "covariates": {{"age": 60}}}}"#))?;
    }
    let inner = own.path().join("a/b/c");
    let all = |files: &[std::path::PathBuf]| -> Result<Command, Failed> {
        let mut command = PROGRAM.command()?;
        command.arg("--bundle").arg(&moved).arg("--out").arg(&inner).arg("--predict").args(files);
        Ok(command)
    };
    files.push(files[1].clone());
    ensure_contains(&refusal(&mut all(&files)?)?, &["MRN/123 twice"])?;
    ensure(!inner.exists(), "a refused call wrote something")?;
    files.pop();
    succeed(&mut all(&files)?)?;
    ensure(
        std::fs::read_dir(inner.join("predictions"))?.count() == 8,
        "not two files for each of four patients",
    )?;
    ensure(std::fs::read_dir(own.path())?.count() == 1, "a patient was written outside of its folder")
}

/// A cohort folder trains as the cohort that it was written of, and its patients are predicted from it.
fn cohort_folder() -> Outcome {
    let (out, again, data) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
    let folder = data.path().join("cohort");
    let mut write = PROGRAM.command()?;
    succeed(write.args(["--patients", "60", "--write-cohort"]).arg(&folder))?;
    let with = |out: &Path| -> Result<Command, Failed> {
        let mut command = PROGRAM.command()?;
        command.args(["--epochs", "2", "--folds", "2", "--model", "clinical only", "--data"]).arg(&folder);
        command.arg("--out").arg(out);
        Ok(command)
    };
    succeed(&mut with(out.path())?)?;
    let run = PROGRAM.only_run(out.path())?;
    let html = std::fs::read_to_string(run.join("report.html"))?;
    for part in ["Rows that have a part", "Operations (millions)", "PHANTOM"] {
        ensure(html.contains(part), format!("the report lacks {part}"))?;
    }
    // The page reports on somebody else on request, and on nobody else.
    let mut resume = PROGRAM.command()?;
    resume.arg("--resume").arg(&run).args(["--patient", "PHANTOM-0003", "--out"]).arg(out.path());
    std::fs::remove_dir_all(run.join("clinical"))?;
    succeed(&mut resume)?;
    let written: Vec<_> =
        std::fs::read_dir(run.join("clinical"))?.filter_map(Result::ok).map(|f| f.file_name()).collect();
    ensure(
        written.len() == 2 && written.iter().all(|f| f.to_string_lossy().starts_with("PHANTOM-0003.")),
        format!("{written:?}"),
    )?;
    let mut predict = PROGRAM.command()?;
    predict.arg("--run").arg(&run).arg("--out").arg(again.path()).arg("--predict").arg(&folder);
    succeed(&mut predict)?;
    ensure(
        std::fs::read_dir(again.path().join("predictions"))?.count() == 120,
        "not all patients are predicted",
    )?;
    let mut typed = with(again.path())?;
    ensure_contains(&refusal(typed.args(["--cohort", "brca"]))?, &["--cohort", "cohort.json"])?;
    let text = std::fs::read_to_string(folder.join("outcomes.csv"))?;
    let (first, second) = (text.lines().next().unwrap_or_default(), text.lines().nth(1).unwrap_or_default());
    std::fs::write(folder.join("outcomes.csv"), format!("{text}{second}\n"))?;
    let said = refusal(&mut with(again.path())?)?;
    ensure_contains(&said, &["outcomes.csv", "PHANTOM-0001 is in row 2 and again in row 62"])?;
    ensure(first.starts_with("patient,time,event"), first)
}

fn literal() -> Outcome {
    let out = tempfile::tempdir()?;
    let options = ["--preset", "literal", "--model", "clinical only"];
    succeed(PROGRAM.small(out.path())?.args(options))?;
    let out = tempfile::tempdir()?;
    let shown = String::from_utf8(succeed(PROGRAM.small(out.path())?.args(["--ablate"]))?.stdout)?;
    for part in ["- intra-modality graphs", "- inter-modality fusion", "- contrastive", "- multi-task"] {
        ensure(shown.contains(part), format!("the terminal lacks {part}: {shown}"))?;
    }
    let left = std::fs::read_dir(PROGRAM.only_run(out.path())?.join("folds"))?.filter_map(Result::ok);
    let checkpoints = left.filter(|f| f.file_name().to_string_lossy().contains("checkpoint")).count();
    ensure(checkpoints == 0, format!("{checkpoints} checkpoints are left"))
}

fn bad_input() -> Outcome {
    let (data, out) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let refused = |cohort: &str, expected: &[&str]| -> Outcome {
        let mut command = PROGRAM.command()?;
        command.args(["--cohort", cohort, "--data"]).arg(data.path()).arg("--out").arg(out.path());
        let said = refusal(&mut command)?;
        ensure(said.starts_with("error: "), &said)?;
        ensure_contains(&said, expected)?;
        PROGRAM.leaves_nothing(out.path(), cohort)
    };
    refused("gbmlgg", &["gbmlgg_rppa.csv.gz", "No such file"])?;
    std::fs::write(data.path().join("rat_liver_toxicity_gene.csv.gz"), b"not gzip")?;
    refused("rat", &["rat_liver_toxicity_gene.csv.gz"])?;
    for (arguments, expected) in [
        ("--predict new.json --epochs 3", "--epochs has no effect beside --predict"),
        ("--cohort rat", "--data"),
        ("--idh table.csv", "--data"),
        ("--data d --patients 9", "--patients"),
        ("--data d --cohort rat --idh table.csv", "only --cohort gbmlgg has that task"),
        ("--folds 1000", "--folds must be from 2 to 800, the number of patients, got 1000"),
    ] {
        let mut command = PROGRAM.command()?;
        command.args(arguments.split(' ')).current_dir(out.path());
        ensure_contains(&refusal(&mut command)?, &[expected])?;
    }
    Ok(())
}

fn rats(shared: &Path) -> Outcome {
    let out = tempfile::tempdir()?;
    let mut command = PROGRAM.command()?;
    command
        .args(["--cohort", "rat", "--epochs", "1", "--folds", "2", "--data"])
        .arg(shared.join("data/omics"));
    let said = stdout(command.arg("--out").arg(out.path()))?;
    ensure(said.contains("toxicity") && !said.contains("PHANTOM"), &said)?;
    let html = std::fs::read_to_string(PROGRAM.only_run(out.path())?.join("report.html"))?;
    ensure(html.contains("Rats, not people"), "the report does not say that these are rats")
}

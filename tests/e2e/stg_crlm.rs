//! `stg_crlm` as its users run it: the program itself, on small input.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests are tests

use libtest_mimic::{Arguments, Failed, Trial};
use oncograph::imaging::{ResampleOptions, Volume, dicom, nifti, resample, seg};
use oncograph_tests::e2e::{
    Outcome, Program, ensure, ensure_contains, only_error, refusal, results, stdout, succeed,
};
use oncograph_tests::trial;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("the phantom run writes its files", the_phantom_run_writes_its_files),
        Trial::test("killed and resumed equals uninterrupted", killed_and_resumed_equals_uninterrupted),
        Trial::test("one thread and two give the same bytes", one_thread_and_two_give_the_same_bytes),
        Trial::test("a table of the paper is run beside it", a_table_of_the_paper_is_run_beside_it),
        Trial::test("faulty patients are told at once", faulty_patients_are_told_at_once),
        Trial::test("bad input is named in one line", bad_input_is_named_in_one_line),
        Trial::test("many patients are predicted at once", many_patients_are_predicted_at_once),
        Trial::test("models without images ask for none", models_without_images_ask_for_none),
        Trial::test("a feature file is enough to train", a_feature_file_is_enough_to_train),
        full_disk(),
        trial("the real workbook alone", &["data/crlm/clinical"], the_real_workbook_alone),
        trial(
            "one patient from DICOM",
            &["data/crlm/ct_dicom", "data/crlm/ct_dicom_labels.nii.gz"],
            one_patient_from_dicom,
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

const PROGRAM: Program = Program::new(
    "stg_crlm",
    &["--patients", "24", "--size", "4", "16", "--epochs", "4", "--folds", "2", "--learning-rate", "1e-3"],
);

fn the_phantom_run_writes_its_files() -> Outcome {
    let out = tempfile::tempdir()?;
    let said = stdout(&mut PROGRAM.small(out.path())?)?;
    ensure(said.contains("PHANTOM") && said.contains("constant"), &said)?;
    let run = PROGRAM.only_run(out.path())?;
    let tables = ["metrics.csv", "predictions.csv", "patients.csv"];
    let files =
        [&tables[..], &["config.json", "leakage.json", "bundle/reference.json", "report.html"]].concat();
    for file in files {
        ensure(run.join(file).is_file(), format!("{file} is missing"))?;
    }
    let audit: serde_json::Value = serde_json::from_slice(&std::fs::read(run.join("leakage.json"))?)?;
    // Of so few patients a covariate may rank well by chance; the other checks do not depend on that.
    for check in audit["checks"].as_array().ok_or("no checks")? {
        let by_chance = check["check"].as_str().is_some_and(|c| c.contains("alone ranks"));
        ensure(by_chance || check["passed"] == true, check)?;
    }
    let html = std::fs::read_to_string(run.join("report.html"))?;
    for part in ["phantom", "constant", "Kaplan", "STG without images", "data:image/png", "research"] {
        ensure(html.to_lowercase().contains(&part.to_lowercase()), format!("the report lacks {part}"))?;
    }
    let predictions = std::fs::read_to_string(run.join("predictions.csv"))?;
    // 24 patients by STG, STG without images, four Cox models, lasso, forest, ridge on time and score.
    let risks = predictions.lines().filter(|l| l.contains(",survival,") && l.contains(",risk,")).count();
    ensure(risks == 10 * 24, risks)?;
    // Its configuration gives the same numbers again.
    let again = tempfile::tempdir()?;
    succeed(&mut PROGRAM.repeat(&run, again.path())?)?;
    same_results(out.path(), again.path(), "--config gives other numbers")
}

fn a_table_of_the_paper_is_run_beside_it() -> Outcome {
    let out = tempfile::tempdir()?;
    let said = stdout(PROGRAM.small(out.path())?.args(["--table", "4", "--repeats", "2"]))?;
    for part in ["3D CNN, early fusion", "late fusion", "STG", "392.8506", "666.6192", "phantom patients"] {
        ensure(said.contains(part), format!("no {part} in {said}"))?;
    }
    let runs = out.path().join("stg_crlm_tables").read_dir()?.collect::<Result<Vec<_>, _>>()?;
    ensure(runs.len() == 1, runs.len())?;
    let metrics = std::fs::read_to_string(runs[0].path().join("metrics.csv"))?;
    for row in
        ["3D ResNet-18, CT alone", "3D CNN, early fusion", "3D ResNet-18, late fusion", "STG", "constant"]
    {
        ensure(metrics.contains(row), format!("no {row} among the metrics"))?;
    }
    ensure(runs[0].path().join("report.html").is_file(), "no report")?;
    // Each is a configuration of the same graph network, but for the backbone, whose features are others.
    let backbones = stdout(PROGRAM.small(out.path())?.args(["--table", "3", "--repeats", "1"]))?;
    ensure(backbones.contains("MedicalNet-18") && backbones.contains("11.4129"), &backbones)?;
    let audit = stdout(PROGRAM.command()?.arg("--paper-audit"))?;
    ensure(audit.contains("impossible in one unit") && audit.contains("21.5"), &audit)
}

fn faulty_patients_are_told_at_once() -> Outcome {
    let out = tempfile::tempdir()?;
    let cohort = out.path().join("cohort");
    oncograph::datasets::crlm::write_phantom(
        &cohort,
        &oncograph::datasets::crlm::PhantomConfig::new(24, 3).matrix(40).slice_spacing(6.0, 7.5),
        |_, _| (),
    )?;
    std::fs::remove_file(cohort.join("PHANTOM-0003/liver.nii.gz"))?;
    std::fs::write(cohort.join("PHANTOM-0007/ct.nii.gz"), b"no image")?;
    let command = |more: &[&str]| -> Result<Command, Failed> {
        let mut command = PROGRAM.command()?;
        command.args(["--data".as_ref(), cohort.as_os_str()]).arg("--out").arg(out.path());
        command.args(["--preset", "quick", "--size", "4", "16", "--epochs", "4", "--folds", "2"]).args(more);
        Ok(command)
    };
    let said = refusal(&mut command(&[])?)?;
    let error = only_error(&said)?;
    for part in ["2 of 24 patients", "PHANTOM-0003", "PHANTOM-0007", "leave_out_faulty"] {
        ensure(error.contains(part), format!("no {part} in {error}"))?;
    }
    succeed(&mut command(&["--leave-out-faulty"])?)?;
    let run = PROGRAM.only_run(out.path())?;
    let predictions = std::fs::read_to_string(run.join("predictions.csv"))?;
    ensure(predictions.contains("PHANTOM-0004") && !predictions.contains("PHANTOM-0003"), "who is left out")?;
    let html = std::fs::read_to_string(run.join("report.html"))?;
    ensure(
        html.contains("2 of 24 patients are left out") && html.contains("PHANTOM-0007"),
        "not in the report",
    )
}

fn killed_and_resumed_equals_uninterrupted() -> Outcome {
    let whole = tempfile::tempdir()?;
    succeed(&mut PROGRAM.small(whole.path())?)?;
    let killed = tempfile::tempdir()?;
    let out = killed.path();
    let has = |name: &str| PROGRAM.only_run(out).is_ok_and(|run| run.join("folds").join(name).exists());
    // During the encoding, in the first fold, and between folds.
    let encoding = || out.join("cache").read_dir().is_ok_and(|mut d| d.next().is_some());
    let in_fold = || has("stg-0-0.checkpoint.safetensors");
    let between_folds = || has("stg-0-0.result.json");
    PROGRAM.kill_and_resume(PROGRAM.small(out)?, out, &[&encoding, &in_fold, &between_folds])?;
    same_results(out, whole.path(), "the resumed run has other numbers")
}

fn same_results(one: &Path, other: &Path, complaint: &str) -> Outcome {
    ensure(results(&PROGRAM.only_run(one)?)? == results(&PROGRAM.only_run(other)?)?, complaint)
}

fn one_thread_and_two_give_the_same_bytes() -> Outcome {
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    succeed(PROGRAM.small(one.path())?.env("RAYON_NUM_THREADS", "1"))?;
    succeed(PROGRAM.small(two.path())?.env("RAYON_NUM_THREADS", "2"))?;
    same_results(one.path(), two.path(), "the threads change the numbers")
}

/// Runs on `data`, which is bad, and checks the one line that says so.
fn refused(name: &str, data: &Path, out: &Path, expected: &[&str]) -> Outcome {
    let mut command = PROGRAM.command()?;
    command.args(["--preset", "quick", "--size", "4", "16", "--data"]).arg(data).arg("--out").arg(out);
    let said = refusal(&mut command)?;
    let error = only_error(&said)?;
    for part in expected {
        ensure(error.contains(part), format!("{name}: {error} lacks {part}"))?;
    }
    PROGRAM.leaves_nothing(out, name)
}

/// A phantom cohort that a test may spoil.
fn cohort(folder: &Path) -> Outcome {
    use oncograph::datasets::crlm::{PhantomConfig, write_phantom};
    write_phantom(folder, &PhantomConfig::new(10, 3).matrix(32).slice_spacing(7.0, 7.5), |_, _| ())?;
    Ok(())
}

fn edit_table(data: &Path, edit: impl Fn(&str) -> String) -> Outcome {
    let path = data.join("clinical.csv");
    let text = edit(&std::fs::read_to_string(&path)?);
    Ok(std::fs::write(path, text)?)
}

fn bad_input_is_named_in_one_line() -> Outcome {
    type Spoil = fn(&Path) -> Outcome;
    let cases: [(&str, Spoil, &[&str]); 7] = [
        (
            "missing column",
            |d| edit_table(d, |t| t.replacen("vital_status,", "vital_stat,", 1)),
            &["clinical.csv", "vital_status"],
        ),
        ("unknown code", |d| edit_table(d, set_vital_status), &["clinical.csv", "vital_status", "7"]),
        ("empty mask", |d| spoil_mask(d, |_| 0), &["liver.nii.gz"]),
        ("NaN voxels", nan_voxel, &["ct.nii.gz", "not finite"]),
        ("truncated volume", truncate_ct, &["ct.nii.gz"]),
        ("no table", |d| Ok(std::fs::remove_file(d.join("clinical.csv"))?), &[]),
        ("no folder", |d| Ok(std::fs::remove_dir_all(d)?), &[]),
    ];
    for (name, spoil, expected) in cases {
        let (data, out) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let data = data.path().join("cohort");
        cohort(&data)?;
        spoil(&data)?;
        refused(name, &data, out.path(), expected)?;
    }
    // An output folder that cannot be made.
    let file = tempfile::NamedTempFile::new()?;
    let said = refusal(&mut PROGRAM.small(&file.path().join("runs"))?)?;
    let path = file.path().display().to_string();
    ensure(said.contains(&path) && said.starts_with("error: "), said)
}

/// The vital status of the first patient becomes 7.
fn set_vital_status(table: &str) -> String {
    let mut lines: Vec<String> = table.lines().map(String::from).collect();
    let column = lines[0].split(',').position(|c| c == "vital_status").expect("the column is there");
    let mut cells: Vec<&str> = lines[1].split(',').collect();
    cells[column] = "7";
    lines[1] = cells.join(",");
    lines.join("\n") + "\n"
}

fn first_patient(data: &Path) -> PathBuf {
    data.join("PHANTOM-0001")
}

fn spoil_mask(data: &Path, edit: impl Fn(u8) -> u8) -> Outcome {
    let path = first_patient(data).join("liver.nii.gz");
    let mask: Volume<u8> = nifti::read(&path)?;
    Ok(nifti::write(&path, &mask.map(&edit))?)
}

fn nan_voxel(data: &Path) -> Outcome {
    let path = first_patient(data).join("ct.nii.gz");
    let ct: Volume<f32> = nifti::read(&path)?;
    let mut at = 0;
    let spoilt = ct.map(|v| {
        at += 1;
        if at == 100 { f32::NAN } else { v }
    });
    Ok(nifti::write(&path, &spoilt)?)
}

fn truncate_ct(data: &Path) -> Outcome {
    let path = first_patient(data).join("ct.nii.gz");
    let bytes = std::fs::read(&path)?;
    Ok(std::fs::write(&path, &bytes[..bytes.len() / 2])?)
}

/// A file system of 2 MiB is full before the phantom cohort is written.
fn full_disk() -> Trial {
    let mount = tempfile::tempdir().expect("a temporary folder");
    let path = mount.path().to_path_buf();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(&path)
        .output()
        .is_ok_and(|o| o.status.success());
    if !mounted {
        eprintln!("skip a full disk: mounting a small tmpfs needs root on Linux");
    }
    let test = move || {
        let said = PROGRAM.small(&path).and_then(|mut command| refusal(&mut command));
        let left = PROGRAM.leaves_nothing(&path, "a full disk");
        Command::new("umount").arg(&path).output()?;
        drop(mount);
        let said = said?;
        ensure(said.contains("No space left on device") && said.contains("phantom_crlm"), said)?;
        left
    };
    Trial::test("a full disk is named", test).with_ignored_flag(!mounted)
}

fn the_real_workbook_alone(shared: &Path) -> Outcome {
    let out = tempfile::tempdir()?;
    let data = shared.join("data/crlm/clinical");
    let table = data.join("TCIA_n=197.csv");
    let mut command = PROGRAM.command()?;
    command.args(["--preset", "quick", "--epochs", "2", "--data"]).arg(&data).arg("--clinical").arg(table);
    let output = succeed(command.arg("--out").arg(out.path()))?;
    let said = String::from_utf8(output.stderr)?;
    ensure(said.contains("Image nodes are absent") && said.contains("197 patients"), &said)?;
    let html = std::fs::read_to_string(PROGRAM.only_run(out.path())?.join("report.html"))?;
    ensure(html.contains("197 real patients"), "the report does not say that the patients are real")?;
    // The style sheet names a class for phantom data; the page itself must not.
    let page = html.split("</style>").last().unwrap_or_default();
    ensure(!page.to_lowercase().contains("phantom"), "the report calls real data phantom")
}

/// A SEG of the CT with the structures that its label map has: liver, portal vein and, as the paper's collection
/// names them, hepatic veins.
fn write_seg(shared: &Path, ct: &Path, path: &Path) -> Outcome {
    let series = dicom::read_series(ct, &dicom::SeriesOptions::new())?;
    let labels: Volume<u8> = nifti::read(shared.join("data/crlm/ct_dicom_labels.nii.gz"))?;
    let labels = resample(&labels, series.volume.grid(), &ResampleOptions::label())?;
    let kind = (seg::Code::organ(), seg::Code::abnormality());
    let segment = |name: &str, label: u8| {
        let segment = seg::NewSegment::new(name, kind.0.clone(), kind.1.clone());
        (segment, labels.label(label).with_frame(series.volume.frame().clone()))
    };
    let segments = [segment("Liver", 5), segment("Portal", 64), segment("Hepatic", 63)];
    Ok(seg::write(path, &series, &segments, &seg::WriteOptions::new())?)
}

/// The program's prediction on a CT series and a SEG, with the bundle of the run below `out`.
fn predict(ct: &Path, seg: &Path, out: &Path) -> Result<Command, Failed> {
    let mut command = PROGRAM.command()?;
    command.arg("--predict").arg("--ct").arg(ct).arg("--seg").arg(seg).arg("--out").arg(out);
    Ok(command)
}

fn one_patient_from_dicom(shared: &Path) -> Outcome {
    let out = tempfile::tempdir()?;
    succeed(&mut PROGRAM.small(out.path())?)?;
    let ct = shared.join("data/crlm/ct_dicom");
    let seg = out.path().join("seg.dcm");
    write_seg(shared, &ct, &seg)?;
    let said = stdout(&mut predict(&ct, &seg, out.path())?)?;
    ensure(said.contains("PHANTOM") && said.contains("tumour") && said.contains("recurrence"), &said)?;
    let folder = out.path().join("stg_crlm_predictions").read_dir()?.next().ok_or("no prediction")??.path();
    ensure(folder.join("clinical_report.json").is_file(), "there is no clinical report")?;
    let answer: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("prediction.json"))?)?;
    ensure(answer["trained_on_phantom"] == true && folder.join("report.html").is_file(), &answer)?;
    for task in answer["tasks"].as_array().ok_or("no tasks")? {
        let years = task["years"].as_f64().ok_or("no years")?;
        ensure((0.0..=12.0).contains(&years), years)?;
    }
    bad_series(shared, &ct, &seg, out.path())?;
    let left = out.path().join("stg_crlm_predictions").read_dir()?.count();
    ensure(left == 1, "a failed prediction leaves a folder")
}

/// The folders of all predictions below `out`, oldest first.
fn predictions(out: &Path) -> Result<Vec<PathBuf>, Failed> {
    let entries = out.join("stg_crlm_predictions").read_dir()?;
    let mut folders = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    folders.sort();
    Ok(folders)
}

/// A table as a hospital has it before anybody is operated on: no column of an outcome.
fn without_outcomes(table: &str) -> String {
    use oncograph::datasets::crlm::columns::OUTCOMES;
    let header: Vec<&str> = table.lines().next().unwrap_or_default().split(',').collect();
    let keep: Vec<usize> = (0..header.len()).filter(|&c| !OUTCOMES.contains(&header[c])).collect();
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        keep.iter().map(|&c| cells[c]).collect::<Vec<_>>().join(",") + "\n"
    };
    table.lines().map(line).collect()
}

fn many_patients_are_predicted_at_once() -> Outcome {
    let out = tempfile::tempdir()?;
    succeed(&mut PROGRAM.small(out.path())?)?;
    let data = out.path().join("new patients");
    cohort(&data)?;
    edit_table(&data, without_outcomes)?;
    truncate_ct(&data)?;
    let many = |threads: &str, more: &[&str]| -> Result<Command, Failed> {
        let mut command = PROGRAM.command()?;
        command.arg("--predict").arg("--data").arg(&data).arg("--out").arg(out.path()).args(more);
        command.env("RAYON_NUM_THREADS", threads);
        Ok(command)
    };
    let said = refusal(&mut many("2", &[])?)?;
    ensure_contains(only_error(&said)?, &["1 of 10 patients", "PHANTOM-0001", "ct.nii.gz"])?;
    let said = succeed(&mut many("1", &["--leave-out-faulty"])?)?.stderr;
    ensure_contains(&String::from_utf8(said)?, &["not predicted: PHANTOM-0001"])?;
    let folders = predictions(out.path())?;
    let table = |folder: &Path| std::fs::read_to_string(folder.join("predictions.csv"));
    let first = table(&folders[0])?;
    ensure(folders.len() == 2 && first == table(&folders[1])?, "the threads change the numbers")?;
    ensure(first.lines().count() == 1 + 2 * 9 && !first.contains("PHANTOM-0001"), &first)?;
    let html = std::fs::read_to_string(folders[0].join("report.html"))?;
    ensure_contains(&html, &["PHANTOM DATA", "Not predicted", "ct.nii.gz", "For research only"])?;
    // Nine patients, the table and the page.
    ensure(folders[0].read_dir()?.count() == 11, "other files than those of the patients")?;
    // One of them alone, from the same files.
    let id = "PHANTOM-0002";
    let mut alone = PROGRAM.command()?;
    alone.arg("--predict").arg("--ct").arg(data.join(id)).arg("--row").arg(data.join("clinical.csv")).arg(id);
    succeed(alone.arg("--out").arg(out.path()))?;
    let alone = predictions(out.path())?.pop().ok_or("no prediction")?;
    for file in ["prediction.json", "clinical_report.json", "clinical_report.md", "report.html"] {
        let same = std::fs::read(alone.join(file))? == std::fs::read(folders[0].join(id).join(file))?;
        ensure(same, format!("{file} of one patient among many is another than that of one alone"))?;
    }
    interrupted(many("1", &[])?, out.path())
}

/// Ctrl-C after the first patient: what is written is whole.
fn interrupted(mut command: Command, out: &Path) -> Outcome {
    let before = predictions(out)?.len();
    let mut child =
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn()?;
    let newest = || predictions(out).ok().filter(|all| all.len() > before).and_then(|mut all| all.pop());
    while !newest().is_some_and(|folder| folder.join("PHANTOM-0002").exists()) && child.try_wait()?.is_none()
    {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    succeed(Command::new("kill").args(["-INT", &child.id().to_string()]))?;
    let status = child.wait()?;
    ensure(status.code() == Some(130), status)?;
    let folder = newest().ok_or("no prediction")?;
    let table = std::fs::read_to_string(folder.join("predictions.csv"))?;
    let mut names = vec![];
    for entry in folder.read_dir()? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    let patients = names.iter().filter(|name| name.starts_with("PHANTOM")).count();
    ensure((1..9).contains(&patients) && names.len() == patients + 2, format!("{names:?}"))?;
    ensure(table.lines().count() == 1 + 2 * patients, table)
}

fn models_without_images_ask_for_none() -> Outcome {
    let out = tempfile::tempdir()?;
    succeed(PROGRAM.small(out.path())?.arg("--no-images"))?;
    let data = out.path().join("new patients");
    cohort(&data)?;
    edit_table(&data, without_outcomes)?;
    let [images, table] =
        ["PHANTOM-0001", "clinical.csv"].map(|name| data.join(name).to_string_lossy().into_owned());
    let predict = |more: &[&str]| -> Result<Command, Failed> {
        let mut command = PROGRAM.command()?;
        command.arg("--predict").arg("--out").arg(out.path()).args(more);
        Ok(command)
    };
    let row = ["--row", &table, "PHANTOM-0002"];
    let said = stdout(&mut predict(&row)?)?;
    ensure_contains(&said, &["Prediction for PHANTOM-0002", "recurrence", "PHANTOM cohort"])?;
    // The table alone, without a folder of images.
    let only = out.path().join("table");
    std::fs::create_dir(&only)?;
    std::fs::copy(&table, only.join("clinical.csv"))?;
    let only = only.to_string_lossy().into_owned();
    succeed(&mut predict(&["--data", &only])?)?;
    let folder = predictions(out.path())?.pop().ok_or("no prediction")?;
    let all = std::fs::read_to_string(folder.join("predictions.csv"))?;
    ensure(all.lines().count() == 1 + 2 * 10, &all)?;
    // What would have no effect is refused.
    let said = refusal(&mut predict(&[&row[..], &["--ct", &images]].concat())?)?;
    ensure_contains(only_error(&said)?, &["--ct would have no effect", "no image nodes"])?;
    for more in [["--seg", &images], ["--clinical", &table], ["--epochs", "3"], ["--data", &only]] {
        let said = refusal(&mut predict(&[&row[..], &more].concat())?)?;
        // The conflict is named, or what the option is of use with.
        ensure_contains(&said, &[if more[0] == "--seg" { "--ct" } else { more[0] }])?;
    }
    let said = refusal(&mut predict(&[&row[..], &["--leave-out-faulty"]].concat())?)?;
    ensure_contains(only_error(&said)?, &["--leave-out-faulty would have no effect"])?;
    refusal(&mut predict(&[])?).map(drop)
}

fn a_feature_file_is_enough_to_train() -> Outcome {
    let (out, again) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let features = out.path().join("features.safetensors");
    succeed(PROGRAM.small(out.path())?.arg("--features-out").arg(&features))?;
    // The table of the generated cohort alone, where nothing says that it was generated.
    let data = again.path().join("table");
    std::fs::create_dir(&data)?;
    std::fs::copy(out.path().join("phantom_crlm/seed_1/clinical.csv"), data.join("clinical.csv"))?;
    let train = |more: &[&str]| -> Result<Command, Failed> {
        let mut command = PROGRAM.command()?;
        // The options of a quick run but for the number of patients.
        command.args(["--preset", "quick", "--epochs", "4", "--folds", "2", "--learning-rate", "1e-3"]);
        command.arg("--data").arg(&data).arg("--features-in").arg(&features).arg("--out").arg(again.path());
        command.args(more);
        Ok(command)
    };
    let size = ["--size", "4", "16"];
    succeed(&mut train(&size)?)?;
    same_results(out.path(), again.path(), "a feature file gives other numbers")?;
    let run = PROGRAM.only_run(again.path())?;
    let html = std::fs::read_to_string(run.join("report.html"))?;
    ensure_contains(&html, &["PHANTOM DATA"])?;
    // Its bundle predicts from images.
    let patient = out.path().join("phantom_crlm/seed_1/PHANTOM-0002");
    let mut predict = PROGRAM.command()?;
    predict.arg("--predict").arg("--ct").arg(patient).arg("--run").arg(&run).arg("--out").arg(again.path());
    succeed(&mut predict)?;
    // Other settings, a patient without features, a damaged file.
    let said = refusal(&mut train(&["--size", "4", "24"])?)?;
    ensure_contains(only_error(&said)?, &["features.safetensors", "preprocess.", "another setting"])?;
    edit_table(&data, |table| table.replace("PHANTOM-0003,", "SOMEBODY,"))?;
    let said = refusal(&mut train(&size)?)?;
    ensure_contains(only_error(&said)?, &["1 of 24 patients", "SOMEBODY: no features", "leave_out_faulty"])?;
    let said = succeed(&mut train(&[&size[..], &["--leave-out-faulty"]].concat())?)?.stderr;
    ensure_contains(&String::from_utf8(said)?, &["1 of 24 patients are left out", "SOMEBODY"])?;
    let bytes = std::fs::read(&features)?;
    std::fs::write(&features, &bytes[..bytes.len() / 2])?;
    let said = refusal(&mut train(&size)?)?;
    ensure_contains(only_error(&said)?, &["features.safetensors", "not a readable safetensors file"])
}

/// A series with a missing slice, one with a truncated slice, and the SEG of another patient.
fn bad_series(shared: &Path, ct: &Path, seg: &Path, out: &Path) -> Outcome {
    let slices = out.join("slices");
    let copy = || -> Outcome {
        std::fs::create_dir_all(&slices)?;
        for entry in std::fs::read_dir(ct)? {
            let from = entry?.path();
            std::fs::write(slices.join(from.file_name().ok_or("no name")?), std::fs::read(&from)?)?;
        }
        Ok(())
    };
    let fails = |name: &str, ct: &Path, expected: &str| -> Outcome {
        let said = refusal(&mut predict(ct, seg, out)?)?;
        only_error(&said)?;
        ensure(said.contains(expected), format!("{name}: {said}"))
    };
    copy()?;
    // Files are not in the order of the slices: the one in the middle leaves a gap.
    let series = dicom::read_series(ct, &dicom::SeriesOptions::new())?;
    let middle = series.slices[series.slices.len() / 2].path.file_name().ok_or("no name")?.to_os_string();
    std::fs::remove_file(slices.join(&middle))?;
    fails("missing slice", &slices, "dcm")?;
    copy()?;
    let whole = std::fs::read(slices.join("1-010.dcm"))?;
    std::fs::write(slices.join("1-010.dcm"), &whole[..whole.len() / 2])?;
    fails("truncated slice", &slices, "1-010.dcm")?;
    fails("another patient", &shared.join("data/crlm/dicom_seg"), "seg.dcm")
}

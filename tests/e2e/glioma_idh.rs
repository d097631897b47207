//! `glioma_idh` as its users run it: the program itself, on small input.

use libtest_mimic::{Arguments, Failed, Trial};
use oncograph_tests::e2e::{Outcome, Program, ensure, ensure_contains, refusal, results, stdout, succeed};
use oncograph_tests::trial;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let arguments = Arguments::from_args();
    let tables =
        ["data/glioma/UCSF-PDGM-metadata_v2.csv", "data/glioma/tcga_lgg_gbm_subtype_ceccarelli2016.csv"];
    let trials = vec![
        Trial::test("glioma: the phantom run writes its files", the_phantom_run_writes_its_files),
        Trial::test("glioma: a bundle elsewhere predicts the same", a_bundle_elsewhere_predicts_the_same),
        Trial::test("glioma: the paper's tables have their rows", the_papers_tables_have_their_rows),
        Trial::test(
            "glioma: killed and resumed equals uninterrupted",
            killed_and_resumed_equals_uninterrupted,
        ),
        Trial::test("glioma: one thread and two give the same bytes", one_thread_and_two_give_the_same_bytes),
        Trial::test("glioma: the paper's tables are audited", the_papers_tables_are_audited),
        Trial::test("glioma: what has no effect is refused", what_has_no_effect_is_refused),
        Trial::test("glioma: a small cohort runs to its report", a_small_cohort_runs_to_its_report),
        Trial::test("glioma: a clinical table is compared and bad ones are named", clinical_tables),
        trial("glioma: the real clinical tables", &tables, the_real_clinical_tables),
        Trial::test("glioma: each planted signal has its metrics", planted_signals),
        trial("glioma: a cohort of files is trained on and predicts", &BRAIN, a_cohort_of_files),
        trial("glioma: what is wrong with files is named", &BRAIN, what_is_wrong_with_files),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

const PROGRAM: Program = Program::new("glioma_idh", &["--patients", "60", "--epochs", "2"]);
const TABLES: Program = Program::new("glioma_tables", &["--repeats", "1", "--folds", "3"]);
const AUDIT: Program = Program::new("paper_audit", &[]);

fn same_results(one: &Path, other: &Path, complaint: &str) -> Outcome {
    ensure(results(one)? == results(&PROGRAM.last_run(other)?)?, complaint)
}

fn the_phantom_run_writes_its_files() -> Outcome {
    let out = tempfile::tempdir()?;
    let said = stdout(&mut PROGRAM.small(out.path())?)?;
    ensure(said.contains("PHANTOM") && said.contains("prevalence") && said.contains("age and sex"), &said)?;
    let run = PROGRAM.last_run(out.path())?;
    let files = [
        "config.json",
        "roles.json",
        "metrics.csv",
        "predictions.csv",
        "bundle/bundle.json",
        "bundle/population.json",
        "bundle/population.safetensors",
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
    let again = stdout(&mut PROGRAM.repeat(&run, out.path())?)?;
    ensure(again.contains("yes"), "nothing was taken from the cache")?;
    same_results(&run, out.path(), "the cache gives other numbers")?;
    // A stage can be the last.
    let early = tempfile::tempdir()?;
    succeed(PROGRAM.small(early.path())?.args(["--stage", "2"]))?;
    let cached = std::fs::read_dir(early.path().join("cache/glioma_idh"))?.count();
    ensure(cached == 4, format!("{cached} files of two stages"))
}

/// The report and the number for a phantom patient, from a run and from its bundle in another folder.
fn a_bundle_elsewhere_predicts_the_same() -> Outcome {
    let (out, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
    succeed(&mut PROGRAM.small(out.path())?)?;
    let cohort =
        std::fs::read_dir(out.path().join("phantom_glioma"))?.next().ok_or("no cohort on disk")??.path();
    let patient = cohort.join("phantom-020");
    let predict = |out: &Path| -> Result<Command, Failed> {
        let mut command = PROGRAM.command()?;
        command.args(["--labels", "brats2020", "--predict"]).arg(&patient).arg("--out").arg(out);
        command.arg("--mask").arg(patient.join("phantom-020_seg.nii.gz"));
        Ok(command)
    };
    let said = stdout(predict(out.path())?.arg("--registered"))?;
    ensure(said.contains("generated patients"), &said)?;
    let moved = elsewhere.path().join("model");
    std::fs::rename(PROGRAM.last_run(out.path())?.join("bundle"), &moved)?;
    // Neither the run nor its cache is needed.
    std::fs::remove_dir_all(out.path().join("cache"))?;
    succeed(predict(elsewhere.path())?.arg("--registered").arg("--bundle").arg(&moved))?;
    let report = |out: &Path| -> Result<String, Failed> {
        let runs = std::fs::read_dir(out.join("glioma_idh_predictions"))?;
        let runs = runs.map(|run| Ok(run?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
        let run = runs.into_iter().max().ok_or("no prediction")?;
        Ok(std::fs::read_to_string(run.join("clinical_report.json"))?)
    };
    ensure(report(out.path())? == report(elsewhere.path())?, "the moved bundle gives another report")?;
    // Native images need templates, and no real patient has the regions of a generated head.
    let said = refusal(predict(elsewhere.path())?.arg("--bundle").arg(&moved))?;
    ensure_contains(&said, &["--templates"])
}

fn the_papers_tables_have_their_rows() -> Outcome {
    let out = tempfile::tempdir()?;
    for (table, rows) in [
        (
            &["--table", "3"][..],
            ["3D ResNet-34, narrow", "3D DenseNet, two narrow blocks", "multi-modal + SVM"],
        ),
        (&["--table", "4", "--ablate"], ["f^B+f^P+L", "no L_multi", "G-16: raw cosine"]),
    ] {
        let said = stdout(PROGRAM.small(out.path())?.args(table))?;
        let metrics = std::fs::read_to_string(PROGRAM.last_run(out.path())?.join("metrics.csv"))?;
        for row in rows {
            ensure(said.contains(row) && metrics.contains(row), format!("{table:?} has no {row}"))?;
        }
    }
    Ok(())
}

fn killed_and_resumed_equals_uninterrupted() -> Outcome {
    let whole = tempfile::tempdir()?;
    succeed(&mut PROGRAM.small(whole.path())?)?;
    let killed = tempfile::tempdir()?;
    let out = killed.path();
    let has = |stage: &str, end: &str| {
        let files = std::fs::read_dir(out.join("cache/glioma_idh")).into_iter().flatten().flatten();
        let names = files.map(|f| f.file_name().to_string_lossy().into_owned());
        names.into_iter().any(|n| n.starts_with(stage) && n.ends_with(end))
    };
    // In each stage, then between them.
    let moments: [&dyn Fn() -> bool; 4] = [
        &|| has("autoencoder", "checkpoint.safetensors"),
        &|| has("tracts", "checkpoint.safetensors"),
        &|| has("multimodal", "checkpoint.safetensors"),
        &|| has("multimodal", "curve.json"),
    ];
    PROGRAM.kill_and_resume(PROGRAM.small(out)?, out, &moments)?;
    same_results(&PROGRAM.last_run(out)?, whole.path(), "the resumed run has other numbers")
}

fn one_thread_and_two_give_the_same_bytes() -> Outcome {
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    succeed(PROGRAM.small(one.path())?.env("RAYON_NUM_THREADS", "1"))?;
    succeed(PROGRAM.small(two.path())?.env("RAYON_NUM_THREADS", "2"))?;
    same_results(&PROGRAM.last_run(one.path())?, two.path(), "the threads change the numbers")
}

fn the_papers_tables_are_audited() -> Outcome {
    let out = tempfile::tempdir()?;
    let said = stdout(AUDIT.command()?.current_dir(out.path()))?;
    let best = said.lines().find(|l| l.contains(" 84 ")).unwrap_or_default();
    let numbers: Vec<&str> = best.split_whitespace().collect();
    ensure(numbers == ["84", "32", "116", "17"], &said)?;
    ensure(said.contains("49473") && !said.contains(" no\n"), &said)?;
    ensure(std::fs::read_dir(out.path())?.count() == 0, "the audit leaves files behind")?;
    for (option, name) in [("--paper-audit", "paper_audit"), ("--clinical=x.csv", "glioma_tables -- x.csv")] {
        let said = refusal(PROGRAM.command()?.arg(option).current_dir(out.path()))?;
        ensure_contains(&said, &[name])?;
    }
    Ok(())
}

fn what_has_no_effect_is_refused() -> Outcome {
    let out = tempfile::tempdir()?;
    let refused = |arguments: &str, expected: &[&str]| -> Outcome {
        let mut command = PROGRAM.command()?;
        command.args(arguments.split_whitespace()).current_dir(out.path());
        ensure_contains(&refusal(&mut command)?, expected)?;
        PROGRAM.leaves_nothing(&out.path().join("runs"), arguments)
    };
    let predict = "--predict p --mask m.nii.gz --labels brats2020";
    for option in
        ["--epochs 3", "--seed 2", "--table 3", "--ablate", "--stage 2", "--network-patients half-a"]
    {
        let name = option.split(' ').next().unwrap_or_default();
        refused(&format!("{predict} {option}"), &[name, "no effect beside --predict"])?;
    }
    refused("--planted --table 3", &["--table has no effect beside --planted"])?;
    refused("--stage 2 --table 3", &["no effect beside a --stage"])?;
    refused("--registered", &["--data", "--predict"])?;
    refused("--labels brats2020", &["--data", "--predict"])?;
    refused("--mask m.nii.gz", &["--predict"])?;
    refused("--patients 3", &["enough of each genotype", "--patients"])?;
    refused("--patients 40 --network-patients half-a", &["network_patients", "fractional anisotropy"])?;
    // A run of another program is said to be that.
    std::fs::write(out.path().join("config.json"), r#"{"program": "stg_crlm", "folds": 5}"#)?;
    refused("--config config.json", &["settings of the program stg_crlm, not of glioma_idh"])?;
    let mut tables = TABLES.command()?;
    tables.args(["--folds", "1000"]).arg("table.csv").current_dir(out.path());
    std::fs::write(out.path().join("table.csv"), table(60))?;
    ensure_contains(&refusal(&mut tables)?, &["table.csv", "20 mutants", "--folds 1000"])
}

/// Too few patients of a genotype for five inner folds of the support vector machine.
fn a_small_cohort_runs_to_its_report() -> Outcome {
    let out = tempfile::tempdir()?;
    let mut command = PROGRAM.command()?;
    succeed(command.args(["--patients", "40", "--epochs", "1"]).arg("--out").arg(out.path()))?;
    let run = PROGRAM.last_run(out.path())?;
    ensure(run.join("report.html").is_file(), "no report")?;
    // A newer run that failed stands in the way of neither.
    std::fs::create_dir(out.path().join("glioma_idh/9999-01-01T00-00-00Z"))?;
    succeed(&mut PROGRAM.resume(out.path())?)?;
    let cohort =
        std::fs::read_dir(out.path().join("phantom_glioma"))?.next().ok_or("no cohort on disk")??.path();
    let patient = cohort.join("phantom-020");
    let mut predict = PROGRAM.command()?;
    predict.args(["--registered", "--labels", "brats2020", "--predict"]).arg(&patient);
    predict.arg("--mask").arg(patient.join("phantom-020_seg.nii.gz")).arg("--out").arg(out.path());
    succeed(&mut predict).map(drop)
}

/// How well each encoder finds its signal is a claim of `cargo xtask study`.
fn planted_signals() -> Outcome {
    let out = tempfile::tempdir()?;
    let said = stdout(PROGRAM.small(out.path())?.arg("--planted"))?;
    let planted = std::fs::read_dir(out.path().join("glioma_planted"))?.next().ok_or("no run")??.path();
    for signal in ["shape", "texture", "tract", "none"] {
        ensure(said.lines().any(|l| l.starts_with(signal)), &said)?;
        let metrics = std::fs::read_to_string(planted.join(signal).join("metrics.csv"))?;
        ensure_contains(&metrics, &["f^I,", "f^P,", "f^B,", "f^B+f^P,", "full,", "age and sex,"])?;
    }
    Ok(())
}

/// What a standard brain is made of.
const BRAIN: [&str; 4] = [
    "data/glioma/templates/MNI152_T1_2mm_brain.nii.gz",
    "data/glioma/templates/MNI152_T1_2mm_brain_mask.nii.gz",
    "data/glioma/templates/MNI_FA_template.nii.gz",
    "data/glioma/atlases/aal.nii.gz",
];

/// Made-up patients on the standard brain in the layout of BraTS, with a table of their IDH status.
fn cohort(shared: &Path, root: &Path, patients: usize) -> Result<PathBuf, Failed> {
    use oncograph::imaging::{Frame, Grid, Interpolation, Mask, ResampleOptions, Volume, nifti, resample};
    let mask: Mask = nifti::read(shared.join(BRAIN[1]))?;
    let grid = Grid::axis_aligned([38, 45, 38], [5.0; 3], [-92.0, -128.0, -74.0])?;
    let brain = resample(&mask, &grid, &ResampleOptions::new(Interpolation::Nearest).outside(0.0))?;
    let mut table = "ID,Sex,Age at MRI,WHO CNS Grade,MGMT status,IDH\n".to_string();
    for patient in 0..patients {
        let id = format!("P-{patient:04}");
        let folder = root.join(&id);
        std::fs::create_dir(&folder)?;
        let centre = [25.0, -20.0 + patient as f64, 15.0];
        let distance = |at: [usize; 3]| {
            let world = grid.index_to_world(at.map(|i| i as f64));
            (0..3).map(|k| (world[k] - centre[k]).powi(2)).sum::<f64>().sqrt()
        };
        for (k, ending) in ["t1", "t1ce", "t2", "flair"].into_iter().enumerate() {
            let value = |at: [usize; 3]| {
                let noise = (at[0] * 7 + at[1] * 13 + at[2] * 29 + 31 * k + 3 * patient) % 17;
                let tumour = if distance(at) < 18.0 { 40.0 } else { 0.0 };
                f32::from(brain.get(at).unwrap_or(0)) * (100.0 + tumour + noise as f32)
            };
            let volume = Volume::from_fn(grid.clone(), Frame::described("mni"), value);
            nifti::write(folder.join(format!("{id}_{ending}.nii.gz")), &volume)?;
        }
        let label = |at| match distance(at) {
            r if r < 8.0 => 4_u8,
            r if r < 14.0 => 1,
            r if r < 18.0 => 2,
            _ => 0,
        };
        let labels = Volume::from_fn(grid.clone(), Frame::described("mni"), label);
        nifti::write(folder.join(format!("{id}_seg.nii.gz")), &labels)?;
        // The table has fewer zeros, as that of UCSF-PDGM, and does not know every patient.
        if patient + 2 < patients {
            let idh = if patient % 3 == 0 { "IDH1 p.R132H" } else { "wildtype" };
            let sex = if patient % 2 == 0 { "M" } else { "F" };
            table += &format!("P-{patient:03},{sex},{},4,positive,{idh}\n", 40 + patient);
        }
    }
    let path = root.join("idh.csv");
    std::fs::write(&path, table)?;
    Ok(path)
}

fn on_files(shared: &Path, root: &Path, labels: &str, out: &Path) -> Result<Command, Failed> {
    let mut command = PROGRAM.command()?;
    command.args(["--registered", "--epochs", "1", "--labels", labels]);
    command.arg("--templates").arg(shared.join("data/glioma"));
    command.arg("--idh").arg(root.join("idh.csv")).arg("--data").arg(root).arg("--out").arg(out);
    Ok(command)
}

fn a_cohort_of_files(shared: &Path) -> Outcome {
    let (root, out) = (tempfile::tempdir()?, tempfile::tempdir()?);
    cohort(shared, root.path(), 48)?;
    let output = succeed(&mut on_files(shared, root.path(), "brats2020", out.path())?)?;
    let notes = String::from_utf8(output.stderr)?;
    ensure(notes.contains("2 scans have no IDH status") && notes.contains("group mean"), &notes)?;
    ensure(!String::from_utf8(output.stdout)?.contains("PHANTOM"), "real files are called a phantom")?;
    let run = PROGRAM.last_run(out.path())?;
    let html = std::fs::read_to_string(run.join("report.html"))?;
    ensure(html.contains("group mean") && !html.contains("was generated"), "the report")?;
    // Again: from the cache, to the same bytes.
    succeed(&mut on_files(shared, root.path(), "brats2020", out.path())?)?;
    same_results(&run, out.path(), "the cache gives other numbers")?;
    let patient = root.path().join("P-0047");
    let mut predict = PROGRAM.command()?;
    predict.args(["--registered", "--labels", "brats2020", "--predict"]).arg(&patient);
    predict.arg("--mask").arg(patient.join("P-0047_seg.nii.gz")).arg("--out").arg(out.path());
    let said = stdout(&mut predict)?;
    ensure(said.contains("Probability of a mutation") && !said.contains("generated patients"), &said)?;
    an_atlas_of_tubes(shared, root.path(), out.path())
}

/// With an atlas of tracts of one's own.
fn an_atlas_of_tubes(shared: &Path, root: &Path, out: &Path) -> Outcome {
    let [maps, ends] = tubes(shared, out)?;
    let with_tracts = || -> Result<Command, Failed> {
        let mut command = on_files(shared, root, "brats2020", out)?;
        command.arg("--tracts").arg(&maps).arg("--tract-ends").arg(&ends);
        Ok(command)
    };
    succeed(&mut with_tracts()?)?;
    let html = std::fs::read_to_string(PROGRAM.last_run(out)?.join("report.html"))?;
    ensure(html.contains("tubes.nii.gz") && !html.contains("geodesic"), "the report's atlas")?;
    std::fs::write(&ends, std::fs::read_to_string(&ends)?.replacen("1 2\n", "1 91\n", 1))?;
    let output = with_tracts()?.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(!output.status.success() && said.contains("tract 0 with ends Some([1, 91])"), &said)
}

/// An atlas of straight tubes between neighbouring numbers of AAL, as a user would bring one.
fn tubes(shared: &Path, folder: &Path) -> Result<[PathBuf; 2], Failed> {
    use oncograph::imaging::atlas::LabelMap;
    use oncograph::imaging::{Frame, Grid, Volume, nifti};
    let aal = shared.join("data/glioma/atlases");
    let regions = LabelMap::read(aal.join("aal.nii.gz"), aal.join("aal.nii.txt"))?;
    let grid = Grid::axis_aligned([46, 55, 46], [4.0; 3], [-92.0, -128.0, -74.0])?;
    let (mut maps, mut ends) = (vec![], String::new());
    for label in (1..90).step_by(2) {
        let at = |label| regions.centroid(label).ok_or("a region without voxels");
        let (from, to) = (at(label)?, at(label + 1)?);
        let near = |voxel: [usize; 3]| {
            let world = grid.index_to_world(voxel.map(|i| i as f64));
            let square = |f: &dyn Fn(usize) -> f64| (0..3).map(|k| f(k) * f(k)).sum::<f64>();
            let along = (0..3).map(|k| (world[k] - from[k]) * (to[k] - from[k])).sum::<f64>();
            let share = (along / square(&|k| to[k] - from[k])).clamp(0.0, 1.0);
            let off = square(&|k| from[k] + share * (to[k] - from[k]) - world[k]);
            (1.0 - off.sqrt() / 12.0).max(0.0) as f32
        };
        maps.push(Volume::from_fn(grid.clone(), Frame::described("mni"), near));
        ends += &format!("{label} {}\n", label + 1);
    }
    let paths = [folder.join("tubes.nii.gz"), folder.join("tubes.txt")];
    nifti::write_4d(&paths[0], &maps, &nifti::WriteOptions::new())?;
    std::fs::write(&paths[1], ends)?;
    Ok(paths)
}

fn what_is_wrong_with_files(shared: &Path) -> Outcome {
    use oncograph::imaging::{Frame, Grid, Mask, Volume, nifti};
    let (root, out) = (tempfile::tempdir()?, tempfile::tempdir()?);
    cohort(shared, root.path(), 48)?;
    let refused = |labels: &str, expected: &[&str]| -> Outcome {
        // One bad scan would be listed and left out.
        let said = refusal(on_files(shared, root.path(), labels, out.path())?.arg("--strict"))?;
        ensure_contains(&said, expected)?;
        ensure(PROGRAM.runs(out.path())?.is_empty(), "a run is left behind")
    };
    refused(
        "brats2023",
        &["in 48 of 48 patients", "label 4 does not exist under brats2023", "brats2020 (0, 1, 2, 4) fits"],
    )?;
    let file = |name: &str| root.path().join("P-0003").join(format!("P-0003_{name}.nii.gz"));
    let kept = std::fs::read(file("t2"))?;
    let t2: Volume<f32> = nifti::read(file("t2"))?;
    std::fs::remove_file(file("t2"))?;
    refused("brats2020", &["P-0003", "missing: T2 (P-0003_t2.nii.gz)"])?;
    nifti::write(file("t2"), &t2.map(|_| f32::NAN))?;
    refused("brats2020", &["P-0003_t2.nii.gz", "not finite"])?;
    let moved = Grid::axis_aligned(t2.shape(), [5.0; 3], [0.0; 3])?;
    nifti::write(file("t2"), &Volume::filled(moved, Frame::described("mni"), 1_f32))?;
    refused("brats2020", &["P-0003_t2.nii.gz", "another grid than T1"])?;
    std::fs::write(file("t2"), &kept)?;
    let seg: Mask = nifti::read(file("seg"))?;
    nifti::write(file("seg"), &seg.map(|_| 0))?;
    refused("brats2020", &["P-0003_seg.nii.gz", "the tumour is empty"])?;
    let table = std::fs::read_to_string(root.path().join("idh.csv"))?;
    std::fs::write(root.path().join("idh.csv"), table.replace("IDH1 p.R132H", "wildtype"))?;
    refused("brats2020", &["0 mutants and 46 wild types", "a split needs 15 of each"])
}

/// A table in which age tells the genotype, roughly.
fn table(rows: usize) -> String {
    let mut text = "ID,Sex,Age at MRI,WHO CNS Grade,MGMT status,IDH\n".to_string();
    for i in 0..rows {
        let mutant = i % 3 == 0;
        let age = if mutant { 35 + i % 23 } else { 48 + i % 29 };
        let idh = if mutant { "IDH1 p.R132H" } else { "wildtype" };
        // Some results are missing: their column brings another one that marks them.
        let mgmt = if i % 5 == 0 { "indeterminate" } else { "positive" };
        text += &format!("P{i},{},{age},4,{mgmt},{idh}\n", if i % 2 == 0 { "M" } else { "F" });
    }
    text
}

fn clinical_tables() -> Outcome {
    let out = tempfile::tempdir()?;
    let path = out.path().join("table.csv");
    std::fs::write(&path, table(60))?;
    let tables = |out: &Path| -> Result<Command, Failed> {
        let mut command = TABLES.small(out)?;
        command.arg(&path);
        Ok(command)
    };
    let said = stdout(&mut tables(out.path())?)?;
    let parts = [
        "inductive",
        "transductive",
        "shuffled edges",
        "logistic regression",
        "prevalence",
        "the lead of logistic",
    ];
    ensure_contains(&said, &parts)?;
    // Age and sex, then with grade and MGMT; the set between has no further covariate in this table.
    let sets = ["age_sex", "pathology"];
    let run = TABLES.last_run(out.path())?;
    for set in sets {
        let predictions = std::fs::read_to_string(run.join(set).join("predictions.csv"))?;
        // The probability of either class.
        ensure(predictions.lines().count() == 1 + 2 * 7 * 60, predictions.lines().count())?;
    }
    ensure(!run.join("pre_operative").exists(), "two sets alike")?;
    let resumed = tempfile::tempdir()?;
    let third_fold = || {
        let run = TABLES.last_run(resumed.path());
        run.is_ok_and(|run| run.join("age_sex/folds").read_dir().map_or(0, Iterator::count) > 2)
    };
    TABLES.kill_and_resume(tables(resumed.path())?, resumed.path(), &[&third_fold])?;
    for set in sets {
        let [whole, resumed] = [run.join(set), TABLES.last_run(resumed.path())?.join(set)];
        ensure(results(&whole)? == results(&resumed)?, "the resumed run has other numbers")?;
    }
    let bad = [
        (table(60).replacen("wildtype", "perhaps", 1), "row 3, column `IDH`"),
        (table(60).replacen("IDH\n", "genotype\n", 1), "none has the columns of UCSF-PDGM"),
    ];
    for (text, expected) in bad {
        let other = tempfile::tempdir()?;
        std::fs::write(&path, text)?;
        ensure_contains(&refusal(&mut tables(other.path())?)?, &[expected])?;
        ensure(TABLES.runs(other.path()).is_ok_and(|r| r.is_empty()), "a run is left behind")?;
    }
    Ok(())
}

fn the_real_clinical_tables(shared: &Path) -> Outcome {
    use oncograph::datasets::glioma::GliomaTable;
    let folder = shared.join("data/glioma");
    let ucsf = GliomaTable::read(folder.join("UCSF-PDGM-metadata_v2.csv"))?.with_idh();
    ensure(ucsf.groups().count() == 495, ucsf.groups().count())?;
    for pair in ["138 = UCSF-PDGM-429", "175 = UCSF-PDGM-396", "181 = UCSF-PDGM-409"].into_iter().chain([
        "278 = UCSF-PDGM-431",
        "289 = UCSF-PDGM-391",
        "315 = UCSF-PDGM-433",
    ]) {
        ensure(ucsf.notes.iter().any(|note| note.contains(pair)), format!("{pair}: {:?}", ucsf.notes))?;
    }
    let mutants = ucsf.patients.iter().filter(|p| p.idh == Some(true)).count();
    ensure((ucsf.patients.len(), mutants) == (501, 103), format!("{} {mutants}", ucsf.patients.len()))?;
    let tcga = GliomaTable::read(folder.join("tcga_lgg_gbm_subtype_ceccarelli2016.csv"))?;
    ensure(tcga.patients.len() == 1122, tcga.patients.len())?;
    let tcga = tcga.with_idh();
    let mutants = tcga.patients.iter().filter(|p| p.idh == Some(true)).count();
    ensure((tcga.patients.len(), mutants) == (995, 457), format!("{} {mutants}", tcga.patients.len()))
}

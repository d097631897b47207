//! The multi-modal network on omics: from tables to a report and a model that predicts for a new patient. See `--help`.

mod cli;
mod explanation;
mod report;
mod settings;

use cli::{Args, MODES};
use oncograph_core::{Argument, AtFile};
use oncograph_datasets::omics::OmicsDataset;
use oncograph_deploy::{Bundle, ClinicalReport};
use oncograph_omics::{
    OmicsFindings, OmicsPatient, OmicsPredictor, OmicsStudyCohort, late_fusion_jobs, modality_grid,
    write_bundle,
};
use oncograph_study::cli::{
    StudyProgress, device, in_precision, one_thread_per_tensor, open_run, parse, program, stop_on_ctrl_c,
    workers,
};
use oncograph_study::{Constant, JOBS, Linear, Penalty, RandomForest, ScoreOptions, Study, StudyResults};
use oncograph_train::{RunDir, StopFlag};
// The allocator of the examples.
use allocator as _;
use settings::{Settings, Source};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const NAME: &str = "multimodal_oncology";

fn main() -> ExitCode {
    let args: Args = parse(&["patient"], &MODES);
    program(|| {
        if let Some(folder) = &args.write_cohort {
            Source::from_args(&args)?.open()?.write_folder(folder)?;
            println!("cohort: {}", folder.display());
            return Ok(());
        }
        one_thread_per_tensor()?;
        match args.predict.is_empty() {
            true => run(&args),
            false => in_precision(&args.study.device, args.study.precision, || predict(&args)),
        }
    })
}

fn run(args: &Args) -> Result<()> {
    let stop = stop_on_ctrl_c()?;
    let (settings, run, is_new) = open_run::<_, Box<dyn std::error::Error + Send + Sync>>(
        NAME,
        &args.study.out.join(NAME),
        args.study.resume.as_ref(),
        || Settings::from_args(args),
    )?;
    let precision = settings.system.fit.precision;
    let asked = args.patient.as_ref();
    let result = in_precision(&settings.device, precision, || study(&settings, asked, &run, &stop));
    // A run that could not begin, because its data is bad, leaves nothing behind.
    if is_new && !run.file(JOBS).exists() && result.is_err() && !stop.is_requested() {
        std::fs::remove_dir_all(run.path()).ok();
    }
    result
}

/// Opens the cohort, trains and compares the models, and writes the page, the bundle and one patient's report: of the one asked
/// for, also where a run is resumed that was to report on another.
fn study(settings: &Settings, asked: Option<&String>, run: &RunDir, stop: &StopFlag) -> Result<()> {
    let cohort = settings.open()?;
    cohort.dataset().cohort.notes.iter().for_each(|note| eprintln!("{note}"));
    let device = device(&settings.device)?;
    let patient = settings.reported(asked, &cohort)?;
    let systems = settings.systems(&cohort)?;
    let jobs = settings.plan.splits(&cohort, settings.validation, settings.seed())?.len();
    let progress = StudyProgress::new(jobs * (systems.len() + 3), settings.system.fit.epochs);
    let study = Study::new(&cohort, run)
        .plan(settings.plan.clone())
        .inner(settings.validation)
        .seed(settings.seed())
        .device(device.clone())
        .stop(stop)
        .workers(workers())
        .settings(settings)?
        .on_progress(|p| progress.update(p));
    let mut results = systems
        .iter()
        .fold(study, |study, system| study.model(system.name(), system))
        .baseline(Linear::new(Penalty::PerRow(0.1)).most_correlated(50))
        .baseline(RandomForest::new())
        .baseline(Constant)
        .run()?;
    progress.finish();
    results.extend(late_fusion_jobs(&results, &cohort)?);
    let scores = results.score(&cohort, &ScoreOptions::default())?;
    scores.write_metrics(&run.file("metrics.csv"))?;
    results.write_predictions(&cohort, &run.file("predictions.csv"))?;

    let page = report::Page {
        settings,
        cohort: &cohort,
        results: &results,
        scores: &scores,
        grid: modality_grid(&results, &cohort)?,
        findings: OmicsFindings::new(&results, &cohort, settings.seed())?,
    };
    let path = run.file("report.html");
    page.write(&path)?;
    page.print();
    let bundle = write_bundle(run, &results, &cohort, &systems[0], (&page.model_card(), &scores))?;
    let clinical = held_out(&OmicsPredictor::open(&bundle, &device)?, &results, &cohort, patient)?;
    let written = clinical.write_named(run.folder("clinical")?)?;
    println!(
        "patient: {}\nreport: {}\nbundle: {}",
        written.display(),
        path.display(),
        bundle.path().display()
    );
    Ok(())
}

/// The report on a patient of the cohort, by the model that was trained without the patient.
fn held_out(
    predictor: &OmicsPredictor,
    results: &StudyResults,
    cohort: &OmicsStudyCohort,
    row: usize,
) -> Result<ClinicalReport> {
    let patient = OmicsPatient::of_cohort(&cohort.dataset().cohort, row)?;
    let split = results.splits().iter().find(|s| s.repeat == 0 && s.split.test.contains(&row));
    let split = split.ok_or_else(|| format!("{}: held out in no fold", patient.id))?;
    Ok(predictor.predict_held_out(&patient, (split.repeat, split.fold))?.report)
}

/// `--predict`: the reports on new patients from a bundle alone.
fn predict(args: &Args) -> Result<()> {
    let root = args.study.out.join(NAME);
    let path = match (&args.bundle, &args.run) {
        (Some(bundle), _) => bundle.clone(),
        (None, Some(run)) => run.join("bundle"),
        (None, None) => match RunDir::latest_with(&root, "bundle/bundle.json")? {
            Some(run) => run.file("bundle"),
            None => return Err(AtFile::new(&root, "there is no finished run whose bundle predicts").into()),
        },
    };
    let patients = patients(&args.predict)?;
    let predictor = OmicsPredictor::open(&Bundle::open(path)?, &device(&args.study.device)?)?;
    // All of them, before the first is written.
    let reports = patients.iter().map(|p| Ok(predictor.predict(p)?.report)).collect::<Result<Vec<_>>>()?;
    let folder = args.study.out.join("predictions");
    std::fs::create_dir_all(&folder).map_err(|e| AtFile::new(&folder, e))?;
    for report in &reports {
        let written = report.write_named(&folder)?;
        if let [one] = &reports[..] {
            println!("{}", one.to_markdown());
        }
        println!("patient: {}", written.display());
    }
    Ok(())
}

/// The patients of files and cohort folders.
///
/// # Errors
/// An identifier that is there twice: one report would replace the other.
fn patients(paths: &[PathBuf]) -> Result<Vec<OmicsPatient>> {
    let mut patients = vec![];
    for path in paths {
        if !path.is_dir() {
            patients.push(OmicsPatient::read(path)?);
            continue;
        }
        let cohort = OmicsDataset::folder(path)?.cohort;
        cohort.notes.iter().for_each(|note| eprintln!("{note}"));
        for row in 0..cohort.ids().len() {
            patients.push(OmicsPatient::of_cohort(&cohort, row)?);
        }
    }
    let mut seen = BTreeSet::new();
    match patients.iter().find(|p| !seen.insert(&p.id)) {
        Some(twice) => {
            Err(Argument::new("--predict", "patients", "each once", format!("{} twice", twice.id)).into())
        }
        None => Ok(patients),
    }
}

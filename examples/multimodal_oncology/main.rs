//! The multi-modal network on omics: from tables to a report and a model that predicts for a new patient. See `--help`.

mod cli;
mod explanation;
mod report;
mod settings;

use cli::{Args, MODES};
use oncograph_core::AtFile;
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
use settings::Settings;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const NAME: &str = "multimodal_oncology";

fn main() -> ExitCode {
    let args: Args = parse(&[], &MODES);
    program(|| {
        one_thread_per_tensor()?;
        match &args.predict {
            Some(file) => in_precision(&args.study.device, args.study.precision, || predict(&args, file)),
            None => run(&args),
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
    let result = in_precision(&settings.device, precision, || study(&settings, &run, &stop));
    // A run that could not begin, because its data is bad, leaves nothing behind.
    if is_new && !run.file(JOBS).exists() && result.is_err() && !stop.is_requested() {
        std::fs::remove_dir_all(run.path()).ok();
    }
    result
}

/// Opens the cohort, trains and compares the models, and writes the page, the bundle and one patient's report.
fn study(settings: &Settings, run: &RunDir, stop: &StopFlag) -> Result<()> {
    let cohort = settings.open()?;
    cohort.dataset().cohort.notes.iter().for_each(|note| eprintln!("{note}"));
    let device = device(&settings.device)?;
    let patient = settings.reported(&cohort)?;
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
    let bundle = write_bundle(run, &results, &cohort, &systems[0], &page.model_card())?;
    let clinical = held_out(&OmicsPredictor::open(&bundle, &device)?, &results, &cohort, patient)?;
    let written = write_clinical(&clinical, &run.folder("clinical")?)?;
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

/// `--predict`: the report on a new patient from a bundle alone.
fn predict(args: &Args, file: &Path) -> Result<()> {
    let root = args.study.out.join(NAME);
    let path = match (&args.bundle, &args.run) {
        (Some(bundle), _) => bundle.clone(),
        (None, Some(run)) => run.join("bundle"),
        (None, None) => match RunDir::latest_with(&root, "bundle/bundle.json")? {
            Some(run) => run.file("bundle"),
            None => return Err(AtFile::new(&root, "there is no finished run whose bundle predicts").into()),
        },
    };
    let predictor = OmicsPredictor::open(&Bundle::open(path)?, &device(&args.study.device)?)?;
    let report = predictor.predict(&OmicsPatient::read(file)?)?.report;
    let folder = args.study.out.join("predictions");
    std::fs::create_dir_all(&folder).map_err(|e| AtFile::new(&folder, e))?;
    let written = write_clinical(&report, &folder)?;
    println!("{}\npatient: {}", report.to_markdown(), written.display());
    Ok(())
}

/// Writes `ID.json` and `ID.md`, and returns where the latter is; what is no part of a plain file name becomes `_`.
fn write_clinical(report: &ClinicalReport, folder: &Path) -> Result<PathBuf> {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let name: String = report.patient.chars().map(plain).collect();
    let name = name.trim_start_matches('.');
    report.write(folder, name)?;
    Ok(folder.join(format!("{name}.md")))
}

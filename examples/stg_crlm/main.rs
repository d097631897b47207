//! STG on colorectal liver metastases: from images and a clinical table to a report and a bundle. See `--help`.

mod baselines;
mod cli;
mod explanation;
mod names;
mod predict;
mod predictions;
mod report;
mod tables;

use cli::{Args, MODES, NAME, RunConfig};
use oncograph_core::Seed;
use oncograph_datasets::crlm::{CrlmCohort, FeatureSet};
use oncograph_spatiotemporal::{
    CtEncoder, StgBundleParts, StgCohort, StgSystem, parameter_table, stg_model_card, write_attributions,
    write_stg_bundle,
};
use oncograph_study::cli::{
    StudyProgress, device, in_precision, one_thread_per_tensor, open_run, parse, program, progress_bar,
    stop_on_ctrl_c, workers,
};
use oncograph_study::{Cohort, LeakageAudit, ScoreOptions, Study};
use oncograph_train::{RunDir, StopFlag};
// Its allocator keeps the big blocks of a training step for the next one.
use allocator as _;
use std::process::ExitCode;

/// The model with all nodes.
const STG: &str = "stg";
/// The model on the clinical node alone.
const WITHOUT_IMAGES: &str = "stg_without_images";
/// The control whose training outcomes were given to other patients.
const PERMUTED: &str = "stg_outcomes_permuted";
fn main() -> ExitCode {
    let args: Args = parse(&["params", "table", "paper_audit", "features_out"], &MODES);
    program(|| run(&args))
}

fn run(args: &Args) -> anyhow::Result<()> {
    if args.params {
        println!("{}", parameter_table(&RunConfig::from_args(args)?.network())?.to_text());
        return Ok(());
    }
    if args.paper_audit {
        return tables::audit(args);
    }
    if args.predict {
        return predict::run(args);
    }
    one_thread_per_tensor()?;
    let stop = stop_on_ctrl_c()?;
    let root = args.study.out.join(if args.table.is_some() { "stg_crlm_tables" } else { NAME });
    let resume = args.study.resume.as_ref();
    let (config, run, is_new) = open_run(NAME, &root, resume, || RunConfig::from_args(args))?;
    let precision = config.system.fit.precision;
    let result = in_precision(&config.device, precision, || match config.table {
        Some(table) => tables::run(args, &config, table, &run, &stop),
        None => study(args, &config, &run, &stop),
    });
    // A run that could not begin, because its data is bad, leaves nothing behind.
    let began = ["folds", "encoder_1"].iter().any(|folder| run.file(folder).exists());
    if is_new && !began && result.is_err() && !stop.is_requested() {
        std::fs::remove_dir_all(run.path()).ok();
    }
    result
}

fn study(args: &Args, config: &RunConfig, run: &RunDir, stop: &StopFlag) -> anyhow::Result<()> {
    let (system, seed, device) = (&config.system, Seed::new(config.seed), device(&config.device)?);
    let cohort = patients(args, config, stop)?;
    let stg = config.nested()?;
    let without_images = stg.map(StgSystem::without_images);

    let main = if cohort.has_images() { STG } else { WITHOUT_IMAGES };
    let models = 1 + baselines::count(&cohort);
    let models =
        models + [cohort.has_images(), config.permutation_control].map(usize::from).iter().sum::<usize>();
    let progress = StudyProgress::new(models * system.split_count(), system.fit.epochs);
    let mut study = Study::new(&cohort, run)
        .plan(system.plan(&cohort, seed)?)
        .inner(system.validation)
        .seed(seed)
        .device(device)
        .stop(stop)
        .workers(workers())
        .on_progress(|p| progress.update(p));
    study = match config.candidates.as_slice() {
        [] => study.settings(system)?,
        candidates => study.settings(&(system, candidates))?,
    };
    if cohort.has_images() {
        study = study.model(STG, &stg);
    }
    study = study.model(WITHOUT_IMAGES, &without_images);
    if config.permutation_control {
        let control = if cohort.has_images() { &stg } else { &without_images };
        study = study.permutation_control(PERMUTED, control);
    }
    let results = baselines::beside(study, &cohort).run()?;
    progress.finish();

    let scores = results.score(&cohort, &ScoreOptions::default())?;
    scores.write_metrics(&run.file("metrics.csv"))?;
    results.write_predictions(&cohort, &run.file("predictions.csv"))?;
    results.write_patients(&cohort, &run.file("patients.csv"))?;
    write_attributions(&results, cohort.ids(), main, &run.file("attributions.csv"))?;
    let card = stg_model_card(system, &cohort, &scores, main);
    let card = match config.chosen_words() {
        Some(words) => card.method(format!("STG; of its configurations {words}.")),
        None => card,
    };
    let parts =
        StgBundleParts { config: system, seed, cohort: &cohort, results: &results, model: main, card: &card };
    let bundle = write_stg_bundle(run, parts)?;
    let audit = LeakageAudit::new(&results, &cohort, &known_later())?;
    audit.write(&run.file("leakage.json"))?;
    let found = report::Found { results: &results, scores: &scores, audit: &audit };
    report::write(&run.file("report.html"), config, &cohort, found, &card)?;
    report::print(found, &cohort);
    println!("bundle: {}\nreport: {}", bundle.path().display(), run.file("report.html").display());
    Ok(())
}

/// The columns of the workbook that are not known before the operation.
fn known_later() -> Vec<&'static str> {
    let before = FeatureSet::PreopOnly.columns();
    FeatureSet::All.columns().into_iter().filter(|column| !before.contains(column)).collect()
}

/// Opens or generates the files of the cohort.
fn cohort_files(args: &Args, config: &RunConfig) -> anyhow::Result<CrlmCohort> {
    let generated = args.study.out.join("phantom_crlm").join(format!("seed_{}", config.seed));
    let bar = progress_bar(config.phantom_patients(), "phantom cohort");
    let files = config.source.open(&generated, workers(), |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    Ok(files)
}

/// The patients with their image features, from images or from a file of them.
fn patients(args: &Args, config: &RunConfig, stop: &StopFlag) -> anyhow::Result<StgCohort> {
    let (files, system, seed) = (cohort_files(args, config)?, &config.system, Seed::new(config.seed));
    let cohort = match &config.features_in {
        Some(path) => StgCohort::with_features(&files, system, seed, path)?,
        None => StgCohort::new(&files, system)?,
    };
    cohort.notes().iter().for_each(|note| eprintln!("{note}"));
    let cohort = match config.features_in {
        Some(_) => cohort,
        None => encoded(args, config, cohort, stop)?,
    };
    if let Some(path) = &args.features_out {
        cohort.write_features(seed, path)?;
        println!("image features: {}", path.display());
    }
    Ok(cohort)
}

/// The cohort with its images encoded, as its configuration wants them, if it has any.
fn encoded(args: &Args, config: &RunConfig, cohort: StgCohort, stop: &StopFlag) -> anyhow::Result<StgCohort> {
    if !cohort.has_images() {
        return Ok(cohort);
    }
    let encoder = CtEncoder::new(cohort.config(), Seed::new(config.seed), &device(&config.device)?)?;
    let encoder = encoder.cached(&args.study.out.join("cache"))?;
    let (bar, told) = (progress_bar(cohort.len() as u64, "encoding images"), cohort.notes().len());
    let cohort = cohort.encode(&encoder, workers(), stop, || bar.inc(1))?;
    bar.finish_and_clear();
    cohort.notes()[told..].iter().for_each(|note| eprintln!("{note}"));
    Ok(cohort)
}

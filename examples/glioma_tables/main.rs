//! Glioma: the population graph on clinical covariates of real patients, against logistic regression on the same folds.

use anyhow::ensure;
use clap::Parser;
use oncograph_brain::{
    GliomaCohort, GliomaTablesConfig, Prevalence, RidgeLogistic, TableCohort, TablePopulation, TableVariant,
    names,
};
use oncograph_core::Seed;
use oncograph_datasets::glioma::{GliomaFeatures, GliomaTable, GliomaTableKind};
use oncograph_report::{Banner, RESEARCH_ONLY, Report, ReportTable};
use oncograph_study::cli::{
    StudyArgs, StudyProgress, command_line, device, in_precision, one_thread_per_tensor, open_run, parse,
    program, read_config, stop_on_ctrl_c, workers,
};
use oncograph_study::{
    Cohort, Metric, ScoreOptions, ScoreTable, Scores, Study, StudyResults, calibration_plot, roc_curves,
};
use oncograph_train::{RunDir, StopFlag};
// Its allocator keeps the big blocks of a training step for the next one.
use allocator as _;
use std::cmp::Ordering;
use std::path::PathBuf;
use std::process::ExitCode;

/// Compare a graph of patients on clinical covariates with logistic regression on the same folds: the graph as it is, with
/// shuffled edges, with the test patients in it and without edges.
///
/// Each set of covariates (age and sex; what is known before surgery; with pathology) is a separate study. For research only,
/// not a medical device.
#[derive(Debug, Parser)]
#[command(name = NAME, version)]
#[command(mut_arg("repeats", |a| a.help("Repetitions of the cross-validation [default: 5]")))]
struct Args {
    /// A table with IDH status: UCSF-PDGM-metadata or table S1 of Ceccarelli 2016 [.csv]
    #[arg(value_name = "FILE", required_unless_present_any = ["resume", "config"])]
    table: Option<PathBuf>,
    #[command(flatten)]
    study: StudyArgs,
}

/// The program, as its runs are called.
const NAME: &str = "glioma_tables";
const LOGISTIC: &str = "logistic regression";
const AGE_SEX: &str = "logistic regression, age and sex";

fn main() -> ExitCode {
    let args: Args = parse(&["device"], &[]);
    program(|| run(&args))
}

fn run(args: &Args) -> anyhow::Result<()> {
    one_thread_per_tensor()?;
    let stop = stop_on_ctrl_c()?;
    let root = args.study.out.join(NAME);
    let (config, run, is_new) = open_run(NAME, &root, args.study.resume.as_ref(), || settings(args))?;
    let precision = config.fit.precision;
    let result = in_precision(&args.study.device, precision, || {
        let named = |error: anyhow::Error| {
            let table = config.table.display().to_string();
            // Most errors name it.
            let known = stop.is_requested() || format!("{error:#}").contains(&table);
            if known { error } else { error.context(table) }
        };
        compare(args, &config, &run, &stop).map_err(named)
    });
    // A run that could not begin, because its data is bad, leaves nothing behind.
    let began = std::fs::read_dir(run.path()).is_ok_and(|all| all.count() > 1);
    if is_new && !began && result.is_err() && !stop.is_requested() {
        std::fs::remove_dir_all(run.path()).ok();
    }
    result
}

fn settings(args: &Args) -> anyhow::Result<GliomaTablesConfig> {
    if let Some(path) = &args.study.config {
        let config: GliomaTablesConfig = read_config(NAME, path)?;
        config.validate()?;
        return Ok(config);
    }
    let Some(table) = &args.table else { anyhow::bail!("a table is needed") };
    let mut config = GliomaTablesConfig::new(table);
    config.seed = args.study.seed.unwrap_or(config.seed);
    config.folds = args.study.folds.unwrap_or(config.folds);
    config.repeats = args.study.repeats.unwrap_or(config.repeats);
    config.fit.precision = args.study.precision;
    config.validate()?;
    Ok(config)
}

fn compare(args: &Args, config: &GliomaTablesConfig, run: &RunDir, stop: &StopFlag) -> anyhow::Result<()> {
    let table = GliomaTable::read(&config.table)?;
    let mut sets: Vec<(GliomaFeatures, TableCohort)> = vec![];
    for set in &config.features {
        let cohort = TableCohort::new(&table, *set)?;
        // A table without a covariate of a set has two sets alike.
        if sets.iter().all(|s| s.1.covariates() != cohort.covariates()) {
            sets.push((*set, cohort));
        }
    }
    let mutants = sets[0].1.mutants();
    let count = mutants.iter().filter(|m| **m).count();
    ensure!(
        count.min(mutants.len() - count) >= config.folds,
        "{count} mutants and {} wild types: --folds {} needs as many of each",
        mutants.len() - count,
        config.folds
    );
    let mut report = Report::new("Glioma: IDH from clinical covariates in a population graph")
        .banner(Banner::Notice(RESEARCH_ONLY.into()))
        .facts(&facts(config, &sets[0].1));
    if !table.notes.is_empty() {
        report = report.section("How the table was read", |s| {
            table.notes.iter().for_each(|note| {
                s.paragraph(note.as_str());
            });
        });
    }
    for (set, cohort) in &sets {
        let name = serde_json::to_value(set)?.as_str().unwrap_or_default().to_string();
        let (results, scores) = study(args, config, cohort, &RunDir::open(&run.folder(&name)?)?, stop)?;
        let shown = shown(config, cohort, &scores);
        println!("{}\n{}\n", shown.to_text(), verdict(&scores));
        report = report.section(format!("Covariates: {name}"), |s| {
            if *set == GliomaFeatures::Pathology && cohort.kind == GliomaTableKind::UcsfPdgm {
                s.paragraph(
                    "The grade in this table is that of the WHO classification of 2021, of which IDH is a part: these \
                     rows leak the label and are shown as a warning.",
                );
            }
            s.table(shown).paragraph(verdict(&scores));
            let (models, task) = ([TableVariant::Inductive.name(), LOGISTIC, AGE_SEX], GliomaCohort::TASK);
            s.figure_or_reason("ROC", roc_curves(&results, cohort, &scores, &models, task));
            s.figure_or_reason("Calibration", calibration_plot(&results, cohort, models[0], task));
        });
    }
    report.write(run.file("report.html"))?;
    println!("{RESEARCH_ONLY}\nreport: {}", run.file("report.html").display());
    Ok(())
}

/// The study of one set of covariates: every variant of the graph, and what it has to beat.
fn study(
    args: &Args,
    config: &GliomaTablesConfig,
    cohort: &TableCohort,
    run: &RunDir,
    stop: &StopFlag,
) -> anyhow::Result<(StudyResults, Scores)> {
    let known = |name: &&str| cohort.covariates().iter().any(|c| c == name);
    let age_sex: Vec<&str> = ["age", "male"].into_iter().filter(known).collect();
    let graphs = TableVariant::ALL.map(|v| (v.name(), TablePopulation::new(config, v)));
    let progress = StudyProgress::new(7 * config.folds * config.repeats, config.fit.epochs);
    let study = Study::new(cohort, run)
        .cross_validation(config.folds, config.repeats)
        .inner(config.validation)
        .seed(Seed::new(config.seed))
        .device(device(&args.study.device)?)
        .stop(stop)
        .workers(workers())
        .settings(config)?
        .on_progress(|p| progress.update(p));
    let study = graphs.iter().fold(study, |study, (name, graph)| study.model(*name, graph));
    let results = study
        .baseline(RidgeLogistic::new(config.ridge).named(LOGISTIC))
        .baseline(RidgeLogistic::new(config.ridge).named(AGE_SEX).columns(age_sex))
        .baseline(Prevalence)
        .run()?;
    progress.finish();
    let scores = results.score(cohort, &ScoreOptions::default().reference(LOGISTIC))?;
    scores.write_metrics(&run.file("metrics.csv"))?;
    results.write_predictions(cohort, &run.file("predictions.csv"))?;
    Ok((results, scores))
}

fn facts(config: &GliomaTablesConfig, cohort: &TableCohort) -> Vec<(&'static str, String)> {
    let name = config.table.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    vec![
        ("Data", name),
        ("Patients", patients(cohort)),
        ("Command", command_line(NAME)),
        ("Seed", config.seed.to_string()),
        ("Version", format!("oncograph {}", config.version)),
        ("Cross-validation", format!("{} folds, {} repetition(s)", config.folds, config.repeats)),
    ]
}

fn patients(cohort: &TableCohort) -> String {
    let (patients, rows) = (cohort.patients(), cohort.ids().len());
    let of = if patients == rows { String::new() } else { format!(" in {rows} rows") };
    format!("{patients} with IDH status{of}; the table has {} rows", cohort.read)
}

fn shown(config: &GliomaTablesConfig, cohort: &TableCohort, scores: &Scores) -> ReportTable {
    let table = match cohort.kind {
        GliomaTableKind::UcsfPdgm => "UCSF-PDGM",
        GliomaTableKind::Ceccarelli2016 => "TCGA (Ceccarelli 2016)",
        _ => "table",
    };
    let caption = format!(
        "{table}: {} patients, {} rows of mutants; {}. Mean over {} repetition(s) of {} folds",
        cohort.patients(),
        cohort.mutants().iter().filter(|m| **m).count(),
        cohort.covariates().join(", "),
        config.repeats,
        config.folds,
    );
    use Metric::*;
    let metrics = [Auroc, Auprc, Accuracy, Sensitivity, Specificity, Brier, CalibrationError];
    ScoreTable::new(caption).metrics(metrics).emphasise(names::PREVALENCE).of(scores, GliomaCohort::TASK).note(
        "Positive class: IDH mutation. Ranks are compared within folds; 95 % bootstrap intervals, the same resamples for every \
         model.",
    )
}

/// What the table shows, whichever way it went.
fn verdict(scores: &Scores) -> String {
    let row = |name: &str| scores.row(name, GliomaCohort::TASK);
    let auroc = |name: &str| row(name).and_then(|r| r.first()).map_or(f64::NAN, |e| e.value);
    let graphs = [TableVariant::Inductive, TableVariant::Transductive].map(|variant| {
        let behind = row(variant.name()).and_then(|r| r.behind);
        let how = match behind.and_then(|lead| lead.side_of(0.0)) {
            Some(Ordering::Greater) => "ranks worse than",
            Some(Ordering::Less) => "ranks better than",
            _ => "is not shown to differ from",
        };
        let lead =
            behind.map_or_else(String::new, |lead| format!("; the lead of logistic regression is {lead}"));
        let (name, value, base) = (variant.name(), auroc(variant.name()), auroc(LOGISTIC));
        format!("{name}: AUROC {value:.3} {how} logistic regression ({base:.3}){lead}.")
    });
    let [graph, alone, shuffled] =
        [TableVariant::Inductive, TableVariant::NoEdges, TableVariant::ShuffledEdges]
            .map(|v| auroc(v.name()));
    format!(
        "{} Without edges the same network has {alone:.3}, with shuffled edges {shuffled:.3}: the graph itself is worth \
         {:+.3} and {:+.3}.",
        graphs.join(" "),
        graph - alone,
        graph - shuffled
    )
}

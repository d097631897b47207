//! The rows of the paper's tables on one cohort and the same folds, beside what the paper states.

use crate::baselines::COX;
use crate::cli::{Args, RunConfig};
use crate::{cohort_files, encoded};
use anyhow::{bail, ensure};
use oncograph_core::Seed;
use oncograph_report::{Banner, Cell, RESEARCH_ONLY, Report, ReportTable};
use oncograph_spatiotemporal::{
    CrlmSource, EarlyFusion, PaperRow, PaperTable, Published, RowModel, STG_TASKS, StgCohort, StgSystem,
    StgSystemConfig, audit_tables, constant_rows, parameter_ratios,
};
use oncograph_study::cli::{StudyProgress, command_line, device, workers};
use oncograph_study::{
    Constant, CoxRidge, Estimate, Metric, ScoreOptions, Scores, Study, StudyResults, learning_curve,
};
use oncograph_train::{RunDir, StopFlag};

/// Prints what the paper's rows allow, what a constant reaches on the cohort, if one is given, and which networks have the
/// published ratio of parameters.
pub fn audit(args: &Args) -> anyhow::Result<()> {
    println!("{}", audit_tables().to_text());
    let config = RunConfig::from_args(args)?;
    match &config.source {
        CrlmSource::Phantom(_) => println!("The best constants: give the clinical table with --data.\n"),
        CrlmSource::Folder { .. } => {
            let cohort = StgCohort::new(&cohort_files(args, &config)?, &config.system.images(false))?;
            println!("{}", constant_rows(cohort.outcomes())?.to_text());
        }
    }
    let header = ["Full model", "Parameters", "Decoupled model", "Parameters", "Share", "Saved"];
    let table = ReportTable::new("\"78.55 % fewer parameters\": the nearest pairs of widths", header);
    let table = parameter_ratios().into_iter().fold(table, |table, r| {
        let share = |v: f64| Cell::text(format!("{:.2} %", 100.0 * v));
        table.row([
            Cell::text(r.full),
            Cell::count(r.parameters[0]),
            Cell::text(r.decoupled),
            Cell::count(r.parameters[1]),
            share(r.ratio),
            share(1.0 - r.ratio),
        ])
    });
    println!("{}", table.note("Without backbones and clinical layer, widths in powers of two.").to_text());
    Ok(())
}

/// Runs the rows of a table and writes the report.
pub fn run(
    args: &Args,
    config: &RunConfig,
    which: PaperTable,
    run: &RunDir,
    stop: &StopFlag,
) -> anyhow::Result<()> {
    let cohort = StgCohort::new(&cohort_files(args, config)?, &config.system)?;
    cohort.notes().iter().for_each(|note| eprintln!("{note}"));
    if !cohort.has_images() {
        bail!("--table compares what is made of images, and this cohort has none");
    }
    let rows = which.rows();
    let (results, cohort) = results(args, config, &rows, &cohort, run, stop)?;
    let scores = results.score(&cohort, &ScoreOptions::default())?;
    scores.write_metrics(&run.file("metrics.csv"))?;
    results.write_predictions(&cohort, &run.file("predictions.csv"))?;
    let phantom = cohort.phantom();
    for task in STG_TASKS {
        println!("{}", table(which, &rows, &scores, task, phantom).to_text());
    }
    report(config, which, &rows, &cohort, (&results, &scores)).write(run.file("report.html"))?;
    println!("{RESEARCH_ONLY}\nreport: {}", run.file("report.html").display());
    Ok(())
}

/// The results of all rows, and of the constant and a Cox model on the covariates. Rows of one encoder are one study; the
/// splits of all are the same. With them the patients whose images could be used.
fn results(
    args: &Args,
    config: &RunConfig,
    rows: &[PaperRow],
    cohort: &StgCohort,
    run: &RunDir,
    stop: &StopFlag,
) -> anyhow::Result<(StudyResults, StgCohort)> {
    let (system, seed) = (&config.system, Seed::new(config.seed));
    let mut groups: Vec<(StgSystemConfig, Vec<(&'static str, RowModel)>)> = vec![];
    for row in rows {
        let model = row.model(system);
        let (RowModel::Stg(own) | RowModel::EarlyFusion(own)) = &model;
        match groups.iter_mut().find(|(other, _)| other.encoder == own.encoder) {
            Some((_, members)) => members.push((row.name, model)),
            None => groups.push((own.clone(), vec![(row.name, model)])),
        }
    }
    let jobs = (rows.len() + 2) * system.split_count();
    let progress = StudyProgress::new(jobs, system.fit.epochs);
    let mut all: Option<(StudyResults, StgCohort)> = None;
    for (at, (own, members)) in groups.into_iter().enumerate() {
        let cohort = encoded(args, config, cohort.clone().with_config(&own), stop)?;
        let folder = RunDir::open(&run.folder(&format!("encoder_{}", at + 1))?)?;
        let systems = members.into_iter().map(|(name, model)| {
            Ok((
                name,
                match model {
                    RowModel::Stg(config) => Network::Stg(StgSystem::new(config)),
                    RowModel::EarlyFusion(config) => {
                        Network::Early(EarlyFusion::read(&config, &cohort, workers(), stop)?)
                    }
                },
            ))
        });
        let systems = systems.collect::<anyhow::Result<Vec<_>>>()?;
        let study = Study::new(&cohort, &folder)
            .plan(system.plan(&cohort, seed)?)
            .settings(system)?
            .inner(system.validation)
            .seed(seed)
            .device(device(&config.device)?)
            .stop(stop)
            .workers(workers())
            .on_progress(|p| progress.update(p));
        let mut study = systems.iter().fold(study, |study, (name, system)| match system {
            Network::Stg(system) => study.model(*name, system),
            Network::Early(system) => study.model(*name, system),
        });
        if at == 0 {
            let clinical = cohort.clinical().columns().iter().cloned();
            study =
                study.baseline(CoxRidge::by_inner_folds().named(COX).columns(clinical)).baseline(Constant);
        }
        let results = study.run()?;
        drop(study);
        match &mut all {
            None => all = Some((results, cohort.clone())),
            Some((all, _)) => {
                ensure!(all.splits() == results.splits(), "the rows of a table have other splits");
                all.extend(results.jobs().iter().cloned());
            }
        }
    }
    progress.finish();
    all.ok_or_else(|| anyhow::anyhow!("the table has no row"))
}

/// What is trained for a row.
enum Network {
    Stg(StgSystem),
    Early(EarlyFusion),
}

/// Ours beside the published, row by row.
fn table(which: PaperTable, rows: &[PaperRow], scores: &Scores, task: &str, phantom: bool) -> ReportTable {
    let caption = format!(
        "Table {}, {}: {}. Ours on {}, with 95 % intervals, beside what the paper states",
        which.number(),
        which.title().to_lowercase(),
        crate::names::endpoint(task).to_lowercase(),
        if phantom { "phantom patients" } else { "this cohort" },
    );
    let header =
        ["Row", "C-index", "Over repetitions", "TAA", "published", "MSE", "published", "MAE", "published"];
    let others = scores.of_task(task).filter(|s| rows.iter().all(|r| r.name != s.model));
    let others = others.map(|s| (s.model.as_str(), None));
    let own = rows.iter().map(|r| (r.name, r.published));
    let mut table = own.chain(others).fold(ReportTable::new(caption, header), |table, (name, published)| {
        let Some(row) = scores.row(name, task) else { return table };
        let estimate = |metric| match row.metric(metric) {
            Some(Estimate { value, low, high }) => Cell::interval(value, low, high, 3),
            None => Cell::missing("undefined"),
        };
        let stated = |of: fn(&Published) -> [f64; 3], at: usize| match &published {
            Some(p) => Cell::number(of(p)[at], 4),
            None => Cell::missing("not published"),
        };
        let numbers: fn(&Published) -> [f64; 3] = match task == STG_TASKS[0] {
            true => |p| [p.recurrence.adjacent, p.recurrence.squared, p.recurrence.absolute],
            false => |p| [p.survival.adjacent, p.survival.squared, p.survival.absolute],
        };
        let least = row.over_repeats.iter().copied().fold(f64::INFINITY, f64::min);
        let most = row.over_repeats.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let cells = [
            Cell::text(name),
            estimate(Metric::CIndex),
            Cell::text(format!("{least:.3} to {most:.3}")),
            estimate(Metric::Adjacent),
            stated(numbers, 0),
            estimate(Metric::SquaredError),
            stated(numbers, 1),
            estimate(Metric::AbsoluteError),
            stated(numbers, 2),
        ];
        if name == "constant" { table.emphasised_row(cells) } else { table.row(cells) }
    });
    for row in rows {
        table = table.note(format!("{}: {}", row.name, row.caveat));
    }
    table.note(
        "The paper scores one test set of 38 to 40 patients and has no C-index; ours holds every patient out once in each \
         repetition, and each repetition draws folds and starting weights anew. Years², years.",
    )
}

fn report(
    config: &RunConfig,
    which: PaperTable,
    rows: &[PaperRow],
    cohort: &StgCohort,
    (results, scores): (&StudyResults, &Scores),
) -> Report {
    let mut report = Report::new(format!("STG, table {}: {}", which.number(), which.title()));
    if cohort.phantom() {
        report = report.banner(Banner::Phantom(
            "Every image, covariate and outcome here was generated: the rows can be compared with each other, not with \
             the paper's."
                .into(),
        ));
    }
    let (system, [recurrences, deaths]) = (&config.system, cohort.events());
    let facts = [
        ("Patients", format!("{}; {recurrences} recurrences, {deaths} deaths", cohort.len())),
        ("Command", command_line("stg_crlm")),
        ("Seed", config.seed.to_string()),
        ("Preset", format!("{:?}", system.preset).to_lowercase()),
        ("Version", format!("oncograph {}", config.version)),
        ("Held out", system.held_out_words()),
    ];
    report = report.banner(Banner::Notice(RESEARCH_ONLY.into())).facts(&facts);
    for task in STG_TASKS {
        report = report.section(crate::names::endpoint(task), |s| {
            s.table(table(which, rows, scores, task, cohort.phantom()));
        });
    }
    report.section("Training", |s| {
        for row in rows {
            s.figure_or_reason(row.name, learning_curve(results, row.name).map(|f| f.titled(row.name)));
        }
    })
}

//! The report of a run, as one HTML file and as tables on the terminal.

use crate::cli::RunConfig;
use crate::{PERMUTED, STG, WITHOUT_IMAGES};
use oncograph_datasets::scaler::ScalerKind;
use oncograph_report::chart::{LearningCurve, learning_curves, scatter};
use oncograph_report::{Banner, Figure, ModelCard, RESEARCH_ONLY, Report, ReportTable, Section};
use oncograph_spatiotemporal::{
    CrlmSource, STG_TASKS, StgCohort, missing_nodes, missing_structures, occlusions, slices_with_masks,
};
use oncograph_study::cli::command_line;
use oncograph_study::{
    Answer, Cohort, Metric, ScoreOptions, ScoreRow, ScoreTable, Scores, StudyResults, learning_curve,
    risk_tertiles,
};
use std::path::Path;

/// Patients whose slices are shown.
const SHOWN: usize = 3;

/// Resamples where many rows are scored.
const FEWER: usize = 200;

/// What a task is called on a page.
pub fn endpoint(task: &str) -> &str {
    match task {
        "recurrence" => "Time to recurrence",
        "survival" => "Overall survival",
        other => other,
    }
}

/// The scores of one task, the constant predictor emphasised.
fn table(scores: &Scores, task: &str) -> ReportTable {
    use Metric::{AbsoluteError, Adjacent, CIndex, SquaredError};
    let caption = format!(
        "{}: held-out predictions, each repetition by itself, 95 % bootstrap intervals",
        endpoint(task)
    );
    let table = ScoreTable::new(caption).metrics([CIndex, Adjacent, SquaredError, AbsoluteError]);
    table.of(scores, task).note(
        "The C-index compares patients of one fold only. TAA: share predicted within 2 years, censored patients as \
         if observed, as in the paper. The constant row takes, per metric, the best constant of each fold's training \
         patients.",
    )
}

/// The AUC at three years, and the other readings of time-adjacent accuracy.
fn further(scores: &Scores, task: &str) -> ReportTable {
    use Metric::{AdjacentCensoringAware, AdjacentEvents, AucAt3Years};
    let metrics = [AucAt3Years, AdjacentEvents, AdjacentCensoringAware];
    let table =
        ScoreTable::new(format!("{}: further metrics", endpoint(task))).metrics(metrics).without_lead();
    table.of(scores, task).note(
        "The AUC compares patients of one fold only. TAA of events alone, and with a censored patient counted as right \
         unless predicted more than 2 years too early.",
    )
}

pub fn print(scores: &Scores, cohort: &StgCohort) {
    for task in STG_TASKS {
        println!("{}", table(scores, task).to_text());
    }
    if cohort.phantom() {
        println!("PHANTOM data: generated patients; the numbers say nothing about real ones.");
    }
    println!("{RESEARCH_ONLY}");
}

pub fn write(
    path: &Path,
    config: &RunConfig,
    cohort: &StgCohort,
    (results, scores): (&StudyResults, &Scores),
    card: &ModelCard,
) -> anyhow::Result<()> {
    let main = scores.reference.as_str();
    let mut report =
        Report::new("STG: recurrence and survival after resection of colorectal liver metastases");
    if cohort.phantom() {
        report = report.banner(Banner::Phantom(
            "Every image, covariate and outcome here was generated. The numbers say whether the program works, \
             nothing about patients."
                .into(),
        ));
    }
    report = report.banner(Banner::Notice(RESEARCH_ONLY.into())).facts(&facts(config, cohort));
    report = report.section("Data", |s| data(s, config, cohort)).section("Results", |s| {
        for task in STG_TASKS {
            s.table(table(scores, task));
            s.table(further(scores, task));
        }
        s.paragraph(verdict(scores));
    });
    for task in STG_TASKS {
        report = report.section(format!("Risk groups: {}", endpoint(task)), |s| {
            s.figure_or_reason("Kaplan-Meier by risk tertile", risk_tertiles(results, cohort, main, task));
            s.figure_or_reason(
                "Predicted against observed",
                predicted_and_observed(results, cohort, main, task),
            );
        });
    }
    report = report.section("Training", |s| {
        s.figure_or_reason("Learning curves", learning_curve(results, main));
    });
    if cohort.has_images() {
        let lost = missing_nodes(results, main)?.score(cohort, &ScoreOptions::default().replicates(FEWER))?;
        let occluded =
            occlusions(results, main)?.score(cohort, &ScoreOptions::default().replicates(FEWER))?;
        report = report.section("Missing inputs", |s| {
            missing_inputs(s, &lost, &occluded);
        });
    }
    if cohort.has_images() {
        report = report.section("What the network sees", |s| {
            s.figure_or_reason("Slices with masks", slices(cohort));
        });
    }
    Ok(report.model_card(card).write(path)?)
}

fn facts(config: &RunConfig, cohort: &StgCohort) -> Vec<(&'static str, String)> {
    let source = match &config.source {
        CrlmSource::Phantom(p) => format!("phantom cohort, seed {}", p.seed),
        CrlmSource::Folder { root, .. } => {
            root.file_name().map_or_else(|| root.display().to_string(), |n| n.to_string_lossy().into_owned())
        }
    };
    let system = &config.system;
    let backbone = match &system.encoder.weights {
        Some(path) => path.display().to_string(),
        None => "r3d_18 with random weights drawn from the seed, frozen".into(),
    };
    vec![
        ("Data", source),
        ("Patients", cohort.len().to_string()),
        ("Command", command_line("stg_crlm")),
        ("Seed", config.seed.to_string()),
        ("Preset", format!("{:?}", system.preset).to_lowercase()),
        ("Version", format!("oncograph {}", config.version)),
        ("Backbone", backbone),
        ("Cross-validation", format!("{} folds, {} repetition(s)", system.folds, system.repeats)),
    ]
}

fn data(section: &mut Section, config: &RunConfig, cohort: &StgCohort) {
    let [recurrences, deaths] = cohort.events();
    let scaled = match config.system.clinical_scaling.scaler {
        ScalerKind::MinMax => "by training ranges",
        ScalerKind::ZScore => "as z-scores",
        _ => "in no way",
    };
    let numbers = match cohort.has_images() && config.system.mask_numbers {
        true => "; the network is given the numbers of the masks beside them",
        false => "",
    };
    let kind = if cohort.phantom() { "phantom (generated)" } else { "real" };
    section.paragraph(format!(
        "{} {kind} patients; {recurrences} recurrences and {deaths} deaths. {} clinical covariates ({:?}), imputed with \
         the training median and a flag, scaled {scaled} for every row of the tables alike{numbers}. Scalers are fitted on \
         each fold's training patients only.",
        cohort.len(),
        cohort.clinical().width(),
        config.system.features,
    ));
    for note in cohort.notes() {
        section.paragraph(note);
    }
    if let Some(images) = cohort.images() {
        section.table(missing_structures(images));
    }
}

/// In words, what the tables show, whichever way it went.
fn verdict(scores: &Scores) -> String {
    let mut sentences = vec![];
    for task in STG_TASKS {
        let Some(constant) = scores.row("constant", task) else { continue };
        for model in [STG, WITHOUT_IMAGES] {
            let Some(row) = scores.row(model, task) else { continue };
            let own = |metric| row.metric(metric).map(|m| m.value);
            let Some(c) = row.first() else { continue };
            let better = scores.of_task(task).filter(|r| r.model != model && r.model != PERMUTED);
            let better = better.filter(|r| r.first().is_some_and(|other| other.value > c.value));
            let better: Vec<&str> = better.map(|r| r.model.as_str()).collect();
            let mut sentence = format!(
                "{}, {model}: {} chance in ranking; {}",
                endpoint(task),
                if c.low > 0.5 { "better than" } else { "not shown to be better than" },
                match better.as_slice() {
                    [] => "no other row ranks better".to_string(),
                    names => format!("ranked better by {}", names.join("; ")),
                }
            );
            if let (Some(error), Some(best)) =
                (own(Metric::AbsoluteError), constant.metric(Metric::AbsoluteError))
            {
                let below = if error < best.value { "below" } else { "not below" };
                sentence += &format!(
                    "; its absolute error is {below} the constant's ({error:.2} against {:.2} years)",
                    best.value
                );
            }
            sentences.push(sentence + ".");
        }
    }
    sentences.join(" ")
}

/// The predicted times of the first repetition against those observed.
fn predicted_and_observed(
    results: &StudyResults,
    cohort: &StgCohort,
    model: &str,
    task: &str,
) -> anyhow::Result<Figure> {
    let index = usize::from(task == STG_TASKS[1]);
    let held = results.held(model, &cohort.tasks()[index]);
    let (mut predicted, mut time, mut event) = (vec![], vec![], vec![]);
    for (held, outcome) in held.first().into_iter().flatten().zip(cohort.outcomes()) {
        if let Some(Answer::Survival { years: Some(years), .. }) = held.as_ref().map(|h| &h.answer) {
            predicted.push(*years);
            time.push(outcome[index].in_years());
            event.push(outcome[index].event());
        }
    }
    Ok(scatter(&predicted, &time, &event, "years")?)
}

/// What remains of the scores when nodes are missing at random, and when one input is.
fn missing_inputs(section: &mut Section, lost: &Scores, occluded: &Scores) {
    use Metric::{AbsoluteError, Adjacent, CIndex, SquaredError};
    section.paragraph(
        "Nothing is trained anew: the models of the tables above are asked again with a part of the held-out patients' inputs \
         missing. Nodes are removed with their edges; covariates count as unknown.",
    );
    section.figure_or_reason("Anatomical nodes missing at random", robustness(lost));
    for task in STG_TASKS {
        let caption = format!("{}: anatomical nodes missing at random", endpoint(task));
        let table = ScoreTable::new(caption).metrics([CIndex, Adjacent, SquaredError, AbsoluteError]);
        section.table(table.of(lost, task).note(
            "Five draws of each share; intervals hold the noise of draws, patients and repetitions. A structure that was not \
             segmented is missing in every row.",
        ));
    }
    for task in STG_TASKS {
        let caption = format!("{}: one input missing", endpoint(task));
        let table = ScoreTable::new(caption).metrics([CIndex, AbsoluteError]);
        section.table(
            table
                .of(occluded, task)
                .note("How far the model with all inputs is ahead is what it makes of that input."),
        );
    }
}

fn robustness(lost: &Scores) -> oncograph_report::Result<Figure> {
    let curve = |task: &str| {
        let value = |r: &ScoreRow| r.first().map(|c| c.value);
        let points = lost.of_task(task).filter_map(value).enumerate();
        LearningCurve::new(endpoint(task), points.map(|(step, c)| (10.0 * step as f64, c)).collect())
    };
    learning_curves(&STG_TASKS.map(curve), "anatomical nodes removed (%)", "C-index within folds")
}

fn slices(cohort: &StgCohort) -> anyhow::Result<Figure> {
    let shown = (0..cohort.len().min(SHOWN)).map(|i| Ok((cohort.ids()[i].clone(), cohort.prepare(i)?)));
    Ok(slices_with_masks(&shown.collect::<anyhow::Result<Vec<_>>>()?)?)
}

//! The report of a run, as one HTML file and as tables on the terminal.

use crate::baselines::COX;
use crate::cli::RunConfig;
use crate::{PERMUTED, STG, WITHOUT_IMAGES, explanation, names};
use names::endpoint;
use oncograph_datasets::scaler::ScalerKind;
use oncograph_report::chart::{LearningCurve, learning_curves, scatter};
use oncograph_report::{Banner, Figure, ModelCard, RESEARCH_ONLY, Report, ReportTable, Section};
use oncograph_spatiotemporal::{
    CrlmSource, STG_TASKS, StgCohort, missing_nodes, missing_structures, occlusions, slices_with_masks,
};
use oncograph_study::cli::command_line;
use oncograph_study::{
    Answer, Cohort, Grouping, LeakageAudit, Metric, ScoreOptions, ScoreRow, ScoreTable, Scores, StudyResults,
    decision_curves, learning_curve, risk_tertiles, subgroup_table, survival_calibration_plot,
};
use std::cmp::Ordering;
use std::path::Path;

/// Patients whose slices are shown.
const SHOWN: usize = 3;
/// Columns of the table by which patients are grouped.
const GROUPED: [&str; 3] = ["sex", "chemo_before_liver_resection", "synchronous_crlm"];
/// Years at which treatment by a prediction is weighed.
const DECISIONS: [usize; 2] = [3, 5];

/// Resamples where many rows are scored.
const FEWER: usize = 200;

/// What a run found.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    pub results: &'a StudyResults,
    pub scores: &'a Scores,
    pub audit: &'a LeakageAudit,
}

fn scored(task: &str, what: &str, metrics: &[Metric]) -> ScoreTable {
    ScoreTable::new(format!("{}: {what}", endpoint(task)))
        .metrics(metrics.iter().copied())
        .names(names::MODELS)
}

/// The scores of one task, the constant predictor emphasised.
fn table(scores: &Scores, task: &str) -> ReportTable {
    use Metric::{AbsoluteError, Adjacent, CIndex, SquaredError};
    let what = "held-out predictions, each repetition by itself, 95 % bootstrap intervals";
    scored(task, what, &[CIndex, Adjacent, SquaredError, AbsoluteError]).of(scores, task).note(
        "The C-index compares patients of one fold only. TAA: share predicted within 2 years, censored patients as \
         if observed, as in the paper. The constant row takes, per metric, the best constant of each fold's training \
         patients.",
    )
}

/// Ranking corrected for censoring and at fixed times.
fn ranking(scores: &Scores, task: &str) -> ReportTable {
    use Metric::{AucAt1Year, AucAt3Years, AucAt5Years, IpcwCIndex};
    let metrics = [IpcwCIndex, AucAt1Year, AucAt3Years, AucAt5Years];
    scored(task, "ranking, corrected for censoring", &metrics).without_lead().of(scores, task).note(
        "All compare patients of one fold only. AUC: who has the event by that time against who is followed for longer. \
         Weights are estimated on the patients that the fold did not hold out.",
    )
}

/// Predicted times, with and without censored patients.
fn times(scores: &Scores, task: &str) -> ReportTable {
    use Metric::{AbsoluteErrorEvents, AdjacentCensoringAware, AdjacentEvents, SquaredErrorEvents};
    let metrics = [AdjacentEvents, AdjacentCensoringAware, SquaredErrorEvents, AbsoluteErrorEvents];
    scored(task, "predicted times", &metrics).without_lead().of(scores, task).note(
        "Columns named events are over the patients who had it. Censoring-aware TAA is over all, and counts a censored \
         patient as right unless predicted more than 2 years too early.",
    )
}

/// Predicted survival.
fn probabilities(scores: &Scores, task: &str) -> ReportTable {
    use Metric::{BrierAt3Years, CalibrationSlopeAt3Years, IntegratedBrier};
    let metrics = [BrierAt3Years, IntegratedBrier, CalibrationSlopeAt3Years];
    scored(task, "predicted survival", &metrics).without_lead().of(scores, task).note(
        "Brier scores are corrected for censoring; smaller is better, and the constant row is the Kaplan-Meier curve of the \
         training patients. The integral is over years 1 to 5. A slope below 1: predictions are too extreme. A dash: the \
         model gives no survival curve.",
    )
}

pub fn print(found: Found<'_>, cohort: &StgCohort) {
    for task in STG_TASKS {
        println!("{}", table(found.scores, task).to_text());
    }
    found.results.unfitted().iter().for_each(|sentence| println!("{sentence}"));
    for failed in found.audit.checks.iter().filter(|c| !c.passed) {
        println!("LEAKAGE: {}: {}", failed.check, failed.found);
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
    found: Found<'_>,
    card: &ModelCard,
) -> anyhow::Result<()> {
    let Found { results, scores, audit } = found;
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
        }
        verdict(scores).into_iter().chain(results.unfitted()).for_each(|sentence| {
            s.paragraph(sentence);
        });
    });
    if let Some(words) = config.chosen_words() {
        report = report.try_section("Choice of the configuration", |s| choice(s, &words, results))?;
    }
    report = report.section("Further metrics", |s| {
        for task in STG_TASKS {
            s.table(ranking(scores, task)).table(times(scores, task)).table(probabilities(scores, task));
        }
    });
    report = report.try_section("Subgroups", |s| subgroups(s, cohort, found))?;
    for task in STG_TASKS {
        report = report.section(endpoint(task), |s| {
            s.columns(|s| {
                figures(s, (results, cohort), main, task);
                explanation::trajectories(s, (results, cohort), main, task);
            });
            s.paragraph(explanation::STEPS);
        });
    }
    report = report.section("Training", |s| {
        s.figure_or_reason("Learning curves", learning_curve(results, main));
    });
    report = report
        .try_section("What the risk depends on", |s| explanation::attributions(s, config, results, main))?;
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
    report = report.section("Leakage audit", |s| {
        s.table(audit.table());
    });
    Ok(report.model_card(card).write(path)?)
}

/// Which configurations were chosen, where there was a choice.
fn choice(section: &mut Section, words: &str, results: &StudyResults) -> anyhow::Result<()> {
    section.paragraph(format!("Trained in each fold: {words}."));
    for model in [STG, WITHOUT_IMAGES] {
        if let Some(table) = results.selection_table(model, names::model(model))? {
            section.table(table);
        }
    }
    Ok(())
}

/// The figures of one task.
fn figures(section: &mut Section, (results, cohort): (&StudyResults, &StgCohort), main: &str, task: &str) {
    let name = names::model(main);
    section.figure_or_reason(
        "Kaplan-Meier by risk tertile",
        risk_tertiles(results, cohort, main, task)
            .map(|f| f.titled(format!("Kaplan-Meier curves by tertile of the held-out risk of {name}"))),
    );
    section.figure_or_reason(
        "Calibration at 3 years",
        survival_calibration_plot(results, cohort, main, task)
            .map(|f| f.titled(format!("Calibration of {name} at 3 years, by quintile"))),
    );
    let forest = "random survival forest";
    for years in DECISIONS {
        let models = [(main, name), (COX, COX), (forest, forest)];
        let figure = decision_curves(results, cohort, &models, (task, years))
            .map(|f| f.titled(format!("Decision curves, event within {years} years")));
        section.figure_or_reason("Decision curves", figure);
    }
    section.figure_or_reason(
        "Predicted against observed",
        predicted_and_observed(results, cohort, main, task).map(|f| f.titled("Predicted against observed")),
    );
}

/// The main model's ranking by sex, chemotherapy and time of the metastases.
fn subgroups(section: &mut Section, cohort: &StgCohort, found: Found<'_>) -> anyhow::Result<()> {
    let (main, table) = (found.scores.reference.as_str(), cohort.clinical());
    let grouping = |column: &&str| {
        let place = table.column(column)?;
        let levels = table.rows().map(|row| Some(names::level(column, row[place]?))).collect();
        Some(Grouping { name: names::covariate(column), levels })
    };
    let groupings: Vec<Grouping> = GROUPED.iter().filter_map(grouping).collect();
    let mut tables = vec![];
    for task in STG_TASKS {
        let options = ScoreOptions::default();
        let scores = found.results.subgroups(cohort, (main, task), &groupings, &options)?;
        tables.push(subgroup_table(format!("{}: {}", endpoint(task), names::model(main)), &scores));
    }
    section.columns(|s| {
        tables.into_iter().for_each(|table| {
            s.table(table);
        });
    });
    section.paragraph(
        "Pairs of patients of one fold and one subgroup, 95 % bootstrap intervals. Small subgroups have few pairs: an interval \
         that holds 0.5, or another subgroup's value, shows no difference.",
    );
    Ok(())
}

fn facts(config: &RunConfig, cohort: &StgCohort) -> Vec<(&'static str, String)> {
    let source = match &config.source {
        CrlmSource::Phantom(p) => format!("phantom cohort, seed {}", p.seed),
        CrlmSource::Folder { root, .. } => {
            root.file_name().map_or_else(|| root.display().to_string(), |n| n.to_string_lossy().into_owned())
        }
    };
    let system = &config.system;
    vec![
        ("Data", source),
        ("Patients", cohort.len().to_string()),
        ("Command", command_line("stg_crlm")),
        ("Seed", config.seed.to_string()),
        ("Preset", format!("{:?}", system.preset).to_lowercase()),
        ("Version", format!("oncograph {}", config.version)),
        ("Backbone", system.encoder.to_string()),
        ("Held out", system.held_out_words()),
    ]
}

fn data(section: &mut Section, config: &RunConfig, cohort: &StgCohort) {
    let [recurrences, deaths] = cohort.events();
    let scaled = match config.system.clinical_scaling.scaler {
        ScalerKind::MinMax => "by training ranges",
        ScalerKind::ZScore => "as z-scores",
        _ => "in no way",
    };
    let numbers = match (config.system.mask_numbers, config.system.intensities) {
        _ if !cohort.has_images() => "",
        (true, true) => {
            "; with images the network is given the numbers of the masks and each structure's mean and deviation in HU beside them"
        }
        (true, false) => "; with images the network is given the numbers of the masks beside them",
        (false, true) => {
            "; with images the network is given each structure's mean and deviation in HU beside them"
        }
        (false, false) => "",
    };
    let kind = if cohort.phantom() { "phantom (generated)" } else { "real" };
    let columns: Vec<String> = cohort.clinical().columns().iter().map(|c| names::covariate(c)).collect();
    section.paragraph(format!(
        "{} {kind} patients; {recurrences} recurrences and {deaths} deaths. {} {} ({}), imputed with the training median and \
         a flag, scaled {scaled} for every row of the tables alike{numbers}. Scalers are fitted on each fold's training \
         patients only.",
        cohort.len(),
        cohort.clinical().width(),
        names::covariates(config.system.features),
        columns.join(", "),
    ));
    for note in cohort.notes() {
        section.paragraph(note);
    }
    if let Some(images) = cohort.images() {
        section.table(missing_structures(images));
    }
}

/// In words, what the tables show, whichever way it went.
fn verdict(scores: &Scores) -> Vec<String> {
    let mut sentences = vec![];
    for task in STG_TASKS {
        let Some(constant) = scores.row("constant", task) else { continue };
        for model in [STG, WITHOUT_IMAGES] {
            let Some(row) = scores.row(model, task) else { continue };
            let Some(c) = row.first() else { continue };
            let mut sentence = format!(
                "{}, {}: {} chance in ranking{}",
                endpoint(task),
                names::model(model),
                if c.side_of(0.5) == Some(Ordering::Greater) {
                    "better than"
                } else {
                    "not shown to be better than"
                },
                compared(scores, row, task),
            );
            let error = |row: &ScoreRow| row.metric(Metric::AbsoluteError);
            if let (Some(own), Some(best)) = (error(row), error(constant)) {
                sentence += &format!("; its absolute error in years is {own}, that of the constant {best}");
            }
            sentences.push(sentence + ".");
        }
    }
    sentences
}

/// How a model ranks beside others, by the paired intervals of the table: the main one beside every other row, any other beside
/// the main one. A difference whose interval holds 0 is called none.
fn compared(scores: &Scores, row: &ScoreRow, task: &str) -> String {
    let reference = scores.reference.as_str();
    let others = || scores.of_task(task).filter(|r| r.model != PERMUTED && r.model != reference);
    let named =
        |rows: Vec<&ScoreRow>| rows.iter().map(|r| names::model(&r.model)).collect::<Vec<_>>().join("; ");
    if row.model != reference {
        let name = names::model(reference);
        return match row.behind.and_then(|d| d.side_of(0.0)) {
            Some(Ordering::Greater) => format!("; ranked better by {name}"),
            Some(_) => format!("; ranks better than {name}"),
            None => format!("; not told apart from {name}"),
        };
    }
    let behind = |r: &&ScoreRow| r.behind.and_then(|d| d.side_of(0.0)) == Some(Ordering::Less);
    let better: Vec<&ScoreRow> = others().filter(behind).collect();
    let level =
        others().filter(|r| r.behind.is_some_and(|d| d.value < 0.0) && !behind(r)).collect::<Vec<_>>();
    let better = match better.is_empty() {
        true => "; no other row is shown to rank better".to_owned(),
        false => format!("; ranked better by {}", named(better)),
    };
    match level.is_empty() {
        true => better,
        false => format!("{better}; ahead of it by less than chance may give: {}", named(level)),
    }
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

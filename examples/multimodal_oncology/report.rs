//! The report of a run, as one HTML file.

use crate::baselines::{CONSTANT, FOREST, LINEAR};
use crate::cohort::Cohort;
use crate::config::RunConfig;
use crate::evaluate::{Estimate, Evaluation, Row};
use crate::explain::Findings;
use crate::explanation;
use crate::folds::FoldResult;
use crate::variants::{ATTENTION, FULL, LATE, SHUFFLED};
use oncograph::core::FollowUp;
use oncograph::metrics::MulticlassConfusion;
use oncograph::omics::{Target, TaskKind};
use oncograph::report::chart::{Bar, LearningCurve, SurvivalGroup, bars, kaplan_meier, learning_curves};
use oncograph::report::{Banner, Cell, Figure, ModelCard, Report, ReportTable};
use std::collections::BTreeMap;

pub const RESEARCH: &str =
    "For research only. Not a medical device; not validated for any clinical decision.";

fn cell(estimate: &Estimate) -> Cell {
    Cell::interval(estimate.value, estimate.low, estimate.high, 3)
}

/// One table per task, the constant predictor emphasised.
pub fn tables(cohort: &Cohort, evaluation: &Evaluation) -> Vec<ReportTable> {
    let kind = if cohort.phantom { "PHANTOM data; " } else { "" };
    let table = |task: &str| {
        let rows: Vec<&Row> = evaluation.rows.iter().filter(|r| r.task == task).collect();
        let metrics: Vec<&str> = rows.first().map_or(vec![], |r| r.metrics.iter().map(|m| m.0).collect());
        let header = ["Model", "Parameters"].into_iter().chain(metrics).chain(["Network ahead"]);
        let patients = rows.iter().map(|r| r.patients).max().unwrap_or(0);
        let caption = format!(
            "{task}: {kind}{patients} patients, out of fold; means over repetitions, each scored by itself, with 95 % \
             intervals over patients; by how much the graph network is ahead in the first metric"
        );
        rows.iter().fold(ReportTable::new(caption, header), |table, r| {
            let parameters =
                if r.parameters == 0 { Cell::missing("no network") } else { Cell::count(r.parameters) };
            let cells = [Cell::text(r.model.clone()), parameters];
            let numbers =
                r.metrics.iter().map(|(_, e)| e.as_ref().map_or_else(|| Cell::missing("undefined"), cell));
            let ahead = r.behind.as_ref().map_or_else(|| Cell::text(""), cell);
            let cells: Vec<Cell> = cells.into_iter().chain(numbers).chain([ahead]).collect();
            if r.model == CONSTANT { table.emphasised_row(cells) } else { table.row(cells) }
        })
    };
    cohort.tasks.iter().map(|t| table(&t.name)).collect()
}

#[allow(clippy::too_many_arguments)] // each is a thing of its own, given once
pub fn write(
    path: &std::path::Path,
    config: &RunConfig,
    cohort: &Cohort,
    evaluation: &Evaluation,
    results: &[FoldResult],
    findings: &Findings,
    command: &str,
) -> anyhow::Result<()> {
    let mut report = Report::new(format!("Multi-modal graph network: {}", cohort.name));
    if cohort.phantom {
        report = report.banner(Banner::Phantom(
            "Every value and outcome here was generated. The numbers say whether the program works, nothing about \
             patients."
                .into(),
        ));
    }
    report = report.banner(Banner::Notice(RESEARCH.into())).facts(&[
        ("Data", cohort.name.clone()),
        ("Patients", cohort.len().to_string()),
        ("Command", command.to_string()),
        ("Seed", config.seed.to_string()),
        ("Preset", format!("{:?}", config.preset).to_lowercase()),
        ("Version", format!("oncograph {}", config.version)),
        ("Cross-validation", format!("{} folds, {} repetition(s)", config.folds, config.repeats)),
    ]);
    report = report.section("Data", |s| {
        s.paragraph(
            "Columns are selected by variance, imputed and scaled on the training patients of each fold alone. A patient \
             that lacks a table lacks its nodes: nothing is filled in.",
        );
        for note in &cohort.data.notes {
            s.paragraph(note.clone());
        }
        let table = ReportTable::new("Tables", ["Table", "Columns", "Patients"]);
        s.table(cohort.data.tables.iter().fold(table, |t, (name, (features, rows))| {
            let here = rows.iter().flatten().count();
            t.row([Cell::text(name.clone()), Cell::count(features.len()), Cell::count(here)])
        }));
    });
    report = report.section("Results", |s| {
        tables(cohort, evaluation).into_iter().for_each(|t| {
            s.table(t);
        });
        s.paragraph(verdict(cohort, evaluation));
        s.table(published());
    });
    for task in &cohort.tasks {
        match (&cohort.targets[&task.name], task.kind) {
            (Target::Survival(_), _) => {
                report = report.section("Risk groups", |s| {
                    let figure = tertiles(cohort, evaluation, &task.name);
                    s.figure_or_reason("Kaplan-Meier by risk tertile", figure);
                });
            }
            (Target::Class(_), TaskKind::Classes(n)) => {
                if let Some(table) = confusion(cohort, evaluation, &task.name, n) {
                    report = report.section(format!("Confusion: {}", task.name), |s| {
                        s.table(table);
                    });
                }
            }
            _ => {}
        }
    }
    report = report.section("Importance of modalities", |s| {
        let shares: Vec<Bar> = findings.importance.iter().map(|(n, v, _)| Bar::new(n.clone(), *v)).collect();
        let figure = bars(&shares, "mean share of attention among patients that have the modality");
        s.figure_or_reason("Importance", figure);
        s.paragraph(
            "Attention says what the network looked at, not what it needed; the grid below says the latter.",
        );
        if !evaluation.grid.is_empty() {
            s.table(grid(cohort, evaluation));
        }
    });
    report = explanation::section(report, cohort, findings);
    report = federation(report, results);
    report = report.section("Training", |s| {
        s.figure_or_reason("Learning curves", curves(results));
    });
    let main = evaluation.rows.iter().filter(|r| r.model == FULL);
    let performance = main.filter_map(|r| {
        let (name, e) = r.metrics.first()?;
        let e = e.as_ref()?;
        Some(format!("{} {name} {:.3} ({:.3} to {:.3})", r.task, e.value, e.low, e.high))
    });
    let card = ModelCard::new("MultimodalNet", format!("Research on multi-modal prognosis. {RESEARCH}"))
        .version(format!("oncograph {}", config.version))
        .data(if cohort.phantom { "Phantom cohort.".into() } else { cohort.name.clone() })
        .sample_size(format!("{} patients", cohort.len()))
        .missing_data("Median of the training patients within a table; an absent table is absent nodes.")
        .method(format!("{:?}", config.net))
        .validation(format!(
            "{}-fold cross-validation, {} repetition(s); no external data.",
            config.folds, config.repeats
        ))
        .performance(performance.collect::<Vec<_>>().join("; "))
        .limitations("No external validation. Out-of-fold probabilities of several models are ranked together; risks within a fold.");
    Ok(report.model_card(&card).write(path)?)
}

/// In words, what the tables say, whichever way it went.
fn verdict(cohort: &Cohort, evaluation: &Evaluation) -> String {
    let mut sentences = vec![];
    for task in &cohort.tasks {
        let row = |model: &str| evaluation.rows.iter().find(|r| r.task == task.name && r.model == model);
        let Some(metric) = row(FULL).and_then(|r| Some(r.metrics.first()?.0)) else { continue };
        for other in [SHUFFLED, LATE, ATTENTION, LINEAR, FOREST] {
            let Some(d) = row(other).and_then(|r| r.behind) else { continue };
            let word = match (d.low > 0.0, d.high < 0.0) {
                (true, _) => "above",
                (_, true) => "below",
                _ => "not distinguishable from",
            };
            sentences.push(format!(
                "{}: the graph network's {metric} is {word} that of {other} (difference {:.3}, {:.3} to {:.3}).",
                task.name, d.value, d.low, d.high
            ));
        }
    }
    sentences.join(" ")
}

/// What a federation cost, where there was one.
fn federation(report: Report, results: &[FoldResult]) -> Report {
    let mut names: Vec<&str> = results.iter().filter(|r| r.sent > 0).map(|r| r.model.as_str()).collect();
    names.dedup();
    if names.is_empty() {
        return report;
    }
    let table = ReportTable::new("Per fold, means over folds", ["Model", "Rounds", "Best round", "MB sent"]);
    let table = names.into_iter().fold(table, |table, name| {
        let of: Vec<&FoldResult> = results.iter().filter(|r| r.model == name).collect();
        let mean = |f: fn(&FoldResult) -> f64| of.iter().map(|r| f(r)).sum::<f64>() / of.len() as f64;
        table.row([
            Cell::text(name),
            Cell::number(mean(|r| r.history.len() as f64), 1),
            Cell::number(mean(|r| r.best_epoch as f64 + 1.0), 1),
            Cell::number(mean(|r| r.sent as f64) / 1e6, 1),
        ])
    });
    report.section("Federation", |s| {
        s.paragraph(
            "Centres train in turns; only parameters move, there and back in each round, until the last. Simulated on one \
             machine, without encryption or noise. The graph network of the tables above is the one with pooled patients.",
        );
        s.table(table);
    })
}

/// Section 7's rows, which nobody can check.
fn published() -> ReportTable {
    let table = ReportTable::new(
        "The article's table, on 2,847 patients that are not released: reference only, not reproducible",
        ["Method", "C-index", "Response accuracy", "Toxicity AUROC"],
    );
    let rows = [
        ("clinical only", 0.62, 0.713, 0.68),
        ("genomics only", 0.68, 0.741, 0.72),
        ("imaging only", 0.65, 0.698, 0.66),
        ("late fusion", 0.71, 0.765, 0.75),
        ("attention fusion", 0.74, 0.782, 0.78),
        ("full GNN", 0.79, 0.824, 0.83),
    ];
    rows.iter().fold(table, |t, (name, c, a, auc)| {
        t.row([Cell::text(*name), Cell::number(*c, 2), Cell::number(*a, 3), Cell::number(*auc, 2)])
    })
}

/// Kaplan-Meier curves of patients by thirds of predicted risk, each among those of its fold: risks of different models
/// have no common zero.
fn tertiles(cohort: &Cohort, evaluation: &Evaluation, task: &str) -> anyhow::Result<Figure> {
    let Some(Target::Survival(truth)) = cohort.targets.get(task) else { anyhow::bail!("there are no times") };
    let Some(model) = evaluation.model(FULL) else { anyhow::bail!("there is no model") };
    let mut folds: BTreeMap<usize, Vec<(f64, FollowUp)>> = BTreeMap::new();
    for (held, outcome) in model.outputs[task][0].iter().zip(truth) {
        if let (Some(held), Some(outcome)) = (held, outcome) {
            folds.entry(held.fold).or_default().push((held.output[0], *outcome));
        }
    }
    let mut groups: [(Vec<f64>, Vec<bool>); 3] = Default::default();
    for mut fold in folds.into_values() {
        fold.sort_by(|a, b| a.0.total_cmp(&b.0));
        let n = fold.len();
        for (i, (_, follow_up)) in fold.into_iter().enumerate() {
            let group = &mut groups[3 * i / n];
            group.0.push(follow_up.in_years());
            group.1.push(follow_up.event());
        }
    }
    let named: Vec<_> = ["low risk", "middle", "high risk"]
        .into_iter()
        .zip(&groups)
        .map(|(name, (time, event))| SurvivalGroup::new(name, time, event))
        .collect();
    Ok(kaplan_meier(&named, "years", 0.95)?.titled("Survival by tertile of out-of-fold risk"))
}

fn confusion(cohort: &Cohort, evaluation: &Evaluation, task: &str, classes: usize) -> Option<ReportTable> {
    let Target::Class(truth) = &cohort.targets[task] else { return None };
    let outputs = &evaluation.model(FULL)?.outputs[task][0];
    let (mut actual, mut called) = (vec![], vec![]);
    for (t, held) in truth.iter().zip(outputs) {
        if let (Some(t), Some(held)) = (t, held) {
            actual.push(*t);
            called.push((0..classes).max_by(|&a, &b| held.output[a].total_cmp(&held.output[b]))?);
        }
    }
    MulticlassConfusion::new(&actual, &called, classes).ok()?;
    let names = cohort.class_names(task);
    let header = std::iter::once("Truth".to_string()).chain(names.iter().map(|n| format!("called {n}")));
    let table = ReportTable::new(format!("{task}: out-of-fold calls of the graph network"), header);
    Some((0..classes).fold(table, |t, a| {
        let count = |c: usize| actual.iter().zip(&called).filter(|(x, y)| **x == a && **y == c).count();
        let cells = (0..classes).map(|c| Cell::count(count(c)));
        t.row(std::iter::once(Cell::text(names[a].clone())).chain(cells).collect::<Vec<_>>())
    }))
}

fn grid(cohort: &Cohort, evaluation: &Evaluation) -> ReportTable {
    let header = std::iter::once("Modalities that are there".to_string())
        .chain(cohort.tasks.iter().map(|t| t.name.clone()));
    let caption =
        "The one network, when modalities are missing: the first metric of each task (first repetition)";
    evaluation.grid.iter().fold(ReportTable::new(caption, header), |t, (names, values)| {
        let cells = values.iter().map(|(_, v)| Cell::number_or(*v, 3, "undefined"));
        t.row(std::iter::once(Cell::text(names.join(" + "))).chain(cells).collect::<Vec<_>>())
    })
}

fn curves(results: &[FoldResult]) -> oncograph::report::Result<Figure> {
    let shown = results.iter().filter(|r| r.repeat == 0 && r.model == FULL);
    let line = |result: &FoldResult| {
        let points = result.history.iter().map(|e| (e.epoch as f64 + 1.0, e.score)).collect();
        LearningCurve::new(format!("fold {}", result.fold + 1), points)
            .colour(result.fold)
            .mark(result.best_epoch as f64 + 1.0)
    };
    let series: Vec<LearningCurve> = shown.map(line).collect();
    learning_curves(&series, "Epoch", "Validation loss")
}

//! The report of a run, as one HTML file.

use crate::baselines::CONSTANT;
use crate::cohort::Cohort;
use crate::config::RunConfig;
use crate::evaluate::{Estimate, Evaluation, Row};
use crate::explain::Findings;
use crate::folds::{FULL, FoldResult, LATE, SHUFFLED};
use oncograph::deploy::chart::{Bar, Series, SurvivalGroup, bars, kaplan_meier, learning_curves};
use oncograph::deploy::{Banner, Cell, Figure, ModelCard, Report, Table};
use oncograph::metrics::MulticlassConfusion;
use oncograph::omics::{Target, TaskKind};

pub const RESEARCH: &str =
    "For research only. Not a medical device; not validated for any clinical decision.";

fn cell(estimate: &Estimate) -> Cell {
    Cell::interval(estimate.value, estimate.low, estimate.high, 3)
}

/// One table per task, the constant predictor emphasised.
pub fn tables(cohort: &Cohort, evaluation: &Evaluation) -> Vec<Table> {
    let kind = if cohort.phantom { "PHANTOM data; " } else { "" };
    let table = |task: &str| {
        let rows: Vec<&Row> = evaluation.rows.iter().filter(|r| r.task == task).collect();
        let metrics: Vec<&str> = rows.first().map_or(vec![], |r| r.metrics.iter().map(|m| m.0).collect());
        let header = ["Model", "Patients", "Parameters"].into_iter().chain(metrics);
        let caption = format!("{task}: {kind}out-of-fold predictions, 95 % bootstrap intervals");
        rows.iter().fold(Table::new(caption, header), |table, r| {
            let parameters =
                if r.parameters == 0 { Cell::missing("no network") } else { Cell::count(r.parameters) };
            let cells = [Cell::text(r.model.clone()), Cell::count(r.patients), parameters];
            let numbers =
                r.metrics.iter().map(|(_, e)| e.as_ref().map_or_else(|| Cell::missing("undefined"), cell));
            let cells: Vec<Cell> = cells.into_iter().chain(numbers).collect();
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
        let table = Table::new("Tables", ["Table", "Columns", "Patients"]);
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
    report = explanation(report, cohort, findings);
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
        .limitations("No external validation. Out-of-fold risks of several models are ranked together.");
    Ok(report.model_card(&card).write(path)?)
}

fn explanation(report: Report, cohort: &Cohort, findings: &Findings) -> Report {
    let task = cohort.tasks.first().map_or("", |t| t.name.as_str());
    report.section("Genes and sets", |s| {
        for (node_type, genes) in &findings.genes {
            let caption = format!("{node_type}: mean magnitude of the gradient of {task} over held-out patients, top 20");
            let table = genes.iter().take(20).enumerate().fold(Table::new(caption, ["Rank", "Name", "Gradient"]), |t, (i, (name, v))| {
                t.row([Cell::count(i + 1), Cell::text(name.clone()), Cell::number(*v, 5)])
            });
            s.table(match findings.stability.get(node_type) {
                None => table,
                Some(st) => table.note(format!(
                    "Between folds: Kendall's tau {:.2}; the top lists share {:.0} % (by chance {:.0} %).",
                    st.kendall,
                    100.0 * st.top_overlap,
                    100.0 * st.chance
                )),
            });
        }
        for (name, found) in &findings.enrichment {
            let table = Table::new(
                format!("{name}: over-representation among the top tenth (at least 20), background: what was measured"),
                ["Set", "Genes", "Of", "Fold", "p", "FDR"],
            );
            let table = found.iter().take(15).fold(table, |t, e| {
                t.row([
                    Cell::text(e.name.clone()),
                    Cell::count(e.genes.len()),
                    Cell::count(e.size),
                    Cell::number(e.fold, 1),
                    Cell::p_value(e.p_value),
                    Cell::p_value(e.q_value),
                ])
            });
            s.table(table.note("Sets of 3 to 500 measured genes with a hit count as tests."));
            let strongest: Vec<Bar> =
                found.iter().take(10).map(|e| Bar::new(e.name.clone(), -e.p_value.max(1e-300).log10())).collect();
            if !strongest.is_empty() {
                s.figure_or_reason(name, bars(&strongest, "-log10 p"));
            }
        }
    })
}

/// In words, what the tables say, whichever way it went.
fn verdict(cohort: &Cohort, evaluation: &Evaluation) -> String {
    let mut sentences = vec![];
    for task in &cohort.tasks {
        let first = |model: &str| {
            let row = evaluation.rows.iter().find(|r| r.task == task.name && r.model == model)?;
            let (name, e) = row.metrics.first()?;
            Some((*name, (*e)?))
        };
        let Some((metric, full)) = first(FULL) else { continue };
        for other in
            [SHUFFLED, LATE, crate::folds::ATTENTION, crate::baselines::LINEAR, crate::baselines::FOREST]
        {
            if let Some((_, e)) = first(other) {
                let word = if full.value > e.high {
                    "above the interval of"
                } else if full.value < e.low {
                    "below the interval of"
                } else {
                    "not distinguishable from"
                };
                sentences.push(format!(
                    "{}: the graph network's {metric} {:.3} is {word} {other} ({:.3}).",
                    task.name, full.value, e.value
                ));
            }
        }
    }
    sentences.join(" ")
}

/// Section 7's rows, which nobody can check.
fn published() -> Table {
    let table = Table::new(
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

/// Kaplan-Meier curves of patients by thirds of predicted risk.
fn tertiles(cohort: &Cohort, evaluation: &Evaluation, task: &str) -> anyhow::Result<Figure> {
    let Some(Target::Survival(truth)) = cohort.targets.get(task) else { anyhow::bail!("there are no times") };
    let Some(model) = evaluation.model(FULL) else { anyhow::bail!("there is no model") };
    let mut known: Vec<(f64, f64, bool)> = (0..cohort.len())
        .filter_map(|p| Some((model.outputs[task][p].as_ref()?[0], truth[p]?.0, truth[p]?.1)))
        .collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n = known.len();
    let group =
        |r: std::ops::Range<usize>| -> (Vec<f64>, Vec<bool>) { known[r].iter().map(|k| (k.1, k.2)).unzip() };
    let groups = [group(0..n / 3), group(n / 3..2 * n / 3), group(2 * n / 3..n)];
    let named: Vec<_> = ["low risk", "middle", "high risk"]
        .into_iter()
        .zip(&groups)
        .map(|(name, (time, event))| SurvivalGroup::new(name, time, event))
        .collect();
    Ok(kaplan_meier(&named, "years", 0.95)?.titled("Survival by tertile of out-of-fold risk"))
}

fn confusion(cohort: &Cohort, evaluation: &Evaluation, task: &str, classes: usize) -> Option<Table> {
    let Target::Class(truth) = &cohort.targets[task] else { return None };
    let outputs = &evaluation.model(FULL)?.outputs[task];
    let (mut actual, mut called) = (vec![], vec![]);
    for (t, out) in truth.iter().zip(outputs) {
        if let (Some(t), Some(out)) = (t, out) {
            actual.push(*t);
            called.push((0..classes).max_by(|&a, &b| out[a].total_cmp(&out[b]))?);
        }
    }
    MulticlassConfusion::new(&actual, &called, classes).ok()?;
    let fallback = ["none", "partial", "complete"].map(String::from).to_vec();
    let names = cohort.data.classes.get(task).cloned().unwrap_or(fallback);
    let header = std::iter::once("Truth".to_string()).chain(names.iter().map(|n| format!("called {n}")));
    let table = Table::new(format!("{task}: out-of-fold calls of the graph network"), header);
    Some((0..classes).fold(table, |t, a| {
        let count = |c: usize| actual.iter().zip(&called).filter(|(x, y)| **x == a && **y == c).count();
        let cells = (0..classes).map(|c| Cell::count(count(c)));
        t.row(std::iter::once(Cell::text(names[a].clone())).chain(cells).collect::<Vec<_>>())
    }))
}

fn grid(cohort: &Cohort, evaluation: &Evaluation) -> Table {
    let header = std::iter::once("Modalities that are there".to_string())
        .chain(cohort.tasks.iter().map(|t| t.name.clone()));
    let caption =
        "The one network, when modalities are missing: the first metric of each task (first repetition)";
    evaluation.grid.iter().fold(Table::new(caption, header), |t, (names, values)| {
        let cells = values.iter().map(|(_, v)| Cell::number_or(*v, 3, "undefined"));
        t.row(std::iter::once(Cell::text(names.join(" + "))).chain(cells).collect::<Vec<_>>())
    })
}

fn curves(results: &[FoldResult]) -> oncograph::deploy::Result<Figure> {
    let shown = results.iter().filter(|r| r.repeat == 0 && r.model == FULL);
    let line = |result: &FoldResult| {
        let points = result.history.iter().map(|e| (e.epoch as f64 + 1.0, e.score)).collect();
        Series::new(format!("fold {}", result.fold + 1), points)
            .colour(result.fold)
            .mark(result.best_epoch as f64 + 1.0)
    };
    let series: Vec<Series> = shown.map(line).collect();
    learning_curves(&series, "Epoch", "Validation loss")
}

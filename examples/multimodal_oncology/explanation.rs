//! The report's part on columns and the gene sets that they belong to.

use oncograph_explain::{Enriched, Prerank, RankStability};
use oncograph_omics::{OmicsFindings, OmicsStudyCohort};
use oncograph_report::chart::{Bar, bars, enrichment};
use oncograph_report::{Cell, Report, ReportTable, Section};
use oncograph_study::Cohort;

/// Genes, proteins and sets.
pub fn section(report: Report, cohort: &OmicsStudyCohort, findings: &OmicsFindings) -> Report {
    let task = cohort.tasks().first().map_or("", |t| t.name.as_str());
    report.section("Genes and sets", |s| {
        s.paragraph(format!(
            "How much of {task} each covariate (patient) and each value accounts for: integrated gradients from a patient with the \
             training patients' mean in all of them, their mean magnitude over held-out patients."
        ));
        for (table, ranking) in &findings.ranking {
            s.table(ranked(table, ranking, findings.stability.get(table)));
        }
        for (name, found) in &findings.enrichment {
            over_represented(s, name, found);
        }
        for (name, found) in &findings.preranked {
            preranked(s, name, found);
        }
    })
}

/// The best columns of a table.
fn ranked(table: &str, ranking: &[(String, f64)], stability: Option<&RankStability>) -> ReportTable {
    let empty = ReportTable::new(format!("{table}: top 20"), ["Rank", "Name", "Share"]);
    let shown = ranking.iter().take(20).enumerate().fold(empty, |t, (i, (name, v))| {
        t.row([Cell::count(i + 1), Cell::text(name.clone()), Cell::number(*v, 5)])
    });
    let Some(stability) = stability else { return shown };
    shown.note(format!(
        "Between folds: Kendall's tau {:.2}; the top lists share {:.0} % (by chance {:.0} %).",
        stability.kendall,
        100.0 * stability.top_overlap,
        100.0 * stability.chance
    ))
}

/// Sets that the best genes belong to more than by chance.
fn over_represented(s: &mut Section, name: &str, found: &[Enriched]) {
    let table = ReportTable::new(
        format!(
            "{name}: over-representation among the top tenth (at least 20), background: what was measured"
        ),
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

/// Where the sets lie in the whole ranking.
fn preranked(s: &mut Section, name: &str, found: &Prerank) {
    let caption =
        format!("{name}: sets in the ranking of all that was measured (GSEA prerank, 1000 permutations)");
    let header = ["Set", "Ranked", "ES", "NES", "p", "FDR", "Leading edge"];
    let p = |v: Option<f64>| v.map_or_else(|| Cell::missing("undefined"), Cell::p_value);
    let table = found.sets.iter().take(10).fold(ReportTable::new(caption, header), |t, e| {
        t.row([
            Cell::text(e.name.clone()),
            Cell::count(e.size),
            Cell::number(e.es, 2),
            Cell::number_or(e.nes, 2, "undefined"),
            p(e.p_value),
            p(e.fdr),
            Cell::text(e.leading_edge.iter().take(6).cloned().collect::<Vec<_>>().join(" ")),
        ])
    });
    s.table(table.note("Sets of 8 to 500 ranked genes; p of 0 is below 1 in 1000."));
    if let Some(first) = found.sets.first() {
        s.figure_or_reason(name, enrichment(&found.running_sum(first), &first.hits, &first.name));
    }
}

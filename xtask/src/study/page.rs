//! The text of a block, and its place in the page.

use super::list::{Block, Column, Table};
use super::metrics::Metrics;
use super::{Run, Time};
use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::ops::Range;

/// Where in the page the block's text is: between its two markers.
pub fn place(page: &str, name: &str) -> Result<Range<usize>> {
    let (first, last) = (format!("<!-- study: {name} -->"), format!("<!-- end: {name} -->"));
    let start = page.find(&first).with_context(|| format!("docs/results.md has no line {first}"))?;
    let end = page.find(&last).with_context(|| format!("docs/results.md has no line {last}"))?;
    ensure!(page.matches(&first).count() == 1, "docs/results.md has {first} twice");
    ensure!(start < end, "docs/results.md has {last} before {first}");
    Ok(start + first.len()..end)
}

/// The commands, tables and claims of a block, and whether every claim held.
pub fn block(block: &Block, runs: &[Run]) -> Result<(String, bool)> {
    let mut text = String::new();
    for run in runs {
        let time = run.time.map_or_else(String::new, |Time { cpu, wall }| {
            let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
            format!(", {cpu:.0} CPU seconds, {wall:.0} s on {threads} threads")
        });
        let _ = writeln!(text, "`{}` ({}{time})  ", run.command, run.date);
    }
    for shown in block.tables {
        let _ = write!(text, "\n**{}**\n\n", shown.caption);
        text.push_str(&table(shown, runs)?);
    }
    let mut all_hold = true;
    if !block.claims.is_empty() {
        let of =
            if block.seeds.is_empty() { "each run, with the figures of each in turn" } else { "these runs" };
        let _ = write!(text, "\nWhat is claimed of {of}:\n\n");
    }
    for claim in block.claims {
        let (holds, figures) = claim.of_runs(runs);
        let verdict = if holds { "holds" } else { "**does not hold**" };
        let _ = writeln!(text, "- {}: {verdict} ({})", claim.text(), figures.join("; "));
        all_hold &= holds;
    }
    Ok((text, all_hold))
}

fn table(table: &Table, runs: &[Run]) -> Result<String> {
    let labelled = runs.len() > 1;
    let mut header: Vec<String> = if labelled { vec!["run".into()] } else { vec![] };
    header.push("model".into());
    let tasks = table.columns.iter().filter_map(|c| match c {
        Column::Metric(task, _) | Column::Lead(task) => Some(*task),
        Column::Parameters => None,
    });
    let several = tasks.collect::<std::collections::BTreeSet<_>>().len() > 1;
    header.extend(table.columns.iter().map(|column| match column {
        Column::Metric(task, metric) if several => format!("{task}, {metric}"),
        Column::Metric(_, metric) => metric.to_string(),
        Column::Lead(_) => "behind".into(),
        Column::Parameters => "parameters".into(),
    }));
    let mut text = format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(header.len()));
    for seeds in runs.chunk_by(|a, b| a.seed.is_some() && a.label == b.label) {
        let (run, of_seeds) = (&seeds[0], seeds.iter().map(|r| &r.metrics[table.part]).collect::<Vec<_>>());
        let metrics = of_seeds[0];
        let models = metrics.models();
        for wanted in table.models {
            ensure!(models.contains(wanted), "no model {wanted}");
        }
        for model in models.iter().filter(|m| table.models.is_empty() || table.models.contains(m)) {
            let mut cells = if labelled { vec![format!("`{}`", run.label)] } else { vec![] };
            let trivial = ["constant", "prevalence"].contains(model);
            // A vector's name, `<u^T,u^B>`, would be read as a tag.
            let name = model.replace('<', "&lt;").replace('|', "&#124;");
            cells.push(if trivial { format!("**{name}**") } else { name });
            cells.extend(table.columns.iter().map(|column| match of_seeds.as_slice() {
                [one] => cell(one, model, column),
                several => over_seeds(several, model, column),
            }));
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
    }
    Ok(text)
}

fn cell(metrics: &Metrics, model: &str, column: &Column) -> String {
    let digits = |v: f64| if v.abs() >= 2.0 { 2 } else { 3 };
    match column {
        Column::Parameters => match metrics.parameters(model) {
            0 => String::new(),
            n => grouped(n),
        },
        Column::Metric(task, metric) => {
            let Some(line) = metrics.line(model, task, metric) else { return String::new() };
            let Some(value) = line.value else { return String::new() };
            let d = digits(value);
            match (line.low, line.high) {
                (Some(low), Some(high)) => interval(value, low, high, d),
                _ => fixed(value, d),
            }
        }
        Column::Lead(task) => {
            let Some(line) = metrics.main(model, task) else { return String::new() };
            match (line.behind, line.behind_low, line.behind_high) {
                (Some(value), Some(low), Some(high)) => interval(value, low, high, 3),
                (Some(value), ..) => fixed(value, 3),
                _ => String::new(),
            }
        }
    }
}

/// The mean over seeds, the smallest and the largest value.
fn over_seeds(runs: &[&Metrics], model: &str, column: &Column) -> String {
    let Column::Metric(task, metric) = column else { return String::new() };
    let values: Vec<f64> = runs.iter().filter_map(|m| m.value(model, task, metric).ok()).collect();
    if values.len() < runs.len() {
        return String::new();
    }
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    interval(values.iter().sum::<f64>() / values.len() as f64, low, high, 3)
}

/// `0.701 (0.650 to 0.752)`.
fn interval(value: f64, low: f64, high: f64, digits: usize) -> String {
    format!("{} ({} to {})", fixed(value, digits), fixed(low, digits), fixed(high, digits))
}

/// A number with as many digits, without the sign of a zero.
fn fixed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let zero = text.trim_start_matches('-').chars().all(|c| matches!(c, '0' | '.'));
    if zero { text.trim_start_matches('-').into() } else { text }
}

/// `12,345`.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_between_its_markers() {
        let page = "a\n<!-- study: x -->\nold\n<!-- end: x -->\nb";
        let place = place(page, "x").unwrap();
        assert_eq!(&page[place], "\nold\n");
        assert!(super::place(page, "y").is_err());
        assert!(super::place("<!-- end: x --> <!-- study: x -->", "x").is_err());
    }

    #[test]
    fn a_zero_has_no_sign() {
        assert_eq!(interval(-0.009, -0.019, -0.0001, 3), "-0.009 (-0.019 to 0.000)");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([7, 999, 1000, 12_345, 1_234_567].map(grouped).join(" "), "7 999 1,000 12,345 1,234,567");
    }
}

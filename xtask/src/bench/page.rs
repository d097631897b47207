//! The page that the measurements become.

use super::list::{Row, SECTIONS};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;

/// The processor, its cores and the system's load, as one line.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let name = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split_once(": "));
    let wide = if info.contains(" avx512f") { ", AVX-512" } else { "" };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{} ({cores} cores{wide})", name.map_or("an unnamed processor", |(_, n)| n.trim()))
}

/// A number, or NaN.
pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn sorted(side: &Value, key: &str) -> Vec<f64> {
    let mut values: Vec<f64> = side[key].as_array().into_iter().flatten().map(number).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The median of a side's runs.
pub fn median(side: &Value, key: &str) -> f64 {
    let values = sorted(side, key);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => 0.5 * (values[n / 2 - 1] + values[n / 2]),
    }
}

/// `0.123 (0.120 to 0.130)`.
pub fn spread(side: &Value) -> String {
    let values = sorted(side, "wall");
    let show = |v: f64| match v {
        v if v >= 1.0 => format!("{v:.2} s"),
        v if v >= 0.01 => format!("{:.0} ms", v * 1e3),
        v => format!("{:.2} ms", v * 1e3),
    };
    match (values.first(), values.last()) {
        (Some(&least), Some(&most)) => {
            format!("{} ({} to {})", show(median(side, "wall")), show(least), show(most))
        }
        _ => "-".into(),
    }
}

/// The peer with the least median.
fn fastest(peers: &Value) -> Option<(&String, &Value)> {
    let all = peers.as_object()?.iter();
    all.min_by(|a, b| median(a.1, "wall").total_cmp(&median(b.1, "wall")))
}

/// The page.
pub fn write(measured: &[(&Row, Value)], notes: &str) -> String {
    let mut machines = BTreeSet::new();
    let mut versions = BTreeSet::new();
    for (_, all) in measured {
        machines.extend(all["machine"].as_str());
        for peer in all["peers"].as_object().into_iter().flat_map(|p| p.values()) {
            versions.extend(peer["version"].as_str());
        }
    }
    let list = |set: BTreeSet<&str>| set.into_iter().collect::<Vec<_>>().join(", ");
    let mut page = format!(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench --peers PYTHON`, which gives the same inputs and parameters to both sides, each case \
         in a separate process, ours first and its peers directly after. Times are wall seconds, the median of at least \
         five runs with the least and the most in brackets, two threads on both sides. The ratio is our median by that of \
         the fastest peer; memory is the peak of the process, which for the peer includes Python and its libraries; the \
         difference is the largest between the two results by the largest of the peer's.\n\n\
         Machine: {}. Peers: {}.\n",
        list(machines),
        list(versions)
    );
    for (key, title, note) in SECTIONS {
        let rows: Vec<_> =
            measured.iter().filter(|(row, _)| row.case.split('/').next() == Some(key)).collect();
        if rows.is_empty() {
            continue;
        }
        let space = if note.is_empty() { "" } else { "\n\n" };
        let _ = write!(
            page,
            "\n## {title}\n\n{note}{space}| work | ours | fastest peer | ratio | target | memory, MB | difference |\n\
             |---|---|---|---|---|---|---|\n"
        );
        for (row, all) in rows {
            page.push_str(&line(row, all));
        }
    }
    page.push('\n');
    page.push_str(&others(measured));
    page.push('\n');
    page.push_str(notes);
    page
}

fn line(row: &Row, all: &Value) -> String {
    let ours = &all["ours"];
    let target = row.target.map_or("-".into(), |t| format!("{t}"));
    let memory = number(&ours["peak_mb"]);
    match fastest(&all["peers"]) {
        Some((name, peer)) => {
            let ratio = median(ours, "wall") / median(peer, "wall");
            let met = row.target.is_some_and(|t| ratio <= t);
            let ratio = if met { format!("**{ratio:.2}**") } else { format!("{ratio:.2}") };
            format!(
                "| {} | {} | {name} {} | {ratio} | {target} | {memory:.0} / {:.0} | {:.0e} |\n",
                row.work,
                spread(ours),
                spread(peer),
                number(&peer["peak_mb"]),
                number(&peer["error"])
            )
        }
        None => format!("| {} | {} | - | - | {target} | {memory:.0} / - | - |\n", row.work, spread(ours)),
    }
}

/// The peers that were not the fastest.
fn others(measured: &[(&Row, Value)]) -> String {
    let mut text =
        "## The other peers\n\n| work | peer | time | ours / peer | memory, MB | difference |\n|---|---|---|---|---|---|\n"
            .to_string();
    for (row, all) in measured {
        let first = fastest(&all["peers"]).map(|(name, _)| name);
        for (name, peer) in all["peers"].as_object().into_iter().flatten() {
            if Some(name) != first {
                let ratio = median(&all["ours"], "wall") / median(peer, "wall");
                let (memory, error) = (number(&peer["peak_mb"]), number(&peer["error"]));
                let _ = writeln!(
                    text,
                    "| {} | {name} | {} | {ratio:.2} | {memory:.0} | {error:.0e} |",
                    row.work,
                    spread(peer)
                );
            }
        }
    }
    text
}

//! The section `On a GPU` of docs/benchmarks.md, between its markers.

use super::part::{Outcome, Pack, State};
use super::plan;
use crate::bench::{median, number, spread};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

const FIRST: &str = "<!-- gpu -->";
const LAST: &str = "<!-- end: gpu -->";

/// Our time by the peer's, at most, by the beginning of the case's name.
const TARGETS: [(&str, &str, f64); 7] = [
    ("encoder/r3d_18", "r3d_18", 1.0),
    ("model/glioma_image", "glioma image encoder", 1.0),
    ("model/stg", "STG", 0.5),
    ("model/omics", "omics", 0.5),
    ("graph/sage", "SAGE", 0.5),
    // GATv2 has none.
    ("graph/gatv2", "", f64::NAN),
    ("graph/gat", "GAT", 0.5),
];

/// Where in the page the section is, without its markers; none where the page has no place for it.
fn place(page: &str) -> Option<Range<usize>> {
    let start = page.find(FIRST)? + FIRST.len();
    let end = start + page[start..].find(LAST)?;
    Some(start..end)
}

/// The section of an older page with its markers, for a page that is written anew; the empty one where there is none.
pub fn kept(old: &str) -> String {
    let text = place(old).map_or_else(|| format!("\n{}", unmeasured()), |range| old[range].to_string());
    format!("{FIRST}{text}{LAST}\n")
}

/// Writes the results into the page; those of the stand-in are only printed.
pub fn table(root: &Path, folder: &Path) -> Result<bool> {
    let results = Results::read(folder)?;
    let text = section(&results);
    if results.pack.stand_in {
        println!("{text}");
        println!("gpu: the results are of the stand-in: docs/benchmarks.md stays as it is");
        return Ok(true);
    }
    let path = root.join("docs/benchmarks.md");
    let page = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let place =
        place(&page).with_context(|| format!("{} has no lines {FIRST} and {LAST}", path.display()))?;
    let page = format!("{}\n{text}{}", &page[..place.start], &page[place.end..]);
    let new = path.with_extension("md.new");
    std::fs::write(&new, page).with_context(|| new.display().to_string())?;
    std::fs::rename(&new, &path).with_context(|| path.display().to_string())?;
    println!("{}", path.display());
    Ok(true)
}

/// The section until something was measured.
fn unmeasured() -> String {
    let named = TARGETS.iter().filter(|(_, name, _)| !name.is_empty());
    let targets: Vec<String> = named.map(|(_, name, most)| format!("{name} {most:.1}")).collect();
    format!(
        "## On a GPU\n\nNot measured yet. Targets, our time by that of PyTorch or PyG on the same GPU, at most: {}.\n",
        targets.join(", ")
    )
}

/// What a run of a pack left.
struct Results {
    pack: Pack,
    parts: Vec<Outcome>,
}

impl Results {
    /// Of `results/`; a part that was not reached has none.
    fn read(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let pack: Pack = serde_json::from_str(&read("pack.json")?)?;
        let mut parts = vec![];
        for part in &pack.parts {
            let name = format!("{}.json", part.name);
            if folder.join(&name).exists() {
                parts.push(serde_json::from_str(&read(&name)?).with_context(|| name.clone())?);
            }
        }
        ensure!(!parts.is_empty(), "{} has no results", folder.display());
        Ok(Results { pack, parts })
    }

    fn part(&self, name: &str) -> Option<&Outcome> {
        self.parts.iter().find(|part| part.name == name)
    }

    fn group<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a Outcome> {
        self.parts.iter().filter(move |part| part.name.starts_with(start))
    }
}

fn section(results: &Results) -> String {
    let mut text = String::from("## On a GPU\n\n");
    text.push_str(&machine(results));
    text.push_str(&verdicts("Tests", "test-", results));
    text.push_str(&examples(results));
    text.push_str(&verdicts("compute-sanitizer", "sanitizer-", results));
    text.push_str(
        "\nTimes are wall seconds from call to an idle GPU, the median with the least and the most in brackets; memory is \
         what the GPU has given away at the end, for the peer what PyTorch has reserved at most. Message passing is one \
         layer with ten edges a node, forward and backward; models and `training` are steps with AdamW.\n\n\
         | work | ours | fastest peer | ratio | target | GPU memory, MB | difference |\n|---|---|---|---|---|---|---|\n",
    );
    for set in &plan::SETS {
        for precision in set.precisions {
            let ending = plan::ending(precision);
            let peers = results.part(&format!("peers-{}{ending}", set.name));
            set.cases.iter().for_each(|case| text.push_str(&row(results, peers, *case, &ending)));
        }
    }
    text.push_str(&by_host(results));
    text
}

/// The machine, the versions and the bandwidth.
fn machine(results: &Results) -> String {
    let Pack { commit, cudnn, stand_in, tiny, .. } = &results.pack;
    let cudnn = if *cudnn { "with" } else { "without" };
    let mut text = format!("Written by `cargo xtask gpu --table` of commit {commit}, {cudnn} cuDNN.");
    if *stand_in || *tiny {
        text.push_str(" **On the stand-in or on tiny inputs: no time here is a measurement.**");
    }
    text.push_str("\n\n");
    for line in results.part("versions").iter().flat_map(|part| part.output.lines()) {
        let _ = writeln!(text, "- {line}");
    }
    let copy = results.part("bench-device_copy").and_then(|part| part.answers.last());
    if let Some((copy, bytes)) = copy.and_then(|copy| Some((copy, copy["bytes"].as_f64()?))) {
        let rate = bytes / median(copy, "wall") * 1e-9;
        let _ =
            writeln!(text, "- memory: {rate:.0} GB/s, read and written, in copies of {:.0} MB", bytes / 2e6);
    }
    text
}

/// How many parts passed, and each that did not.
fn verdicts(title: &str, start: &str, results: &Results) -> String {
    let all: Vec<&Outcome> = results.group(start).collect();
    if all.is_empty() {
        return String::new();
    }
    let passed = all.iter().filter(|part| part.state == State::Passed).count();
    let mut text = format!("\n{title}: {passed} of {} programs passed", all.len());
    for part in all.iter().filter(|part| part.state != State::Passed) {
        let name = part.name.trim_start_matches(start);
        let _ = write!(text, "; {name} {} ({})", part.state.word(), part.reason);
    }
    text.push_str(".\n");
    text
}

/// How far the losses of the examples are from the CPU's.
fn examples(results: &Results) -> String {
    let one = |part: &Outcome| {
        let name = part.name.trim_start_matches("example-");
        let found = part.answers.iter().rev().find(|answer| answer["difference"].is_number());
        match found {
            Some(answer) => format!("{name} {:.0e} ({})", number(&answer["difference"]), part.state.word()),
            None => format!("{name} {} ({})", part.state.word(), part.reason),
        }
    };
    let all: Vec<String> = results.group("example-").map(one).collect();
    if all.is_empty() {
        return String::new();
    }
    format!("\nExamples, largest difference of a loss from the CPU's: {}.\n", all.join(", "))
}

/// The row of a case whose part's name has this ending.
fn row(results: &Results, peers: Option<&Outcome>, (case, work): (&str, &str), ending: &str) -> String {
    let ours = results.part(&format!("bench-{}{ending}", case.replace('/', "_")));
    let Some(ours) = ours else { return String::new() };
    let work = format!("{work}{}", ending.replace('-', ", "));
    let target = TARGETS.iter().find(|(start, ..)| case.starts_with(start)).map(|(.., most)| *most);
    let target = target.filter(|most| !most.is_nan());
    let wanted = target.map_or("-".into(), |most| format!("{most:.1}"));
    let measured = ours.answers.last().filter(|_| ours.state == State::Passed);
    let lines = || peers.into_iter().flat_map(|part| &part.answers).filter(|line| line["case"] == case);
    let fastest = lines()
        .filter(|line| line["wall"].is_array())
        .min_by(|a, b| median(a, "wall").total_cmp(&median(b, "wall")));
    let theirs = match fastest {
        Some(peer) => format!("{} {}", peer["variant"].as_str().unwrap_or("-"), spread(peer)),
        None => lines().find_map(|line| line["failed"].as_str()).map_or_else(|| "-".into(), cell),
    };
    let memory = |side: Option<&Value>| {
        let value = side.and_then(|side| side["device_mb"].as_f64());
        value.map_or("-".into(), |mb| format!("{mb:.0}"))
    };
    let both = measured.zip(fastest);
    let ratio = both.map(|(ours, peer)| median(ours, "wall") / median(peer, "wall"));
    let shown = match ratio {
        Some(ratio) if target.is_some_and(|most| ratio <= most) => format!("**{ratio:.2}**"),
        Some(ratio) => format!("{ratio:.2}"),
        None => "-".into(),
    };
    format!(
        "| {work} | {} | {theirs} | {shown} | {wanted} | {} / {} | {} |\n",
        measured.map_or_else(|| cell(&format!("{} ({})", ours.state.word(), ours.reason)), spread),
        memory(measured),
        memory(fastest),
        both.map_or("-".into(), |(_, peer)| format!("{:.0e}", number(&peer["error"]))),
    )
}

/// A text that fits into a cell of a table.
fn cell(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().replace('|', "/");
    line.chars().take(80).collect()
}

/// Operations without a kernel, by the cases that met them.
fn by_host(results: &Results) -> String {
    let mut text = String::new();
    for part in results.group("bench-") {
        let names = part.answers.last().and_then(|answer| answer["by_host"].as_array());
        let names: Vec<&str> = names.into_iter().flatten().filter_map(Value::as_str).collect();
        if !names.is_empty() {
            let _ = writeln!(text, "\nBy way of the host in {}: {}.", part.name, names.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(name: &str, state: State, answers: Vec<Value>) -> Outcome {
        let (group, reason) = (String::new(), if state == State::Passed { "" } else { "a reason" });
        let output = String::new();
        Outcome {
            name: name.into(),
            group,
            state,
            reason: reason.into(),
            seconds: 1.0,
            limit: 2.0,
            answers,
            output,
        }
    }

    fn results(parts: Vec<Outcome>) -> Results {
        Results { pack: Pack::default(), parts }
    }

    #[test]
    fn a_page_keeps_its_section() {
        let section = kept("# Benchmarks\n");
        assert!(
            section.contains("Not measured yet") && section.contains("SAGE 0.5") && !section.contains("NaN")
        );
        let page = format!("a\n{FIRST}\nmeasured\n{LAST}\nb");
        assert_eq!(kept(&page), format!("{FIRST}\nmeasured\n{LAST}\n"));
        assert_eq!(kept(&kept("")), kept(""));
    }

    #[test]
    fn the_page_of_this_repository_has_a_place() {
        let page = std::fs::read_to_string(crate::root().unwrap().join("docs/benchmarks.md")).unwrap();
        assert!(place(&page).is_some());
    }

    #[test]
    fn a_row_compares_with_the_fastest_peer() {
        let ours = json!({ "wall": [0.01, 0.012, 0.011], "device_mb": 900.0 });
        let peer = |variant: &str, wall: f64| json!({ "case": "graph/sage", "variant": variant, "wall": vec![wall; 3], "error": 2e-7, "device_mb": 500.0 });
        let peers =
            outcome("peers-graphs_1e6", State::TimedOut, vec![peer("PyG", 0.05), peer("PyG CSR", 0.044)]);
        let all = results(vec![outcome("bench-graph_sage", State::Passed, vec![ours]), peers]);
        let row = row(&all, all.part("peers-graphs_1e6"), ("graph/sage", "SAGE"), "");
        assert!(row.contains("PyG CSR 44 ms") && row.contains("**0.25** | 0.5 | 900 / 500 | 2e-7"), "{row}");
    }

    #[test]
    fn what_did_not_end_is_named() {
        let failed = json!({ "case": "graph/gat", "variant": "PyG", "failed": "CUDA out of memory" });
        let peers = outcome("peers-graphs_1e6", State::Passed, vec![failed]);
        let all = results(vec![
            outcome("bench-graph_gat", State::TimedOut, vec![]),
            peers,
            outcome("test-a-lib", State::Passed, vec![]),
            outcome("test-b-lib", State::Failed, vec![]),
            outcome("example-x", State::Passed, vec![json!({ "losses": 4, "difference": 2e-6 })]),
        ]);
        let text = section(&all);
        assert!(
            text.contains(
                "| GAT 64, 1M edges | timed out (a reason) | CUDA out of memory | - | 0.5 | - / - | - |"
            ),
            "{text}"
        );
        assert!(
            text.contains("Tests: 1 of 2 programs passed; b-lib failed (a reason).")
                && text.contains("x 2e-6")
        );
    }

    #[test]
    fn gatv2_has_no_target() {
        let all = results(vec![outcome("bench-graph_gatv2", State::Passed, vec![json!({ "wall": [1.0] })])]);
        assert!(row(&all, None, ("graph/gatv2", "GATv2"), "").contains("| - | - | - |"));
    }
}

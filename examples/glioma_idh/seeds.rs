//! The same run with several seeds: what of a difference between two rows is more than chance of split and training.

use crate::cli::{Args, RunConfig};
use crate::report::PHANTOM;
use oncograph_brain::GliomaCohort;
use oncograph_report::{Banner, RESEARCH_ONLY, Report};
use oncograph_study::cli::command_line;
use oncograph_study::{Metric, Scores, seed_table};
use oncograph_train::{RunDir, StopFlag};

/// The folder with a run for each seed.
pub const FOLDER: &str = "seeds";

/// The file of a run's scores, the last that it writes.
const SCORES: &str = "scores.json";

pub fn run(args: &Args, asked: &RunConfig, count: u8, run: &RunDir, stop: &StopFlag) -> anyhow::Result<()> {
    let (all, first) = (RunDir::open(&run.folder(FOLDER)?)?, asked.system.seed);
    let mut runs: Vec<(u64, Scores)> = vec![];
    for seed in first..first + u64::from(count) {
        let own = RunDir::open(&all.folder(&seed.to_string())?)?;
        let scores = match own.read_json(SCORES)? {
            Some(scores) => scores,
            None => {
                let settings = asked.with_seed(seed);
                own.write_json("config.json", &settings)?;
                let scores = crate::train(args, &settings, &own, stop)?;
                let scores = scores.ok_or_else(|| anyhow::anyhow!("seed {seed}: a run without scores"))?;
                own.write_json(SCORES, &scores)?;
                scores
            }
        };
        runs.push((seed, scores));
    }
    let table = seed_table("AUROC by seed", &runs, GliomaCohort::TASK, Metric::Auroc);
    let phantom = matches!(asked.system.source, oncograph_brain::GliomaSource::Phantom(_));
    println!("{}{}", table.to_text(), if phantom { PHANTOM } else { "" });
    let mut report = Report::new("Glioma: IDH genotype, several seeds");
    if phantom {
        report = report.banner(Banner::Phantom("Every patient behind this page was generated.".into()));
    }
    let pages = runs.iter().map(|(seed, _)| format!("{FOLDER}/{seed}/report.html"));
    report
        .banner(Banner::Notice(RESEARCH_ONLY.into()))
        .facts(&[("Command", command_line(crate::NAME)), ("Version", asked.system.version.clone())])
        .section("Results", |s| {
            s.table(table)
                .paragraph(format!("The page of each run: {}.", pages.collect::<Vec<_>>().join(", ")));
        })
        .write(run.file("report.html"))?;
    println!("{RESEARCH_ONLY}\nreport: {}", run.file("report.html").display());
    Ok(())
}

//! Phantoms in which one signal alone depends on the genotype, and which encoders find it.

use crate::cli::Args;
use crate::report::{PHANTOM, StageBars};
use anyhow::bail;
use oncograph_brain::{
    GliomaCohort, GliomaConfig, GliomaSource, GliomaStages, MlpHead, OnHalfB, RidgeLogistic, names,
    published_variants,
};
use oncograph_core::Seed;
use oncograph_report::{Cell, ReportTable};
use oncograph_study::cli::device;
use oncograph_study::{ScoreOptions, Study};
use oncograph_train::{RunDir, StopFlag};

/// The strength of a signal that is planted alone.
const PLANTED: f64 = 1.5;
const SIGNALS: [&str; 4] = ["shape", "texture", "tract", "none"];
const ENCODERS: [&str; 5] = ["f^I", "f^P", "f^B", "f^B+f^P", "full"];

pub fn run(args: &Args, stop: &StopFlag) -> anyhow::Result<()> {
    let config = args.config()?.system;
    let header = std::iter::once("Signal").chain(ENCODERS).chain([names::AGE_AND_SEX]);
    let caption = "AUROC on the test patients by planted signal and encoders, MLP head";
    let mut found = ReportTable::new(caption, header);
    let run = RunDir::create(&args.study.out.join("glioma_planted"))?;
    for signal in SIGNALS {
        let run = RunDir::open(&run.folder(signal)?)?;
        found = found.row(row(args, config.clone(), signal, &run, stop)?);
    }
    println!("{}\n{PHANTOM}\nmetrics: {}", found.to_text(), run.path().display());
    Ok(())
}

/// The AUROC of every encoder where one signal is planted.
fn row(
    args: &Args,
    mut config: GliomaConfig,
    signal: &str,
    run: &RunDir,
    stop: &StopFlag,
) -> anyhow::Result<Vec<Cell>> {
    let (out, bars) = (&args.study.out, StageBars::default());
    let GliomaSource::Phantom(phantom) = config.source else { bail!("--planted needs a phantom cohort") };
    let strength = |name: &str| if name == signal { PLANTED } else { 0.0 };
    let phantom = phantom.signals(strength("shape"), strength("texture"), strength("tract"));
    config.source = GliomaSource::Phantom(phantom);
    let cohort = config.source.open(out, stop, &|p| bars.update(p))?;
    let split = config.split_of(&cohort)?;
    let cache = out.join("cache").join("glioma_idh");
    let stages = GliomaStages::new(&config, &cache, &device(&config.device)?, stop)?;
    let stages = stages.on_progress(|p| bars.update(p));
    let networks = published_variants(&config.model).into_iter().filter(|v| ENCODERS.contains(&v.0.as_str()));
    let heads: Vec<(String, MlpHead)> =
        networks.map(|(name, net)| (name.clone(), MlpHead::new(&stages).network(name, net))).collect();
    let age_and_sex = OnHalfB(RidgeLogistic::new(1.0));
    let study =
        Study::new(&cohort, run).plan(GliomaCohort::plan(&split)).seed(Seed::new(config.seed)).stop(stop);
    let study = heads.iter().fold(study, |study, (name, head)| study.model(name, head));
    let results = study.model(names::AGE_AND_SEX, &age_and_sex).run()?;
    let scores = results.score(&cohort, &ScoreOptions::default())?;
    scores.write_metrics(&run.file("metrics.csv"))?;
    bars.finish();
    let cell = |name: &str| {
        let row = scores.row(name, GliomaCohort::TASK);
        match row.and_then(|r| r.first()) {
            Some(e) => e.cell(2),
            None => Cell::missing("undefined"),
        }
    };
    Ok(std::iter::once(Cell::text(signal))
        .chain(ENCODERS.map(cell))
        .chain([cell(names::AGE_AND_SEX)])
        .collect())
}

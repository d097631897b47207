//! The multi-modal network on omics: from tables to a report. See `--help`.

mod attribute;
mod baselines;
mod cli;
mod clinical;
mod cohort;
mod config;
mod evaluate;
mod explain;
mod explanation;
mod federation;
mod folds;
mod network;
mod report;
mod score;
mod variants;
mod workers;

use clap::Parser;
use cli::Args;
use cohort::Cohort;
use config::RunConfig;
use oncograph::train::{RunDir, StopFlag};
use oncograph_examples::{exit_with, open_run, progress, stop_on_ctrl_c};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    exit_with(workers::one_thread_per_tensor().and_then(|()| run(&args)))
}

fn run(args: &Args) -> anyhow::Result<()> {
    let stop = stop_on_ctrl_c()?;
    let root = args.out.join("multimodal_oncology");
    let (config, run, is_new) = open_run(&root, args.resume.as_ref(), || RunConfig::from_args(args))?;
    let result = train(&config, &run, &stop);
    // A run that could not begin, because its data is bad, leaves nothing behind.
    if is_new && !run.file("folds").exists() && result.is_err() && !stop.is_requested() {
        std::fs::remove_dir_all(run.path()).ok();
    }
    result
}

fn train(config: &RunConfig, run: &RunDir, stop: &StopFlag) -> anyhow::Result<()> {
    let cohort = Cohort::load(config)?;
    let reported = clinical::patient(config, &cohort)?;
    let all = folds::folds(config, &cohort)?;
    let variants = variants::variants(config, &cohort)?;
    let bar = progress((variants.len() * all.len() * config.fit.epochs) as u64, "training");
    let networks = variants.iter().flat_map(|v| all.iter().map(move |f| (Some(v), f)));
    let jobs: Vec<_> = networks.chain(all.iter().map(|f| (None, f))).collect();
    let trained = workers::side_by_side(&jobs, |(variant, fold)| match variant {
        Some(v) => Ok(vec![folds::run_fold(config, &cohort, fold, v, run, stop, &bar)?]),
        None => baselines::run_fold(config, &cohort, fold, run),
    });
    let mut results = trained?.concat();
    bar.finish_with_message("");
    results.extend(folds::late_fusion(&cohort, &all, &results)?);
    let evaluation = evaluate::evaluate(config, &cohort, &results)?;
    run.write("metrics.csv", evaluate::metrics_csv(&evaluation).as_bytes())?;
    run.write("predictions.csv", evaluate::predictions_csv(&cohort, &evaluation).as_bytes())?;
    let findings = explain::findings(config, &cohort, &results)?;
    let path = run.file("report.html");
    report::write(&path, config, &cohort, &evaluation, &results, &findings, &command())?;
    for table in report::tables(&cohort, &evaluation) {
        println!("{}", table.to_text());
    }
    if cohort.phantom {
        println!("PHANTOM data: generated patients; the numbers say nothing about real ones.");
    }
    let patient = clinical::write(config, &cohort, &all, run, reported)?;
    println!("{}\npatient: {}\nreport: {}", report::RESEARCH, patient.display(), path.display());
    Ok(())
}

/// The command line as typed, without the path of the program.
fn command() -> String {
    std::iter::once("multimodal_oncology".to_string())
        .chain(std::env::args().skip(1))
        .collect::<Vec<_>>()
        .join(" ")
}

//! STG on colorectal liver metastases: from images and a clinical table to a report. See `--help`.

mod cli;
mod cohort;
mod config;
mod cross_validation;
mod encode;
mod evaluate;
mod model;
mod predict;
mod report;

use clap::Parser;
use cli::Args;
use cohort::Patients;
use config::RunConfig;
use cross_validation::{STG, WITHOUT_IMAGES, folds, run_fold};
use encode::Encoder;
use evaluate::{evaluate, metrics_csv, predictions_csv};
use oncograph::train::{RunDir, StopFlag};
use oncograph_examples::{device, exit_with, open_run, progress, stop_on_ctrl_c};
use predict::{REFERENCE, Reference};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    exit_with(run(&args))
}

fn run(args: &Args) -> anyhow::Result<()> {
    if args.params {
        return params(args);
    }
    let stop = stop_on_ctrl_c()?;
    if args.predict {
        return predict::run(args);
    }
    let root = args.out.join("stg_crlm");
    let (config, run, is_new) = open_run(&root, args.resume.as_ref(), || RunConfig::from_args(args))?;
    let result = train(args, &config, &run, &stop);
    // A run that could not begin, because its data is bad, leaves nothing behind.
    let began = run.file("folds").exists();
    if is_new && !began && result.is_err() && !stop.is_requested() {
        std::fs::remove_dir_all(run.path()).ok();
    }
    result
}

fn train(args: &Args, config: &RunConfig, run: &RunDir, stop: &StopFlag) -> anyhow::Result<()> {
    let device = device(&config.device)?;
    let encoder = Encoder::new(&config.encoder, config.seed, &args.out.join("cache"), &device)?;
    let patients = Patients::load(config, &args.out, &encoder, stop)?;
    for note in &patients.notes {
        eprintln!("{note}");
    }
    let all = folds(config, &patients)?;
    let models: &[&str] = if patients.images.is_some() { &[STG, WITHOUT_IMAGES] } else { &[WITHOUT_IMAGES] };
    let bar = progress((models.len() * all.len() * config.fit.epochs) as u64, "training");
    let mut results = vec![];
    for model in models {
        for fold in &all {
            results.push(run_fold(config, &patients, fold, model, run, &device, stop, &bar)?);
        }
    }
    bar.finish_with_message("");
    let evaluation = evaluate(config, &patients, &all, &results)?;
    let mut risks = evaluation.models[0].risk.clone();
    risks.iter_mut().for_each(|r| r.sort_by(f64::total_cmp));
    run.write("metrics.csv", metrics_csv(config, &patients, &evaluation, &results).as_bytes())?;
    run.write("predictions.csv", predictions_csv(&patients, &evaluation).as_bytes())?;
    run.write_json(REFERENCE, &Reference { phantom: patients.phantom, risks })?;
    let path = run.file("report.html");
    report::write(&path, config, &patients, &evaluation, &results, &command())?;
    for task in 0..2 {
        println!("{}", report::table(&evaluation, task).to_text());
    }
    if patients.phantom {
        println!("PHANTOM data: generated patients; the numbers say nothing about real ones.");
    }
    println!("{}\nreport: {}", report::RESEARCH, path.display());
    Ok(())
}

/// The command line as typed, without the path of the program.
fn command() -> String {
    std::iter::once("stg_crlm".to_string()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ")
}

/// Section 10: the parameter report.
fn params(args: &Args) -> anyhow::Result<()> {
    use candle_core::{DType, Device};
    use oncograph::nn::{ParamStore, Seed};
    use oncograph::report::{Cell, ReportTable};
    use std::collections::BTreeMap;

    let mut config = RunConfig::from_args(args)?.model;
    config.clinical = oncograph::datasets::crlm::FeatureSet::PreopOnly.columns().len();
    let store = ParamStore::new(Seed::new(0));
    oncograph::spatiotemporal::Stg::new(&config, store.var_builder(DType::F32, &Device::Cpu))?;
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    for (name, var) in store.trainable() {
        let group = name.split('.').next().unwrap_or_default().to_string();
        *groups.entry(group).or_default() += var.elem_count();
    }
    let caption = format!("Parameters, {:?}, {} clinical covariates", config.architecture, config.clinical);
    let rows =
        groups.iter().fold(ReportTable::new(caption, ["Group", "Parameters"]), |table, (name, count)| {
            table.row([Cell::text(name.clone()), Cell::count(*count)])
        });
    let graph_part: usize = groups.iter().filter(|(n, _)| *n != "nodes").map(|(_, c)| c).sum();
    println!("{}", rows.row([Cell::text("all"), Cell::count(store.parameter_count())]).to_text());
    println!("Without node inputs (clinical layer, pooling), as the paper counts: {graph_part}");
    Ok(())
}

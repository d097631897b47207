//! Glioma: the IDH genotype from four MRI sequences, end to end. See `--help`.

mod audit;
mod cli;
mod clinical;
mod cnn;
mod cohort;
mod config;
mod evaluate;
mod explain;
mod files;
mod images;
mod images_config;
mod images_report;
mod patient;
mod phantom;
mod pictures;
mod predict;
mod prepare;
mod report;
mod stages;
mod templates;

use clap::Parser;
use cli::Args;
use config::RunConfig;
use oncograph_examples::{exit_with, open_run, stop_on_ctrl_c};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    exit_with(run(&args))
}

fn run(args: &Args) -> anyhow::Result<()> {
    if args.paper_audit {
        audit::run();
        return Ok(());
    }
    if args.predict.is_some() {
        return predict::run(args);
    }
    let stop = stop_on_ctrl_c()?;
    if args.planted {
        return images::planted(&images_config::ImagesConfig::from_args(args)?, &stop, &args.out);
    }
    let root = args.out.join("glioma_idh");
    let (config, run, is_new) = open_run(&root, args.resume.as_ref(), || RunConfig::from_args(args))?;
    let result = match &config {
        RunConfig::Clinical(config) => clinical::run(config, &run, &stop),
        RunConfig::Images(config) => {
            let wanted = images::Wanted { table: args.table, ablate: args.ablate, stage: args.stage };
            images::run(config, &wanted, &run, &stop, &args.out)
        }
    };
    // A run that could not begin, because its data is bad, leaves nothing behind.
    let began = run.file("folds").exists() || run.file("roles.json").exists();
    if is_new && !began && result.is_err() && !stop.is_requested() {
        std::fs::remove_dir_all(run.path()).ok();
    }
    result
}

//! Glioma: the IDH genotype from four MRI sequences and a tumour mask, from files to a report and a bundle. See `--help`.

mod cli;
mod planted;
mod predict;
mod report;
mod seeds;

use cli::{Args, MODES, NAME, RunConfig};
use oncograph_brain::{
    EmbeddingVector, GliomaCohort, GliomaConfig, GliomaPredictor, GliomaStages, ImageNetwork,
    ImageNetworkKind, MlpHead, OnHalfB, PopulationHead, Prevalence, RidgeLogistic, SvmSystem,
    glioma_model_card, missing_rows, missing_sequences, names, published_variants, switched_variants,
    write_glioma_bundle,
};
use oncograph_core::{Seed, Split};
use oncograph_study::cli::{
    StudyArgs, StudyProgress, device, in_precision, open_run, parse, program, stop_on_ctrl_c,
};
use oncograph_study::{ScoreOptions, Scores, Study, StudyResults};
use oncograph_train::{RunDir, StopFlag};
// Its allocator keeps the big blocks of a training step for the next one.
use allocator as _;
use report::{Page, StageBars};
use std::process::ExitCode;
use std::time::Instant;

/// The file of a run that says who trains which stage: a run that has it has begun.
const ROLES: &str = "roles.json";

fn main() -> ExitCode {
    // The last stage may be another one than that of the run, and networks can be written later, too.
    let args: Args = parse(&["stage", "write_networks"], &MODES);
    program(|| run(&args))
}

fn run(args: &Args) -> anyhow::Result<()> {
    args.moved()?;
    if args.predict.is_some() {
        return in_precision(&args.study.device, args.study.precision, || predict::run(args));
    }
    let stop = stop_on_ctrl_c()?;
    if args.planted {
        let StudyArgs { device, precision, .. } = &args.study;
        return in_precision(device, *precision, || planted::run(args, &stop));
    }
    let root = args.study.out.join(NAME);
    let (asked, run, is_new) = open_run(NAME, &root, args.study.resume.as_ref(), || args.config())?;
    let (device, precision) = (&asked.system.device, asked.system.model_fit.precision);
    let result = in_precision(device, precision, || match asked.seeds {
        Some(count) => seeds::run(args, &asked, count, &run, &stop),
        None => train(args, &asked, &run, &stop).map(drop),
    });
    // A run that could not begin, because its data is bad, leaves nothing behind.
    let began = run.file(ROLES).exists() || run.file(seeds::FOLDER).exists();
    if is_new && !began && result.is_err() && !stop.is_requested() {
        std::fs::remove_dir_all(run.path()).ok();
    }
    result
}

/// One run with one seed; its scores, where it goes on to the fourth stage.
fn train(args: &Args, asked: &RunConfig, run: &RunDir, stop: &StopFlag) -> anyhow::Result<Option<Scores>> {
    let (out, config, bars) = (&args.study.out, &asked.system, StageBars::default());
    let cohort = config.source.open(out, stop, &|p| bars.update(p))?;
    cohort.notes.iter().for_each(|note| eprintln!("{note}"));
    let split = config.split_of(&cohort)?;
    report::enough_for_heads(&cohort, &split)?;
    let cache = out.join("cache").join(NAME);
    let stages = GliomaStages::new(config, &cache, &device(&config.device)?, stop)?;
    let stages = stages.on_progress(|p| bars.update(p));
    run.write_json(ROLES, &report::roles(&stages, &cohort, &split)?)?;

    let networks = stages.networks(&cohort, &split)?;
    if args.write_networks {
        networks.write(&cohort, &run.file("networks"))?;
    }
    if args.stage.is_some_and(|s| s <= 2) {
        return report::finish_early(&stages, run).map(|()| None);
    }
    let net = stages.net(&cohort, &split, &config.model)?;
    if args.stage == Some(3) {
        return report::finish_early(&stages, run).map(|()| None);
    }
    run.write_json("embeddings.json", &net.embeddings)?;

    let start = Instant::now();
    let (results, tables) = study(asked, &stages, (&cohort, &split), run, stop)?;
    stages.spend("4 population graph and heads", start, false);
    let options = ScoreOptions::default().threshold(config.threshold).reference(names::INDUCTIVE);
    let scores = results.score(&cohort, &options)?;
    scores.write_metrics(&run.file("metrics.csv"))?;
    results.write_predictions(&cohort, &run.file("predictions.csv"))?;

    let start = Instant::now();
    // The numbers stand whether or not the answers can be explained.
    let explained = stages.explain(&cohort, &split);
    stop.check()?;
    stages.spend("explanations", start, false);
    bars.finish();
    run.write_json("costs.json", &stages.costs())?;
    let page =
        Page { config, cohort: &cohort, split: &split, stages: &stages, results: &results, scores: &scores };
    let card = glioma_model_card(config, &cohort, &split, &scores);
    let population = results.of_model(names::INDUCTIVE).next();
    let population = population.ok_or_else(|| anyhow::anyhow!("the population graph has no result"))?;
    let bundle = write_glioma_bundle(run, &stages, (&cohort, &split), population, &card)?;
    let predictor = GliomaPredictor::open(&bundle, &device(&config.device)?)?;
    let missing = missing_sequences(&predictor, &cohort, &results)?;
    let missing = missing.score(&cohort, &options.reference(&missing_rows()[0]))?;
    page.write(run, &tables, (&missing, &explained), &card)?;
    page.print(&tables);
    println!("bundle: {}\nreport: {}", bundle.path().display(), run.file("report.html").display());
    Ok(Some(scores))
}

/// A table of the page: its caption and the models of its rows.
type Shown = (String, Vec<String>);

/// Every head on the shared stages, and what it is compared with, on the one split.
fn study(
    asked: &RunConfig,
    stages: &GliomaStages<'_>,
    (cohort, split): (&GliomaCohort, &Split),
    run: &RunDir,
    stop: &StopFlag,
) -> anyhow::Result<(StudyResults, Vec<Shown>)> {
    let config = stages.config();
    let head = PopulationHead::new(stages);
    let heads = [
        (names::INDUCTIVE, head.clone().deployed()),
        (names::TRANSDUCTIVE, head.clone().transductive()),
        (names::WITH_AGE_AND_SEX, head.clone().with_age_and_sex()),
        (names::SHUFFLED, head.clone().shuffled_edges()),
        (names::NO_EDGES, head.clone().without_edges()),
    ];
    let has = |vector: EmbeddingVector| vector.is_of(&config.model.encoders);
    let pairs = report::PAIRS.into_iter().filter(|pair| has(pair.1) && has(pair.2));
    let pairs: Vec<_> =
        pairs.map(|(name, nodes, links)| (name, head.clone().vectors(nodes, links))).collect();
    let (mlp, svm) = (MlpHead::new(stages), SvmSystem::new(stages));
    let (age_and_sex, prevalence) = (OnHalfB(RidgeLogistic::new(1.0)), OnHalfB(Prevalence));
    let images = ImageNetworkKind::ALL.map(|k| (k.name(config.preset), ImageNetwork::new(stages, k)));
    let images = if asked.table == Some(3) { &images[..] } else { &[] };
    let (mut tables, variants) = variants(asked, config, &mlp);
    let models = heads.len() + 4 + pairs.len() + images.len() + variants.len();
    let progress = StudyProgress::new(models, config.classifier_fit.epochs.max(config.mlp_fit.epochs));
    let mut study = Study::new(cohort, run)
        .plan(GliomaCohort::plan(split))
        .seed(Seed::new(config.seed))
        .device(stages.device().clone())
        .stop(stop)
        .settings(config)?
        .on_progress(|p| progress.update(p));
    for (name, system) in &heads {
        study = study.model(*name, system);
    }
    study = study.model(names::MLP, &mlp).model(names::SVM, &svm);
    study = study.model(names::AGE_AND_SEX, &age_and_sex).model(names::PREVALENCE, &prevalence);
    for (name, system) in &pairs {
        study = study.model(*name, system);
    }
    for (name, system) in images {
        study = study.model(*name, system);
    }
    for (name, system) in &variants {
        study = study.model(name, system);
    }
    let results = study.run()?;
    progress.finish();
    let images = images.iter().map(|i| i.0.to_string());
    tables.insert(0, (report::TABLE_3.into(), images.chain(report::HEADS.map(String::from)).collect()));
    tables.insert(1, (report::TABLE_2.into(), pairs.iter().map(|p| p.0.to_string()).collect()));
    Ok((results, tables))
}

/// Other networks under the MLP head, and the tables that show them.
fn variants<'s>(
    asked: &RunConfig,
    config: &GliomaConfig,
    mlp: &MlpHead<'s>,
) -> (Vec<Shown>, Vec<(String, MlpHead<'s>)>) {
    let (mut tables, mut variants): (Vec<Shown>, Vec<(String, MlpHead)>) = (vec![], vec![]);
    for (wanted, caption, networks) in [
        (asked.table == Some(4), report::TABLE_4, published_variants(&config.model)),
        (asked.ablate, report::SWITCHES, switched_variants(&config.model)),
    ] {
        if wanted {
            tables.push((caption.into(), networks.iter().map(|n| n.0.clone()).collect()));
            for (name, network) in networks {
                // The unchanged network is in both tables.
                if variants.iter().all(|v| v.0 != name) {
                    variants.push((name.clone(), mlp.clone().network(name, network)));
                }
            }
        }
    }
    (tables, variants)
}

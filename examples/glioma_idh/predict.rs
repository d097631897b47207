//! One new patient, from four sequences and a segmentation to a report, with a bundle alone.

use crate::cli::{Args, NAME};
use crate::report::drawn;
use anyhow::{Context, bail};
use oncograph_brain::{
    GliomaPrediction, GliomaPredictor, PHANTOM_MODELS, glioma_connectome, population_figure, slices_figure,
    stage_costs,
};
use oncograph_datasets::glioma::{GliomaFiles, TumourLabel};
use oncograph_deploy::Bundle;
use oncograph_report::{Banner, RESEARCH_ONLY, Report};
use oncograph_study::cli::{command_line, device};
use oncograph_train::RunDir;
use std::path::PathBuf;

pub fn run(args: &Args) -> anyhow::Result<()> {
    let (Some(folder), Some(mask), Some(labels)) = (&args.predict, &args.mask, args.labels) else {
        bail!("--predict needs --mask and --labels");
    };
    let path = bundle(args)?;
    let predictor = GliomaPredictor::open(&Bundle::open(&path)?, &device(&args.study.device)?)?;
    let mut files = GliomaFiles::find(folder, None)?;
    files.segmentation = Some(mask.clone());
    let images = files.read(labels.into(), TumourLabel::Core)?;
    // On the machine of the run its own templates are still there.
    let own = predictor.config().source.standard().map(|s| s.folder).filter(|f| f.is_dir());
    let templates = args.templates.clone().or(own);
    let out = RunDir::create(&args.study.out.join("glioma_idh_predictions"))?;
    let (registration, work) = (args.registration(), out.file("registration"));
    let answer = predictor.predict(&images, args.space(), templates.as_deref(), (&registration, &work))?;
    answer.report.write(out.path(), "clinical_report")?;
    out.write_json("prediction.json", &written(&predictor, &answer))?;
    if args.write_networks {
        let file = format!("{}.safetensors", answer.subject.id);
        answer.network.write(out.folder("networks")?.join(file))?;
    }
    page(&predictor, &answer, &path.display().to_string(), &out).write(out.file("report.html"))?;
    println!("{}\n{}", answer.table().to_text(), stage_costs(&answer.costs).to_text());
    answer.report.notes.iter().for_each(|note| println!("{note}"));
    println!("{RESEARCH_ONLY}\nreport: {}", out.file("report.html").display());
    Ok(())
}

/// The bundle given on the command line, else that of the newest run.
fn bundle(args: &Args) -> anyhow::Result<PathBuf> {
    let root = args.study.out.join(NAME);
    let run = match (&args.bundle, &args.run) {
        (Some(bundle), _) => return Ok(bundle.clone()),
        (None, Some(run)) => RunDir::open(run)?,
        (None, None) => RunDir::latest_with(&root, "bundle/bundle.json")?.with_context(|| {
            format!(
                "{}: no finished run to predict with; train one first, or name a --bundle",
                root.display()
            )
        })?,
    };
    let bundle = run.file("bundle");
    if !bundle.exists() {
        bail!("{}: this run is not finished; resume it with --resume", run.path().display());
    }
    Ok(bundle)
}

/// What `prediction.json` holds.
fn written(predictor: &GliomaPredictor, answer: &GliomaPrediction) -> serde_json::Value {
    serde_json::json!({
        "patient": answer.subject.id,
        "notice": RESEARCH_ONLY,
        "trained_on_phantom": predictor.phantom(),
        "atlas": predictor.atlas().source,
        "probability": answer.probability,
        "registration": answer.subject.overlap,
        "nearest": answer.nearest,
        "tracts": answer.tracts,
        "flags": answer.subject.flags,
        "costs": answer.costs,
    })
}

fn page(predictor: &GliomaPredictor, answer: &GliomaPrediction, bundle: &str, out: &RunDir) -> Report {
    let id = &answer.subject.id;
    let banner = predictor.phantom().then(|| Banner::PhantomModels(PHANTOM_MODELS.into()));
    let mut report = Report::new(format!("Glioma: prediction for {id}"));
    for banner in banner.clone().into_iter().chain([
        Banner::Notice(format!("Atlas: {}.", predictor.atlas().source)),
        Banner::Notice(RESEARCH_ONLY.into()),
    ]) {
        report = report.banner(banner);
    }
    let facts = [
        ("Bundle", bundle.to_string()),
        ("Command", command_line("glioma_idh")),
        ("Held-out result", predictor.held_out().unwrap_or("not stated").to_string()),
        ("Registration", answer.subject.overlap.to_string()),
        ("Version", env!("CARGO_PKG_VERSION").into()),
    ];
    let title = format!("Tracts that the tumour surface of {id} crosses");
    let network = glioma_connectome(predictor.atlas(), &answer.subject, &answer.weights, "attention")
        .map_err(anyhow::Error::from)
        .and_then(|network| drawn(&network, &out.file("connectome.html"), &title, banner.as_ref()));
    let graph =
        population_figure(predictor.bank(), std::slice::from_ref(&answer.link), &[answer.probability >= 0.5]);
    report
        .facts(&facts)
        .section("Prediction", |s| {
            s.table(answer.table());
            answer.report.notes.iter().for_each(|note| {
                s.paragraph(note);
            });
            s.table(answer.nearest_table());
            s.figure_or_reason("Population graph", graph);
            s.paragraph("The new patient, hollow, has the colour of the class that the model gives it.");
            s.table(answer.tract_table());
            answer.attention_note.iter().for_each(|note| {
                s.paragraph(note.clone());
            });
            s.figure_or_reason("Brain network", network);
        })
        .section("What the encoders see", |s| {
            s.figure_or_reason("Slices with the tumour", slices_figure(&[&answer.subject]));
        })
        .section("Cost", |s| {
            s.table(stage_costs(&answer.costs));
        })
}

//! One new patient, from four sequences and a segmentation to a report, with the models of a finished run.

use crate::cli::Args;
use crate::cohort::{Cohort, SEQUENCES, Source, Subject};
use crate::config::RunConfig;
use crate::evaluate::sigmoid;
use crate::images::{Artefacts, Fitted, tumours};
use crate::images_config::{ImagesConfig, Vector};
use crate::images_report::{costs, slices_of};
use crate::patient::{Overlap, Space, normalise};
use crate::pictures;
use crate::prepare::{prepare, voxels};
use crate::report::{RESEARCH, command};
use crate::stages::{Embeddings, StageCost, matrix, peak_mb, scaled_rows};
use anyhow::{Context, bail};
use candle_core::DType;
use oncograph::brain::{BrainNetwork, Neighbour, TumourBatch};
use oncograph::datasets::glioma::{GliomaFiles, TumourLabel};
use oncograph::nn::{ParamStore, Seed};
use oncograph::report::{Banner, Cell, Figure, Report, ReportTable};
use oncograph::train::RunDir;
use oncograph_examples::{device, progress};
use serde::Serialize;
use std::time::Instant;

#[derive(Debug, Serialize)]
struct Answer {
    patient: String,
    notice: String,
    trained_on_phantom: bool,
    atlas: String,
    probability: f64,
    registration: Overlap,
    nearest: Vec<Neighbour>,
    /// From, to, attention, points that cross.
    tracts: Vec<(String, String, f32, usize)>,
    flags: Vec<String>,
    costs: Vec<StageCost>,
}

struct Clock {
    costs: Vec<StageCost>,
    start: Instant,
}

impl Clock {
    fn lap(&mut self, stage: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.costs.push(StageCost { stage: stage.into(), seconds, peak_mb: peak_mb(), cached: false });
        self.start = Instant::now();
    }
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let (Some(folder), Some(mask), Some(labels)) = (&args.predict, &args.mask, args.labels) else {
        bail!("--predict needs --mask and --labels");
    };
    let root = args.out.join("glioma_idh");
    let trained = match &args.run {
        Some(path) => RunDir::open(path)?,
        None => RunDir::latest(&root)?.with_context(|| {
            format!("{}: no run to predict with; train one first, or name it with --run", root.display())
        })?,
    };
    let unfinished =
        || format!("{}: this run is not finished; resume it with --resume", trained.path().display());
    let config: RunConfig = trained.read_json("config.json")?.with_context(unfinished)?;
    let RunConfig::Images(config) = config else {
        bail!("{}: a run on a clinical table predicts no images", trained.path().display());
    };
    let artefacts: Artefacts = trained.read_json("artefacts.json")?.with_context(unfinished)?;
    let fitted: Fitted = trained.read_json("population.json")?.with_context(unfinished)?;
    let Some(standard) = config.source.standard() else {
        bail!(
            "{}: this run's regions are those of a generated head, which no patient has; train one with --templates",
            trained.path().display()
        );
    };
    let mut clock = Clock { costs: vec![], start: Instant::now() };
    let steps = progress(5, "predicting");
    let mut files = GliomaFiles::find(folder, None)?;
    files.segmentation = Some(mask.clone());
    let raw = files.read(labels.into(), TumourLabel::Core)?;
    clock.lap("reading and checks");
    steps.inc(1);
    let (grid, atlas) = crate::templates::atlas(&standard)?;
    clock.lap("atlas");
    steps.inc(1);
    let out = RunDir::create(&args.out.join("glioma_idh_predictions"))?;
    let space = if args.registered { Space::Standard } else { Space::Native };
    let (subject, registration) =
        normalise(&raw, space, standard.templates, &grid, &out.file("registration"))?;
    drop(raw);
    clock.lap("registration");
    steps.inc(1);
    let cohort = Cohort {
        atlas,
        subjects: vec![subject],
        phantom: false,
        origin: folder.display().to_string(),
        notes: vec![],
        fingerprint: String::new(),
    };
    let (answer, seen) =
        answer(args, &config, &cohort, &artefacts, &fitted, &trained, registration, &mut clock)?;
    steps.finish();
    out.write_json("prediction.json", &answer)?;
    let pictures = Pictures {
        network: network(&answer, &cohort, &seen.crossed, &out.file("connectome.html")),
        patients: pictures::population(&fitted.bank, &seen.links, &[answer.probability >= 0.5]),
    };
    report(&answer, &cohort.subjects[0], &trained, pictures)?.write(out.file("report.html"))?;
    println!("{}", table(&answer).to_text());
    println!("{}", costs(&answer.costs).to_text());
    println!("{}\n{RESEARCH}\nreport: {}", caution(&answer), out.file("report.html").display());
    Ok(())
}

#[allow(clippy::too_many_arguments)] // each is a thing of its own, given once
fn answer(
    args: &Args,
    config: &ImagesConfig,
    cohort: &Cohort,
    artefacts: &Artefacts,
    fitted: &Fitted,
    trained: &RunDir,
    registration: Overlap,
    clock: &mut Clock,
) -> anyhow::Result<(Answer, Seen)> {
    let (subject, atlas) = (&cohort.subjects[0], &cohort.atlas);
    let device = device(&args.device)?;
    let cache = args.out.join("cache").join("glioma_idh");
    let load = |store: &ParamStore, name: &str| {
        let path = cache.join(format!("{name}.safetensors"));
        store.load(&path).with_context(|| path.display().to_string())
    };
    let seed = Seed::new(config.seed).stream("prepare").stream(&subject.id);
    let prepared = prepare(subject, atlas, &config.prepare, seed)?;
    clock.lap("tumour image, points and incidence");
    let store = ParamStore::new(Seed::new(0));
    let autoencoder = config.autoencoder.build(store.var_builder(DType::F32, &device))?;
    load(&store, &artefacts.autoencoder)?;
    let store = ParamStore::new(Seed::new(0));
    let encoder = config.tracts.build(store.var_builder(DType::F32, &device))?;
    load(&store, &artefacts.tracts)?;
    let seen = voxels(subject, atlas, &config.prepare, seed)?;
    let mut regions = autoencoder.encode(&matrix(seen.regions.iter(), &device)?)?.to_vec2::<f32>()?;
    let mut tracts = encoder.encode(&matrix(seen.tracts.iter(), &device)?)?.to_vec2::<f32>()?;
    if let Some((of_regions, of_tracts)) = &artefacts.scalers {
        (regions, tracts) = (scaled_rows(of_regions, regions)?, scaled_rows(of_tracts, tracts)?);
    }
    let pairs = atlas.tracts.iter().map(|t| t.pair).collect();
    let network = BrainNetwork::new(pairs, config.network_width(), regions.concat(), tracts.concat())?;
    clock.lap("brain network");
    let tumours = tumours(vec![prepared], vec![network])?;
    let store = ParamStore::new(Seed::new(0));
    let model = config.model.build(store.var_builder(DType::F32, &device))?;
    load(&store, &artefacts.model)?;
    let embeddings = Embeddings::of(&model, &tumours, &device)?;
    let said = model.forward(&TumourBatch::new(&[&tumours[0]], None, &device)?, false)?;
    clock.lap("embedding");
    let rows = |vector: Vector, part: usize| -> anyhow::Result<Vec<Vec<f64>>> {
        let rows = embeddings.rows(vector);
        Ok(match &fitted.scalers {
            Some(scalers) => [&scalers.0, &scalers.1][part].transform(&rows)?,
            None => rows,
        })
    };
    let (nodes, links) = (rows(config.population.0, 0)?, rows(config.population.1, 1)?);
    let store = ParamStore::new(Seed::new(0));
    let mut classifier = config.classifier.clone();
    classifier.features = nodes[0].len();
    let classifier = classifier.build(store.var_builder(DType::F32, &device))?;
    let path = trained.file("population.safetensors");
    store.load(&path).with_context(|| path.display().to_string())?;
    let logits = fitted.bank.predict(&classifier, &nodes, &links, &device)?;
    clock.lap("population graph");
    let attention = said.tract_attention.map(|a| a.to_vec1::<f32>()).transpose()?.unwrap_or_default();
    let crossings = tumours[0].incidence().crossings_per_tract();
    let mut order: Vec<usize> = (0..attention.len()).filter(|&t| crossings[t] > 0).collect();
    order.sort_by(|a, b| attention[*b].total_cmp(&attention[*a]).then(a.cmp(b)));
    let crossed = pictures::crossed(&attention, &crossings);
    let name = |region: u32| atlas.names[region as usize].clone();
    let tracts = order.into_iter().take(10).map(|t| {
        let [a, b] = atlas.tracts[t].pair;
        (name(a), name(b), attention[t], crossings[t])
    });
    let answer = Answer {
        patient: subject.id.clone(),
        notice: RESEARCH.into(),
        trained_on_phantom: matches!(config.source, Source::Phantom(_)),
        atlas: atlas.source.clone(),
        probability: logits.first().map_or(f64::NAN, |z| sigmoid(*z)),
        registration,
        nearest: fitted.bank.nearest(&links[0], 5),
        tracts: tracts.collect(),
        flags: subject.flags.clone(),
        costs: clock.costs.clone(),
    };
    Ok((answer, Seen { crossed, links }))
}

/// What the pictures show besides.
struct Seen {
    /// The attention of every tract, 0 where no point of the surface crosses it.
    crossed: Vec<f64>,
    links: Vec<Vec<f64>>,
}

struct Pictures {
    network: anyhow::Result<Figure>,
    patients: anyhow::Result<Figure>,
}

/// The patient's network by attention, and the view to turn at `view`.
fn network(
    answer: &Answer,
    cohort: &Cohort,
    crossed: &[f64],
    view: &std::path::Path,
) -> anyhow::Result<Figure> {
    let drawn = pictures::connectome(cohort, &cohort.subjects[0], crossed, "attention")?;
    let banner = answer.trained_on_phantom.then(|| Banner::Phantom(PHANTOM_MODELS.into()));
    let title = format!("Tracts that the tumour surface of {} crosses", answer.patient);
    pictures::drawn(&drawn, view, &title, banner.as_ref())
}

fn caution(answer: &Answer) -> String {
    let mut said = vec![];
    if answer.trained_on_phantom {
        said.push(
            "The models were trained on generated patients: the answer says NOTHING about this one."
                .to_string(),
        );
    }
    said.push(format!("Atlas: {}.", answer.atlas));
    said.extend(answer.flags.iter().map(|f| format!("Flag: {f}.")));
    said.join("\n")
}

fn table(answer: &Answer) -> ReportTable {
    let r = &answer.registration;
    ReportTable::new(format!("IDH genotype of {}", answer.patient), ["", ""])
        .row([Cell::text("Probability of a mutation"), Cell::number(answer.probability, 3)])
        .row([Cell::text("Dice of the brain masks before registration"), Cell::number(r.before, 3)])
        .row([Cell::text("after"), Cell::number(r.after, 3)])
}

/// Said wherever such an answer is shown.
const PHANTOM_MODELS: &str =
    "The models behind this page were trained on generated patients: the answer says nothing about this one.";

fn report(
    answer: &Answer,
    subject: &Subject,
    trained: &RunDir,
    pictures: Pictures,
) -> anyhow::Result<Report> {
    let run = trained.path().file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut report = Report::new(format!("Glioma: prediction for {}", answer.patient));
    if answer.trained_on_phantom {
        report = report.banner(Banner::Phantom(PHANTOM_MODELS.into()));
    }
    let facts = [
        ("Run", run),
        ("Command", command()),
        ("Registration", answer.registration.tool.clone()),
        ("Version", env!("CARGO_PKG_VERSION").into()),
    ];
    let status = |mutant: bool| if mutant { "mutant" } else { "wild type" };
    let header = ["Patient of the run", "Similarity", "IDH"];
    let nearest = answer
        .nearest
        .iter()
        .fold(ReportTable::new("Nearest patients in the population graph", header), |t, n| {
            t.row([Cell::text(n.id.clone()), Cell::number(n.similarity, 3), Cell::text(status(n.mutant))])
        });
    let header = ["From", "To", "Attention (mean 1)", "Points that cross"];
    let tracts = answer.tracts.iter().fold(
        ReportTable::new("Tracts that the tumour surface crosses", header),
        |t, row| {
            let (a, b, attention, points) = row;
            t.row([
                Cell::text(a.clone()),
                Cell::text(b.clone()),
                Cell::number(f64::from(*attention), 3),
                Cell::count(*points),
            ])
        },
    );
    Ok(report
        .banner(Banner::Notice(format!("Atlas: {}.", answer.atlas)))
        .banner(Banner::Notice(RESEARCH.into()))
        .facts(&facts)
        .section("Prediction", |s| {
            s.table(table(answer));
            caution(answer).lines().for_each(|line| {
                s.paragraph(line);
            });
            s.table(nearest);
            s.figure_or_reason("Population graph", pictures.patients);
            s.paragraph("The new patient, hollow, has the colour of the class that the model gives it.");
            s.table(tracts);
            s.figure_or_reason("Brain network", pictures.network);
        })
        .section("What the encoders see", |s| {
            s.figure_or_reason("Slices with the tumour", slices_of(&[subject]));
            s.paragraph(format!("In this order: {}.", SEQUENCES.join(", ")));
        })
        .section("Cost", |s| {
            s.table(costs(&answer.costs));
        }))
}

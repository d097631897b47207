//! One new patient, from DICOM to a report, with the models of a finished run.

use crate::cli::Args;
use crate::cohort::masks;
use crate::config::RunConfig;
use crate::cross_validation::{STG, WITHOUT_IMAGES};
use crate::encode::{Encoder, PatientFeatures};
use crate::evaluate::TASKS;
use crate::model::{Inputs, load};
use crate::report::{RESEARCH, figure_of};
use anyhow::{Context, bail};
use candle_core::Tensor;
use oncograph::core::{FollowUp, Table as Covariates};
use oncograph::datasets::crlm::{ClinicalTable, ImageFiles, SubjectFiles};
use oncograph::report::{Banner, Cell, Report, ReportTable};
use oncograph::spatiotemporal::{ANATOMY, PreparedImages, predict, preprocess};
use oncograph::train::RunDir;
use oncograph_examples::{device, progress};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a run leaves for later patients: how its own patients were ranked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reference {
    pub phantom: bool,
    /// Out-of-fold risks per task, ascending.
    pub risks: [Vec<f64>; 2],
}

/// The file of the [`Reference`].
pub const REFERENCE: &str = "reference.json";

/// The answer for one task.
#[derive(Debug, Serialize)]
struct TaskPrediction {
    task: &'static str,
    /// Mean over the models of the folds, in years.
    years: f64,
    /// Smallest and largest over those models: their disagreement, not a confidence interval.
    models_years: [f64; 2],
    /// Third of the run's own patients that the mean risk falls into.
    risk_group: &'static str,
    risk: f64,
}

#[derive(Debug, Serialize)]
struct Answer {
    patient: String,
    notice: String,
    trained_on_phantom: bool,
    models: usize,
    tasks: Vec<TaskPrediction>,
    missing_structures: Vec<&'static str>,
    missing_covariates: Vec<String>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let (Some(ct), Some(seg)) = (&args.ct, &args.seg) else { bail!("--predict needs --ct and --seg") };
    let root = args.out.join("stg_crlm");
    let trained = match &args.run {
        Some(path) => RunDir::open(path)?,
        None => RunDir::latest(&root)?.with_context(|| {
            format!("{}: no run to predict with; train one first, or name it with --run", root.display())
        })?,
    };
    let config: RunConfig = trained.read_json("config.json")?.with_context(|| unfinished(&trained))?;
    let reference: Reference = trained.read_json(REFERENCE)?.with_context(|| unfinished(&trained))?;
    let device = device(&args.device)?;
    let images = ImageFiles::Dicom { ct: ct.clone(), seg: Some(seg.clone()), series: None };
    let id = args.row.as_ref().map_or_else(|| "new patient".to_string(), |r| r[1].clone());
    let subject = SubjectFiles::new(id.clone(), Some(images));
    let steps = progress(3, "predicting");
    // What the segmentation lacks is told, not refused: a patient without tumour veins still has a liver.
    let loaded = subject.load(&config.load.clone().empty_as_missing(true).skip_unknown_labels(true))?;
    steps.inc(1);
    let encoder = Encoder::new(&config.encoder, config.seed, &args.out.join("cache"), &device)?;
    let prepared = preprocess(&loaded.ct, &masks(&loaded), &config.preprocess)?;
    let features = encoder.images(&prepared)?;
    steps.inc(1);
    let (clinical, missing_covariates) = covariates(args, &config)?;
    let tasks = ensemble(&trained, &config, &clinical, &features, &reference, &device)?;
    steps.finish();
    let missing = ANATOMY.iter().zip(features.empty).filter(|(_, empty)| *empty).map(|(n, _)| *n).collect();
    let answer = Answer {
        patient: id.clone(),
        notice: RESEARCH.into(),
        trained_on_phantom: reference.phantom,
        models: config.folds * config.repeats,
        tasks,
        missing_structures: missing,
        missing_covariates,
    };
    let out = RunDir::create(&args.out.join("stg_crlm_predictions"))?;
    out.write_json("prediction.json", &answer)?;
    report(&answer, &trained, vec![(id, prepared)])?.write(out.file("report.html"))?;
    println!("{}", table(&answer).to_text());
    println!("{}", caution(&answer));
    println!("report: {}", out.file("report.html").display());
    Ok(())
}

fn unfinished(run: &RunDir) -> String {
    format!("{}: this run is not finished; resume it with --resume", run.path().display())
}

/// The patient's row, or one in which everything is missing, and the names of the columns that are.
fn covariates(args: &Args, config: &RunConfig) -> anyhow::Result<(Covariates, Vec<String>)> {
    let table = match args.row.as_deref() {
        Some([file, id]) => {
            let table = ClinicalTable::read(PathBuf::from(file))?;
            let at = table.position(id).with_context(|| format!("{file}: no patient {id}"))?;
            table.features(config.features)?.select(&[at])
        }
        _ => {
            let names: Vec<String> = config.features.columns().into_iter().map(String::from).collect();
            let row = vec![None; names.len()];
            Covariates::numbered(names, vec![row])?
        }
    };
    let gaps = table.columns().iter().zip(table.row(0)).filter(|(_, value)| value.is_none());
    let missing = gaps.map(|(name, _)| name.clone()).collect();
    Ok((table, missing))
}

/// The mean over the models of all folds.
fn ensemble(
    trained: &RunDir,
    config: &RunConfig,
    clinical: &Covariates,
    features: &PatientFeatures,
    reference: &Reference,
    device: &candle_core::Device,
) -> anyhow::Result<Vec<TaskPrediction>> {
    let folder = RunDir::open(&trained.file("folds"))?;
    let model = if folder.file(&format!("{STG}-0-0.json")).exists() { STG } else { WITHOUT_IMAGES };
    let images = std::slice::from_ref(features);
    let images = (model == STG).then_some(images);
    let mut said: [Vec<(f64, f64)>; 2] = [vec![], vec![]];
    for repeat in 0..config.repeats {
        for fold in 0..config.folds {
            let (network, scaler, fitted) = load(&folder, &format!("{model}-{repeat}-{fold}"), device)?;
            let inputs = Inputs::apply(fitted.pipeline.clone(), scaler, clinical, images, device)?;
            let graphs: Vec<_> = inputs.graphs.iter().collect();
            let output = inputs.table.output(&network, &graphs)?;
            for (task, head) in [output.recurrence, output.survival].iter().enumerate() {
                let seen: Vec<FollowUp> = fitted.training.iter().map(|o| o[task]).collect();
                let outputs = &fitted.training_outputs[task];
                let shape = (seen.len(), outputs.len() / seen.len().max(1));
                let outputs = Tensor::from_slice(outputs, shape, device)?;
                let kind = fitted.model.survival_loss;
                let one = predict(kind, head, &fitted.scales[task], 12, Some((&outputs, &seen)))?;
                let one = one.first().context("the model answered nothing")?;
                said[task].push((one.years.clamp(0.0, 12.0), one.risk));
            }
        }
    }
    let of = |task: usize| {
        let n = said[task].len() as f64;
        let years: Vec<f64> = said[task].iter().map(|s| s.0).collect();
        let risk = said[task].iter().map(|s| s.1).sum::<f64>() / n;
        let below = reference.risks[task].partition_point(|&r| r < risk) as f64;
        let share = below / reference.risks[task].len().max(1) as f64;
        TaskPrediction {
            task: TASKS[task],
            years: years.iter().sum::<f64>() / n,
            models_years: [
                years.iter().copied().fold(f64::INFINITY, f64::min),
                years.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ],
            risk_group: ["low", "middle", "high"][((3.0 * share) as usize).min(2)],
            risk,
        }
    };
    Ok(vec![of(0), of(1)])
}

fn table(answer: &Answer) -> ReportTable {
    let header = ["Endpoint", "Years", "Range of the models", "Risk group"];
    let caption = format!("Prediction for {} by {} models", answer.patient, answer.models);
    answer.tasks.iter().fold(ReportTable::new(caption, header), |table, t| {
        let range = format!("{:.1} to {:.1}", t.models_years[0], t.models_years[1]);
        table.row([Cell::text(t.task), Cell::number(t.years, 1), Cell::text(range), Cell::text(t.risk_group)])
    })
}

fn caution(answer: &Answer) -> String {
    let mut lines = vec![RESEARCH.to_string()];
    if answer.trained_on_phantom {
        lines.push(
            "The models were trained on a PHANTOM cohort: the answer says nothing about this patient.".into(),
        );
    }
    if !answer.missing_structures.is_empty() {
        lines.push(format!("Not segmented, seen as empty: {}.", answer.missing_structures.join(", ")));
    }
    if !answer.missing_covariates.is_empty() {
        lines.push(format!(
            "Covariates taken from the training median: {}.",
            answer.missing_covariates.join(", ")
        ));
    }
    lines.join("\n")
}

fn report(answer: &Answer, trained: &RunDir, shown: Vec<(String, PreparedImages)>) -> anyhow::Result<Report> {
    let run = trained.path().file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut report = Report::new(format!("STG: prediction for {}", answer.patient));
    if answer.trained_on_phantom {
        report = report.banner(Banner::Phantom(
            "The models behind this page were trained on generated patients: the answer says nothing about this one."
                .into(),
        ));
    }
    let facts =
        [("Run", run), ("Models", answer.models.to_string()), ("Version", env!("CARGO_PKG_VERSION").into())];
    let figure = figure_of(&shown);
    Ok(report
        .banner(Banner::Notice(RESEARCH.into()))
        .facts(&facts)
        .section("Prediction", |s| {
            s.table(table(answer));
            caution(answer).lines().for_each(|line| {
                s.paragraph(line);
            });
        })
        .section("What the network sees", |s| {
            s.figure_or_reason("Slices with masks", figure);
        }))
}

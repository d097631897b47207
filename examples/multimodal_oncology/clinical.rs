//! The report on one patient, by the network that has not seen the patient.

use crate::attribute::attributed;
use crate::cohort::Cohort;
use crate::config::RunConfig;
use crate::folds::{fold_name, inner_split, outputs, parameter_file};
use crate::network::Network;
use crate::variants::{Variant, modality_names, pooled_type};
use anyhow::Context;
use candle_core::DType;
use oncograph::core::{FollowUp, TimeUnit};
use oncograph::datasets::splits::Fold;
use oncograph::deploy::{ClinicalReport, ModelIdentity, Prediction, Probability, SurvivalAt};
use oncograph::metrics::{Covariates, CoxConfig, CoxModel, Survival};
use oncograph::omics::{Target, TaskConfig, TaskKind, predict};
use oncograph::train::RunDir;
use std::path::PathBuf;

/// Years at which survival is told.
const YEARS: [f64; 3] = [1.0, 3.0, 5.0];

/// Features that are named.
const TOP: usize = 15;

/// Whose report is asked for.
///
/// # Errors
/// A name that is not in the cohort.
pub fn patient(config: &RunConfig, cohort: &Cohort) -> anyhow::Result<usize> {
    let ids = cohort.data.ids();
    let Some(id) = &config.patient else { return Ok(0) };
    let place = ids.iter().position(|i| i == id);
    place.with_context(|| format!("--patient {id}: not in the cohort, whose first patient is {}", ids[0]))
}

/// Writes `clinical/PATIENT.json` and `.md` into the run's folder, and says where the latter is.
pub fn write(
    config: &RunConfig,
    cohort: &Cohort,
    folds: &[Fold],
    run: &RunDir,
    p: usize,
) -> anyhow::Result<PathBuf> {
    let fold = folds.iter().find(|f| f.repeat == 0 && f.test.contains(&p));
    let fold = fold.with_context(|| format!("{}: held out in no fold", cohort.data.ids()[p]))?;
    let (train, validation) = inner_split(config, cohort, fold)?;
    let name = fold_name(&Variant::Full, fold);
    let network = Network::new(config, cohort, &Variant::Full, &train, &name)?;
    let mut hash = blake3::Hasher::new();
    let mut report = None;
    let mut predictions = vec![];
    for (k, task) in network.shape.tasks.iter().enumerate() {
        let file = run.file("folds").join(parameter_file(&name, &task.name));
        hash.update(&std::fs::read(&file).with_context(|| file.display().to_string())?);
        network.store.load(&file)?;
        if k == 0 {
            report = Some(explained(cohort, &network, p)?);
        }
        predictions.push(prediction(config, cohort, &network, task, (p, &train, &validation))?);
    }
    let mut report = report.context("there is no task")?;
    report.model.hash = format!("blake3:{}", hash.finalize().to_hex());
    report = predictions.into_iter().fold(report, ClinicalReport::prediction);
    let folder = run.folder("clinical")?;
    let id = &cohort.data.ids()[p];
    report.write(&folder, id)?;
    Ok(folder.join(format!("{id}.md")))
}

/// What is known of the patient, and what the first task's answer rests on.
fn explained(cohort: &Cohort, network: &Network, p: usize) -> anyhow::Result<ClinicalReport> {
    let identity = ModelIdentity {
        name: "MultimodalNet".into(),
        version: format!("oncograph {}", env!("CARGO_PKG_VERSION")),
        hash: String::new(),
    };
    let mut report = ClinicalReport::new(&cohort.data.ids()[p], identity).phantom(cohort.phantom);
    let observed = |row: &[f32]| row.iter().filter(|v| v.is_finite()).count();
    let covariates = cohort.data.covariates.row(p);
    report = report.data("patient", covariates.len(), covariates.iter().flatten().count());
    for (table, (_, rows)) in &cohort.data.tables {
        let columns = &network.prepared.scalers[table].columns;
        let kept: Vec<f32> = rows[p].iter().flat_map(|r| columns.iter().map(|c| r[*c])).collect();
        report = report.data(table, columns.len(), observed(&kept));
    }
    let (model, graphs, source) = (network.model.as_ref(), &network.graphs, &network.prepared.source);
    if let Some(shares) = predict(model, source, graphs, &[p], 1)?.importance {
        let shares: Vec<f64> = shares.to_dtype(DType::F64)?.to_vec2::<f64>()?.concat();
        for (name, share) in modality_names(cohort).into_iter().zip(shares) {
            let here = cohort.data.tables[pooled_type(&name)].1[p].is_some();
            report = report.modality(name, here.then_some(share));
        }
    }
    let of = attributed(network, &[p])?;
    let names = of.layout.iter().flat_map(|(table, width)| {
        let features = network.prepared.scalers.get(table).map(|s| &s.features[..]).unwrap_or_default();
        features.iter().take(*width).map(move |f| (table.clone(), f.clone()))
    });
    let mut features: Vec<_> = names
        .zip(of.values[0].iter().zip(&of.shares[0]))
        .map(|((table, name), (z, share))| (table, name, *z, *share))
        .collect();
    features.sort_by(|a, b| b.3.abs().total_cmp(&a.3.abs()).then_with(|| a.1.cmp(&b.1)));
    features.truncate(TOP);
    let task = &network.shape.tasks[0];
    let what = if task.kind.is_survival() { "risk" } else { "logit of the likeliest answer" };
    Ok(report
        .features(format!("{}: {what}, against a patient with average values", task.name), features)
        .note("The model was trained without this patient, in one fold of a cross-validation; nothing is calibrated but \
               the survival."))
}

/// One task's answer for patient `p`.
fn prediction(
    config: &RunConfig,
    cohort: &Cohort,
    network: &Network,
    task: &TaskConfig,
    (p, train, validation): (usize, &[usize], &[usize]),
) -> anyhow::Result<Prediction> {
    let tasks = std::slice::from_ref(task);
    let said = |patients: &[usize]| -> anyhow::Result<Vec<Vec<f64>>> {
        let (model, source) = (network.model.as_ref(), &network.prepared.source);
        let output = predict(model, source, &network.graphs, patients, config.batch)?;
        outputs(tasks, &output)?.remove(&task.name).with_context(|| format!("{}: no output", task.name))
    };
    let own = said(&[p])?.concat();
    let chances = |names: Vec<String>| -> Vec<Probability> {
        let one = |(name, probability): (String, &f64)| Probability { name, probability: *probability };
        names.into_iter().zip(&own).map(one).collect()
    };
    let name = task.name.clone();
    Ok(match (task.kind, &cohort.targets[&task.name]) {
        (TaskKind::Classes(_), _) => {
            Prediction::Classes { classes: chances(cohort.class_names(&task.name)), task: name }
        }
        (TaskKind::Labels(_), _) => {
            Prediction::Events { events: chances(cohort.data.events.clone()), task: name }
        }
        (_, target) => {
            let reference = said(train)?.concat();
            let below = reference.iter().filter(|r| **r < own[0]).count();
            let survival = match target {
                Target::Survival(times) => survival(times, validation, &said(validation)?.concat(), own[0]),
                _ => vec![],
            };
            let percentile = below as f64 / reference.len() as f64;
            Prediction::Survival { task: name, risk: own[0], percentile, survival }
        }
    })
}

/// Survival by a Cox model of the risk alone, on patients that the network was not trained on; as far as their times
/// reach, and nothing where they are too few for it.
fn survival(times: &[Option<FollowUp>], patients: &[usize], risks: &[f64], own: f64) -> Vec<SurvivalAt> {
    let known = patients.iter().zip(risks).filter_map(|(p, r)| times[*p].map(|f| (f, *r)));
    let (follow_up, risk): (Vec<FollowUp>, Vec<f64>) = known.unzip();
    let last = follow_up.iter().map(|f| f.in_years()).fold(0.0, f64::max);
    let years: Vec<f64> = YEARS.into_iter().filter(|y| *y <= last).collect();
    let fitted = || -> oncograph::metrics::Result<Vec<f64>> {
        let options = CoxConfig::new().ridge(1.0);
        let survival = Survival::of(&follow_up, TimeUnit::Years)?;
        let model = CoxModel::fit(&survival, &Covariates::new(&risk, 1)?, &options)?;
        model.survival(&Covariates::new(&[own], 1)?, &years)
    };
    let at = |(years, probability)| SurvivalAt { years, probability };
    fitted().unwrap_or_default().into_iter().zip(&years).map(|(s, y)| at((*y, s))).collect()
}

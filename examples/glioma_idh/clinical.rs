//! `--clinical`: the population graph on clinical covariates of real patients, against logistic regression on the same
//! folds.

use crate::evaluate::{METRICS_HEADER, Row, Scores, calibration, metrics_csv, row, sigmoid, table};
use crate::report::{RESEARCH, command};
use anyhow::Context;
use candle_core::{DType, Device};
use indicatif::ProgressBar;
use oncograph::brain::{
    BinaryTraining, PopulationBank, PopulationClassifierConfig, PopulationEdges, PopulationGraphConfig,
    Similarity,
};
use oncograph::datasets::glioma::{GliomaFeatures, GliomaTable, GliomaTableKind};
use oncograph::datasets::scaler::{PipelineConfig, ScalerKind, TabularPipeline};
use oncograph::datasets::splits::{Fold, repeated_stratified_k_fold, stratified_split};
use oncograph::metrics::{Covariates, LogisticRegression, LogisticRegressionConfig, RocCurve};
use oncograph::nn::optim::AdamConfig;
use oncograph::nn::{ParamStore, Seed};
use oncograph::report::chart::{RocSeries, roc};
use oncograph::report::{Banner, Report};
use oncograph::train::{FitConfig, OptimizerConfig, RunDir, StopFlag, fit};
use oncograph_examples::progress;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Every setting of a run on a clinical table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClinicalConfig {
    pub version: String,
    pub table: PathBuf,
    pub features: Vec<GliomaFeatures>,
    pub seed: u64,
    pub folds: usize,
    pub repeats: usize,
    /// The share of training patients on which training is stopped.
    pub validation: f64,
    /// The penalty of the logistic regression, on standardised covariates.
    pub ridge: f64,
    pub graph: PopulationGraphConfig,
    pub classifier: PopulationClassifierConfig,
    pub training: BinaryTraining,
    pub fit: FitConfig,
}

impl ClinicalConfig {
    pub fn new(table: PathBuf, seed: u64, folds: usize, repeats: usize) -> Self {
        ClinicalConfig {
            version: env!("CARGO_PKG_VERSION").into(),
            table,
            features: vec![GliomaFeatures::AgeSex, GliomaFeatures::PreOperative, GliomaFeatures::Pathology],
            seed,
            folds,
            repeats,
            validation: 0.2,
            ridge: 1.0,
            // A few covariates: their distance says how alike patients are, their direction little.
            graph: PopulationGraphConfig::default()
                .similarity(Similarity::Rbf { gamma: 0.5 })
                .threshold(0.5)
                .max_neighbours(Some(10))
                .fallback(Some(5)),
            classifier: PopulationClassifierConfig::new(1).channels([32, 32]).residual(true).dropout(0.2),
            training: BinaryTraining::new(),
            fit: FitConfig::new(200, OptimizerConfig::Adam(AdamConfig::new(5e-3).weight_decay(5e-4)))
                .early_stop(30),
        }
    }
}

const LOGISTIC: &str = "logistic regression";
const AGE_SEX: &str = "logistic regression, age and sex";
const INDUCTIVE: &str = "population graph, inductive";
const TRANSDUCTIVE: &str = "population graph, transductive";
const SHUFFLED: &str = "population graph, shuffled edges";
const NO_EDGES: &str = "same network, no edges";
const CONSTANT: &str = "prevalence";
const MODELS: [&str; 7] = [INDUCTIVE, TRANSDUCTIVE, SHUFFLED, NO_EDGES, LOGISTIC, AGE_SEX, CONSTANT];

/// What each model says of a fold's held-out patients, as probabilities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FoldScores {
    test: Vec<usize>,
    models: BTreeMap<String, Vec<f64>>,
}

/// A set of covariates with every model's scores and numbers.
type SetResult = (GliomaFeatures, (Vec<Scores>, Vec<Row>));

/// The covariates of all patients, one set scaled by each fold's training patients.
struct Patients {
    table: GliomaTable,
    labels: Vec<bool>,
}

pub fn run(config: &ClinicalConfig, run: &RunDir, stop: &StopFlag) -> anyhow::Result<()> {
    let all = GliomaTable::read(&config.table)?;
    let read = all.patients.len();
    let table = all.with_idh();
    let labels: Vec<bool> = table.patients.iter().map(|p| p.idh == Some(true)).collect();
    let patients = Patients { table, labels };
    let strata: Vec<usize> = patients.labels.iter().map(|l| usize::from(*l)).collect();
    let seed = Seed::new(config.seed);
    let folds = repeated_stratified_k_fold(&strata, config.folds, config.repeats, seed.stream("folds"))?;
    let done = RunDir::open(&run.folder("folds")?)?;
    let bar = progress((folds.len() * config.features.len()) as u64, "cross-validation");
    let mut results = vec![];
    let mut seen: Vec<Vec<String>> = vec![];
    for set in &config.features {
        // A table without a covariate of a set has two sets alike.
        let names = patients.table.features(*set)?.columns().to_vec();
        if seen.contains(&names) {
            continue;
        }
        seen.push(names);
        results.push((*set, evaluate_set(config, &patients, *set, &folds, &done, stop, &bar)?));
    }
    bar.finish();
    write(config, &patients, read, &results, run)
}

/// The pooled out-of-fold scores of one set of covariates.
fn evaluate_set(
    config: &ClinicalConfig,
    patients: &Patients,
    set: GliomaFeatures,
    folds: &[Fold],
    done: &RunDir,
    stop: &StopFlag,
    bar: &ProgressBar,
) -> anyhow::Result<(Vec<Scores>, Vec<Row>)> {
    let name = serde_json::to_value(set)?.as_str().unwrap_or_default().to_string();
    let n = patients.labels.len();
    let mut sums: BTreeMap<&str, Vec<f64>> = MODELS.iter().map(|m| (*m, vec![0.0; n])).collect();
    for fold in folds {
        let file = format!("{name}-{}-{}.json", fold.repeat, fold.fold);
        let scores: FoldScores = match done.read_json(&file)? {
            Some(scores) => scores,
            None => {
                if stop.is_requested() {
                    return Err(oncograph::train::Error::Stopped.into());
                }
                let seed = Seed::new(config.seed).stream(&file);
                let scores = run_fold(config, patients, set, fold, seed, stop)?;
                done.write_json(&file, &scores)?;
                scores
            }
        };
        for (model, sum) in &mut sums {
            let said = scores.models.get(*model).with_context(|| format!("{file}: no {model}"))?;
            scores.test.iter().zip(said).for_each(|(&i, p)| sum[i] += p / config.repeats as f64);
        }
        bar.inc(1);
    }
    let scores: Vec<Scores> = MODELS
        .iter()
        .map(|m| Scores { model: (*m).into(), probability: sums[m].clone(), threshold: 0.5 })
        .collect();
    let reference = &scores[4];
    let seed = Seed::new(config.seed).stream("bootstrap").stream(&name);
    // Folds differ a little in their prevalence, which must not be taken for a ranking.
    let mean = sums[CONSTANT].iter().sum::<f64>() / n as f64;
    let rows = scores.iter().map(|s| {
        let constant = Scores { probability: vec![mean; n], ..s.clone() };
        let scores = if s.model == CONSTANT { &constant } else { s };
        row(scores, &patients.labels, Some(reference), seed)
    });
    let rows = rows.collect::<anyhow::Result<Vec<_>>>()?;
    Ok((scores, rows))
}

/// Scaled covariates of all patients; only the training rows are fitted on.
fn scaled(patients: &Patients, set: GliomaFeatures, train: &[usize]) -> anyhow::Result<Vec<Vec<f64>>> {
    let features = patients.table.features(set)?;
    let config = PipelineConfig::new().scaler(ScalerKind::ZScore);
    Ok(TabularPipeline::fit(&features, train, &config)?.transform(&features)?.rows)
}

fn logistic(x: &[Vec<f64>], patients: &Patients, fold: &Fold, ridge: f64) -> anyhow::Result<Vec<f64>> {
    let take = |which: &[usize]| which.iter().flat_map(|&i| x[i].clone()).collect::<Vec<f64>>();
    let (train, test) = (take(&fold.train), take(&fold.test));
    let columns = x[0].len();
    let labels: Vec<bool> = fold.train.iter().map(|&i| patients.labels[i]).collect();
    let config = LogisticRegressionConfig::new().ridge(ridge);
    let model = LogisticRegression::fit(&labels, &Covariates::new(&train, columns)?, &config)?;
    Ok(model.probability(&Covariates::new(&test, columns)?)?)
}

fn run_fold(
    config: &ClinicalConfig,
    patients: &Patients,
    set: GliomaFeatures,
    fold: &Fold,
    seed: Seed,
    stop: &StopFlag,
) -> anyhow::Result<FoldScores> {
    let x = scaled(patients, set, &fold.train)?;
    let age_sex = scaled(patients, GliomaFeatures::AgeSex, &fold.train)?;
    let mut models = BTreeMap::new();
    models.insert(LOGISTIC.to_string(), logistic(&x, patients, fold, config.ridge)?);
    models.insert(AGE_SEX.into(), logistic(&age_sex, patients, fold, config.ridge)?);
    let mutants = fold.train.iter().filter(|&&i| patients.labels[i]).count();
    models.insert(CONSTANT.into(), vec![mutants as f64 / fold.train.len() as f64; fold.test.len()]);
    for model in [INDUCTIVE, TRANSDUCTIVE, SHUFFLED, NO_EDGES] {
        let logits = population(config, patients, &x, fold, model, seed, stop)?;
        models.insert(model.into(), logits.into_iter().map(sigmoid).collect());
    }
    Ok(FoldScores { test: fold.test.clone(), models })
}

/// Trains the classifier in one of its graphs; the logits of the held-out patients.
fn population(
    config: &ClinicalConfig,
    patients: &Patients,
    x: &[Vec<f64>],
    fold: &Fold,
    model: &str,
    seed: Seed,
    stop: &StopFlag,
) -> anyhow::Result<Vec<f64>> {
    let strata: Vec<usize> = fold.train.iter().map(|&i| usize::from(patients.labels[i])).collect();
    let fractions = [1.0 - config.validation, config.validation, 0.0];
    let inner = stratified_split(&strata, fractions, seed.stream("inner"))?;
    let graph = if model == NO_EDGES {
        // Nobody is as alike as that.
        config
            .graph
            .clone()
            .threshold(1.0)
            .similarity(Similarity::Pearson)
            .fallback(None)
            .max_neighbours(None)
    } else {
        config.graph.clone()
    };
    // Training patients first, so that new ones follow them.
    let pick = |rows: &[usize]| rows.iter().map(|&i| x[i].clone()).collect::<Vec<_>>();
    let (bank, new) = (pick(&fold.train), pick(&fold.test));
    let known = fold.train.iter().map(|&i| Some(patients.labels[i]));
    let hidden = fold.test.iter().map(|_| None);
    let labels: Vec<Option<bool>> = known.chain(hidden).collect();
    let edges = |rows: &[Vec<f64>]| -> anyhow::Result<PopulationEdges> {
        Ok(if model == NO_EDGES { PopulationEdges::default() } else { graph.edges(rows)? })
    };
    let device = Device::Cpu;
    let store = ParamStore::new(seed.stream("parameters"));
    let mut classifier = config.classifier.clone();
    classifier.features = x[0].len();
    let classifier = classifier.build(store.var_builder(DType::F32, &device))?;
    let rows = if model == TRANSDUCTIVE { [bank.clone(), new.clone()].concat() } else { bank.clone() };
    let mut joined = edges(&rows)?;
    if model == SHUFFLED {
        joined = joined.shuffled(bank.len(), seed.stream("shuffled"));
    }
    let numbers = |rows: &[usize]| rows.iter().map(|i| *i as u32).collect::<Vec<_>>();
    let (train, validation) = (numbers(&inner.train), numbers(&inner.validation));
    let held_out: Vec<u32> = (bank.len() as u32..(bank.len() + new.len()) as u32).collect();
    let training = &config.training;
    let mut learner =
        classifier.learner(&rows, &joined, &labels, &train, &validation, training, seed, &device)?;
    fit(&mut learner, &store, &config.fit, None, stop, |_| ())?;
    if model == TRANSDUCTIVE {
        return Ok(learner.logits(&held_out)?);
    }
    if model == INDUCTIVE {
        let bank = PopulationBank {
            ids: fold.train.iter().map(|&i| patients.table.patients[i].id.clone()).collect(),
            labels: fold.train.iter().map(|&i| patients.labels[i]).collect(),
            nodes: bank.clone(),
            links: bank,
            graph,
        };
        return Ok(bank.predict(&classifier, &new, &new, &device)?);
    }
    let mut attached =
        if model == NO_EDGES { PopulationEdges::default() } else { graph.attach(&bank, &new)? };
    if model == SHUFFLED {
        attached = attached.shuffled(bank.len(), seed.stream("shuffled"));
    }
    let all = [bank.clone(), new.clone()].concat();
    let joined = joined.and(&attached);
    let learner = classifier.learner(&all, &joined, &labels, &train, &[], training, seed, &device)?;
    Ok(learner.logits(&held_out)?)
}

fn caption(config: &ClinicalConfig, patients: &Patients, set: GliomaFeatures) -> anyhow::Result<String> {
    let mutants = patients.labels.iter().filter(|l| **l).count();
    let names = patients.table.features(set)?.columns().join(", ");
    Ok(format!(
        "{}: {} patients, {mutants} mutants; {names}. Mean of {} x {}-fold out-of-fold probabilities",
        cohort(patients.table.kind),
        patients.labels.len(),
        config.repeats,
        config.folds,
    ))
}

fn cohort(kind: GliomaTableKind) -> &'static str {
    match kind {
        GliomaTableKind::UcsfPdgm => "UCSF-PDGM",
        GliomaTableKind::Ceccarelli2016 => "TCGA (Ceccarelli 2016)",
        _ => "table",
    }
}

fn short_p(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}

/// What the table says, whichever way it went.
fn verdict(rows: &[Row]) -> String {
    let auc = |name: &str| {
        let row = rows.iter().find(|r| r.model == name);
        row.and_then(|r| r.auc.map(|a| (a.value, r.p_against))).unwrap_or((f64::NAN, None))
    };
    let (base, _) = auc(LOGISTIC);
    let said = [INDUCTIVE, TRANSDUCTIVE].map(|model| {
        let (value, p) = auc(model);
        let p = p.unwrap_or(1.0);
        let how = match (p < 0.05, value > base) {
            (true, true) => "ranks better than",
            (true, false) => "ranks worse than",
            (false, _) => "is not shown to differ from",
        };
        format!("{model}: AUC {value:.3} {how} logistic regression ({base:.3}, DeLong p {}).", short_p(p))
    });
    let (graph, alone, shuffled) = (auc(INDUCTIVE).0, auc(NO_EDGES).0, auc(SHUFFLED).0);
    format!(
        "{} Without edges the same network has {alone:.3}, with shuffled edges {shuffled:.3}: the graph itself is worth \
         {:+.3} and {:+.3}.",
        said.join(" "),
        graph - alone,
        graph - shuffled
    )
}

fn write(
    config: &ClinicalConfig,
    patients: &Patients,
    read: usize,
    results: &[SetResult],
    run: &RunDir,
) -> anyhow::Result<()> {
    let (mut metrics, mut predictions) =
        (METRICS_HEADER.to_string(), "patient,mutant,features,model,probability\n".to_string());
    let facts = [
        ("Data", config.table.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()),
        ("Patients", format!("{} with IDH status of {read} in the table", patients.labels.len())),
        ("Command", command()),
        ("Seed", config.seed.to_string()),
        ("Version", format!("oncograph {}", config.version)),
        ("Cross-validation", format!("{} folds, {} repetition(s)", config.folds, config.repeats)),
    ];
    let mut report = Report::new("Glioma: IDH from clinical covariates in a population graph")
        .banner(Banner::Notice(RESEARCH.into()))
        .facts(&facts);
    for (set, (scores, rows)) in results {
        let title = serde_json::to_value(set)?.as_str().unwrap_or_default().to_string();
        let table = table(caption(config, patients, *set)?, rows, Some(LOGISTIC));
        println!("{}", table.to_text());
        println!("{}\n", verdict(rows));
        metrics += &metrics_csv(&title, rows);
        for s in scores {
            for (patient, p) in patients.table.patients.iter().zip(&s.probability) {
                let mutant = u8::from(patient.idh == Some(true));
                predictions += &format!("\"{}\",{mutant},{title},\"{}\",{p}\n", patient.id, s.model);
            }
        }
        let curves = scores[..6].iter().map(|s| RocCurve::new(&patients.labels, &s.probability));
        let curves = curves.collect::<Result<Vec<_>, _>>()?;
        let series: Vec<_> = curves.iter().zip(scores).map(|(c, s)| RocSeries::new(&s.model, c)).collect();
        report = report.section(format!("Covariates: {title}"), |section| {
            if *set == GliomaFeatures::Pathology && patients.table.kind == GliomaTableKind::UcsfPdgm {
                section.paragraph(
                    "The grade in this table is that of the WHO classification of 2021, of which IDH is a part: these \
                     rows leak the label and are shown as a warning.",
                );
            }
            section.table(table);
            section.paragraph(verdict(rows));
            section.figure_or_reason("ROC", roc(&series));
            section.figure_or_reason("Calibration", calibration(&scores[0], &patients.labels));
        });
    }
    run.write("metrics.csv", metrics.as_bytes())?;
    run.write("predictions.csv", predictions.as_bytes())?;
    let path = run.file("report.html");
    report.write(&path)?;
    println!("{RESEARCH}\nreport: {}", path.display());
    Ok(())
}

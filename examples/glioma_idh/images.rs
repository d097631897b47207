//! A run on images: four stages, then every head on the same test patients.

use crate::cohort::{Cohort, Source};
use crate::evaluate::{METRICS_HEADER, Row, Scores, metrics_csv, row, sigmoid, table};
use crate::explain::explain;
use crate::images_config::{ImagesConfig, Vector};
use crate::images_report;
use crate::prepare::Prepared;
use crate::report::RESEARCH;
use crate::stages::{Curve, Embeddings, Roles, StageCost, Stages, roles};
use anyhow::{Context, bail};
use candle_core::{DType, Tensor};
use oncograph::brain::{
    BinaryLearner, BinaryTraining, BrainNetwork, Encoders, GliomaNet, GliomaNetConfig, PopulationBank,
    PopulationEdges, Tumour, feature_matrix,
};
use oncograph::datasets::scaler::ZScore;
use oncograph::metrics::{Covariates, LogisticRegression, LogisticRegressionConfig, delong_interval};
use oncograph::nn::{MlpConfig, Mode, ParamStore, Seed};
use oncograph::report::{Cell, ReportTable};
use oncograph::train::{FitConfig, Keep, RunDir, StopFlag, fit};
use oncograph_examples::{device, progress};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// What the command line asks for beside the settings.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub table: Option<u8>,
    pub ablate: bool,
    /// The last stage to run.
    pub stage: Option<u8>,
}

/// Everything that the report shows.
pub struct Evaluation {
    pub labels: Vec<bool>,
    pub scores: Vec<Scores>,
    /// Caption, rows.
    pub tables: Vec<(String, Vec<Row>)>,
    pub costs: Vec<StageCost>,
    pub curves: Vec<Curve>,
    pub bank: PopulationBank,
    pub links: Vec<Vec<f64>>,
    /// Probability of every test patient by the inductive graph.
    pub probability: Vec<f64>,
}

/// The names of the artefacts of a run, and what attributes are scaled by.
#[derive(Debug, Serialize, Deserialize)]
pub struct Artefacts {
    pub autoencoder: String,
    pub tracts: String,
    pub model: String,
    /// Of regions and tracts, if they are scaled.
    pub scalers: Option<(ZScore, ZScore)>,
}

/// What the classifier of a finished run needs for a new patient.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fitted {
    pub bank: PopulationBank,
    /// Scalers of u^T and u^B, if they are scaled.
    pub scalers: Option<(ZScore, ZScore)>,
}

pub fn run(
    config: &ImagesConfig,
    wanted: &Wanted,
    run: &RunDir,
    stop: &StopFlag,
    out: &std::path::Path,
) -> anyhow::Result<()> {
    let cache_at = out.join("cache").join("glioma_idh");
    std::fs::create_dir_all(&cache_at).with_context(|| cache_at.display().to_string())?;
    let cohort = Cohort::open(&config.source, &cache_at.join("patients"), stop)?;
    for note in &cohort.notes {
        eprintln!("{note}");
    }
    let roles = roles(&cohort, config)?;
    let mut stages = Stages {
        config,
        cohort: &cohort,
        device: device(&config.device)?,
        stop,
        cache: RunDir::open(&cache_at)?,
        costs: vec![],
        curves: vec![],
    };
    run.write_json("roles.json", &roles)?;
    let prepared = stages.prepare()?;
    let built = stages.networks(&roles)?;
    let upstream = built.key;
    if wanted.stage.is_some_and(|s| s <= 2) {
        return finish_early(&stages, run);
    }
    let tumours = tumours(prepared, built.networks)?;
    let (model, name) = stages.multi_modal(&config.model, &tumours, &roles, &upstream)?;
    let artefacts = Artefacts {
        autoencoder: built.autoencoder,
        tracts: built.tracts,
        model: name,
        scalers: built.scalers,
    };
    run.write_json("artefacts.json", &artefacts)?;
    if wanted.stage.is_some_and(|s| s <= 3) {
        return finish_early(&stages, run);
    }
    let start = Instant::now();
    let embeddings = Embeddings::of(&model, &tumours, &stages.device)?;
    stages.spent("embeddings", start, false);
    run.write_json("embeddings.json", &embeddings)?;
    let start = Instant::now();
    let heads = Heads { stages: &stages, roles: &roles, cohort: &cohort };
    let mut evaluation = heads.all(&embeddings)?;
    heads.save(&embeddings, run)?;
    stages.spent("4 population graph and heads", start, false);
    match wanted.table {
        Some(3) => baselines(&mut stages, &tumours, &roles, &mut evaluation)?,
        Some(4) => variants(
            &mut stages,
            &tumours,
            &roles,
            &upstream,
            &table_4(&config.model),
            "Table 4: encoders, losses and attention, MLP head",
            &mut evaluation,
        )?,
        _ => {}
    }
    if wanted.ablate {
        let rows = switches(&config.model);
        variants(&mut stages, &tumours, &roles, &upstream, &rows, "Switches, MLP head", &mut evaluation)?;
    }
    let start = Instant::now();
    let explained = explain(&stages, &tumours, &roles, &model, run)?;
    stages.spent("explanations", start, false);
    evaluation.costs.clone_from(&stages.costs);
    evaluation.curves.clone_from(&stages.curves);
    write(&cohort, &roles, &evaluation, run)?;
    images_report::write(
        &run.file("report.html"),
        config,
        &cohort,
        &roles,
        &tumours,
        &model,
        &explained,
        &evaluation,
    )?;
    for (caption, rows) in &evaluation.tables {
        println!("{}", table(caption.clone(), rows, Some(REFERENCE)).to_text());
    }
    println!("{}", images_report::costs(&evaluation.costs).to_text());
    if cohort.phantom {
        println!(
            "PHANTOM data: generated patients and a generated atlas; the numbers say nothing about real ones."
        );
    }
    println!("{RESEARCH}\nreport: {}", run.file("report.html").display());
    Ok(())
}

/// `--planted`: phantoms in which one signal alone depends on the genotype, and which encoders find it.
pub fn planted(config: &ImagesConfig, stop: &StopFlag, out: &std::path::Path) -> anyhow::Result<()> {
    let cache_at = out.join("cache").join("glioma_idh");
    std::fs::create_dir_all(&cache_at).with_context(|| cache_at.display().to_string())?;
    let signals = ["shape", "texture", "tract", "none"];
    let rows = table_4(&config.model);
    let encoders = ["f^I", "f^P", "f^B", "f^B+f^P", "full"];
    let header = std::iter::once("Signal").chain(encoders).chain([REFERENCE]);
    let mut found =
        ReportTable::new("AUC on the test patients by planted signal and encoders, MLP head", header);
    for signal in signals {
        let mut config = config.clone();
        let Source::Phantom(phantom) = &mut config.source else { bail!("--planted needs a phantom cohort") };
        let strength = |name: &str| if name == signal { PLANTED } else { 0.0 };
        phantom.shape_signal = strength("shape");
        phantom.texture_signal = strength("texture");
        phantom.tract_signal = strength("tract");
        let cohort = Cohort::open(&config.source, &cache_at, stop)?;
        let roles = roles(&cohort, &config)?;
        let mut stages = Stages {
            config: &config,
            cohort: &cohort,
            device: device(&config.device)?,
            stop,
            cache: RunDir::open(&cache_at)?,
            costs: vec![],
            curves: vec![],
        };
        let prepared = stages.prepare()?;
        let built = stages.networks(&roles)?;
        let tumours = tumours(prepared, built.networks)?;
        let labels: Vec<bool> = roles.test.iter().map(|&i| cohort.subjects[i].idh == Some(true)).collect();
        let mut cells = vec![Cell::text(signal)];
        for name in encoders {
            let Some((_, model)) = rows.iter().find(|r| r.0 == name) else { continue };
            let (model, _) = stages.multi_modal(model, &tumours, &roles, &built.key)?;
            let embeddings = Embeddings::of(&model, &tumours, &stages.device)?;
            let heads = Heads { stages: &stages, roles: &roles, cohort: &cohort };
            let logits = heads.mlp(&embeddings.rows(Vector::Both), name)?;
            let auc = delong_interval(&labels, &logits, 0.95)?;
            cells.push(Cell::interval(auc.auc, auc.lower, auc.upper, 2));
        }
        let heads = Heads { stages: &stages, roles: &roles, cohort: &cohort };
        let auc = delong_interval(&labels, &heads.covariates()?, 0.95)?;
        cells.push(Cell::interval(auc.auc, auc.lower, auc.upper, 2));
        found = found.row(cells);
    }
    println!("{}", found.to_text());
    println!(
        "PHANTOM data: generated patients and a generated atlas; the numbers say nothing about real ones."
    );
    Ok(())
}

/// The strength of a signal that is planted alone.
const PLANTED: f64 = 1.5;

fn finish_early(stages: &Stages, run: &RunDir) -> anyhow::Result<()> {
    run.write_json("costs.json", &stages.costs)?;
    println!("{}", images_report::costs(&stages.costs).to_text());
    println!("artefacts: {}", stages.cache.path().display());
    Ok(())
}

pub fn tumours(prepared: Vec<Prepared>, networks: Vec<BrainNetwork>) -> anyhow::Result<Vec<Tumour>> {
    let one =
        |(p, network): (Prepared, BrainNetwork)| Ok(Tumour::new(p.image, p.points, p.incidence, network)?);
    prepared.into_iter().zip(networks).map(one).collect()
}

/// One row of features per patient.
type Rows = Vec<Vec<f64>>;

/// The model that others are tested against.
const REFERENCE: &str = "age and sex";
const MLP: &str = "multi-modal + MLP";
const SVM: &str = "multi-modal + SVM";
const GRAPH: &str = "multi-modal + GNN, inductive";
const TRANSDUCTIVE: &str = "multi-modal + GNN, transductive";
const SHUFFLED: &str = "multi-modal + GNN, shuffled edges";

struct Heads<'a> {
    stages: &'a Stages<'a>,
    roles: &'a Roles,
    cohort: &'a Cohort,
}

impl Heads<'_> {
    fn config(&self) -> &ImagesConfig {
        self.stages.config
    }

    fn seed(&self, name: &str) -> Seed {
        Seed::new(self.config().seed).stream("heads").stream(name)
    }

    fn labels(&self, which: &[usize]) -> Vec<bool> {
        which.iter().map(|&i| self.cohort.subjects[i].idh == Some(true)).collect()
    }

    /// Half B first, then the test patients; scaled by half B where the configuration says so.
    fn rows(&self, all: &[Vec<f64>]) -> anyhow::Result<(Rows, Rows)> {
        let pick = |which: &[usize]| which.iter().map(|&i| all[i].clone()).collect::<Vec<_>>();
        let (mut train, mut test) = (pick(&self.roles.classifier), pick(&self.roles.test));
        if self.config().scale_embeddings {
            let rows: Vec<usize> = (0..train.len()).collect();
            let scaler = ZScore::fit(&train, &rows)?;
            (train, test) = (scaler.transform(&train)?, scaler.transform(&test)?);
        }
        Ok((train, test))
    }

    /// Half B, split again where the best epoch is kept: who trains, and who decides.
    fn inner(&self, keep: Keep, name: &str) -> (Vec<u32>, Vec<u32>) {
        use rand::seq::SliceRandom;
        let n = self.roles.classifier.len();
        let mut all: Vec<u32> = (0..n as u32).collect();
        if keep == Keep::Last {
            return (all, vec![]);
        }
        all.shuffle(&mut self.seed(name).stream("inner").rng());
        let held = (self.config().validation * n as f64).round() as usize;
        let mut validation = all.split_off(n - held);
        all.sort_unstable();
        validation.sort_unstable();
        (all, validation)
    }

    fn scores(&self, model: impl Into<String>, probability: Vec<f64>) -> Scores {
        Scores { model: model.into(), probability, threshold: self.config().threshold }
    }

    /// The logits of the test patients by an MLP on some rows.
    fn mlp(&self, all: &[Vec<f64>], name: &str) -> anyhow::Result<Vec<f64>> {
        let (train, test) = self.rows(all)?;
        let config = self.config();
        let device = &self.stages.device;
        let seed = self.seed(name);
        let store = ParamStore::new(seed);
        let mlp =
            MlpConfig::new([train[0].len(), config.mlp, 1]).build(store.var_builder(DType::F32, device))?;
        let x = feature_matrix(train.iter().chain(&test), device)?;
        let forward = |patients: &[u32], mode: Mode| -> oncograph::brain::Result<Tensor> {
            let index = Tensor::from_slice(patients, patients.len(), device)?;
            Ok(mlp.forward(&x.index_select(&index, 0)?, mode)?.squeeze(1)?)
        };
        let (rows, held) = self.inner(config.mlp_fit.keep, name);
        self.fit(forward, &rows, &held, &store, &config.mlp_fit, seed, test.len())
    }

    #[allow(clippy::too_many_arguments)] // each is a thing of its own, given once
    fn fit(
        &self,
        forward: impl Fn(&[u32], Mode) -> oncograph::brain::Result<Tensor>,
        rows: &[u32],
        held: &[u32],
        store: &ParamStore,
        config: &FitConfig,
        seed: Seed,
        test: usize,
    ) -> anyhow::Result<Vec<f64>> {
        let known = self.labels(&self.roles.classifier).into_iter().map(Some);
        let labels: Vec<Option<bool>> = known.chain(vec![None; test]).collect();
        let training = BinaryTraining::new();
        let mut learner = BinaryLearner::new(forward, &labels, rows, held, &training, seed)?;
        fit(&mut learner, store, config, None, self.stages.stop, |_| ())?;
        let n = self.roles.classifier.len() as u32;
        Ok(learner.logits(&(n..n + test as u32).collect::<Vec<_>>())?)
    }

    fn bank(&self, nodes: Vec<Vec<f64>>, links: Vec<Vec<f64>>) -> PopulationBank {
        PopulationBank {
            ids: self.roles.classifier.iter().map(|&i| self.cohort.subjects[i].id.clone()).collect(),
            labels: self.labels(&self.roles.classifier),
            nodes,
            links,
            graph: self.config().graph.clone(),
        }
    }

    /// The logits of the test patients by the population graph, with the edges as they are or shuffled.
    fn graph(
        &self,
        (nodes, links): (&[Vec<f64>], &[Vec<f64>]),
        transductive: bool,
        shuffle: bool,
    ) -> anyhow::Result<(Vec<f64>, ParamStore)> {
        let config = self.config();
        let device = &self.stages.device;
        let ((train, test), (bank_links, new_links)) = (self.rows(nodes)?, self.rows(links)?);
        let n = train.len();
        let seed = self.seed("population");
        let mut among = config.graph.edges(&bank_links)?;
        let mut attached = config.graph.attach(&bank_links, &new_links)?;
        let all_links = [bank_links, new_links].concat();
        if shuffle {
            (among, attached) = (among.shuffled(n, seed.at(1)), attached.shuffled(n, seed.at(1)));
        }
        let all = [train.clone(), test.clone()].concat();
        let store = ParamStore::new(seed);
        let mut classifier = config.classifier.clone();
        classifier.features = train[0].len();
        let classifier = classifier.build(store.var_builder(DType::F32, device))?;
        let known = self.labels(&self.roles.classifier).into_iter().map(Some);
        let labels: Vec<Option<bool>> = known.chain(vec![None; test.len()]).collect();
        let (rows, held) = self.inner(config.classifier_fit.keep, "population");
        let training = &config.classifier_training;
        let learn = |x: &[Vec<f64>], edges: &PopulationEdges| {
            classifier.learner(x, edges, &labels[..x.len()], &rows, &held, training, seed, device)
        };
        let held_out: Vec<u32> = (n as u32..all.len() as u32).collect();
        let fit_config = &config.classifier_fit;
        if transductive {
            let mut learner = learn(&all, &config.graph.edges(&all_links)?)?;
            fit(&mut learner, &store, fit_config, None, self.stages.stop, |_| ())?;
            return Ok((learner.logits(&held_out)?, store.clone()));
        }
        let mut learner = learn(&train, &among)?;
        fit(&mut learner, &store, fit_config, None, self.stages.stop, |_| ())?;
        Ok((learn(&all, &among.and(&attached))?.logits(&held_out)?, store.clone()))
    }

    /// Age and sex, logistic; with `more`, the logits of a model beside them, fitted on half B's own.
    fn covariates(&self) -> anyhow::Result<Vec<f64>> {
        let row = |i: &usize| -> anyhow::Result<[f64; 2]> {
            let s = &self.cohort.subjects[*i];
            let missing = || format!("patient {}: no age or sex", s.id);
            Ok([s.age.with_context(missing)?, f64::from(u8::from(s.male.with_context(missing)?))])
        };
        let of = |which: &[usize]| which.iter().map(row).collect::<anyhow::Result<Vec<_>>>();
        let wide = |rows: Vec<[f64; 2]>| rows.into_iter().map(|r| r.to_vec()).collect::<Vec<_>>();
        let (train, test) = (wide(of(&self.roles.classifier)?), wide(of(&self.roles.test)?));
        let all: Vec<usize> = (0..train.len()).collect();
        let scaler = ZScore::fit(&train, &all)?;
        let (train, test) = (scaler.transform(&train)?.concat(), scaler.transform(&test)?.concat());
        let labels = self.labels(&self.roles.classifier);
        let config = LogisticRegressionConfig::new().ridge(1.0);
        let model = LogisticRegression::fit(&labels, &Covariates::new(&train, 2)?, &config)?;
        Ok(model.probability(&Covariates::new(&test, 2)?)?)
    }

    fn prevalence(&self) -> Vec<f64> {
        let labels = self.labels(&self.roles.classifier);
        let share = labels.iter().filter(|l| **l).count() as f64 / labels.len() as f64;
        vec![share; self.roles.test.len()]
    }

    fn probabilities(logits: Vec<f64>) -> Vec<f64> {
        logits.into_iter().map(sigmoid).collect()
    }

    fn all(&self, embeddings: &Embeddings) -> anyhow::Result<Evaluation> {
        use Vector::{Both, Network, Tumour};
        let config = self.config();
        let bar = progress(10, "4 heads");
        let labels = self.labels(&self.roles.test);
        let (nodes, links) = config.population;
        let (nodes, links) = (embeddings.rows(nodes), embeddings.rows(links));
        let both = embeddings.rows(Both);
        let reference = self.scores(REFERENCE, self.covariates()?);
        let (logits, _) = self.graph((&nodes, &links), false, false)?;
        let probability = Self::probabilities(logits);
        bar.inc(1);
        let mut scores = vec![self.scores(GRAPH, probability.clone())];
        for (name, transductive, shuffle) in [(TRANSDUCTIVE, true, false), (SHUFFLED, false, true)] {
            let (logits, _) = self.graph((&nodes, &links), transductive, shuffle)?;
            scores.push(self.scores(name, Self::probabilities(logits)));
            bar.inc(1);
        }
        scores.push(self.scores(MLP, Self::probabilities(self.mlp(&both, "mlp")?)));
        let (train, test) = self.rows(&both)?;
        let svm = config.svm.fit(&train, &self.labels(&self.roles.classifier), self.seed("svm"))?;
        let svm = test.iter().map(|r| svm.probability(r)).collect::<Result<Vec<_>, _>>()?;
        scores.push(self.scores(SVM, svm));
        scores.push(reference.clone());
        scores.push(self.scores("prevalence", self.prevalence()));
        bar.inc(2);
        let mut pairs = vec![];
        let combinations =
            [(Tumour, Network), (Network, Tumour), (Both, Network), (Both, Tumour), (Both, Both)];
        let names = ["u^T ; r(u^B)", "u^B ; r(u^T)", "<u^T,u^B> ; r(u^B)", "<> ; r(u^T)", "<> ; r(<>)"];
        for ((nodes, links), name) in combinations.into_iter().zip(names) {
            let (logits, _) = self.graph((&embeddings.rows(nodes), &embeddings.rows(links)), false, false)?;
            pairs.push(self.scores(name, Self::probabilities(logits)));
            bar.inc(1);
        }
        bar.finish();
        let seed = self.seed("bootstrap");
        let rows = |scores: &[Scores]| {
            scores.iter().map(|s| row(s, &labels, Some(&reference), seed)).collect::<anyhow::Result<Vec<_>>>()
        };
        let tables = vec![
            ("Table 3: heads on the same embeddings".to_string(), rows(&scores)?),
            ("Table 2: node and edge vectors of the population graph, inductive".into(), rows(&pairs)?),
        ];
        let (train, _) = self.rows(&nodes)?;
        let (bank_links, new_links) = self.rows(&links)?;
        Ok(Evaluation {
            labels,
            scores,
            tables,
            costs: vec![],
            curves: vec![],
            bank: self.bank(train, bank_links),
            links: new_links,
            probability,
        })
    }

    /// The classifier of the population graph with its bank, for new patients.
    fn save(&self, embeddings: &Embeddings, run: &RunDir) -> anyhow::Result<()> {
        let config = self.config();
        let (nodes, links) = config.population;
        let (nodes, links) = (embeddings.rows(nodes), embeddings.rows(links));
        let (_, store) = self.graph((&nodes, &links), false, false)?;
        store.save(run.file("population.safetensors"))?;
        let fit = |all: &[Vec<f64>]| anyhow::Ok(ZScore::fit(all, &self.roles.classifier)?);
        let scalers = config
            .scale_embeddings
            .then(|| Ok::<_, anyhow::Error>((fit(&nodes)?, fit(&links)?)))
            .transpose()?;
        let ((train, _), (bank_links, _)) = (self.rows(&nodes)?, self.rows(&links)?);
        run.write_json("population.json", &Fitted { bank: self.bank(train, bank_links), scalers })?;
        Ok(())
    }
}

/// The rows of table 4.
fn table_4(base: &GliomaNetConfig) -> Vec<(String, GliomaNetConfig)> {
    let of = |image, surface, network| Encoders { image, surface, network };
    let sets = [
        ("f^I", of(true, false, false)),
        ("f^P", of(false, true, false)),
        ("f^B", of(false, false, true)),
        ("f^I+f^P", of(true, true, false)),
        ("f^B+f^P", of(false, true, true)),
        ("f^I+f^B", of(true, false, true)),
    ];
    let mut rows = vec![];
    for (name, encoders) in sets {
        // Without L the cross entropy is all there is to learn from.
        rows.push((name.to_string(), base.clone().encoders(encoders).losses(None, 1.0)));
    }
    for (name, encoders) in &sets[3..] {
        rows.push((format!("{name}+L"), base.clone().encoders(*encoders)));
    }
    rows.push(("no attention".into(), base.clone().attention(false, false)));
    rows.push(("no L_multi".into(), base.clone().losses(None, 1.0)));
    rows.push(("full".into(), base.clone()));
    rows
}

/// One switch at a time.
fn switches(base: &GliomaNetConfig) -> Vec<(String, GliomaNetConfig)> {
    use oncograph::brain::{EdgeGate, NoCross, NodeAttention, NodeHead};
    use oncograph::losses::{BiLevelConfig, Denominator};
    let include = BiLevelConfig::default().denominator(Denominator::IncludePositive);
    vec![
        ("full".into(), base.clone()),
        ("no attention over tracts".into(), base.clone().attention(false, true)),
        ("no attention over regions".into(), base.clone().attention(true, false)),
        ("G-09: attention not scaled".into(), base.clone().points_attention(false, NoCross::One)),
        ("G-10: tracts without a crossing vanish".into(), base.clone().points_attention(true, NoCross::Zero)),
        ("G-11: messages gated".into(), base.clone().edge_gate(EdgeGate::Messages)),
        ("G-14: linear".into(), base.clone().node_weight(NodeHead::Linear, true, base.node_weight)),
        ("G-16: raw cosine".into(), base.clone().node_weight(NodeHead::Mlp, true, NodeAttention::Raw)),
        ("G-18: positive in the denominator".into(), base.clone().losses(Some(include), base.classification)),
        ("G-23: contrastive loss alone".into(), base.clone().losses(Some(BiLevelConfig::default()), 0.0)),
    ]
}

/// Trains other models on half A and scores their embeddings with an MLP.
fn variants(
    stages: &mut Stages,
    tumours: &[Tumour],
    roles: &Roles,
    upstream: &str,
    variants: &[(String, GliomaNetConfig)],
    caption: &str,
    evaluation: &mut Evaluation,
) -> anyhow::Result<()> {
    let mut scores = vec![];
    for (name, config) in variants {
        let (model, _): (GliomaNet, String) = stages.multi_modal(config, tumours, roles, upstream)?;
        let embeddings = Embeddings::of(&model, tumours, &stages.device)?;
        let heads = Heads { stages, roles, cohort: stages.cohort };
        let logits = heads.mlp(&embeddings.rows(Vector::Both), name)?;
        scores.push(heads.scores(name.clone(), Heads::probabilities(logits)));
    }
    let heads = Heads { stages, roles, cohort: stages.cohort };
    scores.push(heads.scores(REFERENCE, heads.covariates()?));
    scores.push(heads.scores("prevalence", heads.prevalence()));
    let reference = scores[scores.len() - 2].clone();
    let seed = heads.seed("bootstrap");
    let rows = scores.iter().map(|s| row(s, &evaluation.labels, Some(&reference), seed));
    evaluation.tables.push((caption.to_string(), rows.collect::<anyhow::Result<Vec<_>>>()?));
    Ok(())
}

/// The image networks of table 3, on the tumour image of all training patients (both halves).
fn baselines(
    stages: &mut Stages,
    tumours: &[Tumour],
    roles: &Roles,
    evaluation: &mut Evaluation,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let heads = Heads { stages, roles, cohort: stages.cohort };
    let reference = heads.scores(REFERENCE, heads.covariates()?);
    let mut rows = vec![];
    for network in crate::cnn::NETWORKS {
        let name = network.name(stages.config.preset);
        let logits = crate::cnn::run(stages, tumours, roles, network)?;
        let scores = heads.scores(name, Heads::probabilities(logits));
        rows.push(row(&scores, &evaluation.labels, Some(&reference), heads.seed("bootstrap"))?);
        evaluation.scores.push(scores);
    }
    evaluation.tables[0].1.splice(0..0, rows);
    stages.spent("image networks", start, false);
    Ok(())
}

fn write(cohort: &Cohort, roles: &Roles, evaluation: &Evaluation, run: &RunDir) -> anyhow::Result<()> {
    let mut metrics = METRICS_HEADER.to_string();
    for (caption, rows) in &evaluation.tables {
        metrics += &metrics_csv(caption, rows);
    }
    let mut predictions = "patient,mutant,model,probability\n".to_string();
    for s in &evaluation.scores {
        for (&i, p) in roles.test.iter().zip(&s.probability) {
            let subject = &cohort.subjects[i];
            let mutant = u8::from(subject.idh == Some(true));
            predictions += &format!("\"{}\",{mutant},\"{}\",{p}\n", subject.id, s.model);
        }
    }
    run.write("metrics.csv", metrics.as_bytes())?;
    run.write("predictions.csv", predictions.as_bytes())?;
    run.write_json("costs.json", &evaluation.costs)?;
    Ok(())
}

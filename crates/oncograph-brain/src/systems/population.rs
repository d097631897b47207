use super::{Fixed, Scaled, answers, in_one_go, sigmoid};
use crate::pipeline::GliomaCohort;
use crate::presets::EmbeddingVector;
use crate::stages::GliomaStages;
use crate::{
    PopulationBank, PopulationClassifier, PopulationData, PopulationEdges, PopulationMode, Result,
    feature_matrix,
};
use candle_core::{DType, Device};
use oncograph_core::Split;
use oncograph_datasets::scaler::ZScore;
use oncograph_nn::{Mode, ParamStore, Seed};
use oncograph_study::{Answers, Cohort, Fitted, Job, System};
use serde::{Deserialize, Serialize};

/// Stage 4: the population graph, trained on half B.
#[derive(Debug, Clone)]
pub struct PopulationHead<'s> {
    stages: &'s GliomaStages<'s>,
    vectors: (EmbeddingVector, EmbeddingVector),
    mode: PopulationMode,
    joined: Joined,
    covariates: bool,
    deployed: bool,
}

/// Which patients exchange messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joined {
    /// Those who are alike.
    Alike,
    /// As many, drawn at random.
    AtRandom,
    /// None: what is left is a network on each patient.
    Nobody,
}

impl<'s> PopulationHead<'s> {
    /// The head with the configured node and edge vectors, inductive.
    pub fn new(stages: &'s GliomaStages<'s>) -> Self {
        let vectors = stages.config().population;
        PopulationHead {
            stages,
            vectors,
            mode: PopulationMode::Inductive,
            joined: Joined::Alike,
            covariates: false,
            deployed: false,
        }
    }

    /// Sets the node and edge vectors.
    pub fn vectors(mut self, nodes: EmbeddingVector, links: EmbeddingVector) -> Self {
        self.vectors = (nodes, links);
        self
    }

    /// Puts the test patients into the graph that is trained on; their labels stay hidden.
    pub fn transductive(mut self) -> Self {
        self.mode = PopulationMode::Transductive;
        self
    }

    /// Lets each edge lead from a patient drawn at random.
    pub fn shuffled_edges(mut self) -> Self {
        self.joined = Joined::AtRandom;
        self
    }

    /// Takes all edges away.
    pub fn without_edges(mut self) -> Self {
        self.joined = Joined::Nobody;
        self
    }

    /// Adds age and sex, as [`Cohort::design`] gives them, to the node vectors; edges stay as they are.
    pub fn with_age_and_sex(mut self) -> Self {
        self.covariates = true;
        self
    }

    /// Keeps the model with the results of the study, and what the report shows of its graph.
    pub fn deployed(mut self) -> Self {
        self.deployed = true;
        self
    }
}

/// What the population graph needs for a new patient beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PopulationModel {
    /// Half B.
    pub bank: PopulationBank,
    /// The scalers of node and edge vectors, if they are scaled.
    pub scalers: Option<(ZScore, ZScore)>,
}

/// What a study keeps of the deployed head for the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PopulationReport {
    /// Half B.
    pub bank: PopulationBank,
    /// The edge vectors of the held-out patients.
    pub links: Vec<Vec<f64>>,
}

/// A trained population graph.
pub struct PopulationFitted {
    /// Node and edge vectors of every row.
    vectors: [Vec<Vec<f64>>; 2],
    nodes: Scaled,
    links: Scaled,
    bank: PopulationBank,
    classifier: PopulationClassifier,
    store: ParamStore,
    joined: Joined,
    seed: Seed,
    transductive: Option<Fixed>,
    device: Device,
    deployed: bool,
}

impl PopulationHead<'_> {
    fn train(&self, data: &GliomaCohort, split: &Split, job: &mut Job<'_>) -> Result<PopulationFitted> {
        let (stages, config) = (self.stages, self.stages.config());
        let net = stages.net(data, split, &config.model)?;
        let [mut all_nodes, all_links] = [self.vectors.0, self.vectors.1].map(|v| net.embeddings.rows(v));
        if self.covariates {
            let design = data.design(&split.validation)?;
            all_nodes.iter_mut().zip(design.rows).for_each(|(node, row)| node.extend(row));
        }
        let nodes = stages.scaled(&all_nodes, &split.validation)?;
        let links = stages.scaled(&all_links, &split.validation)?;
        let seed = stages.head_seed("population");
        let store = ParamStore::new(seed);
        let mut classifier = config.classifier.clone();
        classifier.features = nodes.bank.first().map_or(0, Vec::len);
        let classifier = classifier.build(store.var_builder(DType::F32, stages.device()))?;
        let bank = PopulationBank {
            ids: data.ids_of(&split.validation).into_iter().map(String::from).collect(),
            labels: data.mutants(&split.validation),
            nodes: nodes.bank.clone(),
            links: links.bank.clone(),
            graph: config.graph.clone(),
        };
        let mut fitted = PopulationFitted {
            vectors: [all_nodes, all_links],
            nodes,
            links,
            bank,
            classifier,
            store,
            joined: self.joined,
            seed: seed.at(1),
            transductive: None,
            device: stages.device().clone(),
            deployed: self.deployed,
        };
        let test = match self.mode {
            PopulationMode::Inductive => vec![],
            PopulationMode::Transductive => split.test.clone(),
        };
        let inner = stages.inner(data, &split.validation, config.classifier_fit.keep, "population");
        let logits = self.learn(&fitted, (&inner, &test), job)?;
        if self.mode == PopulationMode::Transductive {
            fitted.transductive = Some(Fixed::new(&test, logits.into_iter().map(sigmoid)));
        }
        Ok(fitted)
    }

    /// Trains the classifier on half B, of whom some decide on the epoch, with the rows `test` in the graph; their logits.
    fn learn(
        &self,
        fitted: &PopulationFitted,
        (inner, test): (&Split, &[usize]),
        job: &mut Job<'_>,
    ) -> Result<Vec<f64>> {
        let config = self.stages.config();
        let n = fitted.bank.nodes.len();
        let [nodes, links] = fitted.rows(test)?;
        let x = [fitted.bank.nodes.clone(), nodes].concat();
        let edges = match test {
            [] => fitted.among()?,
            _ => config.graph.edges(&[fitted.bank.links.clone(), links].concat())?,
        };
        let known = fitted.bank.labels.iter().map(|l| Some(*l));
        let labels: Vec<Option<bool>> = known.chain(vec![None; test.len()]).collect();
        let training = &config.classifier_training;
        let seed = self.stages.head_seed("population");
        let data = PopulationData { x: &x, edges: &edges, labels: &labels };
        let mut learner = fitted.classifier.learner(data, inner, training, seed, &fitted.device)?;
        job.train(&mut learner, &fitted.store, &in_one_go(&config.classifier_fit))?;
        match test {
            [] => Ok(vec![]),
            _ => learner.logits(&(n as u32..x.len() as u32).collect::<Vec<_>>()),
        }
    }
}

impl System for PopulationHead<'_> {
    type Data = GliomaCohort;
    type Fitted = PopulationFitted;

    fn fit(
        &self,
        data: &GliomaCohort,
        split: &Split,
        job: &mut Job<'_>,
    ) -> oncograph_study::Result<PopulationFitted> {
        Ok(self.train(data, split, job)?)
    }
}

impl PopulationFitted {
    /// The edges among half B.
    fn among(&self) -> Result<PopulationEdges> {
        self.joined(self.bank.edges()?)
    }

    /// Edges from patients of half B as this head has them.
    fn joined(&self, edges: PopulationEdges) -> Result<PopulationEdges> {
        Ok(match self.joined {
            Joined::Alike => edges,
            Joined::AtRandom => edges.shuffled(self.bank.nodes.len(), self.seed),
            Joined::Nobody => PopulationEdges::default(),
        })
    }

    /// Node and edge vectors of some rows.
    fn rows(&self, rows: &[usize]) -> Result<[Vec<Vec<f64>>; 2]> {
        let [nodes, links] = &self.vectors;
        Ok([self.nodes.apply(nodes, rows)?, self.links.apply(links, rows)?])
    }

    /// The probabilities of new patients, each as if it were the only one.
    fn inductive(&self, rows: &[usize]) -> Result<Vec<f64>> {
        let [nodes, links] = self.rows(rows)?;
        let n = self.bank.nodes.len();
        let attached = self.joined(self.bank.graph.attach(&self.bank.links, &links)?)?;
        let edges = self.among()?.and(&attached);
        let x = feature_matrix(self.bank.nodes.iter().chain(&nodes), &self.device)?;
        let logits = self.classifier.forward(&x, &edges.graph(n + rows.len(), &self.device)?, Mode::Eval)?;
        let logits = logits.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        Ok(logits[n..].iter().map(|z| sigmoid(*z)).collect())
    }
}

impl Fitted<GliomaCohort> for PopulationFitted {
    fn answer(&self, _data: &GliomaCohort, rows: &[usize]) -> oncograph_study::Result<Answers> {
        match &self.transductive {
            Some(fixed) => fixed.answer(rows),
            None => Ok(answers(self.inductive(rows)?)),
        }
    }

    fn extras(&self, _data: &GliomaCohort, rows: &[usize]) -> oncograph_study::Result<serde_json::Value> {
        if !self.deployed {
            return Ok(serde_json::Value::Null);
        }
        let [_, links] = self.rows(rows)?;
        let report = PopulationReport { bank: self.bank.clone(), links };
        serde_json::to_value(report).map_err(oncograph_study::Error::system)
    }

    fn files(&self) -> oncograph_study::Result<Vec<(String, Vec<u8>)>> {
        if !self.deployed {
            return Ok(vec![]);
        }
        let scalers = self.nodes.scaler.clone().zip(self.links.scaler.clone());
        let model = PopulationModel { bank: self.bank.clone(), scalers };
        let json = serde_json::to_vec(&model).map_err(oncograph_study::Error::system)?;
        let weights = crate::weights::to_bytes(&self.store)?;
        Ok(vec![("population.json".into(), json), ("population.safetensors".into(), weights)])
    }

    fn parameters(&self) -> usize {
        self.store.parameter_count()
    }
}

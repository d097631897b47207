//! The population graph on clinical tables: whether joining patients helps where there are no images.

use crate::systems::{in_one_go, sigmoid};
use crate::{
    BinaryTraining, PopulationBank, PopulationClassifier, PopulationClassifierConfig, PopulationData,
    PopulationEdges, PopulationGraphConfig, Result, Similarity, feature_matrix,
};
use candle_core::{DType, Device};
use oncograph_core::{AtFile, Split, Table};
use oncograph_datasets::glioma::{GliomaFeatures, GliomaTable, GliomaTableKind};
use oncograph_datasets::patients::PatientGroups;
use oncograph_datasets::scaler::{Matrix, PipelineConfig, ScalerKind, TabularPipeline};
use oncograph_nn::optim::AdamConfig;
use oncograph_nn::{Mode, ParamStore, Seed};
use oncograph_study::{Answer, Answers, Cohort, Fitted, Job, System, Target, Task};
use oncograph_train::{FitConfig, OptimizerConfig};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;

/// Configuration of a study of the population graph on a clinical table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GliomaTablesConfig {
    /// The version of the code.
    pub version: String,
    /// The table.
    pub table: PathBuf,
    /// The sets of covariates.
    pub features: Vec<GliomaFeatures>,
    /// The root of all random draws.
    pub seed: u64,
    /// Folds of the cross-validation.
    pub folds: usize,
    /// Repetitions of the cross-validation.
    pub repeats: usize,
    /// The share of training patients on which training is stopped.
    pub validation: f64,
    /// The penalty of the logistic regression, on standardised covariates.
    pub ridge: f64,
    /// Which patients are joined.
    pub graph: PopulationGraphConfig,
    /// The classifier.
    pub classifier: PopulationClassifierConfig,
    /// Its batches.
    pub training: BinaryTraining,
    /// Its training.
    pub fit: FitConfig,
}

impl GliomaTablesConfig {
    /// All sets of covariates, and a graph by distance: with few covariates the distance measures how alike patients are, the
    /// direction hardly does.
    pub fn new(table: impl Into<PathBuf>) -> Self {
        GliomaTablesConfig {
            version: env!("CARGO_PKG_VERSION").into(),
            table: table.into(),
            features: vec![
                GliomaFeatures::AgeSex,
                GliomaFeatures::PreOperative,
                GliomaFeatures::Pathology,
                GliomaFeatures::All,
            ],
            seed: 1,
            folds: 5,
            repeats: 5,
            validation: 0.2,
            ridge: 1.0,
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

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        self.classifier.validate()?;
        self.graph.validate()?;
        self.fit.validate()?;
        if self.features.is_empty() {
            return Err(crate::Error::config("GliomaTablesConfig", "features", "at least one set", "none"));
        }
        if !(self.validation > 0.0 && self.validation < 1.0) {
            let expected = "between 0 and 1";
            return Err(crate::Error::config("GliomaTablesConfig", "validation", expected, self.validation));
        }
        Ok(())
    }
}

/// Patients of a clinical table whose IDH status is known, with one set of covariates.
#[derive(Debug, Clone)]
pub struct TableCohort {
    /// Which table it is.
    pub kind: GliomaTableKind,
    /// Rows of the table, with or without IDH status.
    pub read: usize,
    features: Table,
    tasks: Vec<Task>,
    groups: PatientGroups,
}

impl TableCohort {
    /// The patients of a table with the covariates of a set.
    ///
    /// # Errors
    /// As [`GliomaTable::features`]; a table without any covariate of the set.
    pub fn new(table: &GliomaTable, set: GliomaFeatures) -> Result<Self> {
        let read = table.patients.len();
        let known = table.clone().with_idh();
        let names = crate::GliomaCohort::CLASSES.map(String::from).to_vec();
        let classes = known.patients.iter().map(|p| p.idh.map(usize::from)).collect();
        let tasks = vec![Task::new(crate::GliomaCohort::TASK, Target::Classes { names, classes })];
        let (groups, features) = (known.groups(), known.features(set)?);
        if features.columns().is_empty() {
            let cause = format!("no covariate of the set {set:?} is known of any patient with IDH status");
            return Err(AtFile::new(&table.path, cause).into());
        }
        Ok(TableCohort { kind: table.kind, read, features, tasks, groups })
    }

    /// How many patients there are: a table may have several rows of one.
    pub fn patients(&self) -> usize {
        self.groups.count()
    }

    /// The names of the covariates.
    pub fn covariates(&self) -> &[String] {
        self.features.columns()
    }

    /// Whether each patient is a mutant.
    pub fn mutants(&self) -> Vec<bool> {
        match &self.tasks[0].target {
            Target::Classes { classes, .. } => classes.iter().map(|c| *c == Some(1)).collect(),
            _ => vec![],
        }
    }
}

impl Cohort for TableCohort {
    fn ids(&self) -> &[String] {
        self.features.ids()
    }

    fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    fn groups(&self) -> Option<Vec<usize>> {
        Some(self.groups.numbers().to_vec())
    }

    fn design(&self, train: &[usize]) -> oncograph_study::Result<Matrix> {
        let config = PipelineConfig::new().scaler(ScalerKind::ZScore);
        Ok(TabularPipeline::fit(&self.features, train, &config)?.transform(&self.features)?)
    }

    fn fingerprint(&self) -> String {
        format!("{:?} {:?}", self.features.columns(), self.features.rows().collect::<Vec<_>>())
    }
}

/// What joins patients in a [`TablePopulation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableVariant {
    /// Similarity; new patients are joined to the training patients.
    Inductive,
    /// Similarity, with the held-out patients in the graph that is trained on.
    Transductive,
    /// As many edges from patients drawn at random.
    ShuffledEdges,
    /// Nothing.
    NoEdges,
}

impl TableVariant {
    /// All of them.
    pub const ALL: [TableVariant; 4] = [
        TableVariant::Inductive,
        TableVariant::Transductive,
        TableVariant::ShuffledEdges,
        TableVariant::NoEdges,
    ];

    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            TableVariant::Inductive => "population graph, inductive",
            TableVariant::Transductive => "population graph, transductive",
            TableVariant::ShuffledEdges => "population graph, shuffled edges",
            TableVariant::NoEdges => "same network, no edges",
        }
    }
}

/// The population graph on the covariates of a table, scaled by the training patients.
#[derive(Debug, Clone)]
pub struct TablePopulation<'c> {
    config: &'c GliomaTablesConfig,
    variant: TableVariant,
}

impl<'c> TablePopulation<'c> {
    /// A system with these settings.
    pub fn new(config: &'c GliomaTablesConfig, variant: TableVariant) -> Self {
        TablePopulation { config, variant }
    }

    fn train(&self, data: &TableCohort, split: &Split, job: &mut Job<'_>) -> Result<TableFitted> {
        let mut known = [split.train.clone(), split.validation.clone()].concat();
        known.sort_unstable();
        let x = data.design(&known)?.rows;
        let all = data.mutants();
        let pick = |rows: &[usize]| rows.iter().map(|&i| x[i].clone()).collect::<Vec<_>>();
        let test = if self.variant == TableVariant::Transductive { split.test.as_slice() } else { &[] };
        let rows = [pick(&known), pick(test)].concat();
        let (seed, device) = (job.seed(), job.device().clone());
        let store = ParamStore::new(seed.stream("parameters"));
        let mut classifier = self.config.classifier.clone();
        // A covariate with gaps brings a column that marks them.
        classifier.features = x.first().map_or(0, Vec::len);
        let classifier = classifier.build(store.var_builder(DType::F32, &device))?;
        let bank = PopulationBank {
            ids: known.iter().map(|&i| data.ids()[i].clone()).collect(),
            labels: known.iter().map(|&i| all[i]).collect(),
            nodes: pick(&known),
            links: pick(&known),
            graph: self.config.graph.clone(),
        };
        let parameters = store.parameter_count();
        let mut fitted =
            TableFitted { bank, classifier, variant: self.variant, seed, x, fixed: None, device, parameters };
        let place = |rows: &[usize]| -> Vec<usize> {
            rows.iter().filter_map(|r| known.binary_search(r).ok()).collect()
        };
        let edges = match test {
            [] => fitted.among()?,
            _ => fitted.bank.graph.edges(&rows)?,
        };
        let labels = fitted.bank.labels.iter().map(|l| Some(*l)).chain(vec![None; test.len()]);
        let labels: Vec<Option<bool>> = labels.collect();
        let places = Split::new(place(&split.train), place(&split.validation), vec![]);
        let data = PopulationData { x: &rows, edges: &edges, labels: &labels };
        let training = &self.config.training;
        let mut learner = fitted.classifier.learner(data, &places, training, seed, &fitted.device)?;
        job.train(&mut learner, &store, &in_one_go(&self.config.fit))?;
        let logits = match test {
            [] => vec![],
            _ => learner.logits(&(known.len() as u32..rows.len() as u32).collect::<Vec<_>>())?,
        };
        drop(learner);
        if !test.is_empty() {
            fitted.fixed = Some(test.iter().copied().zip(logits).collect());
        }
        Ok(fitted)
    }
}

impl System for TablePopulation<'_> {
    type Data = TableCohort;
    type Fitted = TableFitted;

    fn fit(
        &self,
        data: &TableCohort,
        split: &Split,
        job: &mut Job<'_>,
    ) -> oncograph_study::Result<TableFitted> {
        Ok(self.train(data, split, job)?)
    }
}

/// A trained [`TablePopulation`].
#[derive(Debug)]
pub struct TableFitted {
    bank: PopulationBank,
    classifier: PopulationClassifier,
    variant: TableVariant,
    seed: Seed,
    /// The covariates of all rows in the units of the training patients.
    x: Vec<Vec<f64>>,
    /// The logits of the patients who were in the graph that was trained on.
    fixed: Option<HashMap<usize, f64>>,
    device: Device,
    parameters: usize,
}

impl TableFitted {
    /// Edges of the variant, of those that similarity gives.
    fn edges(&self, similar: impl FnOnce() -> Result<PopulationEdges>) -> Result<PopulationEdges> {
        Ok(match self.variant {
            TableVariant::NoEdges => PopulationEdges::default(),
            TableVariant::ShuffledEdges => {
                similar()?.shuffled(self.bank.nodes.len(), self.seed.stream("shuffled"))
            }
            _ => similar()?,
        })
    }

    fn among(&self) -> Result<PopulationEdges> {
        self.edges(|| self.bank.edges())
    }

    fn logits(&self, rows: &[usize]) -> Result<Vec<f64>> {
        if let Some(fixed) = &self.fixed {
            let unknown = |r: &usize| crate::Error::input("TableFitted", "rows of the graph", r);
            return rows.iter().map(|r| fixed.get(r).copied().ok_or_else(|| unknown(r))).collect();
        }
        let new: Vec<Vec<f64>> = rows.iter().map(|&i| self.x[i].clone()).collect();
        let attached = self.edges(|| self.bank.graph.attach(&self.bank.links, &new))?;
        let (n, edges) = (self.bank.nodes.len(), self.among()?.and(&attached));
        let x = feature_matrix(self.bank.nodes.iter().chain(&new), &self.device)?;
        let logits = self.classifier.forward(&x, &edges.graph(n + new.len(), &self.device)?, Mode::Eval)?;
        Ok(logits.to_dtype(DType::F64)?.to_vec1::<f64>()?[n..].to_vec())
    }
}

impl Fitted<TableCohort> for TableFitted {
    fn answer(&self, _data: &TableCohort, rows: &[usize]) -> oncograph_study::Result<Answers> {
        let answer = |z: f64| Answer::Probabilities(vec![1.0 - sigmoid(z), sigmoid(z)]);
        let all = self.logits(rows)?.into_iter().map(answer).collect();
        Ok(Answers::from([(crate::GliomaCohort::TASK.to_string(), all)]))
    }

    fn parameters(&self) -> usize {
        self.parameters
    }
}

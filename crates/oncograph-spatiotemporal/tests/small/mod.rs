//! Networks, patients and trainings that are as small as they can be.

#![allow(dead_code)] // not every test needs all of it

use candle_core::DType;
use oncograph_core::{FollowUp, Split};
use oncograph_graph::HeteroGraph;
use oncograph_nn::testing::device;
use oncograph_nn::{ParamStore, Seed};
use oncograph_spatiotemporal::{
    Architecture, EdgeDirection, GnnKind, NodeIdentity, NodeSubset, NodeTable, Stg, StgConfig, StgData,
    StgLearner, SurvivalLoss, TaskWeighting, TemporalInput, TrainingConfig, Unify,
};

pub const PATIENTS: usize = 10;
pub const FEATURES: usize = 5;
pub const COVARIATES: usize = 3;

fn table(images: bool) -> NodeTable {
    let wave = |n: usize, k: f32| (0..n).map(|i| (i as f32 * k).sin()).collect::<Vec<_>>();
    let images = images.then(|| wave(PATIENTS * 6 * 3 * FEATURES, 0.7));
    NodeTable::new(images, FEATURES, wave(PATIENTS * COVARIATES, 1.3), COVARIATES, &device()).unwrap()
}

fn graphs(table: &NodeTable) -> Vec<HeteroGraph> {
    (0..PATIENTS).map(|p| table.graph(p, [[0.1 * p as f32, 0.5, 0.3]; 5]).unwrap()).collect()
}

fn outcomes() -> Vec<[FollowUp; 2]> {
    let time =
        |p: usize, shift: f64| FollowUp::years(0.5 + p as f64 * 0.9 + shift, !p.is_multiple_of(3)).unwrap();
    (0..PATIENTS).map(|p| [time(p, 0.0), time(p, 0.4)]).collect()
}

pub fn small(config: StgConfig) -> StgConfig {
    config.features(FEATURES).hidden(4).lstm_hidden(3).time(4, 2)
}

/// Every switch of the network at least once.
pub fn variants() -> Vec<StgConfig> {
    let (d, f) = (|| small(StgConfig::decoupled(COVARIATES)), || small(StgConfig::full(COVARIATES)));
    vec![
        d(),
        d().temporal(TemporalInput::Share2, false),
        d().temporal(TemporalInput::Recon3, true).last_linear(true),
        d().gnn(GnnKind::Gcn),
        d().gnn(GnnKind::Gat).temporal(TemporalInput::Recon3, false),
        d().gnn(GnnKind::SageClosed),
        d().node_type(NodeIdentity::OneHot),
        d().survival_loss(SurvivalLoss::DiscreteHazard),
        d().survival_loss(SurvivalLoss::Cox),
        d().survival_loss(SurvivalLoss::MseCox).cascade(true, true),
        d().survival_loss(SurvivalLoss::Hinge),
        d().node_type(NodeIdentity::Embedding).dropout(0.2),
        d().weighting(TaskWeighting::Uncertainty).edges(EdgeDirection::FromAnatomy),
        f(),
        f().node_type(NodeIdentity::OneHot),
        f().edges(EdgeDirection::ToAnatomy).last_linear(true).dropout(0.2),
        f().unify(Unify::Stack).cascade(true, false).survival_loss(SurvivalLoss::MseEvents),
        f().unify(Unify::Concat).gnn(GnnKind::Gat),
        d().architecture(Architecture::Static),
    ]
}

/// The networks of the paper's ablation, which have fewer nodes.
pub fn ablations() -> Vec<StgConfig> {
    let flat = |nodes| small(StgConfig::decoupled(COVARIATES)).architecture(Architecture::Flat).nodes(nodes);
    vec![
        small(StgConfig::decoupled(COVARIATES)).architecture(Architecture::Static).nodes(NodeSubset::Images),
        small(StgConfig::full(COVARIATES)).nodes(NodeSubset::Images).node_type(NodeIdentity::OneHot),
        flat(NodeSubset::CtAndClinical),
        flat(NodeSubset::Ct).node_type(NodeIdentity::OneHot),
    ]
}

pub struct Setup {
    pub table: NodeTable,
    pub graphs: Vec<HeteroGraph>,
    pub outcomes: Vec<[FollowUp; 2]>,
}

impl Setup {
    pub fn new(images: bool) -> Self {
        let table = table(images);
        Setup { graphs: graphs(&table), outcomes: outcomes(), table }
    }

    pub fn of(nodes: NodeSubset) -> Self {
        let all = Setup::new(true);
        Setup { graphs: all.graphs.iter().map(|graph| nodes.of(graph).unwrap()).collect(), ..all }
    }

    pub fn learner<'a>(&'a self, model: &'a Stg, epochs: usize, seed: u64) -> StgLearner<'a> {
        self.learner_with(model, TrainingConfig::new(epochs).batch(16), seed).unwrap()
    }

    pub fn learner_with<'a>(
        &'a self,
        model: &'a Stg,
        config: TrainingConfig,
        seed: u64,
    ) -> oncograph_spatiotemporal::Result<StgLearner<'a>> {
        let split = Split::new((0..7).collect(), vec![7, 8, 9], vec![]);
        let data = StgData { table: &self.table, graphs: &self.graphs, outcomes: &self.outcomes };
        StgLearner::new(model, data, &split, config, Seed::new(seed))
    }
}

pub fn model(config: &StgConfig, dtype: DType) -> (ParamStore, Stg) {
    let store = ParamStore::new(Seed::new(2));
    let model = Stg::new(config, store.var_builder(dtype, &device())).unwrap();
    (store, model)
}

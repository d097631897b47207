//! The federation: one site, several, kills, missing labels.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Tensor};
use oncograph_core::{FollowUp, Split};
use oncograph_nn::optim::AdamWConfig;
use oncograph_nn::testing::{device, pattern};
use oncograph_nn::{ParamStore, Seed};
use oncograph_omics::*;
use oncograph_study::Target;
use oncograph_train::{
    FitConfig, FitOutcome, Keep, Learner, OptimizerConfig, StepLoss, StopFlag, Validation, fit,
};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

const PATIENTS: usize = 48;

/// Forty-eight patients; the last 16 have no class.
struct World {
    config: OmicsNetConfig,
    cohort: MemoryCohort,
    graphs: SharedGraphs,
    targets: BTreeMap<String, Target>,
}

/// One model and its parameters.
struct Model {
    store: ParamStore,
    net: OmicsNet,
    weights: MultiTaskLoss,
}

impl World {
    fn new() -> Self {
        let config = OmicsNetConfig::new(
            1,
            vec![NodeTypeConfig::diag("gene", 6)],
            vec![ModalityConfig::new("genomics", ["gene"])],
            vec![
                TaskConfig::new("survival", TaskKind::SurvivalCox),
                TaskConfig::new("class", TaskKind::Classes(2)),
            ],
        )
        .quick()
        .hidden(8)
        .heads(2);
        let genes: Vec<Vec<f32>> =
            pattern(&[PATIENTS, 6], 8).unwrap().to_dtype(DType::F32).unwrap().to_vec2().unwrap();
        let time = |g: &Vec<f32>| FollowUp::years((-2.0 * g[1]).exp() as f64, g[2] > -0.8).unwrap();
        let times = genes.iter().map(|g| Some(time(g))).collect();
        let class = |(i, g): (usize, &Vec<f32>)| (i < 32).then_some(usize::from(g[0] > 0.0));
        let names = ["low", "high"].map(String::from).to_vec();
        let classes = genes.iter().enumerate().map(class).collect();
        let targets = BTreeMap::from([
            ("survival".to_string(), Target::Survival(times)),
            ("class".to_string(), Target::Classes { names, classes }),
        ]);
        let rows: Vec<_> = genes.into_iter().map(Some).collect();
        let cohort = MemoryCohort::new(&vec![vec![1.0]; PATIENTS], &device()).unwrap();
        let edges = [TypedEdges::new("gene", "gene", vec![(0, 1), (1, 2), (3, 4)])];
        let graphs = SharedGraphs::new(&config, &edges).unwrap();
        World { cohort: cohort.with("gene", &rows).unwrap(), config, graphs, targets }
    }

    fn model(&self) -> Model {
        let store = ParamStore::new(Seed::new(1));
        let vb = store.var_builder(DType::F32, &device());
        let net = self.config.build(vb.clone()).unwrap();
        let weights = MultiTaskLoss::new(Weighting::Uncertainty, &self.config, vb).unwrap();
        Model { store, net, weights }
    }

    /// Of some patients every fourth validates.
    fn learner<'a>(&'a self, model: &'a Model, patients: std::ops::Range<usize>) -> OmicsLearner<'a> {
        let (train, validation) = patients.clone().partition(|p| p % 4 > 0);
        let seed = Seed::new(2).at(patients.start as u64);
        let data = OmicsData { source: &self.cohort, graphs: &self.graphs, targets: &self.targets };
        let split = Split::new(train, validation, vec![]);
        OmicsLearner::new(&model.net, data, &model.weights, &split, 8, seed).unwrap()
    }
}

fn optimizer() -> OptimizerConfig {
    OptimizerConfig::AdamW(AdamWConfig::new(5e-3).weight_decay(0.01))
}

fn bits(store: &ParamStore) -> BTreeMap<String, Vec<u32>> {
    let values =
        |t: &Tensor| t.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
    let named_bits = |(n, t): (String, Tensor)| (n, values(&t).into_iter().map(f32::to_bits).collect());
    store.snapshot().unwrap().into_iter().map(named_bits).collect()
}

#[test]
fn one_site_is_local_training_bit_for_bit() {
    let world = World::new();
    for (local_epochs, keep, mu) in [(3, Keep::Last, 0.0), (1, Keep::Best, 0.0)] {
        let rounds = 6 / local_epochs;
        let local = world.model();
        let options = FitConfig::new(6, optimizer()).keep(keep).clip_norm(1.0);
        let mut learner = world.learner(&local, 0..48);
        let whole = fit(&mut learner, &local.store, &options, None, &StopFlag::new(), |_| ()).unwrap();
        let model = world.model();
        let mut learner = world.learner(&model, 0..48);
        let mut sites = [Site { name: "only".into(), patients: 36, learner: &mut learner }];
        let config = FederationConfig::new(rounds, optimizer()).local_epochs(local_epochs).proximal(mu);
        let config = config.keep(keep).clip_norm(1.0);
        let dir = tempfile::tempdir().unwrap();
        let found =
            federate(&mut sites, &model.store, &config, dir.path(), &StopFlag::new(), |_| ()).unwrap();
        assert_eq!(bits(&model.store), bits(&local.store), "{local_epochs} epochs, {keep:?}");
        assert_eq!(found.history.last().unwrap().score, whole.history.last().unwrap().score);
        assert_eq!(found.history.len(), rounds);
    }
}

/// A learner that requests a stop before its `after`-th step.
struct Stopping<'a> {
    learner: OmicsLearner<'a>,
    after: usize,
    steps: &'a std::cell::Cell<usize>,
    stop: StopFlag,
}

impl Learner for Stopping<'_> {
    fn steps(&self, epoch: usize) -> usize {
        self.learner.steps(epoch)
    }

    fn train_step(&mut self, epoch: usize, step: usize) -> oncograph_train::Result<StepLoss> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() == self.after {
            self.stop.request();
        }
        self.learner.train_step(epoch, step)
    }

    fn validate(&mut self, epoch: usize) -> oncograph_train::Result<Validation> {
        self.learner.validate(epoch)
    }
}

/// Two sites, killed after some steps or not at all.
fn two(world: &World, mu: f64, folder: &Path, after: usize) -> (Result<FitOutcome>, Model) {
    let model = world.model();
    let stop = StopFlag::new();
    let steps = std::cell::Cell::new(0);
    let wrap = |learner| Stopping { learner, after, steps: &steps, stop: stop.clone() };
    let (mut a, mut b) = (wrap(world.learner(&model, 0..32)), wrap(world.learner(&model, 32..48)));
    let mut sites = [
        Site { name: "a".into(), patients: 24, learner: &mut a },
        Site { name: "b".into(), patients: 12, learner: &mut b },
    ];
    let config = FederationConfig::new(3, optimizer()).local_epochs(2).proximal(mu).clip_norm(1.0);
    let outcome = federate(&mut sites, &model.store, &config, folder, &stop, |_| ());
    (outcome, model)
}

#[test]
fn a_killed_federation_ends_with_the_same_bits() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let (whole, model) = two(&world, 0.1, dir.path(), usize::MAX);
    let whole = whole.unwrap();
    // Three rounds of two epochs of 3 and 2 steps.
    for after in 1..30 {
        let dir = tempfile::tempdir().unwrap();
        let (first, _) = two(&world, 0.1, dir.path(), after);
        let stopped =
            |e: &Error| matches!(e, Error::Train(e) if matches!(**e, oncograph_train::Error::Stopped));
        assert!(first.as_ref().is_err_and(stopped), "after {after}: {first:?}");
        let (second, resumed) = two(&world, 0.1, dir.path(), usize::MAX);
        assert_eq!(second.unwrap(), whole, "after {after}");
        assert_eq!(bits(&resumed.store), bits(&model.store), "after {after}");
    }
}

#[test]
fn the_proximal_term_holds_sites_together_and_zero_is_fed_avg() {
    let world = World::new();
    let run = |mu: f64| {
        let dir = tempfile::tempdir().unwrap();
        two(&world, mu, dir.path(), usize::MAX).0.unwrap()
    };
    let (free, held) = (run(0.0), run(100.0));
    let moved = |o: &FitOutcome| o.history.iter().map(|r| r.train_parts["update a"]).sum::<f64>();
    assert!(moved(&held) < 0.9 * moved(&free), "{} and {}", moved(&held), moved(&free));
    assert!(free.history.iter().all(|r| r.score.is_finite() && r.validation_parts.len() == 2));
}

#[test]
fn a_site_without_a_label_leaves_its_task_to_the_others() {
    let world = World::new();
    let head = |site: std::ops::Range<usize>| -> (HashMap<String, Tensor>, Model) {
        let model = world.model();
        let before = model.store.snapshot().unwrap();
        let mut learner = world.learner(&model, site);
        let options = FitConfig::new(1, optimizer()).keep(Keep::Last);
        fit(&mut learner, &model.store, &options, None, &StopFlag::new(), |_| ()).unwrap();
        (before, model)
    };
    let (before, without) = head(32..48);
    let (_, with) = head(0..32);
    let same = |name: &str, a: &HashMap<String, Tensor>, b: &HashMap<String, Tensor>| {
        let v = |t: &Tensor| t.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
        v(&a[name]) == v(&b[name])
    };
    let (after, trained) = (without.store.snapshot().unwrap(), with.store.snapshot().unwrap());
    let untouched: Vec<&String> = before.keys().filter(|n| same(n, &before, &after)).collect();
    let of_class: Vec<&String> = untouched.iter().copied().filter(|n| n.contains("class")).collect();
    assert!(!of_class.is_empty(), "{untouched:?}");
    // In the federation the head is that of the site that has labels, bit for bit, not a mean with the start.
    let model = world.model();
    let (mut a, mut b) = (world.learner(&model, 0..32), world.learner(&model, 32..48));
    let mut sites = [
        Site { name: "a".into(), patients: 24, learner: &mut a },
        Site { name: "b".into(), patients: 12, learner: &mut b },
    ];
    let config = FederationConfig::new(1, optimizer());
    let dir = tempfile::tempdir().unwrap();
    federate(&mut sites, &model.store, &config, dir.path(), &StopFlag::new(), |_| ()).unwrap();
    let global = model.store.snapshot().unwrap();
    for name in &of_class {
        assert!(same(name, &global, &trained) && !same(name, &global, &before), "{name}");
    }
    let shared = global.keys().find(|n| !untouched.contains(n) && !same(n, &global, &trained));
    assert!(shared.is_some(), "nothing was averaged");
}

#[test]
fn what_does_not_fit_is_named() {
    let world = World::new();
    let model = world.model();
    let dir = tempfile::tempdir().unwrap();
    let run = |names: [&str; 2], patients: usize, config: &FederationConfig| {
        let (mut a, mut b) = (world.learner(&model, 0..32), world.learner(&model, 32..48));
        let mut sites = [
            Site { name: names[0].into(), patients, learner: &mut a },
            Site { name: names[1].into(), patients: 1, learner: &mut b },
        ];
        federate(&mut sites, &model.store, config, dir.path(), &StopFlag::new(), |_| ())
    };
    let says = |r: Result<FitOutcome>| r.unwrap_err().to_string();
    let good = FederationConfig::new(1, optimizer());
    assert_eq!(says(run(["a", "a"], 1, &good)), "names of sites: expected each once, got a");
    assert!(says(run(["a", "../b"], 1, &good)).starts_with("name of a site: expected letters"));
    assert_eq!(says(run(["a", "b"], 0, &good)), "patients of site a: expected at least 1, got 0");
    assert_eq!(
        says(run(["a", "b"], 1, &good.clone().proximal(-1.0))),
        "FederationConfig: proximal must be 0 or more, got -1"
    );
    assert_eq!(
        says(run(["a", "b"], 1, &good.clone().local_epochs(0))),
        "FederationConfig: local_epochs must be at least 1, got 0"
    );
    let twice = FederationConfig::new(2, optimizer());
    run(["a", "b"], 1, &twice).unwrap();
    // The files of two rounds do not fit a federation of longer ones, nor other sites.
    let longer = FederationConfig::new(3, optimizer()).local_epochs(3);
    assert!(says(run(["a", "b"], 1, &longer)).contains("expected 6 to 9 epochs, got 2"));
    let more = FederationConfig::new(3, optimizer());
    assert!(says(run(["a", "c"], 1, &more)).contains("site-c.safetensors: expected 2 epochs, got no file"));
    assert_eq!(traffic(&model.store, 2).unwrap() % 16, 0);
}

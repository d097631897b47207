//! The acceptance list of the specification's section 14 that concerns the network and its training.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use candle_core::{DType, Tensor};
use oncograph_gnn::Adjacency;
use oncograph_graph::Graph;
use oncograph_nn::optim::AdamWConfig;
use oncograph_nn::testing::{check_module, device, devices, pattern};
use oncograph_nn::{ParamStore, Seed};
use oncograph_spatiotemporal::{
    Architecture, LossConfig, NodeIdentity, NodeSubset, NodeTable, Stg, StgConfig, SurvivalLoss,
    TaskWeighting, ViewContrast,
};
use oncograph_train::{FitConfig, Learner, OptimizerConfig, StopFlag, fit};
use std::sync::Arc;

mod small;

use small::{COVARIATES, FEATURES, PATIENTS, Setup, ablations, model, small, variants};

/// Two patients' nodes from their inputs in plain f64 operations, through [`oncograph_spatiotemporal::NodeInputs`].
fn assembled(model: &Stg, x: &[Tensor]) -> candle_core::Result<Tensor> {
    let weights = model.nodes().pooling().unwrap().reshape((1, 3, 1))?;
    let images = x[0].broadcast_mul(&weights)?.sum(1)?;
    let all = Tensor::cat(&[images, model.nodes().clinical(&x[1]).unwrap()], 0)?;
    let order = Tensor::new(&[0u32, 1, 2, 3, 4, 5, 12, 6, 7, 8, 9, 10, 11, 13], x[0].device())?;
    let nodes = all.index_select(&order, 0)?;
    match model.config().node_type {
        NodeIdentity::None => Ok(nodes),
        NodeIdentity::Embedding => {
            let kinds: Vec<u32> = (0..14).map(|node| node % 7).collect();
            Ok(model.nodes().with_identity(&nodes, &kinds).unwrap())
        }
        NodeIdentity::OneHot => {
            let kinds = pattern(&[14, 7], 5).unwrap().to_device(x[0].device())?;
            Tensor::cat(&[nodes, kinds], 1)
        }
    }
}

#[test]
fn every_variant_keeps_the_contract_of_a_module() {
    let ends = |a: usize, b: usize| (0..10).map(move |i| ([i / 2, 5 + i % 2][a] + 7 * b) as u32);
    let (mut sources, mut targets) = (vec![], vec![]);
    for patient in 0..2 {
        sources.extend(ends(0, patient).chain(ends(1, patient)));
        targets.extend(ends(1, patient).chain(ends(0, patient)));
    }
    let adjacency = Arc::new(Adjacency::new(14, 14, &sources, &targets).unwrap());
    let owner: Vec<u32> = (0..14).map(|node| node / 7).collect();
    // A cascade that is cut has another gradient than its differences on purpose; variances belong to the loss.
    let whole = |c: &StgConfig| !c.detach_cascade && c.weighting == TaskWeighting::Scheduled;
    let configs = variants().into_iter().filter(whole);
    let devices = devices();
    for (config, device) in configs.flat_map(|config| devices.iter().map(move |d| (config.clone(), d))) {
        let forward = |model: &Stg, x: &[Tensor]| {
            let attributes = pattern(&[40, 3], 9)?.to_device(x[0].device())?;
            let graph = Graph::new(adjacency.clone(), Some(attributes), &owner, 2)?;
            let y = model.forward(&assembled(model, x)?, &graph)?;
            Ok::<_, oncograph_spatiotemporal::Error>(Tensor::cat(&[&y.recurrence, &y.survival], 1)?)
        };
        let shapes: [&[usize]; 2] = [&[12, 3, FEATURES], &[2, COVARIATES]];
        let checked = check_module(&config, |c, vb| Stg::new(c, vb), forward, &shapes, &[], device);
        checked.unwrap_or_else(|cause| panic!("{config:?} on {:?}: {cause}", device.location()));
    }
}

/// Section 14: a batch gives each patient what it gets alone.
#[test]
fn a_batch_equals_its_graphs_one_by_one() {
    for config in variants().into_iter().chain(ablations()) {
        let setup = Setup::of(config.nodes);
        let (_, model) = model(&config, DType::F32);
        let learner = setup.learner(&model, 1, 1);
        let together = learner.output(&(0..PATIENTS).collect::<Vec<_>>()).unwrap();
        for p in 0..PATIENTS {
            let alone = learner.output(&[p]).unwrap();
            for (a, b) in [(&alone.survival, &together.survival), (&alone.recurrence, &together.recurrence)] {
                let (a, b) = (a.to_vec2::<f32>().unwrap(), b.to_vec2::<f32>().unwrap());
                for (x, y) in a[0].iter().zip(&b[p]) {
                    approx::assert_relative_eq!(x, y, epsilon = 1e-6, max_relative = 1e-5);
                }
            }
        }
    }
}

/// Section 14: gradients; every parameter of every variant receives one.
#[test]
fn every_parameter_receives_a_finite_gradient() {
    for config in variants().into_iter().chain(ablations()) {
        let setup = Setup::of(config.nodes);
        let (store, model) = model(&config, DType::F32);
        let mut learner = setup.learner(&model, 3, 1);
        let loss = learner.train_step(0, 0).unwrap().loss;
        let gradients = store.backward(&loss).unwrap();
        for (name, _) in store.trainable() {
            // The logit of a Cox head has no bias to learn: it cancels in every ratio.
            let cancels =
                config.survival_loss == SurvivalLoss::Cox && name.ends_with("bias") && name.len() <= 9;
            let gradient =
                gradients.get(&name).unwrap_or_else(|| panic!("{name} has no gradient: {config:?}"));
            let values = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!(values.iter().all(|v| v.is_finite()), "{name}");
            // A hidden unit that no input drives is dead under ReLU; a whole parameter must not be.
            assert!(cancels || values.iter().any(|v| *v != 0.0), "{name} is not trained: {config:?}");
        }
    }
}

/// Section 14: node drop runs without panic, down to no anatomical node at all.
#[test]
fn nodes_can_be_dropped() {
    let setup = Setup::new(true);
    for config in variants() {
        let (_, model) = model(&config, DType::F32);
        let learner = setup.learner(&model, 1, 1);
        for kept in 0..=5 {
            let keep: Vec<bool> = (0..5).map(|i| i < kept).collect();
            let view = setup.graphs[0].retain_nodes("anatomy", &keep).unwrap();
            let output = learner.output_of(&[&view, &setup.graphs[1]]).unwrap();
            let values = output.survival.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!(values.iter().all(|v| v.is_finite()));
        }
    }
}

fn trained(config: &StgConfig, seed: u64, images: bool) -> (Vec<u32>, f64, f64) {
    let setup = Setup::new(images);
    let (store, model) = model(config, DType::F32);
    let mut learner = setup.learner(&model, 30, seed);
    let options = FitConfig::new(30, OptimizerConfig::AdamW(AdamWConfig::new(5e-3)));
    let outcome = fit(&mut learner, &store, &options, None, &StopFlag::new(), |_| ()).unwrap();
    let values = |v: &candle_core::Var| v.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let bits = store.trainable().iter().flat_map(|(_, v)| values(v)).map(f32::to_bits).collect();
    (bits, outcome.history[0].train_loss, outcome.history[29].train_loss)
}

/// Section 14: identical seed, identical bits, on one and on two threads; another seed, others.
#[test]
fn the_seed_decides_every_bit() {
    let config = small(StgConfig::decoupled(COVARIATES));
    let on = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| trained(&config, seed, true).0)
    };
    let one = on(1, 5);
    assert_eq!(one, on(2, 5));
    assert_ne!(one, on(1, 6));
}

#[test]
fn training_lowers_the_loss_with_and_without_images() {
    for config in [small(StgConfig::decoupled(COVARIATES)), small(StgConfig::full(COVARIATES))] {
        for images in [true, false] {
            let (_, first, last) = trained(&config, 1, images);
            assert!(last < 0.8 * first, "{:?}, images {images}: {first} to {last}", config.architecture);
        }
    }
}

/// Nodes that a row of the ablation leaves out, and the weights that only they need, are not there.
#[test]
fn a_set_of_nodes_is_the_whole_input() {
    let counts = |nodes: NodeSubset| {
        let graph = &Setup::of(nodes).graphs[0];
        (graph.node_count(), graph.edge_count())
    };
    let all = [NodeSubset::All, NodeSubset::Images, NodeSubset::CtAndClinical, NodeSubset::Ct].map(counts);
    assert_eq!(all, [(7, 20), (6, 10), (2, 0), (1, 0)]);
    let names = |config: &StgConfig| -> Vec<String> {
        model(config, DType::F32).0.trainable().into_iter().map(|(name, _)| name).collect()
    };
    let flat = small(StgConfig::decoupled(COVARIATES)).architecture(Architecture::Flat);
    let ct = names(&flat.clone().nodes(NodeSubset::Ct));
    assert!(ct.iter().all(|n| !n.starts_with("nodes.clinical") && !n.starts_with("time")), "{ct:?}");
    assert!(
        names(&flat.clone().nodes(NodeSubset::CtAndClinical)).iter().any(|n| n == "nodes.clinical.weight")
    );
    let error = flat.validate().unwrap_err().to_string();
    assert!(error.starts_with("StgConfig: nodes must be ct or ct_and_clinical"), "{error}");
}

#[test]
fn configurations_survive_json_and_bad_ones_are_refused() {
    let aligned = LossConfig::default().contrast(Some(ViewContrast::Align));
    assert_eq!(aligned, serde_json::from_str(&serde_json::to_string(&aligned).unwrap()).unwrap());
    assert_eq!(StgConfig::full(3).architecture, Architecture::Full);
    let store = ParamStore::new(Seed::new(0));
    let vb = store.var_builder(DType::F32, &device());
    let error = Stg::new(&StgConfig::decoupled(0), vb).unwrap_err();
    assert_eq!(error.to_string(), "StgConfig: clinical must be at least 1, got 0");
    let rows = Tensor::zeros((1, 2), DType::F32, &device());
    assert!(rows.is_ok() && NodeTable::new(Some(vec![0.0; 7]), 2, vec![0.0], 1, &device()).is_err());
}

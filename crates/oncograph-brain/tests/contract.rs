//! The contract of every module of this crate: see `module_contract!`.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use candle_core::{DType, Tensor};
use oncograph_brain::{
    AutoencoderConfig, EdgeInput, GeometryEncoderConfig, ImageEncoderConfig, ImageHead, NetworkEncoder,
    NetworkEncoderConfig, PopulationClassifier, PopulationClassifierConfig, TractEncoderConfig,
};
use oncograph_graph::Graph;
use oncograph_losses::Denominator;
use oncograph_nn::segment::Adjacency;
use oncograph_nn::testing::device;
use oncograph_nn::{Mode, ParamStore, Seed, module_contract};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Two graphs of three and two nodes, with attributes on every edge; nothing joins nodes 3 and 4.
fn graph(attributes: &Tensor) -> Result<Graph> {
    let edges = Adjacency::new(5, 5, &[0, 1, 1, 2, 0], &[1, 0, 2, 1, 2])?;
    Ok(Graph::new(Arc::new(edges), Some(attributes.clone()), &[0, 0, 0, 1, 1], 2)?)
}

fn network(model: &NetworkEncoder, x: &[Tensor]) -> Result<Tensor> {
    Ok(model.forward(&x[0], &graph(&x[1])?)?)
}

fn masked(model: &NetworkEncoder, x: &[Tensor]) -> Result<Tensor> {
    let graph = graph(&x[1])?;
    Ok(model.head(&model.embed_masked(&x[0], &graph, &x[2])?, &graph, None)?)
}

fn population(model: &PopulationClassifier, x: &[Tensor]) -> Result<Tensor> {
    Ok(model.forward(&x[0], &graph(&x[1])?, Mode::Eval)?)
}

module_contract! {
    autoencoder: AutoencoderConfig::default().widths([6, 5, 3]), |m, x| m.forward(&x[0]), [[4, 6]];
    tract_encoder: TractEncoderConfig::default().widths([6, 5, 4], [3, 5, 4], [4, 5, 3]).temperature(0.5),
        |m, x| m.loss(&x[0], &x[1], &[0, 1, 2, 0]), [[4, 6], [4, 3]];
    tract_encoder_other_denominator:
        TractEncoderConfig::default().widths([6, 4], [3, 4], [4, 3])
            .denominator(Denominator::IncludePositive).mask_same_tract(true),
        |m, x| m.loss(&x[0], &x[1], &[0, 1, 2, 0]), [[4, 6], [4, 3]];
    image_encoder:
        ImageEncoderConfig::default().input(2, [5, 6, 4]).channels([3, 2]).dense([4, 3]).head(ImageHead::Gap),
        |m, x| m.forward(&x[0], false), [[2, 2, 5, 6, 4]];
    network_encoder: NetworkEncoderConfig::default().input(3, 2).channels([4, 3]).dense([4, 2]),
        |m, x| network(m, x), [[5, 3], [5, 2]];
    network_encoder_masked:
        NetworkEncoderConfig::default().input(3, 2).channels([4, 3]).dense([4, 2]).heads(2),
        |m, x| masked(m, x), [[5, 3], [5, 2], [5]];
    population_classifier: PopulationClassifierConfig::new(3).channels([5, 3]).heads(3),
        |m, x| population(m, x), [[5, 3], [5, 1]];
    population_classifier_residual: PopulationClassifierConfig::new(3).channels([4]).heads(2).residual(true),
        |m, x| population(m, x), [[5, 3], [5, 1]];
}

/// The gradients of the geometry encoder's parameters by finite differences. Its points are data: which of them are
/// neighbours does not depend on them smoothly.
#[test]
fn geometry_encoder() {
    let config = GeometryEncoderConfig::default().channels([4, 3]).dense([4, 2]).radius(1.2, 1.5, 6);
    let points: Vec<f64> = (0..36).map(|i| ((i * 7 % 11) as f64 / 11.0 - 0.5) * (1 + i % 3) as f64).collect();
    let points = Tensor::from_vec(points, (12, 3), &device()).unwrap();
    for config in [config.clone(), config.edges(EdgeInput::Offset, [3])] {
        let store = ParamStore::new(Seed::new(3));
        let model = config.build(store.var_builder(DType::F64, &device())).unwrap();
        let loss = || {
            let said = model.forward(&points, &[0; 12]).unwrap();
            let part = |t: &Tensor| t.sqr().unwrap().sum_all().unwrap();
            (part(&said.embedding) + part(&said.attention)).unwrap()
        };
        let gradients = store.backward(&loss()).unwrap();
        for (name, var) in store.trainable() {
            let values = var.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let gradient = gradients.get(&name).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let probe = values.len() / 2;
            let at = |h: f64| {
                let mut moved = values.clone();
                moved[probe] += h;
                var.set(&Tensor::from_vec(moved, var.shape(), var.device()).unwrap()).unwrap();
                loss().to_scalar::<f64>().unwrap()
            };
            let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
            at(0.0);
            let tolerance = 1e-6 * numeric.abs().max(1.0);
            approx::assert_abs_diff_eq!(gradient[probe], numeric, epsilon = tolerance);
        }
    }
}

//! A training step of both architectures on a batch of 64 patients: forward, backward, AdamW.
#![allow(missing_docs, clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use oncograph_graph::{Graph, HeteroBatch};
use oncograph_nn::optim::{AdamW, AdamWConfig, Optimizer};
use oncograph_nn::{ParamStore, Seed};
use oncograph_spatiotemporal::{
    EdgeMode, PatientNodes, Stg, StgConfig, TemporalInput, patient_graph, patient_schema,
};
use std::sync::Arc;

fn graph(patients: usize) -> Graph {
    let nodes =
        PatientNodes { images: Some(vec![0.1; 48]), centroids: [[0.5; 3]; 5], clinical: vec![0.1; 8] };
    let patient = patient_graph(&Arc::new(patient_schema(8, 8)), &nodes).unwrap();
    let batch = HeteroBatch::new(&vec![&patient; patients], &Device::Cpu).unwrap();
    batch.to_homogeneous().unwrap().0
}

fn benchmark(criterion: &mut Criterion) {
    let graph = graph(64);
    let full = StgConfig::full(22).hidden(256).cascade(true, false);
    let decoupled = StgConfig::decoupled(22).hidden(256).temporal(TemporalInput::Recon3, true);
    let x = Tensor::randn(0f32, 1.0, (graph.node_count(), 4096), &Device::Cpu).unwrap();
    let mut group = criterion.benchmark_group("training step of 64 patients");
    group.sample_size(10);
    for (name, config) in [("full", full), ("decoupled", decoupled)] {
        let config = config.last_linear(true).edge_mode(EdgeMode::Ignore);
        let store = ParamStore::new(Seed::new(1));
        let model = Stg::new(&config, store.var_builder(DType::F32, &Device::Cpu)).unwrap();
        let mut optimizer = AdamW::new(AdamWConfig::new(1e-4)).unwrap();
        group.bench_function(name, |b| {
            b.iter(|| {
                let out = model.forward(&x, &graph).unwrap();
                let square = |t: &Tensor| t.sqr().unwrap().mean_all().unwrap();
                let loss = (square(&out.recurrence) + square(&out.survival)).unwrap();
                optimizer.step(&store, &store.backward(&loss).unwrap()).unwrap();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);

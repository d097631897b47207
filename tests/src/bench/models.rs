//! Training steps of the systems' networks.

use super::{Bench, random};
use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use oncograph_brain::{GeometryEncoderConfig, ImageEncoderConfig, NetworkEncoderConfig};
use oncograph_gnn::Adjacency;
use oncograph_graph::{Graph, TypedEdges};
use oncograph_nn::optim::{AdamW, AdamWConfig, Optimizer};
use oncograph_nn::{Mode, Seed};
use oncograph_omics::{OmicsBatch, OmicsModel, OmicsNetConfig, SharedGraphs};
use oncograph_spatiotemporal::{EdgeMode, Stg, StgConfig, TemporalInput};
use rand::Rng;
use std::f64::consts::SQRT_2;
use std::sync::Arc;

type Run = fn(&mut Bench) -> Result<()>;

pub(super) const CASES: &[(&str, Run)] = &[
    ("model/stg_full", |b| stg(b, StgConfig::full(22).hidden(256).cascade(true, false))),
    ("model/stg_decoupled", |b| {
        stg(b, StgConfig::decoupled(22).hidden(256).lstm_hidden(128).temporal(TemporalInput::Recon3, true))
    }),
    ("model/omics", omics),
    ("model/glioma_image", glioma_image),
    ("model/glioma_geometry", glioma_geometry),
    ("model/glioma_network", glioma_network),
];

/// Gives the first loss and times steps of AdamW on it.
fn steps(bench: &mut Bench, forward: impl Fn() -> Result<Tensor>) -> Result<()> {
    bench.result("loss", &forward()?);
    let store = bench.store.clone();
    let mut optimizer = AdamW::new(AdamWConfig::new(1e-4))?;
    bench.time(|| Ok(optimizer.step(&store, &store.backward(&forward()?)?)?))
}

/// Sixty-four patients of seven nodes and twenty edges.
fn stg(bench: &mut Bench, config: StgConfig) -> Result<()> {
    let patients = bench.size(64, 4) as u32;
    let config = config.last_linear(true).edge_mode(EdgeMode::Ignore);
    let model = Stg::new(&config, bench.vb())?;
    let (mut sources, mut targets) = (vec![], vec![]);
    for first in (0..patients).map(|p| 7 * p) {
        for (a, b) in (0..5).flat_map(|organ| [(organ, 5), (organ, 6)]) {
            sources.extend([first + a, first + b]);
            targets.extend([first + b, first + a]);
        }
    }
    let nodes = 7 * patients as usize;
    let owner: Vec<u32> = (0..patients).flat_map(|p| [p; 7]).collect();
    let adjacency = Arc::new(Adjacency::new(nodes, nodes, &sources, &targets)?);
    let graph = Graph::new(adjacency, None, &owner, patients as usize)?;
    let x = bench.random(&[nodes, 4096], 1)?;
    bench.give("x", &x);
    steps(bench, || {
        let y = model.forward(&x, &graph)?;
        Ok((y.recurrence.sqr()?.mean_all()? + y.survival.sqr()?.mean_all()?)?)
    })
}

/// Thirty-two patients with all values of the article's named nodes, five edges a node, without dropout.
fn omics(bench: &mut Bench) -> Result<()> {
    let (patients, genes, proteins) = (bench.size(32, 4), bench.size(1000, 20), bench.size(500, 10));
    let mut config = OmicsNetConfig::fixed().dropout(0.0, 0.0).attention_dropout(0.0);
    config = config.hidden(bench.size(256, 32)).fusion(3, bench.size(2048, 64));
    config.node_types.truncate(3);
    config.modalities.truncate(3);
    config.node_types[0].features = genes;
    config.node_types[1].features = proteins;
    let mut rng = Seed::new(12).stream("edges").rng();
    let mut edges = vec![];
    for (from, to, n, m) in [("gene", "gene", genes, genes), ("gene", "protein", genes, proteins)] {
        let pairs = (0..5 * m).map(|_| (rng.random_range(0..n as u32), rng.random_range(0..m as u32)));
        edges.push(TypedEdges::new(from, to, pairs.collect::<Vec<_>>()));
    }
    let graphs = SharedGraphs::new(&config, &edges)?;
    for (k, modality) in config.modalities.iter().enumerate() {
        let graph = graphs.of(&modality.name, &vec![true; modality.node_types.len()])?;
        for (name, side) in [("sources", graph.sources()), ("targets", graph.targets())] {
            let ends = Tensor::from_slice(side, side.len(), &Device::Cpu)?.to_dtype(DType::I64)?;
            bench.give(&format!("{name}.{k}"), &ends);
        }
    }
    let patient = bench.random(&[patients, config.patient], 1)?;
    bench.give("patient", &patient);
    let mut batch = OmicsBatch::new(patient);
    for (k, node_type) in config.node_types.iter().enumerate() {
        let values = bench.random(&[patients, node_type.features], 2 + k as u64)?;
        bench.give(&node_type.name, &values);
        batch = batch.with_values(node_type.name.as_str(), values, vec![true; patients]);
    }
    let model = config.build(bench.vb())?;
    steps(bench, || {
        let out = model.forward(&batch, &graphs, Mode::Train(Seed::new(1)))?;
        let mut loss = out.z.sqr()?.mean_all()?;
        for task in out.tasks.values() {
            loss = (loss + task.sqr()?.mean_all()?)?;
        }
        Ok(loss)
    })
}

fn glioma_image(bench: &mut Bench) -> Result<()> {
    let side = bench.size(120, 32);
    let config = ImageEncoderConfig::default();
    let config = if bench.settings.tiny { config.input(4, [side; 3]).channels([8; 5]) } else { config };
    let model = config.build(bench.vb())?;
    let x = bench.random(&[2, 4, side, side, side], 1)?;
    bench.give("x", &x);
    steps(bench, || Ok(model.forward(&x, true)?.sqr()?.mean_all()?))
}

fn glioma_geometry(bench: &mut Bench) -> Result<()> {
    let (surfaces, points) = (bench.size(20, 1), bench.size(1024, 64));
    // No point has more neighbours than are taken: which ones are left out is the peer's own affair.
    let model = GeometryEncoderConfig::default().radius(0.2, SQRT_2, points).build(bench.vb())?;
    // Points near the unit sphere.
    let direction = random(&[surfaces * points, 3], 1)?;
    let length = direction.sqr()?.sum_keepdim(1)?.sqrt()?;
    let radius = ((random(&[surfaces * points, 1], 2)? * 0.1)? + 0.9)?;
    let positions = direction.broadcast_div(&length)?.broadcast_mul(&radius)?;
    let owner: Vec<u32> = (0..surfaces * points).map(|p| (p / points) as u32).collect();
    let positions = positions.to_device(&bench.settings.device)?;
    bench.give("positions", &positions);
    steps(bench, || Ok(model.forward(&positions, &owner)?.embedding.sqr()?.mean_all()?))
}

fn glioma_network(bench: &mut Bench) -> Result<()> {
    let (networks, regions, tracts) = (bench.size(20, 2), 90usize, bench.size(2309, 200));
    let model = NetworkEncoderConfig::default().build(bench.vb())?;
    let ends = |salt| -> Result<Vec<u32>> {
        let at = ((random(&[networks * tracts], salt)? + 1.0)? * (regions as f64 / 2.0))?.to_vec1::<f32>()?;
        let region = |(i, v): (usize, &f32)| (i / tracts * regions) as u32 + (*v as u32).min(89);
        Ok(at.iter().enumerate().map(region).collect())
    };
    let (sources, targets) = (ends(3)?, ends(4)?);
    let x = bench.random(&[networks * regions, 16], 1)?;
    let attributes = bench.random(&[networks * tracts, 16], 2)?;
    for (name, side) in [("sources", &sources), ("targets", &targets)] {
        bench.give(name, &Tensor::from_slice(side, side.len(), &Device::Cpu)?.to_dtype(DType::I64)?);
    }
    bench.give("x", &x);
    bench.give("edge_attr", &attributes);
    let nodes = networks * regions;
    let owner: Vec<u32> = (0..nodes).map(|n| (n / regions) as u32).collect();
    let adjacency = Arc::new(Adjacency::new(nodes, nodes, &sources, &targets)?);
    let graph = Graph::new(adjacency, Some(attributes), &owner, networks)?;
    steps(bench, || Ok(model.forward(&x, &graph)?.sqr()?.mean_all()?))
}

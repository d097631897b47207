//! Speed of the convolutions on random graphs, forward and with the gradients of the features and all parameters.
//!
//! `cargo bench -p oncograph-gnn --bench message_passing -- gat` runs the cases whose name contains `gat`.
#![allow(missing_docs)]

use candle_core::{DType, Device, Tensor, Var};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use oncograph_gnn::{
    Adjacency, Aggregation, EdgeFill, GatConfig, Gatv2Config, GcnConfig, MessagePassing, NnConvConfig,
    Result, SageConfig,
};
use oncograph_nn::testing::pattern;
use oncograph_nn::{ParamStore, Seed};
use std::hint::black_box;
use std::sync::Arc;

fn random(rows: usize, width: usize, salt: u64) -> Result<Tensor> {
    Ok(pattern(&[rows, width], salt)?.to_dtype(DType::F32)?)
}

/// Both ends of every edge drawn evenly.
fn graph(nodes: usize, edges: usize) -> Result<Arc<Adjacency>> {
    let ends = |salt| -> Result<Vec<u32>> {
        let at = ((pattern(&[edges], salt)? + 1.0)? * (nodes as f64 / 2.0))?;
        Ok(at.to_vec1::<f64>()?.iter().map(|&v| (v as u32).min(nodes as u32 - 1)).collect())
    };
    Ok(Arc::new(Adjacency::new(nodes, nodes, &ends(11)?, &ends(12)?)?))
}

struct Input {
    adjacency: Arc<Adjacency>,
    x: Tensor,
    attributes: Option<Tensor>,
}

fn case(group: &mut BenchmarkGroup<WallTime>, name: &str, conv: &dyn MessagePassing, input: &Input) {
    let Input { adjacency, x, attributes } = input;
    let run = |x: &Tensor| conv.forward_bipartite(x, x, adjacency, attributes.as_ref());
    group.bench_function(format!("{name} forward"), |b| b.iter(|| black_box(run(black_box(x)))));
    let var = match Var::from_tensor(x) {
        Ok(var) => var,
        Err(error) => return eprintln!("{error}"),
    };
    let with_gradients = || -> Result<_> { Ok(run(&var)?.sum_all()?.backward()?) };
    group.bench_function(format!("{name} forward and backward"), |b| b.iter(|| black_box(with_gradients())));
}

fn bench(c: &mut Criterion) -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w) || w.contains(name));
    let mut group = c.benchmark_group("message_passing");
    group.sample_size(10);
    let store = ParamStore::new(Seed::new(0));
    let vb = || store.var_builder(DType::F32, &Device::Cpu);
    let sage = SageConfig::new(64, 64).build(vb().pp("sage"))?;
    let gcn = GcnConfig::new(64, 64).build(vb().pp("gcn"))?;
    let gat = GatConfig::new(64, 8).heads(8);
    let gat_edges = gat.clone().edge_attributes(16, EdgeFill::Mean).build(vb().pp("gat_edges"))?;
    let gat = gat.build(vb().pp("gat"))?;
    let gatv2 = Gatv2Config::new(64, 8).heads(8);
    let gatv2_edges = gatv2.clone().edge_attributes(16, EdgeFill::Mean).build(vb().pp("gatv2_edges"))?;
    let gatv2 = gatv2.build(vb().pp("gatv2"))?;
    let layers: [(&str, &dyn MessagePassing, bool); 6] = [
        ("sage", &sage, false),
        ("gcn", &gcn, false),
        ("gat", &gat, false),
        ("gat_edges", &gat_edges, true),
        ("gatv2", &gatv2, false),
        ("gatv2_edges", &gatv2_edges, true),
    ];
    for (tag, nodes, edges) in
        [("10k_100k", 10_000, 100_000), ("100k_1M", 100_000, 1_000_000), ("1M_10M", 1_000_000, 10_000_000)]
    {
        if !layers.iter().any(|(layer, ..)| wants(&format!("{layer}/{tag}"))) {
            continue;
        }
        let mut input = Input { adjacency: graph(nodes, edges)?, x: random(nodes, 64, 1)?, attributes: None };
        for (layer, conv, attributed) in &layers {
            let name = format!("{layer}/{tag}");
            if wants(&name) {
                input.attributes = attributed.then(|| random(edges, 16, 2)).transpose()?;
                case(&mut group, &name, *conv, &input);
            }
        }
    }
    for (features, nodes, edges) in [(16, 100_000, 1_000_000), (64, 10_000, 100_000)] {
        let name = format!("nnconv{features}to{features}");
        if wants(&name) {
            let conv = NnConvConfig::new(features, features, 4).hidden([16]).aggr(Aggregation::Mean);
            let conv = conv.build(vb().pp(&name))?;
            let attributes = Some(random(edges, 4, 2)?);
            let input = Input { adjacency: graph(nodes, edges)?, x: random(nodes, features, 1)?, attributes };
            case(&mut group, &name, &conv, &input);
        }
    }
    group.finish();
    Ok(())
}

fn all(c: &mut Criterion) {
    if let Err(error) = bench(c) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

criterion_group!(benches, all);
criterion_main!(benches);

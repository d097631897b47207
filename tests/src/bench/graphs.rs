//! One layer of message passing on a random graph.

use super::Bench;
use anyhow::Result;
use candle_core::{DType, Device, Tensor, Var};
use oncograph_gnn::{
    Adjacency, Aggregation, EdgeFill, GatConfig, Gatv2Config, GcnConfig, MessagePassing, NnConvConfig,
    SageConfig,
};
use oncograph_nn::Seed;
use rand::Rng;
use rand::seq::SliceRandom;
use std::sync::Arc;

type Run = fn(&mut Bench) -> Result<()>;

/// Sizes other than 64 features (16 for `nnconv_16`) and a million edges are in the name.
pub(super) const CASES: &[(&str, Run)] = &[
    ("graph/sage_forward_1e5", |b| forward(b, Layer::Sage, 10_000)),
    ("graph/sage_forward", |b| forward(b, Layer::Sage, 100_000)),
    ("graph/sage_forward_1e7", |b| forward(b, Layer::Sage, 1_000_000)),
    ("graph/sage_1e5", |b| both(b, Layer::Sage, 64, 10_000)),
    ("graph/sage", |b| both(b, Layer::Sage, 64, 100_000)),
    ("graph/sage_256", |b| both(b, Layer::Sage, 256, 100_000)),
    ("graph/sage_1e7", |b| both(b, Layer::Sage, 64, 1_000_000)),
    ("graph/sage_1e7_256", |b| both(b, Layer::Sage, 256, 1_000_000)),
    ("graph/gcn_forward", |b| forward(b, Layer::Gcn, 100_000)),
    ("graph/gcn_forward_1e7", |b| forward(b, Layer::Gcn, 1_000_000)),
    ("graph/gcn", |b| both(b, Layer::Gcn, 64, 100_000)),
    ("graph/gcn_256", |b| both(b, Layer::Gcn, 256, 100_000)),
    ("graph/gcn_1e7", |b| both(b, Layer::Gcn, 64, 1_000_000)),
    ("graph/gcn_1e7_256", |b| both(b, Layer::Gcn, 256, 1_000_000)),
    ("graph/gat_1e5", |b| both(b, Layer::Gat, 64, 10_000)),
    ("graph/gat", |b| both(b, Layer::Gat, 64, 100_000)),
    ("graph/gat_256", |b| both(b, Layer::Gat, 256, 100_000)),
    ("graph/gat_1e7", |b| both(b, Layer::Gat, 64, 1_000_000)),
    ("graph/gat_1e7_256", |b| both(b, Layer::Gat, 256, 1_000_000)),
    ("graph/gat_edges", |b| both(b, Layer::GatEdges, 64, 100_000)),
    ("graph/gatv2", |b| both(b, Layer::Gatv2, 64, 100_000)),
    ("graph/gatv2_256", |b| both(b, Layer::Gatv2, 256, 100_000)),
    ("graph/gatv2_1e7", |b| both(b, Layer::Gatv2, 64, 1_000_000)),
    ("graph/gatv2_1e7_256", |b| both(b, Layer::Gatv2, 256, 1_000_000)),
    ("graph/gatv2_edges", |b| both(b, Layer::Gatv2Edges, 64, 100_000)),
    ("graph/nnconv_16", |b| both(b, Layer::NnConv, 16, 100_000)),
    ("graph/nnconv_64", |b| both(b, Layer::NnConv, 64, 10_000)),
    ("graph/nnconv_64_1e6", |b| both(b, Layer::NnConv, 64, 100_000)),
    ("graph/nnconv_256_1e6", |b| both(b, Layer::NnConv, 256, 100_000)),
    ("graph/nnconv_64_1e7", |b| both(b, Layer::NnConv, 64, 1_000_000)),
    ("graph/nnconv_256_1e7", |b| both(b, Layer::NnConv, 256, 1_000_000)),
];

#[derive(Clone, Copy)]
enum Layer {
    Sage,
    Gcn,
    Gat,
    GatEdges,
    Gatv2,
    Gatv2Edges,
    NnConv,
}

impl Layer {
    /// As many features out as in; attention has eight heads.
    fn build(self, bench: &Bench, features: usize) -> Result<Box<dyn MessagePassing>> {
        let vb = bench.vb();
        let (gat, v2) = (GatConfig::new(features, features / 8), Gatv2Config::new(features, features / 8));
        let (gat, v2) = (gat.heads(8), v2.heads(8));
        Ok(match self {
            Layer::Sage => Box::new(SageConfig::new(features, features).build(vb)?),
            Layer::Gcn => Box::new(GcnConfig::new(features, features).build(vb)?),
            Layer::Gat => Box::new(gat.build(vb)?),
            Layer::GatEdges => Box::new(gat.edge_attributes(16, EdgeFill::Mean).build(vb)?),
            Layer::Gatv2 => Box::new(v2.build(vb)?),
            Layer::Gatv2Edges => Box::new(v2.edge_attributes(16, EdgeFill::Mean).build(vb)?),
            Layer::NnConv => {
                let config = NnConvConfig::new(features, features, 4).hidden([16]);
                Box::new(config.aggr(Aggregation::Mean).build(vb)?)
            }
        })
    }

    /// Attributes of an edge.
    fn attributes(self) -> usize {
        match self {
            Layer::GatEdges | Layer::Gatv2Edges => 16,
            Layer::NnConv => 4,
            _ => 0,
        }
    }
}

fn forward(bench: &mut Bench, layer: Layer, nodes: usize) -> Result<()> {
    run(bench, layer, 64, nodes, false)
}

fn both(bench: &mut Bench, layer: Layer, features: usize, nodes: usize) -> Result<()> {
    run(bench, layer, features, nodes, true)
}

/// Sources and targets of different edges without loops, drawn evenly: what a sparse matrix and a list of edges both
/// hold.
fn ends(nodes: usize, edges: usize) -> (Vec<u32>, Vec<u32>) {
    let mut rng = Seed::new(11).stream("edges").rng();
    let n = nodes as u64;
    let mut keys: Vec<u64> = (0..edges + edges / 50).map(|_| rng.random_range(0..n * n)).collect();
    keys.retain(|key| key / n != key % n);
    keys.sort_unstable();
    keys.dedup();
    keys.shuffle(&mut rng);
    keys.truncate(edges);
    keys.iter().map(|key| ((key / n) as u32, (key % n) as u32)).unzip()
}

/// Ten edges per node.
fn run(bench: &mut Bench, layer: Layer, features: usize, nodes: usize, backward: bool) -> Result<()> {
    let (nodes, features) = (bench.size(nodes, 50), bench.size(features, 16));
    let (sources, targets) = ends(nodes, 10 * nodes);
    // Of few nodes, some pairs are drawn twice.
    let edges = sources.len();
    let conv = layer.build(bench, features)?;
    let x = bench.random(&[nodes, features], 1)?;
    let width = layer.attributes();
    let attributes = if width > 0 { Some(bench.random(&[edges, width], 2)?) } else { None };
    for (name, side) in [("sources", &sources), ("targets", &targets)] {
        bench.give(name, &Tensor::from_slice(side, edges, &Device::Cpu)?.to_dtype(DType::I64)?);
    }
    bench.give("x", &x);
    if let Some(attributes) = &attributes {
        bench.give("edge_attr", attributes);
    }
    let adjacency = Arc::new(Adjacency::new(nodes, nodes, &sources, &targets)?);
    if !backward {
        let y = bench.time(|| Ok(conv.forward_bipartite(&x, &x, &adjacency, attributes.as_ref())?))?;
        bench.result("y", &y);
        return Ok(());
    }
    let var = Var::from_tensor(&x)?;
    let gradient = bench.time(|| {
        let y = conv.forward_bipartite(&var, &var, &adjacency, attributes.as_ref())?;
        Ok(y.sqr()?.mean_all()?.backward()?.get(&var).cloned())
    })?;
    if let Some(gradient) = gradient {
        bench.result("grad_x", &gradient);
    }
    Ok(())
}

//! One layer of message passing on a random graph.

use super::{Bench, random};
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

pub(super) const CASES: &[(&str, Run)] = &[
    ("graph/sage_forward_1e5", |b| run(b, Layer::Sage, 10_000, false)),
    ("graph/sage_forward", |b| run(b, Layer::Sage, 100_000, false)),
    ("graph/sage_forward_1e7", |b| run(b, Layer::Sage, 1_000_000, false)),
    ("graph/sage_1e5", |b| run(b, Layer::Sage, 10_000, true)),
    ("graph/sage", |b| run(b, Layer::Sage, 100_000, true)),
    ("graph/sage_1e7", |b| run(b, Layer::Sage, 1_000_000, true)),
    ("graph/gcn_forward", |b| run(b, Layer::Gcn, 100_000, false)),
    ("graph/gcn_forward_1e7", |b| run(b, Layer::Gcn, 1_000_000, false)),
    ("graph/gcn", |b| run(b, Layer::Gcn, 100_000, true)),
    ("graph/gcn_1e7", |b| run(b, Layer::Gcn, 1_000_000, true)),
    ("graph/gat_1e5", |b| run(b, Layer::Gat, 10_000, true)),
    ("graph/gat", |b| run(b, Layer::Gat, 100_000, true)),
    ("graph/gat_edges", |b| run(b, Layer::GatEdges, 100_000, true)),
    ("graph/gatv2", |b| run(b, Layer::Gatv2, 100_000, true)),
    ("graph/gatv2_edges", |b| run(b, Layer::Gatv2Edges, 100_000, true)),
    ("graph/nnconv_16", |b| run(b, Layer::NnConv(16), 100_000, true)),
    ("graph/nnconv_64", |b| run(b, Layer::NnConv(64), 10_000, true)),
];

enum Layer {
    Sage,
    Gcn,
    Gat,
    GatEdges,
    Gatv2,
    Gatv2Edges,
    /// Features in and out.
    NnConv(usize),
}

impl Layer {
    fn build(&self, bench: &Bench) -> Result<Box<dyn MessagePassing>> {
        let vb = bench.vb();
        let (gat, v2) = (GatConfig::new(64, 8).heads(8), Gatv2Config::new(64, 8).heads(8));
        Ok(match self {
            Layer::Sage => Box::new(SageConfig::new(64, 64).build(vb)?),
            Layer::Gcn => Box::new(GcnConfig::new(64, 64).build(vb)?),
            Layer::Gat => Box::new(gat.build(vb)?),
            Layer::GatEdges => Box::new(gat.edge_attributes(16, EdgeFill::Mean).build(vb)?),
            Layer::Gatv2 => Box::new(v2.build(vb)?),
            Layer::Gatv2Edges => Box::new(v2.edge_attributes(16, EdgeFill::Mean).build(vb)?),
            Layer::NnConv(f) => {
                Box::new(NnConvConfig::new(*f, *f, 4).hidden([16]).aggr(Aggregation::Mean).build(vb)?)
            }
        })
    }

    /// Features of a node, attributes of an edge.
    fn widths(&self) -> (usize, usize) {
        match self {
            Layer::GatEdges | Layer::Gatv2Edges => (64, 16),
            Layer::NnConv(f) => (*f, 4),
            _ => (64, 0),
        }
    }
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
fn run(bench: &mut Bench, layer: Layer, nodes: usize, backward: bool) -> Result<()> {
    let edges = 10 * nodes;
    let conv = layer.build(bench)?;
    let (features, width) = layer.widths();
    let x = random(&[nodes, features], 1)?;
    let attributes = if width > 0 { Some(random(&[edges, width], 2)?) } else { None };
    let (sources, targets) = ends(nodes, edges);
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

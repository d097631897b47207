//! The fused passes against the same layers composed of plain tensor operations: values and all gradients.
#![allow(missing_docs, clippy::unwrap_used)]

use candle_core::{D, DType, Tensor, Var};
use oncograph_gnn::{
    Adjacency, Aggregation, EdgeFill, GatConfig, Gatv2Config, GcnConfig, MessagePassing, NnConvConfig,
    Reduce, SageConfig,
};
use oncograph_nn::portable::{ones, rows_at, to_dtype};
use oncograph_nn::segment::{gather_reduce, segment_reduce};
use oncograph_nn::testing::{device, pattern};
use oncograph_nn::{ParamStore, Seed};
use std::sync::Arc;

const WIDTHS: [usize; 5] = [1, 3, 17, 64, 100];

/// Edges drawn between all nodes but the last third, duplicates and self loops among them; then one twice over.
fn graph(nodes: usize, edges: usize) -> Arc<Adjacency> {
    let used = (nodes * 2 / 3).max(1) as u32;
    let end = |i: u32, k: u32| (i.wrapping_mul(2_654_435_761).rotate_left(k) >> 8) % used;
    let (mut s, mut t): (Vec<_>, Vec<_>) = (0..edges as u32).map(|i| (end(i, 3), end(i, 11))).unzip();
    if edges > 2 {
        (s[1], t[1]) = (s[0], t[0]);
        t[2] = s[2];
    }
    Arc::new(Adjacency::new(nodes, nodes, &s, &t).unwrap())
}

/// Parties of five and two nodes, each of the five joined to each of the two in both directions: many nodes have the same
/// neighbours.
fn parties(count: u32) -> Arc<Adjacency> {
    let edges = (0..count).flat_map(|p| (0..5).flat_map(move |a| [5, 6].map(|b| (7 * p + a, 7 * p + b))));
    let (s, t): (Vec<_>, Vec<_>) = edges.flat_map(|(a, b)| [(a, b), (b, a)]).unzip();
    let adjacency = Adjacency::new(7 * count as usize, 7 * count as usize, &s, &t).unwrap();
    assert_eq!(adjacency.shared_neighbourhoods().unwrap().distinct.target_count(), 2 * count as usize);
    Arc::new(adjacency)
}

/// No edges, one node, one block and several; nodes that share neighbours.
fn graphs() -> [Arc<Adjacency>; 5] {
    [graph(5, 0), graph(1, 3), graph(40, 170), graph(600, 1500), parties(180)]
}

fn random(rows: usize, width: usize, salt: u64, dtype: DType) -> Tensor {
    to_dtype(&pattern(&[rows, width], salt).unwrap(), dtype).unwrap()
}

/// The result and the gradients of `x` and of every parameter, as f64.
fn run(store: &ParamStore, x: &Tensor, f: &dyn Fn(&Tensor) -> Tensor) -> Vec<(String, Vec<f64>)> {
    let x = Var::from_tensor(x).unwrap();
    let y = f(&x);
    let weights = random(y.dim(0).unwrap(), y.dim(1).unwrap(), 9, y.dtype());
    let grads = (&y * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
    let mut all = vec![("value".to_string(), flat(&y))];
    let mut vars = store.trainable();
    vars.push(("input".to_string(), x.clone()));
    for (name, var) in vars {
        let zeros = || vec![0.0; var.elem_count()];
        all.push((name, grads.get(&var).map_or_else(zeros, flat)));
    }
    all
}

fn assert_same(
    what: &str,
    store: &ParamStore,
    x: &Tensor,
    fast: &dyn Fn(&Tensor) -> Tensor,
    plain: &dyn Fn(&Tensor) -> Tensor,
) {
    let tolerance = if x.dtype() == DType::F32 { 1e-4 } else { 1e-11 };
    for ((name, a), (_, b)) in run(store, x, fast).iter().zip(&run(store, x, plain)) {
        assert_eq!(a.len(), b.len(), "{what}: {name}");
        let scale = b.iter().fold(1.0f64, |m, v| m.max(v.abs()));
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            let close = (a - b).abs() <= tolerance * scale;
            assert!(close, "{what}: {name}[{i}] is {a} instead of {b}");
        }
    }
}

/// Each width in and another out, in both types, on every graph.
fn every(mut check: impl FnMut(&str, usize, usize, DType, &Arc<Adjacency>)) {
    for adjacency in &graphs() {
        for (i, &width) in WIDTHS.iter().enumerate() {
            let other = WIDTHS[(i + 2) % WIDTHS.len()];
            for (out, dtype) in [(width, DType::F32), (other, DType::F32), (other, DType::F64)] {
                let name = format!("{width} to {out}, {dtype:?}, {} edges", adjacency.edge_count());
                check(&name, width, out, dtype, adjacency);
            }
        }
    }
}

fn times(x: &Tensor, store: &ParamStore, name: &str) -> Tensor {
    x.matmul(&store.get(name).unwrap().t().unwrap()).unwrap()
}

#[test]
fn sage() {
    every(|name, width, out, dtype, adjacency| {
        for (aggr, reduce, closed) in [
            (Aggregation::Mean, Reduce::Mean, false),
            (Aggregation::Sum, Reduce::Sum, false),
            (Aggregation::Mean, Reduce::Sum, true),
        ] {
            let store = ParamStore::new(Seed::new(1));
            let conv = SageConfig::new(width, out).aggr(aggr).closed(closed);
            let conv = conv.build(store.var_builder(dtype, &device())).unwrap();
            let plain = |x: &Tensor| {
                let mut sums = gather_reduce(x, adjacency, reduce).unwrap();
                if closed {
                    let shares = adjacency.in_degrees().iter().map(|d| 1.0 / (d + 1) as f64).collect();
                    let shares = Tensor::from_vec(shares, (adjacency.target_count(), 1), &device()).unwrap();
                    sums = (sums + x).unwrap().broadcast_mul(&shares.to_dtype(dtype).unwrap()).unwrap();
                }
                let mut y = times(&sums, &store, "lin_l.weight");
                y = y.broadcast_add(store.get("lin_l.bias").unwrap().as_tensor()).unwrap();
                if closed { y } else { (y + times(x, &store, "lin_r.weight")).unwrap() }
            };
            let fast = |x: &Tensor| conv.forward_bipartite(x, x, adjacency, None).unwrap();
            let x = random(adjacency.source_count(), width, 3, dtype);
            assert_same(name, &store, &x, &fast, &plain);
        }
    });
}

#[test]
fn gcn() {
    every(|name, width, out, dtype, adjacency| {
        for (normalize, loops) in [(true, true), (true, false), (false, false)] {
            let store = ParamStore::new(Seed::new(1));
            let conv = GcnConfig::new(width, out).normalize(normalize).add_self_loops(loops);
            let conv = conv.build(store.var_builder(dtype, &device())).unwrap();
            // Weights of 1 are the general case, made of several operations.
            let ones = ones(adjacency.edge_count(), dtype, &device()).unwrap();
            let plain = |x: &Tensor| conv.forward_bipartite(x, x, adjacency, Some(&ones)).unwrap();
            let fast = |x: &Tensor| conv.forward_bipartite(x, x, adjacency, None).unwrap();
            let x = random(adjacency.source_count(), width, 3, dtype);
            assert_same(name, &store, &x, &fast, &plain);
        }
    });
}

fn fills() -> [EdgeFill; 4] {
    [EdgeFill::Mean, EdgeFill::Add, EdgeFill::Max, EdgeFill::Constant(0.5)]
}

#[test]
fn gat() {
    every(|name, width, out, dtype, adjacency| {
        for (heads, attributes, loops) in [(1, 0, true), (3, 2, false), (4, 3, true), (8, 0, false)] {
            let store = ParamStore::new(Seed::new(1));
            let fill = fills()[(width + out) % 4].clone();
            let conv = GatConfig::new(width, out).heads(heads).add_self_loops(loops).residual(out % 2 == 1);
            let conv = conv.edge_attributes(attributes, fill).concat(heads != 3);
            let conv = conv.build(store.var_builder(dtype, &device())).unwrap();
            let e = (attributes > 0).then(|| random(adjacency.edge_count(), attributes, 4, dtype));
            let plain = |x: &Tensor| conv.forward_with_attention(x, x, adjacency, e.as_ref()).unwrap().0;
            let fast = |x: &Tensor| conv.forward_bipartite(x, x, adjacency, e.as_ref()).unwrap();
            let x = random(adjacency.source_count(), width, 3, dtype);
            assert_same(name, &store, &x, &fast, &plain);
        }
    });
}

#[test]
fn gatv2() {
    every(|name, width, out, dtype, adjacency| {
        for (heads, attributes, loops) in [(1, 0, true), (3, 2, false), (4, 3, true), (8, 0, false)] {
            let store = ParamStore::new(Seed::new(1));
            let fill = fills()[(width + out) % 4].clone();
            let conv = Gatv2Config::new(width, out).heads(heads).add_self_loops(loops).residual(out % 2 == 1);
            let conv = conv.edge_attributes(attributes, fill).concat(heads != 3);
            let conv = conv.build(store.var_builder(dtype, &device())).unwrap();
            let e = (attributes > 0).then(|| random(adjacency.edge_count(), attributes, 4, dtype));
            let plain = |x: &Tensor| conv.forward_with_attention(x, x, adjacency, e.as_ref()).unwrap().0;
            let fast = |x: &Tensor| conv.forward_bipartite(x, x, adjacency, e.as_ref()).unwrap();
            let x = random(adjacency.source_count(), width, 3, dtype);
            assert_same(name, &store, &x, &fast, &plain);
        }
    });
}

#[test]
fn gradients_reach_learned_edge_attributes() {
    let adjacency = graph(40, 170);
    let x = random(40, 5, 3, DType::F64);
    for fill in fills() {
        let store = ParamStore::new(Seed::new(1));
        let vb = || store.var_builder(DType::F64, &device());
        let gat = GatConfig::new(5, 3).heads(2).edge_attributes(2, fill.clone()).build(vb().pp("1")).unwrap();
        let gatv2 = Gatv2Config::new(5, 3).heads(2).edge_attributes(2, fill).build(vb().pp("2")).unwrap();
        let nnconv = NnConvConfig::new(5, 6, 2).hidden([4]).build(vb().pp("3")).unwrap();
        let layers: [&dyn MessagePassing; 3] = [&gat, &gatv2, &nnconv];
        let fast = |e: &Tensor| {
            let run = |l: &&dyn MessagePassing| l.forward_bipartite(&x, &x, &adjacency, Some(e)).unwrap();
            Tensor::cat(&layers.iter().map(run).collect::<Vec<_>>(), 1).unwrap()
        };
        let plain = |e: &Tensor| {
            let one = gat.forward_with_attention(&x, &x, &adjacency, Some(e)).unwrap().0;
            let two = gatv2.forward_with_attention(&x, &x, &adjacency, Some(e)).unwrap().0;
            let three = matrix_per_edge((&store, "3."), &x, e, &adjacency, 6, Reduce::Sum);
            Tensor::cat(&[one, two, three], 1).unwrap()
        };
        assert_same("attributes", &store, &random(170, 2, 4, DType::F64), &fast, &plain);
    }
}

/// An edge-conditioned convolution with one hidden layer, the slow way.
fn matrix_per_edge(
    (store, at): (&ParamStore, &str),
    x: &Tensor,
    e: &Tensor,
    adjacency: &Arc<Adjacency>,
    out: usize,
    reduce: Reduce,
) -> Tensor {
    let linear = |x: &Tensor, i: usize| {
        let y = times(x, store, &format!("{at}nn.{i}.weight"));
        y.broadcast_add(store.get(&format!("{at}nn.{i}.bias")).unwrap().as_tensor()).unwrap()
    };
    let (edges, width) = (adjacency.edge_count(), x.dim(1).unwrap());
    let theta = linear(&oncograph_nn::relu(&linear(e, 0)).unwrap(), 2).reshape((edges, width, out)).unwrap();
    let neighbours = rows_at(x, adjacency.sources()).unwrap().unsqueeze(D::Minus1).unwrap();
    let messages = neighbours.broadcast_mul(&theta).unwrap().sum(1).unwrap();
    let y = segment_reduce(&messages, adjacency, reduce).unwrap();
    let y = (y + times(x, store, &format!("{at}lin.weight"))).unwrap();
    y.broadcast_add(store.get(&format!("{at}bias")).unwrap().as_tensor()).unwrap()
}

#[test]
fn nnconv() {
    for adjacency in &graphs()[1..] {
        for (width, out, hidden) in [(1, 3, 5), (3, 1, 1), (17, 3, 16), (64, 17, 7), (16, 16, 16)] {
            for dtype in [DType::F32, DType::F64] {
                for (aggr, reduce) in [(Aggregation::Sum, Reduce::Sum), (Aggregation::Mean, Reduce::Mean)] {
                    let store = ParamStore::new(Seed::new(1));
                    let conv = NnConvConfig::new(width, out, 4).hidden([hidden]).aggr(aggr);
                    let conv = conv.build(store.var_builder(dtype, &device())).unwrap();
                    let e = random(adjacency.edge_count(), 4, 4, dtype);
                    let plain = |x: &Tensor| matrix_per_edge((&store, ""), x, &e, adjacency, out, reduce);
                    let fast = |x: &Tensor| conv.forward_bipartite(x, x, adjacency, Some(&e)).unwrap();
                    let x = random(adjacency.source_count(), width, 3, dtype);
                    let name = format!("{width} to {out}, {dtype:?}, {} edges", adjacency.edge_count());
                    assert_same(&name, &store, &x, &fast, &plain);
                }
            }
        }
    }
}

#[test]
fn threads_do_not_change_the_bits() {
    let adjacency = graph(3000, 20_000);
    let store = ParamStore::new(Seed::new(1));
    let vb = || store.var_builder(DType::F32, &device());
    let sage = SageConfig::new(16, 16).build(vb().pp("sage")).unwrap();
    let gcn = GcnConfig::new(16, 16).build(vb().pp("gcn")).unwrap();
    let gat =
        GatConfig::new(16, 4).heads(4).edge_attributes(4, EdgeFill::Mean).build(vb().pp("gat")).unwrap();
    let gatv2 = Gatv2Config::new(16, 4).heads(4).edge_attributes(4, EdgeFill::Mean).build(vb().pp("gatv2"));
    let gatv2 = gatv2.unwrap();
    let nnconv = NnConvConfig::new(16, 16, 4).hidden([8]).build(vb().pp("nnconv")).unwrap();
    let layers: [(&dyn MessagePassing, bool); 5] =
        [(&sage, false), (&gcn, false), (&gat, true), (&gatv2, true), (&nnconv, true)];
    let (x, e) = (random(3000, 16, 3, DType::F32), random(20_000, 4, 4, DType::F32));
    for (layer, attributed) in layers {
        let e = attributed.then_some(&e);
        let f = |x: &Tensor| layer.forward_bipartite(x, x, &adjacency, e).unwrap();
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(&store, &x, &f))
        };
        assert_eq!(with(1), with(3));
    }
}

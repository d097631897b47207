//! What every convolution must do, whatever it computes: see `contract!`.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use candle_core::{DType, Tensor, Var};
use oncograph_gnn::{
    Adjacency, Aggregation, AttentionalAggregationConfig, EdgeFill, GatConfig, Gatv2Config, GcnConfig,
    HeteroAggregation, HeteroConvConfig, HeteroSageConfig, MessagePassing, NnConvConfig, NodeFeatures,
    SageConfig, SequentialConfig,
};
use oncograph_graph::{Graph, HeteroBatch, HeteroGraph, Schema};
use oncograph_nn::testing::device;
use oncograph_nn::{Activation, ParamStore, Seed, module_contract};
use std::sync::Arc;

const N: usize = 6;
/// Node 5 is isolated; 0 -> 1 occurs twice; 3 -> 3 is a self loop.
const SOURCES: [u32; 8] = [0, 0, 2, 1, 3, 4, 3, 2];
const TARGETS: [u32; 8] = [1, 1, 1, 0, 3, 3, 2, 4];

fn values(rows: usize, columns: usize, phase: f64) -> Tensor {
    let v: Vec<f64> = (0..rows * columns).map(|i| ((i as f64) * 1.37 + phase).sin()).collect();
    Tensor::from_vec(v, (rows, columns), &device()).unwrap()
}

fn graph(sources: &[u32], targets: &[u32], attributes: Option<Tensor>) -> Graph {
    let a = Arc::new(Adjacency::new(N, N, sources, targets).unwrap());
    Graph::new(a, attributes, &[0; N], 1).unwrap()
}

fn rows(t: &Tensor) -> Vec<Vec<f64>> {
    t.to_vec2().unwrap()
}

fn assert_close(a: &[Vec<f64>], b: &[Vec<f64>]) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().flatten().zip(b.iter().flatten()) {
        approx::assert_relative_eq!(x, y, epsilon = 1e-12, max_relative = 1e-12);
    }
}

fn permute<T: Copy>(values: &[T], order: &[usize]) -> Vec<T> {
    order.iter().map(|&i| values[i]).collect()
}

fn select(t: &Tensor, order: &[usize]) -> Tensor {
    let order: Vec<u32> = order.iter().map(|&i| i as u32).collect();
    t.index_select(&Tensor::new(order, &device()).unwrap(), 0).unwrap()
}

/// What a convolution owes to the graph, whatever it computes; `e` are positive attributes of the edges, since they
/// may be weights under a square root.
///
/// `ordered` for a layer that reads the messages of a node in the order of the edge list.
fn check(conv: &impl MessagePassing, features: usize, e: Option<&Tensor>, ordered: bool) {
    let x = values(N, features, 0.0);
    let y = conv.forward(&x, &graph(&SOURCES, &TARGETS, e.cloned())).unwrap();
    assert_eq!(y.dim(0).unwrap(), N);

    // The order of edges does not matter; that of the edges of one node may.
    let order = if ordered { [6, 0, 3, 1, 4, 7, 2, 5] } else { [6, 0, 3, 7, 2, 5, 1, 4] };
    let permuted_e = e.map(|e| select(e, &order));
    let permuted = graph(&permute(&SOURCES, &order), &permute(&TARGETS, &order), permuted_e);
    assert_close(&rows(&conv.forward(&x, &permuted).unwrap()), &rows(&y));

    // Renaming the nodes renames the output: new node i is old node NODES[i].
    const NODES: [usize; N] = [4, 2, 0, 5, 3, 1];
    let name = |old: &u32| NODES.iter().position(|&n| n == *old as usize).unwrap() as u32;
    let (s, t): (Vec<_>, Vec<_>) = (SOURCES.iter().map(name).collect(), TARGETS.iter().map(name).collect());
    let renamed = conv.forward(&select(&x, &NODES), &graph(&s, &t, e.cloned())).unwrap();
    assert_close(&rows(&renamed), &rows(&select(&y, &NODES)));

    // No edges at all.
    let none = e.map(|e| e.narrow(0, 0, 0).unwrap());
    let lonely = rows(&conv.forward(&x, &graph(&[], &[], none)).unwrap());
    assert!(lonely.iter().flatten().all(|v| v.is_finite()));
}

/// Every parameter and the input against central differences; every parameter receives a gradient.
fn gradients(store: &ParamStore, f: impl Fn(&Tensor) -> Tensor, x: &Tensor) {
    let x = Var::from_tensor(x).unwrap();
    let loss = |x: &Tensor| {
        let y = f(x);
        (&y * values(y.dim(0).unwrap(), y.dim(1).unwrap(), 2.0)).unwrap().sum_all().unwrap()
    };
    let grads = loss(&x).backward().unwrap();
    let mut vars = store.trainable();
    vars.push(("input".into(), x.clone()));
    for (name, var) in vars {
        let g = grads.get(&var).unwrap_or_else(|| panic!("{name} has no gradient"));
        let g = g.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert!(g.iter().any(|v| *v != 0.0), "{name} has a zero gradient");
        let old = var.as_tensor().copy().unwrap();
        let flat = old.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for i in 0..flat.len() {
            let at = |h: f64| {
                let mut moved = flat.clone();
                moved[i] += h;
                var.set(&Tensor::from_vec(moved, old.dims(), &device()).unwrap()).unwrap();
                loss(&x).to_scalar::<f64>().unwrap()
            };
            let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
            approx::assert_relative_eq!(g[i], numeric, epsilon = 1e-7, max_relative = 1e-6);
        }
        var.set(&old).unwrap();
    }
}

/// One test per configuration: `module_contract!`, edge and node permutation, isolated node, no edges.
macro_rules! contract {
    ($($name:ident: $config:expr, attributes $attributes:expr;)*) => {$(
        mod $name {
            use super::*;

            fn edges() -> Option<Tensor> {
                let positive = || (values(SOURCES.len(), $attributes, 0.3).abs().unwrap() + 0.1).unwrap();
                ($attributes > 0).then(positive)
            }

            module_contract! {
                module: $config, |m, x| {
                    let edges = edges().map(|e| e.to_device(x[0].device()).unwrap());
                    m.forward(&x[0], &graph(&SOURCES, &TARGETS, edges))
                }, [[N, 5]];
            }

            #[test]
            fn graph_contract() {
                let config = $config;
                let ordered = serde_json::to_string(&config).unwrap().contains("lstm");
                let store = ParamStore::new(Seed::new(3));
                let conv = config.build(store.var_builder(DType::F64, &device())).unwrap();
                check(&conv, 5, edges().as_ref(), ordered);
            }
        }
    )*};
}

contract! {
    sage_mean: SageConfig::new(5, 3), attributes 0;
    sage_mean_wide: SageConfig::new(5, 7), attributes 0;
    sage_sum: SageConfig::new(5, 3).aggr(Aggregation::Sum), attributes 0;
    sage_max: SageConfig::new(5, 3).aggr(Aggregation::Max), attributes 0;
    sage_project_normalize: SageConfig::new(5, 3).project(true).normalize(true), attributes 0;
    sage_edge_attributes: SageConfig::new(5, 3).edge_attributes(2), attributes 2;
    sage_closed: SageConfig::new(5, 3).closed(true), attributes 0;
    gcn: GcnConfig::new(5, 3), attributes 0;
    gcn_weighted: GcnConfig::new(5, 3).improved(true), attributes 1;
    gcn_without_loops: GcnConfig::new(5, 3).add_self_loops(false), attributes 1;
    gat: GatConfig::new(5, 3), attributes 0;
    gat_heads_mean: GatConfig::new(5, 3).heads(2).concat(false).residual(true), attributes 0;
    sage_min: SageConfig::new(5, 3).aggr(Aggregation::Min), attributes 0;
    sage_std: SageConfig::new(5, 3).aggr(Aggregation::Std), attributes 0;
    sage_softmax: SageConfig::new(5, 3).aggr(Aggregation::Softmax), attributes 0;
    sage_lstm: SageConfig::new(5, 3).aggr(Aggregation::Lstm), attributes 0;
    sage_concat: SageConfig::new(5, 3)
        .aggr(Aggregation::Concat(vec![Aggregation::Mean, Aggregation::Lstm])), attributes 0;
    gat_fill_add: GatConfig::new(5, 3).heads(3).edge_attributes(2, EdgeFill::Add), attributes 2;
    gat_fill_min: GatConfig::new(5, 3).heads(3).edge_attributes(2, EdgeFill::Min), attributes 2;
    gat_fill_values: GatConfig::new(5, 3).heads(3)
        .edge_attributes(2, EdgeFill::Values(vec![0.5, -1.0])), attributes 2;
    gatv2: Gatv2Config::new(5, 3), attributes 0;
    gatv2_heads_mean: Gatv2Config::new(5, 3).heads(2).concat(false).residual(true), attributes 0;
    gatv2_shared: Gatv2Config::new(5, 3).heads(2).share_weights(true), attributes 0;
    gatv2_edges: Gatv2Config::new(5, 3).heads(2).edge_attributes(2, EdgeFill::Max), attributes 2;
    nnconv_sum: NnConvConfig::new(5, 3, 2).hidden([4]), attributes 2;
    nnconv_mean: NnConvConfig::new(5, 3, 2).aggr(Aggregation::Mean), attributes 2;
    nnconv_max: NnConvConfig::new(5, 3, 2).hidden([4, 6]).aggr(Aggregation::Max), attributes 2;
    gat_edges: GatConfig::new(5, 3).heads(2).edge_attributes(2, EdgeFill::Mean), attributes 2;
}

module_contract! {
    sequential: SequentialConfig::new([3, 4, 2]).activation(Activation::Tanh), |m, x| m.forward(&x[0]), [[4, 3]];
    attentional_aggregation: AttentionalAggregationConfig::new(SequentialConfig::new([5, 3, 1]))
        .nn(SequentialConfig::new([5, 4])), |m, x| m.forward(&x[0], &graph(&SOURCES, &TARGETS, None)), [[N, 5]],
        constant ["gate_nn.2.bias"];
}

/// Separate sources and targets: 0 -> 1 twice, nothing reaches target 2, and the loops of equal positions that an
/// attention layer was configured with.
#[test]
fn bipartite_layers() {
    // Enough edges per target for logits of both signs: where all have one, the softmax cancels the target's share.
    let a = Arc::new(Adjacency::new(4, 3, &[0, 0, 3, 2, 1, 2, 1, 0], &[1, 1, 1, 0, 1, 1, 0, 0]).unwrap());
    let (target, e) = (values(3, 2, 1.0), (values(8, 2, 0.3).abs().unwrap() + 0.1).unwrap());
    fn run<C: MessagePassing>(
        build: impl Fn(candle_nn::VarBuilder) -> C,
        a: &Arc<Adjacency>,
        target: &Tensor,
        e: &Tensor,
    ) {
        let store = ParamStore::new(Seed::new(5));
        let conv = build(store.var_builder(DType::F64, &device()));
        let source = values(4, 5, 0.0);
        let f = |x: &Tensor| conv.forward_bipartite(x, target, a, Some(e)).unwrap();
        assert_eq!(f(&source).dim(0).unwrap(), 3);
        gradients(&store, f, &source);
        gradients(&store, |x| conv.forward_bipartite(&source, x, a, Some(e)).unwrap(), target);
    }
    let fill = || EdgeFill::Mean;
    run(|vb| SageConfig::bipartite(5, 2, 3).aggr(Aggregation::Lstm).build(vb).unwrap(), &a, &target, &e);
    run(|vb| NnConvConfig::bipartite(5, 2, 3, 2).hidden([4]).build(vb).unwrap(), &a, &target, &e);
    let gat = GatConfig::bipartite(5, 2, 3).edge_attributes(2, fill()).residual(true);
    run(|vb| gat.build(vb).unwrap(), &a, &target, &e);
    run(|vb| gat.clone().add_self_loops(true).build(vb).unwrap(), &a, &target, &e);
    let gatv2 = Gatv2Config::bipartite(5, 2, 3).heads(2).edge_attributes(2, fill());
    run(|vb| gatv2.build(vb).unwrap(), &a, &target, &e);
    run(|vb| gatv2.clone().add_self_loops(true).build(vb).unwrap(), &a, &target, &e);
    // Loops between two sets of nodes have to be requested.
    let store = ParamStore::new(Seed::new(5));
    let one = GatConfig::new(5, 3).build(store.var_builder(DType::F64, &device())).unwrap();
    assert!(one.forward_bipartite(&values(4, 5, 0.0), &values(3, 5, 0.0), &a, None).is_err());
}

const FORTH: (&str, &str, &str) = ("a", "to", "b");
const BACK: (&str, &str, &str) = ("b", "to", "a");
const WITHIN: (&str, &str, &str) = ("a", "near", "a");
const READ: (&str, &str, &str) = ("c", "of", "a");

/// Nothing ends in type `c`; one `b` is isolated.
fn typed() -> (Schema, HeteroBatch) {
    let mut schema = Schema::new().node("a", 5).node("b", 2).node("c", 1);
    for (edge, attributes) in [(FORTH, 2), (BACK, 0), (WITHIN, 0), (READ, 0)] {
        schema = schema.edge(edge.0, edge.1, edge.2, attributes);
    }
    let graph = HeteroGraph::builder(Arc::new(schema.clone()))
        .nodes("a", 4, vec![0.0; 20])
        .nodes("b", 3, vec![0.0; 6])
        .nodes("c", 1, vec![0.0])
        .edges(FORTH, vec![0, 1, 3, 3], vec![0, 0, 1, 0], (0..8).map(|v| v as f32 * 0.2 - 0.5).collect())
        .edges(BACK, vec![0, 1, 2], vec![3, 2, 2], vec![])
        .edges(WITHIN, vec![0, 1, 2, 1], vec![1, 2, 0, 1], vec![])
        .edges(READ, vec![0, 0], vec![0, 3], vec![])
        .build()
        .unwrap();
    (schema, HeteroBatch::new(&[&graph], &device()).unwrap())
}

fn features(a: &Tensor) -> NodeFeatures {
    let rest = [("b", values(3, 2, 0.6)), ("c", values(1, 1, 0.9))].map(|(n, x)| (n.to_string(), x));
    NodeFeatures::from_iter(rest.into_iter().chain([("a".to_string(), a.clone())]))
}

/// The result for all types side by side in one row.
fn joined(y: &NodeFeatures) -> Tensor {
    let all: Vec<Tensor> = y.values().map(|y| y.flatten_all().unwrap()).collect();
    Tensor::cat(&all, 0).unwrap().unsqueeze(0).unwrap()
}

#[test]
fn a_heteroconv_of_every_convolution() {
    use HeteroAggregation::*;
    let (_, batch) = typed();
    for aggr in [Sum, Mean, Max, Min, Mul, Cat, Stack] {
        let config = HeteroConvConfig::new()
            .conv(FORTH, NnConvConfig::bipartite(5, 2, 3, 2).hidden([4]))
            .conv(BACK, Gatv2Config::bipartite(2, 5, 3))
            .conv(WITHIN, GcnConfig::new(5, 3))
            .conv(READ, SageConfig::bipartite(1, 5, 3))
            .aggr(aggr);
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(config, serde_json::from_str(&json).unwrap());
        let store = ParamStore::new(Seed::new(6));
        let conv = config.build(store.var_builder(DType::F64, &device())).unwrap();
        let run = |a: &Tensor| conv.forward(&features(a), &batch).unwrap();
        let y = run(&values(4, 5, 0.0));
        assert_eq!(y.keys().collect::<Vec<_>>(), ["a", "b"]);
        // One edge type may win everywhere: then the parameters of another have no part in the result.
        let covered = if matches!(aggr, Max | Min) { &ParamStore::new(Seed::new(6)) } else { &store };
        gradients(covered, |a| joined(&run(a)), &values(4, 5, 0.0));
        fn threads<T: Send + Sync>(_: &T) {}
        threads(&conv);
    }
    let gat = HeteroConvConfig::new().conv(FORTH, GatConfig::bipartite(5, 2, 3));
    let conv = gat.build(ParamStore::new(Seed::new(6)).var_builder(DType::F64, &device())).unwrap();
    let mut short = features(&values(4, 5, 0.0));
    short.remove("b");
    let error = conv.forward(&short, &batch).unwrap_err().to_string();
    assert_eq!(error, "HeteroConv: expected features of b, got a, c");
}

#[test]
fn a_hetero_sage_leaves_out_what_nothing_reaches() {
    let (schema, batch) = typed();
    let config = HeteroSageConfig::new(schema, [4, 3]).conv(SageConfig::new(1, 1).project(true));
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(config, serde_json::from_str(&json).unwrap());
    let store = ParamStore::new(Seed::new(8));
    let network = config.build(store.var_builder(DType::F64, &device())).unwrap();
    // The edges from `c` are used once: nothing updates its features.
    assert!(
        store.get("c1.c__of__a.lin_l.weight").is_some() && store.get("c2.c__of__a.lin_l.weight").is_none()
    );
    let run = |a: &Tensor| network.forward(&features(a), &batch).unwrap();
    assert_eq!(run(&values(4, 5, 0.0))["b"].dims(), [3, 3]);
    gradients(&store, |a| joined(&run(a)), &values(4, 5, 0.0));
    let cat = config.clone().aggr(HeteroAggregation::Cat);
    assert!(cat.build(store.var_builder(DType::F64, &device())).is_err());
}

/// The edge network made the slow way: one matrix per edge.
#[test]
fn an_nnconv_multiplies_by_a_matrix_per_edge() {
    let store = ParamStore::new(Seed::new(3));
    let conv = NnConvConfig::new(5, 3, 2).hidden([4]).root_weight(false).bias(false);
    let conv = conv.build(store.var_builder(DType::F64, &device())).unwrap();
    let (x, e) = (values(N, 5, 0.0), values(SOURCES.len(), 2, 0.3));
    let get = |name: &str| store.get(name).unwrap().as_tensor().clone();
    let linear = |x: &Tensor, i: &str| {
        let y = x.matmul(&get(&format!("nn.{i}.weight")).t().unwrap()).unwrap();
        y.broadcast_add(&get(&format!("nn.{i}.bias"))).unwrap()
    };
    let theta = linear(&linear(&e, "0").relu().unwrap(), "2").reshape((SOURCES.len(), 5, 3)).unwrap();
    let mut expected = vec![vec![0.0; 3]; N];
    for (edge, (&s, &t)) in SOURCES.iter().zip(&TARGETS).enumerate() {
        let row = x.narrow(0, s as usize, 1).unwrap().matmul(&theta.get(edge).unwrap()).unwrap();
        let row = row.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        expected[t as usize].iter_mut().zip(row).for_each(|(o, v)| *o += v);
    }
    let y = rows(&conv.forward(&x, &graph(&SOURCES, &TARGETS, Some(e))).unwrap());
    assert_close(&y, &expected);
}

#[test]
fn an_overwritten_self_loop_receives_the_gradient_of_the_one_that_is_kept() {
    let store = ParamStore::new(Seed::new(0));
    let conv = GcnConfig::new(1, 1).build(store.var_builder(DType::F64, &device())).unwrap();
    let a = Arc::new(Adjacency::new(2, 2, &[0, 1, 0], &[0, 0, 0]).unwrap());
    let w = Var::from_tensor(&Tensor::new(&[9f64, 0.5, 2.0], &device()).unwrap()).unwrap();
    let run =
        |w: &Tensor| conv.forward_bipartite(&values(2, 1, 0.4), &values(2, 1, 0.4), &a, Some(w)).unwrap();
    let other = Tensor::new(&[-4f64, 0.5, 2.0], &device()).unwrap();
    assert_eq!(rows(&run(&w)), rows(&run(&other)));
    let g = run(&w).sum_all().unwrap().backward().unwrap();
    let g = g.get(&w).unwrap().to_vec1::<f64>().unwrap();
    assert!(g[0] == g[2] && g[0] != 0.0);
}

#[test]
fn a_closed_sage_averages_the_node_with_its_neighbours() {
    let store = ParamStore::new(Seed::new(0));
    let conv = SageConfig::new(1, 1).closed(true).build(store.var_builder(DType::F64, &device())).unwrap();
    let one = Tensor::new(&[[2f64]], &device()).unwrap();
    store.get("lin_l.weight").unwrap().set(&one).unwrap();
    store.get("lin_l.bias").unwrap().set(&Tensor::new(&[1f64], &device()).unwrap()).unwrap();
    let x = Tensor::new(&[[1f64], [2.], [4.], [0.], [0.], [3.]], &device()).unwrap();
    let y = rows(&conv.forward(&x, &graph(&[0, 2], &[1, 1], None)).unwrap());
    assert_close(&y[..2], &[vec![3.0], vec![2.0 * 7.0 / 3.0 + 1.0]]);
    assert_close(&y[5..], &[vec![7.0]]);
}

#[test]
fn bad_configurations_and_missing_attributes_are_errors() {
    let store = ParamStore::new(Seed::new(0));
    let vb = || store.var_builder(DType::F64, &device());
    assert!(SageConfig::new(0, 3).build(vb().pp("a")).is_err());
    assert!(SageConfig::new(2, 3).closed(true).aggr(Aggregation::Max).build(vb().pp("b")).is_err());
    assert!(GatConfig::new(2, 3).heads(0).build(vb().pp("c")).is_err());
    let conv = SageConfig::new(5, 3).edge_attributes(2).build(vb().pp("d")).unwrap();
    let error = conv.forward(&values(N, 5, 0.0), &graph(&SOURCES, &TARGETS, None)).unwrap_err();
    assert_eq!(error.to_string(), "SageConv: expected 2 attributes per edge, got none");
}

#[test]
fn a_shared_context_equals_the_concatenated_input() {
    for closed in [false, true] {
        let store = ParamStore::new(Seed::new(4));
        let config = SageConfig::new(7, 3).closed(closed).edge_attributes(2);
        let conv = config.build(store.var_builder(DType::F64, &device())).unwrap();
        let graph = graph(&SOURCES, &TARGETS, Some(values(SOURCES.len(), 2, 0.5)));
        let (x, context) = (values(N, 5, 0.0), values(4, 2, 1.0));
        let fast = conv.forward_with_context(&x, &context, &graph).unwrap();
        for s in 0..4 {
            let row = context.narrow(0, s, 1).unwrap().broadcast_as((N, 2)).unwrap();
            let plain =
                conv.forward(&Tensor::cat(&[&x, &row.contiguous().unwrap()], 1).unwrap(), &graph).unwrap();
            assert_close(&rows(&fast.get(s).unwrap()), &rows(&plain));
        }
        assert!(conv.forward_with_context(&context, &x, &graph).is_err());
    }
}

//! Reductions over edges.

use candle_core::{Device, Tensor};
use oncograph_nn::segment::{
    Adjacency, Reduce, gather_reduce, gather_reduce_weighted, segment_softmax, with_loop_rows,
};
use oncograph_nn::testing::{check_devices, pattern};
use std::slice::from_ref;
use std::sync::Arc;

/// A graph with duplicate edges, loops and nodes without edges.
pub(crate) fn random(sources: u32, targets: u32, edges: u32) -> Arc<Adjacency> {
    let hash =
        |i: u32, salt: u32, n: u32| (i.wrapping_mul(2_654_435_761).rotate_left(salt) ^ salt) % n.max(1);
    let from: Vec<u32> = (0..edges).map(|i| hash(i, 3, sources)).collect();
    let to: Vec<u32> = (0..edges).map(|i| hash(i, 11, targets) / 2).collect();
    Arc::new(Adjacency::new(sources as usize, targets as usize, &from, &to).unwrap())
}

/// All nodes lead to node 1, which leads to all: a row of more edges than one thread adds.
pub(crate) fn hub(nodes: u32) -> Arc<Adjacency> {
    let (all, one): (Vec<u32>, Vec<u32>) = ((0..nodes).collect(), vec![1; nodes as usize]);
    let from = [all.clone(), one.clone()].concat();
    Arc::new(Adjacency::new(nodes as usize, nodes as usize, &from, &[one, all].concat()).unwrap())
}

/// Without edges, without nodes, one edge, odd, with a hub.
pub(crate) fn graphs() -> Vec<Arc<Adjacency>> {
    vec![random(5, 4, 0), random(0, 3, 0), random(1, 1, 1), random(37, 23, 301), hub(9001)]
}

/// Numbers of features: none, one, odd, a warp, more than one.
const WIDTHS: [usize; 5] = [0, 1, 7, 32, 45];

/// Each graph with each number of features, the hub with one.
fn graphs_and_widths() -> Vec<(Arc<Adjacency>, usize)> {
    let widths = |graph: &Arc<Adjacency>| if graph.edge_count() > 4096 { &WIDTHS[1..2] } else { &WIDTHS[..] };
    graphs().iter().flat_map(|g| widths(g).iter().map(|width| (g.clone(), *width))).collect()
}

#[test]
fn sums_and_means() {
    for (graph, width) in graphs_and_widths() {
        let x = [pattern(&[graph.source_count(), width], 1).unwrap()];
        for reduce in [Reduce::Sum, Reduce::Mean] {
            check_devices(&x, |x| gather_reduce(&x[0], &graph, reduce)).unwrap();
        }
    }
}

/// Each graph with each number of heads and of channels, the hub with one.
pub(crate) fn heads() -> Vec<(Arc<Adjacency>, usize, usize)> {
    const HEADS: [(usize, usize); 6] = [(1, 1), (1, 45), (3, 7), (8, 8), (2, 0), (5, 33)];
    let few = |graph: &Arc<Adjacency>| if graph.edge_count() > 4096 { &HEADS[..1] } else { &HEADS[..] };
    graphs().iter().flat_map(|g| few(g).iter().map(|(h, c)| (g.clone(), *h, *c))).collect()
}

#[test]
fn weighted_sums() {
    for (graph, heads, channels) in heads() {
        let x = pattern(&[graph.source_count(), heads * channels], 1).unwrap();
        let weight = pattern(&[graph.edge_count(), heads], 2).unwrap();
        check_devices(&[x, weight], |x| gather_reduce_weighted(&x[0], &x[1], &graph)).unwrap();
    }
}

#[test]
fn maxima_share_their_gradient_among_ties() {
    for (graph, width) in graphs_and_widths() {
        let x = pattern(&[graph.source_count(), width], 1).unwrap().to_device(&Device::Cpu).unwrap();
        check_devices(from_ref(&x), |x| gather_reduce(&x[0], &graph, Reduce::Max)).unwrap();
        // Few values, so that many are equal.
        let x = [((x * 2.0).unwrap().round().unwrap() / 2.0).unwrap()];
        check_devices(&x, |x| gather_reduce(&x[0], &graph, Reduce::Max)).unwrap();
    }
}

#[test]
fn a_nan_is_the_largest() {
    for graph in graphs() {
        let values = (0..graph.source_count()).map(|i| if i % 7 == 3 { f64::NAN } else { (i % 5) as f64 });
        let x = Tensor::from_vec(values.collect(), (graph.source_count(), 1), &Device::Cpu).unwrap();
        check_devices(&[x], |x| gather_reduce(&x[0], &graph, Reduce::Max)).unwrap();
    }
}

#[test]
fn parts_and_transposes_of_features() {
    let graph = random(37, 23, 301);
    let x = pattern(&[9, 37], 1).unwrap();
    let weight = pattern(&[301, 5], 2).unwrap();
    for reduce in [Reduce::Mean, Reduce::Max] {
        check_devices(from_ref(&x), |x| gather_reduce(&x[0].t()?.narrow(1, 2, 6)?, &graph, reduce)).unwrap();
    }
    check_devices(&[x, weight.clone()], |x| {
        gather_reduce_weighted(&x[0].t()?.narrow(1, 2, 6)?, &x[1].narrow(1, 1, 2)?, &graph)
    })
    .unwrap();
    check_devices(from_ref(&weight), |x| segment_softmax(&x[0].narrow(1, 1, 2)?, &graph)).unwrap();
    check_devices(&[weight], |x| with_loop_rows(&x[0].narrow(1, 1, 2)?, &graph, true)).unwrap();
}

#[test]
fn softmax_over_edges() {
    for (graph, heads) in graphs_and_widths() {
        let z = pattern(&[graph.edge_count(), heads], 1).unwrap();
        check_devices(&[z], |z| segment_softmax(&(&z[0] * 5.0)?, &graph)).unwrap();
    }
    for graph in graphs() {
        // Logits without an exponential, alone and beside others, and a NaN.
        for special in [f64::NEG_INFINITY, f64::NAN] {
            let z = (0..graph.edge_count()).map(|e| if e % 3 == 1 { special } else { (e % 5) as f64 });
            let z = Tensor::from_vec(z.collect(), (graph.edge_count(), 1), &Device::Cpu).unwrap();
            check_devices(&[z], |z| segment_softmax(&z[0], &graph)).unwrap();
        }
    }
}

#[test]
fn a_part_of_a_hub_without_exponentials_counts_nothing() {
    let graph = hub(9001);
    let z = (0..graph.edge_count()).map(|e| if e < 5000 { f64::NEG_INFINITY } else { 0.5 });
    let z = Tensor::from_vec(z.collect(), (graph.edge_count(), 1), &Device::Cpu).unwrap();
    check_devices(&[z], |z| segment_softmax(&z[0], &graph)).unwrap();
}

/// The other logits of its part are so low beside those of other parts that nothing of the part would count.
#[test]
fn a_nan_in_a_part_that_vanishes_is_seen() {
    let graph = hub(9001);
    let z = (0..graph.edge_count()).map(|e| match e {
        5000 => f64::NAN,
        4096..8192 => -2000.0,
        _ => 0.5,
    });
    let z = Tensor::from_vec(z.collect(), (graph.edge_count(), 1), &Device::Cpu).unwrap();
    check_devices(&[z], |z| segment_softmax(&z[0], &graph)).unwrap();
}

#[test]
fn rows_of_loops() {
    for (graph, width) in graphs_and_widths().into_iter().filter(|(_, width)| *width > 0) {
        let values = [pattern(&[graph.edge_count(), width], 1).unwrap()];
        for mean in [false, true] {
            check_devices(&values, |v| with_loop_rows(&v[0], &graph, mean)).unwrap();
        }
    }
}

//! Reductions over edges.

use oncograph_nn::segment::{Adjacency, Reduce, gather_reduce};
use oncograph_nn::testing::{check_devices, pattern};
use std::sync::Arc;

/// A graph with duplicate edges, loops and nodes without edges.
fn random(sources: u32, targets: u32, edges: u32) -> Arc<Adjacency> {
    let hash =
        |i: u32, salt: u32, n: u32| (i.wrapping_mul(2_654_435_761).rotate_left(salt) ^ salt) % n.max(1);
    let from: Vec<u32> = (0..edges).map(|i| hash(i, 3, sources)).collect();
    let to: Vec<u32> = (0..edges).map(|i| hash(i, 11, targets) / 2).collect();
    Arc::new(Adjacency::new(sources as usize, targets as usize, &from, &to).unwrap())
}

/// All nodes lead to node 1, which leads to all: a row of more edges than one thread adds.
fn hub(nodes: u32) -> Arc<Adjacency> {
    let (all, one): (Vec<u32>, Vec<u32>) = ((0..nodes).collect(), vec![1; nodes as usize]);
    let from = [all.clone(), one.clone()].concat();
    Arc::new(Adjacency::new(nodes as usize, nodes as usize, &from, &[one, all].concat()).unwrap())
}

/// Without edges, without nodes, one edge, odd, with a hub.
fn graphs() -> Vec<Arc<Adjacency>> {
    vec![random(5, 4, 0), random(0, 3, 0), random(1, 1, 1), random(37, 23, 301), hub(9001)]
}

/// Numbers of features: none, one, odd, a warp, more than one.
const WIDTHS: [usize; 5] = [0, 1, 7, 32, 45];

#[test]
fn sums_and_means() {
    for graph in graphs() {
        for width in WIDTHS {
            let x = [pattern(&[graph.source_count(), width], 1).unwrap()];
            for reduce in [Reduce::Sum, Reduce::Mean] {
                check_devices(&x, |x| gather_reduce(&x[0], &graph, reduce)).unwrap();
            }
        }
    }
}

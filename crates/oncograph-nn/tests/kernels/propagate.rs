//! Linear maps of rows, and sums over neighbours between them.

use crate::segment::{graphs, hub, random};
use oncograph_nn::segment::{Adjacency, Neighbourhood, propagate, row_linear, row_linear_onto};
use oncograph_nn::testing::{check_devices, pattern};
use std::sync::Arc;

#[test]
fn linear_maps_of_rows() {
    for (rows, features, out) in [(0, 3, 5), (1, 1, 1), (7, 3, 5), (1025, 5, 2), (33, 45, 40)] {
        let shapes: [&[usize]; 3] = [&[rows, features], &[out, features], &[out]];
        let inputs = shapes.map(|shape| pattern(shape, 1 + shape.len() as u64).unwrap());
        for relu in [false, true] {
            check_devices(&inputs, |t| row_linear(&t[0], &t[1], Some(&t[2]), relu)).unwrap();
            check_devices(&inputs[..2], |t| row_linear(&t[0], &t[1], None, relu)).unwrap();
        }
        check_devices(&inputs, |t| row_linear(&t[0].detach(), &t[1], Some(&t[2]), true)).unwrap();
    }
}

#[test]
fn linear_maps_of_parts_and_transposes() {
    let inputs = [pattern(&[9, 20], 1).unwrap(), pattern(&[6, 5], 2).unwrap()];
    check_devices(&inputs, |t| row_linear(&t[0].t()?.narrow(1, 2, 6)?, &t[1].t()?, None, true)).unwrap();
}

#[test]
fn linear_maps_onto_rows_of_a_base() {
    for (rows, groups) in [(0, 3), (1, 1), (40, 7), (9001, 2)] {
        let of_row: Vec<u32> = (0..rows as u32).map(|i| (i * i) % groups as u32).collect();
        let of_row = Arc::new(Adjacency::from_segments(&of_row, groups).unwrap());
        let shapes = [[rows, 3], [2, 3], [groups, 2]];
        let inputs = shapes.map(|shape| pattern(&shape, 1).unwrap());
        check_devices(&inputs, |t| row_linear_onto(&t[0], &t[1], &t[2], &of_row)).unwrap();
    }
}

const NEIGHBOURHOODS: [Neighbourhood; 5] = [
    Neighbourhood::Sum,
    Neighbourhood::Mean,
    Neighbourhood::ClosedMean,
    Neighbourhood::Symmetric,
    Neighbourhood::SymmetricWithLoops,
];

/// With and without a matrix for the node itself and a bias, on either side of the sum.
fn check(graph: &Arc<Adjacency>, (features, out): (usize, usize), neighbourhood: Neighbourhood) {
    let shapes: [&[usize]; 4] =
        [&[graph.source_count(), features], &[out, features], &[out, features], &[out]];
    let inputs = [0, 1, 2, 3].map(|k| pattern(shapes[k], k as u64).unwrap());
    let square = graph.source_count() == graph.target_count();
    for (root, bias) in [(false, false), (square, true)] {
        check_devices(&inputs, |t| {
            let (root, bias) = (root.then_some(&t[2]), bias.then_some(&t[3]));
            propagate(&t[0], &t[1], root, bias, graph, neighbourhood)
        })
        .unwrap();
    }
}

#[test]
fn sums_over_neighbours_between_linear_maps() {
    for graph in graphs().into_iter().filter(|graph| graph.edge_count() < 4096) {
        for neighbourhood in &NEIGHBOURHOODS[..2] {
            check(&graph, (3, 7), *neighbourhood);
            check(&graph, (40, 33), *neighbourhood);
        }
    }
    for graph in [random(4, 4, 0), random(1, 1, 3), random(30, 30, 200)] {
        for neighbourhood in NEIGHBOURHOODS {
            check(&graph, (7, 3), neighbourhood);
            check(&graph, (3, 7), neighbourhood);
        }
    }
}

#[test]
fn sums_over_the_neighbours_of_a_hub() {
    for neighbourhood in NEIGHBOURHOODS {
        check(&hub(9001), (1, 2), neighbourhood);
    }
}

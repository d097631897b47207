//! Attention over edges, and sums under a matrix per edge.

use crate::segment::{graphs, heads, random};
use candle_core::{Device, Tensor};
use oncograph_nn::segment::{edge_conditioned, graph_attention, graph_attention_v2};
use oncograph_nn::testing::{check_devices, pattern};

#[test]
fn attention_to_sources() {
    for (graph, heads, channels) in heads().into_iter().filter(|(_, _, channels)| *channels > 0) {
        let shapes = [
            [graph.source_count(), heads * (channels + 1)],
            [graph.target_count(), heads],
            [graph.edge_count(), heads],
        ];
        let inputs = [0, 1, 2].map(|k| pattern(&shapes[k], k as u64).unwrap());
        check_devices(&inputs[..2], |t| graph_attention(&(&t[0] * 3.0)?, &t[1], None, &graph, 0.2)).unwrap();
        check_devices(&inputs, |t| graph_attention(&t[0], &t[1], Some(&t[2]), &graph, 0.2)).unwrap();
    }
}

/// Exponentials are relative to the largest logit, where all of a row are far below 0 as well.
#[test]
fn attention_with_logits_far_below_zero() {
    let graph = random(37, 23, 301);
    let inputs = [[37, 10], [23, 2]].map(|shape| pattern(&shape, 1).unwrap());
    check_devices(&inputs, |t| graph_attention(&t[0], &(&t[1] - 400.0)?, None, &graph, 0.2)).unwrap();
}

#[test]
fn attention_of_parts_and_transposes() {
    let graph = random(37, 23, 301);
    let inputs = [[13, 37], [9, 23], [301, 5]].map(|shape| pattern(&shape, 1).unwrap());
    check_devices(&inputs, |t| {
        let (source, target) = (t[0].t()?.narrow(1, 2, 10)?, t[1].t()?.narrow(1, 3, 2)?);
        graph_attention(&source, &target, Some(&t[2].narrow(1, 1, 2)?), &graph, 0.1)
    })
    .unwrap();
}

#[test]
fn attention_that_sees_both_ends() {
    for (graph, heads, channels) in heads().into_iter().filter(|(_, _, channels)| *channels > 0) {
        for attributes in [0, 1, 3] {
            let width = heads * channels;
            let (sources, targets) = (graph.source_count(), graph.target_count());
            let shapes = [[sources, width], [targets, width], [1 + attributes, width]];
            let inputs = [0, 1, 2].map(|k| pattern(&shapes[k], 3 + k as u64).unwrap());
            let of_edges = pattern(&[graph.edge_count(), attributes], 6).unwrap();
            let of_edges = of_edges.to_device(&Device::Cpu).unwrap();
            check_devices(&inputs, |t| {
                let of_edges = of_edges.to_dtype(t[0].dtype())?.to_device(t[0].device())?;
                let of_edges = (attributes > 0).then_some(&of_edges);
                graph_attention_v2(&t[0], &t[1], &t[2], of_edges, &graph, heads, 0.2)
            })
            .unwrap();
        }
    }
}

#[test]
fn sums_under_a_matrix_per_edge() {
    for graph in graphs() {
        let sizes =
            if graph.edge_count() > 4096 { &[(1, 1, 1)][..] } else { &[(1, 1, 1), (3, 5, 2), (9, 4, 33)] };
        for (features, hidden, out) in sizes.iter().copied() {
            let shapes: [&[usize]; 4] = [
                &[graph.source_count(), features],
                &[graph.edge_count(), hidden],
                &[features * out, hidden],
                &[features * out],
            ];
            let inputs = [0, 1, 2, 3].map(|k| pattern(shapes[k], 7 + k as u64).unwrap());
            for mean in [false, true] {
                check_devices(&inputs, |t| edge_conditioned(&t[0], &t[1], &t[2], &t[3], &graph, mean))
                    .unwrap();
            }
            let fixed = |t: &[Tensor]| edge_conditioned(&t[0].detach(), &t[1], &t[2], &t[3], &graph, true);
            check_devices(&inputs, fixed).unwrap();
        }
    }
}

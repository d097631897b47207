//! That operations on graphs do not go by way of the host.
#![cfg(feature = "cuda")]

use crate::segment::random;
use candle_core::Tensor;
use oncograph_nn::segment::{
    Neighbourhood, Reduce, edge_conditioned, gather_reduce, gather_reduce_weighted, graph_attention,
    graph_attention_v2, propagate, row_linear, segment_softmax, with_loop_rows,
};
use oncograph_nn::testing::{check_devices, pattern};

#[test]
fn operations_on_graphs_stay_on_the_device() {
    let graph = random(7, 5, 30);
    let shapes: [&[usize]; 6] = [&[7, 6], &[30, 2], &[5, 2], &[36, 2], &[36], &[6, 6]];
    let inputs = [0, 1, 2, 3, 4, 5].map(|k| pattern(shapes[k], k as u64).unwrap());
    check_devices(&inputs, |t| {
        let (x, edges, targets, weight, bias, square) = (&t[0], &t[1], &t[2], &t[3], &t[4], &t[5]);
        let all = [
            gather_reduce(x, &graph, Reduce::Max)?,
            gather_reduce_weighted(x, &segment_softmax(edges, &graph)?, &graph)?,
            with_loop_rows(edges, &graph, true)?.reshape(((), 6))?,
            graph_attention(x, targets, Some(edges), &graph, 0.2)?.reshape(((), 2))?.repeat((1, 3))?,
            graph_attention_v2(x, &targets.repeat((1, 3))?, &x.narrow(0, 0, 1)?, None, &graph, 2, 0.2)?,
            edge_conditioned(x, edges, weight, bias, &graph, true)?,
            row_linear(x, square, None, true)?,
            propagate(x, square, None, None, &graph, Neighbourhood::Mean)?,
        ];
        Ok(Tensor::cat(&all, 0)?)
    })
    .unwrap();
    let of_graphs = ["gather", "edge", "softmax", "loop", "row linear", "propagate", "graph"];
    let seen = oncograph_nn::cuda::by_host();
    assert!(!seen.iter().any(|name| of_graphs.iter().any(|word| name.contains(word))), "{seen:?}");
}

//! The nodes of a batch on their way from the table to the network.

use crate::ANATOMY;
use crate::Result;
use crate::config::EdgeDirection;
use crate::features::NODES as IMAGES;
use candle_core::Tensor;
use oncograph_graph::Graph;
use oncograph_nn::portable::rows_at;
use oncograph_nn::segment::{Adjacency, Reduce, gather_reduce};
use std::sync::Arc;

/// The node features of a batch, in which the first `width` numbers of some nodes are 0.
pub(crate) fn without(x: Tensor, blank: &[usize], width: usize) -> Result<Tensor> {
    if blank.is_empty() {
        return Ok(x);
    }
    let (nodes, columns) = x.dims2()?;
    let mut keep = vec![1f32; nodes];
    blank.iter().for_each(|&at| keep[at] = 0.0);
    let keep = Tensor::from_vec(keep, (nodes, 1), x.device())?;
    let features = x.narrow(1, 0, width)?.broadcast_mul(&keep)?;
    if columns == width {
        return Ok(features);
    }
    Ok(Tensor::cat(&[&features, &x.narrow(1, width, columns - width)?], 1)?)
}

/// The graph with the edges of one direction alone (S-06).
pub(crate) fn directed(graph: Graph, kinds: &[u32], edges: EdgeDirection) -> Result<Graph> {
    let is_anatomy = |node: u32| (kinds[node as usize] as usize) < ANATOMY.len();
    let adjacency = graph.adjacency();
    let keep = |edge: &usize| match edges {
        EdgeDirection::Both => true,
        EdgeDirection::FromAnatomy => is_anatomy(adjacency.sources()[*edge]),
        EdgeDirection::ToAnatomy => is_anatomy(adjacency.targets()[*edge]),
    };
    if edges == EdgeDirection::Both {
        return Ok(graph);
    }
    let kept: Vec<usize> = (0..adjacency.edge_count()).filter(keep).collect();
    let ends = |of: &[u32]| kept.iter().map(|&edge| of[edge]).collect::<Vec<u32>>();
    let n = graph.node_count();
    let other = Adjacency::new(n, n, &ends(adjacency.sources()), &ends(adjacency.targets()))?;
    let rows: Vec<u32> = kept.iter().map(|&edge| edge as u32).collect();
    let attributes = match graph.edge_attributes() {
        Some(all) => Some(rows_at(all, &rows)?),
        None => None,
    };
    Ok(Graph::new(Arc::new(other), attributes, graph.membership().targets(), graph.graph_count())?)
}

/// The nodes of a batch as the network takes them.
pub(crate) struct Nodes {
    /// \[nodes, d\], and what encodes which node it is.
    pub x: Tensor,
    pub graph: Graph,
    /// Which of the seven nodes each is: 0 to 4 anatomical, 5 the CT, 6 clinical.
    pub kinds: Vec<u32>,
}

impl Nodes {
    /// The mean of each patient's image nodes, and its clinical node, \[patients, `width`\] each.
    pub(crate) fn modalities(&self, width: usize) -> Result<[Tensor; 2]> {
        let (x, patients) = (self.x.narrow(1, 0, width)?.contiguous()?, self.graph.membership().targets());
        let mean = |of: &dyn Fn(u32) -> bool| -> Result<Tensor> {
            let (mut nodes, mut owners) = (vec![], vec![]);
            for ((node, &kind), &patient) in (0..).zip(&self.kinds).zip(patients) {
                if of(kind) {
                    nodes.push(node);
                    owners.push(patient);
                }
            }
            let joined = Adjacency::new(patients.len(), self.graph.graph_count(), &nodes, &owners)?;
            Ok(gather_reduce(&x, &Arc::new(joined), Reduce::Mean)?)
        };
        let clinical = IMAGES as u32;
        Ok([mean(&|kind| kind < clinical)?, mean(&|kind| kind == clinical)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NodeIdentity, NodeTable, Stg, StgConfig};
    use candle_core::DType;
    use oncograph_nn::testing::device;
    use oncograph_nn::{ParamStore, Seed};

    fn table() -> NodeTable {
        let images = (0..2 * 6 * 3 * 2).map(|i| (i as f32 * 0.7).sin()).collect();
        NodeTable::new(Some(images), 2, vec![0.5, -1.0], 1, &device()).unwrap()
    }

    fn model(config: StgConfig) -> Stg {
        let config = config.features(2).hidden(3).lstm_hidden(2);
        let store = ParamStore::new(Seed::new(1));
        Stg::new(&config, store.var_builder(DType::F32, &device())).unwrap()
    }

    fn rows(x: &Tensor) -> Vec<Vec<f32>> {
        x.to_vec2().unwrap()
    }

    #[test]
    fn one_way_graphs_keep_the_edges_of_their_way_and_their_attributes() {
        let table = table();
        let centroids = [0.1, 0.2, 0.3, 0.4, 0.5].map(|v| [v; 3]);
        let graph = table.graph(0, centroids).unwrap();
        let edges = |edges: EdgeDirection| {
            let nodes =
                table.assemble(&model(StgConfig::decoupled(1).edges(edges)), &[&graph], None).unwrap();
            let adjacency = nodes.graph.adjacency();
            let attributes = rows(nodes.graph.edge_attributes().unwrap());
            let ends = adjacency.sources().iter().zip(adjacency.targets());
            ends.zip(attributes).map(|((s, t), a)| (*s, *t, a)).collect::<Vec<_>>()
        };
        let (all, from) = (edges(EdgeDirection::Both), edges(EdgeDirection::FromAnatomy));
        let to = edges(EdgeDirection::ToAnatomy);
        assert_eq!((all.len(), from.len(), to.len()), (20, 10, 10));
        let of = |keep: &dyn Fn(u32, u32) -> bool| {
            all.iter().filter(|(s, t, _)| keep(*s, *t)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(from, of(&|s, t| s < 5 && t >= 5));
        assert_eq!(to, of(&|s, t| s >= 5 && t < 5));
    }

    #[test]
    fn modalities_are_the_mean_of_six_nodes_and_the_seventh() {
        let table = table();
        let graphs = [0, 1].map(|p| table.graph(p, [[0.5; 3]; 5]).unwrap());
        let less = graphs[1].retain_nodes("anatomy", &[true, false, false, true, true]).unwrap();
        let model = model(StgConfig::decoupled(1).node_type(NodeIdentity::OneHot));
        let nodes = table.assemble(&model, &[&graphs[0], &less], None).unwrap();
        let x = rows(&nodes.x);
        let [images, clinical] = nodes.modalities(2).unwrap().map(|t| rows(&t));
        for (patient, (first, count)) in [(0, 6), (7, 4)].into_iter().enumerate() {
            for column in 0..2 {
                let mean = (first..first + count).map(|n| x[n][column]).sum::<f32>() / count as f32;
                approx::assert_relative_eq!(images[patient][column], mean, epsilon = 1e-6);
                assert_eq!(clinical[patient][column], x[first + count][column]);
            }
        }
    }
}

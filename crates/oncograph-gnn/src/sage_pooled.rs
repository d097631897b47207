use crate::sage::has_kernel;
use crate::{Aggregation, MessagePassing, Result, SageConv};
use candle_core::Tensor;
use oncograph_graph::Graph;
use oncograph_nn::segment::{Adjacency, Reduce, gather_reduce, gather_reduce_weighted, row_linear};
use std::sync::Arc;

impl SageConv {
    /// The mean of the layer's output over the nodes of each segment, without the output itself.
    ///
    /// The layer is linear, so that the mean goes through the matrices once per segment instead of every node: for a
    /// last layer without activation in front of a mean pooling. Layers that are not linear, or that nodes enter in
    /// another way, are computed and pooled.
    ///
    /// # Shapes
    /// `x` \[nodes, F\], `segments` from the nodes to their segments -> \[segments, out\]
    ///
    /// # Errors
    /// An error of the layer, or if `segments` has not one row per node.
    pub fn forward_pooled(&self, x: &Tensor, graph: &Graph, segments: &Arc<Adjacency>) -> Result<Tensor> {
        let c = self.config();
        let empty = (0..segments.target_count()).any(|s| segments.by_target().degree(s) == 0);
        let linear = c.aggr == Aggregation::Mean && !c.closed && !c.project && !c.normalize;
        // Elsewhere the edges of both steps, which are made here, would be copied to the device in every forward.
        let here = x.device().is_cpu() && has_kernel(x);
        if !linear || empty || !here {
            return Ok(gather_reduce(&self.forward(x, graph)?, segments, Reduce::Mean)?);
        }
        let (terms, weights) = terms(graph.adjacency(), segments)?;
        let weights = Tensor::from_vec(weights, (terms.edge_count(), 1), x.device())?.to_dtype(x.dtype())?;
        let means = gather_reduce_weighted(x, &weights, &Arc::new(terms))?;
        let half = |i: usize| means.narrow(0, i * segments.target_count(), segments.target_count());
        let mut out = row_linear(&half(0)?, self.lin_l().weight(), self.lin_l().bias(), false)?;
        if let Some(lin_r) = self.lin_r() {
            out = (out + row_linear(&half(1)?, lin_r.weight(), None, false)?)?;
        }
        if let Some(message) = self.messages(graph.adjacency(), graph.edge_attributes())? {
            out = (out + gather_reduce(&message, segments, Reduce::Mean)?)?;
        }
        Ok(out)
    }
}

/// What each segment takes of each node: first the mean over its nodes of the mean of their neighbours, one row per
/// segment, then the mean of its nodes, one more each; and the weight of each edge.
fn terms(adjacency: &Adjacency, segments: &Adjacency) -> Result<(Adjacency, Vec<f64>)> {
    let count = segments.target_count();
    let (mut sources, mut targets, mut weights) = (vec![], vec![], vec![]);
    let mut shares: Vec<(u32, f64)> = vec![];
    for segment in 0..count {
        let nodes = segments.by_target().columns(segment);
        let share = 1.0 / nodes.len() as f64;
        shares.clear();
        for &node in nodes {
            let neighbours = adjacency.by_target().columns(node as usize);
            let each = share / neighbours.len().max(1) as f64;
            shares.extend(neighbours.iter().map(|&n| (n, each)));
        }
        shares.sort_by_key(|&(node, _)| node);
        for of_node in shares.chunk_by(|a, b| a.0 == b.0) {
            sources.push(of_node[0].0);
            weights.push(of_node.iter().map(|&(_, w)| w).sum());
        }
        targets.resize(sources.len(), segment as u32);
    }
    for segment in 0..count {
        let nodes = segments.by_target().columns(segment);
        sources.extend_from_slice(nodes);
        weights.resize(sources.len(), 1.0 / nodes.len() as f64);
        targets.resize(sources.len(), (count + segment) as u32);
    }
    Ok((Adjacency::new(segments.source_count(), 2 * count, &sources, &targets)?, weights))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SageConfig;
    use candle_core::DType;
    use oncograph_nn::testing::{device, pattern};
    use oncograph_nn::{ParamStore, Seed};

    fn gap(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
    }

    /// Six nodes, one without neighbours, a double edge; with and without edge attributes and a root.
    #[test]
    fn equals_the_mean_of_the_output() {
        let (sources, targets) = ([0, 1, 1, 2, 4, 4, 5], [1, 0, 0, 1, 3, 5, 1]);
        let segments = Arc::new(Adjacency::from_segments(&[0, 2, 0, 1, 1, 2], 3).unwrap());
        for (attributes, root, normalize) in
            [(0, true, false), (2, true, false), (0, false, false), (0, true, true)]
        {
            let store = ParamStore::new(Seed::new(3));
            let config =
                SageConfig::new(5, 4).edge_attributes(attributes).root_weight(root).normalize(normalize);
            let conv = config.build(store.var_builder(DType::F64, &device())).unwrap();
            let edge = (attributes > 0).then(|| pattern(&[7, attributes], 2).unwrap());
            let adjacency = Arc::new(Adjacency::new(6, 6, &sources, &targets).unwrap());
            let graph = Graph::new(adjacency, edge, &[0; 6], 1).unwrap();
            let x = candle_core::Var::from_tensor(&pattern(&[6, 5], 1).unwrap()).unwrap();
            let plain = gather_reduce(&conv.forward(&x, &graph).unwrap(), &segments, Reduce::Mean).unwrap();
            let pooled = conv.forward_pooled(&x, &graph, &segments).unwrap();
            assert!(gap(&plain, &pooled) < 1e-12);
            let gradients = |y: &Tensor| y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let (a, b) = (gradients(&plain), gradients(&pooled));
            assert!(gap(a.get(&x).unwrap(), b.get(&x).unwrap()) < 1e-12);
            for (name, var) in store.trainable() {
                assert!(gap(a.get(&var).unwrap(), b.get(&var).unwrap()) < 1e-11, "{name}");
            }
        }
    }

    /// A segment without nodes is 0, not the bias.
    #[test]
    fn an_empty_segment_is_zero() {
        let store = ParamStore::new(Seed::new(3));
        let conv = SageConfig::new(2, 2).build(store.var_builder(DType::F64, &device())).unwrap();
        let graph = Graph::new(Arc::new(Adjacency::new(1, 1, &[], &[]).unwrap()), None, &[0], 1).unwrap();
        let segments = Arc::new(Adjacency::from_segments(&[1], 2).unwrap());
        let y = conv.forward_pooled(&pattern(&[1, 2], 1).unwrap(), &graph, &segments).unwrap();
        assert_eq!(y.get(0).unwrap().to_vec1::<f64>().unwrap(), [0.0, 0.0]);
    }
}

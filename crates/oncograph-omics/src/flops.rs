//! Floating point operations of a forward pass: what the size of two models is compared by, besides parameters.

use crate::{FusionTokens, HeteroEdges, NodeInput, OmicsNetConfig, Pooling, SharedGraphs};

/// A linear layer on one row.
fn linear(inputs: usize, outputs: usize) -> u64 {
    2 * inputs as u64 * outputs as u64
}

/// Nodes of a type that one patient has.
fn nodes(config: &OmicsNetConfig, name: &str) -> u64 {
    match config.node_type(name) {
        Some(t) if t.input == NodeInput::Rows => 1,
        Some(t) => t.features as u64,
        None => 0,
    }
}

/// The network, for one patient with every node type.
pub(crate) fn network(config: &OmicsNetConfig, graphs: &SharedGraphs) -> u64 {
    let h = config.hidden;
    let modality = |m: &crate::ModalityConfig| {
        let embedded = |name: &String| match config.node_type(name) {
            Some(t) if t.input == NodeInput::Rows => linear(t.features, h),
            // A value and a constant, each times a row.
            _ => nodes(config, name) * linear(2, h),
        };
        let all: u64 = m.node_types.iter().map(|n| nodes(config, n)).sum();
        let pooled: u64 = m.pooled.iter().map(|n| nodes(config, n)).sum();
        // Each undirected edge is two, and every node has a self loop.
        let messages = 2 * graphs.edge_count(&m.name) as u64 + all;
        let layer = all * linear(h, h) + 2 * all * linear(h, 1) + messages * linear(h, 1);
        let layers = if config.ablate.intra { 0 } else { config.layers as u64 * layer };
        let gate = if config.pooling == Pooling::Attention { pooled * linear(h, 1) } else { 0 };
        let hetero = match config.hetero_edges {
            HeteroEdges::Ignore => 0,
            HeteroEdges::Gat { .. } => (all + 1) * linear(h, h) + all * 2 * linear(h, 1),
        };
        m.node_types.iter().map(embedded).sum::<u64>() + layers + gate + pooled * linear(h, 1) + hetero
    };
    linear(config.patient, h) + config.active().map(modality).sum::<u64>() + fusion(config)
}

/// The baseline without a graph, for one patient with every node type.
pub(crate) fn flat(config: &OmicsNetConfig) -> u64 {
    let h = config.hidden;
    let mlp = |width: usize| linear(width, h) + linear(h, h);
    let widths = config.active().flat_map(|m| &m.pooled).filter_map(|n| config.node_type(n));
    mlp(config.patient) + widths.map(|t| mlp(t.features)).sum::<u64>() + fusion(config)
}

/// The fusion and the heads.
fn fusion(config: &OmicsNetConfig) -> u64 {
    let (h, m) = (config.hidden, config.active().count());
    let outputs: usize = config.tasks.iter().map(|t| t.kind.width()).sum();
    let heads = linear(h, config.trunk) + linear(config.trunk, outputs);
    if config.ablate.inter {
        return linear(h + m * (h + 1), h) + linear(h, h) + heads;
    }
    let (keys, square) = (m as u64, linear(h, h));
    let attention = 2 * square + 2 * keys * square + 2 * keys * linear(h, 1);
    let tokens = match config.fusion_tokens {
        FusionTokens::Single => 1,
        FusionTokens::Set => 1 + keys,
    };
    let layer = 4 * tokens * square
        + 2 * tokens * tokens * linear(h, 1)
        + tokens * 2 * linear(h, config.feed_forward);
    attention + config.fusion_layers as u64 * layer + heads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ablate, ModalityConfig, NodeTypeConfig, TaskConfig, TaskKind, TypedEdges};

    #[test]
    fn operations_of_a_small_network_by_hand() {
        let types = vec![NodeTypeConfig::diag("gene", 3)];
        let modalities = vec![ModalityConfig::new("genomics", ["gene"])];
        let tasks = vec![TaskConfig::new("survival", TaskKind::SurvivalCox)];
        let config = OmicsNetConfig::new(2, types, modalities, tasks).hidden(4).heads(2).layers(1);
        let config = config.fusion(1, 8).trunk(5);
        let graphs = SharedGraphs::new(&config, &[TypedEdges::new("gene", "gene", vec![(0, 1)])]).unwrap();
        // Patient 16; nodes 3 x 16; GAT 3 x 32 + 2 x 3 x 8 + (2 + 3) x 8; mean 3 x 8.
        let intra = 3 * 16 + (3 * 32 + 48 + 40) + 24;
        // Attention 2 x 32 + 2 x 32 + 16; layer 4 x 32 + 16 + 2 x 64; heads 40 + 10.
        let rest = 64 + 64 + 16 + (128 + 16 + 128) + 50;
        assert_eq!(network(&config, &graphs), 16 + intra + rest);
        let ablated = config.clone().ablate(Ablate { intra: true, inter: true });
        assert_eq!(network(&ablated, &graphs), 16 + 3 * 16 + 24 + (2 * 9 * 4 + 32) + 50);
        assert_eq!(flat(&config), (16 + 32) + (24 + 32) + rest);
    }
}

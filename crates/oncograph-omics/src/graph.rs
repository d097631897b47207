use crate::{Error, NodeInput, OmicsNetConfig, Result};
use oncograph_graph::{Adjacency, SharedTopology, TypedEdges};
use oncograph_nn::Seed;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The graph that all patients of a cohort share, per modality; it is stored once, whatever the batch, as a
/// [`SharedTopology`].
///
/// Nodes of a modality are those of its node types, one type behind the other, so that a protein's position is moved
/// by the number of genes (defect 3), and each edge is there in both directions.
///
/// # Example
///
/// ```
/// use oncograph_omics::{ModalityConfig, OmicsNetConfig, NodeTypeConfig, SharedGraphs, TaskConfig, TaskKind, TypedEdges};
///
/// # fn main() -> oncograph_omics::Result<()> {
/// let config = OmicsNetConfig::new(
///     1,
///     vec![NodeTypeConfig::diag("gene", 2), NodeTypeConfig::diag("protein", 1)],
///     vec![ModalityConfig::new("genomics", ["gene", "protein"])],
///     vec![TaskConfig::new("survival", TaskKind::SurvivalCox)],
/// );
/// let codes_for = TypedEdges::new("gene", "protein", vec![(1, 0)]);
/// let graphs = SharedGraphs::new(&config, &[codes_for])?;
/// let adjacency = graphs.of("genomics", &[true, true])?;
/// assert_eq!((adjacency.sources(), adjacency.targets()), (&[1, 2][..], &[2, 1][..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SharedGraphs {
    modalities: Arc<BTreeMap<String, SharedTopology>>,
}

impl SharedGraphs {
    /// The graphs of the modalities of `config` whose nodes have names; `edges` between types that no modality joins
    /// are not used. Duplicates and self loops are left out, and directions are mirrored.
    ///
    /// # Errors
    /// [`Error::Input`] for an edge to a type, [`Error::Graph`] for one to a position that is not there.
    pub fn new(config: &OmicsNetConfig, edges: &[TypedEdges]) -> Result<Self> {
        let nodes = |e: &TypedEdges, name: &str| {
            let found = config.node_type(name).filter(|t| t.input != NodeInput::Rows);
            let what = || format!("edges {} -> {}", e.from, e.to);
            let missing = || Error::input(what(), "node types with one value per node", name);
            found.map(|t| t.features).ok_or_else(missing)
        };
        for e in edges {
            e.validate(nodes(e, &e.from)?, nodes(e, &e.to)?)?;
        }
        let mut modalities = BTreeMap::new();
        for modality in &config.modalities {
            let types: Vec<_> = modality.node_types.iter().filter_map(|n| config.node_type(n)).collect();
            if types.iter().any(|t| t.input == NodeInput::Rows) {
                continue;
            }
            let counts: Vec<(&str, usize)> = types.iter().map(|t| (t.name.as_str(), t.features)).collect();
            let joins = |name: &str| counts.iter().any(|c| c.0 == name);
            let own = edges.iter().filter(|e| joins(&e.from) && joins(&e.to));
            modalities.insert(modality.name.clone(), SharedTopology::new(&counts, own)?);
        }
        Ok(SharedGraphs { modalities: Arc::new(modalities) })
    }

    /// The graph of a modality over the node types that are present.
    ///
    /// # Errors
    /// [`Error::Input`] for a modality without a shared graph or another number of node types.
    pub fn of(&self, modality: &str, present: &[bool]) -> Result<Arc<Adjacency>> {
        match self.modalities.get(modality) {
            Some(graph) if graph.type_count() == present.len() => Ok(graph.induced(present)?),
            Some(graph) => {
                Err(Error::input(format!("node types of {modality}"), graph.type_count(), present.len()))
            }
            None => Err(Error::input("shared graph", "a modality whose nodes have names", modality)),
        }
    }

    /// Undirected edges of a modality; 0 where it has none.
    pub fn edge_count(&self, modality: &str) -> usize {
        self.modalities.get(modality).map_or(0, SharedTopology::edge_count)
    }

    /// These graphs with each undirected edge dropped with probability `p` (M-17).
    pub fn drop_edges(&self, p: f64, seed: Seed) -> Self {
        self.changed(|name, graph| graph.drop_edges(p, seed.stream(name)))
    }

    /// These graphs with their edges rewired at random, as [`SharedTopology::shuffle_edges`]: the control of whether
    /// the graph helps.
    pub fn shuffle_edges(&self, seed: Seed) -> Self {
        self.changed(|name, graph| graph.shuffle_edges(seed.stream(name)))
    }

    fn changed(&self, change: impl Fn(&str, &SharedTopology) -> SharedTopology) -> Self {
        let modalities = self.modalities.iter().map(|(name, graph)| (name.clone(), change(name, graph)));
        SharedGraphs { modalities: Arc::new(modalities.collect()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModalityConfig, NodeTypeConfig, TaskConfig, TaskKind};

    fn config() -> OmicsNetConfig {
        OmicsNetConfig::new(
            1,
            vec![NodeTypeConfig::diag("gene", 3), NodeTypeConfig::diag("protein", 2)],
            vec![
                ModalityConfig::new("genomics", ["gene", "protein"]),
                ModalityConfig::new("proteomics", ["protein"]),
            ],
            vec![TaskConfig::new("survival", TaskKind::SurvivalCox)],
        )
    }

    fn graphs() -> SharedGraphs {
        let edges = [
            TypedEdges::new("gene", "gene", vec![(0, 1), (1, 0), (2, 2)]),
            TypedEdges::new("gene", "protein", vec![(2, 1)]),
            TypedEdges::new("protein", "protein", vec![(0, 1)]),
        ];
        SharedGraphs::new(&config(), &edges).unwrap()
    }

    #[test]
    fn defect_3_proteins_are_joined_behind_the_genes_and_codes_for_goes_both_ways() {
        let g = graphs().of("genomics", &[true, true]).unwrap();
        let pairs: Vec<_> = g.sources().iter().zip(g.targets()).map(|(s, t)| (*s, *t)).collect();
        assert_eq!(pairs, [(0, 1), (1, 0), (2, 4), (3, 4), (4, 2), (4, 3)]);
        assert_eq!(graphs().edge_count("proteomics"), 1);
    }

    #[test]
    fn a_node_type_that_is_absent_leaves_with_its_edges() {
        let g = graphs().of("genomics", &[false, true]).unwrap();
        assert_eq!((g.source_count(), g.sources(), g.targets()), (2, &[0, 1][..], &[1, 0][..]));
    }

    #[test]
    fn edges_are_dropped_in_pairs_and_shuffled_with_their_number() {
        let dropped = graphs().drop_edges(0.5, Seed::new(3));
        let g = dropped.of("genomics", &[true, true]).unwrap();
        assert_eq!(g.edge_count() % 2, 0);
        assert_eq!(graphs().drop_edges(1.0, Seed::new(1)).edge_count("genomics"), 0);
        assert_eq!(graphs().drop_edges(0.0, Seed::new(1)).edge_count("genomics"), 3);
        assert!(graphs().shuffle_edges(Seed::new(1)).edge_count("genomics") <= 3);
    }

    #[test]
    fn an_edge_out_of_range_is_named() {
        let bad = [TypedEdges::new("gene", "protein", vec![(0, 2)])];
        let error = SharedGraphs::new(&config(), &bad).unwrap_err().to_string();
        assert_eq!(error, "edges gene -> protein: expected positions below 2, got 2");
    }
}

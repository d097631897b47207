use crate::{Error, NodeInput, OmicsNetConfig, Result};
use oncograph_nn::Seed;
use oncograph_nn::segment::Adjacency;
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Directed edges `source -> target` between positions of two node types.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TypedEdges {
    /// The node type that edges start from.
    pub from: String,
    /// The node type that they end in.
    pub to: String,
    /// (source, target) positions.
    pub pairs: Vec<(u32, u32)>,
}

impl TypedEdges {
    /// Edges as given.
    pub fn new(from: impl Into<String>, to: impl Into<String>, pairs: Vec<(u32, u32)>) -> Self {
        TypedEdges { from: from.into(), to: to.into(), pairs }
    }
}

/// The graph that all patients of a cohort share, per modality; it is stored once, whatever the batch.
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
    modalities: Arc<BTreeMap<String, ModalityGraph>>,
}

#[derive(Debug)]
struct ModalityGraph {
    /// Nodes per type.
    counts: Vec<usize>,
    /// Sorted, each once, in both directions, over the nodes of all types.
    edges: Vec<(u32, u32)>,
    /// The graph of the node types that are there, by which are.
    induced: Mutex<HashMap<Vec<bool>, Arc<Adjacency>>>,
}

impl ModalityGraph {
    fn new(counts: Vec<usize>, edges: Vec<(u32, u32)>) -> Self {
        ModalityGraph { counts, edges, induced: Mutex::default() }
    }

    /// Where each present type's nodes begin among those of the present types.
    fn induced(&self, present: &[bool]) -> Result<Arc<Adjacency>> {
        let mut cache = self.induced.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(adjacency) = cache.get(present) {
            return Ok(adjacency.clone());
        }
        let mut position = vec![];
        let mut next = 0;
        for (count, here) in self.counts.iter().zip(present) {
            for _ in 0..*count {
                position.push(here.then_some(next));
                next += u32::from(*here);
            }
        }
        let at = |node: u32| position[node as usize];
        let kept = self.edges.iter().filter_map(|&(s, t)| Some((at(s)?, at(t)?)));
        let (sources, targets): (Vec<u32>, Vec<u32>) = kept.unzip();
        let nodes = next as usize;
        let adjacency = Arc::new(Adjacency::new(nodes, nodes, &sources, &targets)?);
        cache.insert(present.to_vec(), adjacency.clone());
        Ok(adjacency)
    }
}

impl SharedGraphs {
    /// The graphs of the modalities of `config` whose nodes have names; `edges` between types that no modality joins
    /// are not used. Duplicates and self loops are left out, and directions are mirrored.
    ///
    /// # Errors
    /// [`Error::Input`] for an edge to a type or position that is not there.
    pub fn new(config: &OmicsNetConfig, edges: &[TypedEdges]) -> Result<Self> {
        for e in edges {
            for (name, largest) in
                [(&e.from, e.pairs.iter().map(|p| p.0).max()), (&e.to, e.pairs.iter().map(|p| p.1).max())]
            {
                let what = format!("edges {} -> {}", e.from, e.to);
                let Some(t) = config.node_type(name).filter(|t| t.input != NodeInput::Rows) else {
                    return Err(Error::input(what, "node types with one value per node", name));
                };
                if largest.is_some_and(|l| l as usize >= t.features) {
                    return Err(Error::input(
                        what,
                        format!("positions below {}", t.features),
                        largest.unwrap_or(0),
                    ));
                }
            }
        }
        let mut modalities = BTreeMap::new();
        for modality in &config.modalities {
            let types: Vec<_> = modality.node_types.iter().filter_map(|n| config.node_type(n)).collect();
            if types.iter().any(|t| t.input == NodeInput::Rows) {
                continue;
            }
            let counts: Vec<usize> = types.iter().map(|t| t.features).collect();
            let offset = |name: &str| -> Option<u32> {
                let at = types.iter().position(|t| t.name == name)?;
                Some(counts[..at].iter().sum::<usize>() as u32)
            };
            let mut all = vec![];
            for e in edges {
                if let (Some(from), Some(to)) = (offset(&e.from), offset(&e.to)) {
                    for &(s, t) in e.pairs.iter().filter(|(s, t)| from + s != to + t) {
                        all.push((from + s, to + t));
                        all.push((to + t, from + s));
                    }
                }
            }
            all.sort_unstable();
            all.dedup();
            modalities.insert(modality.name.clone(), ModalityGraph::new(counts, all));
        }
        Ok(SharedGraphs { modalities: Arc::new(modalities) })
    }

    /// The graph of a modality over the node types that are present.
    ///
    /// # Errors
    /// [`Error::Input`] for a modality without a shared graph or another number of node types.
    pub fn of(&self, modality: &str, present: &[bool]) -> Result<Arc<Adjacency>> {
        match self.modalities.get(modality) {
            Some(graph) if graph.counts.len() == present.len() => graph.induced(present),
            Some(graph) => {
                Err(Error::input(format!("node types of {modality}"), graph.counts.len(), present.len()))
            }
            None => Err(Error::input("shared graph", "a modality whose nodes have names", modality)),
        }
    }

    /// Undirected edges of a modality; 0 where it has none.
    pub fn edge_count(&self, modality: &str) -> usize {
        self.modalities.get(modality).map_or(0, |g| g.edges.len() / 2)
    }

    /// These graphs with each undirected edge dropped with probability `p` (M-17).
    pub fn drop_edges(&self, p: f64, seed: Seed) -> Self {
        let thin = |(name, graph): (&String, &ModalityGraph)| {
            let mut rng = seed.stream(name).rng();
            let mut kept = vec![];
            for &(s, t) in graph.edges.iter().filter(|(s, t)| s < t) {
                if !rng.random_bool(p.clamp(0.0, 1.0)) {
                    kept.extend([(s, t), (t, s)]);
                }
            }
            (name.clone(), ModalityGraph::new(graph.counts.clone(), kept))
        };
        SharedGraphs { modalities: Arc::new(self.modalities.iter().map(thin).collect()) }
    }

    /// These graphs with their edges rewired at random, for the control that asks whether the graph helps: each edge
    /// keeps its source, and targets are permuted among the edges, so that every node keeps its number of edges up to
    /// loops and duplicates, which are dropped.
    pub fn shuffle_edges(&self, seed: Seed) -> Self {
        let rewire = |(name, graph): (&String, &ModalityGraph)| {
            let mut rng = seed.stream(name).rng();
            let once: Vec<_> = graph.edges.iter().copied().filter(|(s, t)| s < t).collect();
            let mut targets: Vec<u32> = once.iter().map(|e| e.1).collect();
            rand::seq::SliceRandom::shuffle(&mut targets[..], &mut rng);
            let pairs = once.iter().zip(targets).filter(|(e, t)| e.0 != *t);
            let mut edges: Vec<(u32, u32)> = pairs.flat_map(|(e, t)| [(e.0, t), (t, e.0)]).collect();
            edges.sort_unstable();
            edges.dedup();
            (name.clone(), ModalityGraph::new(graph.counts.clone(), edges))
        };
        SharedGraphs { modalities: Arc::new(self.modalities.iter().map(rewire).collect()) }
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

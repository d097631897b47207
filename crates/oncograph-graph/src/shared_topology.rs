use crate::{Error, Result, TypedEdges};
use oncograph_core::Seed;
use oncograph_nn::segment::Adjacency;
use rand::Rng;
use rand::seq::SliceRandom;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The undirected graph that many patients share, stored once: their nodes are the same, such as the genes of a panel,
/// and only their features differ.
///
/// Nodes are numbered type by type, so that a position of the second type is moved by the number of nodes of the first.
/// A patient may lack whole types; [`SharedTopology::induced`] is the graph of those that are there.
///
/// # Example
///
/// ```
/// use oncograph_graph::{SharedTopology, TypedEdges};
///
/// let codes_for = TypedEdges::new("gene", "protein", vec![(1, 0)]);
/// let interacts = TypedEdges::new("gene", "gene", vec![(0, 1)]);
/// let topology = SharedTopology::new(&[("gene", 2), ("protein", 1)], &[codes_for, interacts])?;
/// assert_eq!((topology.node_count(), topology.edge_count()), (3, 2));
///
/// // A patient without proteins: one edge, in both directions.
/// let genes = topology.induced(&[true, false])?;
/// assert_eq!((genes.sources(), genes.targets()), (&[0, 1][..], &[1, 0][..]));
/// # Ok::<(), oncograph_graph::Error>(())
/// ```
#[derive(Debug)]
pub struct SharedTopology {
    /// Nodes per type.
    counts: Vec<usize>,
    /// Sorted, each once, in both directions, over the nodes of all types.
    edges: Vec<(u32, u32)>,
    /// The graph of the node types that are there, by which are.
    induced: Mutex<HashMap<Vec<bool>, Arc<Adjacency>>>,
}

impl SharedTopology {
    /// From node types with their numbers of nodes and the edges between them. Each edge goes in both directions;
    /// duplicates and self loops are left out.
    ///
    /// # Errors
    /// [`Error::UnknownType`] or [`Error::Mismatch`] for an edge to a type or a position that is not there.
    pub fn new<'a>(types: &[(&str, usize)], edges: impl IntoIterator<Item = &'a TypedEdges>) -> Result<Self> {
        // The first node and the number of nodes of a type.
        let place = |name: &str| -> Result<(u32, usize)> {
            let known = || types.iter().map(|t| t.0).collect::<Vec<_>>().join(", ");
            let missing = || Error::UnknownType { kind: "node", name: name.into(), known: known() };
            let at = types.iter().position(|t| t.0 == name).ok_or_else(missing)?;
            Ok((types[..at].iter().map(|t| t.1).sum::<usize>() as u32, types[at].1))
        };
        let mut all = vec![];
        for e in edges {
            let ((from, from_count), (to, to_count)) = (place(&e.from)?, place(&e.to)?);
            e.validate(from_count, to_count)?;
            for &(s, t) in e.pairs.iter().filter(|(s, t)| from + s != to + t) {
                all.extend([(from + s, to + t), (to + t, from + s)]);
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(Self::with_edges(types.iter().map(|t| t.1).collect(), all))
    }

    fn with_edges(counts: Vec<usize>, edges: Vec<(u32, u32)>) -> Self {
        SharedTopology { counts, edges, induced: Mutex::default() }
    }

    /// How many node types there are.
    pub fn type_count(&self) -> usize {
        self.counts.len()
    }

    /// All nodes of all types.
    pub fn node_count(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Undirected edges.
    pub fn edge_count(&self) -> usize {
        self.edges.len() / 2
    }

    /// The graph of the node types that are `present`, numbered without the others. Made once for each set of types and
    /// kept.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for another number of types.
    pub fn induced(&self, present: &[bool]) -> Result<Arc<Adjacency>> {
        if present.len() != self.counts.len() {
            return Err(Error::mismatch("presence of node types", self.counts.len(), present.len()));
        }
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

    /// This graph with each undirected edge dropped with probability `p`, which is clamped to \[0, 1\].
    pub fn drop_edges(&self, p: f64, seed: Seed) -> Self {
        let mut rng = seed.rng();
        let mut kept = vec![];
        for &(s, t) in self.edges.iter().filter(|(s, t)| s < t) {
            if !rng.random_bool(p.clamp(0.0, 1.0)) {
                kept.extend([(s, t), (t, s)]);
            }
        }
        Self::with_edges(self.counts.clone(), kept)
    }

    /// This graph with its edges rewired at random, for the control of whether the graph helps: each edge keeps
    /// its source, and targets are permuted among the edges, so that every node keeps its number of edges up to loops
    /// and duplicates, which are dropped.
    pub fn shuffle_edges(&self, seed: Seed) -> Self {
        let mut rng = seed.rng();
        let once: Vec<_> = self.edges.iter().copied().filter(|(s, t)| s < t).collect();
        let mut targets: Vec<u32> = once.iter().map(|e| e.1).collect();
        targets.shuffle(&mut rng);
        let pairs = once.iter().zip(targets).filter(|(e, t)| e.0 != *t);
        let mut edges: Vec<(u32, u32)> = pairs.flat_map(|(e, t)| [(e.0, t), (t, e.0)]).collect();
        edges.sort_unstable();
        edges.dedup();
        Self::with_edges(self.counts.clone(), edges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two types of nodes and the pairs that join them.
    type Edges<'a> = (&'a str, &'a str, &'a [(u32, u32)]);

    fn topology(types: &[(&str, usize)], edges: &[Edges]) -> Result<SharedTopology> {
        let edges: Vec<TypedEdges> =
            edges.iter().map(|(from, to, pairs)| TypedEdges::new(*from, *to, pairs.to_vec())).collect();
        SharedTopology::new(types, &edges)
    }

    fn pairs(a: &Adjacency) -> Vec<(u32, u32)> {
        a.sources().iter().copied().zip(a.targets().iter().copied()).collect()
    }

    #[test]
    fn types_lie_one_behind_the_other_and_leave_with_their_edges() {
        let t = topology(
            &[("gene", 3), ("protein", 2)],
            &[
                ("gene", "gene", &[(0, 1), (1, 0), (2, 2)]),
                ("gene", "protein", &[(2, 1)]),
                ("protein", "protein", &[(0, 1)]),
            ],
        )
        .unwrap();
        assert_eq!((t.type_count(), t.node_count(), t.edge_count()), (2, 5, 3));
        let whole = t.induced(&[true, true]).unwrap();
        assert_eq!(pairs(&whole), [(0, 1), (1, 0), (2, 4), (3, 4), (4, 2), (4, 3)]);
        let proteins = t.induced(&[false, true]).unwrap();
        assert_eq!((proteins.source_count(), pairs(&proteins)), (2, vec![(0, 1), (1, 0)]));
        assert!(Arc::ptr_eq(&whole, &t.induced(&[true, true]).unwrap()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = |t: Result<SharedTopology>| t.unwrap_err().to_string();
        let types = [("gene", 3), ("protein", 2)];
        let bad = topology(&types, &[("gene", "protein", &[(0, 2)])]);
        assert_eq!(error(bad), "edges gene -> protein: expected positions below 2, got 2");
        let bad = topology(&types, &[("gene", "organ", &[])]);
        assert_eq!(error(bad), "the schema has no node type organ; it has gene, protein");
        let few = topology(&types, &[]).unwrap().induced(&[true]).unwrap_err().to_string();
        assert_eq!(few, "presence of node types: expected 2, got 1");
    }

    proptest! {
        #[test]
        fn random_variants_stay_undirected(
            edges in proptest::collection::vec((0u32..9, 0u32..9), 0..40), seed in any::<u64>()
        ) {
            let t = topology(&[("a", 9)], &[("a", "a", &edges[..])]).unwrap();
            let all = pairs(&t.induced(&[true]).unwrap());
            let dropped = t.drop_edges(0.5, Seed::new(seed));
            let kept = pairs(&dropped.induced(&[true]).unwrap());
            prop_assert!(kept.iter().all(|e| all.contains(e)));
            let shuffled = t.shuffle_edges(Seed::new(seed));
            let rewired = pairs(&shuffled.induced(&[true]).unwrap());
            prop_assert!(rewired.len() <= all.len());
            for edges in [&kept, &rewired] {
                prop_assert!(edges.iter().all(|&(s, t)| s != t && edges.contains(&(t, s))));
            }
            prop_assert_eq!(t.drop_edges(0.0, Seed::new(seed)).edge_count(), t.edge_count());
            prop_assert_eq!(t.drop_edges(1.0, Seed::new(seed)).edge_count(), 0);
        }
    }
}

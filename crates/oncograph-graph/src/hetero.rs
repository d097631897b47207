use crate::store::check_values;
use crate::{Error, NodeStore, Result, Schema};
use std::sync::Arc;

/// The nodes of one type: how many, and where their features are.
#[derive(Debug, Clone, Default)]
pub struct NodeSet {
    /// How many nodes.
    pub count: usize,
    /// Where their features are.
    pub store: NodeStore,
}

// Sets without nodes are equal, whatever their store would hold.
impl PartialEq for NodeSet {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && (self.count == 0 || self.store == other.store)
    }
}

/// The edges of one type: ends as positions among the nodes of their types, and attributes row by row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EdgeSet {
    /// Where each edge starts.
    pub sources: Vec<u32>,
    /// Where each edge ends.
    pub targets: Vec<u32>,
    /// edges x attributes, row by row.
    pub attributes: Vec<f32>,
}

/// A graph with typed nodes and edges, in host memory, that fits its [`Schema`].
///
/// Features are apart from the edges: each node type has a [`NodeStore`] with the patient's own features, with the rows of a
/// table that all patients share, or with one value per named node. A type without nodes is allowed: it stands for a modality
/// that the patient lacks.
#[derive(Debug, Clone, PartialEq)]
pub struct HeteroGraph {
    schema: Arc<Schema>,
    nodes: Vec<NodeSet>,
    edges: Vec<EdgeSet>,
}

impl HeteroGraph {
    /// A builder whose types are all empty.
    pub fn builder(schema: Arc<Schema>) -> HeteroGraphBuilder {
        let nodes = vec![NodeSet::default(); schema.node_types().len()];
        let edges = vec![EdgeSet::default(); schema.edge_types().len()];
        HeteroGraphBuilder { graph: HeteroGraph { schema, nodes, edges }, error: None }
    }

    /// The schema.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The nodes of each type, in the schema's order.
    pub fn node_sets(&self) -> &[NodeSet] {
        &self.nodes
    }

    /// The edges of each type, in the schema's order.
    pub fn edge_sets(&self) -> &[EdgeSet] {
        &self.edges
    }

    /// The nodes of one type.
    ///
    /// # Errors
    /// [`Error::UnknownType`].
    pub fn nodes(&self, name: &str) -> Result<&NodeSet> {
        Ok(&self.nodes[self.schema.node_index(name)?])
    }

    /// The edges of one type.
    ///
    /// # Errors
    /// [`Error::UnknownType`].
    pub fn edges(&self, edge: (&str, &str, &str)) -> Result<&EdgeSet> {
        Ok(&self.edges[self.schema.edge_index(edge)?])
    }

    /// All nodes of all types.
    pub fn node_count(&self) -> usize {
        self.nodes.iter().map(|n| n.count).sum()
    }

    /// All edges of all types.
    pub fn edge_count(&self) -> usize {
        self.edges.iter().map(|e| e.sources.len()).sum()
    }

    /// The graph without the nodes of type `name` for which `keep` is false, nor the edges that touch them.
    ///
    /// The remaining nodes keep their order.
    ///
    /// # Errors
    /// [`Error::UnknownType`], or [`Error::Mismatch`] if `keep` has another length than there are nodes.
    pub fn retain_nodes(&self, name: &str, keep: &[bool]) -> Result<Self> {
        let index = self.schema.node_index(name)?;
        let width = self.schema.node_types()[index].features;
        let old = &self.nodes[index];
        if keep.len() != old.count {
            return Err(Error::mismatch(format!("keep of {name}"), old.count, keep.len()));
        }
        let mut next = 0;
        let new_position: Vec<Option<u32>> = keep
            .iter()
            .map(|&k| {
                k.then(|| {
                    next += 1;
                    next - 1
                })
            })
            .collect();
        let mut graph = self.clone();
        let kept: Vec<usize> = (0..old.count).filter(|&i| keep[i]).collect();
        graph.nodes[index] = NodeSet { count: kept.len(), store: old.store.select(&kept, width) };
        for (set, kind) in graph.edges.iter_mut().zip(self.schema.edge_types()) {
            let moved = |at: u32, ty: &str| if ty == name { new_position[at as usize] } else { Some(at) };
            let mut new = EdgeSet::default();
            for (e, (&s, &t)) in set.sources.iter().zip(&set.targets).enumerate() {
                if let (Some(s), Some(t)) = (moved(s, &kind.source), moved(t, &kind.target)) {
                    new.sources.push(s);
                    new.targets.push(t);
                    let row = e * kind.attributes..(e + 1) * kind.attributes;
                    new.attributes.extend_from_slice(&set.attributes[row]);
                }
            }
            *set = new;
        }
        Ok(graph)
    }
}

/// Collects the parts of a [`HeteroGraph`]; [`HeteroGraphBuilder::build`] checks them.
#[derive(Debug)]
pub struct HeteroGraphBuilder {
    graph: HeteroGraph,
    error: Option<Error>,
}

impl HeteroGraphBuilder {
    /// Sets the nodes of one type; `features` is `count` x the type's features, row by row.
    pub fn nodes(self, name: &str, count: usize, features: Vec<f32>) -> Self {
        self.node_set(name, NodeSet { count, store: NodeStore::Owned(features) })
    }

    /// Sets the nodes of one type, one for each of `rows` of the table that
    /// [`HeteroBatch::with_table`](crate::HeteroBatch::with_table) is given.
    pub fn table_rows(self, name: &str, rows: Vec<u32>) -> Self {
        self.node_set(name, NodeSet { count: rows.len(), store: NodeStore::Rows(rows) })
    }

    /// Sets the nodes of one type, each with the position of its name in the list that all graphs share, and its value.
    pub fn named_nodes(self, name: &str, names: Vec<u32>, values: Vec<f32>) -> Self {
        self.node_set(name, NodeSet { count: names.len(), store: NodeStore::Named { names, values } })
    }

    /// Sets the nodes of one type.
    pub(crate) fn node_set(mut self, name: &str, set: NodeSet) -> Self {
        match self.graph.schema.node_index(name) {
            Ok(i) => self.graph.nodes[i] = set,
            Err(e) => self.error = self.error.or(Some(e)),
        }
        self
    }

    /// Sets the edges of one type; `attributes` is edges x the type's attributes, row by row.
    pub fn edges(
        mut self,
        edge: (&str, &str, &str),
        sources: Vec<u32>,
        targets: Vec<u32>,
        attributes: Vec<f32>,
    ) -> Self {
        match self.graph.schema.edge_index(edge) {
            Ok(i) => self.graph.edges[i] = EdgeSet { sources, targets, attributes },
            Err(e) => self.error = self.error.or(Some(e)),
        }
        self
    }

    /// The graph, if it fits its schema.
    ///
    /// # Errors
    /// [`Error::UnknownType`] for a type that the schema lacks, [`Error::Mismatch`] for a length or an index that
    /// does not fit, [`Error::NotFinite`] for a NaN or an infinity; each names the type.
    pub fn build(self) -> Result<HeteroGraph> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let graph = self.graph;
        graph.schema.validate()?;
        for (ty, set) in graph.schema.node_types().iter().zip(&graph.nodes) {
            set.store.check(ty, set.count)?;
        }
        for (ty, set) in graph.schema.edge_types().iter().zip(&graph.edges) {
            if set.sources.len() != set.targets.len() {
                let what = format!("targets of {ty}");
                return Err(Error::mismatch(what, set.sources.len(), set.targets.len()));
            }
            let what = || format!("attributes of {} {ty} edges", set.sources.len());
            check_values(what, set.sources.len() * ty.attributes, &set.attributes)?;
            for (name, ends) in [(&ty.source, &set.sources), (&ty.target, &set.targets)] {
                let count = graph.nodes(name)?.count;
                if let Some(at) = ends.iter().position(|&n| n as usize >= count) {
                    let what = format!("edge {at} of {ty}");
                    return Err(Error::mismatch(what, format!("a {name} node below {count}"), ends[at]));
                }
            }
        }
        Ok(graph)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: (&str, &str, &str) = ("a", "to", "b");

    fn schema() -> Arc<Schema> {
        Arc::new(Schema::new().node("a", 2).node("b", 1).edge("a", "to", "b", 1).edge("b", "back", "a", 0))
    }

    fn graph() -> HeteroGraph {
        HeteroGraph::builder(schema())
            .nodes("a", 3, vec![1., 2., 3., 4., 5., 6.])
            .nodes("b", 2, vec![7., 8.])
            .edges(LINK, vec![0, 1, 2], vec![0, 1, 1], vec![0.1, 0.2, 0.3])
            .edges(("b", "back", "a"), vec![0, 1], vec![2, 1], vec![])
            .build()
            .unwrap()
    }

    #[test]
    fn removing_a_node_removes_its_edges_and_moves_the_rest() {
        let g = graph().retain_nodes("a", &[true, false, true]).unwrap();
        assert_eq!(g.nodes("a").unwrap().store, NodeStore::Owned(vec![1., 2., 5., 6.]));
        let e = g.edges(LINK).unwrap();
        assert_eq!(
            (&e.sources[..], &e.targets[..], &e.attributes[..]),
            (&[0, 1][..], &[0, 1][..], &[0.1, 0.3][..])
        );
        let back = g.edges(("b", "back", "a")).unwrap();
        assert_eq!((&back.sources[..], &back.targets[..]), (&[0][..], &[1][..]));
        assert_eq!(graph().retain_nodes("a", &[true; 3]).unwrap(), graph());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let message = |b: HeteroGraphBuilder| b.build().unwrap_err().to_string();
        let b = || HeteroGraph::builder(schema());
        assert_eq!(
            message(b().nodes("a", 2, vec![0.; 3])),
            "features of 2 a nodes: expected 4 values, got 3"
        );
        assert_eq!(message(b().nodes("a", 1, vec![0., f32::NAN])), "features of 1 a nodes: value 1 is NaN");
        assert_eq!(message(b().nodes("c", 1, vec![])), "the schema has no node type c; it has a, b");
        let one = b().nodes("a", 1, vec![0.; 2]).nodes("b", 1, vec![0.]);
        assert_eq!(
            message(one.edges(LINK, vec![0], vec![3], vec![0.])),
            "edge 0 of a--to->b: expected a b node below 1, got 3"
        );
        assert!(graph().retain_nodes("a", &[true]).is_err());
        assert_eq!(
            message(b().named_nodes("a", vec![0], vec![1.])),
            "features of 1 a nodes: expected 2 values per node, got named nodes, which have one"
        );
        assert_eq!(
            message(b().named_nodes("b", vec![4, 4], vec![1., 2.])),
            "names of b nodes: expected each at most once, got 4 again"
        );
        assert_eq!(
            message(b().named_nodes("b", vec![4, 5], vec![1.])),
            "features of 2 b nodes: expected 2 values, got 1"
        );
        assert_eq!(
            message(b().named_nodes("b", vec![4], vec![f32::INFINITY])),
            "features of 1 b nodes: value 0 is inf"
        );
    }

    #[test]
    fn a_removed_node_leaves_every_store() {
        let kept = |b: HeteroGraphBuilder, ty: &str| {
            let graph = b.build().unwrap().retain_nodes(ty, &[false, true, true]).unwrap();
            graph.nodes(ty).unwrap().clone()
        };
        let rows = HeteroGraph::builder(schema()).table_rows("a", vec![7, 3, 7]);
        assert_eq!(kept(rows, "a"), NodeSet { count: 2, store: NodeStore::Rows(vec![3, 7]) });
        let named = HeteroGraph::builder(schema()).named_nodes("b", vec![5, 0, 2], vec![0.5, 0.0, 0.2]);
        let store = NodeStore::Named { names: vec![0, 2], values: vec![0.0, 0.2] };
        assert_eq!(kept(named, "b"), NodeSet { count: 2, store });
    }
}

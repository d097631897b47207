use crate::joint_nodes::JointNodes;
use crate::{EdgeSet, Error, Graph, HeteroGraph, NodeSet, Result, Schema};
use candle_core::{Device, Tensor};
use oncograph_nn::segment::Adjacency;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Several graphs of one schema as one, on a device: nodes of a type one graph after the other, edges shifted.
///
/// # Example
///
/// Two patients whose features are rows of a table that lies on the device once, whatever the batch:
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_graph::{HeteroBatch, HeteroGraph, Schema};
/// use std::sync::Arc;
///
/// # fn main() -> oncograph_graph::Result<()> {
/// let table = Tensor::new(&[[0f32, 0.1], [1.0, 1.1], [2.0, 2.1]], &Device::Cpu)?;
/// let schema = Arc::new(Schema::new().node("organ", 2));
/// let patient = |rows| HeteroGraph::builder(schema.clone()).table_rows("organ", rows).build();
/// let (a, b) = (patient(vec![2])?, patient(vec![0, 1])?);
/// let batch = HeteroBatch::new(&[&a, &b], &Device::Cpu)?.with_table("organ", &table)?;
/// assert_eq!(batch.rows("organ")?, [2, 0, 1]);
/// assert_eq!(batch.features("organ")?.to_vec2::<f32>()?, [[2.0, 2.1], [0.0, 0.1], [1.0, 1.1]]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct HeteroBatch {
    schema: Arc<Schema>,
    graph_count: usize,
    nodes: Vec<JointNodes>,
    adjacency: Vec<Arc<Adjacency>>,
    attributes: Vec<EdgeAttributes>,
    device: Device,
}

/// The attributes of the edges of one type; on the device once they are asked for, since a model may take none of them, or
/// those of all types as one.
#[derive(Debug, Clone)]
struct EdgeAttributes {
    values: Vec<f32>,
    shape: (usize, usize),
    on_device: OnceLock<Tensor>,
}

impl EdgeAttributes {
    fn on(&self, device: &Device) -> Result<&Tensor> {
        if let Some(there) = self.on_device.get() {
            return Ok(there);
        }
        let copy = Tensor::from_slice(&self.values, self.shape, device)?;
        Ok(self.on_device.get_or_init(|| copy))
    }
}

impl HeteroBatch {
    /// Joins graphs of one schema; their order is kept. The nodes of a type have one kind of
    /// [`NodeStore`](crate::NodeStore) in all graphs.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if there is no graph or the schemas or stores differ, or an error of candle.
    pub fn new(graphs: &[&HeteroGraph], device: &Device) -> Result<Self> {
        let Some(first) = graphs.first() else {
            return Err(Error::mismatch("batch", "at least one graph", 0));
        };
        let schema = first.schema().clone();
        if let Some(i) = graphs.iter().position(|g| **g.schema() != *schema) {
            return Err(Error::mismatch(format!("schema of graph {i}"), "that of graph 0", "another"));
        }
        let mut nodes = vec![];
        for (ty, node) in schema.node_types().iter().enumerate() {
            let sets: Vec<&NodeSet> = graphs.iter().map(|g| &g.node_sets()[ty]).collect();
            nodes.push(JointNodes::new(node, &sets, device)?);
        }
        let (mut adjacency, mut attributes) = (vec![], vec![]);
        for (ty, edge) in schema.edge_types().iter().enumerate() {
            let source = &nodes[schema.node_index(&edge.source)?].starts;
            let target = &nodes[schema.node_index(&edge.target)?].starts;
            let (mut s, mut t, mut values) = (vec![], vec![], vec![]);
            for (g, graph) in graphs.iter().enumerate() {
                let set = &graph.edge_sets()[ty];
                s.extend(set.sources.iter().map(|&n| n + source[g] as u32));
                t.extend(set.targets.iter().map(|&n| n + target[g] as u32));
                values.extend_from_slice(&set.attributes);
            }
            let (sources, targets) = (source[graphs.len()], target[graphs.len()]);
            let shape = (s.len(), edge.attributes);
            attributes.push(EdgeAttributes { values, shape, on_device: OnceLock::new() });
            adjacency.push(Arc::new(Adjacency::new(sources, targets, &s, &t)?));
        }
        let device = device.clone();
        Ok(HeteroBatch { schema, graph_count: graphs.len(), nodes, adjacency, attributes, device })
    }

    /// How many graphs were joined.
    pub fn graph_count(&self) -> usize {
        self.graph_count
    }

    /// The batch with the features of one node type gathered from the table that its nodes are rows of. A type that no
    /// graph has nodes of stays empty.
    ///
    /// # Shapes
    /// `table` \[rows, features of the type\]
    ///
    /// # Errors
    /// [`Error::UnknownType`]; [`Error::Mismatch`] for a table of another width, a row that it lacks, or nodes that are no
    /// rows of a table; an error of candle.
    pub fn with_table(mut self, name: &str, table: &Tensor) -> Result<Self> {
        let index = self.schema.node_index(name)?;
        self.nodes[index].gather(&self.schema.node_types()[index], table)?;
        Ok(self)
    }

    /// \[nodes of all graphs, features\] of one node type.
    ///
    /// # Errors
    /// [`Error::UnknownType`], or [`Error::Mismatch`] for rows of a table that was not given.
    pub fn features(&self, name: &str) -> Result<&Tensor> {
        let index = self.schema.node_index(name)?;
        self.nodes[index].features(&self.schema.node_types()[index])
    }

    /// For each node of one type, its row in the table of the cohort or, for named nodes, the position of its name: what
    /// selects learned parameters of that node.
    ///
    /// # Errors
    /// [`Error::UnknownType`], or [`Error::Mismatch`] for nodes that own their features.
    pub fn rows(&self, name: &str) -> Result<&[u32]> {
        let index = self.schema.node_index(name)?;
        self.nodes[index].rows(&self.schema.node_types()[index])
    }

    /// The schema of the graphs.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// \[nodes of all graphs, features\] of every node type by its name.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for rows of a table that was not given.
    pub fn feature_map(&self) -> Result<BTreeMap<String, Tensor>> {
        let types = self.schema.node_types().iter().zip(&self.nodes);
        types.map(|(ty, nodes)| Ok((ty.name.clone(), nodes.features(ty)?.clone()))).collect()
    }

    /// The edges of one type over all graphs.
    ///
    /// # Errors
    /// [`Error::UnknownType`].
    pub fn adjacency(&self, edge: (&str, &str, &str)) -> Result<&Arc<Adjacency>> {
        Ok(&self.adjacency[self.schema.edge_index(edge)?])
    }

    /// \[edges of all graphs, attributes\] of one edge type.
    ///
    /// # Errors
    /// [`Error::UnknownType`], or an error of candle.
    pub fn edge_attributes(&self, edge: (&str, &str, &str)) -> Result<&Tensor> {
        self.attributes[self.schema.edge_index(edge)?].on(&self.device)
    }

    /// For each node of one type, the graph that it belongs to.
    ///
    /// # Errors
    /// [`Error::UnknownType`].
    pub fn graph_of_node(&self, name: &str) -> Result<Vec<u32>> {
        Ok(spread(&self.nodes[self.schema.node_index(name)?].starts))
    }

    /// The graphs that were joined.
    ///
    /// # Errors
    /// An error of candle.
    pub fn unbatch(&self) -> Result<Vec<HeteroGraph>> {
        let types = self.schema.node_types();
        let sets = self.nodes.iter().zip(types).map(|(nodes, ty)| nodes.split(ty));
        let sets = sets.collect::<Result<Vec<_>>>()?;
        (0..self.graph_count)
            .map(|g| {
                let mut builder = HeteroGraph::builder(self.schema.clone());
                for (node, sets) in types.iter().zip(&sets) {
                    builder = builder.node_set(&node.name, sets[g].clone());
                }
                for (ty, edge) in self.schema.edge_types().iter().enumerate() {
                    let key = (edge.source.as_str(), edge.relation.as_str(), edge.target.as_str());
                    let set = self.edges_of(ty, g)?;
                    builder = builder.edges(key, set.sources, set.targets, set.attributes);
                }
                builder.build()
            })
            .collect()
    }

    /// The edges of type `ty` of graph `g`; edges lie graph after graph, so they are one run.
    fn edges_of(&self, ty: usize, g: usize) -> Result<EdgeSet> {
        let (kind, attributes) = (&self.schema.edge_types()[ty], &self.attributes[ty].values);
        let source = &self.nodes[self.schema.node_index(&kind.source)?].starts;
        let target = &self.nodes[self.schema.node_index(&kind.target)?].starts;
        let (all_s, all_t) = (self.adjacency[ty].sources(), self.adjacency[ty].targets());
        let from = all_s.partition_point(|&s| (s as usize) < source[g]);
        let to = all_s.partition_point(|&s| (s as usize) < source[g + 1]);
        Ok(EdgeSet {
            sources: all_s[from..to].iter().map(|&s| s - source[g] as u32).collect(),
            targets: all_t[from..to].iter().map(|&t| t - target[g] as u32).collect(),
            attributes: attributes[from * kind.attributes..to * kind.attributes].to_vec(),
        })
    }

    /// All node types as one set of nodes, graph by graph and within a graph type by type, and all edge types as
    /// one edge list: what a convolution without types takes.
    ///
    /// Returns the graph and, per node type, the positions of its nodes in the joint numbering, so that
    /// \[nodes, width\] features brought to one width can be placed with one `index_select`. Edge attributes are
    /// kept if all edge types have as many of them, and refused otherwise.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if edge types differ in their number of attributes.
    pub fn to_homogeneous(&self) -> Result<(Graph, Vec<Vec<u32>>)> {
        let mut positions: Vec<Vec<u32>> = vec![vec![]; self.nodes.len()];
        let mut graph_of_node = vec![];
        for g in 0..self.graph_count {
            for (nodes, positions) in self.nodes.iter().zip(&mut positions) {
                for _ in nodes.starts[g]..nodes.starts[g + 1] {
                    positions.push(graph_of_node.len() as u32);
                    graph_of_node.push(g as u32);
                }
            }
        }
        let kinds = self.schema.edge_types();
        let width = kinds.first().map_or(0, |k| k.attributes);
        if let Some(other) = kinds.iter().find(|k| k.attributes != width) {
            let what = format!("attributes of {other}");
            return Err(Error::mismatch(what, format!("{width}, as of {}", kinds[0]), other.attributes));
        }
        let (mut sources, mut targets) = (vec![], vec![]);
        for (kind, adjacency) in kinds.iter().zip(&self.adjacency) {
            let source = &positions[self.schema.node_index(&kind.source)?];
            let target = &positions[self.schema.node_index(&kind.target)?];
            sources.extend(adjacency.sources().iter().map(|&s| source[s as usize]));
            targets.extend(adjacency.targets().iter().map(|&t| target[t as usize]));
        }
        let attributes = if width > 0 {
            let values: Vec<f32> = self.attributes.iter().flat_map(|a| &a.values).copied().collect();
            Some(Tensor::from_vec(values, (sources.len(), width), &self.device)?)
        } else {
            None
        };
        let n = graph_of_node.len();
        let adjacency = Arc::new(Adjacency::new(n, n, &sources, &targets)?);
        Ok((Graph::new(adjacency, attributes, &graph_of_node, self.graph_count)?, positions))
    }
}

fn spread(starts: &[usize]) -> Vec<u32> {
    starts.windows(2).enumerate().flat_map(|(g, w)| std::iter::repeat_n(g as u32, w[1] - w[0])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schema() -> Arc<Schema> {
        Arc::new(Schema::new().node("a", 2).node("b", 1).edge("a", "to", "b", 1).edge("b", "to", "a", 1))
    }

    prop_compose! {
        fn any_graph()(a in 1usize..5, b in 1usize..4)(
            edges in proptest::collection::vec((0..a as u32, 0..b as u32, any::<bool>()), 0..12),
            a in Just(a), b in Just(b), bias in -9i32..9
        ) -> HeteroGraph {
            let f = |n: usize| (0..n).map(|i| (i as i32 + bias) as f32).collect::<Vec<_>>();
            let forth: Vec<_> = edges.iter().filter(|e| e.2).collect();
            let back: Vec<_> = edges.iter().filter(|e| !e.2).collect();
            HeteroGraph::builder(schema())
                .nodes("a", a, f(2 * a))
                .nodes("b", b, f(b))
                .edges(("a", "to", "b"), forth.iter().map(|e| e.0).collect(),
                       forth.iter().map(|e| e.1).collect(), f(forth.len()))
                .edges(("b", "to", "a"), back.iter().map(|e| e.1).collect(),
                       back.iter().map(|e| e.0).collect(), f(back.len()))
                .build().unwrap()
        }
    }

    prop_compose! {
        /// Each type with one kind of store, and some graphs without nodes of it.
        fn any_stored()(
            rows in proptest::collection::vec(any::<u32>(), 0..5),
            named in proptest::collection::btree_map(0u32..50, -9f32..9.0, 0..5)
        ) -> HeteroGraph {
            let (names, values) = named.into_iter().rev().unzip();
            HeteroGraph::builder(schema())
                .table_rows("a", rows)
                .named_nodes("b", names, values)
                .build().unwrap()
        }
    }

    proptest! {
        #[test]
        fn unbatch_undoes_batch_of_every_store(graphs in proptest::collection::vec(any_stored(), 1..5)) {
            let refs: Vec<_> = graphs.iter().collect();
            let batch = HeteroBatch::new(&refs, &Device::Cpu).unwrap();
            prop_assert_eq!(batch.unbatch().unwrap(), graphs);
        }

        #[test]
        fn unbatch_undoes_batch(graphs in proptest::collection::vec(any_graph(), 1..5)) {
            let refs: Vec<_> = graphs.iter().collect();
            let batch = HeteroBatch::new(&refs, &Device::Cpu).unwrap();
            prop_assert_eq!(batch.unbatch().unwrap(), graphs);
        }

        #[test]
        fn the_homogeneous_graph_keeps_every_edge(graphs in proptest::collection::vec(any_graph(), 1..4)) {
            let refs: Vec<_> = graphs.iter().collect();
            let (graph, positions) = HeteroBatch::new(&refs, &Device::Cpu).unwrap().to_homogeneous().unwrap();
            prop_assert_eq!(graph.node_count(), graphs.iter().map(HeteroGraph::node_count).sum::<usize>());
            prop_assert_eq!(graph.adjacency().edge_count(), graphs.iter().map(HeteroGraph::edge_count).sum::<usize>());
            let mut all: Vec<u32> = positions.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..graph.node_count() as u32).collect::<Vec<_>>());
            // No edge leaves its graph.
            let graph_of = graph.membership().targets();
            let a = graph.adjacency();
            let mut edges = a.sources().iter().zip(a.targets());
            prop_assert!(edges.all(|(&s, &t)| graph_of[s as usize] == graph_of[t as usize]));
        }
    }

    fn organs(rows: &[u32]) -> HeteroGraph {
        HeteroGraph::builder(schema()).table_rows("a", rows.to_vec()).build().unwrap()
    }

    #[test]
    fn rows_are_gathered_from_the_table_in_the_order_of_the_graphs() {
        let table = Tensor::arange(0f32, 8.0, &Device::Cpu).unwrap().reshape((4, 2)).unwrap();
        let graphs = [&organs(&[3, 0]), &organs(&[]), &organs(&[3])];
        let batch = HeteroBatch::new(&graphs, &Device::Cpu).unwrap();
        assert_eq!(
            batch.features("a").unwrap_err().to_string(),
            "features of a nodes: expected the table of their rows (HeteroBatch::with_table), got none"
        );
        assert!(batch.feature_map().is_err());
        let batch = batch.with_table("a", &table).unwrap();
        assert_eq!(batch.rows("a").unwrap(), [3, 0, 3]);
        let gathered = batch.features("a").unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(gathered, [[6.0, 7.0], [0.0, 1.0], [6.0, 7.0]]);
        assert_eq!(batch.graph_of_node("a").unwrap(), [0, 0, 2]);
        // The rows come back, not the features.
        assert_eq!(batch.unbatch().unwrap()[2], organs(&[3]));
        assert_eq!(batch.feature_map().unwrap()["b"].dims(), [0, 1]);
    }

    #[test]
    fn a_table_that_does_not_fit_is_named() {
        let table = |rows: usize, width: usize| {
            Tensor::zeros((rows, width), candle_core::DType::F32, &Device::Cpu).unwrap()
        };
        let batch = |graph: &HeteroGraph| HeteroBatch::new(&[graph], &Device::Cpu).unwrap();
        let error = |graph: &HeteroGraph, name: &str, table: &Tensor| {
            batch(graph).with_table(name, table).unwrap_err().to_string()
        };
        let graph = organs(&[1, 4]);
        assert_eq!(error(&graph, "a", &table(4, 2)), "table of a nodes: expected rows below 4, got 4");
        assert_eq!(error(&graph, "a", &table(5, 3)), "table of a nodes: expected [rows, 2], got [5, 3]");
        let owned = HeteroGraph::builder(schema()).nodes("a", 1, vec![0.; 2]).build().unwrap();
        assert_eq!(
            error(&owned, "a", &table(5, 2)),
            "table of a nodes: expected rows of a table, got owned features"
        );
        assert_eq!(
            batch(&owned).rows("a").unwrap_err().to_string(),
            "rows of a nodes: expected rows of a table or named nodes, got owned features"
        );
        // Nobody has the second type: its table is given all the same.
        assert_eq!(batch(&graph).with_table("b", &table(9, 1)).unwrap().rows("b").unwrap(), [0u32; 0]);
        let mixed = HeteroBatch::new(&[&graph, &owned], &Device::Cpu).unwrap_err().to_string();
        assert_eq!(mixed, "a nodes of one batch: expected rows of a table, got owned features");
    }

    #[test]
    fn named_nodes_have_their_value_and_their_name() {
        let genes = |names: &[u32], values: &[f32]| {
            let builder = HeteroGraph::builder(schema());
            builder.named_nodes("b", names.to_vec(), values.to_vec()).build().unwrap()
        };
        let (a, b) = (genes(&[0, 2], &[0.5, 2.5]), genes(&[2], &[-2.5]));
        let batch = HeteroBatch::new(&[&a, &b], &Device::Cpu).unwrap();
        assert_eq!(batch.rows("b").unwrap(), [0, 2, 2]);
        assert_eq!(batch.features("b").unwrap().to_vec2::<f32>().unwrap(), [[0.5], [2.5], [-2.5]]);
    }

    #[test]
    fn another_schema_is_refused() {
        let g = |s: Schema| HeteroGraph::builder(Arc::new(s)).build().unwrap();
        let (a, b) = (g(Schema::new().node("a", 1)), g(Schema::new().node("a", 2)));
        let message = HeteroBatch::new(&[&a, &b], &Device::Cpu).unwrap_err().to_string();
        assert_eq!(message, "schema of graph 1: expected that of graph 0, got another");
        assert!(HeteroBatch::new(&[], &Device::Cpu).is_err());
    }
}

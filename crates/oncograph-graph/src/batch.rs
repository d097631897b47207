use crate::{EdgeSet, Error, Graph, HeteroGraph, Result, Schema};
use candle_core::{Device, Tensor};
use oncograph_nn::segment::Adjacency;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Several graphs of one schema as one, on a device: nodes of a type one graph after the other, edges shifted.
#[derive(Debug, Clone)]
pub struct HeteroBatch {
    schema: Arc<Schema>,
    graph_count: usize,
    features: Vec<Tensor>,
    /// Per node type, the first node of each graph, and the total at the end.
    starts: Vec<Vec<usize>>,
    adjacency: Vec<Arc<Adjacency>>,
    attributes: Vec<Tensor>,
}

impl HeteroBatch {
    /// Joins graphs of one schema; their order is kept.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if there is no graph or the schemas differ, or an error of candle.
    pub fn new(graphs: &[&HeteroGraph], device: &Device) -> Result<Self> {
        let Some(first) = graphs.first() else {
            return Err(Error::mismatch("batch", "at least one graph", 0));
        };
        let schema = first.schema().clone();
        if let Some(i) = graphs.iter().position(|g| **g.schema() != *schema) {
            return Err(Error::mismatch(format!("schema of graph {i}"), "that of graph 0", "another"));
        }
        let (mut features, mut starts) = (vec![], vec![]);
        for (ty, node) in schema.node_types().iter().enumerate() {
            let sets = graphs.iter().map(|g| &g.node_sets()[ty]);
            let mut start = vec![0];
            let mut values = Vec::with_capacity(sets.clone().map(|s| s.features.len()).sum());
            for set in sets {
                start.push(start[start.len() - 1] + set.count);
                values.extend_from_slice(&set.features);
            }
            features.push(Tensor::from_vec(values, (start[graphs.len()], node.features), device)?);
            starts.push(start);
        }
        let (mut adjacency, mut attributes) = (vec![], vec![]);
        for (ty, edge) in schema.edge_types().iter().enumerate() {
            let source = &starts[schema.node_index(&edge.source)?];
            let target = &starts[schema.node_index(&edge.target)?];
            let (mut s, mut t, mut values) = (vec![], vec![], vec![]);
            for (g, graph) in graphs.iter().enumerate() {
                let set = &graph.edge_sets()[ty];
                s.extend(set.sources.iter().map(|&n| n + source[g] as u32));
                t.extend(set.targets.iter().map(|&n| n + target[g] as u32));
                values.extend_from_slice(&set.attributes);
            }
            let (sources, targets) = (source[graphs.len()], target[graphs.len()]);
            attributes.push(Tensor::from_vec(values, (s.len(), edge.attributes), device)?);
            adjacency.push(Arc::new(Adjacency::new(sources, targets, &s, &t)?));
        }
        Ok(HeteroBatch { schema, graph_count: graphs.len(), features, starts, adjacency, attributes })
    }

    /// How many graphs were joined.
    pub fn graph_count(&self) -> usize {
        self.graph_count
    }

    /// \[nodes of all graphs, features\] of one node type.
    ///
    /// # Errors
    /// [`Error::UnknownType`].
    pub fn features(&self, name: &str) -> Result<&Tensor> {
        Ok(&self.features[self.schema.node_index(name)?])
    }

    /// The schema of the graphs.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// \[nodes of all graphs, features\] of every node type by its name.
    pub fn feature_map(&self) -> BTreeMap<String, Tensor> {
        let types = self.schema.node_types().iter().zip(&self.features);
        types.map(|(ty, features)| (ty.name.clone(), features.clone())).collect()
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
    /// [`Error::UnknownType`].
    pub fn edge_attributes(&self, edge: (&str, &str, &str)) -> Result<&Tensor> {
        Ok(&self.attributes[self.schema.edge_index(edge)?])
    }

    /// For each node of one type, the graph that it belongs to.
    ///
    /// # Errors
    /// [`Error::UnknownType`].
    pub fn graph_of_node(&self, name: &str) -> Result<Vec<u32>> {
        Ok(spread(&self.starts[self.schema.node_index(name)?]))
    }

    /// The graphs that were joined.
    ///
    /// # Errors
    /// An error of candle.
    pub fn unbatch(&self) -> Result<Vec<HeteroGraph>> {
        let values = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.flatten_all()?.to_vec1()?) };
        let features = self.features.iter().map(values).collect::<Result<Vec<_>>>()?;
        let attributes = self.attributes.iter().map(values).collect::<Result<Vec<_>>>()?;
        (0..self.graph_count)
            .map(|g| {
                let mut builder = HeteroGraph::builder(self.schema.clone());
                for (ty, node) in self.schema.node_types().iter().enumerate() {
                    let (from, to) = (self.starts[ty][g], self.starts[ty][g + 1]);
                    let rows = features[ty][from * node.features..to * node.features].to_vec();
                    builder = builder.nodes(&node.name, to - from, rows);
                }
                for (ty, edge) in self.schema.edge_types().iter().enumerate() {
                    let key = (edge.source.as_str(), edge.relation.as_str(), edge.target.as_str());
                    let set = self.edges_of(ty, g, &attributes[ty])?;
                    builder = builder.edges(key, set.sources, set.targets, set.attributes);
                }
                builder.build()
            })
            .collect()
    }

    /// The edges of type `ty` of graph `g`; edges lie graph after graph, so they are one run.
    fn edges_of(&self, ty: usize, g: usize, attributes: &[f32]) -> Result<EdgeSet> {
        let kind = &self.schema.edge_types()[ty];
        let source = &self.starts[self.schema.node_index(&kind.source)?];
        let target = &self.starts[self.schema.node_index(&kind.target)?];
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
        let types = self.starts.len();
        let mut positions: Vec<Vec<u32>> = vec![vec![]; types];
        let mut graph_of_node = vec![];
        for g in 0..self.graph_count {
            for (ty, start) in self.starts.iter().enumerate() {
                for _ in start[g]..start[g + 1] {
                    positions[ty].push(graph_of_node.len() as u32);
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
        let attributes = if width > 0 { Some(Tensor::cat(&self.attributes, 0)?.contiguous()?) } else { None };
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

    proptest! {
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
            let of = graph.membership().targets();
            let a = graph.adjacency();
            prop_assert!(a.sources().iter().zip(a.targets()).all(|(&s, &t)| of[s as usize] == of[t as usize]));
        }
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

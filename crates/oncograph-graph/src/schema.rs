use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A kind of node: its name and how many features each such node has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeType {
    /// The name, for example `gene`.
    pub name: String,
    /// Features per node.
    pub features: usize,
}

/// A kind of edge: `source --relation--> target`, and how many attributes each such edge has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeType {
    /// The node type where the edge starts.
    pub source: String,
    /// The name of the relation.
    pub relation: String,
    /// The node type where the edge ends.
    pub target: String,
    /// Attributes per edge.
    pub attributes: usize,
}

impl EdgeType {
    /// Whether this is the edge type `(source, relation, target)`.
    pub fn is(&self, (source, relation, target): (&str, &str, &str)) -> bool {
        self.source == source && self.relation == relation && self.target == target
    }
}

impl std::fmt::Display for EdgeType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}--{}->{}", self.source, self.relation, self.target)
    }
}

/// The node types and edge types that a graph may have, in a fixed order.
///
/// # Example
///
/// ```
/// use oncograph_graph::Schema;
///
/// let schema = Schema::new().node("gene", 1).node("protein", 4).edge("gene", "codes_for", "protein", 1);
/// schema.validate()?;
/// assert_eq!(schema.node_index("protein")?, 1);
/// # Ok::<(), oncograph_graph::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    nodes: Vec<NodeType>,
    edges: Vec<EdgeType>,
}

impl Schema {
    /// A schema without types.
    pub fn new() -> Self {
        Schema::default()
    }

    /// Adds a node type.
    pub fn node(mut self, name: &str, features: usize) -> Self {
        self.nodes.push(NodeType { name: name.into(), features });
        self
    }

    /// Adds an edge type.
    pub fn edge(mut self, source: &str, relation: &str, target: &str, attributes: usize) -> Self {
        let edge =
            EdgeType { source: source.into(), relation: relation.into(), target: target.into(), attributes };
        self.edges.push(edge);
        self
    }

    /// The node types, in the order in which they were added.
    pub fn node_types(&self) -> &[NodeType] {
        &self.nodes
    }

    /// The edge types, in the order in which they were added.
    pub fn edge_types(&self) -> &[EdgeType] {
        &self.edges
    }

    /// The position of a node type.
    ///
    /// # Errors
    /// [`Error::UnknownType`].
    pub fn node_index(&self, name: &str) -> Result<usize> {
        let known = || self.nodes.iter().map(|n| n.name.clone()).collect::<Vec<_>>().join(", ");
        let missing = || Error::UnknownType { kind: "node", name: name.into(), known: known() };
        self.nodes.iter().position(|n| n.name == name).ok_or_else(missing)
    }

    /// The position of an edge type.
    ///
    /// # Errors
    /// [`Error::UnknownType`].
    pub fn edge_index(&self, edge: (&str, &str, &str)) -> Result<usize> {
        let known = || self.edges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let name = || format!("{}--{}->{}", edge.0, edge.1, edge.2);
        let missing = || Error::UnknownType { kind: "edge", name: name(), known: known() };
        self.edges.iter().position(|e| e.is(edge)).ok_or_else(missing)
    }

    /// Checks that names are unique and that edges join node types that exist.
    ///
    /// # Errors
    /// [`Error::UnknownType`] or [`Error::Mismatch`], naming the type.
    pub fn validate(&self) -> Result<()> {
        for (i, node) in self.nodes.iter().enumerate() {
            if self.nodes[..i].iter().any(|other| other.name == node.name) {
                return Err(Error::mismatch("schema", "unique node types", &node.name));
            }
        }
        for (i, edge) in self.edges.iter().enumerate() {
            self.node_index(&edge.source)?;
            self.node_index(&edge.target)?;
            if self.edges[..i].iter().any(|other| other.is((&edge.source, &edge.relation, &edge.target))) {
                return Err(Error::mismatch("schema", "unique edge types", edge));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let s = Schema::new().node("a", 1).edge("a", "to", "b", 0);
        assert_eq!(s.validate().unwrap_err().to_string(), "the schema has no node type b; it has a");
        let s = Schema::new().node("a", 1).node("a", 2);
        assert_eq!(s.validate().unwrap_err().to_string(), "schema: expected unique node types, got a");
        let s = Schema::new().node("a", 1).edge("a", "r", "a", 0).edge("a", "r", "a", 1);
        assert!(s.validate().is_err());
        let e = s.edge_index(("a", "x", "a")).unwrap_err().to_string();
        assert_eq!(e, "the schema has no edge type a--x->a; it has a--r->a, a--r->a");
    }
}

use crate::{Error, Result};

/// Compressed sparse rows: for each row the other ends of its edges, in the order of the edge list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csr {
    offsets: Vec<usize>,
    columns: Vec<u32>,
    edges: Vec<u32>,
}

impl Csr {
    /// Sorts edges by `rows`, keeping the order of edges within a row (a counting sort, linear in the edges).
    fn sort(row_count: usize, rows: &[u32], columns: &[u32]) -> Self {
        let mut offsets = vec![0; row_count + 1];
        for &r in rows {
            offsets[r as usize + 1] += 1;
        }
        for r in 0..row_count {
            offsets[r + 1] += offsets[r];
        }
        let mut next = offsets.clone();
        let mut sorted = Csr { offsets, columns: vec![0; rows.len()], edges: vec![0; rows.len()] };
        for (edge, (&r, &c)) in rows.iter().zip(columns).enumerate() {
            let at = next[r as usize];
            next[r as usize] += 1;
            sorted.columns[at] = c;
            sorted.edges[at] = edge as u32;
        }
        sorted
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many edges end in `row`.
    pub fn degree(&self, row: usize) -> usize {
        self.offsets[row + 1] - self.offsets[row]
    }

    /// The other ends of the edges of `row`.
    pub fn columns(&self, row: usize) -> &[u32] {
        &self.columns[self.offsets[row]..self.offsets[row + 1]]
    }

    /// The positions in the edge list of the edges of `row`.
    pub fn edges(&self, row: usize) -> &[u32] {
        &self.edges[self.offsets[row]..self.offsets[row + 1]]
    }
}

/// The edges of a relation from `sources` to `targets` nodes, by target for the forward pass and by source for
/// the backward pass. Built once per graph in time linear in nodes and edges.
///
/// # Example
///
/// ```
/// use oncograph_nn::segment::Adjacency;
///
/// // 0 -> 2, 1 -> 2, 2 -> 0
/// let adjacency = Adjacency::new(3, 3, &[0, 1, 2], &[2, 2, 0])?;
/// assert_eq!(adjacency.in_degrees(), [1, 0, 2]);
/// assert_eq!(adjacency.by_target().columns(2), [0, 1]);
/// # Ok::<(), oncograph_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjacency {
    by_target: Csr,
    by_source: Csr,
    sources: Vec<u32>,
    targets: Vec<u32>,
}

impl Adjacency {
    /// Sorts the edges `sources[e] -> targets[e]`. Duplicate edges and self loops are kept.
    ///
    /// # Errors
    /// [`Error::Shape`] if the lists differ in length, or an index is out of range (the edge is named).
    pub fn new(source_count: usize, target_count: usize, sources: &[u32], targets: &[u32]) -> Result<Self> {
        const OP: &str = "Adjacency";
        if sources.len() != targets.len() {
            let lengths = (sources.len(), targets.len());
            return Err(Error::shape(OP, "as many sources as targets", lengths));
        }
        for (count, nodes, side) in [(source_count, sources, "sources"), (target_count, targets, "targets")] {
            if let Some(edge) = nodes.iter().position(|&n| n as usize >= count) {
                let expected = format!("{side} below {count}");
                return Err(Error::shape(OP, expected, format_args!("{} in edge {edge}", nodes[edge])));
            }
        }
        Ok(Adjacency {
            by_target: Csr::sort(target_count, targets, sources),
            by_source: Csr::sort(source_count, sources, targets),
            sources: sources.to_vec(),
            targets: targets.to_vec(),
        })
    }

    /// The relation from each item to its segment: `segments[i]` is the target of item `i`.
    ///
    /// Reducing along it is pooling: a batch of graphs pools its nodes with `segments` = graph of each node.
    ///
    /// # Errors
    /// [`Error::Shape`] if a segment is `count` or more.
    pub fn from_segments(segments: &[u32], count: usize) -> Result<Self> {
        let items: Vec<u32> = (0..segments.len() as u32).collect();
        Adjacency::new(segments.len(), count, &items, segments)
    }

    /// How many nodes edges can start from.
    pub fn source_count(&self) -> usize {
        self.by_source.rows()
    }

    /// How many nodes edges can end in.
    pub fn target_count(&self) -> usize {
        self.by_target.rows()
    }

    /// How many edges there are.
    pub fn edge_count(&self) -> usize {
        self.sources.len()
    }

    /// The source of each edge, in the order of the edge list.
    pub fn sources(&self) -> &[u32] {
        &self.sources
    }

    /// The target of each edge, in the order of the edge list.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// Edges sorted by target.
    pub fn by_target(&self) -> &Csr {
        &self.by_target
    }

    /// Edges sorted by source.
    pub fn by_source(&self) -> &Csr {
        &self.by_source
    }

    /// How many edges end in each target.
    pub fn in_degrees(&self) -> Vec<usize> {
        (0..self.target_count()).map(|t| self.by_target.degree(t)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_edges_and_order_are_kept() {
        let a = Adjacency::new(2, 3, &[1, 0, 1, 1], &[2, 2, 0, 2]).unwrap();
        assert_eq!(a.by_target().columns(2), [1, 0, 1]);
        assert_eq!(a.by_target().edges(2), [0, 1, 3]);
        assert_eq!(a.by_source().columns(1), [2, 0, 2]);
        assert_eq!(a.in_degrees(), [1, 0, 3]);
    }

    #[test]
    fn a_bad_index_is_named() {
        let message = Adjacency::new(2, 2, &[0, 5], &[0, 1]).unwrap_err().to_string();
        assert_eq!(message, "Adjacency: expected sources below 2, got 5 in edge 1");
        assert!(Adjacency::new(2, 2, &[0], &[]).is_err());
    }

    #[test]
    fn no_edges_is_a_graph() {
        let a = Adjacency::new(0, 2, &[], &[]).unwrap();
        assert_eq!((a.source_count(), a.target_count(), a.edge_count()), (0, 2, 0));
    }
}
